// Numbers and moments in words. What is not known is a dash, never a 0.

export const UNKNOWN = "–";

const COUNT = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const MINUS = "−";

const known = (value) => typeof value === "number" && Number.isFinite(value);

function fixed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** A CCC: three decimals. */
export const ccc = (value) => (known(value) ? fixed(value, 3) : UNKNOWN);

/** A change, with its sign. */
export function change(value, digits = 3) {
  if (!known(value)) return UNKNOWN;
  return Number(value.toFixed(digits)) > 0 ? `+${fixed(value, digits)}` : fixed(value, digits);
}

/** A number of things. */
export const count = (value) => (known(value) ? COUNT.format(value) : UNKNOWN);

/** A number of any size, to about three digits. */
export function number(value) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2).replace("-", MINUS);
  return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/** Bytes, in units of a thousand. */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? size.toFixed(0) : size.toFixed(1)} ${units[unit]}`;
}

/** How long, in the two largest units: "40 s", "2 min 5 s", "3 h 12 min". */
export function duration(seconds, digits = 0) {
  if (!known(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return digits && seconds < 10 ? `${Math.max(0, seconds).toFixed(digits)} s` : `${whole} s`;
  for (const [size, unit, smaller, part] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / smaller);
    return rest ? `${Math.floor(whole / size)} ${unit} ${rest} ${part}` : `${Math.floor(whole / size)} ${unit}`;
  }
  return UNKNOWN;
}

/** Seconds on an axis or in a table of rounds. */
export const seconds = (value) => duration(value, 1);

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** A moment on the reader's own clock: the time of today, else with its day. */
export function moment(iso, now = new Date()) {
  const when = new Date(iso ?? NaN);
  if (Number.isNaN(when.getTime())) return UNKNOWN;
  if (when.toDateString() === now.toDateString()) return TIME.format(when);
  const day = when.getFullYear() === now.getFullYear() ? DAY : YEAR;
  return `${day.format(when)} ${TIME.format(when).slice(0, 5)}`;
}

/** "1 site", "3 sites". */
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
