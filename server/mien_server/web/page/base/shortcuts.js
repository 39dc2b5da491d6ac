// Single keys, and the dialog that lists them. They rest while something is typed or a dialog is open, and
// can be switched off there: some people's speech input types letters.

import { byId, element } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { keep, kept } from "./settings.js";

const shortcuts = [];

/** Let `key` do `act`; `words` say what that is. */
export function shortcut(key, words, act) {
  shortcuts.push({ key, words, act });
}

/** Begin to listen, and let `button` show the list. */
export function startShortcuts(button) {
  shortcut("?", "Show this list", openHelp);
  button.addEventListener("click", openHelp);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || kept("shortcuts") === "off") return;
    if (document.querySelector("dialog[open]") !== null || byId("dashboard").hidden || isTyping(event.target)) return;
    const found = shortcuts.find(({ key }) => key === event.key);
    if (found === undefined) return;
    event.preventDefault();
    found.act();
  });
}

const isTyping = (target) => target.matches?.("input, select, textarea, [contenteditable]") ?? false;

function openHelp() {
  const always = [
    ["Tab, Shift Tab", "From one control to the next"],
    ["← →", "On a chart: from round to round. On tabs: from one to the next"],
    ["Home, End", "On a chart: first and last round"],
    ["Esc", "Close a dialog"],
  ];
  const rows = [...shortcuts.map(({ key, words }) => [key, words]), ...always].map(([keys, words]) =>
    element("tr", {}, element("td", {}, element("kbd", { text: keys })), element("td", { text: words })),
  );
  const on = element("input", { type: "checkbox" });
  on.checked = kept("shortcuts") !== "off";
  on.addEventListener("change", () => keep("shortcuts", on.checked ? null : "off"));
  openDialog({
    title: "Keyboard",
    body: [
      element("table", { class: "plain-table" }, element("tbody", {}, ...rows)),
      element("label", { class: "check" }, on, "Single keys are on"),
    ],
  });
}
