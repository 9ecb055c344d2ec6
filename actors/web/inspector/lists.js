/** The lists: of each what is asked for, when, and how the answer is shown. */

import { get } from "./api.js";
import { connectionTable, failureRows, letterGroups, quarantineTable, userOf } from "./rows.js";
import { counterTables } from "./state.js";
import { failuresView, groupsView, listView, usersView } from "./views.js";
import { count, plural } from "./words.js";

export const PAGE_SIZE = 50;
/** The records that are asked for when there are new ones; a failure has up to 20 KB. */
const NEWEST = { dead_letters: 200, failures: 50 };

/**
 * @typedef {{after: string | null, prefix: string, behind: boolean}} Page
 * @typedef {object} List
 * @property {string} title
 * @property {string} [about]  a sentence above it
 * @property {() => {element: HTMLElement, update: (content: any, now: number) => void}} view
 * @property {(page: Page) => Promise<any>} [ask]  absent where the status has it all
 * @property {(status: any) => any} [mark]  what changes with its answer, where that changes rarely
 * @property {(answer: any, facts: {status: any, grown: (name: string) => number}) => any} show
 * @property {(status: any) => number} [total]
 * @property {string} [noun]  of what it has pages of
 * @property {boolean} [narrows]  by the beginning of a name
 * @property {boolean} [selects]  what is behind
 */

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

/** @type {Object<string, List>} */
export const LIST_OF = {
  users: {
    title: "Users",
    view: usersView,
    ask: ({ after, prefix }) => get("tree", { after, prefix, limit: PAGE_SIZE }),
    show: ({ users }) => ({ users: users.map(userOf) }),
    total: (status) => status.users,
    noun: "user",
    narrows: true,
  },
  connections: {
    title: "Connections",
    view: () => listView("No device is connected."),
    ask: ({ after, behind }) => get("connections", { after, behind, limit: PAGE_SIZE }),
    show: ({ connections }) => connectionTable(connections),
    total: (status) => status.connections,
    noun: "connection",
    selects: true,
  },
  dead_letters: {
    title: "Dead letters",
    about: "Events that no device will get, by the cause for which they were dropped.",
    view: () => groupsView("No event was dropped."),
    ask: () => get("dead_letters", { limit: NEWEST.dead_letters }),
    mark: (status) => `${status.pid} ${sum(status.dropped)}`,
    show: ({ dead_letters: letters }, { status }) => ({ groups: letterGroups(letters, status.dropped) }),
    total: (status) => sum(status.dropped),
  },
  failures: {
    title: "Failures",
    about: "Exceptions that a supervisor or a barrier caught, the newest first, 50 at most.",
    view: failuresView,
    ask: () => get("failures", { limit: NEWEST.failures }),
    mark: (status) => `${status.pid} ${status.failures}`,
    show: ({ failures }) => ({ failures: failureRows(failures) }),
    total: (status) => status.failures,
  },
  quarantine: {
    title: "Quarantine",
    about: "Actors that failed too often, and are out of service until they are released.",
    view: () => listView("Every actor is in service."),
    show: (_, { status }) => quarantineTable(status.quarantined),
    total: (status) => status.quarantined_now,
  },
  counters: {
    title: "Counters",
    about: "What was counted since the runtime was opened.",
    view: () => groupsView(""),
    show: (_, { status, grown }) => ({ groups: counterTables(status, grown) }),
  },
};

/** Return what is said of the page that is shown: `51 to 100 of 120 users`. */
export function placeText({ noun }, { from, shown, more, total, behind }) {
  if (behind) return `${count(shown)}${more ? " or more" : ""} behind, of ${plural(total, noun)}`;
  if (total === 0) return `No ${noun}s`;
  if (shown === total) return plural(total, noun);
  return `${count(from + 1)} to ${count(from + shown)} of ${plural(total, noun)}`;
}
