// The run, to be read from across a room: which round, how good, what it waits for.

import { announce } from "../base/announce.js";
import { age, at, left } from "../base/clock.js";
import { byId, element, prose, refill, setAttribute, setShown, setText, unseen } from "../base/dom.js";
import { UNKNOWN, ccc, change, duration, plural } from "../base/format.js";
import { presence } from "../sites/presence.js";
import { runButtons } from "./actions.js";
import { Queue } from "./queue.js";
import { PHASES, STATE_WORDS, capital, doing, roundNow } from "./words.js";

const MOST_AWAITED = 8;

/** Fill the section `#run` from `store`. */
export function startRunPanel(store) {
  const panel = new RunPanel(store);
  store.watch(["status", "rounds"], () => panel.show());
}

class RunPanel {
  #store;
  #state = element("span", { class: "pill" });
  #name = element("span", { class: "run-name" });
  #buttons = element("div", { class: "run-buttons" });
  #round = element("p", { class: "big" });
  #answers = element("p", { class: "more-figures" });
  #targets = { valence: new BigCcc("Valence CCC", "valence"), arousal: new BigCcc("Arousal CCC", "arousal") };
  #progress = element("progress", { "aria-label": "Rounds done" });
  #steps = element("ol", { class: "steps", "aria-label": "Steps of a round" });
  #doing = element("p", { class: "doing" });
  #awaited = element("ul", { class: "awaited", "aria-label": "Sites that are awaited" });
  #times = element("p", { class: "times" });
  #full = element("div", { class: "run-full" });
  #none = element("div", { class: "none" });
  #queue;

  constructor(store) {
    this.#store = store;
    this.#queue = new Queue(store);
    this.#full.append(
      element(
        "div",
        { class: "bigs" },
        element("div", { class: "figure round" }, element("p", { class: "label", text: "Round" }), this.#round, this.#answers),
        this.#targets.valence.node,
        this.#targets.arousal.node,
      ),
      this.#progress,
      element(
        "div",
        { class: "now" },
        element("div", { class: "now-words" }, this.#doing, this.#awaited),
        element("div", { class: "now-end" }, this.#steps, this.#times),
      ),
    );
    byId("run").append(
      element(
        "div",
        { class: "run-head" },
        element("p", { class: "run-title" }, this.#state, this.#name),
        this.#buttons,
      ),
      this.#full,
      this.#none,
      this.#queue.node,
    );
  }

  show() {
    const { status, isOperator } = this.#store;
    if (status === null) return;
    const { run, now, queue } = status;
    const stamp = JSON.stringify([run?.run, run?.state, isOperator]);
    refill(this.#buttons, stamp, () => runButtons(this.#store, run));
    setShown(this.#full, run !== null);
    setShown(this.#none, run === null);
    setShown(this.#state, run !== null);
    refill(this.#none, `${run?.run} ${queue.length}`, () => (run === null ? noRun(queue.length, isOperator) : null));
    this.#queue.show(queue);
    if (run === null) {
      setText(this.#name, "");
      document.title = "Mien";
      return;
    }
    setAttribute(this.#state, "data-state", run.state);
    setText(this.#state, capital(STATE_WORDS[run.state]));
    setText(this.#name, `${run.run} · ${run.rule}`);
    this.#showRound(run, now);
    this.#showNow(run, now);
    this.#announce(run, now);
  }

  #showRound(run, now) {
    const round = roundNow(run, now);
    refill(this.#round, `${round}/${run.rounds}`, () => [
      String(round),
      element("span", { class: "of", text: ` of ${run.rounds}` }),
    ]);
    setAttribute(this.#round, "data-long", `${round}${run.rounds}`.length > 4);
    setAttribute(this.#progress, "max", run.rounds);
    setAttribute(this.#progress, "value", run.rounds_done);
    const of = this.#store.looked === run.run ? this.#store.roundsInOrder : [];
    for (const [target, figure] of Object.entries(this.#targets)) {
      figure.show(run[`${target}_ccc`], of.slice(-2).map((each) => ({ round: each.round, ...each[target] })));
    }
    document.title = `${round} of ${run.rounds}${run.state === "running" ? "" : `, ${run.state}`} · Mien`;
  }

  #showNow(run, now) {
    const goes = run.state === "running" && now !== null;
    setText(this.#doing, doing(run, now));
    const awaits = goes ? now.awaits : [];
    const words = awaits.map(({ site, presence: how, last_seen: seen }) => [site, how, seen]);
    refill(this.#awaited, JSON.stringify(words), () => awaited(awaits));
    setShown(this.#awaited, awaits.length > 0);
    setText(this.#answers, goes ? answers(now) : "");
    setShown(this.#steps, goes);
    refill(this.#steps, goes ? `${now.phase} ${now.since}` : "", () => (goes ? steps(now) : null));
    refill(this.#times, timesStamp(run, now), () => times(run, now));
  }

  #announce(run, now) {
    const round = roundNow(run, now);
    const quality = [run.valence_ccc, run.arousal_ccc].map(ccc);
    const words = [`Run ${run.run} ${STATE_WORDS[run.state]}, round ${round} of ${run.rounds}.`];
    if (quality[0] !== UNKNOWN) words.push(`Valence ${quality[0]}, arousal ${quality[1]}.`);
    const late = (now?.awaits ?? []).filter((site) => site.presence !== "online").map((site) => site.site);
    if (late.length) words.push(`Waits for ${late.join(", ")}, which cannot be heard.`);
    announce("run", words.join(" "));
  }
}

/** One target's large number, its change and its worst site. */
class BigCcc {
  #value = element("p", { class: "big" });
  #more = element("p", { class: "more-figures" });

  constructor(label, target) {
    const head = element("p", { class: "label" }, element("span", { class: `swatch solid ${target}` }), label);
    this.node = element("div", { class: `figure ${target}` }, head, this.#value, this.#more);
  }

  /** `rounds`: the last two, or fewer. */
  show(pooled, rounds) {
    setText(this.#value, ccc(pooled));
    setAttribute(this.#value, "data-long", this.#value.textContent.length > 5);
    const last = rounds.at(-1);
    const before = rounds.length > 1 ? rounds[0] : null;
    refill(this.#more, JSON.stringify(rounds), () => {
      if (last === undefined) return null;
      const step = last.pooled !== null && before?.pooled != null ? last.pooled - before.pooled : null;
      return [
        step === null ? null : element("span", { text: `${change(step)} from round ${before.round}` }),
        last.worst === null ? null : element("span", { text: `worst site ${ccc(last.worst)}, ${last.worst_site}` }),
      ];
    });
  }
}

/** How far the round is, for who wonders whether it will count. */
function answers(now) {
  const words = [`${now.answered.length} of ${plural(now.asked.length, "site")} answered, quorum ${now.quorum}`];
  const failed = Object.keys(now.failed);
  if (failed.length > 0) words.push(`failed: ${failed.slice(0, 3).join(", ")}${failed.length > 3 ? ", …" : ""}`);
  if (now.attempt > 1) words.push(`attempt ${now.attempt}`);
  return words.join(" · ");
}

function awaited(sites) {
  const shown = sites.slice(0, MOST_AWAITED).map((site) =>
    element(
      "li",
      {},
      presence(site.presence, { quiet: true }),
      element("strong", { text: site.site }),
      site.last_seen ? element("span", {}, "last seen ", age(site.last_seen)) : site.presence === "online" ? null : site.presence,
    ),
  );
  const more = sites.length - shown.length;
  return more > 0 ? [...shown, element("li", { text: `and ${plural(more, "other")}` })] : shown;
}

function steps(now) {
  const at = PHASES.findIndex(({ id }) => id === now.phase);
  return PHASES.map(({ name }, index) => {
    const state = index < at ? "done" : index === at ? "now" : "next";
    return element(
      "li",
      { "data-step": state, "aria-current": index === at ? "step" : null },
      name,
      index === at ? element("span", { class: "step-time" }, age(now.since, { bare: true })) : null,
      index < at ? unseen(" (done)") : null,
    );
  });
}

function timesStamp(run, now) {
  return JSON.stringify([run.state, run.ended, run.reason, run.not_before, now?.deadline, Math.round(now?.left_s ?? -1)]);
}

function times(run, now) {
  if (run.state === "running") {
    return [
      now?.left_s == null ? null : element("span", {}, element("strong", { text: `${duration(now.left_s)} left` })),
      now?.deadline ? element("span", {}, "this step ends in ", left(now.deadline), " at the latest") : null,
    ];
  }
  return [
    run.not_before ? element("span", {}, "starts ", at(run.not_before)) : null,
    run.ended ? element("span", {}, "ended ", at(run.ended)) : null,
    run.reason ? element("span", { class: "reason", text: run.reason }) : null,
  ];
}

function noRun(waiting, isOperator) {
  const words = waiting ? "A run is about to start." : "No run yet.";
  const hint = isOperator
    ? "Start one here, or with `mien server run --rounds 20`."
    : "Its operator starts one with `mien server run`.";
  return [element("p", { class: "doing", text: words }), waiting ? null : element("p", { class: "hint" }, ...prose(hint))];
}
