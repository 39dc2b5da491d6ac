// The fields of the dialog that starts a run: where each goes in the settings, and what it is for. What is
// left empty is the server's default.

/** Field: `name` is its path in the settings, `placeholder` the default in words. */
export const MAIN = [
  { name: "rounds", label: "Rounds", value: 20, step: 1, min: 1 },
  { name: "quorum", label: "Quorum", placeholder: "more than half", step: 1, min: 1, hint: "sites that must answer for a round to count" },
  { name: "deadline_s", label: "Deadline, s", placeholder: "600", min: 0, hint: "longest wait for the sites, in a round" },
  { name: "fraction", label: "Fraction", placeholder: "1, all of them", min: 0, max: 1, hint: "share of the sites online that a round asks" },
];

export const MORE = [
  { name: "training.local_epochs", label: "Local epochs", placeholder: "2", step: 1, min: 1, hint: "passes over its own data, at each site" },
  { name: "training.window_s", label: "Window, s", placeholder: "10", min: 0, hint: "length of a training window" },
  { name: "training.learning_rate", label: "Learning rate", placeholder: "0.003", min: 0 },
  { name: "seed", label: "Seed", placeholder: "7", step: 1, min: 0, hint: "the same seed and sites give the same model" },
  { name: "wait_s", label: "Wait, s", placeholder: "120", min: 0, hint: "longest wait for enough sites" },
];

const WEIGHTING = {
  name: "rule.weighting",
  label: "An update counts for",
  options: [["", "its frames"], ["sites", "as much as any other"]],
};
const SERVER_STEP = { name: "rule.server_learning_rate", label: "Server's learning rate", placeholder: "0.03", min: 0 };
const TAU = { name: "rule.tau", label: "τ", placeholder: "0.001", min: 0, hint: "smaller updates make smaller steps" };
const BETAS = [
  { name: "rule.beta_1", label: "β₁", placeholder: "0.9", min: 0, max: 1, hint: "how long the mean update is remembered" },
  { name: "rule.beta_2", label: "β₂", placeholder: "0.99", min: 0, max: 1, hint: "how long its square is remembered" },
];
const HOSTILE = { name: "rule.byzantine_sites", label: "Hostile sites", value: 1, step: 1, min: 1, hint: "how many to hold out against" };

/** The rules, with the numbers that each looks at. */
export const RULES = [
  { name: "fedavg", words: "mean of the updates", fields: [WEIGHTING] },
  {
    name: "fedprox",
    words: "mean; sites are held to the global model",
    fields: [{ name: "rule.proximal_mu", label: "µ", placeholder: "0.01", min: 0, hint: "how strongly they are held" }, WEIGHTING],
  },
  {
    name: "fedavgm",
    words: "mean, with momentum",
    fields: [
      { name: "rule.server_momentum", label: "Momentum", placeholder: "0.9", min: 0, max: 1 },
      { ...SERVER_STEP, placeholder: "1" },
      WEIGHTING,
    ],
  },
  { name: "fedadam", words: "mean, with Adam at the server", fields: [SERVER_STEP, ...BETAS, TAU, WEIGHTING] },
  { name: "fedyogi", words: "mean, with Yogi at the server", fields: [SERVER_STEP, ...BETAS, TAU, WEIGHTING] },
  { name: "fedadagrad", words: "mean, with Adagrad at the server", fields: [SERVER_STEP, TAU, WEIGHTING] },
  { name: "median", words: "median: holds out against hostile sites", fields: [] },
  {
    name: "trimmed-mean",
    words: "mean without the extremes",
    fields: [{ name: "rule.trimmed_share", label: "Left out at each end", placeholder: "0.2", min: 0, max: 0.5 }],
  },
  { name: "krum", words: "the update nearest to the others", fields: [HOSTILE] },
  {
    name: "multi-krum",
    words: "mean of the nearest ones",
    fields: [HOSTILE, { name: "rule.selected_sites", label: "Averaged", placeholder: "all but the hostile", step: 1, min: 1 }],
  },
  { name: "bulyan", words: "trimmed mean of the nearest ones", fields: [HOSTILE] },
];

/** Settings out of what was typed: `{"rule.tau": "0.1"}` → `{rule: {tau: 0.1}}`; what is empty is left out. */
export function settingsOf(typed) {
  const settings = {};
  for (const [name, text] of typed) {
    if (text.trim() === "") continue;
    const keys = name.split(".");
    const last = keys.pop();
    let into = settings;
    for (const key of keys) into = into[key] ??= {};
    const value = Number(text);
    into[last] = Number.isNaN(value) ? text : value;
  }
  return settings;
}

/** The name of the field that an error is about, out of `names`; null where it names none. */
export function fieldOf(message, names) {
  const said = [...message.split(": ").slice(0, 2), ...message.split(/[^\w.]+/)];
  for (const word of said) {
    const found = names.find((name) => name === word || name.split(".").at(-1) === word.split(".").at(-1));
    if (found !== undefined) return found;
  }
  return null;
}
