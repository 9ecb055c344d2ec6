/** Rows of the lists: users with what is below them, devices, and what went wrong. Pure. */

import { subjectAt } from "./place.js";
import { bytes, count, plural, spoken } from "./words.js";

/**
 * @typedef {object} Cell
 * @property {string} [text]
 * @property {number} [at]  a time, in the place of the text
 * @property {string | null} [href]
 * @property {string} [release]  the path of the actor that a button releases
 * @property {import("./state.js").Mood} [mood]
 * @property {string} [note]  a second line
 * @property {boolean} [mono]
 * @typedef {{key: string, cells: Cell[]}} Row
 * @typedef {{label: string, number?: boolean, wide?: boolean}} Column  a wide one is left out where there is no room
 * @typedef {{columns: Column[], rows: Row[], caption: string}} Table
 */

/** Return a cell that leads to what is known of a thing; a dash for none. @returns {Cell} */
export const cellOf = (kind, id) => (id === null ? { text: "–" } : { text: id, href: subjectAt(kind, id) });

/** Return a cell that leads to an event of a thread. @returns {Cell} */
export function eventCell(id, thread, note) {
  return { text: id, href: subjectAt("event", id, thread ?? ""), mono: true, note };
}

/** Format a range of numbers. */
export const rangeText = (first, last) => (first === last ? count(first) : `${count(first)} to ${count(last)}`);

// users

const MOODS = { live: "ok", "catching up": "busy", lagging: "odd", ended: "bad" };
export const moodOf = (state) => MOODS[state] ?? "";

/** Return one user of the tree as a row, and what is below it. */
export function userOf(user) {
  const lag = user.devices.reduce((most, device) => Math.max(most, device.lag_events), 0);
  return {
    key: user.user_id,
    name: user.user_id,
    href: subjectAt("user", user.user_id),
    ...stateOf(user),
    figures: [
      ["Devices", count(user.devices_total)],
      ["Lag", count(lag)],
      ["Not acked", count(user.unacked)],
      ["Threads", count(user.threads_total)],
      ["Runs", count(user.runs_total)],
    ],
    log: logOf(user),
    notes: [user.quarantined, user.away].filter(Boolean),
    devices: deviceTable(user.devices, `Devices of ${user.user_id}`),
    moreDevices: user.devices_total - user.devices.length,
    threads: user.threads.map(threadOf),
    moreThreads: user.threads_total - user.threads.length,
    runs: user.runs.map(runOf),
    moreRuns: user.runs_total - user.runs.length,
  };
}

const WORST_FIRST = ["lagging", "catching up", "saying hello", "live"];

function stateOf({ quarantined, devices, unacked }) {
  if (quarantined) return { state: "quarantined", mood: "bad" };
  if (devices.length === 0) return { state: unacked > 0 ? "away" : "no device", mood: unacked > 0 ? "odd" : "" };
  const worst = WORST_FIRST.find((state) => devices.some((one) => one.state === state));
  return { state: worst ?? devices[0].state, mood: moodOf(worst) };
}

function logOf({ low, head, unacked, unwritten }) {
  const kept = low > head ? `empty; the last offset was ${count(head)}` : `offsets ${rangeText(low, head)}`;
  const waiting = unacked > 0 ? `; ${count(unacked)} not acked, ${count(unwritten)} of them not written` : "";
  return `Its log: ${kept}${waiting}.`;
}

const threadOf = ({ thread_id: id, quarantined }) => ({
  key: id,
  text: id,
  href: subjectAt("thread", id),
  mood: quarantined ? "bad" : "",
  note: quarantined ? `quarantined: ${quarantined}` : "",
});

const runOf = ({ run_id: id, thread_id: thread, agent_name: agent, state }) => ({
  key: id,
  text: `${agent}, ${state}`,
  href: subjectAt("thread", thread),
  mood: state === "active" ? "busy" : "",
  note: `run ${id} in ${thread}`,
});

// devices

const DEVICE_COLUMNS = [
  { label: "Device" },
  { label: "State" },
  { label: "Cursor", number: true },
  { label: "Written", number: true, wide: true },
  { label: "Lag", number: true },
  { label: "Waits", number: true, wide: true },
];

/** Return the devices of one user as a table. @returns {Table} */
export function deviceTable(devices, caption) {
  const rows = devices.map((one) => ({ key: one.label, cells: deviceCells(one) }));
  return { caption, columns: DEVICE_COLUMNS, rows };
}

/** Return connections of all users as a table; their epochs are left to the tables of their users. @returns {Table} */
export function connectionTable(connections) {
  const [device, ...rest] = DEVICE_COLUMNS;
  const rows = connections.map((one) => {
    const [label, ...cells] = deviceCells({ ...one, epoch: null });
    return { key: one.label, cells: [cellOf("user", one.user_id), label, ...cells] };
  });
  const columns = [{ label: "User" }, device, ...rest];
  return { caption: "Connections, in the order in which they came", columns, rows };
}

function deviceCells(device) {
  const { label, kind, state, text, epoch, cursor, written, head, lag_events: lag, pending_bytes: pending } = device;
  const place = cursor === null ? "–" : count(cursor);
  return [
    { text: kind === "v1" ? label : `${label} (${kind})`, mono: true },
    { text: state, mood: moodOf(state), note: text },
    { text: place, note: epoch === null ? "" : `of ${count(head ?? 0)}, epoch ${epoch}` },
    { text: written === null ? "–" : count(written) },
    { text: count(lag), mood: lag > 0 ? "odd" : "" },
    { text: pending ? bytes(pending) : "–", note: pending ? "bytes on the way to it" : "" },
  ];
}

// what went wrong

const CAUSES = {
  retention: "Left its owner's log before any socket took it.",
  unbound_overflow: "Its thread had no owner, and its hold was full.",
  unbound_expired: "Its thread had no owner for as long as a hold lasts.",
  owner_changed: "Accepted for an owner who lost the thread before the event was placed.",
  conflict: "Its id already named another event of the thread.",
  not_the_owner: "Emitted for a user who does not own the thread.",
  crashed: "The actor that was handling it crashed before the store took it.",
  lost: "The store lost it: the log goes on in another epoch.",
  quarantined: "Its thread was out of service before the store had the event.",
  run_over: "Its run had ended by the time it came to the store.",
  damaged: "The store can no longer read it.",
  trouble: "The store could not store, and took nothing meanwhile.",
  shutdown: "The runtime closed before it was written.",
};

const LETTER_COLUMNS = [
  { label: "When" },
  { label: "Events", number: true },
  { label: "User" },
  { label: "Thread" },
  { label: "Which" },
];

/** Return dead letters by cause, the cause with the newest first, and the newest first of each. */
export function letterGroups(letters, totals) {
  const groups = new Map();
  for (const letter of letters.toReversed()) {
    if (!groups.has(letter.cause)) groups.set(letter.cause, []);
    groups.get(letter.cause).push(letter);
  }
  return [...groups].map(([cause, all]) => ({
    key: cause,
    title: spoken(cause),
    broad: true,
    note: [CAUSES[cause], `${plural(totals[cause] ?? 0, "event")} in all.`].filter(Boolean).join(" "),
    table: { caption: `Dropped: ${spoken(cause)}`, columns: LETTER_COLUMNS, rows: keyed(all).map(letterRow) },
  }));
}

/** Give each of some records a key that stays while others come: the time, and a number among those of one time. */
function keyed(records) {
  const seen = new Map();
  const named = records.toReversed().map((record) => {
    const name = [record.at, record.path, record.user_id, record.thread_id, record.first].join(" ");
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return { key: `${name} ${seen.get(name)}`, record };
  });
  return named.toReversed();
}

function letterRow({ key, record }) {
  const { at, count: number, user_id: user, thread_id: thread, event_id: event, first, last } = record;
  const range = first === null ? "before it had a number" : rangeText(first, last);
  const which = event === null ? { text: range } : eventCell(event, thread, range);
  return { key, cells: [{ at }, { text: count(number) }, cellOf("user", user), cellOf("thread", thread), which] };
}

const QUARANTINE_COLUMNS = [{ label: "Actor" }, { label: "Its last failure" }, { label: "When" }, { label: "Way out" }];

/** Return the actors that are out of service, each with a button. @returns {Table} */
export function quarantineTable(quarantined) {
  const rows = quarantined.map(({ path, error, at }) => {
    const actor = { text: path, href: subjectOfPath(path), mono: true };
    return { key: path, cells: [actor, { text: error }, { at }, { text: "Release", release: path }] };
  });
  return { caption: "Actors that are out of service", columns: QUARANTINE_COLUMNS, rows };
}

/** Return failures, the newest first. */
export const failureRows = (failures) =>
  keyed(failures.toReversed()).map(({ key, record }) => ({ key, ...record, href: subjectOfPath(record.path) }));

/** Return the fragment of what a path of the tree is about; null for what nothing is asked of. */
export function subjectOfPath(path) {
  const [kind, ...rest] = path.split("/");
  const kinds = { users: "user", threads: "thread" };
  return kind in kinds && rest.length > 0 ? subjectAt(kinds[kind], rest.join("/")) : null;
}

