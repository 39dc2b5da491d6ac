// Everything the page knows, in one place. The parts of the page read it and are told by topic when it
// changed; only state/live.js and state/refresh.js write what the server says.

/** Topics: status, runs, rounds, models, events, connection. */
export class Store extends EventTarget {
  role = "viewer";
  /** The whole of GET /status; null before the first. */
  status = null;
  /** Newest first. */
  runs = [];
  /** The run that a person wants to look at; null: the one that goes on. */
  picked = null;
  /** Rounds of the run that is looked at, by number. */
  rounds = new Map();
  /** Its models, newest first. */
  models = [];
  releases = [];
  /** By id. */
  events = new Map();
  /** Since when nothing comes, by our own clock, and what the server said of it, if it said something. */
  connection = { lostSince: null, why: "" };

  get isOperator() {
    return this.role === "operator";
  }

  /** The name of the run whose curves and models are shown; null while there is none. */
  get looked() {
    return this.picked ?? this.status?.run?.run ?? this.runs[0]?.run ?? null;
  }

  /** The facts of a run, the newest that are known. */
  run(name) {
    const current = this.status?.run;
    return current?.run === name ? current : (this.runs.find((run) => run.run === name) ?? null);
  }

  /** Rounds of the run that is looked at, in their order. */
  get roundsInOrder() {
    return [...this.rounds.values()].sort((one, other) => one.round - other.round);
  }

  /** Call `listener` now and whenever one of `topics` changed. */
  watch(topics, listener) {
    for (const topic of topics) this.addEventListener(topic, listener);
    listener();
  }

  /** Say that something of `topic` changed. */
  changed(topic) {
    this.dispatchEvent(new Event(topic));
  }
}
