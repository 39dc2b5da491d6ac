// What each chart shows: its lines, and what is told of a round in words and in the table.

import { UNKNOWN, bytes, ccc, duration, number, seconds } from "../base/format.js";
import { edges, stacked, values } from "./series.js";

/** A round number, as axes have them. */
const tick = (value) => String(Number(value.toFixed(3))).replace("-", "−");

/** From 0 to a little above the largest. */
const fromZero = (smallest = 1) => (_, low, high) => [Math.min(0, low ?? 0), Math.max(smallest, (high ?? 0) * 1.08)];

/** CCC: 0 is chance, and always in sight. */
const cccRange = (_, low, high) => {
  const bottom = low === null || low >= 0 ? 0 : Math.max(-1, low * 1.1);
  return [bottom, Math.min(1, Math.max(0.2, (high ?? 0) * 1.1))];
};

function agreement(target, title) {
  const read = (key) => (round) => round[target][key];
  return {
    id: target,
    title,
    range: cccRange,
    format: tick,
    lines: [
      { colour: target, kind: "edge" },
      { colour: target, kind: "edge" },
      { colour: target, kind: "dashed" },
      { colour: target, kind: "line" },
    ],
    bands: [{ between: [1, 2], colour: target }],
    draw(facts) {
      const pooled = values(facts, read("pooled"));
      return [...edges(pooled, values(facts, read("spread")), [-1, 1]), values(facts, read("worst")), pooled];
    },
    readings: [
      { swatch: `solid ${target}`, name: "pooled", text: (round) => ccc(round[target].pooled) },
      { swatch: `dashed ${target}`, name: "worst site", text: (round) => ccc(round[target].worst), who: (round) => round[target].worst_site },
      { swatch: `band ${target}`, name: "spread", text: (round) => plusMinus(round[target].spread, ccc) },
    ],
  };
}

const plusMinus = (value, words) => (value === null ? UNKNOWN : `±${words(value)}`);

const LOSS = {
  id: "loss",
  title: "Training loss",
  range: fromZero(0.1),
  format: tick,
  lines: [
    { colour: "loss", kind: "edge" },
    { colour: "loss", kind: "edge" },
    { colour: "loss", kind: "dashed" },
    { colour: "loss", kind: "line" },
  ],
  bands: [{ between: [1, 2], colour: "loss" }],
  draw(facts) {
    const mean = values(facts, (round) => round.loss.mean);
    return [...edges(mean, values(facts, (round) => round.loss.spread)), values(facts, (round) => round.loss.worst), mean];
  },
  readings: [
    { swatch: "solid loss", name: "mean", text: (round) => number(round.loss.mean) },
    { swatch: "dashed loss", name: "worst site", text: (round) => number(round.loss.worst), who: (round) => round.loss.worst_site },
    { swatch: "band loss", name: "spread", text: (round) => plusMinus(round.loss.spread, number) },
  ],
};

const PARTS = ["wait", "train", "transfer", "aggregate", "evaluate"];

const TIME = {
  id: "time",
  title: "Round time",
  bars: true,
  wide: true,
  range: fromZero(1),
  format: (value) => (value < 60 ? `${tick(value)} s` : duration(value)),
  lines: PARTS.toReversed().map((part) => ({ colour: part, kind: "line" })), // the highest sum is drawn first
  draw: (facts) => stacked(PARTS.map((part) => values(facts, (round) => round.seconds[part]))).toReversed(),
  readings: [
    ...PARTS.map((part) => ({ swatch: `block ${part}`, name: part, text: (round) => seconds(round.seconds[part]) })),
    { swatch: null, name: "in all", text: (round) => seconds(round.seconds.total) },
  ],
};

const BYTES = {
  id: "bytes",
  title: "Bytes a round",
  range: fromZero(1000),
  format: (value) => bytes(value).replace(".0", ""),
  lines: [
    { colour: "up", kind: "line" },
    { colour: "down", kind: "dashed" },
  ],
  draw: (facts) => [values(facts, (round) => round.bytes_up), values(facts, (round) => round.bytes_down)],
  readings: [
    { swatch: "solid up", name: "up, from sites", text: (round) => bytes(round.bytes_up) },
    { swatch: "dashed down", name: "down, to sites", text: (round) => bytes(round.bytes_down) },
  ],
};

const EPSILON = {
  id: "epsilon",
  title: "Privacy spent, ε",
  range: fromZero(0.1),
  format: tick,
  lines: [{ colour: "epsilon", kind: "line" }],
  draw: (facts) => [values(facts, (round) => round.epsilon)],
  readings: [{ swatch: "solid epsilon", name: "ε up to this round", text: (round) => number(round.epsilon) }],
  /** Only where a mechanism is on. */
  isFor: (rounds) => rounds.some((round) => round.epsilon !== null),
};

export const PLANS = [agreement("valence", "Valence CCC"), agreement("arousal", "Arousal CCC"), LOSS, TIME, BYTES, EPSILON];
