/** Makes of the answers of the API what the page shows: lines, rows and sentences. Pure: no page, no network. */

import { subjectAt } from "./place.js";
import { bytes, count, duration, plural, spoken } from "./words.js";

/**
 * @typedef {"ok" | "bad" | "odd" | "busy" | ""} Mood  in what colour a thing is shown; never by that alone
 * @typedef {{key: string, label: string, value: string, mood: Mood, note: string}} Vital
 * @typedef {{text: string, href?: string, mood?: Mood, note?: string, mono?: boolean}} Cell
 * @typedef {{key: string, cells: Cell[]}} Row
 * @typedef {{columns: Column[], rows: Row[], caption: string}} Table
 * @typedef {{label: string, number?: boolean, wide?: boolean}} Column  a wide one is left out where there is no room
 */

// the state

/** Return the signs of life, the most important first. @returns {Vital[]} */
export function vitals(status) {
  const all = [
    vital("state", "State", spoken(status.state), status.state === "open" ? "ok" : "bad"),
    vital("store", "Store", ...storeOf(status)),
    vital("books", "Books", status.balanced ? "balanced" : "do not add up", status.balanced ? "ok" : "bad", BOOKS),
    vital("quarantine", "Quarantined", count(status.quarantined_now), status.quarantined_now > 0 ? "bad" : ""),
    vital("loop", "Loop lag", ...lagOf(status.loop_lag_seconds)),
    vital("connections", "Connections", count(status.connections), "", handshakesOf(status)),
    vital("behind", "Behind", count(status.connections_behind ?? 0), "", BEHIND),
    vital("users", "Users", count(status.users)),
    vital("runs", "Runs", count(status.runs), "", "active, or waiting for their turn"),
    vital("failures", "Failures", count(status.failures), status.failures > 0 ? "odd" : ""),
    vital("uptime", "Up for", status.uptime_seconds === undefined ? "–" : duration(status.uptime_seconds)),
  ];
  const absent = { loop: "loop_lag_seconds", behind: "connections_behind", uptime: "uptime_seconds" };
  return all.filter(({ key }) => !(key in absent) || (status[absent[key]] ?? null) !== null);
}

const BOOKS = "every event that was accepted is in exactly one stage";
const BEHIND = "connections that have events of their log yet to be sent";
const vital = (key, label, value, mood = "", note = "") => ({ key, label, value, mood, note });

/** Return true if nothing has to be done about a runtime. */
export const isWell = (status) =>
  status.state === "open" && status.trouble === null && status.balanced && status.quarantined_now === 0;

function storeOf({ trouble, trouble_since: since, at }) {
  if (trouble === null) return ["stores", "ok", ""];
  return [`cannot store for ${duration(at - (since ?? at))}`, "bad", trouble];
}

function lagOf(seconds) {
  return [duration(seconds ?? 0), seconds > 0.25 ? "bad" : seconds > 0.05 ? "odd" : "", "how late the loop wakes"];
}

const handshakesOf = ({ handshakes }) => (handshakes > 0 ? `and ${plural(handshakes, "handshake")}` : "");

const STAGES = [
  ["queued", "on their way to a log"],
  ["held", "no owner yet"],
  ["retained", "in a log, not acked"],
  ["acked", "by a device"],
  ["unconfirmed", "left the log unacked"],
  ["dropped", "not delivered"],
  ["deduplicated", "were sent again"],
];

/** Return the stages of all events, each with its share. */
export function stages(events) {
  const all = STAGES.reduce((sum, [name]) => sum + events[name], 0);
  return STAGES.map(([key, note]) => ({ key, note, count: events[key], share: all === 0 ? 0 : events[key] / all }));
}

/** Return what a status adds to the history. @returns {import("./history.js").Sample} */
export function sampleOf(status) {
  const counters = { accepted: status.events.accepted, acked: status.events.acked, dropped: status.events.dropped };
  if (status.written_frames !== undefined) counters.written = status.written_frames;
  for (const { key, rows } of counterGroups(status)) {
    for (const row of rows) counters[`${key}.${row.key}`] = row.total;
  }
  return { at: status.at, life: `${status.pid}`, counters, gauges: { connections: status.connections } };
}

// counters

const COUNTERS = [
  ["dropped", "Events that were dropped", (status) => status.dropped],
  ["refused", "Handshakes that were refused", (status) => tallied(status.handshakes_refused ?? [])],
  ["closed", "Connections that were closed", (status) => status.connections_closed],
  ["resumes", "Places at which devices began", (status) => status.resumes],
  ["requests", "Requests of devices", (status) => tallied(status.requests)],
  ["runs", "Runs that ended", (status) => status.runs_ended],
  ["restarts", "Actors that were restarted", (status) => status.restarts],
];

const tallied = (counts) =>
  Object.fromEntries(counts.map((one) => [[one.name, one.detail].filter(Boolean).join(": "), one.count]));

/** Return the counters in groups, the largest first; `status` counts since the runtime was opened. */
export function counterGroups(status) {
  return COUNTERS.map(([key, title, read]) => {
    const pairs = Object.entries(read(status)).sort(([, one], [, other]) => other - one);
    return { key, title, rows: pairs.map(([name, total]) => ({ key: name, label: spoken(name) || "as asked", total })) };
  });
}

/** Return the tables of the counters, each with what was added lately. */
export function counterTables(status, grown) {
  return counterGroups(status).map(({ key, title, rows }) => ({
    key,
    title,
    none: "None yet.",
    table: {
      caption: title,
      columns: [{ label: "What" }, { label: "In all", number: true }, { label: "Last 3 min", number: true }],
      rows: rows.map((row) => counterRow(row, grown(`${key}.${row.key}`))),
    },
  }));
}

function counterRow({ key, label, total }, lately) {
  const recent = { text: lately === 0 ? "–" : `+${count(lately)}`, mood: lately === 0 ? "" : "busy" };
  return { key, cells: [{ text: label }, { text: count(total) }, recent] };
}

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

function stateOf({ quarantined, devices, unacked }) {
  if (quarantined) return { state: "quarantined", mood: "bad" };
  if (devices.length === 0) return { state: unacked > 0 ? "away" : "no device", mood: unacked > 0 ? "odd" : "" };
  const worst = ["lagging", "catching up", "saying hello", "live"].find((state) => devices.some((one) => one.state === state));
  return { state: worst ?? devices[0].state, mood: moodOf(worst) };
}

function logOf({ low, head, unacked, unwritten }) {
  const kept = low > head ? `no event is in the log; the last was offset ${count(head)}` : `offsets ${count(low)} to ${count(head)}`;
  return unacked > 0 ? `${kept}; ${count(unacked)} not acked, ${count(unwritten)} of them not written` : kept;
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
  return { caption, columns: DEVICE_COLUMNS, rows: devices.map((one) => ({ key: one.label, cells: deviceCells(one) })) };
}

/** Return connections of all users as a table. @returns {Table} */
export function connectionTable(connections) {
  const [device, ...rest] = DEVICE_COLUMNS;
  const rows = connections.map((one) => {
    const [label, ...cells] = deviceCells(one);
    const user = one.user_id === null ? { text: "not known yet" } : { text: one.user_id, href: subjectAt("user", one.user_id) };
    return { key: one.label, cells: [user, label, ...cells] };
  });
  return { caption: "Connections, in the order in which they came", columns: [{ label: "User" }, device, ...rest], rows };
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

const LETTER_COLUMNS = [{ label: "When" }, { label: "Events", number: true }, { label: "User" }, { label: "Thread" }, { label: "Which" }];

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
    table: { caption: `Events that were dropped: ${spoken(cause)}`, columns: LETTER_COLUMNS, rows: keyed(all).map(letterRow) },
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
  const link = (kind, id) => (id === null ? { text: "–" } : { text: id, href: subjectAt(kind, id) });
  const range = first === null ? "before it had a number" : first === last ? `${count(first)}` : `${count(first)} to ${count(last)}`;
  const which = event === null ? { text: range } : { text: event, href: subjectAt("event", event, thread ?? ""), mono: true, note: range };
  return { key, cells: [{ at }, { text: count(number) }, link("user", user), link("thread", thread), which] };
}

const QUARANTINE_COLUMNS = [{ label: "Actor" }, { label: "Its last failure" }, { label: "When" }, { label: "Way out" }];

/** Return the actors that are out of service, each with a button. @returns {Table} */
export function quarantineTable(quarantined) {
  const rows = quarantined.map(({ path, error, at }) => ({
    key: path,
    cells: [{ text: path, href: subjectOfPath(path), mono: true }, { text: error }, { at }, { text: "Release", release: path }],
  }));
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

// why?

/** Return what is shown of an answer about a user or a thread. */
export function reasonOf({ about, name, known, text, notes, cause, user_id: owner, ...facts }) {
  return {
    known,
    title: `${about === "user" ? "User" : "Thread"} ${name}`,
    sentence: text,
    mood: known && facts.unacked === 0 ? "ok" : "odd",
    word: spoken(cause),
    notes,
    links: about === "thread" && owner ? [{ text: `user ${owner}`, href: subjectAt("user", owner) }] : [],
    steps: [],
    ranges: facts.ranges.length > 0 ? rangeTable(facts.ranges) : null,
    devices: facts.devices.length > 0 ? deviceTable(facts.devices, `Devices of ${owner ?? name}`) : null,
    threads: facts.threads.map((id) => ({ text: id, href: subjectAt("thread", id) })),
    moreThreads: facts.threads_total - facts.threads.length,
  };
}

const RANGE_COLUMNS = [{ label: "Offsets" }, { label: "Stage" }, { label: "The first of them" }, { label: "Its thread", wide: true }, { label: "Since" }];

function rangeTable(ranges) {
  const rows = ranges.map(({ first, last, stage, oldest }) => ({
    key: String(first),
    cells: [
      { text: first === last ? count(first) : `${count(first)} to ${count(last)}` },
      { text: stage, mood: stage === "written" ? "busy" : "odd" },
      oldest?.event_id ? { text: oldest.event_id, href: subjectAt("event", oldest.event_id, oldest.thread_id), mono: true, note: oldest.type } : { text: oldest?.type ?? "–" },
      oldest ? { text: oldest.thread_id, href: subjectAt("thread", oldest.thread_id) } : { text: "–" },
      oldest ? { at: oldest.at } : { text: "–" },
    ],
  }));
  return { caption: "Events that no device has acked", columns: RANGE_COLUMNS, rows };
}

/** Return what is shown of an answer about an event. */
export function fateOf({ event_id: id, text, steps, stage, cause, thread_id: thread, user_id: user, offset, threads = [] }) {
  const links = [
    thread && { text: `thread ${thread}`, href: subjectAt("thread", thread) },
    user && { text: `user ${user}`, href: subjectAt("user", user) },
    ...threads.map((one) => ({ text: `in ${one}`, href: subjectAt("event", id, one) })),
  ];
  return {
    known: true,
    title: `Event ${id}`,
    sentence: text ?? `It is ${stage}${cause ? `: ${spoken(cause)}` : ""}${offset ? `, at offset ${count(offset)}` : ""}.`,
    mood: stage === "acked" ? "ok" : stage === "dropped" ? "bad" : "odd",
    word: spoken(stage ?? ""),
    notes: [],
    links: links.filter(Boolean),
    steps: steps ?? [],
    ranges: null,
    devices: null,
    threads: [],
    moreThreads: 0,
  };
}
