/** The state of a runtime: its signs of life, its events by stage, and its counters. Pure. */

import { count, duration, plural, spoken } from "./words.js";

/**
 * @typedef {"ok" | "bad" | "odd" | "busy" | ""} Mood  in what colour a thing is shown; never by that alone
 * @typedef {{key: string, label: string, value: string, mood: Mood, note: string}} Vital
 */

/** Return the signs of life, the most important first. @returns {Vital[]} */
export function vitals(status) {
  const balanced = areBooksSound(status);
  return [
    vital("state", "State", spoken(status.state), status.state === "open" ? "ok" : "bad"),
    vital("store", "Store", ...storeOf(status)),
    vital("books", "Books", balanced ? "balanced" : "do not add up", balanced ? "ok" : "bad"),
    vital("quarantine", "Quarantined", count(status.quarantined_now), status.quarantined_now > 0 ? "bad" : ""),
    vital("loop", "Loop lag", ...loopOf(status)),
    vital("connections", "Connections", count(status.connections), "", handshakesOf(status)),
    vital("behind", "Behind", count(status.connections_behind), "", lagOf(status)),
    vital("users", "Users", count(status.users)),
    vital("runs", "Runs", count(status.runs), "", status.asks_open > 0 ? plural(status.asks_open, "question") : ""),
    vital("failures", "Failures", count(status.failures), status.failures > 0 ? "odd" : ""),
    vital("uptime", "Up for", duration(Math.max(status.at - status.opened_at, 0))),
  ];
}

const vital = (key, label, value, mood = "", note = "") => ({ key, label, value, mood, note });

/** The totals are of this moment; the rows of all users were looked at lately, or not yet. */
const areBooksSound = ({ balanced, books_balanced: lately }) => balanced && lately !== false;

/** A loop that is late by as much delays every user by it; people notice half a second. */
const [LATE_SECONDS, SLOW_SECONDS] = [0.5, 0.05];

/** Return true if nothing has to be done about a runtime. */
export function isWell(status) {
  const sound = status.state === "open" && status.trouble === null && areBooksSound(status);
  return sound && status.quarantined_now === 0 && status.loop_lag_seconds < LATE_SECONDS;
}

/** Return what is the matter, and what happened lately, as `actors status` has it. @returns {string} */
export const matterOf = ({ text, notes }) => [text, ...notes].join("; ");

function storeOf({ trouble, trouble_since: since, at }) {
  if (trouble === null) return ["stores", "ok"];
  return ["cannot store", "bad", `for ${duration(at - (since ?? at))}`];
}

function loopOf({ loop_lag_seconds: seconds, standstill }) {
  const mood = seconds >= LATE_SECONDS ? "bad" : seconds >= SLOW_SECONDS ? "odd" : "";
  return [duration(seconds), mood, mood ? (standstill ?? "the worst of 15 s") : ""];
}

const handshakesOf = ({ handshakes }) => (handshakes > 0 ? `and ${plural(handshakes, "handshake")}` : "");

const lagOf = ({ lag_events_max: most }) => (most > 0 ? `by ${plural(most, "event")} at most` : "");

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
  const { accepted, acked, dropped } = status.events;
  const counters = { accepted, acked, dropped, written: status.written_frames };
  for (const { key, rows } of counterGroups(status)) {
    for (const row of rows) counters[`${key}.${row.key}`] = row.total;
  }
  const life = `${status.pid} ${status.opened_at}`;
  return { at: status.at, life, counters, gauges: { connections: status.connections } };
}

// counters

const COUNTERS = [
  ["dropped", "Events that were dropped", (status) => status.dropped],
  ["refused", "Handshakes that were refused", (status) => tallied(status.handshakes_refused)],
  ["closed", "Connections that were closed", (status) => status.connections_closed],
  ["resumes", "Places at which devices began", (status) => status.resumes],
  ["requests", "Requests of devices", (status) => tallied(status.requests)],
  ["runs", "Runs that ended", (status) => status.runs_ended],
  ["asks", "Questions that ended", (status) => status.asks_closed],
  ["restarts", "Actors that were restarted", (status) => status.restarts],
];

const tallied = (counts) =>
  Object.fromEntries(counts.map((one) => [[one.name, one.detail].filter(Boolean).join(": "), one.count]));

/** Return the counters in groups, the largest first; `status` counts since the runtime was opened. */
export function counterGroups(status) {
  return COUNTERS.map(([key, title, read]) => {
    const pairs = Object.entries(read(status)).sort(([, one], [, other]) => other - one);
    const rows = pairs.map(([name, total]) => ({ key: name, label: spoken(name) || "none", total }));
    return { key, title, rows };
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

