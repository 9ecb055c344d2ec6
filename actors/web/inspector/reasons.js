/** Answers to *why?*, as the page shows them: a sentence, the steps to it, and where to look next. Pure. */

import { cellOf, deviceTable, eventCell, rangeText } from "./rows.js";
import { listAt, subjectAt } from "./place.js";
import { spoken } from "./words.js";

/** How bad the causes are; one that is not here is worth a look. */
const MOODS = {
  acked: "ok",
  nothing: "",
  unknown: "",
  fresh: "busy",
  quarantined: "bad",
  store: "bad",
  retention: "bad",
};

/** Return what is shown of an answer about a user or a thread. */
export function reasonOf({ about, name, known, text, notes, cause, user_id: owner, ...facts }) {
  return {
    known,
    title: `${about === "user" ? "User" : "Thread"} ${name}`,
    sentence: text,
    mood: MOODS[cause] ?? "odd",
    word: spoken(cause),
    notes,
    links: [
      ...(about === "thread" && owner ? [{ text: `user ${owner}`, href: subjectAt("user", owner) }] : []),
      ...(cause === "quarantined" ? [{ text: "the way out of the quarantine", href: listAt("quarantine") }] : []),
    ],
    steps: [],
    ranges: facts.ranges.length > 0 ? rangeTable(facts.ranges) : null,
    devices: facts.devices.length > 0 ? deviceTable(facts.devices, `Devices of ${owner ?? name}`) : null,
    threads: facts.threads.map((id) => ({ text: id, href: subjectAt("thread", id) })),
    moreThreads: facts.threads_total - facts.threads.length,
  };
}

const RANGE_COLUMNS = [
  { label: "Offsets" },
  { label: "Stage" },
  { label: "The first of them" },
  { label: "Its thread", wide: true },
  { label: "Since" },
];

function rangeTable(ranges) {
  const rows = ranges.map(({ first, last, stage, oldest }) => {
    const offsets = { text: rangeText(first, last) };
    const mood = stage === "written" ? "busy" : "odd";
    return { key: String(first), cells: [offsets, { text: stage, mood }, ...oldestCells(oldest)] };
  });
  return { caption: "Events that no device has acked", columns: RANGE_COLUMNS, rows };
}

function oldestCells(event) {
  if (!event) return [{ text: "–" }, { text: "–" }, { text: "–" }];
  const { event_id: id, type, thread_id: thread, at } = event;
  return [id === null ? { text: type } : eventCell(id, thread, type), cellOf("thread", thread), { at }];
}

/** Return what is shown of an answer about an event. */
export function fateOf(fate) {
  const { event_id: id, known, text, steps, stage, thread_id: thread, user_id: user, threads = [] } = fate;
  const links = [
    thread && { text: `thread ${thread}`, href: subjectAt("thread", thread) },
    user && { text: `user ${user}`, href: subjectAt("user", user) },
    ...threads.map((one) => ({ text: `in ${one}`, href: subjectAt("event", id, one) })),
  ];
  return {
    known: known || threads.length > 0,
    title: `Event ${id}`,
    sentence: text,
    mood: stage === "acked" ? "ok" : stage === "dropped" ? "bad" : "odd",
    word: spoken(stage ?? ""),
    notes: [],
    links: links.filter(Boolean),
    steps,
    ranges: null,
    devices: null,
    threads: [],
    moreThreads: 0,
  };
}
