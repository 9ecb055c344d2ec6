/** Numbers, times and sizes, as people read them. Pure. */

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** Format a whole number with all of its digits. */
export const count = (number) => NUMBER.format(number);

/** Format a number in the room of five characters. */
export function short(number) {
  return Math.abs(number) < 1000 ? NUMBER.format(Number(number.toPrecision(3))) : SHORT.format(number);
}

export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
];

/** Format a length of time by its two largest units: `3 d 4 h`, `5 min 10 s`, `0.4 s`, `3 ms`. */
export function duration(seconds) {
  if (seconds < 0.1) return `${NUMBER.format(Number((seconds * 1000).toPrecision(2)))} ms`;
  if (seconds < 10) return `${NUMBER.format(Number(seconds.toFixed(1)))} s`;
  let rest = Math.round(seconds);
  const parts = [];
  for (const [unit, size] of UNITS) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) parts.push(`${whole} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** Format how long ago something was; a clock that is ahead by a little makes no future of it. */
export function ago(at, now) {
  const seconds = now - at;
  return seconds < 1 ? "now" : `${duration(Math.floor(seconds)).replace(/\.\d+/, "")} ago`;
}

const SIZES = ["B", "KB", "MB", "GB", "TB"];

export function bytes(size) {
  let [value, at] = [size, 0];
  while (value >= 1000 && at < SIZES.length - 1) [value, at] = [value / 1000, at + 1];
  return `${NUMBER.format(Number(value.toPrecision(3)))} ${SIZES[at]}`;
}

/** Turn a word of a table into words: `unbound_overflow` is `unbound overflow`. */
export const spoken = (word) => word.replaceAll("_", " ");
