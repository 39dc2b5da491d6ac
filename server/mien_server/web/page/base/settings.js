// What a person chose on this machine, where the browser keeps anything at all.

/** The value kept under `name`, or null. */
export function kept(name) {
  try {
    return localStorage.getItem(`mien.${name}`);
  } catch {
    return null;
  }
}

/** Keep a value; null forgets it. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(`mien.${name}`);
    else localStorage.setItem(`mien.${name}`, value);
  } catch {
    // It holds until the page is closed, then.
  }
}
