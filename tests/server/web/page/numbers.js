// Runs inside the page: its own modules, asked directly.
async () => {
  const words = await import(new URL("static/base/format.js", location.href));
  const lines = await import(new URL("static/curves/series.js", location.href));
  const { nextVersion } = await import(new URL("static/models/versions.js", location.href));
  const { settingsOf, fieldOf } = await import(new URL("static/run/start_fields.js", location.href));
  const gap = lines.contiguous([{ round: 2, v: 0.5 }, { round: 4, v: null }, { round: 5, v: 0 }]);
  const values = lines.values(gap.facts, (round) => round.v);
  return {
    bytes: [0, 999, 1000, 999_999, 1_530_000, null].map(words.bytes),
    duration: [0, 59.4, 60, 125, 3600, 11_520, 90_000, null].map((value) => words.duration(value)),
    ccc: [0, -0.1234, -0.0001, 1, null].map(words.ccc),
    number: [0, 0.00001, 0.1234, 12.34, 1234, null].map(words.number),
    gap: [gap.numbers, values],
    edges: lines.edges([0.9, null, 0.5], [0.2, 0.1, null], [-1, 1]),
    stacked: lines.stacked([[1, null, null], [2, 3, null]]),
    next: [[], ["1.0.0"], ["1.10.0", "1.9.0", "2.0.0-rc.1"]].map(nextVersion),
    settings: settingsOf([["rounds", "3"], ["rule.name", "fedadam"], ["rule.tau", "0.1"], ["seed", ""]]),
    fields: ["settings: rule.tau: should be greater", "quorum: Input", "the quorum is 9", "no server answers"]
      .map((message) => fieldOf(message, ["rounds", "quorum", "rule.tau"])),
  };
}
