// Asks the server for what the page lacks: all at the start, and what was missed after a lost connection.

import { get, path } from "../base/api.js";
import { setServerTime } from "../base/clock.js";

export const EVENTS_AT_ONCE = 100;
const ROUNDS_AT_ONCE = 5000;

/** Questions whose answers go into `store`. */
export class Refresh {
  #store;
  #turns = new Map();
  #roundsOf = null;

  constructor(store) {
    this.#store = store;
  }

  /** Everything that could have changed. */
  async all() {
    await Promise.all([this.status(), this.runs(), this.releases(), this.events()]);
    await this.looked();
  }

  /** Rounds and models of the run that is looked at. */
  async looked() {
    await Promise.all([this.rounds(), this.models()]);
  }

  status = () => this.#inTurn("status", async () => this.takeStatus(await get("status")));

  runs = () =>
    this.#inTurn("runs", async () => {
      this.#store.runs = await get("runs", { limit: 100 });
      this.#store.changed("runs");
    });

  releases = () =>
    this.#inTurn("releases", async () => {
      this.#store.releases = await get("releases");
      this.#store.changed("models");
    });

  models = () =>
    this.#inTurn("models", async () => {
      const run = this.#store.looked;
      const found = run === null ? [] : await get("models", { run });
      if (run !== this.#store.looked) return;
      this.#store.models = found;
      this.#store.changed("models");
    });

  /** Rounds after the last one that is known; all of another run. */
  rounds = () =>
    this.#inTurn("rounds", async () => {
      const store = this.#store;
      const run = store.looked;
      if (run !== this.#roundsOf) {
        this.#roundsOf = run;
        store.rounds = new Map();
        store.changed("rounds");
      }
      if (run === null) return;
      for (;;) {
        const after = Math.max(0, ...store.rounds.keys());
        const found = await get(`runs/${path(run)}/rounds`, { after });
        if (run !== store.looked) return;
        for (const round of found) store.rounds.set(round.round, round);
        if (found.length > 0) store.changed("rounds");
        if (found.length < ROUNDS_AT_ONCE) return;
      }
    });

  /** The newest events; after the first time those since the last one that is known. */
  events = () =>
    this.#inTurn("events", async () => {
      const { events } = this.#store;
      for (;;) {
        const after = events.size === 0 ? null : Math.max(...events.keys());
        const found = await get("events", { after, limit: EVENTS_AT_ONCE });
        this.takeEvents(found);
        if (after === null || found.length < EVENTS_AT_ONCE) return;
      }
    });

  /** A status that came; whether another run is looked at now. */
  takeStatus(status) {
    setServerTime(status.server.time);
    const before = this.#store.looked;
    this.#store.status = status;
    this.#store.changed("status");
    return before !== this.#store.looked;
  }

  /** Events that came. */
  takeEvents(events) {
    for (const event of events) this.#store.events.set(event.id, event);
    if (events.length > 0) this.#store.changed("events");
  }

  /** Questions of one kind one after the other, so that an older answer never comes after a newer one. */
  #inTurn(kind, ask) {
    const before = this.#turns.get(kind) ?? Promise.resolve();
    const mine = before.catch(() => {}).then(ask);
    this.#turns.set(kind, mine);
    return mine;
  }
}
