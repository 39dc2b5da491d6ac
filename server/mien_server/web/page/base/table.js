// A table whose rows are kept by key, so that what has the focus stays when the facts change. Its columns
// can be sorted; what is not known stands last either way. On a narrow screen style/lists.css shows every
// row as a card, which takes a table's meaning away; so the roles are said.

import { element, prose, refill, setAttribute, setShown, setText } from "./dom.js";
import { UNKNOWN } from "./format.js";

/**
 * A column: `id`, `title`, and what its cells show: `text(row)`, or elements from `make(row)`, made anew only
 * when `stamp(row)` changes. `value(row)` makes it sortable. `numeric` aligns right, `header` heads the row,
 * `quiet` leaves its title out of cards, `kind` is a class of its cells.
 */
export class DataTable {
  #columns;
  #keyOf;
  #sorted;
  #rows = new Map();
  #facts = [];
  #limit;
  #shown;
  #body = element("tbody", { role: "rowgroup" });
  #heads = new Map();
  #more = element("button", { type: "button", class: "more", hidden: true });
  #empty;
  #scroller;

  constructor({ label, columns, keyOf, sorted = null, limit = 100, empty = "Nothing yet." }) {
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.#sorted = sorted;
    this.#limit = this.#shown = limit;
    this.#empty = element("p", { class: "empty" }, ...prose(empty));
    const head = element("tr", { role: "row" }, ...columns.map((column) => this.#head(column)));
    this.table = element(
      "table",
      { class: "cards", role: "table", "aria-label": label },
      element("thead", { role: "rowgroup" }, head),
      this.#body,
    );
    this.#more.addEventListener("click", () => {
      this.#shown = Infinity;
      this.show(this.#facts);
    });
    this.#scroller = element("div", { class: "scroller" }, this.table);
    this.node = element("div", { class: "table" }, this.#scroller, this.#empty, this.#more);
  }

  /** Show these rows; those of before that are among them keep their place in the document. */
  show(facts) {
    this.#facts = facts;
    const inOrder = this.#inOrder(facts);
    const visible = inOrder.slice(0, this.#shown);
    const keys = new Set(visible.map((row) => this.#keyOf(row)));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    visible.forEach((facts, at) => {
      const row = this.#row(facts);
      const there = this.#body.children[at];
      if (there !== row) this.#body.insertBefore(row, there ?? null);
    });
    setShown(this.#empty, facts.length === 0);
    setShown(this.#scroller, facts.length > 0);
    setShown(this.#more, inOrder.length > visible.length);
    setText(this.#more, `Show all ${inOrder.length}`);
  }

  /** Cut the list to its first rows again. */
  shorten() {
    this.#shown = this.#limit;
  }

  #head(column) {
    const cell = element("th", { role: "columnheader", scope: "col", class: column.numeric ? "number" : null });
    if (column.value === undefined) {
      cell.append(column.title);
      if (column.quiet) cell.classList.add("quiet");
      return cell;
    }
    const button = element("button", { type: "button", class: "sort", text: column.title });
    button.addEventListener("click", () => this.#sortBy(column.id));
    cell.append(button);
    this.#heads.set(column.id, cell);
    this.#mark(cell, column.id);
    return cell;
  }

  #sortBy(id) {
    const again = this.#sorted?.id === id;
    this.#sorted = { id, descending: again ? !this.#sorted.descending : false };
    for (const [each, cell] of this.#heads) this.#mark(cell, each);
    this.show(this.#facts);
  }

  #mark(cell, id) {
    const order = this.#sorted?.id !== id ? null : this.#sorted.descending ? "descending" : "ascending";
    setAttribute(cell, "aria-sort", order);
  }

  #inOrder(facts) {
    if (this.#sorted === null) return facts;
    const { value } = this.#columns.find((column) => column.id === this.#sorted.id);
    const sign = this.#sorted.descending ? -1 : 1;
    return [...facts].sort((one, other) => compare(value(one), value(other), sign));
  }

  #row(facts) {
    const key = this.#keyOf(facts);
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = element("tr", { role: "row" }, ...this.#columns.map(newCell));
      this.#rows.set(key, row);
    }
    this.#columns.forEach((column, at) => {
      const cell = row.children[at];
      if (column.text) {
        setText(cell, column.text(facts));
        setAttribute(cell, "data-unknown", cell.textContent === UNKNOWN);
      } else refill(cell, column.stamp(facts), () => column.make(facts));
      if (column.mark) setAttribute(cell, "data-mark", column.mark(facts));
    });
    return row;
  }
}

function newCell(column) {
  return element(column.header ? "th" : "td", {
    role: column.header ? "rowheader" : "cell",
    scope: column.header ? "row" : null,
    class: [column.numeric ? "number" : "", column.kind ?? ""].join(" ").trim() || null,
    "data-title": column.quiet ? null : column.title,
  });
}

function compare(one, other, sign) {
  const [oneKnown, otherKnown] = [one, other].map((value) => value !== null && value !== undefined && value !== "");
  if (!oneKnown || !otherKnown) return Number(otherKnown) - Number(oneKnown);
  if (typeof one === "number" && typeof other === "number") return sign * (one - other);
  return sign * String(one).localeCompare(String(other), "en", { numeric: true });
}
