// What an operator can do to a run: start one, stop it, go on with one that was interrupted.

import { note } from "../base/announce.js";
import { path, send } from "../base/api.js";
import { openQuestion } from "../base/dialogs.js";
import { element } from "../base/dom.js";
import { openStart } from "./start_dialog.js";
import { RESUMABLE } from "./words.js";

/** The buttons beside the run; none for a viewer. */
export function runButtons(store, run) {
  if (!store.isOperator) return [];
  const goesOn = run?.state === "running";
  return [
    run && RESUMABLE.has(run.state) ? button("Resume", "primary", () => askToResume(run)) : null,
    goesOn ? button("Stop", "danger", () => askToStop(run)) : null,
    button("Start a run", goesOn ? "" : "primary", () => openStart(store)),
  ];
}

function button(text, tone, act) {
  return element("button", { type: "button", class: tone || null, text, on: { click: act } });
}

/** Ask, then stop a run or take it out of the queue. */
export function askToStop(run) {
  const waits = run.state === "waiting";
  const published = run.rounds_done ? `Its ${run.rounds_done} rounds stay published` : "Nothing of it is published yet";
  openQuestion({
    title: waits ? `Take ${run.run} out of the queue?` : `Stop ${run.run}?`,
    body: element("p", {
      text: waits
        ? "It will not start. You can put the same settings into the queue again later."
        : `The round that goes on is given up. ${published}, and you can go on with the run later: Resume.`,
    }),
    agree: waits ? "Take it out" : "Stop the run",
    tone: "danger",
    act: async () => {
      await send(`runs/${path(run.run)}/stop`);
      note(waits ? `${run.run} was taken out of the queue.` : `${run.run} is being stopped.`);
    },
  });
}

/** Ask, then go on with a run that was interrupted. */
export function askToResume(run) {
  openQuestion({
    title: `Go on with ${run.run}?`,
    body: element("p", {
      text:
        `It goes on with round ${run.rounds_done + 1} of ${run.rounds}, with its own settings, ` +
        "to the same result as if nothing had been.",
    }),
    agree: "Resume",
    act: async () => {
      await send(`runs/${path(run.run)}/resume`);
      note(`${run.run} goes on.`);
    },
  });
}
