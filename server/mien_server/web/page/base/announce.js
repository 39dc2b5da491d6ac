// What is said: to a screen reader when the run's state changes, and to everybody when something was done.

import { byId, element, prose } from "./dom.js";

const SHOWN_MS = 8000;
const KEPT = 4;
const last = new Map();

/** Tell a screen reader, when it has finished what it reads. What `about` said the last time is not said again. */
export function announce(about, text) {
  if (last.get(about) === text) return;
  last.set(about, text);
  const region = byId("announcements");
  region.append(element("p", { text }));
  while (region.children.length > KEPT) region.firstChild.remove();
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
  const shown = element("div", { class: `note ${tone}` }, element("p", {}, ...prose(text)), close);
  byId("notes").append(shown);
  if (tone === "good") setTimeout(() => shown.remove(), SHOWN_MS);
}
