// The run in words: pure functions from facts to what a person reads.

export const STATE_WORDS = {
  waiting: "waits for its turn",
  running: "running",
  finished: "finished",
  stopped: "stopped",
  failed: "failed",
  died: "died",
};

/** The steps of a round, in their order, and what is said while they go on. */
export const PHASES = [
  { id: "waiting", name: "Wait", doing: "Waiting for sites" },
  { id: "train", name: "Train", doing: "Training" },
  { id: "aggregate", name: "Aggregate", doing: "Averaging" },
  { id: "evaluate", name: "Evaluate", doing: "Evaluating" },
];

export const RESUMABLE = new Set(["stopped", "failed", "died"]);

/** Which round the large number is: the one that goes on, else the last one that was done. */
export function roundNow(run, now) {
  return now !== null && run.state === "running" ? now.round : run.rounds_done;
}

/** What the run does or waits for, in a few words; who is awaited is told beside it. */
export function doing(run, now) {
  if (run.state === "waiting") return waitingWords(run);
  if (run.state !== "running") return endWords(run);
  if (now === null) return "Starting";
  const { awaits, asked } = now;
  if (awaits.length === 0) return capital(now.in_words) || doingPhase(now.phase);
  if (now.phase === "waiting") return `Waiting for sites: ${now.quorum} are needed`;
  const of = asked.length || awaits.length;
  return `${doingPhase(now.phase)}: waiting for ${awaits.length} of ${of} ${of === 1 ? "site" : "sites"}`;
}

function doingPhase(phase) {
  return PHASES.find(({ id }) => id === phase)?.doing ?? phase;
}

function waitingWords(run) {
  if (run.not_before) return "Scheduled";
  return run.behind.length ? `Waits for ${run.behind.join(", ")}` : "Waits for its turn";
}

function endWords(run) {
  if (run.state === "finished") return `All ${run.rounds} rounds are done`;
  const after = run.rounds_done ? `after round ${run.rounds_done}` : "before its first round was done";
  return `${capital(STATE_WORDS[run.state])} ${after}`;
}

/** With a capital first letter. */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
