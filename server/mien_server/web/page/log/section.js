// What happened, newest first: live, filtered by the server, older ones when asked for.

import { note } from "../base/announce.js";
import { ApiError, get } from "../base/api.js";
import { at } from "../base/clock.js";
import { byId, element, refill, setShown, setText } from "../base/dom.js";
import { EVENTS_AT_ONCE } from "../state/refresh.js";
import { GROUPS, tone, words } from "./kinds.js";

const TYPING_MS = 250;
const AT_FIRST = 30;

/** Fill the section `#log` from `store`. */
export function startLog(store) {
  const log = new Log(store);
  store.watch(["events"], () => log.show());
  store.watch(["status"], () => log.showSites());
}

class Log {
  #store;
  #kind = element("select", { "aria-label": "Kind of event" });
  #site = element("select", { "aria-label": "Site" });
  #text = element("input", { type: "search", placeholder: "Text", "aria-label": "Text in the log", id: "log-text" });
  #list = element("ol", { class: "events" });
  #empty = element("p", { class: "empty" });
  #older = element("button", { type: "button", class: "more", text: "Older ones" });
  #items = new Map();
  #found = new Map();
  #isEnd = false;
  #asked = 0;
  #most = AT_FIRST;

  constructor(store) {
    this.#store = store;
    this.#kind.append(
      element("option", { value: "", text: "All kinds" }),
      ...GROUPS.map(([name, kinds]) =>
        element(
          "optgroup",
          { label: name },
          element("option", { value: kinds.join(","), text: `${name}: all` }),
          ...kinds.map((kind) => element("option", { value: kind, text: words(kind) })),
        ),
      ),
    );
    const form = byId("log-filter");
    form.append(this.#kind, this.#site, this.#text);
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const select of [this.#kind, this.#site]) select.addEventListener("change", () => this.#filter());
    let typing = null;
    this.#text.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#filter(), TYPING_MS);
    });
    this.#older.addEventListener("click", () => this.#more());
    byId("log-list").append(this.#list, this.#empty, this.#older);
  }

  /** The sites that can be chosen. */
  showSites() {
    const names = (this.#store.status?.sites ?? []).map(({ name }) => name);
    const chosen = this.#site.value;
    refill(this.#site, names.join(" "), () => [
      element("option", { value: "", text: "All sites" }),
      ...names.map((name) => element("option", { value: name, text: name })),
    ]);
    this.#site.value = names.includes(chosen) ? chosen : "";
  }

  /**
   * Events that came by themselves, beside those that were asked for. Where a filter is on, older ones than
   * the oldest shown come only when asked for: between them there may be some we lack.
   */
  show() {
    const from = this.#isFiltered() && !this.#isEnd ? Math.min(...this.#found.keys()) : 0;
    for (const [id, event] of this.#store.events) {
      if (id > from && !this.#found.has(id) && this.#matches(event)) this.#found.set(id, event);
    }
    this.#draw();
  }

  #isFiltered() {
    return this.#kind.value !== "" || this.#site.value !== "" || this.#text.value.trim() !== "";
  }

  #matches({ kind, site, text }) {
    const kinds = this.#kind.value;
    if (kinds !== "" && !kinds.split(",").includes(kind)) return false;
    if (this.#site.value !== "" && site !== this.#site.value) return false;
    return text.toLowerCase().includes(this.#text.value.trim().toLowerCase());
  }

  async #filter() {
    this.#found = new Map();
    this.#isEnd = false;
    this.#most = AT_FIRST;
    if (this.#isFiltered()) await this.#ask(null);
    else this.show();
  }

  async #more() {
    this.#most += EVENTS_AT_ONCE;
    if (this.#found.size >= this.#most) this.#draw();
    else await this.#ask(this.#found.size === 0 ? null : Math.min(...this.#found.keys()));
  }

  async #ask(before) {
    this.#asked += 1;
    const mine = this.#asked;
    const kinds = this.#kind.value;
    try {
      const found = await get("events", {
        before,
        kind: kinds === "" ? [] : kinds.split(","),
        site: this.#site.value,
        text: this.#text.value.trim(),
        limit: EVENTS_AT_ONCE,
      });
      if (mine !== this.#asked) return; // another filter was chosen meanwhile
      for (const event of found) this.#found.set(event.id, event);
      this.#isEnd = found.length < EVENTS_AT_ONCE;
      this.show();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      note(problem.message, "bad");
    }
  }

  #draw() {
    const ids = [...this.#found.keys()].sort((one, other) => other - one).slice(0, this.#most);
    const shown = new Set(ids);
    for (const [id, item] of this.#items) {
      if (shown.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    ids.forEach((id, at) => {
      if (!this.#items.has(id)) this.#items.set(id, line(this.#found.get(id)));
      const item = this.#items.get(id);
      if (this.#list.children[at] !== item) this.#list.insertBefore(item, this.#list.children[at] ?? null);
    });
    setShown(this.#empty, ids.length === 0);
    setText(this.#empty, this.#isFiltered() ? "Nothing like that." : "Nothing yet.");
    const mayBeMore = this.#isFiltered() ? !this.#isEnd : !this.#isEnd && ids.at(-1) > 1;
    setShown(this.#older, ids.length > 0 && (this.#found.size > ids.length || mayBeMore));
  }
}

function line(event) {
  const where = [event.run && (event.round === null ? event.run : `${event.run}, round ${event.round}`), event.site];
  return element(
    "li",
    { "data-tone": tone(event.kind), "data-kind": event.kind },
    at(event.time),
    element("span", { class: "kind", text: words(event.kind) }),
    element("span", { class: "text", text: event.text }),
    element("span", { class: "where", text: where.filter(Boolean).join(" · ") }),
  );
}
