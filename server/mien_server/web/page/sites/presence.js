// Whether a site is there: a word and a shape, so that nobody needs the colour.

import { element, unseen } from "../base/dom.js";

/** The order in which sites are listed and counted: who needs a look stands before who has left long ago. */
export const PRESENCES = ["online", "late", "offline", "invited", "never seen", "revoked"];

/** A mark and a word; `quiet`: the mark alone, the word for a screen reader. */
export function presence(state, { quiet = false } = {}) {
  const mark = element("span", { class: "mark", "aria-hidden": "true" });
  return element("span", { class: "presence", "data-presence": state }, mark, quiet ? unseen(`${state}: `) : state);
}
