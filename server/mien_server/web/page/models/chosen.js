// The two models that are to be compared: chosen in either list, named as the server names them.

import { element } from "../base/dom.js";

/** A choice of at most two; a third one takes the place of the first. */
export class Chosen extends EventTarget {
  names = [];

  #set(names) {
    this.names = names.slice(-2);
    for (const box of document.querySelectorAll("input[data-choice]")) box.checked = this.names.includes(box.dataset.choice);
    this.dispatchEvent(new Event("change"));
  }

  clear() {
    this.#set([]);
  }

  /** A box that chooses the model `name`. */
  box(name) {
    const box = element("input", { type: "checkbox", "data-choice": name, "aria-label": `Compare ${name}` });
    box.checked = this.names.includes(name);
    box.addEventListener("change", () => {
      const others = this.names.filter((each) => each !== name);
      this.#set(box.checked ? [...others, name] : others);
    });
    return element("label", { class: "hit" }, box);
  }
}
