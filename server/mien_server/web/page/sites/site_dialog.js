// One site: everything that is known of it now, and its part in every round of the run that is looked at.

import { ApiError, get, path } from "../base/api.js";
import { age, at } from "../base/clock.js";
import { openDialog } from "../base/dialogs.js";
import { element, setText } from "../base/dom.js";
import { UNKNOWN, bytes, ccc, count, number, seconds } from "../base/format.js";
import { DataTable } from "../base/table.js";
import { presence } from "./presence.js";

/** Show the site `name`. */
export async function openSite(store, name) {
  const site = store.status.sites.find((each) => each.name === name);
  if (site === undefined) return;
  const run = store.looked;
  const rounds = element("div", {}, element("p", { class: "hint", text: run ? "…" : "No run yet." }));
  openDialog({
    title: name,
    wide: true,
    body: [
      facts(site),
      site.error ? element("p", { class: "error whole", text: site.error }) : null,
      run ? element("h3", { text: `Its rounds in ${run}` }) : null,
      rounds,
    ].filter(Boolean),
  });
  if (run === null) return;
  try {
    const found = await get(`runs/${path(run)}/sites`, { site: name });
    const table = new DataTable({
      label: `Rounds of ${name}`,
      columns: COLUMNS,
      keyOf: ({ round }) => round,
      sorted: { id: "round", descending: true },
      empty: "It took part in none.",
    });
    table.show(found);
    rounds.replaceChildren(table.node);
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    setText(rounds, problem.message);
  }
}

function facts(site) {
  return element(
    "dl",
    { class: "facts" },
    ...fact("State", presence(site.presence)),
    ...fact("Last seen", age(site.last_seen)),
    ...fact("Key", element("code", { text: site.fingerprint ?? UNKNOWN })),
    ...fact("Frames", site.run === null ? UNKNOWN : `${count(site.frames)} in round ${site.round}, ${count(site.frames_in_all)} in ${site.run}`),
    ...fact("Device", site.device ?? UNKNOWN),
    ...fact("Version", site.version ?? UNKNOWN),
    ...(site.error_time ? fact("Last error", at(site.error_time)) : []),
  );
}

const fact = (name, value) => [element("dt", { text: name }), element("dd", {}, value)];

const COLUMNS = [
  { id: "round", title: "Round", header: true, numeric: true, value: (row) => row.round, text: (row) => count(row.round) },
  { id: "answered", title: "Answered", value: (row) => Number(row.answered), text: (row) => (row.answered ? "yes" : "no") },
  { id: "frames", title: "Frames", numeric: true, value: (row) => row.frames, text: (row) => count(row.frames) },
  { id: "loss", title: "Loss", numeric: true, value: (row) => row.loss, text: (row) => number(row.loss) },
  { id: "norm", title: "Update norm", numeric: true, value: (row) => row.update_norm, text: (row) => number(row.update_norm) },
  { id: "valence", title: "Valence", numeric: true, value: (row) => row.valence_ccc, text: (row) => ccc(row.valence_ccc) },
  { id: "arousal", title: "Arousal", numeric: true, value: (row) => row.arousal_ccc, text: (row) => ccc(row.arousal_ccc) },
  { id: "seconds", title: "Trained", numeric: true, value: (row) => row.seconds, text: (row) => seconds(row.seconds) },
  { id: "up", title: "Sent", numeric: true, value: (row) => row.bytes_up, text: (row) => bytes(row.bytes_up) },
  {
    id: "error",
    title: "Error",
    kind: "wide",
    text: (row) => [row.error, row.evaluation_error].filter(Boolean).join(" · "),
    mark: (row) => (row.error || row.evaluation_error ? "bad" : "none"),
  },
];
