// From rounds to what is drawn: a list of numbers per line, null where nothing is known. Pure functions.

/** Every round from the first to the last that is known; null for one that is missing, so that lines break. */
export function contiguous(rounds) {
  if (rounds.length === 0) return { numbers: [], facts: [] };
  const byNumber = new Map(rounds.map((round) => [round.round, round]));
  const first = rounds[0].round;
  const numbers = Array.from({ length: rounds.at(-1).round - first + 1 }, (_, at) => first + at);
  return { numbers, facts: numbers.map((number) => byNumber.get(number) ?? null) };
}

/** Values of `read`, null where there is no round or no number. */
export function values(facts, read) {
  return facts.map((round) => {
    const value = round === null ? null : read(round);
    return Number.isFinite(value) ? value : null;
  });
}

/** Upper and lower edge of middle ± spread, within `limits`; null where either is not known. */
export function edges(middle, spread, limits = [-Infinity, Infinity]) {
  const edge = (sign) =>
    middle.map((value, at) => {
      if (value === null || spread[at] === null) return null;
      return Math.min(limits[1], Math.max(limits[0], value + sign * spread[at]));
    });
  return [edge(1), edge(-1)];
}

/**
 * Parts on top of each other: for each part the sum of it and those before. A part that is not known adds
 * nothing, but where none is known there is nothing to draw.
 */
export function stacked(parts) {
  const sums = [];
  parts[0]?.forEach((_, at) => {
    let sum = null;
    parts.forEach((part, index) => {
      if (part[at] !== null) sum = (sum ?? 0) + part[at];
      (sums[index] ??= [])[at] = sum;
    });
  });
  return sums.length ? sums : parts.map(() => []);
}
