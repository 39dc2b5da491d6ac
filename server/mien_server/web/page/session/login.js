// Who looks: a token is changed for a session, which the browser keeps in a cookie no script can read.

import { ApiError, get, send } from "../base/api.js";
import { byId, prose, setAttribute, setShown } from "../base/dom.js";
import { duration } from "../base/format.js";

/** The session there is: `{role, version}`, or null. */
export async function session() {
  try {
    return await get("session");
  } catch (problem) {
    if (problem instanceof ApiError && problem.status === 401) return null;
    throw problem;
  }
}

/** Show the login until somebody is let in; `why` is said above it where there is a reason. */
export function askForToken(why = "") {
  const main = byId("login");
  const form = main.querySelector("form");
  const token = byId("token");
  const error = byId("token-error");
  const button = form.querySelector("button");
  const say = (message) => {
    error.replaceChildren(...prose(message));
    setShown(error, message !== "");
    setAttribute(token, "aria-invalid", message === "" ? null : "true");
  };
  say(why);
  setAttribute(token, "aria-invalid", null);
  setShown(main, true);
  token.focus();
  return new Promise((letIn) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (button.disabled) return;
      if (token.value.trim() === "") {
        say("Paste the token here.");
        token.focus();
        return;
      }
      button.disabled = true;
      try {
        await send("login", { token: token.value.trim() });
        const found = await session();
        if (found === null) throw new ApiError(401, "The browser did not keep the session. Does it refuse cookies?");
        token.value = "";
        setShown(main, false);
        letIn(found);
      } catch (problem) {
        if (!(problem instanceof ApiError)) throw problem;
        if (problem.status === 429) await rest(problem.retryAfterS ?? 60, say);
        else say(problem.message);
        token.select();
        token.focus();
      } finally {
        button.disabled = false;
      }
    });
  });
}

/** Count down until another try is let through. */
async function rest(seconds, say) {
  const end = Date.now() + seconds * 1000;
  for (let left = seconds; left > 0; left = (end - Date.now()) / 1000) {
    say(`Too many wrong tokens. Try again in ${duration(Math.ceil(left))}.`);
    await new Promise((done) => setTimeout(done, Math.min(1000, left * 1000)));
  }
  say("");
}

/** End the session, and begin anew. */
export async function logOut() {
  try {
    await send("logout");
  } finally {
    location.reload();
  }
}
