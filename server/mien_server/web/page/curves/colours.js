// The charts' colours, out of style/tokens.css: a canvas knows no CSS variables, so they are resolved here,
// again after every change of theme.

import { onThemeChange } from "../base/theme.js";

const NAMES = [
  "valence", "arousal", "loss", "up", "down", "epsilon",
  "wait", "train", "transfer", "aggregate", "evaluate",
  "grid", "quiet", "panel",
];
const resolved = new Map();
const changed = new EventTarget();

function resolve() {
  const probe = document.createElement("span");
  document.body.append(probe);
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    resolved.set(name, getComputedStyle(probe).color);
  }
  probe.remove();
}

onThemeChange(() => {
  resolve();
  changed.dispatchEvent(new Event("change"));
});

/** A colour by its name, as a canvas takes it. */
export function colour(name) {
  if (resolved.size === 0) resolve();
  return resolved.get(name);
}

/** The same, to be seen through. */
export function faint(name, share) {
  return colour(name).replace(/^rgb\((.*)\)$/, (_, parts) => `rgba(${parts.replaceAll(/\s*,\s*/g, ", ")}, ${share})`);
}

/** Call `listener` when they are others. */
export function onColours(listener) {
  changed.addEventListener("change", listener);
}
