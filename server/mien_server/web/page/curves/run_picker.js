// Which run's rounds and models are shown: the one that goes on, or an older one.

import { element, refill } from "../base/dom.js";
import { STATE_WORDS } from "../run/words.js";

/** A select in every `[data-run-picker]`; `pick` is called after a choice. */
export function startRunPickers(store, pick) {
  for (const host of document.querySelectorAll("[data-run-picker]")) {
    const select = element("select", { "aria-label": "Run that is shown" });
    host.append(select);
    select.addEventListener("change", () => pick(select.value === "" ? null : select.value));
    store.watch(["status", "runs"], () => {
      const runs = store.runs.filter((run) => run.state !== "waiting");
      host.hidden = runs.length === 0;
      const stamp = JSON.stringify(runs.map(({ run, state, rounds_done: done }) => [run, state, done]));
      refill(select, stamp, () => [
        element("option", { value: "", text: "The newest run" }),
        ...runs.map((run) =>
          element("option", { value: run.run, text: `${run.run} · ${STATE_WORDS[run.state]}, ${run.rounds_done}/${run.rounds}` }),
        ),
      ]);
      select.value = store.picked ?? "";
    });
  }
}
