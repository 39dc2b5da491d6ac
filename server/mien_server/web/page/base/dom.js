// Making and changing elements. What comes from the server is only ever set as text or as an attribute's
// value: names of sites and their errors are written by others.

/**
 * A new element.
 *
 * `attributes` are set as they are; null, undefined and false are left out. `text` is its text, `on` its
 * listeners. There is no way to give it markup.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "on") listen(made, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function listen(target, listeners) {
  for (const [event, listener] of Object.entries(listeners)) target.addEventListener(event, listener);
}

/** The element with this id, which the page has. */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** Set an element's text, and leave the document alone where it is that already. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set or remove an attribute, and leave the document alone where nothing changes. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

/** Show or hide. */
export function setShown(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/**
 * Fill an element with what `make` returns, but only when `stamp` is another than the last time: what has
 * the focus, or is being read, is not thrown away for the same again.
 */
export function refill(node, stamp, make) {
  if (stamps.get(node) === stamp) return;
  stamps.set(node, stamp);
  node.replaceChildren(...[make()].flat().filter((child) => child !== null && child !== false));
}

const stamps = new WeakMap();

/** A sentence in which `what stands so` is a command to type. */
export function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", { text: part }) : part));
}

/** Text for a screen reader alone. */
export function unseen(text) {
  return element("span", { class: "unseen", text });
}
