/**
 * The demonstration's page: a conversation over `actors.v1`, and every event behind it.
 *
 * Three parts, which meet only in `Page`, at the end: `Session` speaks the protocol and knows nothing
 * of the page, `fold` makes conversations of events and touches nothing else, the views draw them.
 */

// --- the protocol ---------------------------------------------------------------

/**
 * An event, as the server sends it.
 * @typedef {object} LogEvent
 * @property {string} type
 * @property {Record<string, any>} payload
 * @property {string} thread_id
 * @property {string} [run_id]
 * @property {string} event_id
 * @property {number} seq  counts the events of its thread
 * @property {number} [seq0]  the first seq it stands for, when it stands for several
 * @property {number} offset  counts the events of this user's log
 */

/**
 * Where a session stands. `waiting`: it comes back by itself at `until`; `refused`: it does not.
 * @typedef {object} State
 * @property {"connecting" | "live" | "waiting" | "refused"} name
 * @property {string} [reason]
 * @property {number} [code]  the WebSocket's close code
 * @property {number} [until]  milliseconds since the epoch of `Date`
 */

/**
 * Whom a session tells what.
 * @typedef {object} Handlers
 * @property {(state: State) => void} onState
 * @property {(event: LogEvent) => void} onEvent  each event once, in the order of offsets
 * @property {(offset: number) => void} onAcked  the server has taken the ack of everything up to this offset
 * @property {(gap: {from: number, to: number, cause: string}) => void} onGap  these offsets are gone
 * @property {() => void} onReset  the log is another one: what was shown is not in it
 * @property {(milliseconds: number) => void} onGoingAway  the server will close soon
 * @property {(text: string) => void} onFault  the server broke the protocol
 */

const SUBPROTOCOL = "actors.v1";

/** The ceiling of the first wait, which doubles to that of the last; each wait is a random part of its ceiling. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 10_000;

/** What the server gets from the dial to the welcome. */
const WELCOME_MS = 10_000;

/** The server pings a silent client; silence for this many of its periods means that it is not there. */
const SILENT_PERIODS = 2.5;

/** An ack waits this long for others once a run has ended: nothing more comes soon. */
const END_OF_RUN_ACK_MS = 50;

const LAST_OF_A_RUN = new Set(["agent_completed", "agent_failed", "agent_cancelled"]);

const FINAL_CLOSE_CODES = new Set([1002, 1003, 1007, 1008, 1009]);

/** Whether a close code says: the same client may come back as it is. */
function comesBack(code) {
  return !FINAL_CLOSE_CODES.has(code) && !(code >= 4500 && code <= 4999);
}

/** Why a `send` or `cancel` was not carried out. */
class Refusal extends Error {
  /** @param {{code?: number, name?: string, temporary?: boolean, message?: string}} error */
  constructor({ code, name, temporary, message } = {}) {
    super(message ?? "the server gave no reason");
    this.code = code;
    this.name = name ?? "refused";
    this.temporary = temporary ?? false;
  }
}

/**
 * One client of the server, over as many connections as it takes.
 *
 * It keeps a cursor (epoch and offset) and resumes from it, acknowledges what it was sent, and asks
 * again, under the same id, what was not answered before a connection ended.
 */
class Session {
  #url;
  #token;
  /** @type {Handlers} */ #handlers;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {string | undefined} */ #id;
  /** @type {{epoch: string, offset: number} | null} The last event seen. */ #cursor = null;
  /** What the welcome asks for; null while there is none, and then nothing but a hello may be said. */ #limits = null;
  #pingMs = 0;

  #unanswered = new Map();
  #asked = 0;

  #ackedTo = 0;
  /** @type {number | null} The ack whose proof is under way. */ #proving = null;
  #provenTo = 0;
  #ackTimer = 0;

  #attempts = 0;
  #liveSince = Infinity;
  /** @type {number | null} The wait that the server asked for. */ #askedWaitMs = null;
  #retryTimer = 0;
  #silenceTimer = 0;
  #lastError = null;

  #operations = new Map(
    Object.entries({
      welcome: (message) => this.#welcomed(message),
      caught_up: () => this.#caughtUp(),
      batch: (message) => this.#batch(message),
      gap: (message) => this.#gap(message),
      reset: (message) => this.#reset(message),
      reply: (message) => this.#replied(message),
      ping: () => this.#say({ op: "pong" }),
      pong: () => this.#proved(),
      going_away: (message) => this.#goingAway(message),
      error: (message) => (this.#lastError = message.error),
    }),
  );

  /**
   * @param {string} url
   * @param {string} token
   * @param {Handlers} handlers
   */
  constructor(url, token, handlers) {
    this.#url = url;
    this.#token = token;
    this.#handlers = handlers;
  }

  /** The last event seen. */
  get cursor() {
    return this.#cursor;
  }

  /** Connect now, whatever was under way. */
  connect() {
    this.#hangUp();
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify(this.#hello()));
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#expectSoon(WELCOME_MS);
    this.#enter({ name: "connecting" });
  }

  /**
   * Send a message; without a thread the server opens one.
   * @param {string} type
   * @param {Record<string, any>} payload
   * @param {string | null} threadId
   * @returns {Promise<{thread_id: string, event_id: string, run_id?: string}>} rejected with a `Refusal`
   */
  send(type, payload, threadId) {
    return this.#ask({ op: "send", thread_id: threadId ?? undefined, type, payload });
  }

  /**
   * Stop a run.
   * @param {string} runId
   * @returns {Promise<{stopped: string[], running: string[]}>} rejected with a `Refusal`
   */
  cancel(runId) {
    return this.#ask({ op: "cancel", run_id: runId });
  }

  // asking

  #ask(request) {
    const id = `c${(this.#asked += 1)}`;
    const text = JSON.stringify({ ...request, id });
    const most = this.#limits?.message_bytes ?? Infinity;
    if (new TextEncoder().encode(text).length > most) {
      return Promise.reject(new Refusal({ name: "too_big", message: `the server takes at most ${most} bytes` }));
    }
    return new Promise((resolve, reject) => {
      const question = { text, resolve, reject, askedIn: undefined };
      this.#unanswered.set(id, question);
      if (this.#limits) this.#put(question);
    });
  }

  #put(question) {
    question.askedIn = this.#id;
    this.#write(question.text);
  }

  /** Ask again. Within one session that is harmless; in another one it might be done twice. */
  #askAgain() {
    for (const [id, question] of this.#unanswered) {
      if (question.askedIn === undefined || question.askedIn === this.#id) {
        this.#put(question);
      } else {
        this.#unanswered.delete(id);
        const message = "the server has forgotten this session, and whether it took the message";
        question.reject(new Refusal({ name: "session_lost", message }));
      }
    }
  }

  #replied(message) {
    const question = this.#unanswered.get(message.id);
    this.#unanswered.delete(message.id);
    if (message.ok) question?.resolve(message);
    else question?.reject(new Refusal(message.error));
  }

  // hearing

  #receive(message) {
    this.#expectSoon(this.#pingMs || WELCOME_MS);
    if ("op" in message) this.#operations.get(message.op)?.(message);
    else if ("type" in message) this.#arrived(message.offset, message.offset, [message]);
  }

  #hello() {
    const start = this.#cursor ? { resume: this.#cursor } : { from: "low" };
    return { op: "hello", v: 1, token: this.#token, session: this.#id, ...start };
  }

  #welcomed({ session, epoch, low, start, resume, ping_s, limits }) {
    this.#id = session;
    this.#limits = limits;
    this.#pingMs = ping_s * 1000 * SILENT_PERIODS;
    if (resume === "fresh") {
      this.#cursor = { epoch, offset: start - 1 };
      if (low > 1) this.#handlers.onGap({ from: 1, to: low - 1, cause: "retention" });
    }
    // A cursor that was resumed from is an ack.
    if (resume !== "reset") this.#prove(this.#cursor.offset);
  }

  #caughtUp() {
    this.#liveSince = Date.now();
    this.#enter({ name: "live" });
    this.#ack();
    this.#askAgain();
  }

  #batch({ from, to, events }) {
    this.#arrived(from, to, events);
  }

  /** A contiguous range of offsets. What was seen before is dropped; what is missing is a bug, and said. */
  #arrived(from, to, events) {
    const seen = this.#cursor.offset;
    if (to <= seen) return;
    if (from > seen + 1) {
      this.#handlers.onFault(`expected offset ${seen + 1}, got ${from}, and was told of no gap`);
    }
    this.#cursor.offset = to;
    for (const event of events) {
      if (event.offset > seen) this.#handlers.onEvent(event);
    }
    this.#ackSoon(events.some((event) => LAST_OF_A_RUN.has(event.type)));
  }

  #gap({ from, to, cause }) {
    this.#cursor.offset = Math.max(this.#cursor.offset, to);
    this.#handlers.onGap({ from, to, cause });
  }

  #reset({ epoch, low }) {
    this.#cursor = { epoch, offset: low - 1 };
    this.#handlers.onReset();
    this.#prove(low - 1);
  }

  #goingAway({ retry_ms }) {
    this.#askedWaitMs = retry_ms ?? null;
    this.#handlers.onGoingAway(retry_ms);
  }

  // acknowledging

  #ackSoon(runEnded) {
    if (this.#cursor.offset - this.#ackedTo >= this.#limits.ack_events) this.#ack();
    else if (runEnded) setTimeout(() => this.#ack(), END_OF_RUN_ACK_MS);
    this.#ackTimer ||= setTimeout(() => this.#ack(), this.#limits.ack_s * 1000);
  }

  #ack() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = 0;
    if (this.#limits === null || this.#cursor.offset <= this.#ackedTo) return;
    this.#ackedTo = this.#cursor.offset;
    this.#say({ op: "ack", offset: this.#ackedTo });
    this.#askForProof();
  }

  /** The server takes a client's messages in order: a pong to a ping behind an ack proves the ack. */
  #askForProof() {
    if (this.#proving !== null || this.#ackedTo <= this.#provenTo) return;
    this.#proving = this.#ackedTo;
    this.#say({ op: "ping" });
  }

  #proved() {
    if (this.#proving === null) return;
    this.#provenTo = this.#proving;
    this.#proving = null;
    this.#handlers.onAcked(this.#provenTo);
    this.#askForProof();
  }

  #prove(offset) {
    this.#ackedTo = this.#provenTo = offset;
    this.#handlers.onAcked(offset);
  }

  // coming and going

  #say(message) {
    if (this.#limits !== null) this.#write(JSON.stringify(message));
  }

  /** A socket that is closing takes nothing more; what is said then is said again, or not needed any more. */
  #write(text) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  #enter(state) {
    this.#handlers.onState(state);
  }

  /** The browser does not notice a server that is silently gone. */
  #expectSoon(milliseconds) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#closed(1006, "it was silent for too long"), milliseconds);
  }

  #hangUp() {
    for (const timer of [this.#retryTimer, this.#silenceTimer, this.#ackTimer]) clearTimeout(timer);
    this.#ackTimer = 0;
    this.#limits = null;
    this.#proving = null;
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #closed(code, said) {
    this.#hangUp();
    const reason = this.#lastError?.message || said;
    this.#lastError = null;
    if (comesBack(code)) this.#comeBack(reason, code);
    else this.#enter({ name: "refused", reason, code });
  }

  #comeBack(reason, code) {
    const wait = this.#nextWait();
    this.#retryTimer = setTimeout(() => this.connect(), wait);
    this.#enter({ name: "waiting", reason, code, until: Date.now() + wait });
  }

  /** Full jitter. Only a connection that held begins anew: one that fails at once each time must not be hurried. */
  #nextWait() {
    if (Date.now() - this.#liveSince >= LAST_WAIT_MS) this.#attempts = 0;
    this.#liveSince = Infinity;
    const ceiling = Math.min(LAST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    const wait = this.#askedWaitMs ?? Math.random() * ceiling;
    this.#askedWaitMs = null;
    return wait;
  }
}

// --- events into conversations ----------------------------------------------------

/**
 * A message, one's own before the log has it included.
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
 * @property {"running" | "completed" | "failed" | "cancelled"} state
 * @property {string | null} parentId
 * @property {Step[]} steps
 * @property {number} events  how many it has
 * @property {number} first
 * @property {number} last
 */

/**
 * A part of a run, as it is read.
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
 * @property {(Message | Run | Notice)[]} entries  what it shows, oldest first
 * @property {Message[]} outgoing  one's own messages that have not arrived yet
 * @property {Map<string, Run>} runs
 * @property {LogEvent[]} events
 * @property {boolean} forgetful  whether its oldest events are not kept any more
 */

/** @typedef {{threads: Map<string, Thread>, events: LogEvent[]}} Conversations */

/** So many of the newest events are kept, over all conversations. */
const KEPT_EVENTS = 5_000;
const FORGOTTEN_AT_ONCE = 500;

let keys = 0;
const newKey = (kind) => `${kind}:${(keys += 1)}`;

/** @returns {Conversations} */
const newConversations = () => ({ threads: new Map(), events: [] });

/** @returns {Thread} */
function newThread(id) {
  return { id, entries: [], outgoing: [], runs: new Map(), events: [], forgetful: false };
}

/** @returns {Message} */
function newMessage(text, event = null) {
  return { kind: "message", key: newKey("message"), text, eventId: event?.event_id ?? null, event, last: event?.offset };
}

/** @returns {Notice} */
function newNotice(text, last, fault = false) {
  return { kind: "notice", key: newKey("notice"), text, fault, last };
}

/** The thread of an id, made when it is new. */
function threadOf(conversations, id) {
  if (!conversations.threads.has(id)) conversations.threads.set(id, newThread(id));
  return conversations.threads.get(id);
}

/**
 * Add an event to what is known. Events that no rule is for are kept, and change nothing.
 * @param {Conversations} conversations
 * @param {LogEvent} event
 */
function fold(conversations, event) {
  const thread = threadOf(conversations, event.thread_id);
  conversations.events.push(event);
  thread.events.push(event);
  RULES.get(event.type)?.(thread, event);
  count(thread.runs.get(event.run_id), event);
  if (conversations.events.length > KEPT_EVENTS) forgetOldest(conversations);
}

const RULES = new Map(
  Object.entries({
    user_message: addMessage,
    agent_started: startRun,
    agent_thinking: (thread, event) => addStep(runOf(thread, event), "thinking", { text: told(event) }),
    agent_delta: (thread, event) => addText(runOf(thread, event), told(event)),
    tool_executing: startTool,
    tool_completed: endTool,
    agent_completed: completeRun,
    agent_failed: (thread, event) => endRun(runOf(thread, event), "failed", failure(event.payload.error)),
    agent_cancelled: (thread, event) => endRun(runOf(thread, event), "cancelled", event.payload.reason ?? ""),
    dropped: addDropped,
  }),
);

/** The text of an event that has one. */
const told = ({ payload }) => String(payload.text ?? payload.thought ?? "");

const failure = (error) => [error?.type, error?.message].filter(Boolean).join(": ");

function addMessage(thread, event) {
  const own = thread.outgoing.find((message) => message.eventId === event.event_id);
  thread.outgoing = thread.outgoing.filter((message) => message !== own);
  thread.entries.push(Object.assign(own ?? newMessage(told(event), event), { event, last: event.offset }));
}

/** The run of an event, made when its beginning was not seen. */
function runOf(thread, event) {
  const id = event.run_id ?? `${event.thread_id}:?`;
  return thread.runs.get(id) ?? addRun(thread, id, event);
}

/** A run that another one of the same thread started is a step of that one. */
function addRun(thread, id, { payload, offset }) {
  const parent = thread.runs.get(payload.parent_run_id);
  const agent = payload.agent_name ?? "assistant";
  const counted = { events: 0, first: offset, last: offset };
  const run = { kind: "run", key: `run:${id}`, id, agent, state: "running", parentId: parent?.id ?? null, steps: [], ...counted };
  thread.runs.set(id, run);
  (parent?.steps ?? thread.entries).push(run);
  return run;
}

function count(run, event) {
  if (!run) return;
  run.events += 1;
  run.last = event.offset;
}

function startRun(thread, event) {
  runOf(thread, event).agent = event.payload.agent_name ?? "assistant";
}

function addStep(run, kind, fields) {
  run.steps.push({ kind, key: run.steps.length, ...fields });
}

/** Tokens that follow each other are one text. */
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
  const tool = run.steps.findLast(called);
  tool.state = ok ? "completed" : "failed";
  tool.result = ok ? result : failure(error);
}

/** A run that wrote no tokens has said what it has to say in its result. */
function completeRun(thread, event) {
  const run = runOf(thread, event);
  const result = event.payload.result;
  const silent = !run.steps.some((step) => step.kind === "answer");
  if (silent && result !== undefined && result !== null) addText(run, asText(result));
  endRun(run, "completed", "");
}

function endRun(run, state, reason) {
  run.state = state;
  if (state === "failed") addStep(run, "ending", { text: reason ? `Failed: ${reason}` : "Failed" });
  if (state === "cancelled") addStep(run, "ending", { text: reason ? `Stopped: ${reason}` : "Stopped" });
}

/** Events that had no owner to go to, and could not be held any longer. */
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
    if (thread.events.length + thread.outgoing.length === 0) conversations.threads.delete(id);
  }
}

function forgetBefore(thread, low) {
  const kept = thread.events.filter((event) => event.offset >= low);
  thread.forgetful ||= kept.length < thread.events.length;
  thread.events = kept;
  thread.entries = thread.entries.filter((entry) => entry.last >= low);
  for (const [id, run] of thread.runs) if (run.last < low) thread.runs.delete(id);
}

/** One's own message is stored; if it is here already, it is not on its way any more. */
function confirm(thread, message, eventId) {
  message.eventId = eventId;
  if (thread.events.some((event) => event.event_id === eventId)) withdraw(thread, message);
}

function withdraw(thread, message) {
  thread.outgoing = thread.outgoing.filter((other) => other !== message);
}

/** What was written before the server named the conversation becomes part of it. */
function adopt(thread, draft) {
  thread.entries.unshift(...draft.entries);
  thread.outgoing.push(...draft.outgoing);
}

/** The runs to stop when everything shall stop: their own runs stop with them. */
function activeRuns(thread) {
  const running = [...thread.runs.values()].filter((run) => run.state === "running");
  return running.filter((run) => thread.runs.get(run.parentId)?.state !== "running");
}

/** What a message or event has come to; null stands for an event that has not arrived. */
function stageOf(event, acked, stored = false) {
  if (event) return event.offset <= acked ? "ACKED" : "WRITTEN";
  return stored ? "STORED" : "SENDING";
}

function titleOf(thread) {
  const message = [...thread.entries, ...thread.outgoing].find((entry) => entry.kind === "message");
  const text = message?.text.replaceAll(/\s+/g, " ") ?? thread.id ?? "New conversation";
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}

const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// --- drawing ----------------------------------------------------------------------

const byId = (id) => document.getElementById(id);

/** An element; strings among its children become text, whatever they look like. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function badge(stage = "") {
  return element("span", { class: "stage", "data-stage": stage }, stage);
}

function stamp(node, stage) {
  node.dataset.stage = stage;
  write(node, stage);
}

/**
 * One view for each item, in the order of the items; a view lives as long as its item.
 * @param {HTMLElement} parent
 * @param {Map<string | number, {element: HTMLElement, update: (item: any, acked: number) => void}>} views
 */
function drawAll(parent, views, items, acked) {
  const present = new Set(items.map((item) => item.key));
  for (const [key, view] of views) if (!present.has(key)) forget(views, key, view);
  for (const [index, item] of items.entries()) {
    if (!views.has(item.key)) views.set(item.key, VIEWS[item.kind](item));
    const view = views.get(item.key);
    if (parent.children[index] !== view.element) parent.insertBefore(view.element, parent.children[index] ?? null);
    view.update(item, acked);
  }
}

function forget(views, key, view) {
  view.element.remove();
  views.delete(key);
}

const VIEWS = {
  message: messageView,
  run: runView,
  notice: noticeView,
  thinking: thinkingView,
  tool: toolView,
  answer: () => textView("answer"),
  ending: () => textView("ending"),
};

function messageView(message) {
  const text = element("p", { class: "user-message" }, message.text);
  const place = element("span");
  const stage = badge();
  const meta = element("p", { class: "meta" }, place, stage);
  return {
    element: element("article", { class: "message", "aria-label": "You" }, text, meta),
    update({ event, eventId }, acked) {
      stamp(stage, (text.dataset.stage = stageOf(event, acked, eventId !== null)));
      write(place, event ? `seq ${event.seq} · offset ${event.offset}` : "");
    },
  };
}

function runView(run) {
  const state = element("span", { class: "state" });
  const head = element("header", {}, element("span", { class: "agent" }, run.agent), state);
  const [steps, views] = [element("div", { class: "steps" }), new Map()];
  const [place, stage] = [element("span"), badge()];
  const foot = element("p", { class: "meta" }, place, stage);
  const card = element("article", { class: "run", "data-run": run.id, "aria-label": `Run of ${run.agent}` }, head, steps, foot);
  return {
    element: card,
    update({ state: now, steps: all, events, first, last }, acked) {
      card.dataset.state = now;
      write(state, now);
      drawAll(steps, views, all, acked);
      write(place, `${plural(events, "event")} · offsets ${first} to ${last}`);
      stamp(stage, stageOf({ offset: last }, acked));
    },
  };
}

function noticeView(notice) {
  return { element: element("p", { class: "notice", "data-fault": notice.fault }, notice.text), update() {} };
}

function thinkingView(step) {
  const label = element("span", { class: "label" }, "Thinking");
  return { element: element("p", { class: "thinking" }, label, step.text), update() {} };
}

function toolView(tool) {
  const [state, result] = [element("span", { class: "state" }), element("code", { class: "result" })];
  const name = element("span", { class: "tool-name" }, tool.name);
  const given = element("code", { class: "arguments" }, shown(tool.arguments));
  const body = element("dl", {}, element("dt", {}, "Arguments"), element("dd", {}, given));
  const outcome = [element("dt", {}, "Result"), element("dd", {}, result)];
  const card = element("div", { class: "tool" }, element("p", {}, name, state), body);
  return {
    element: card,
    update({ state: now, result: value }) {
      card.dataset.state = now;
      write(state, now);
      if (now === "executing") return;
      write(result, shown(value));
      if (!outcome[0].isConnected) body.append(...outcome);
    },
  };
}

/** Text that only grows: what is there stays, with a reader's selection in it. */
function textView(name) {
  const text = document.createTextNode("");
  return {
    element: element("p", { class: name }, text),
    update(step) {
      if (text.length < step.text.length) text.appendData(step.text.slice(text.length));
    },
  };
}

function shown(value) {
  if (value === undefined) return "none";
  return typeof value === "string" ? value : JSON.stringify(value, null, 1).replaceAll(/\n\s*/g, " ");
}

/** The list of events, a row each. */
class Timeline {
  #body = byId("timeline").querySelector("tbody");
  /** @type {Thread | null} */ #thread = null;
  /** @type {Map<LogEvent, HTMLElement>} */ #rows = new Map();
  /** @type {Set<LogEvent>} */ #unacked = new Set();

  constructor() {
    this.#body.addEventListener("toggle", ({ target }) => unfold(target), true);
  }

  /** @param {Thread} thread */
  draw(thread, acked) {
    if (thread !== this.#thread) this.#turnTo(thread);
    this.#forget(thread.events[0]?.offset ?? Infinity);
    this.#add(thread.events);
    this.#stamp(acked);
    byId("no-events").hidden = this.#rows.size > 0;
  }

  #turnTo(thread) {
    this.#thread = thread;
    this.#rows.clear();
    this.#unacked.clear();
    this.#body.replaceChildren();
  }

  #forget(low) {
    for (const [event, row] of this.#rows) {
      if (event.offset >= low) break;
      row.remove();
      this.#rows.delete(event);
      this.#unacked.delete(event);
    }
  }

  #add(events) {
    let known = events.length;
    while (known > 0 && !this.#rows.has(events[known - 1])) known -= 1;
    for (const event of events.slice(known)) {
      this.#rows.set(event, eventRow(event));
      this.#unacked.add(event);
      this.#body.append(this.#rows.get(event));
    }
  }

  #stamp(acked) {
    for (const event of this.#unacked) {
      const row = this.#rows.get(event);
      row.dataset.stage = stageOf(event, acked);
      stamp(row.querySelector(".stage"), row.dataset.stage);
      if (event.offset <= acked) this.#unacked.delete(event);
    }
  }
}

/** @param {LogEvent} event */
function eventRow(event) {
  const { event_id, type, seq, seq0, offset } = event;
  const summary = element("summary", {}, element("b", {}, type), " ", element("span", {}, gist(event)));
  const details = element("details", {}, summary, element("pre", { tabindex: "0", "aria-label": "The event as it came" }));
  const attributes = { "data-event": event_id ?? "", "data-type": type, "data-seq": seq, "data-offset": offset };
  const seqs = seq0 === undefined || seq0 === seq ? String(seq) : `${seq0}–${seq}`;
  const cells = [String(offset), seqs, details, badge()].map((cell) => element("td", {}, cell));
  const row = element("tr", attributes, ...cells);
  CAME_AS.set(details, event);
  return row;
}

/** What an opened row shows; written only then, since most are never opened. */
const CAME_AS = new WeakMap();

function unfold(details) {
  write(details.lastElementChild, JSON.stringify(CAME_AS.get(details), null, 2));
  if (details.open) details.scrollIntoView({ block: "nearest" });
}

/** What an event says, in a few words. */
function gist({ payload }) {
  const said = payload.text ?? payload.thought ?? payload.tool_name ?? payload.agent_name ?? payload.reason;
  return asText(said ?? payload.error?.message ?? "").slice(0, 80);
}

/** Keeps the newest in sight, for a reader who has not scrolled away from it. */
class Follower {
  #scroller;
  #onAway;
  #away = false;

  /**
   * @param {HTMLElement} scroller
   * @param {(away: boolean) => void} [onAway]
   */
  constructor(scroller, onAway = () => {}) {
    this.#scroller = scroller;
    this.#onAway = onAway;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
  }

  follow() {
    if (!this.#away) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Go to the newest, wherever the reader is. */
  catchUp() {
    this.#away = false;
    this.follow();
    this.#onAway(false);
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#away = scrollHeight - scrollTop - clientHeight > 64;
    this.#onAway(this.#away);
  }
}

/** Whether there is a server: always in sight, and in words. */
class ConnectionView {
  #banner = byId("banner");
  #clock = 0;
  /** @type {State} */ #state = { name: "connecting" };
  #wasLive = false;
  #failed = false;

  /** An attempt to come back is still "gone": it is not to blink at every attempt. */
  get gone() {
    return this.#state.name === "waiting" || (this.#state.name === "connecting" && this.#failed);
  }

  /** @param {State} state */
  enter(state) {
    this.#failed = state.name !== "live" && (this.#failed || state.name === "waiting");
    this.#state = state;
    clearInterval(this.#clock);
    if (state.name === "waiting") this.#clock = setInterval(() => this.#drawBanner(), 200);
    this.#drawPill();
    this.#drawBanner();
  }

  goingAway(milliseconds) {
    this.#banner.hidden = false;
    byId("retry").hidden = true;
    const back = milliseconds === undefined ? "" : `, ${Math.ceil(milliseconds / 1000)} s after that`;
    write(this.#banner.firstElementChild, `The server is about to leave. This page comes back by itself${back}.`);
  }

  #drawPill() {
    const { name, code } = this.#state;
    const refusal = code === 4500 ? "Replaced" : "Refused";
    const words = { connecting: "Connecting", live: "Live", refused: refusal };
    byId("connection").dataset.state = this.gone ? "gone" : name;
    write(byId("connection"), this.gone ? "Server gone" : words[name]);
  }

  #drawBanner() {
    this.#banner.hidden = !this.gone && this.#state.name !== "refused";
    this.#banner.dataset.state = byId("connection").dataset.state;
    byId("retry").hidden = false;
    write(byId("retry"), this.gone ? "Retry now" : "Connect again");
    write(this.#banner.firstElementChild, this.gone ? this.#whenGone() : this.#whenRefused());
  }

  #whenGone() {
    const { reason, until } = this.#state;
    const why = reason ? ` (${reason})` : "";
    if (until === undefined) return "The server is gone. Trying to reach it now.";
    const seconds = Math.max(1, Math.ceil((until - Date.now()) / 1000));
    return `The server is gone${why}. Trying again in ${seconds} s.`;
  }

  #whenRefused() {
    const { reason, code } = this.#state;
    if (code === 4500) return "Another connection has taken this page's place. It does not come back by itself.";
    return `The server refused this page: ${reason || "it gave no reason"} (code ${code}).`;
  }
}

// --- the page ---------------------------------------------------------------------

const WIDE = "(min-width: 62rem)";

const HINTS = {
  live: "Enter sends, Shift+Enter breaks the line, Escape stops",
  naming: "The conversation is being opened; the next message can follow in a moment",
  connecting: "Connecting. You can write already, and send in a moment",
  gone: "The server is gone, so nothing can be sent. What you write stays here",
  refused: "Not connected, so nothing can be sent. What you write stays here",
};

/** Which conversation is shown, and what a person does with it. */
class Page {
  #user = new URLSearchParams(location.search).get("user") || "guest";
  #session = new Session(`${location.origin.replace(/^http/, "ws")}/ws`, this.#user, this.#handlers());
  #conversations = newConversations();
  #draft = newThread(null);
  /** @type {string | null} The thread that is shown; null is the draft. */ #shownId = threadInAddress();
  /** Whether the draft gives way to the first thread there is. Not so once a person asked for a new conversation. */
  #following = true;
  #live = false;
  #acked = 0;
  #drawTimer = 0;
  /** @type {Set<string>} Runs that were asked to stop. */ #stopping = new Set();

  #connection = new ConnectionView();
  #timeline = new Timeline();
  #views = new Map();
  /** @type {Thread | null} */ #drawn = null;
  #conversationFollower = new Follower(byId("conversation"), (away) => (byId("latest").hidden = !away));
  #timelineFollower = new Follower(byId("timeline"));

  start() {
    this.#listen();
    this.#showEvents(matchMedia(WIDE).matches);
    this.#draw();
    this.#session.connect();
  }

  get #thread() {
    return this.#shownId === null ? this.#draft : threadOf(this.#conversations, this.#shownId);
  }

  // what the session tells

  /** @returns {Handlers} */
  #handlers() {
    return {
      onState: (state) => this.#entered(state),
      onEvent: (event) => this.#arrived(event),
      onAcked: (offset) => this.#proved(offset),
      onGap: ({ from, to, cause }) => this.#notice(`The events at offsets ${from} to ${to} are gone (${cause})`),
      onReset: () => this.#startOver(),
      onGoingAway: (milliseconds) => this.#connection.goingAway(milliseconds),
      onFault: (text) => this.#fault(text),
    };
  }

  #entered(state) {
    this.#live = state.name === "live";
    this.#connection.enter(state);
    if (this.#live) this.#follow(this.#conversations.events.at(-1));
    this.#draw();
  }

  #arrived(event) {
    fold(this.#conversations, event);
    if (LAST_OF_A_RUN.has(event.type)) this.#stopping.delete(event.run_id);
    if (!this.#live) return;
    this.#follow(event);
    if (event.thread_id === this.#shownId) this.#announceEnd(event);
    this.#soon();
  }

  #proved(offset) {
    this.#acked = offset;
    this.#soon();
  }

  /** A page that shows no conversation turns to the first one there is, so that all tabs show the same. */
  #follow(event) {
    const free = this.#following && this.#shownId === null && this.#draft.outgoing.length === 0;
    if (free && event) this.#turnDraftInto(event.thread_id);
  }

  #startOver() {
    this.#conversations = newConversations();
    this.#stopping.clear();
    this.#draft = newThread(null);
    this.#show(null);
    this.#following = true;
    this.#notice("The server was restarted; the earlier conversation is gone");
  }

  #fault(text) {
    console.error(`actors: ${text}`);
    this.#notice(`A fault of the server: ${text}`, true);
  }

  /** The log is that of all conversations, so what is wrong with it is said in each. */
  #notice(text, fault = false) {
    for (const thread of [this.#draft, ...this.#conversations.threads.values()]) {
      thread.entries.push(newNotice(text, this.#session.cursor?.offset ?? 0, fault));
    }
    announce(text);
    this.#soon();
  }

  /** Said when it is whole: token by token it would be noise. */
  #announceEnd(event) {
    if (!LAST_OF_A_RUN.has(event.type)) return;
    const run = this.#thread.runs.get(event.run_id);
    const texts = run?.steps.filter((step) => step.kind === "answer" || step.kind === "ending") ?? [];
    announce(`${run?.agent}: ${texts.map((step) => step.text).join(" ") || run?.state}`);
  }

  // what a person does

  #listen() {
    byId("composer").addEventListener("submit", (event) => this.#submit(event));
    byId("message").addEventListener("keydown", (event) => this.#typed(event));
    byId("message").addEventListener("input", () => this.#drawComposer());
    byId("stop").addEventListener("click", () => this.#stopByButton());
    byId("new").addEventListener("click", () => this.#begin());
    byId("retry").addEventListener("click", () => this.#retry());
    byId("latest").addEventListener("click", () => this.#conversationFollower.catchUp());
    byId("toggle").addEventListener("click", () => this.#showEvents(byId("events").hidden));
    byId("threads").addEventListener("change", ({ target }) => this.#show(target.value || null));
    document.addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && this.#stop());
    addEventListener("hashchange", () => this.#show(threadInAddress()));
  }

  #typed(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#submit(event);
  }

  #submit(event) {
    event.preventDefault();
    const box = byId("message");
    // Half of a surrogate pair is not text, and the server would close on it.
    const text = box.value.trim().toWellFormed();
    if (!text || !this.#sendable) return;
    box.value = "";
    this.#send(text);
  }

  /** Before a conversation has its name, a second message would open another one. */
  get #sendable() {
    return this.#live && !(this.#shownId === null && this.#draft.outgoing.length > 0);
  }

  async #send(text) {
    const [thread, message] = [this.#thread, newMessage(text)];
    thread.outgoing.push(message);
    this.#draw();
    this.#conversationFollower.catchUp();
    try {
      this.#stored(thread, message, await this.#session.send("user_message", { text }, thread.id));
    } catch (refusal) {
      this.#giveBack(thread, message, refusal);
    }
  }

  #stored(thread, message, { thread_id, event_id }) {
    message.eventId = event_id;
    if (thread === this.#draft) this.#turnDraftInto(thread_id);
    confirm(threadOf(this.#conversations, thread_id), message, event_id);
    this.#soon();
  }

  /** What was not taken is the person's again. */
  #giveBack(thread, message, refusal) {
    withdraw(thread, message);
    byId("message").value = [message.text, byId("message").value].filter(Boolean).join("\n");
    const text = `Your message was not taken: ${refusal.message} (${refusal.name}). It is in the box again`;
    this.#thread.entries.push(newNotice(text, this.#session.cursor?.offset ?? 0));
    announce(text);
    this.#draw();
  }

  async #stop() {
    if (!this.#live) return;
    const runs = activeRuns(this.#thread).filter((run) => !this.#stopping.has(run.id));
    for (const run of runs) this.#stopping.add(run.id);
    this.#drawComposer();
    await Promise.all(runs.map((run) => this.#cancel(run.id)));
  }

  /** The button goes, and the focus must not go with it. */
  #stopByButton() {
    this.#stop();
    byId("message").focus();
  }

  async #cancel(runId) {
    try {
      const { running = [] } = await this.#session.cancel(runId);
      for (const id of running) this.#stopping.delete(id);
    } catch (refusal) {
      this.#stopping.delete(runId);
      this.#notice(`The run could not be stopped: ${refusal.message} (${refusal.name})`);
    }
  }

  #begin() {
    this.#draft = newThread(null);
    this.#following = false;
    this.#show(null);
    byId("message").focus();
  }

  #retry() {
    this.#session.connect();
    byId("message").focus();
  }

  #turnDraftInto(id) {
    adopt(threadOf(this.#conversations, id), this.#draft);
    this.#draft = newThread(null);
    if (this.#shownId === null) this.#show(id);
  }

  #show(id) {
    this.#shownId = id;
    const address = id === null ? location.pathname + location.search : `#${encodeURIComponent(id)}`;
    history.replaceState(null, "", address);
    this.#draw();
    this.#conversationFollower.catchUp();
    this.#timelineFollower.catchUp();
  }

  #showEvents(shown) {
    byId("events").hidden = !shown;
    byId("toggle").setAttribute("aria-expanded", String(shown));
    this.#timelineFollower.catchUp();
  }

  // drawing

  /** Once for all that comes in one frame's time. Not by animation frames: a tab in the background has none. */
  #soon() {
    this.#drawTimer ||= setTimeout(() => this.#draw(), 16);
  }

  #draw() {
    clearTimeout(this.#drawTimer);
    this.#drawTimer = 0;
    this.#drawConversation(this.#thread);
    this.#drawComposer();
    this.#drawThreads();
    this.#drawPlace();
    this.#conversationFollower.follow();
    this.#timelineFollower.follow();
  }

  /** @param {Thread} thread */
  #drawConversation(thread) {
    if (thread !== this.#drawn) this.#turnTo(thread);
    const entries = [...thread.entries, ...thread.outgoing];
    byId("empty").hidden = entries.some((entry) => entry.kind !== "notice");
    drawAll(byId("entries"), this.#views, entries, this.#acked);
    this.#timeline.draw(thread, this.#acked);
  }

  #turnTo(thread) {
    this.#drawn = thread;
    this.#views.clear();
    byId("entries").replaceChildren();
  }

  #drawComposer() {
    const active = activeRuns(this.#thread);
    const stopping = active.every((run) => this.#stopping.has(run.id));
    if (active.length === 0 && document.activeElement === byId("stop")) byId("message").focus();
    byId("stop").hidden = active.length === 0;
    byId("stop").disabled = !this.#live || stopping;
    byId("send").disabled = !this.#sendable || byId("message").value.trim() === "";
    write(byId("hint"), this.#hint());
  }

  #hint() {
    if (this.#live) return this.#sendable ? HINTS.live : HINTS.naming;
    return HINTS[byId("connection").dataset.state];
  }

  #drawThreads() {
    const threads = [...this.#conversations.threads.values()].reverse();
    const choices = this.#shownId === null ? [this.#draft, ...threads] : threads;
    const made = choices.map((thread) => element("option", { value: thread.id ?? "" }, titleOf(thread)));
    const select = byId("threads");
    const same = made.length === select.length && made.every((option, at) => option.isEqualNode(select.options[at]));
    if (!same) select.replaceChildren(...made);
    select.value = this.#shownId ?? "";
  }

  #drawPlace() {
    const { epoch, offset } = this.#session.cursor ?? {};
    const log = epoch ? `Log of ${this.#user}, epoch ${epoch}\nSeen to offset ${offset}, acked to ${this.#acked}` : "";
    const forgetful = this.#thread.forgetful ? "\nThe oldest events are not kept in this page" : "";
    write(byId("place"), log + forgetful);
  }
}

function announce(text) {
  byId("announcer").textContent = text;
}

/** The thread that the address names. */
function threadInAddress() {
  const named = location.hash.slice(1);
  try {
    return decodeURIComponent(named) || null;
  } catch {
    return named;
  }
}

new Page().start();
