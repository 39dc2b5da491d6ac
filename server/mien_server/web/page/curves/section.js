// The curves of the run that is looked at, and a line about that run.

import { at } from "../base/clock.js";
import { byId, element, refill } from "../base/dom.js";
import { duration, plural } from "../base/format.js";
import { askToResume } from "../run/actions.js";
import { RESUMABLE, STATE_WORDS } from "../run/words.js";
import { ChartCard } from "./card.js";
import { PLANS } from "./plans.js";

/** Fill the section `#curves` from `store`. */
export function startCurves(store) {
  const cards = PLANS.map((plan) => new ChartCard(plan));
  byId("charts").append(...cards.map((card) => card.node));
  store.watch(["rounds"], () => {
    const rounds = store.roundsInOrder;
    for (const card of cards) card.show(rounds);
  });
  const about = byId("curves-run");
  store.watch(["status", "runs"], () => {
    const run = store.picked === null ? null : store.run(store.picked);
    refill(about, JSON.stringify([run, store.isOperator]), () => (run === null ? null : runLine(run, store)));
  });
}

/** An older run in short; the one that goes on has the whole panel above. */
function runLine(run, store) {
  const took = run.started && run.ended ? (Date.parse(run.ended) - Date.parse(run.started)) / 1000 : null;
  const isAbove = store.status?.run?.run === run.run;
  return element(
    "div",
    { class: "run-line" },
    element("span", { class: "pill", "data-state": run.state, text: STATE_WORDS[run.state] }),
    element("span", { text: `${run.rounds_done} of ${plural(run.rounds, "round")}, ${run.rule}, quorum ${run.quorum}` }),
    run.started ? element("span", {}, "started ", at(run.started)) : null,
    took === null ? null : element("span", { text: `took ${duration(took)}` }),
    run.resumed ? element("span", { text: `resumed ${plural(run.resumed, "time")}` }) : null,
    run.reason ? element("span", { class: "reason", text: run.reason }) : null,
    store.isOperator && RESUMABLE.has(run.state) && !isAbove
      ? element("button", { type: "button", text: "Resume", on: { click: () => askToResume(run) } })
      : null,
    element(
      "details",
      {},
      element("summary", { text: "Settings" }),
      element("pre", { text: JSON.stringify(run.settings, null, 2) }),
    ),
  );
}
