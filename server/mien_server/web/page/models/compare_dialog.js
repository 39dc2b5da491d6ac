// Two models side by side, as `mien server compare-models` tells it.

import { note } from "../base/announce.js";
import { ApiError, get } from "../base/api.js";
import { openDialog } from "../base/dialogs.js";
import { element } from "../base/dom.js";
import { UNKNOWN, change, number } from "../base/format.js";

/** Ask the server to compare, and show what it says. */
export async function openComparison(first, second) {
  let found;
  try {
    found = await get("comparison", { first, second });
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    note(problem.message, "bad");
    return;
  }
  const head = ["", first, second, "change"].map((text) => element("th", { scope: "col", text }));
  const rows = found.rows.map((row) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", text: row.what }),
      element("td", { text: shown(row.first) }),
      element("td", { text: shown(row.second) }),
      element("td", { text: row.change === null ? "" : change(row.change, 3) }),
    ),
  );
  openDialog({
    title: "Two models",
    wide: true,
    body: element(
      "div",
      { class: "scroller" },
      element("table", { class: "plain-table" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
    ),
  });
}

const shown = (value) => (value === null ? UNKNOWN : typeof value === "number" ? number(value) : String(value));
