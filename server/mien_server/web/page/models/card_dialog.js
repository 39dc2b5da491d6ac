// The card of a model, for a person, and the files that belong to it.

import { note } from "../base/announce.js";
import { ApiError, address, get, path } from "../base/api.js";
import { at } from "../base/clock.js";
import { openDialog } from "../base/dialogs.js";
import { element } from "../base/dom.js";
import { UNKNOWN, bytes, ccc, count } from "../base/format.js";

/** Show the card of a round's model. */
export async function openModelCard({ run, round, sha256 }) {
  const base = `models/${path(run)}/${round}`;
  await show(base, `Round ${round} of ${run}`, (card) => [
    ...about(card),
    hash("model.safetensors", sha256),
    links(["model.safetensors", "card.json"].map((name) => [name, address(`${base}/files/${name}`), null])),
  ]);
}

/** Show the card of a release, with its files. */
export async function openReleaseCard(release) {
  const { version, run, round } = release;
  const files = `releases/${path(version)}/files`;
  await show(`models/${path(run)}/${round}`, `Release ${version}`, (card) => [
    element("p", { class: "hint" }, `Made of round ${round} of ${run}, `, at(release.created), "."),
    ...about(card),
    hash("SHA256SUMS", release.sums_sha256),
    links(Object.entries(release.files).map(([name, size]) => [name, address(`${files}/${path(name)}`), size])),
  ]);
}

async function show(question, title, body) {
  let card;
  try {
    card = await get(question);
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    note(problem.message, "bad");
    return;
  }
  openDialog({ title, body: body(card), wide: true });
}

function about(card) {
  const { architecture: made } = card;
  const kind = [made.bidirectional ? "bidirectional" : "", made.residual ? "residual" : "", made.kind.toUpperCase()];
  return [
    element(
      "dl",
      { class: "facts" },
      ...fact("Trained", at(card.created)),
      ...fact("Network", `${kind.filter(Boolean).join(" ")}, ${made.layers} × ${made.hidden_units} units`),
      ...fact("Schema", `${card.schema_name}, ${card.channels.length} channels at ${card.rate_hz} Hz`),
      ...fact("Sites", card.sites.map(({ site, frames }) => `${site} (${count(frames)} frames)`).join(", ") || "none"),
      ...fact("Versions", Object.entries(card.versions).map((each) => each.join(" ")).join(", ") || UNKNOWN),
    ),
    agreement(card),
    element("p", {
      class: "hint",
      text: "CCC on recordings that the sites held out. These may be of people who were also trained on; of strangers, expect less.",
    }),
  ];
}

const fact = (name, value) => [element("dt", { text: name }), element("dd", {}, value)];

function agreement({ targets, ccc: found, worst_site: worst }) {
  const head = ["CCC", "pooled", "mean over recordings", "worst site"].map((text) => element("th", { scope: "col", text }));
  const rows = targets.map((target) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", text: target }),
      element("td", { text: ccc(found[target]?.pooled) }),
      element("td", { text: ccc(found[target]?.mean_over_recordings) }),
      element("td", { text: worst[target] ? `${ccc(worst[target].pooled)} ${worst[target].site}` : UNKNOWN }),
    ),
  );
  return element(
    "div",
    { class: "scroller" },
    element("table", { class: "plain-table" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
  );
}

function hash(name, sha256) {
  return element("p", { class: "hash" }, `SHA-256 of ${name} `, element("code", { text: sha256 }));
}

function links(files) {
  return element(
    "ul",
    { class: "files" },
    ...files.map(([name, href, size]) =>
      element(
        "li",
        {},
        element("a", { class: "button", href, download: name, text: name }),
        size === null ? null : element("span", { class: "hint", text: bytes(size) }),
      ),
    ),
  );
}
