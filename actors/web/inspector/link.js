/** The link to the server: whether it answers, when it last did, when to ask again, and what of the key. Pure. */

import { duration } from "./words.js";

/**
 * @typedef {object} Link
 * @property {"connecting" | "live" | "gone" | "locked"} name
 * @property {number | null} seen  the time of the last answer, in ms
 * @property {number} failed  attempts since then
 * @property {number} again  the time of the next attempt, in ms
 * @property {string} text  why it is not live
 */

/** Seconds between attempts; then the last one for ever. A server that comes back is noticed within ten seconds. */
const WAITS_SECONDS = [1, 1, 2, 3, 5, 8, 10];

/** @returns {Link} */
export const newLink = () => ({ name: "connecting", seen: null, failed: 0, again: 0, text: "" });

/** Return the link after an answer. @returns {Link} */
export const answered = (link, now) => ({ name: "live", seen: now, failed: 0, again: 0, text: "" });

/**
 * Return the link after an attempt that failed.
 * @param {Link} link
 * @param {{status?: number, message: string}} error  no status: there was no answer
 * @param {{now: number, hasKey: boolean, chance: number}} facts  `chance` is from 0 to 1, so that pages come apart
 * @returns {Link}
 */
export function failed(link, { status, message }, { now, hasKey, chance }) {
  if (status === 401) return { ...link, name: "locked", text: hasKey ? WRONG : NEEDED };
  if (status === 403) return { ...link, name: "locked", text: hasKey ? NOT_ADMIN : `The server refuses: ${message}.` };
  const wait = WAITS_SECONDS[Math.min(link.failed, WAITS_SECONDS.length - 1)] * (0.85 + 0.3 * chance);
  const text = status === undefined ? "The server is gone" : `The server does not answer as it should (${message})`;
  return { ...link, name: "gone", failed: link.failed + 1, again: now + wait * 1000, text };
}

const NEEDED = "This server asks for a key. It takes one that has admin = true in its file of keys.";
const WRONG = "The server does not know this key.";
const NOT_ADMIN = "This key is not an operator's: it lacks admin = true in the file of keys.";

/** Return what is said while the server is gone; `clock` is the time of the day. */
export function bannerOf({ text, seen, again }, now, clock) {
  const past = now - seen;
  const last = seen === null ? "" : ` It last answered ${duration(past / 1000)} ago, at ${timeOf(clock - past)}.`;
  const seconds = Math.max(Math.ceil((again - now) / 1000), 0);
  return `${text}.${last} ${seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again now."}`;
}

const timeOf = (clock) => new Date(clock).toLocaleTimeString("en-GB");
