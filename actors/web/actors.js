/**
 * The browser's client of trio-actors: `actors.v1` over as many connections as it takes; see actors.d.ts.
 *
 * Times are measured with `performance.now()`, because it is monotonic; `Date.now()` is for people to read.
 */

const OF_THE_LOG = /^(event|gap|reset)$/;
const LAST_OF_A_RUN = /^agent_(completed|failed|cancelled)$/;
const FINAL_CODE = /^(100[23789]|4[5-9]..)$/;

/** Bounds of the backoff, which is a random part of the outage so far. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 10_000;

/** Time from dial to welcome, and silence beyond the ping interval; time for the answer to a probe. */
const PATIENCE_MS = 10_000;
const PROBE_MS = 3_000;

/** Longest delay of a timer: a longer one fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Bound of the queue for the application. */
const MOST_UNREAD = 1_000;

/** Most requests in flight; share of the server's message rate to use, and its burst. */
const MOST_IN_FLIGHT = 8;
const RATE_SHARE = 0.8;
const BURST_MS = 1_000;

/** Time for which a server remembers the id of a request. */
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

/** Required fields of each message, as examples of their types. */
const FIELDS = {
  event: { type: "", payload: {}, thread_id: "", seq: 1, offset: 1 },
  welcome: { session: "", epoch: "", start: 1 },
  batch: { from: 1, to: 1, events: [] },
  gap: { from: 1, to: 1 },
  reset: { epoch: "", low: 1 },
  epoch: { epoch: "", offset: 1 },
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

function bounded(number, least, most, otherwise) {
  return typeof number === "number" ? Math.min(most, Math.max(least, number)) : otherwise;
}

function expect(isRight, what, got) {
  if (!isRight) throw new TypeError(`expected ${what}, got ${got}`);
}

function only(names, options) {
  for (const name of Object.keys(options ?? {})) expect(names.includes(name), `options ${names.join(", ")}`, name);
  return options ?? {};
}

function addressOf(url) {
  const text = String(url ?? "").trim();
  const hasUser = /^([a-z]+:)?[\\/]{2}[^\\/?#]*@/i.test(text);
  let where = {};
  try {
    where = new URL(text, globalThis.location?.href);
  } catch {
    // No host: refused below.
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
  const known = only(["token", "cursor", "from", "WebSocket"], options);
  const { token, cursor, from = "unacked", WebSocket = globalThis.WebSocket } = known;
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

/** Encode a message as JSON; refuses values that JSON would change or leave out. */
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

/** A message that cannot come next, so that no cursor can be trusted. */
class OutOfOrder extends Error {}

/**
 * The queue of items for the application, each once, and the offsets of the log.
 *
 * In an epoch *acked* <= *taken* <= *given* <= *received*. A given item is being processed, and is taken when the
 * application comes back. Connections resume at *taken*; events that were received before are dropped.
 *
 * At the bound a connection is *overrun*, and good for requests alone, until all was taken and another one resumes.
 */
class Arrivals {
  given = null;
  acked = 0;
  lastOfRun = 0;
  overrun = false;
  /** The server's violation of the protocol, until the log begins anew. */ defect = "";
  #epoch;
  #taken = 0;
  #received = 0;
  /** Of the connection. */ #position = null;
  /** The welcome's epoch, until it is said where it continues the cursor's. */ #renamedTo = null;
  #inHand = null;
  #unread = [];

  constructor(cursor) {
    if (cursor) this.#begin(cursor.epoch, cursor.offset);
  }

  get isDrained() {
    return this.#unread.length === 0 && !this.#inHand;
  }

  /** Only offsets that came on this connection, because the server refuses acks beyond. */
  get ackable() {
    return Math.min(this.#taken, this.#position ?? 0);
  }

  take(item = this.#inHand?.item) {
    if (!item || this.#inHand?.item !== item) return;
    this.#taken = this.#inHand.last;
    this.#inHand = null;
    if (LAST_OF_A_RUN.test(item.type)) this.lastOfRun = this.#taken;
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
    this.#position = this.#renamedTo = null;
    return this.#epoch === undefined || this.defect ? null : { epoch: this.#epoch, offset: this.#taken };
  }

  welcome({ epoch, start, resume }, resumed) {
    const isRenamed = resumed?.epoch !== epoch;
    if (resume === "reset" && resumed) return;
    if (resume === "fresh" && !resumed && this.defect) this.reset(epoch, start, this.defect);
    else if (resume === "fresh" && !resumed) this.#begin(epoch, start - 1);
    else if (resume === "gap" ? resumed : start === resumed?.offset + 1 && isRenamed === (resume === "renamed")) {
      this.#place(resumed.offset);
      this.#renamedTo = isRenamed ? epoch : null;
    } else throw new OutOfOrder(`expected a welcome to ${shown(resumed)}, got ${resume} from ${start} in ${epoch}`);
  }

  /** Take a range, of which each event stands for the offsets from the one before it up to its own. */
  arrive(from, to, events) {
    if (!this.#isNext(from, to)) return;
    for (const event of events) {
      const { offset } = check("event", event);
      this.#arrive({ ...event, kind: "event" }, this.#position + 1, offset);
    }
    if (this.#position !== to) throw new OutOfOrder(`expected events up to ${to}, got ${this.#position}`);
  }

  /** Take a gap, without the part of it that was received earlier. */
  gap({ from, to, cause }) {
    const first = Math.max(from, this.#received + 1);
    if (this.#isNext(from, to)) this.#arrive({ kind: "gap", from: first, to, cause }, first, to);
  }

  reset(epoch, low, cause) {
    this.#begin(epoch, low - 1);
    this.keep({ kind: "reset", epoch, low, cause }, low - 1);
  }

  /** Go on under another name. What is lost and has not been given is not given. */
  rename(epoch, offset) {
    const [position, next] = [this.#position, this.#renamedTo ?? epoch];
    const isNext = position !== null && position <= offset && epoch === next;
    if (!isNext) throw new OutOfOrder(`expected ${next} from ${position}, got ${epoch} from ${offset}`);
    const given = this.given.epoch === this.#epoch ? this.given.offset : 0;
    if (given > offset) throw new OutOfOrder(`${given} was given, and what is beyond ${offset} is lost`);
    if (this.given.epoch === this.#epoch) this.given = { epoch, offset: given };
    this.#unread = this.#unread.filter(({ last = 0 }) => last <= offset);
    this.#received = Math.max(given, this.#taken, ...this.#unread.map(({ last = 0 }) => last));
    this.#epoch = epoch;
    this.#renamedTo = null;
  }

  caughtUp(offset) {
    if (this.#renamedTo || !(offset <= this.#position)) throw new OutOfOrder(`caught_up: expected ${this.#position}, got ${offset}`);
    if (this.hasRoom()) this.keep({ kind: "caught_up", offset });
  }

  hasRoom() {
    this.overrun ||= this.#unread.length >= MOST_UNREAD;
    return !this.overrun;
  }

  /** Queue an item; one without an offset is not in the log. */
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
    this.#renamedTo = null;
    this.#place(offset);
  }

  #place(offset) {
    this.#position = this.acked = offset;
  }

  #isNext(from, to) {
    const position = this.#renamedTo ? null : this.#position;
    if (position !== null && from <= to && to <= position) return false;
    if (position !== null && from === position + 1 && from <= to && Number.isSafeInteger(to)) return true;
    throw new OutOfOrder(`expected offset ${position === null ? "of another epoch" : position + 1}, got ${from}`);
  }

  /** A joined text of which a part was received overruns the connection, because no part may be given twice. */
  #arrive(item, first, last) {
    this.#position = last;
    if (this.overrun || last <= this.#received) return;
    this.overrun = first <= this.#received;
    if (!this.hasRoom()) return;
    this.#received = last;
    this.keep(item, last);
  }
}

/** The listeners of a session, because an EventTarget cannot be asked for its own. */
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
  /** The server's, from its welcome. */ #limits = null;
  /** The time at which the messages so far conform to the rate. */ #paidUntil = 0;
  /** The cursor of this connection's hello. */ #resumed = null;
  /** Pings and pongs, sent before acks and requests. */ #control = [];

  #arrivals;
  #listeners = new Listeners();
  #loops = 0;
  /** The loop that waits, and the function that wakes it. */ #waiter = null;
  #ackIsDue = false;
  /** Open questions, and active runs that the application knows: true for one that waits. */
  #open = new Set();
  #active = new Map();
  /** Runs that have begun; runs and questions that the server sent since caught_up. */
  #begun = new Set();
  #current = new Set();

  #requests = new Map();
  #requestCount = 0;

  /** Pings without a pong. */ #pings = 0;
  /** This hello has no answer; the number given up without one, which may yet supersede a newer one. */
  #isHelloPending = false;
  #lateHellos = 0;
  #lostAt = null;
  #liveSince = Infinity;
  /** Nothing was received since the page woke; the last wait was skipped. */
  #isSuspect = false;
  #hasSkippedWait = false;
  /** The wait that the server asked for. */ #retryMs = null;
  #error = null;

  constructor(url, options) {
    super();
    this.#url = addressOf(url);
    this.#options = checked(options);
    this.#arrivals = new Arrivals(this.#options.cursor);
    this.connect();
    for (const type of ["online", "pageshow", "resume", "visibilitychange"]) {
      // Captured, because events of the document pass the window only then.
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
    this.#retryMs = null;
    const socket = (this.#socket = new this.#options.WebSocket(this.#url, "actors.v1"));
    socket.onopen = () => this.#hello(socket);
    socket.onmessage = ({ data }) => this.#receive(data);
    // onerror as well, because Node 20 fires no close when it cannot connect.
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
    const { threadId, type = "user_message", traceparent } = only(["threadId", "type", "traceparent"], options);
    return this.#ask({ op: "send", thread_id: threadId, type, payload, traceparent });
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
    // An object, because Node 20 takes no boolean here.
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
    // Because a generator's own wait for a pending `next`, which would take one more item.
    for (const end of ["return", "throw"]) {
      const inherited = items[end];
      items[end] = (value) => {
        loop.isOver = true;
        if (this.#waiter?.loop === loop) this.#wakeLoop();
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
        if (item) this.#dispatch(item.kind, item);
        this.#advance();
        if (item) yield item;
        else if (this.#state.name === "refused") throw this.#refusal();
        else if (this.#waiter) throw new Error("expected one loop over a session, got another while it waits");
        else await new Promise((wake) => (this.#waiter = { loop, wake }));
      }
    } finally {
      this.#loops -= 1;
      this.#deliver();
    }
  }

  #wakeLoop() {
    this.#waiter?.wake();
    this.#waiter = null;
  }

  /** Deliver items to the loop, or else to listeners. */
  #deliver() {
    this.#wakeLoop();
    for (let item; this.#loops === 0 && (item = this.#nextForListeners()); this.#arrivals.take(item)) {
      this.#dispatch(item.kind, item);
    }
    this.#advance();
  }

  /** Without a listener for `event` the items of the log stay queued. */
  #nextForListeners() {
    const takesLog = this.#listeners.has("event");
    if (takesLog) this.#arrivals.take();
    return this.#give((kind) => takesLog || (!OF_THE_LOG.test(kind) && this.#listeners.has(kind)));
  }

  #give(isWanted) {
    let item = this.#arrivals.give(isWanted);
    while (item && !this.#isNews(item)) item = this.#arrivals.give(isWanted);
    return item;
  }

  /** A run is announced once, and ends once. */
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

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Send what is due; leave a connection that is of no more use, and reconnect when one would be. */
  #advance() {
    const { overrun, isDrained } = this.#arrivals;
    const asks = this.#requests.size > 0;
    if (this.#limits && overrun && (isDrained || !asks)) {
      this.#ack(true);
      this.#hangUp();
      this.#enter({ name: "waiting", reason: "too much is unread", until: Infinity, waitMs: Infinity });
    }
    if (this.#socket) this.#flush();
    else if (this.#state.until === Infinity && (isDrained || asks)) this.connect();
  }

  /** Send no faster than the server allows. */
  #flush() {
    while (this.#limits) {
      const wait = this.#paidUntil - performance.now() - BURST_MS;
      if (wait > 0) return this.#after("pace", Math.ceil(wait), () => this.#flush());
      if (this.#control.length > 0) this.#write(this.#control.shift());
      else if (!this.#ack() && !this.#askNext()) return;
    }
  }

  #write(text) {
    this.#paidUntil = Math.max(this.#paidUntil, performance.now()) + this.#limits.gapMs;
    this.#pings += text === PING;
    this.#socket.send(text);
  }

  #queueControl(text) {
    if (!this.#control.includes(text)) this.#control.push(text);
  }

  /** Ack what is taken, if an ack is due. */
  #ack(everything = this.#ackIsDue) {
    const { acked, ackable, lastOfRun } = this.#arrivals;
    if (!this.#limits || ackable <= acked) return false;
    const { ackEvents, ackMs } = this.#limits;
    if (everything || ackable - acked >= ackEvents || (acked < lastOfRun && lastOfRun <= ackable)) {
      this.#stop("ack");
      this.#write(JSON.stringify({ op: "ack", offset: ackable }));
      this.#acknowledged(ackable);
      return true;
    }
    if (this.#timers.has("ack")) return false;
    this.#after("ack", ackMs, () => {
      this.#ackIsDue = true;
      this.#flush();
    });
    return false;
  }

  #acknowledged(offset) {
    this.#ackIsDue = false;
    this.#arrivals.acked = offset;
    this.#dispatch("acked", offset);
  }

  async #ask(fields) {
    if (/refused|closed/.test(this.#state.name)) throw this.#refusal();
    const id = `c${++this.#requestCount}`;
    const text = written({ ...fields, id });
    return new Promise((resolve, reject) => {
      this.#requests.set(id, { text, resolve, reject });
      this.#advance();
    });
  }

  /** Write the next request, again on each connection as long as the server remembers its id. */
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
        request.timer ??= setTimeout(() => (this.#settle(id, { error: LOST }), this.#advance()), REMEMBERED_MS);
        this.#write(request.text);
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
    epoch: ({ epoch, offset }) => this.#arrivals.rename(epoch, offset),
    welcome: (message) => this.#welcome(message),
    caught_up: ({ offset }) => {
      this.#arrivals.caughtUp(offset);
      this.#liveSince = performance.now();
      this.#enter({ name: "live" });
      this.#current.clear();
      this.#queueControl(PING);
    },
    active: ({ event, waiting = false }) => {
      this.#begins(check("run", event).run_id);
      if (this.#arrivals.hasRoom()) this.#arrivals.keep({ ...event, kind: "active", waiting });
    },
    inactive: ({ run_id, reason }) => this.#runEnded(run_id, reason),
    ask: (message) => this.#asked(message),
    ask_closed: ({ ask, reason }) => this.#questionClosed(ask, reason),
    // A ping follows each caught_up, so what is open or active comes before the last pong: the rest is over.
    pong: () => {
      if (this.#pings === 0 || --this.#pings > 0 || this.#control.includes(PING)) return;
      for (const id of this.#begun) if (!this.#current.has(id)) this.#runEnded(id, "gone");
      for (const id of this.#open) if (!this.#current.has(id)) this.#questionClosed(id, "gone");
    },
    reply: (message) => this.#settle(message.id, message),
    ping: () => this.#queueControl(PONG),
    going_away: ({ retry_ms }) => {
      this.#retryMs = bounded(retry_ms, 250, 60_000, 250);
      this.#enter({ ...this.#state, leaving: this.#retryMs });
    },
    error: ({ error }) => (this.#error = error),
  };

  /** A message that is not of the protocol, or cannot come next, ends the connection. */
  #receive(data) {
    this.#isSuspect = false;
    if (this.#limits) this.#expectWithin(this.#limits.quietMs);
    try {
      this.#handle(JSON.parse(data));
    } catch (error) {
      if (error instanceof OutOfOrder) this.#arrivals.defect = error.message;
      this.#closed(1006, error.message);
    }
    this.#deliver();
  }

  #handle(message) {
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
    this.#current.add(runId);
  }

  #runEnded(run_id, reason) {
    if (this.#arrivals.hasRoom()) this.#arrivals.keep({ kind: "inactive", run_id, reason });
  }

  #welcome(message) {
    if (this.#limits) throw new Error("expected one welcome, got another");
    const { session, ping_s, limits } = message;
    this.#isHelloPending = false;
    if (session !== this.#id) this.#lateHellos = 0;
    this.#id = session;
    this.#limits = {
      quietMs: bounded(ping_s, 0, 3_600, 15) * 1000 + PATIENCE_MS,
      messageBytes: bounded(limits?.message_bytes, 0, Infinity, 65_536),
      ackEvents: bounded(limits?.ack_events, 1, Infinity, 128),
      ackMs: bounded(limits?.ack_s, 0, 3_600, 1) * 1000,
      requests: bounded(limits?.requests, 1, MOST_IN_FLIGHT, MOST_IN_FLIGHT),
      gapMs: 1000 / RATE_SHARE / bounded(limits?.messages_per_s, 0.1, 1e6, 50),
    };
    this.#expectWithin(this.#limits.quietMs);
    this.#arrivals.welcome(message, this.#resumed);
    if (message.resume !== "reset") this.#acknowledged(this.#arrivals.acked);
  }

  /** A question that comes again is dropped. */
  #asked({ event, ...rest }) {
    const { event_id: id } = check("question", event);
    this.#current.add(id);
    if (this.#open.has(id) || !this.#arrivals.hasRoom()) return;
    this.#open.add(id);
    const timeout_s = bounded(rest.timeout_s, 0, 1e10, Infinity);
    this.#arrivals.keep({ ...event, kind: "ask", id, timeout_s, deadline: Date.now() + timeout_s * 1000 });
  }

  #questionClosed(id, reason) {
    if (this.#arrivals.hasRoom() && this.#open.delete(id)) this.#arrivals.keep({ kind: "ask_closed", id, reason });
  }

  async #hello(socket) {
    try {
      const { token, from } = this.#options;
      const given = typeof token === "function" ? await token() : token;
      if (socket !== this.#socket) return;
      expect(typeof (given ?? "") === "string", "a string", `a ${typeof given}`);
      const resume = (this.#resumed = this.#arrivals.resume());
      const start = resume ? { resume } : { from: this.#arrivals.defect ? "low" : from };
      const hello = written({ op: "hello", v: 1, token: given, session: this.#id, renames: true, ...start });
      this.#isHelloPending = this.#id !== undefined;
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

  /** The machine is online again, or the page visible: probe the connection, or skip the wait, never two in a row. */
  #wake(type) {
    const { name, until } = this.#state;
    if (type === "visibilitychange" && globalThis.document?.visibilityState === "hidden") return;
    if (name === "live" && !this.#isSuspect) {
      this.#isSuspect = true;
      this.#expectWithin(PROBE_MS);
      this.#queueControl(PING);
    } else if (name === "waiting" && until < Infinity && this.#retryMs === null && !this.#hasSkippedWait) {
      this.#hasSkippedWait = true;
      this.connect();
    }
    this.#advance();
  }

  #enter(state) {
    if (this.#state.name === "closed") return;
    this.#state = state;
    this.#dispatch("state", state);
  }

  #hangUp() {
    for (const name of this.#timers.keys()) this.#stop(name);
    // Only after a connection that lasted, because a server that ends each at once must not be hurried.
    if (performance.now() - this.#liveSince >= LAST_WAIT_MS) this.#lostAt = this.#hasSkippedWait = null;
    this.#liveSince = Infinity;
    this.#limits = null;
    this.#control = [];
    this.#pings = 0;
    this.#lateHellos += this.#isHelloPending;
    this.#isHelloPending = false;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    // Replaced and not removed, because the package ws throws an error without a listener.
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = () => {};
    socket.close();
  }

  #closed(code, text) {
    // A server that sends a close code has read the hello.
    this.#isHelloPending &&= code === 1006;
    this.#hangUp();
    const reason = this.#error?.message || text;
    this.#error = null;
    const isOwn = code === SUPERSEDED && this.#lateHellos > 0;
    if (isOwn) this.#lateHellos -= 1;
    if (!isOwn && FINAL_CODE.test(code)) this.#end({ name: "refused", code, reason });
    else this.#retry(code, reason);
  }

  #retry(code, reason) {
    const now = performance.now();
    this.#lostAt ??= now;
    const ceiling = Math.min(LAST_WAIT_MS, Math.max(FIRST_WAIT_MS, now - this.#lostAt));
    const skipsWait = this.#isSuspect && !this.#hasSkippedWait;
    const waitMs = this.#retryMs ?? (skipsWait ? 0 : Math.random() * ceiling);
    this.#isSuspect = false;
    this.#after("retry", waitMs, () => {
      this.#hasSkippedWait = skipsWait;
      this.connect();
    });
    this.#enter({ name: "waiting", code, reason, until: Date.now() + waitMs, waitMs });
  }

  #end(state) {
    this.#enter(state);
    for (const id of this.#requests.keys()) this.#settle(id, { error: this.#refusal() });
    this.#deliver();
  }

  #refusal() {
    const { name, code, reason } = this.#state;
    return new Refusal({ name, code, message: name === "closed" ? "the session is closed" : reason || undefined });
  }
}
