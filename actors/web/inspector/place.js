/** Places of the page, as the fragment of its address names them, so that each can be linked to. Pure. */

/** The lists, in the order of their links. */
export const LISTS = ["users", "connections", "dead_letters", "failures", "quarantine", "counters"];

/** The kinds of things about which *why?* is asked; `any` asks about all of them. */
const KINDS = ["user", "thread", "event", "any"];

/**
 * @typedef {{kind: string, id: string, thread: string}} Subject  `thread` is empty but for an event of a named thread
 * @typedef {{list: string | null, subject: Subject | null}} Place  a list of null leaves the one that is shown
 */

/** Return the place of a fragment; one that says nothing is where the page begins. @returns {Place} */
export function placeOf(fragment) {
  const [word, id = "", thread = ""] = fragment.replace(/^#/, "").split("/").map(decoded);
  if (KINDS.includes(word) && id !== "") return { list: null, subject: { kind: word, id, thread } };
  return { list: LISTS.includes(word) ? word : LISTS[0], subject: null };
}

/** Return the fragment of a list. */
export const listAt = (list) => `#${list}`;

/** Return the fragment of a thing about which *why?* is asked. */
export function subjectAt(kind, id, thread = "") {
  const ids = thread ? [id, thread] : [id];
  return `#${[kind, ...ids.map((text) => encodeURIComponent(text.toWellFormed?.() ?? text))].join("/")}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
