// Dialogs: the browser's own `<dialog>`, which keeps the focus inside, closes on Escape and gives the focus
// back to where it was.

import { ApiError } from "./api.js";
import { element, prose, setShown } from "./dom.js";

let number = 0;

/**
 * Open a dialog.
 *
 * `wide` for tables. A click beside it closes it unless it `asks` something. Returns the `<dialog>`.
 */
export function openDialog({ title, body, buttons = [], wide = false, asks = false }) {
  number += 1;
  const heading = element("h2", { id: `dialog-${number}`, text: title });
  const close = element("button", { class: "plain", type: "button", "aria-label": "Close", text: "×" });
  const dialog = element(
    "dialog",
    { class: wide ? "wide" : null, "aria-labelledby": heading.id },
    element("div", { class: "dialog-head" }, heading, close),
    element("div", { class: "dialog-body" }, ...[body].flat()),
    buttons.length ? element("div", { class: "dialog-foot" }, ...buttons) : null,
  );
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("pointerdown", (event) => {
    if (!asks && event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Ask before something is done, and do it.
 *
 * `act` is called when the person agrees; while it runs the buttons rest, and an error is shown in the
 * dialog, which stays open. `onError` may show it elsewhere: it returns whether it did.
 */
export function openQuestion({ title, body, agree, tone = "primary", wide = false, act, onError = () => false }) {
  const error = element("p", { class: "error", role: "alert", hidden: true });
  const yes = element("button", { class: tone, type: "submit", text: agree });
  const no = element("button", { type: "button", text: "Cancel" });
  const form = element(
    "form",
    { method: "dialog", novalidate: true },
    ...[body].flat(),
    error,
    element("div", { class: "dialog-foot" }, no, yes),
  );
  const dialog = openDialog({ title, body: form, wide, asks: true });
  no.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (yes.disabled) return;
    yes.disabled = true;
    yes.setAttribute("aria-busy", "true");
    setShown(error, false);
    try {
      await act();
      dialog.close();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      if (!onError(problem)) {
        error.replaceChildren(...prose(problem.message));
        setShown(error, true);
      }
    } finally {
      yes.disabled = false;
      yes.removeAttribute("aria-busy");
    }
  });
  return dialog;
}
