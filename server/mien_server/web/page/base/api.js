// Questions to the server's JSON API, at addresses relative to the page's own: never another host.

const BASE = "api/v1/";
const PATIENCE_MS = { GET: 30_000, POST: 300_000, PUT: 60_000 }; // a release is made within a POST

/** The server said no, or nothing at all (`status` 0). `message` is for the person. */
export class ApiError extends Error {
  constructor(status, message, retryAfterS = null) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

const lostSession = new EventTarget();

/** Call `listener` when the server no longer knows this session. */
export function onSessionLost(listener) {
  lostSession.addEventListener("lost", listener);
}

/** Ask, and get what the JSON says. Parameters that are null or empty are left out; lists are repeated. */
export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") query.append(name, each);
    }
  }
  const asked = query.toString();
  return ask(asked ? `${path}?${asked}` : path, { method: "GET" });
}

/** Send a document, with POST unless said otherwise. */
export async function send(path, document = {}, method = "POST") {
  return ask(path, {
    method,
    body: JSON.stringify(document),
    headers: { "Content-Type": "application/json" },
  });
}

/** A path out of names that others chose. */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

/** The address of something the API hands out, for a link. */
export const address = (relative) => BASE + relative;

async function ask(relative, request) {
  let response;
  let text;
  try {
    response = await fetch(BASE + relative, {
      ...request,
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE_MS[request.method]),
    });
    text = await response.text();
  } catch {
    throw new ApiError(0, "The server does not answer. Is it up, and does the network reach it?");
  }
  if (response.ok) return text === "" ? null : JSON.parse(text);
  if (response.status === 401 && relative !== "login" && relative !== "session") {
    lostSession.dispatchEvent(new Event("lost"));
  }
  throw new ApiError(response.status, words(response.status, text), retryAfter(response));
}

function words(status, text) {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string" && detail !== "") return detail;
    if (Array.isArray(detail)) return detail.map((each) => `${each.loc?.at(-1) ?? ""}: ${each.msg}`).join(" ");
  } catch {
    // Not ours: a proxy's page, perhaps.
  }
  return `The server answered with ${status} and no reason. Its log knows more.`;
}

function retryAfter(response) {
  const seconds = Number(response.headers.get("Retry-After") ?? NaN);
  return Number.isFinite(seconds) ? seconds : null;
}
