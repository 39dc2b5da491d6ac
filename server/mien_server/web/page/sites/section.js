// All sites: whether they are there, and what they did last.

import { announce } from "../base/announce.js";
import { age } from "../base/clock.js";
import { byId, element, refill } from "../base/dom.js";
import { UNKNOWN, ccc, count, number } from "../base/format.js";
import { DataTable } from "../base/table.js";
import { PRESENCES, presence } from "./presence.js";
import { openSite } from "./site_dialog.js";

/** Fill the section `#sites` from `store`. */
export function startSites(store) {
  const table = new DataTable({
    label: "Sites",
    columns: columns(store),
    keyOf: ({ name }) => name,
    sorted: { id: "name", descending: false },
    empty: "No site is enrolled yet. `mien server invite --name lab-1` prints a code with which one can join.",
  });
  byId("sites-list").append(table.node);
  let before = new Map();
  store.watch(["status"], () => {
    const sites = store.status?.sites ?? [];
    table.show(sites);
    refill(byId("sites-sum"), sum(sites), () => counts(sites));
    before = announceChanges(before, sites);
  });
}

const columns = (store) => [
  {
    id: "name",
    title: "Site",
    header: true,
    value: ({ name }) => name,
    stamp: ({ name }) => name,
    make: ({ name }) => element("button", { type: "button", class: "link", text: name, on: { click: () => openSite(store, name) } }),
  },
  {
    id: "presence",
    title: "State",
    value: (site) => PRESENCES.indexOf(site.presence),
    stamp: (site) => site.presence,
    make: (site) => presence(site.presence),
  },
  {
    id: "last_seen",
    title: "Last seen",
    value: (site) => site.last_seen && Date.parse(site.last_seen),
    stamp: (site) => `${site.last_seen}`,
    make: (site) => age(site.last_seen),
  },
  { id: "round", title: "Last round", numeric: true, value: (site) => site.round, text: (site) => count(site.round) },
  { id: "frames", title: "Frames", numeric: true, value: (site) => site.frames_in_all, text: frames },
  { id: "valence", title: "Valence", numeric: true, value: (site) => site.valence_ccc, text: (site) => ccc(site.valence_ccc) },
  { id: "arousal", title: "Arousal", numeric: true, value: (site) => site.arousal_ccc, text: (site) => ccc(site.arousal_ccc) },
  { id: "update_norm", title: "Update norm", numeric: true, value: (site) => site.update_norm, text: (site) => number(site.update_norm) },
  { id: "device", title: "Device", value: (site) => site.device, text: (site) => site.device ?? UNKNOWN },
  { id: "version", title: "Version", value: (site) => site.version, text: (site) => site.version ?? UNKNOWN },
  {
    id: "error",
    title: "Error",
    kind: "wide",
    value: (site) => site.error,
    stamp: (site) => site.error,
    make: (site) => (site.error ? element("span", { class: "site-error", title: site.error, text: site.error }) : null),
    mark: (site) => (site.error ? "bad" : "none"),
  },
];

/** In all rounds of its last run. */
const frames = (site) => (site.run === null ? UNKNOWN : count(site.frames_in_all));

const numbers = (sites) =>
  PRESENCES.map((state) => [state, sites.filter((site) => site.presence === state).length]).filter(([, found]) => found > 0);

const sum = (sites) => JSON.stringify(numbers(sites));

function counts(sites) {
  return numbers(sites).map(([state, found]) => {
    const shown = presence(state);
    shown.insertBefore(document.createTextNode(`${found} `), shown.lastChild);
    return shown;
  });
}

/** Say who came, is late, or left; not at the first look. */
function announceChanges(before, sites) {
  const said = sites
    .filter(({ name, presence: state }) => before.has(name) && before.get(name) !== state)
    .map(({ name, presence: state }) => `${name} is ${state}.`);
  if (said.length > 0) announce("sites", said.slice(0, 5).join(" "));
  return new Map(sites.map(({ name, presence: state }) => [name, state]));
}
