// The dialog that starts a run. The server checks the settings; its answer is shown at the field it is about.

import { note } from "../base/announce.js";
import { send } from "../base/api.js";
import { openQuestion } from "../base/dialogs.js";
import { element, prose, setAttribute, setShown } from "../base/dom.js";
import { plural } from "../base/format.js";
import { MAIN, MORE, RULES, fieldOf, settingsOf } from "./start_fields.js";

/** Ask for a run's settings and start it. */
export function openStart(store) {
  const form = new StartForm(store);
  openQuestion({
    title: "Start a run",
    body: form.nodes,
    agree: "Start",
    act: async () => {
      form.forgetErrors();
      const made = await send("runs", form.document());
      note(made.state === "waiting" ? `${made.run} waits in the queue.` : `${made.run} starts.`);
    },
    onError: (problem) => form.showError(problem),
  });
  form.focus();
}

class StartForm {
  #inputs = new Map();
  #rule = element("select", { id: "start-rule" });
  #numbers = element("div", { class: "fields" });
  #when = element("input", { id: "start-not-before", type: "datetime-local" });

  constructor(store) {
    this.#rule.append(...RULES.map(({ name, words }) => element("option", { value: name, text: `${name}: ${words}` })));
    this.#rule.addEventListener("change", () => this.#showNumbers());
    this.#inputs.set("rule.name", this.#rule);
    this.#inputs.set("not_before", this.#when);
    const online = (store.status?.sites ?? []).filter(({ presence }) => presence === "online" || presence === "late").length;
    const main = MAIN.map((field) => this.#field(field));
    const more = MORE.map((field) => this.#field(field));
    this.nodes = [
      element("p", { class: "hint", text: `${plural(online, "site")} online now. What is left empty is as shown in grey.` }),
      element("div", { class: "fields" }, ...main),
      labelled("Rule", this.#rule, { wide: true }),
      this.#numbers,
      element(
        "details",
        {},
        element("summary", { text: "More settings" }),
        element("div", { class: "fields" }, ...more, labelled("Not before", this.#when, { hint: "this machine's time" })),
      ),
    ];
    this.#showNumbers();
  }

  focus() {
    const rounds = this.#inputs.get("rounds");
    rounds.focus();
    rounds.select();
  }

  /** What is sent. */
  document() {
    const typed = [...this.#inputs].filter(([name]) => name !== "not_before").map(([name, { value }]) => [name, value]);
    const settings = settingsOf(typed);
    if (this.#when.value) settings.not_before = new Date(this.#when.value).toISOString();
    return settings;
  }

  forgetErrors() {
    for (const input of this.#inputs.values()) this.#setError(input, null);
  }

  /** Show an error at its field; false where it is about none. */
  showError({ status, message }) {
    if (status < 400 || status >= 500) return false;
    const name = fieldOf(message, [...this.#inputs.keys()]);
    if (name === null) return false;
    const input = this.#inputs.get(name);
    this.#setError(input, message);
    input.closest("details")?.setAttribute("open", "");
    input.focus();
    return true;
  }

  #setError(input, message) {
    const shown = document.getElementById(`${input.id}-error`);
    shown.replaceChildren(...prose(message?.replace(/^settings: /, "") ?? ""));
    setShown(shown, message !== null);
    setAttribute(input, "aria-invalid", message === null ? null : "true");
  }

  #showNumbers() {
    for (const name of [...this.#inputs.keys()]) {
      if (name.startsWith("rule.") && name !== "rule.name") this.#inputs.delete(name);
    }
    const { fields } = RULES.find(({ name }) => name === this.#rule.value);
    this.#numbers.replaceChildren(...fields.map((field) => this.#field(field)));
    setShown(this.#numbers, fields.length > 0);
  }

  #field(field) {
    const id = `start-${field.name.replace(".", "-")}`;
    const input = field.options ? choice(id, field.options) : numeric(id, field);
    this.#inputs.set(field.name, input);
    return labelled(field.label, input, { hint: field.hint });
  }
}

function choice(id, options) {
  return element("select", { id }, ...options.map(([value, text]) => element("option", { value, text })));
}

function numeric(id, { value, placeholder, step = "any", min, max }) {
  const made = element("input", { id, type: "number", inputmode: step === 1 ? "numeric" : "decimal", step, min, max, placeholder });
  if (value !== undefined) made.value = value;
  return made;
}

function labelled(text, input, { hint, wide = false } = {}) {
  const error = element("p", { id: `${input.id}-error`, class: "error", hidden: true });
  const about = hint ? element("p", { id: `${input.id}-hint`, class: "hint", text: hint }) : null;
  input.setAttribute("aria-describedby", [error.id, about?.id].filter(Boolean).join(" "));
  return element("div", { class: wide ? "field wide" : "field" }, element("label", { for: input.id, text }), input, about, error);
}
