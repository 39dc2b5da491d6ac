// Light, dark, or as the machine says. style/tokens.css has every colour twice; this only says which.

import { setText } from "./dom.js";
import { keep } from "./settings.js";

const ORDER = ["auto", "light", "dark"];
const root = document.documentElement;
const changed = new EventTarget();

const chosen = () => root.dataset.theme ?? "auto";

/** Call `listener` whenever the colours are others. */
export function onThemeChange(listener) {
  changed.addEventListener("change", listener);
}

/** The next of auto, light and dark. */
export function nextTheme() {
  const next = ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length];
  if (next === "auto") delete root.dataset.theme;
  else root.dataset.theme = next;
  keep("theme", next === "auto" ? null : next);
  changed.dispatchEvent(new Event("change"));
}

/** Make `button` go through the themes, and say which it is. */
export function startTheme(button) {
  const label = button.querySelector("[data-theme-name]");
  const write = () => setText(label, `Theme: ${chosen()}`);
  button.addEventListener("click", nextTheme);
  onThemeChange(write);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed.dispatchEvent(new Event("change")));
  write();
}
