// What is said: to a screen reader when the run's state changes, and to everybody when something was done.

import { byId, element, setText } from "./dom.js";

const SHOWN_MS = 8000;
let last = "";

/** Tell a screen reader, when it has finished what it reads. The same twice is said once. */
export function announce(text) {
  if (text === last) return;
  last = text;
  setText(byId("announcements"), text);
}

/** Show a note for some seconds: `tone` is "good" or "bad". A bad one stays until it is closed. */
export function note(text, tone = "good") {
  const close = element("button", {
    class: "plain",
    type: "button",
    "aria-label": "Close this note",
    text: "×",
    on: { click: () => shown.remove() },
  });
  const shown = element("div", { class: `note ${tone}` }, element("p", { text }), close);
  byId("notes").append(shown);
  if (tone === "good") setTimeout(() => shown.remove(), SHOWN_MS);
}
