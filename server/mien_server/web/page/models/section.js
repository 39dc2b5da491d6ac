// Models: those of every round of the run that is looked at, and the releases that were made.

import { at } from "../base/clock.js";
import { address, path } from "../base/api.js";
import { byId, element, refill } from "../base/dom.js";
import { bytes, ccc, count } from "../base/format.js";
import { DataTable } from "../base/table.js";
import { makeTabs } from "../base/tabs.js";
import { openModelCard, openReleaseCard } from "./card_dialog.js";
import { Chosen } from "./chosen.js";
import { openComparison } from "./compare_dialog.js";
import { askToPromote, askToRollBack } from "./release_dialogs.js";

const AT_ONCE = 20;

/** Fill the section `#models` from `store`. */
export function startModels(store) {
  makeTabs(document.querySelector("#models [role=tablist]"));
  const chosen = new Chosen();
  const rounds = new DataTable({
    label: "Models of rounds",
    columns: roundColumns(store, chosen),
    keyOf: ({ run, round }) => `${run}/${round}`,
    sorted: { id: "round", descending: true },
    limit: AT_ONCE,
    empty: "No model yet. Every round publishes one.",
  });
  const releases = new DataTable({
    label: "Releases",
    columns: releaseColumns(store, chosen),
    keyOf: ({ version }) => version,
    limit: AT_ONCE,
    empty: "No release yet. Promote a round's model, and sites can fetch it.",
  });
  byId("models-rounds").append(rounds.node);
  byId("models-releases").append(releases.node);
  let of = null;
  store.watch(["models"], () => {
    if (of !== store.looked) rounds.shorten();
    of = store.looked;
    rounds.show(store.models);
    releases.show(store.releases);
  });
  const bar = byId("compare-bar");
  const showBar = () => refill(bar, chosen.names.join(" "), () => compareBar(chosen));
  chosen.addEventListener("change", showBar);
  showBar();
}

const ccColumns = [
  { id: "valence", title: "Valence", numeric: true, value: (row) => row.valence_ccc, text: (row) => ccc(row.valence_ccc) },
  { id: "arousal", title: "Arousal", numeric: true, value: (row) => row.arousal_ccc, text: (row) => ccc(row.arousal_ccc) },
];

const created = {
  id: "created",
  title: "Made",
  value: (row) => Date.parse(row.created),
  stamp: (row) => row.created,
  make: (row) => at(row.created),
};

const hashColumn = (id, title, of) => ({
  id,
  title,
  stamp: of,
  make: (row) => element("code", { title: of(row), text: of(row).slice(0, 12) }),
});

const actionsColumn = (of, make) => ({
  id: "actions",
  title: "Actions",
  quiet: true,
  kind: "wide",
  numeric: true,
  stamp: (row) => JSON.stringify(of(row)),
  make,
});

const roundColumns = (store, chosen) => [
  { id: "choose", title: "Compare", kind: "choose", stamp: (row) => `${row.run}/${row.round}`, make: (row) => chosen.box(`${row.run}/${row.round}`) },
  {
    id: "round",
    title: "Round",
    header: true,
    value: (row) => row.round,
    stamp: (row) => JSON.stringify([row.round, row.is_latest, row.releases]),
    make: (row) => [
      element("span", { class: "round-number", text: `${row.round}` }),
      row.is_latest ? element("span", { class: "tag", text: "newest" }) : null,
      ...row.releases.map((version) => element("span", { class: "tag release", text: `release ${version}` })),
    ],
  },
  ...ccColumns,
  { id: "sites", title: "Sites", numeric: true, value: (row) => row.sites, text: (row) => count(row.sites) },
  { id: "frames", title: "Frames", numeric: true, value: (row) => row.frames, text: (row) => count(row.frames) },
  created,
  hashColumn("sha256", "SHA-256", (row) => row.sha256),
  actionsColumn(
    (row) => [row.sha256, store.isOperator],
    (row) => modelActions(store, row),
  ),
];

function modelActions(store, row) {
  const name = `round ${row.round}`;
  return element(
    "div",
    { class: "actions" },
    button("Card", `Card of ${name}`, () => openModelCard(row)),
    element("a", {
      class: "button",
      href: address(`models/${path(row.run)}/${row.round}/files/model.safetensors`),
      download: true,
      "aria-label": `Download the model of ${name}, ${bytes(row.bytes)}`,
      title: `model.safetensors, ${bytes(row.bytes)}`,
      text: "Download",
    }),
    store.isOperator ? button("Promote", `Promote ${name} to a release`, () => askToPromote(store, row)) : null,
  );
}

const releaseColumns = (store, chosen) => [
  { id: "choose", title: "Compare", kind: "choose", stamp: (row) => row.version, make: (row) => chosen.box(row.version) },
  {
    id: "version",
    title: "Version",
    header: true,
    stamp: (row) => `${row.version} ${row.is_latest}`,
    make: (row) => [
      element("span", { class: "round-number", text: row.version }),
      row.is_latest ? element("span", { class: "tag release", text: "latest" }) : null,
    ],
  },
  { id: "of", title: "Of", value: (row) => `${row.run}/${row.round}`, text: (row) => `${row.run}, round ${row.round}` },
  ...ccColumns,
  created,
  hashColumn("sums", "SHA256SUMS", (row) => row.sums_sha256),
  actionsColumn(
    (row) => [row.version, row.is_latest, store.isOperator],
    (row) =>
      element(
        "div",
        { class: "actions" },
        button("Card and files", `Card and files of release ${row.version}`, () => openReleaseCard(row)),
        store.isOperator && !row.is_latest
          ? button("Make latest", `Make ${row.version} the latest release`, () => askToRollBack(store, row))
          : null,
      ),
  ),
];

function button(text, label, act) {
  return element("button", { type: "button", text, "aria-label": label, on: { click: act } });
}

function compareBar(chosen) {
  const { names } = chosen;
  if (names.length === 0) return element("span", { class: "hint", text: "Choose two to compare them." });
  const [first, second] = names;
  return [
    element("span", { text: second === undefined ? `${first} and …` : `${first} and ${second}` }),
    element("button", {
      type: "button",
      class: "primary",
      disabled: second === undefined,
      text: "Compare",
      on: { click: () => openComparison(first, second) },
    }),
    element("button", { type: "button", class: "plain", text: "Clear", on: { click: () => chosen.clear() } }),
  ];
}
