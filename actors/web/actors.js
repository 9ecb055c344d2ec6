/**
 * The browser's client of trio-actors: `actors.v1` over as many connections as it takes; see actors.d.ts.
 *
 * An item is taken, and may be confirmed, when the loop comes back for the next or, without a loop, when the
 * listeners have seen it. What was not handed out when a connection ends is let go: it comes again.
 *
 * @typedef {import("./actors.d.ts").Options} Options
 * @typedef {import("./actors.d.ts").State} State
 */

const ITEMS = /^(event|gap|reset|caught_up|active|inactive|ask|ask_closed)$/;
const LAST_OF_A_RUN = /^agent_(completed|failed|cancelled)$/;
const FINAL_CODES = new Set([1002, 1003, 1007, 1008, 1009]);

/** The ceiling of the first wait doubles to that of the last; a wait is a random part of its ceiling. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 10_000;

/** What a server gets from dial to welcome, and beyond its ping period; and when in doubt. */
const PATIENCE_MS = 10_000;
const PROBE_MS = 3_000;

/** With more unread items the connection is given up until they are read. */
const MOST_UNREAD = 1_000;

/** Requests in flight, unless the server takes fewer. */
const MOST_ASKED = 8;

/** Why a request was not carried out, or a session has ended. */
export class Refusal extends Error {
  /** @param {Partial<Refusal>} error */
  constructor({ code, name = "refused", temporary = false, message = "no reason was given" }) {
    super(message);
    Object.assign(this, { code, name, temporary });
  }
}

/** @param {string} url @param {Options} [options] */
export const connect = (url, options) => new Session(url, options);

/** Session and cursor are in memory alone: two tabs are two clients. */
export class Session extends EventTarget {
  #url;
  #options;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {State} */ #state = { name: "connecting" };
  #ended = new AbortController();
  #timers = new Map();
  #id;
  /** What the welcome asks for; null while nothing but a hello may be said. */ #limits = null;

  // Offsets of one epoch: acked <= taken <= handed <= received.
  #epoch;
  #received;
  #handed;
  #taken;
  #acked;
  #runEnded = false;

  #queue;
  #bells = [];
  #iterators = 0;
  #listening = false;
  /** Why the application has to forget all, until it was told. */ #forget = null;
  /** The open questions that it knows, and all that came since caught_up. */ #shown = new Set();
  #here = new Set();
  /** The runs that it knows to be active, and whether they wait; all that came; those that did since caught_up. */
  #active = new Map();
  #begun = new Set();
  #running = new Set();

  #requests = new Map();
  #asked = 0;

  #failures = 0;
  #hurryUntil = 0;
  #liveSince = Infinity;
  /** The wait asked for. */ #askedMs = null;
  #error = null;

  constructor(url, { token, cursor, from = "low", WebSocket = globalThis.WebSocket } = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href).href.replace(/^http/, "ws");
    this.#options = { token, from, WebSocket };
    this.#begin(cursor?.epoch, cursor?.offset ?? 0);
    for (const type of ["online", "pageshow", "resume", "visibilitychange"]) {
      // Captured: what happens to the document passes the window on its way.
      globalThis.addEventListener?.(type, () => this.#wake(), { capture: true, signal: this.#ended.signal });
    }
    this.connect();
  }

  get state() {
    return this.#state;
  }

  get cursor() {
    return this.#epoch ? { epoch: this.#epoch, offset: this.#taken } : null;
  }

  connect() {
    if (this.#state.name === "closed") return;
    this.#hangUp();
    this.#queue = [];
    this.#received = this.#handed;
    this.#askedMs = null;
    const socket = (this.#socket = new this.#options.WebSocket(this.#url, "actors.v1"));
    socket.onopen = () => this.#greet(socket);
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    // Node 20 fires no close when it cannot connect.
    socket.onclose = socket.onerror = ({ code = 1006, reason }) => this.#closed(code, reason);
    this.#expectWithin(PATIENCE_MS);
    this.#enter({ name: "connecting" });
  }

  close() {
    this.#ack();
    this.#hangUp();
    this.#ended.abort();
    this.#queue = [];
    this.#end({ name: "closed" });
  }

  send(payload, { threadId, type = "user_message" } = {}) {
    return this.#ask({ op: "send", thread_id: threadId, type, payload });
  }

  cancel(runId) {
    return this.#ask({ op: "cancel", run_id: runId });
  }

  answer(askId, payload) {
    return this.#ask({ op: "answer", ask: askId, payload });
  }

  read(threadId, { afterSeq, limit } = {}) {
    return this.#ask({ op: "read", thread_id: threadId, after_seq: afterSeq, limit });
  }

  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
    this.#listening ||= ITEMS.test(type);
    queueMicrotask(() => this.#deliver());
  }

  async *[Symbol.asyncIterator]() {
    this.#iterators += 1;
    try {
      while (this.#state.name !== "closed") {
        this.#took();
        const item = this.#handOut();
        if (item) yield item;
        else if (this.#state.name === "refused") throw this.#over();
        else await new Promise((ring) => this.#bells.push(ring));
      }
    } finally {
      this.#iterators -= 1;
      this.#deliver();
    }
  }

  // items

  #enqueue(item, offset = this.#received) {
    this.#received = offset;
    this.#queue.push({ item, offset });
  }

  #deliver() {
    for (const ring of this.#bells.splice(0)) ring();
    while (this.#listening && this.#iterators === 0 && this.#handOut()) this.#took();
  }

  #handOut() {
    while (this.#queue.length > 0) {
      const { item, offset } = this.#queue.shift();
      this.#handed = offset;
      if (!this.#isNews(item)) continue;
      this.#runEnded ||= LAST_OF_A_RUN.test(item.type);
      this.#tell(item.kind, item);
      return item;
    }
    if (this.#state.until === Infinity) this.connect();
  }

  /** A question or run that comes twice is one, and is over once. */
  #isNews({ kind, id, type, run_id, waiting }) {
    if (kind === "reset") {
      this.#forget = null;
      this.#active.clear();
    }
    if (kind === "event" && type === "agent_started") this.#active.set(run_id, false);
    if (kind === "event" && LAST_OF_A_RUN.test(type)) this.#isOver(run_id);
    if (kind === "active") return this.#isActive(run_id, waiting);
    if (kind === "inactive") return this.#isOver(run_id);
    if (kind === "ask") return !this.#shown.has(id) && this.#shown.add(id);
    return kind !== "ask_closed" || this.#shown.delete(id);
  }

  #isActive(runId, waiting) {
    const before = this.#active.get(runId);
    this.#active.set(runId, waiting);
    return before === undefined || (before && !waiting);
  }

  #isOver(runId) {
    this.#begun.delete(runId);
    return this.#active.delete(runId);
  }

  #took() {
    this.#taken = this.#handed;
    if (!this.#limits) return;
    const { ack_events, ack_s } = this.#limits;
    if (this.#runEnded || this.#taken - this.#acked >= ack_events) this.#ack();
    else if (!this.#timers.has("ack")) this.#after("ack", ack_s * 1000, () => this.#ack());
  }

  #ack() {
    if (!this.#limits || this.#taken <= this.#acked) return;
    this.#runEnded = false;
    this.#say({ op: "ack", offset: this.#taken });
    this.#confirmed(this.#taken);
  }

  #confirmed(offset) {
    this.#acked = offset;
    this.#tell("acked", offset);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // requests

  async #ask(fields) {
    if (/refused|closed/.test(this.#state.name)) throw this.#over();
    const id = `c${++this.#asked}`;
    const text = JSON.stringify({ ...fields, id });
    return new Promise((resolve, reject) => {
      this.#requests.set(id, { text, resolve, reject });
      this.#put();
    });
  }

  /** Ask again on each connection: harmless within a session; in another one it might be done twice. */
  #put() {
    const { message_bytes: most, requests } = this.#limits ?? { requests: 0 };
    for (const [id, request] of [...this.#requests].slice(0, MOST_ASKED).slice(0, requests)) {
      if (request.socket === this.#socket) continue;
      if (request.session && request.session !== this.#id) {
        this.#settle(id, { error: { name: "session_lost", message: "it may have been carried out" } });
      } else if (new TextEncoder().encode(request.text).length > most) {
        this.#settle(id, { error: { name: "too_big", message: `expected at most ${most} bytes` } });
      } else {
        Object.assign(request, { socket: this.#socket, session: this.#id });
        this.#socket.send(request.text);
      }
    }
  }

  #settle(id, reply) {
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    if (reply.error) request?.reject(new Refusal(reply.error));
    else request?.resolve(reply);
    this.#put();
  }

  // hearing

  #ops = {
    batch: ({ from, to, events }) => this.#arrived(from, to, events),
    gap: ({ from, to, cause }) => this.#isNext(from, to) && this.#enqueue({ kind: "gap", from, to, cause }, to),
    reset: ({ epoch, low }) => this.#reset(epoch, low - 1, ""),
    welcome: (message) => this.#welcomed(message),
    caught_up: ({ offset }) => {
      this.#liveSince = Date.now();
      this.#enter({ name: "live" });
      this.#enqueue({ kind: "caught_up", offset });
      this.#here.clear();
      this.#running.clear();
      this.#say({ op: "ping" });
    },
    active: ({ event, waiting = false }) => {
      this.#begins(event.run_id);
      this.#enqueue({ ...event, kind: "active", waiting });
    },
    inactive: ({ run_id, reason }) => this.#enqueue({ kind: "inactive", run_id, reason }),
    ask: ({ event, timeout_s }) => {
      this.#here.add(event.event_id);
      this.#enqueue({ ...event, kind: "ask", id: event.event_id, deadline: Date.now() + (timeout_s ?? Infinity) * 1000 });
    },
    ask_closed: ({ ask, reason }) => this.#enqueue({ kind: "ask_closed", id: ask, reason }),
    // Pings follow caught_up, so what is open and active comes before this: what has not come is over.
    pong: () => {
      for (const run_id of this.#begun) {
        if (!this.#running.has(run_id)) this.#enqueue({ kind: "inactive", run_id, reason: "gone" });
      }
      for (const id of this.#shown) {
        if (!this.#here.has(id)) this.#enqueue({ kind: "ask_closed", id, reason: "gone" });
      }
    },
    reply: (message) => this.#settle(message.id, message),
    ping: () => this.#say({ op: "pong" }),
    going_away: ({ retry_ms }) => {
      this.#askedMs = Math.min(6e4, Math.max(250, retry_ms));
      this.#enter({ ...this.#state, leaving: retry_ms });
    },
    error: ({ error }) => (this.#error = error),
  };

  #receive(message) {
    this.#expectWithin(this.#limits?.quietMs ?? PATIENCE_MS);
    if (message.op) this.#ops[message.op]?.(message);
    else this.#arrived(message.offset, message.offset, [message]);
    this.#deliver();
    if (this.#socket && this.#queue.length > MOST_UNREAD) {
      this.#hangUp();
      this.#enter({ name: "waiting", reason: "too much is unread", until: Infinity });
    }
  }

  #welcomed({ session, epoch, start, resume, ping_s, limits }) {
    this.#id = session;
    this.#limits = { ...limits, quietMs: ping_s * 1000 + PATIENCE_MS };
    if (resume === "fresh") this.#begin(epoch, start - 1);
    this.#put();
    if (resume === "reset") return;
    this.#confirmed(this.#handed);
    if (this.#forget !== null) this.#reset(this.#epoch, this.#handed, this.#forget);
  }

  #arrived(from, to, events) {
    if (!this.#isNext(from, to)) return;
    for (const event of events) {
      if (event.type === "agent_started") this.#begins(event.run_id);
      this.#enqueue({ ...event, kind: "event" }, event.offset);
    }
  }

  #begins(runId) {
    this.#begun.add(runId);
    this.#running.add(runId);
  }

  /** Whether a range is the next one. What was seen is dropped; anything else is a defect, and ends the cursor. */
  #isNext(from, to) {
    if (to <= this.#received) return false;
    if (from === this.#received + 1) return true;
    this.#forget = `expected offset ${this.#received + 1}, got ${from}`;
    this.#epoch = undefined;
    this.#options.from = "low";
    this.#closed(1006, this.#forget);
    return false;
  }

  #begin(epoch, offset) {
    this.#epoch = epoch;
    this.#received = this.#handed = this.#taken = this.#acked = offset;
    this.#queue = [];
  }

  #reset(epoch, offset, cause) {
    this.#begin(epoch, offset);
    this.#forget = cause;
    this.#enqueue({ kind: "reset", epoch, low: offset + 1, cause });
  }

  // coming and going

  async #greet(socket) {
    try {
      const { token, from } = this.#options;
      const given = typeof token === "function" ? await token() : token;
      const start = this.#epoch ? { resume: { epoch: this.#epoch, offset: this.#handed } } : { from };
      const hello = { op: "hello", v: 1, token: given, session: this.#id, ...start };
      if (socket === this.#socket) socket.send(JSON.stringify(hello));
    } catch (error) {
      if (socket === this.#socket) this.#closed(1006, `no token: ${error}`);
    }
  }

  #say(message) {
    if (this.#limits) this.#socket.send(JSON.stringify(message));
  }

  #after(name, ms, action) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(() => this.#timers.delete(name) && action(), ms));
  }

  #expectWithin(ms) {
    this.#after("silence", ms, () => this.#closed(1006, "the server was silent"));
  }

  /** Online, or looked at, again: come back now, also when a link turns out to be dead. */
  #wake() {
    const { name, until } = this.#state;
    this.#hurryUntil = Date.now() + 2 * PROBE_MS;
    if (name === "live") this.#say({ op: "ping" });
    if (this.#socket) this.#expectWithin(PROBE_MS);
    else if (name === "waiting" && until < Infinity && this.#askedMs === null) this.connect();
  }

  #enter(state) {
    this.#state = state;
    this.#tell("state", state);
  }

  #hangUp() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#here.clear();
    this.#limits = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  #closed(code, said) {
    this.#hangUp();
    const reason = this.#error?.message || said;
    this.#error = null;
    if (FINAL_CODES.has(code) || code >= 4500) this.#end({ name: "refused", code, reason });
    else this.#comeBack(code, reason);
  }

  /** Only a connection that held resets the waits: one that fails at once each time must not be hurried. */
  #comeBack(code, reason) {
    if (Date.now() - this.#liveSince >= LAST_WAIT_MS) this.#failures = 0;
    this.#liveSince = Infinity;
    const ceiling = Math.min(LAST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures++);
    const wait = this.#askedMs ?? (Date.now() < this.#hurryUntil ? 0 : Math.random() * ceiling);
    this.#hurryUntil = 0;
    this.#after("retry", wait, () => this.connect());
    this.#enter({ name: "waiting", code, reason, until: Date.now() + wait });
  }

  #end(state) {
    this.#enter(state);
    for (const id of this.#requests.keys()) this.#settle(id, { error: this.#over() });
    this.#deliver();
  }

  #over() {
    const { name, code, reason } = this.#state;
    return new Refusal({ name, code, message: reason });
  }
}
