/** A thread of a session as a stream of AG-UI events, which knows nothing of npm's packages. */

import { Mapper } from "./mapper.js";

const REFUSED = /^(ask_closed|unknown_ask)$/;
const ENDED = /^(refused|closed)$/;

/** Questions of which the run is remembered, so that an answer finds it. */
const REMEMBERED = 1_000;

const ALL = new WeakMap();

/** The streams of a session; the first call makes the session take its items from then on, and ack them. */
export function streamsOf(session) {
  if (!ALL.has(session)) ALL.set(session, new Streams(session));
  return ALL.get(session);
}

class Streams {
  /** The open questions, and the runs of those there were. */ asks = new Map();
  runs = new Map();
  /** Counts the logs: a mapper of an earlier one is of no use. */ generation = 0;
  #followers = new Set();

  constructor(session) {
    this.session = session;
    for (const kind of ["event", "gap", "reset", "inactive", "ask", "ask_closed", "state"]) {
      session.addEventListener(kind, ({ detail }) => this.#take(kind, detail));
    }
  }

  add(follower) {
    this.#followers.add(follower);
  }

  remove(follower) {
    this.#followers.delete(follower);
  }

  #take(kind, item) {
    if (kind === "ask") {
      this.asks.set(item.id, item);
      this.runs.set(item.id, item.run_id);
      if (this.runs.size > REMEMBERED) this.runs.delete(this.runs.keys().next().value);
    }
    if (kind === "ask_closed") this.asks.delete(item.id);
    if (kind === "reset") this.generation += 1;
    for (const follower of [...this.#followers]) follower.take(kind, item);
  }
}

const firstOf = ({ seq, seq0 = seq }) => seq0;

function question({ deadline, ...ask }) {
  return deadline < Infinity ? { ...ask, expiresAt: new Date(deadline).toISOString() } : ask;
}

/** What a server is sent for a message of the user. */
function payloadOf({ id, content }, { context, tools, state, forwardedProps }) {
  const text = typeof content === "string" ? content : content.map((part) => part.text ?? "").join("");
  const given = Object.entries({ context, tools, state, forwardedProps });
  const isGiven = ([, value]) => value != null && Object.keys(Object(value)).length > 0;
  return { text, id, ...(text !== content && { content }), ...Object.fromEntries(given.filter(isGiven)) };
}

/** What is answered to a question, which has to be an object. */
function answerOf({ status, payload }) {
  if (status !== "resolved") return { cancelled: true };
  const isObject = typeof payload === "object" && payload !== null && !Array.isArray(payload);
  return isObject ? payload : { answer: payload ?? null };
}

/**
 * One stream of a thread's events to `to`, which has next, error and complete; items that come while it reads wait.
 * Takes the `mapper` that an earlier stream of the same agent left, so that only what is new has to be read.
 */
export class ThreadStream {
  #streams;
  #mapper;
  #to;
  #items = [];
  #isBusy = true;
  #isClosed = false;
  #isWhole = true;
  #runId = null;
  #isCancelled = false;

  constructor(session, threadId, left, to) {
    this.#streams = streamsOf(session);
    this.#to = to;
    const isOfUse = left?.mapper.threadId === threadId && left.generation === this.#streams.generation;
    this.#mapper = isOfUse ? left.mapper : new Mapper(threadId);
    this.#isWhole = isOfUse ? left.isWhole : true;
    this.threadId = threadId;
    this.#streams.add(this);
  }

  get session() {
    return this.#streams.session;
  }

  /** Begin a run, or go on with one that has asked; completes at its end, or when it asks. */
  run(input) {
    this.#begin(async () => {
      if (input.resume?.length > 0) await this.#read(input.messages);
      const of = await this.#request(input);
      await this.#read(input.messages);
      const last = (name) => this.#mapper.topOf(name) ?? this.#mapper.newest;
      this.#runId = of.sent ?? (last(of.asked) || null);
      if (this.#runId === null) throw new Error("expected a run that has asked, there is none");
      const isAnswer = of.sent === undefined;
      return { of: this.#runId, alias: input.runId, known: input.messages, isAnswer };
    });
  }

  /** Follow the thread from here on, across its runs. */
  follow(known = []) {
    this.#begin(async () => {
      await this.#read(known);
      return { known };
    });
  }

  /** Cancel the run that is said, or will be. */
  cancel() {
    const runId = this.#mapper.saying ?? this.#runId;
    this.#isCancelled = true;
    if (runId !== null) this.session.cancel(runId).catch(() => {});
  }

  /** End the stream; returns what the next one may take up. */
  close() {
    this.#isClosed = true;
    this.#streams.remove(this);
    this.#mapper.mute();
    return { mapper: this.#mapper, generation: this.#streams.generation, isWhole: this.#isWhole };
  }

  take(kind, item) {
    if (kind === "state" && !ENDED.test(item.name)) return;
    if ("thread_id" in item && item.thread_id !== this.threadId) return;
    this.#items.push({ kind, item });
    this.#drain();
  }

  async #begin(prepare) {
    try {
      const about = await prepare();
      if (this.#isClosed) return;
      this.#say(this.#mapper.prelude({ ...about, isWhole: this.#isWhole }));
      if (this.#isCancelled) this.cancel();
      for (const ask of this.#streams.asks.values()) if (ask.thread_id === this.threadId) this.#say(this.#asked(ask));
      this.#isBusy = false;
      this.#drain();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    if (!this.#isClosed) this.#to.error(error);
  }

  #asked(ask) {
    return this.#mapper.ask(question(ask));
  }

  /** Answer what was asked, and send what is new; the run that goes on, or begins. */
  async #request({ messages, resume = [], ...input }) {
    for (const entry of resume) {
      const refused = (error) => {
        if (!REFUSED.test(error.name)) throw error;
      };
      await this.session.answer(entry.interruptId, answerOf(entry)).catch(refused);
      this.#streams.asks.delete(entry.interruptId);
      this.#items.push({ kind: "ask_closed", item: { id: entry.interruptId } });
    }
    const message = messages.findLast((one) => one.role === "user");
    if (resume.length > 0 && (message !== messages.at(-1) || this.#mapper.knows(message?.id))) {
      return { asked: this.#streams.runs.get(resume[0].interruptId) };
    }
    if (!message) throw new Error("expected a message of the user, got none");
    const sent = await this.session.send(payloadOf(message, input), { threadId: this.threadId });
    if (sent.run_id === null) throw new Error("expected a server that answers messages, got one without on_message");
    return { sent: sent.run_id };
  }

  /** Read what the mapper does not have. A thread that is nobody's yet has nothing. */
  async #read(known = []) {
    if (this.#mapper.seq === 0) this.#mapper.recall(known);
    for (let more = true; more && !this.#isClosed; ) {
      const history = await this.session.read(this.threadId, { afterSeq: this.#mapper.seq }).catch((error) => {
        if (error.name !== "unknown_thread") throw error;
        return { events: [], head_seq: this.#mapper.seq, more: false };
      });
      if (history.head_seq < this.#mapper.seq) this.#say(this.#mapper.reset());
      else this.#take(history.events);
      more = history.more || history.head_seq < this.#mapper.seq;
    }
  }

  /** Take a part of the history, and what came meanwhile in its place: the log may have lost that since. */
  #take(events) {
    const came = this.#items.filter(({ kind }) => kind === "event").map(({ item }) => item);
    const inOrder = [...events, ...came].sort((one, other) => firstOf(one) - firstOf(other) || one.seq - other.seq);
    for (const event of inOrder) if (firstOf(event) > this.#mapper.seq) this.#feed(event);
  }

  #feed(event) {
    const [first, next] = [firstOf(event), this.#mapper.seq + 1];
    if (first > next) {
      this.#isWhole = false;
      this.#say(this.#mapper.gap(next, first - 1));
    }
    this.#say(this.#mapper.feed(event));
  }

  #say(events) {
    for (const event of events) if (!this.#isClosed) this.#to.next(event);
    if (this.#mapper.isOver && !this.#isClosed) this.#to.complete();
  }

  async #drain() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      while (this.#items.length > 0 && !this.#isClosed) await this.#handle(this.#items.shift());
      this.#isBusy = false;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Returns a promise only where something has to be read first. */
  #handle({ kind, item }) {
    const mapper = this.#mapper;
    if (kind === "event") return this.#handleEvent(item);
    if (kind === "ask") return this.#say(this.#asked(item));
    if (kind === "ask_closed") return this.#say(mapper.askClosed(item.id));
    if (kind === "gap") return this.#read();
    if (kind === "inactive") return this.#read().then(() => this.#say(mapper.lose(item.run_id, item.reason)));
    if (kind === "reset") return this.#say(mapper.reset());
    return this.#fail(Object.assign(new Error(item.reason ?? `the session is ${item.name}`), { code: item.code }));
  }

  /** An event that does not follow, or is joined from some that were read before, is read instead. */
  async #handleEvent(event) {
    if (event.seq > this.#mapper.seq && firstOf(event) !== this.#mapper.seq + 1) await this.#read();
    if (event.seq > this.#mapper.seq) this.#feed(event);
  }
}
