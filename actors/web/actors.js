/**
 * The browser's client of trio-actors: `actors.v1` over as many connections as it takes; see actors.d.ts.
 *
 * What is measured is measured on `performance.now()`, which nobody sets; `Date.now()` is for people to read.
 */

const OF_THE_LOG = /^(event|gap|reset)$/;
const LAST_OF_A_RUN = /^agent_(completed|failed|cancelled)$/;
const FINAL_CODE = /^(100[23789]|4[5-9]..)$/;

/** Bounds of a wait: a random part of the time since the connection was lost. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 10_000;

/** What a server gets from dial to welcome, and beyond its ping period; and when in doubt. */
const PATIENCE_MS = 10_000;
const PROBE_MS = 3_000;

/** A longer timer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What else comes is not kept. */
const MOST_UNREAD = 1_000;

/** Requests in flight, at most; how much of the server's rate is used, and what of that at once. */
const MOST_ASKED = 8;
const LIVELINESS = 0.8;
const BURST_MS = 1_000;

/** A server remembers requests for so long. */
const REMEMBERED_MS = 600_000;
const LOST = {
  name: "session_lost",
  message: "expected a reply within ten minutes in one session, got none: it may have been carried out",
};

const DEEPEST = 64;
const EXACT = "a number that JavaScript's numbers hold (integers up to ±(2^53 - 1); longer ones as a string)";

const BEFORE_THE_WELCOME = /^(welcome|error|going_away|ping|pong)$/;
const SUPERSEDED = 4500;
const PING = '{"op":"ping"}';
const PONG = '{"op":"pong"}';

/** What a message must have, each of the type of what is here. */
const FIELDS = {
  event: { type: "", payload: {}, thread_id: "", seq: 1, offset: 1 },
  welcome: { session: "", epoch: "", start: 1 },
  batch: { from: 1, to: 1, events: [] },
  gap: { from: 1, to: 1 },
  reset: { epoch: "", low: 1 },
  caught_up: { offset: 1 },
  ask: { event: {} },
  question: { event_id: "", payload: {} },
  active: { event: {} },
  run: { run_id: "", thread_id: "", payload: {} },
  inactive: { run_id: "" },
  ask_closed: { ask: "" },
  reply: { id: "" },
  error: { error: {} },
};

const shown = (value) => String(JSON.stringify(value)).slice(0, 80);

function check(kind, message) {
  for (const [name, like] of Object.entries(FIELDS[kind] ?? {})) {
    const [value, type] = [message?.[name] ?? undefined, typeof like];
    if (typeof value !== type) throw new Error(`${kind}: expected ${name} to be a ${type}, got ${shown(value)}`);
  }
  return message;
}

/** A number of the server's, within bounds. */
function bounded(said, least, most, otherwise) {
  return typeof said === "number" ? Math.min(most, Math.max(least, said)) : otherwise;
}

function expect(isRight, what, got) {
  if (!isRight) throw new TypeError(`expected ${what}, got ${got}`);
}

/** Another name is a mistake. */
function only(names, options) {
  for (const name of Object.keys(options ?? {})) expect(names.includes(name), `options ${names.join(", ")}`, name);
  return options ?? {};
}

/** Without a path, it is `/ws`. */
function addressOf(url) {
  const text = String(url ?? "").trim();
  const hasUser = /^([a-z]+:)?[\\/]{2}[^\\/?#]*@/i.test(text);
  let where = {};
  try {
    where = new URL(text, globalThis.location?.href);
  } catch {
    // Said below.
  }
  const isWhole = text && !/^[a-z]+:(?![\\/]{2}[^\\/?#])/i.test(text) && where.port !== "0";
  const isRight = isWhole && !hasUser && /^(ws|http)s?:/.test(where.protocol);
  const like = "a URL like wss://host/ws (or /ws, in a page), without a password";
  expect(isRight, like, hasUser ? "one with a password" : shown(url));
  if (!/[^/]/.test(where.pathname)) where.pathname = "/ws";
  where.hash = "";
  return where.href.replace(/^http/, "ws");
}

function checked(options) {
  const said = only(["token", "cursor", "from", "WebSocket"], options);
  const { token, cursor, from = "unacked", WebSocket = globalThis.WebSocket } = said;
  expect(/string|function/.test(typeof (token ?? "")), "a token or a function that gives one", `a ${typeof token}`);
  expect(/^(unacked|low|head)$/.test(from), "from unacked, low or head", shown(from));
  const isPlace = typeof cursor?.epoch === "string" && Number.isSafeInteger(cursor.offset) && cursor.offset >= 0;
  expect(!cursor || isPlace, "a cursor with epoch and offset", shown(cursor));
  const ways = "run Node 22 or newer, or pass one as an option, such as that of the package ws";
  expect(typeof WebSocket === "function", `a WebSocket (${ways})`, typeof WebSocket);
  return { token, cursor, from, WebSocket };
}

export class Refusal extends Error {
  constructor({ code, name = "refused", temporary = false, message = "no reason was given" }) {
    super(message);
    Object.assign(this, { code, name, temporary });
  }
}

/** JSON; what it would change, or leave out, is refused. */
function written(message) {
  let at;
  const must = (isRight, expected, got) => {
    if (!isRight) throw new Refusal({ name: "unencodable", message: `${at}: expected ${expected}, got ${got}` });
  };
  const whole = (text) => {
    const half = text.search(/[\ud800-\udfff]/u);
    must(half < 0, "text that UTF-8 can encode", `half of a surrogate pair at index ${half}`);
    return text;
  };
  const members = (value, path, depth) => {
    const names = Object.keys(value).map(whole);
    return Object.fromEntries(names.map((name) => [name, carried(value[name], path + name, depth)]));
  };
  const carried = (given, path, depth) => {
    at = path;
    if (given === undefined && depth === 1 && path !== "payload") return given;
    const value = typeof given?.toJSON === "function" ? given.toJSON() : given;
    const kind = {}.toString.call(value).slice(8, -1);
    must(path !== "payload" || kind === "Object", "a JSON object", kind);
    must(depth <= DEEPEST || typeof value !== "object", `at most ${DEEPEST} levels of nesting`, "more");
    if (kind === "Object") return members(value, `${path}.`, depth + 1);
    if (kind === "Array") return Array.from(value, (one, n) => carried(one, `${path}[${n}]`, depth + 1));
    if (kind === "String") return whole(`${value}`);
    must(kind === "Number" || kind === "Boolean" || given === null, "a value that JSON can carry", kind);
    must(kind !== "Number" || Number.isFinite(+value), "a number that JSON can carry", value);
    must(!Number.isInteger(+value) || Number.isSafeInteger(+value) || /e/.test(value), EXACT, value);
    return value;
  };
  return JSON.stringify(members(message, "", 1));
}

/** The cursor is worth nothing any more. */
class OutOfOrder extends Error {}

/**
 * What has come from the log, each once, and what the application took of it.
 *
 * In an epoch *acked* <= *taken* <= *given* <= *received*. What is given is in the application's hand, and is taken
 * when it comes back. Connections resume at *taken*; what was received and comes again is dropped.
 *
 * At the bound a connection is *overrun*, and good for requests alone, until all was taken and another one resumes.
 */
class Arrivals {
  given = null;
  acked = 0;
  lastWord = 0;
  overrun = false;
  /** What the server did wrong, until the log begins anew. */ defect = "";
  #epoch;
  #taken = 0;
  #received = 0;
  /** Of the connection. */ #position = null;
  #inHand = null;
  #unread = [];

  constructor(cursor) {
    if (cursor) this.#begin(cursor.epoch, cursor.offset);
  }

  get isDrained() {
    return this.#unread.length === 0 && !this.#inHand;
  }

  /** What is taken and has come on this connection. */
  get confirmable() {
    return Math.min(this.#taken, this.#position ?? 0);
  }

  take(item = this.#inHand?.item) {
    if (!item || this.#inHand?.item !== item) return;
    this.#taken = this.#inHand.last;
    this.#inHand = null;
    if (LAST_OF_A_RUN.test(item.type)) this.lastWord = this.#taken;
  }

  give(isWanted) {
    const at = this.#unread.findIndex(({ item }) => isWanted(item.kind));
    if (at < 0) return null;
    const [entry] = this.#unread.splice(at, 1);
    if (entry.last === undefined) return entry.item;
    this.#inHand = entry;
    this.given = { epoch: this.#epoch, offset: entry.last };
    return entry.item;
  }

  clear() {
    this.#unread = [];
  }

  resume() {
    this.overrun = false;
    this.#position = null;
    return this.#epoch === undefined || this.defect ? null : { epoch: this.#epoch, offset: this.#taken };
  }

  welcome({ epoch, start, resume }, resumed) {
    if (resume === "reset" && resumed) return;
    if (resume === "fresh" && !resumed && this.defect) this.reset(epoch, start, this.defect);
    else if (resume === "fresh" && !resumed) this.#begin(epoch, start - 1);
    else if (resumed?.epoch === epoch && (start === resumed.offset + 1 || resume === "gap")) {
      this.#place(resumed.offset);
    } else throw new OutOfOrder(`expected a welcome to ${shown(resumed)}, got ${resume} from ${start} in ${epoch}`);
  }

  /** A range: each event stands for what is between it and the one before. */
  arrive(from, to, events) {
    if (!this.#isNext(from, to)) return;
    for (const event of events) {
      const { offset } = check("event", event);
      this.#arrive({ ...event, kind: "event" }, this.#position + 1, offset);
    }
    if (this.#position !== to) throw new OutOfOrder(`expected events up to ${to}, got ${this.#position}`);
  }

  /** Of what was received all the same, nothing is said. */
  gap({ from, to, cause }) {
    const first = Math.max(from, this.#received + 1);
    if (this.#isNext(from, to)) this.#arrive({ kind: "gap", from: first, to, cause }, first, to);
  }

  reset(epoch, low, cause) {
    this.#begin(epoch, low - 1);
    this.keep({ kind: "reset", epoch, low, cause }, low - 1);
  }

  caughtUp(offset) {
    if (!(offset <= this.#position)) throw new OutOfOrder(`caught_up: expected ${this.#position}, got ${offset}`);
    if (this.hasRoom()) this.keep({ kind: "caught_up", offset });
  }

  hasRoom() {
    this.overrun ||= this.#unread.length >= MOST_UNREAD;
    return !this.overrun;
  }

  /** Without an offset, an item stands outside of the log. */
  keep(item, last) {
    this.#unread.push({ item, last });
  }

  #begin(epoch, offset) {
    this.#unread = this.#unread.filter(({ last }) => last === undefined);
    this.#inHand = null;
    this.#epoch = epoch;
    this.#taken = this.#received = offset;
    this.given ??= { epoch, offset };
    this.defect = "";
    this.#place(offset);
  }

  #place(offset) {
    this.#position = this.acked = offset;
  }

  #isNext(from, to) {
    const position = this.#position;
    if (position !== null && from <= to && to <= position) return false;
    if (position !== null && from === position + 1 && from <= to && Number.isSafeInteger(to)) return true;
    throw new OutOfOrder(`expected offset ${position === null ? "of a reset" : position + 1}, got ${from}`);
  }

  /** Text that the application has a part of may come joined with more: not on this connection. */
  #arrive(item, first, last) {
    this.#position = last;
    if (this.overrun || last <= this.#received) return;
    this.overrun = first <= this.#received;
    if (!this.hasRoom()) return;
    this.#received = last;
    this.keep(item, last);
  }
}

/** An EventTarget does not say who listens to what. */
class Listeners {
  #all = [];

  has(type) {
    this.#all = this.#all.filter(({ signal }) => !signal?.aborted);
    return this.#all.some((one) => one.type === type);
  }

  add(type, callback, options) {
    const { once, signal } = Object(options);
    if (!callback || this.#find(type, callback, options)) return;
    this.#all.push({ type, callback, capture: captures(options), once, signal });
  }

  remove(type, callback, options) {
    const found = this.#find(type, callback, options);
    this.#all = this.#all.filter((one) => one !== found);
  }

  dispatched(type) {
    this.#all = this.#all.filter((one) => one.type !== type || !one.once);
  }

  #find(type, callback, options) {
    const isSame = (one) => one.type === type && one.callback === callback && one.capture === captures(options);
    return this.#all.find((one) => isSame(one) && !one.signal?.aborted);
  }
}

const captures = (options) => Boolean(options?.capture ?? options === true);

export const connect = (url, options) => new Session(url, options);

export class Session extends EventTarget {
  #url;
  #options;
  #socket = null;
  #state = { name: "connecting" };
  #ended = new AbortController();
  #timers = new Map();
  #id;
  /** What the welcome asks for. */ #limits = null;
  /** When what was said has taken its time, at the server's rate. */ #paidUntil = 0;
  /** The cursor of this connection's hello. */ #resumed = null;
  /** Said before acks and requests. */ #said = [];

  #arrivals;
  #listeners = new Listeners();
  #loops = 0;
  /** The loop that waits, and what wakes it. */ #bell = null;
  #ackIsDue = false;
  /** The open questions, and the active runs that the application knows: whether each waits. */
  #open = new Set();
  #active = new Map();
  /** The runs whose beginning has come; and the runs and questions that came since caught_up. */
  #begun = new Set();
  #here = new Set();

  #requests = new Map();
  #asked = 0;

  /** Pings without a pong. */ #pings = 0;
  /** This hello has no answer; so many were given up, and may yet supersede a newer one. */
  #isGreeting = false;
  #lateHellos = 0;
  #lostAt = null;
  #liveSince = Infinity;
  /** Nothing was heard since the page was looked at; a wait was cut short, and none passed since. */
  #isDoubted = false;
  #hasHurried = false;
  /** The wait asked for. */ #askedMs = null;
  #error = null;

  constructor(url, options) {
    super();
    this.#url = addressOf(url);
    this.#options = checked(options);
    this.#arrivals = new Arrivals(this.#options.cursor);
    this.connect();
    for (const type of ["online", "pageshow", "resume", "visibilitychange"]) {
      // Captured: what happens to the document passes the window.
      globalThis.addEventListener?.(type, () => this.#wake(type), { capture: true, signal: this.#ended.signal });
    }
  }

  get state() {
    return this.#state;
  }

  get cursor() {
    return this.#arrivals.given;
  }

  connect() {
    if (this.#state.name === "closed") return;
    this.#hangUp();
    this.#askedMs = null;
    const socket = (this.#socket = new this.#options.WebSocket(this.#url, "actors.v1"));
    socket.onopen = () => this.#greet(socket);
    socket.onmessage = ({ data }) => this.#receive(data);
    // Node 20 fires no close when it cannot connect.
    socket.onclose = socket.onerror = ({ code = 1006, reason, message }) => this.#closed(code, reason || message);
    this.#expectWithin(PATIENCE_MS);
    this.#enter({ name: "connecting" });
  }

  close() {
    this.#ack(true);
    this.#hangUp();
    this.#ended.abort();
    this.#arrivals.clear();
    this.#end({ name: "closed" });
  }

  async send(payload, options) {
    const { threadId, type = "user_message" } = only(["threadId", "type"], options);
    return this.#ask({ op: "send", thread_id: threadId, type, payload });
  }

  cancel(runId) {
    return this.#ask({ op: "cancel", run_id: runId });
  }

  answer(askId, payload) {
    return this.#ask({ op: "answer", ask: askId, payload });
  }

  async read(threadId, options) {
    const { afterSeq, limit } = only(["afterSeq", "limit"], options);
    return this.#ask({ op: "read", thread_id: threadId, after_seq: afterSeq, limit });
  }

  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
    this.#listeners.add(type, listener, options);
    queueMicrotask(() => this.#deliver());
  }

  removeEventListener(type, listener, options) {
    // Node 20 takes no boolean here.
    super.removeEventListener(type, listener, { capture: captures(options) });
    this.#listeners.remove(type, listener, options);
  }

  dispatchEvent(event) {
    this.#listeners.dispatched(event.type);
    return super.dispatchEvent(event);
  }

  [Symbol.asyncIterator]() {
    const loop = { isOver: false };
    const items = this.#items(loop);
    // A generator's own waits behind a `next` that waits, which would take one item more.
    for (const end of ["return", "throw"]) {
      const inherited = items[end];
      items[end] = (value) => {
        loop.isOver = true;
        if (this.#bell?.loop === loop) this.#ring();
        return inherited.call(items, value);
      };
    }
    return items;
  }

  async *#items(loop) {
    this.#loops += 1;
    try {
      while (this.#state.name !== "closed" && !loop.isOver) {
        this.#arrivals.take();
        const item = this.#give(() => true);
        if (item) this.#tell(item.kind, item);
        this.#goOn();
        if (item) yield item;
        else if (this.#state.name === "refused") throw this.#over();
        else if (this.#bell) throw new Error("expected one loop over a session, got another while it waits");
        else await new Promise((ring) => (this.#bell = { loop, ring }));
      }
    } finally {
      this.#loops -= 1;
      this.#deliver();
    }
  }

  #ring() {
    this.#bell?.ring();
    this.#bell = null;
  }

  /** To the loop, or else to listeners. */
  #deliver() {
    this.#ring();
    for (let item; this.#loops === 0 && (item = this.#nextToListeners()); this.#arrivals.take(item)) {
      this.#tell(item.kind, item);
    }
    this.#goOn();
  }

  /** Only who listens for events takes the log. */
  #nextToListeners() {
    const takesLog = this.#listeners.has("event");
    if (takesLog) this.#arrivals.take();
    return this.#give((kind) => takesLog || (!OF_THE_LOG.test(kind) && this.#listeners.has(kind)));
  }

  #give(isWanted) {
    let item = this.#arrivals.give(isWanted);
    while (item && !this.#isNews(item)) item = this.#arrivals.give(isWanted);
    return item;
  }

  /** A run is one, and over once. */
  #isNews({ kind, type, run_id, waiting }) {
    if (kind === "reset") this.#active.clear();
    if (kind === "event" && type === "agent_started") this.#active.set(run_id, false);
    if (kind === "event" && LAST_OF_A_RUN.test(type)) this.#isOver(run_id);
    if (kind === "inactive") return this.#isOver(run_id);
    if (kind !== "active") return true;
    const before = this.#active.get(run_id);
    this.#active.set(run_id, waiting);
    return before === undefined || (before && !waiting);
  }

  #isOver(runId) {
    this.#begun.delete(runId);
    return this.#active.delete(runId);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Say what is due; leave a connection that brings nothing more, and come back for something to do. */
  #goOn() {
    const { overrun, isDrained } = this.#arrivals;
    const asks = this.#requests.size > 0;
    if (this.#limits && overrun && (isDrained || !asks)) {
      this.#ack(true);
      this.#hangUp();
      this.#enter({ name: "waiting", reason: "too much is unread", until: Infinity, waitMs: Infinity });
    }
    if (this.#socket) this.#speak();
    else if (this.#state.until === Infinity && (isDrained || asks)) this.connect();
  }

  /** No faster than the server allows. */
  #speak() {
    while (this.#limits) {
      const wait = this.#paidUntil - performance.now() - BURST_MS;
      if (wait > 0) return this.#after("pace", Math.ceil(wait), () => this.#speak());
      if (this.#said.length > 0) this.#say(this.#said.shift());
      else if (!this.#ack() && !this.#askNext()) return;
    }
  }

  #say(text) {
    this.#paidUntil = Math.max(this.#paidUntil, performance.now()) + this.#limits.gapMs;
    this.#pings += text === PING;
    this.#socket.send(text);
  }

  #sayOnce(text) {
    if (!this.#said.includes(text)) this.#said.push(text);
  }

  /** Confirm what is taken, if it is time to. */
  #ack(everything = this.#ackIsDue) {
    const { acked, confirmable, lastWord } = this.#arrivals;
    if (!this.#limits || confirmable <= acked) return false;
    const { ackEvents, ackMs } = this.#limits;
    if (everything || confirmable - acked >= ackEvents || (acked < lastWord && lastWord <= confirmable)) {
      this.#stop("ack");
      this.#say(JSON.stringify({ op: "ack", offset: confirmable }));
      this.#confirmed(confirmable);
      return true;
    }
    if (this.#timers.has("ack")) return false;
    this.#after("ack", ackMs, () => {
      this.#ackIsDue = true;
      this.#speak();
    });
    return false;
  }

  #confirmed(offset) {
    this.#ackIsDue = false;
    this.#arrivals.acked = offset;
    this.#tell("acked", offset);
  }

  async #ask(fields) {
    if (/refused|closed/.test(this.#state.name)) throw this.#over();
    const id = `c${++this.#asked}`;
    const text = written({ ...fields, id });
    return new Promise((resolve, reject) => {
      this.#requests.set(id, { text, resolve, reject });
      this.#goOn();
    });
  }

  /** Ask again on each connection, as long as it is carried out once. */
  #askNext() {
    const { messageBytes, requests } = this.#limits;
    let waiting = 0;
    for (const [id, request] of this.#requests) {
      if (request.socket === this.#socket) waiting += 1;
      else if ((request.session ?? this.#id) !== this.#id || performance.now() >= request.until) {
        this.#settle(id, { error: LOST });
      } else if (new TextEncoder().encode(request.text).length > messageBytes) {
        this.#settle(id, { error: { name: "too_big", message: `expected at most ${messageBytes} bytes` } });
      } else {
        Object.assign(request, { socket: this.#socket, session: this.#id });
        request.until ??= performance.now() + REMEMBERED_MS;
        request.timer ??= setTimeout(() => (this.#settle(id, { error: LOST }), this.#goOn()), REMEMBERED_MS);
        this.#say(request.text);
        return true;
      }
      if (waiting >= requests) return false;
    }
    return false;
  }

  #settle(id, reply) {
    const request = this.#requests.get(id);
    clearTimeout(request?.timer);
    this.#requests.delete(id);
    if (reply.error) request?.reject(new Refusal(reply.error));
    else request?.resolve(reply);
  }

  #ops = {
    __proto__: null,
    batch: ({ from, to, events }) => this.#arrived(from, to, events),
    gap: (message) => this.#arrivals.gap(message),
    reset: ({ epoch, low }) => this.#arrivals.reset(epoch, low, ""),
    welcome: (message) => this.#welcomed(message),
    caught_up: ({ offset }) => {
      this.#arrivals.caughtUp(offset);
      this.#liveSince = performance.now();
      this.#enter({ name: "live" });
      this.#here.clear();
      this.#sayOnce(PING);
    },
    active: ({ event, waiting = false }) => {
      this.#begins(check("run", event).run_id);
      if (this.#arrivals.hasRoom()) this.#arrivals.keep({ ...event, kind: "active", waiting });
    },
    inactive: ({ run_id, reason }) => this.#runEnded(run_id, reason),
    ask: (message) => this.#questioned(message),
    ask_closed: ({ ask, reason }) => this.#questionClosed(ask, reason),
    // A ping follows each caught_up, so what is open and active comes before the last pong: what has not is over.
    pong: () => {
      if (this.#pings === 0 || --this.#pings > 0 || this.#said.includes(PING)) return;
      for (const id of this.#begun) if (!this.#here.has(id)) this.#runEnded(id, "gone");
      for (const id of this.#open) if (!this.#here.has(id)) this.#questionClosed(id, "gone");
    },
    reply: (message) => this.#settle(message.id, message),
    ping: () => this.#sayOnce(PONG),
    going_away: ({ retry_ms }) => {
      this.#askedMs = bounded(retry_ms, 250, 60_000, 250);
      this.#enter({ ...this.#state, leaving: this.#askedMs });
    },
    error: ({ error }) => (this.#error = error),
  };

  /** What is not of the protocol, or cannot come next, ends the connection. */
  #receive(data) {
    this.#isDoubted = false;
    if (this.#limits) this.#expectWithin(this.#limits.quietMs);
    try {
      this.#hear(JSON.parse(data));
    } catch (error) {
      if (error instanceof OutOfOrder) this.#arrivals.defect = error.message;
      this.#closed(1006, error.message);
    }
    this.#deliver();
  }

  #hear(message) {
    const { op, offset } = message;
    const isEarly = !this.#limits && (op === undefined || this.#ops[op]) && !BEFORE_THE_WELCOME.test(op);
    if (isEarly) throw new Error(`expected a welcome first, got ${shown(message)}`);
    if (op === undefined) this.#arrived(offset, offset, [check("event", message)]);
    else this.#ops[op]?.(check(op, message));
  }

  #arrived(from, to, events) {
    this.#arrivals.arrive(from, to, events);
    for (const { type, run_id } of events) if (type === "agent_started" && run_id) this.#begins(run_id);
  }

  #begins(runId) {
    this.#begun.add(runId);
    this.#here.add(runId);
  }

  #runEnded(run_id, reason) {
    if (this.#arrivals.hasRoom()) this.#arrivals.keep({ kind: "inactive", run_id, reason });
  }

  #welcomed(message) {
    if (this.#limits) throw new Error("expected one welcome, got another");
    const { session, ping_s, limits } = message;
    this.#isGreeting = false;
    if (session !== this.#id) this.#lateHellos = 0;
    this.#id = session;
    this.#limits = {
      quietMs: bounded(ping_s, 0, 3_600, 15) * 1000 + PATIENCE_MS,
      messageBytes: bounded(limits?.message_bytes, 0, Infinity, 65_536),
      ackEvents: bounded(limits?.ack_events, 1, Infinity, 128),
      ackMs: bounded(limits?.ack_s, 0, 3_600, 1) * 1000,
      requests: bounded(limits?.requests, 1, MOST_ASKED, MOST_ASKED),
      gapMs: 1000 / LIVELINESS / bounded(limits?.messages_per_s, 0.1, 1e6, 50),
    };
    this.#expectWithin(this.#limits.quietMs);
    this.#arrivals.welcome(message, this.#resumed);
    if (message.resume !== "reset") this.#confirmed(this.#arrivals.acked);
  }

  /** A question that comes twice is one. */
  #questioned({ event, ...rest }) {
    const { event_id: id } = check("question", event);
    this.#here.add(id);
    if (this.#open.has(id) || !this.#arrivals.hasRoom()) return;
    this.#open.add(id);
    const timeout_s = bounded(rest.timeout_s, 0, 1e10, Infinity);
    this.#arrivals.keep({ ...event, kind: "ask", id, timeout_s, deadline: Date.now() + timeout_s * 1000 });
  }

  #questionClosed(id, reason) {
    if (this.#arrivals.hasRoom() && this.#open.delete(id)) this.#arrivals.keep({ kind: "ask_closed", id, reason });
  }

  async #greet(socket) {
    try {
      const { token, from } = this.#options;
      const given = typeof token === "function" ? await token() : token;
      if (socket !== this.#socket) return;
      expect(typeof (given ?? "") === "string", "a string", `a ${typeof given}`);
      const resume = (this.#resumed = this.#arrivals.resume());
      const start = resume ? { resume } : { from: this.#arrivals.defect ? "low" : from };
      const hello = written({ op: "hello", v: 1, token: given, session: this.#id, ...start });
      this.#isGreeting = this.#id !== undefined;
      socket.send(hello);
    } catch (error) {
      if (socket === this.#socket) this.#closed(1006, `no token: ${error}`);
    }
  }

  #stop(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #after(name, ms, action) {
    this.#stop(name);
    const timer = setTimeout(() => this.#timers.delete(name) && action(), Math.min(ms, LONGEST_TIMER_MS));
    this.#timers.set(name, timer);
  }

  #expectWithin(ms) {
    this.#after("silence", ms, () => this.#closed(1006, "the server was silent"));
  }

  /** Online, or looked at, again: doubt a link that is there, or come back now, once between two waits. */
  #wake(type) {
    const { name, until } = this.#state;
    if (type === "visibilitychange" && globalThis.document?.visibilityState === "hidden") return;
    if (name === "live" && !this.#isDoubted) {
      this.#isDoubted = true;
      this.#expectWithin(PROBE_MS);
      this.#sayOnce(PING);
    } else if (name === "waiting" && until < Infinity && this.#askedMs === null && !this.#hasHurried) {
      this.#hasHurried = true;
      this.connect();
    }
    this.#goOn();
  }

  #enter(state) {
    if (this.#state.name === "closed") return;
    this.#state = state;
    this.#tell("state", state);
  }

  #hangUp() {
    for (const name of this.#timers.keys()) this.#stop(name);
    // A server that ends each at once must not be hurried.
    if (performance.now() - this.#liveSince >= LAST_WAIT_MS) this.#lostAt = this.#hasHurried = null;
    this.#liveSince = Infinity;
    this.#limits = null;
    this.#said = [];
    this.#pings = 0;
    this.#lateHellos += this.#isGreeting;
    this.#isGreeting = false;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    // The package ws throws what no listener takes.
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = () => {};
    socket.close();
  }

  #closed(code, said) {
    // A server that closes has heard the hello.
    this.#isGreeting &&= code === 1006;
    this.#hangUp();
    const reason = this.#error?.message || said;
    this.#error = null;
    const isOwn = code === SUPERSEDED && this.#lateHellos > 0;
    if (isOwn) this.#lateHellos -= 1;
    if (!isOwn && FINAL_CODE.test(code)) this.#end({ name: "refused", code, reason });
    else this.#comeBack(code, reason);
  }

  #comeBack(code, reason) {
    const now = performance.now();
    this.#lostAt ??= now;
    const ceiling = Math.min(LAST_WAIT_MS, Math.max(FIRST_WAIT_MS, now - this.#lostAt));
    const hurries = this.#isDoubted && !this.#hasHurried;
    const waitMs = this.#askedMs ?? (hurries ? 0 : Math.random() * ceiling);
    this.#isDoubted = false;
    this.#after("retry", waitMs, () => {
      this.#hasHurried = hurries;
      this.connect();
    });
    this.#enter({ name: "waiting", code, reason, until: Date.now() + waitMs, waitMs });
  }

  #end(state) {
    this.#enter(state);
    for (const id of this.#requests.keys()) this.#settle(id, { error: this.#over() });
    this.#deliver();
  }

  #over() {
    const { name, code, reason } = this.#state;
    return new Refusal({ name, code, message: name === "closed" ? "the session is closed" : reason || undefined });
  }
}
