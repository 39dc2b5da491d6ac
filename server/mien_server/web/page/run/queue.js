// Runs that wait for their turn or their time.

import { at } from "../base/clock.js";
import { element, refill, setShown } from "../base/dom.js";
import { plural } from "../base/format.js";
import { askToStop } from "./actions.js";

/** The list below the run; hidden while nothing waits. */
export class Queue {
  #store;
  #list = element("ol");

  constructor(store) {
    this.#store = store;
    const title = element("h2", { id: "queue-title", text: "Next" });
    this.node = element("div", { class: "queue", role: "group", "aria-labelledby": title.id, hidden: true }, title, this.#list);
  }

  show(runs) {
    setShown(this.node, runs.length > 0);
    const stamp = JSON.stringify([runs.map((run) => [run.run, run.not_before, run.behind]), this.#store.isOperator]);
    refill(this.#list, stamp, () => runs.map((run) => this.#item(run)));
  }

  #item(run) {
    const when = run.not_before
      ? element("span", {}, "starts ", at(run.not_before))
      : element("span", { text: run.behind.length ? `after ${run.behind.join(", ")}` : "about to start" });
    const out = element("button", {
      type: "button",
      text: "Take out",
      "aria-label": `Take ${run.run} out of the queue`,
      on: { click: () => askToStop(run) },
    });
    return element(
      "li",
      {},
      element("strong", { text: run.run }),
      element("span", { text: `${plural(run.rounds, "round")}, ${run.rule}` }),
      when,
      this.#store.isOperator ? out : null,
    );
  }
}
