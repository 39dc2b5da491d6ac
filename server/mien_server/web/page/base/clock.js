// The server's clock, as well as we know it, and what grows older with every second.
//
// Ages and times left are `<time data-since>` and `<time data-until>` elements anywhere in the page; one
// timer keeps their words true, also while nothing comes from the server.

import { element, setText } from "./dom.js";
import { duration, moment } from "./format.js";

const NOW_S = 3; // nobody needs to read that something was 1 s ago

let ahead = 0;

/** Take the server's time, as it was just now. */
export function setServerTime(iso) {
  const there = Date.parse(iso);
  if (!Number.isNaN(there)) ahead = there - Date.now();
}

/** Now, in milliseconds, on the server's clock. */
export const now = () => Date.now() + ahead;

/** Seconds since a moment of the server's clock; never below 0. */
export const secondsSince = (iso) => Math.max(0, (now() - Date.parse(iso)) / 1000);

/** An element that says how long ago `iso` was: "40 s ago"; with `bare` only how long. */
export function age(iso, { bare = false } = {}) {
  if (!iso) return element("span", { text: "never" });
  const node = element("time", { "data-since": iso, "data-bare": bare, datetime: iso, title: iso });
  write(node);
  return node;
}

/** An element that says how long it still is until `iso`. */
export function left(iso) {
  const node = element("time", { "data-until": iso, datetime: iso, title: iso });
  write(node);
  return node;
}

/** An element that says when something was. */
export function at(iso) {
  return element("time", { datetime: iso, title: iso, text: moment(iso) });
}

function write(node) {
  const { since, until, bare } = node.dataset;
  if (since !== undefined) {
    const seconds = secondsSince(since);
    const words = duration(seconds);
    setText(node, bare !== undefined ? words : seconds < NOW_S ? "now" : `${words} ago`);
  } else {
    const seconds = (Date.parse(until) - now()) / 1000;
    setText(node, seconds > 0 ? duration(seconds) : "a moment");
  }
}

function tick() {
  for (const node of document.querySelectorAll("time[data-since], time[data-until]")) write(node);
}

/** Start the timer. */
export function startClock() {
  setInterval(tick, 1000);
}
