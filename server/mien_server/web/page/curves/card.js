// A chart with its legend, which tells the values of the round that is looked at, and the same as a table.

import { element, refill, setAttribute, setShown, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { DataTable } from "../base/table.js";
import { Chart } from "./chart.js";
import { cursor } from "./cursor.js";
import { contiguous } from "./series.js";

const JUMP = 10;

/** One card; `node` goes into the page, `show` draws rounds. */
export class ChartCard {
  #plan;
  #rounds = [];
  #last = null;
  #byNumber = new Map();
  #figures;
  #which = element("span", { class: "which" });
  #host;
  #chart;
  #table = null;
  #tableHost = element("div", { class: "chart-table", hidden: true });
  #toggle = element("button", { type: "button", class: "plain small", text: "Table" });
  #empty = element("p", { class: "empty", text: "No round yet." });

  constructor(plan) {
    this.#plan = plan;
    const title = element("h3", { id: `chart-${plan.id}`, text: plan.title });
    this.#figures = plan.readings.map(() => element("span", { class: "value" }));
    const legend = element(
      "ul",
      { class: "legend" },
      ...plan.readings.map(({ swatch, name }, at) =>
        element("li", {}, swatch ? element("span", { class: `swatch ${swatch}` }) : null, `${name} `, this.#figures[at]),
      ),
    );
    this.#host = element("div", {
      class: "chart",
      role: "slider",
      tabindex: 0,
      "aria-label": `${plan.title}, by round`,
      "aria-orientation": "horizontal",
    });
    this.#chart = new Chart(this.#host, plan);
    this.#toggle.setAttribute("aria-pressed", "false");
    this.#toggle.setAttribute("aria-label", `${plan.title}: show as table`);
    this.#toggle.addEventListener("click", () => this.#showTable(this.#tableHost.hidden));
    this.#host.addEventListener("keydown", (event) => this.#key(event));
    this.#host.addEventListener("blur", () => cursor.look(null));
    cursor.addEventListener("look", () => this.#tell());
    this.node = element(
      "section",
      { class: plan.wide ? "panel card wide" : "panel card", "aria-labelledby": title.id, "data-chart": plan.id },
      element("div", { class: "card-head" }, title, this.#which, this.#toggle),
      legend,
      this.#empty,
      this.#host,
      this.#tableHost,
    );
  }

  /** Draw these rounds, in their order. */
  show(rounds) {
    this.#rounds = rounds;
    this.#byNumber = new Map(rounds.map((round) => [round.round, round]));
    this.#last = rounds.at(-1) ?? null;
    const { isFor } = this.#plan;
    setShown(this.node, isFor === undefined || isFor(rounds));
    const isTable = !this.#tableHost.hidden;
    setShown(this.#empty, rounds.length === 0 && !isTable);
    setShown(this.#host, rounds.length > 0 && !isTable);
    if (isTable) this.#fillTable();
    else if (rounds.length > 0 && !this.node.hidden) this.#draw();
    this.#tell();
  }

  #draw() {
    const { numbers, facts } = contiguous(this.#rounds);
    this.#chart.draw(numbers, this.#plan.draw(facts));
  }

  /** The values of the round that is looked at; of the last one where nobody looks. */
  #tell() {
    const round = cursor.round === null ? this.#last : (this.#byNumber.get(cursor.round) ?? null);
    const number = cursor.round ?? this.#last?.round ?? null;
    setText(this.#which, number === null ? "" : `round ${number}`);
    const told = this.#plan.readings.map(({ name, text, who }, at) => {
      const value = round === null ? "–" : text(round);
      const site = round === null ? null : (who?.(round) ?? null);
      refill(this.#figures[at], `${value} ${site}`, () => [value, site ? element("span", { class: "who", text: ` ${site}` }) : null]);
      return `${name} ${value}${site ? `, ${site}` : ""}`;
    });
    if (number === null) return;
    setAttribute(this.#host, "aria-valuemin", this.#rounds[0].round);
    setAttribute(this.#host, "aria-valuemax", this.#last.round);
    setAttribute(this.#host, "aria-valuenow", number);
    setAttribute(this.#host, "aria-valuetext", `round ${number}: ${told.join("; ")}`);
  }

  #key(event) {
    if (this.#last === null) return;
    const first = this.#rounds[0].round;
    const last = this.#last.round;
    const here = cursor.round ?? last;
    const next = {
      ArrowLeft: here - 1,
      ArrowDown: here - 1,
      ArrowRight: cursor.round === null ? last : here + 1,
      ArrowUp: cursor.round === null ? last : here + 1,
      PageDown: here - JUMP,
      PageUp: here + JUMP,
      Home: first,
      End: last,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    cursor.look(Math.min(last, Math.max(first, next)));
  }

  #showTable(isTable) {
    setShown(this.#tableHost, isTable);
    this.#toggle.setAttribute("aria-pressed", String(isTable));
    this.show(this.#rounds);
  }

  #fillTable() {
    if (this.#table === null) {
      this.#table = new DataTable({
        label: `${this.#plan.title}, by round`,
        columns: [
          { id: "round", title: "Round", header: true, numeric: true, value: (round) => round.round, text: (round) => count(round.round) },
          ...this.#plan.readings.map(({ name, text, who }) => ({
            id: name,
            title: name,
            numeric: true,
            text: (round) => [text(round), who?.(round)].filter(Boolean).join(" "),
          })),
        ],
        keyOf: (round) => round.round,
        sorted: { id: "round", descending: true },
        empty: "No round yet.",
      });
      this.#table.table.classList.replace("cards", "dense");
      this.#tableHost.append(this.#table.node);
    }
    this.#table.show(this.#rounds);
  }
}
