// Making a release of a round's model, and saying which release is the latest.

import { note } from "../base/announce.js";
import { send } from "../base/api.js";
import { openQuestion } from "../base/dialogs.js";
import { element, prose, setAttribute, setShown } from "../base/dom.js";
import { nextVersion } from "./versions.js";

/** Ask for a version, then promote the model of a round. */
export function askToPromote(store, { run, round }) {
  const version = element("input", {
    id: "promote-version",
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "promote-hint promote-error",
  });
  version.value = nextVersion(store.releases.map((release) => release.version));
  const error = element("p", { id: "promote-error", class: "error", hidden: true });
  const show = (message) => {
    error.replaceChildren(...prose(message ?? ""));
    setShown(error, message !== null);
    setAttribute(version, "aria-invalid", message === null ? null : "true");
  };
  openQuestion({
    title: `Promote round ${round} of ${run}`,
    body: [
      element(
        "p",
        {},
        ...prose(
          "This makes a release of the model: signed with the server's key, as safetensors and ONNX, with a card for people. " +
          "It is never changed or removed, and anyone who reaches the releases' port can fetch it. It becomes the latest, which " +
          "sites get with `mien agent fetch`, unless its version is a trial (1.1.0-rc.1) or not the highest.",
        ),
      ),
      element(
        "div",
        { class: "field" },
        element("label", { for: version.id, text: "Version" }),
        version,
        element("p", { id: "promote-hint", class: "hint", text: "three numbers, as 1.2.0" }),
        error,
      ),
    ],
    agree: "Promote",
    act: async () => {
      show(null);
      const wanted = version.value.trim();
      const made = await send("releases", wanted === "" ? { run, round } : { run, round, version: wanted });
      note(`Release ${made.version} was made of round ${round}.`);
    },
    onError: ({ status, message }) => {
      const isOfVersion = (status === 422 || status === 409) && /version|\b\d+\.\d+\.\d+\b/.test(message);
      if (!isOfVersion) return false;
      show(message);
      version.focus();
      return true;
    },
  });
  version.focus();
  version.select();
}

/** Ask, then make a release the latest. */
export function askToRollBack(store, { version }) {
  const latest = store.releases.find((release) => release.is_latest)?.version;
  openQuestion({
    title: `Make ${version} the latest?`,
    body: element(
      "p",
      {},
      `Sites that fetch from now on get ${version}${latest ? ` instead of ${latest}` : ""}. ` +
        "A site that has a higher one keeps it, unless it fetches with ",
      element("code", { text: "--allow-downgrade" }),
      ". No release is removed.",
    ),
    agree: `Make ${version} the latest`,
    act: async () => {
      await send("releases/latest", { version }, "PUT");
      note(`${version} is the latest release.`);
    },
  });
}
