// Kinds of events, in groups for the filter, and how each is marked.

/** Name of the group, and the kinds in it; the server's history/kinds.py has them all. */
export const GROUPS = [
  ["Sites come and go", ["joined", "late", "left"]],
  ["Rounds", ["waiting", "round", "round_failed", "dropped"]],
  ["Runs", ["queued", "started", "resumed", "finished", "stopped", "failed", "died"]],
  ["Models", ["promoted", "rolled_back", "release_key_rotated"]],
  ["Enrolment", ["invited", "enrolled", "revoked", "key_rotated", "refused"]],
  ["The server", ["server_started", "server_stopped", "unreadable"]],
];

const TONES = {
  good: ["joined", "finished", "promoted", "enrolled", "round"],
  watch: ["late", "left", "waiting", "stopped", "rolled_back", "revoked"],
  bad: ["round_failed", "dropped", "failed", "died", "refused", "unreadable"],
};

/** good, watch, bad, or plain. */
export const tone = (kind) => Object.keys(TONES).find((name) => TONES[name].includes(kind)) ?? "plain";

/** A kind for a person. */
export const words = (kind) => kind.replaceAll("_", " ");
