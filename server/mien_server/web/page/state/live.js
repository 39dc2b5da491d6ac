// What the server says by itself: server-sent events. The browser connects again after a lost connection;
// where it gives up (the server was away, and said so), we do. After every connection we ask for what was
// missed.

import { onSessionLost } from "../base/api.js";
import { now } from "../base/clock.js";

const TRY_AGAIN_MS = [1000, 2000, 4000, 8000];
const SILENCE_MS = 40000;
const TOGETHER_MS = 300;

/** Runs whose list changes with these events. */
const CHANGES_RUNS = new Set(["queued", "started", "resumed", "finished", "stopped", "failed", "died"]);

/** Keeps `store` true by the server's stream, with `refresh` for what it does not bear. */
export class Live {
  #store;
  #refresh;
  #source = null;
  #tries = 0;
  #retry = null;
  #silence = null;
  #soon = new Map();
  #ended = false;

  constructor(store, refresh) {
    this.#store = store;
    this.#refresh = refresh;
    onSessionLost(() => this.end());
    addEventListener("online", () => this.#connectNow());
  }

  start() {
    this.#connect();
    this.#later();
  }

  /** Never connect again. */
  end() {
    this.#ended = true;
    this.#source?.close();
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
  }

  #connectNow() {
    if (this.#store.connection.lostSince === null || this.#ended) return;
    clearTimeout(this.#retry);
    this.#connect();
  }

  #connect() {
    if (this.#ended) return;
    this.#source?.close();
    const source = new EventSource("api/v1/stream");
    this.#source = source;
    source.addEventListener("open", () => this.#opened());
    source.addEventListener("error", () => this.#failed(source));
    this.#on(source, "status", (status) => this.#status(status));
    this.#on(source, "round", (round) => this.#round(round));
    this.#on(source, "log", (event) => this.#log(event));
    this.#on(source, "models", () => {
      this.#after("models", this.#refresh.models);
      this.#after("releases", this.#refresh.releases);
    });
  }

  #on(source, name, take) {
    source.addEventListener(name, ({ data }) => {
      this.#heard();
      take(JSON.parse(data));
    });
  }

  async #opened() {
    this.#heard();
    clearTimeout(this.#retry);
    await this.#catchUp();
  }

  /** Ask for all that may have been missed; whether it came. */
  async #catchUp() {
    try {
      await this.#refresh.all();
      if (this.#source.readyState === EventSource.OPEN) this.#isBack();
      return true;
    } catch (problem) {
      if (problem.status === 503 && this.#source.readyState === EventSource.OPEN) this.#isFound();
      else this.#isLost(problem);
      this.#later();
      return false;
    }
  }

  #failed(source) {
    if (source !== this.#source) return;
    this.#isLost();
    this.#later();
  }

  /**
   * As long as there is no stream: ask, a little later each time. Where the browser has given up it is told to
   * try again; where something between us and the server lets no stream through, asking is all there is.
   */
  #later() {
    if (this.#ended) return;
    clearTimeout(this.#retry);
    const wait = TRY_AGAIN_MS[Math.min(this.#tries, TRY_AGAIN_MS.length - 1)];
    this.#tries += 1;
    this.#retry = setTimeout(async () => {
      const isThere = await this.#catchUp(); // it also tells a lost session from a server that is away
      if (!isThere || this.#source.readyState === EventSource.OPEN) return;
      if (this.#source.readyState === EventSource.CLOSED) this.#connect();
      this.#later();
    }, wait);
  }

  /** A connection that says nothing for long is doubted: a network may have swallowed it without a word. */
  #heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(async () => {
      try {
        await this.#refresh.status();
        this.#heard();
      } catch (problem) {
        this.#isLost(problem);
        this.#connect();
      }
    }, SILENCE_MS);
  }

  #isLost(problem = null) {
    const { connection } = this.#store;
    connection.lostSince ??= new Date(now()).toISOString();
    connection.why = problem?.status ? problem.message : "";
    this.#store.changed("connection");
  }

  #isBack() {
    this.#tries = 0;
    this.#isFound();
  }

  /** It answers, if only to say that its history is away; the status tells that, too. */
  #isFound() {
    const { connection } = this.#store;
    if (connection.lostSince === null) return;
    connection.lostSince = null;
    connection.why = "";
    this.#store.changed("connection");
  }

  #status(status) {
    if (this.#refresh.takeStatus(status)) this.#after("looked", () => this.#refresh.looked());
  }

  #round(round) {
    if (round.run !== this.#store.looked) return;
    this.#store.rounds.set(round.round, round);
    this.#store.changed("rounds");
  }

  #log(event) {
    this.#refresh.takeEvents([event]);
    if (CHANGES_RUNS.has(event.kind)) this.#after("runs", this.#refresh.runs);
  }

  /** Several events in a moment ask once. */
  #after(name, ask) {
    clearTimeout(this.#soon.get(name));
    this.#soon.set(name, setTimeout(() => ask().catch(() => {}), TOGETHER_MS));
  }
}
