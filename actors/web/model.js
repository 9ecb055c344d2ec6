/** Makes conversations of events. Pure: no page, no network. */

/** @typedef {import("./actors.d.ts").EventItem} LogEvent */

/**
 * A message; the user's own are here before the log has them.
 * @typedef {object} Message
 * @property {"message"} kind
 * @property {string} key
 * @property {string} text
 * @property {string | null} eventId  known once the server has stored it
 * @property {LogEvent | null} event  known once it has arrived
 * @property {number} last  offset of its last event
 */

/**
 * An agent's run.
 * @typedef {object} Run
 * @property {"run"} kind
 * @property {string} key
 * @property {string} id
 * @property {string} agent
 * @property {"waiting" | "running" | "completed" | "failed" | "cancelled" | "ended"} state
 * @property {string | null} parentId
 * @property {Step[]} steps
 * @property {number} events  their number
 * @property {number} first
 * @property {number} last
 */

/**
 * A part of a run, as the page shows it.
 * @typedef {{kind: "thinking" | "answer" | "ending", key: number, text: string}} TextStep
 * @typedef {{kind: "tool", key: number, id: string, name: string, arguments: any,
 *            state: "executing" | "completed" | "failed", result: any}} ToolStep
 * @typedef {TextStep | ToolStep | Run} Step
 */

/**
 * A line about the log itself.
 * @typedef {{kind: "notice", key: string, text: string, fault: boolean, last: number}} Notice
 */

/**
 * A conversation.
 * @typedef {object} Thread
 * @property {string | null} id  null until the server has named it
 * @property {(Message | Run | Notice)[]} entries  oldest first
 * @property {Message[]} outgoing  the user's own messages that have not arrived yet
 * @property {Map<string, Run>} runs
 * @property {LogEvent[]} events
 * @property {boolean} forgetful  true once its oldest events were dropped
 */

/**
 * A question that waits for an answer; it is not in the log.
 * @typedef {object} Question
 * @property {"ask"} kind
 * @property {string} key
 * @property {string} id
 * @property {string} threadId
 * @property {string} text
 * @property {string[]} choices  without any, the answer is free text
 * @property {number} deadline
 * @property {boolean} answering  an answer is on its way
 */

/** @typedef {{threads: Map<string, Thread>, events: LogEvent[], asks: Map<string, Question>}} Conversations */

/** The number of newest events that are kept, over all conversations. */
const KEPT_EVENTS = 5_000;
const FORGOTTEN_AT_ONCE = 500;

let keys = 0;
const newKey = (kind) => `${kind}:${(keys += 1)}`;

/** @returns {Conversations} */
export const newConversations = (asks = new Map()) => ({ threads: new Map(), events: [], asks });

/** @returns {Thread} */
export function newThread(id) {
  return { id, entries: [], outgoing: [], runs: new Map(), events: [], forgetful: false };
}

/** @returns {Message} */
export function newMessage(text, event = null) {
  const eventId = event?.event_id ?? null;
  return { kind: "message", key: newKey("message"), text, eventId, event, last: event?.offset };
}

/** @returns {Notice} */
export function newNotice(text, last, fault = false) {
  return { kind: "notice", key: newKey("notice"), text, fault, last };
}

/** Return the thread of an id; makes it if it is new. */
export function threadOf(conversations, id) {
  if (!conversations.threads.has(id)) conversations.threads.set(id, newThread(id));
  return conversations.threads.get(id);
}

/**
 * Add an event. One of an unknown type is listed, and changes no entry.
 * @param {Conversations} conversations
 * @param {LogEvent} event
 */
export function fold(conversations, event) {
  event.payload ??= {};
  const thread = threadOf(conversations, event.thread_id);
  conversations.events.push(event);
  thread.events.push(event);
  RULES.get(event.type)?.(thread, event);
  count(thread.runs.get(runIdOf(event)), event);
  if (conversations.events.length > KEPT_EVENTS) forgetOldest(conversations);
}

const RULES = new Map(
  Object.entries({
    user_message: addMessage,
    agent_started: startRun,
    agent_thinking: (thread, event) => addStep(runOf(thread, event), "thinking", { text: textOf(event) }),
    agent_delta: (thread, event) => addText(runOf(thread, event), textOf(event)),
    tool_executing: startTool,
    tool_completed: endTool,
    agent_completed: completeRun,
    agent_failed: (thread, event) => endRun(runOf(thread, event), "failed", failure(event.payload)),
    agent_cancelled: cancelRun,
    dropped: addDropped,
  }),
);

/** Return the text of an event. */
const textOf = ({ payload }) => String(payload.text ?? payload.thought ?? "");

/** Format an error, which is a text or has a type and a message. */
function described(error) {
  return typeof error === "string" ? error : [error?.type, error?.message].filter(Boolean).join(": ");
}

const failure = ({ error }) => ["Failed", described(error)].filter(Boolean).join(": ");

function addMessage(thread, event) {
  const own = thread.outgoing.find((message) => message.eventId === event.event_id);
  thread.outgoing = thread.outgoing.filter((message) => message !== own);
  thread.entries.push(Object.assign(own ?? newMessage(textOf(event), event), { event, last: event.offset }));
}

/** Events without a run id share one run for each conversation. */
export const runIdOf = (event) => event.run_id ?? `${event.thread_id}:unnamed`;

/** Return the run of an event; makes it if its beginning was not seen. */
function runOf(thread, event) {
  const id = runIdOf(event);
  return thread.runs.get(id) ?? addRun(thread, id, event);
}

/** A child run is a step of its parent, if that is in the same thread. */
function addRun(thread, id, { payload, offset }) {
  const parent = thread.runs.get(payload.parent_run_id);
  const agent = payload.agent_name ?? "assistant";
  const beginning = { state: "running", steps: [], events: 0, first: offset, last: offset };
  const run = { kind: "run", key: `run:${id}`, id, agent, parentId: parent?.id ?? null, ...beginning };
  thread.runs.set(id, run);
  (parent?.steps ?? thread.entries).push(run);
  return run;
}

/** An event that stands for several counts as that many. */
function count(run, { seq, seq0 = seq, offset }) {
  if (!run) return;
  run.events += 1 + seq - seq0;
  run.first = Math.min(run.first, offset);
  run.last = offset;
}

function startRun(thread, event) {
  Object.assign(runOf(thread, event), { agent: event.payload.agent_name ?? "assistant", state: "running" });
}

/**
 * Add a run that began before the events that are here, or that waits for its turn.
 * @param {Conversations} conversations
 * @param {import("./actors.d.ts").ActiveItem} item
 */
export function addActive(conversations, { thread_id: threadId, run_id: id, payload, waiting }) {
  const thread = threadOf(conversations, threadId);
  const run = thread.runs.get(id) ?? addRun(thread, id, { payload, offset: Infinity });
  Object.assign(run, { agent: payload.agent_name ?? "assistant", state: waiting ? "waiting" : "running" });
}

/**
 * End a run whose outcome will not be known.
 * @param {Conversations} conversations
 * @param {import("./actors.d.ts").InactiveItem} item
 */
export function endUnseen(conversations, { run_id: id, reason }) {
  const ending = reason === "gone" ? "Ended; how is not known here" : "Not in a conversation of yours any more";
  for (const { runs } of conversations.threads.values()) {
    const run = runs.get(id);
    if (!run || !isActive(run)) continue;
    endRun(run, "ended", ending);
    if (run.events === 0) run.last = conversations.events.at(-1)?.offset ?? 0; // from now on it may be forgotten
  }
}

function addStep(run, kind, fields) {
  run.steps.push({ kind, key: run.steps.length, ...fields });
}

/** Successive deltas are one text. */
function addText(run, text) {
  const step = run.steps.at(-1);
  if (step?.kind === "answer") step.text += text;
  else addStep(run, "answer", { text });
}

function startTool(thread, event) {
  const { tool_call_id: id, tool_name: name = "tool", arguments: args } = event.payload;
  addStep(runOf(thread, event), "tool", { id, name, arguments: args, state: "executing", result: undefined });
}

function endTool(thread, event) {
  const { tool_call_id: id, ok = true, result, error } = event.payload;
  const run = runOf(thread, event);
  const called = (step) => step.kind === "tool" && step.state === "executing" && step.id === id;
  if (!run.steps.some(called)) startTool(thread, event);
  const tool = run.steps.filter(called).at(-1);
  tool.state = ok ? "completed" : "failed";
  tool.result = ok ? result : described(error);
}

/** A run without deltas shows its result as the answer. */
function completeRun(thread, event) {
  const run = runOf(thread, event);
  addResult(run, event.payload.result);
  endRun(run, "completed");
}

/** A run that finished although it was cancelled shows both. */
function cancelRun(thread, event) {
  const run = runOf(thread, event);
  addResult(run, event.payload.result);
  endRun(run, "cancelled", stopped(event.payload));
}

function addResult(run, result) {
  const silent = !run.steps.some((step) => step.kind === "answer");
  if (silent && result !== undefined && result !== null) addText(run, asText(result));
}

function endRun(run, state, ending) {
  run.state = state;
  if (ending !== undefined) addStep(run, "ending", { text: ending });
}

/** Format the reason of a cancelled run, for people. */
const REASONS = new Map(
  Object.entries({
    user: "Stopped by you",
    superseded: "Stopped: a newer message took its place",
    disconnected: "Stopped: nobody was connected any more",
    shutdown: "Stopped: the server was shut down",
    application: "Stopped by the application",
    host: "Stopped: the work around it was ended",
  }),
);

function stopped({ reason }) {
  return REASONS.get(reason) ?? (reason ? `Stopped: ${reason}` : "Stopped");
}

/** Add a notice of events that were dropped while their thread had no owner. */
function addDropped(thread, { payload, seq, seq0, offset }) {
  const seqs = seq0 === undefined || seq0 === seq ? `seq ${seq}` : `seq ${seq0} to ${seq}`;
  const causes = payload.causes === undefined ? "" : `: ${asText(payload.causes)}`;
  thread.entries.push(newNotice(`${plural(payload.count ?? 1, "event")} dropped (${seqs})${causes}`, offset));
}

function forgetOldest(conversations) {
  conversations.events.splice(0, FORGOTTEN_AT_ONCE);
  const low = conversations.events[0].offset;
  for (const [id, thread] of conversations.threads) {
    forgetBefore(thread, low);
    const empty = thread.events.length + thread.outgoing.length + asksIn(conversations, id).length === 0;
    if (empty) conversations.threads.delete(id);
  }
}

function forgetBefore(thread, low) {
  const kept = thread.events.filter((event) => event.offset >= low);
  thread.forgetful ||= kept.length < thread.events.length;
  thread.events = kept;
  thread.entries = thread.entries.filter((entry) => entry.last >= low);
  for (const [id, run] of thread.runs) if (run.last < low) thread.runs.delete(id);
}

/**
 * @param {Conversations} conversations
 * @param {import("./actors.d.ts").AskItem} item
 */
export function addAsk(conversations, { id, thread_id: threadId, payload, deadline }) {
  threadOf(conversations, threadId);
  const { question, choices = [] } = payload;
  const asked = { text: asText(question ?? payload), choices: choices.map(asText), deadline, answering: false };
  conversations.asks.set(id, { kind: "ask", key: `ask:${id}`, id, threadId, ...asked });
}

/** Return the open questions of a thread, oldest first. */
export function asksIn(conversations, threadId) {
  return [...conversations.asks.values()].filter((ask) => ask.threadId === threadId);
}

/** Note that the user's own message is stored; if its event has arrived, it is no longer outgoing. */
export function confirm(thread, message, eventId) {
  message.eventId = eventId;
  if (thread.events.some((event) => event.event_id === eventId)) withdraw(thread, message);
}

export function withdraw(thread, message) {
  thread.outgoing = thread.outgoing.filter((other) => other !== message);
}

/** Move the draft's entries into the thread that the server has named. */
export function adopt(thread, draft) {
  thread.entries.unshift(...draft.entries);
  thread.outgoing.push(...draft.outgoing);
}

/** Return the topmost active runs, because cancelling one cancels its children. */
export function activeRuns(thread) {
  const running = [...thread.runs.values()].filter(isActive);
  return running.filter((run) => thread.runs.get(run.parentId)?.state !== "running");
}

const isActive = ({ state }) => state === "running" || state === "waiting";

/** Return the stage of a message or event; null stands for an event that has not arrived. */
export function stageOf(event, acked, stored = false) {
  if (event) return event.offset <= acked ? "ACKED" : "WRITTEN";
  return stored ? "STORED" : "SENDING";
}

export function titleOf(thread) {
  const message = [...thread.entries, ...thread.outgoing].find((entry) => entry.kind === "message");
  const text = message?.text.replaceAll(/\s+/g, " ") ?? thread.id ?? "New conversation";
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}

export const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
export const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
