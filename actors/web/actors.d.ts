/**
 * The browser's client of trio-actors.
 *
 *     import { connect } from "/actors.js";
 *     const session = connect("/ws", { token: "alice" });
 *     for await (const item of session) if (item.kind === "event") show(item);
 *
 * It runs in browsers since 2021 (Chrome 85, Firefox 90, Safari 15), in Node 22 or newer, and in Node 20 with the
 * `WebSocket` of the package ws as an option, or with `--experimental-websocket`. Names with underscores are those of
 * the protocol, as they travel.
 */

/**
 * Open a session. It connects by itself, and again whenever it has to. In a browser `url` may be relative; `http:` and
 * `https:` stand for `ws:` and `wss:`, and no path, or `/` alone, for `/ws`. Throws a TypeError, with what was expected,
 * for another URL, for one with a password, for options that are not what they should be, or where there is no
 * WebSocket.
 */
export function connect(url: string | URL, options?: Options): Session;

export interface Options {
  /**
   * Who this is; a function is called for every connection, and when it throws, or gives no string, the session waits
   * and tries again. Left out, the cookie `actors_token` says it.
   */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** Where an earlier session got to: its `cursor`, kept together with what was made of the events up to there. */
  cursor?: Cursor | null;
  /**
   * Where to begin without a cursor: at what no device of the user has confirmed (`unacked`, the default), at all that
   * is there (`low`: for a page that shows conversations and keeps nothing), or with what is new (`head`).
   */
  from?: "unacked" | "low" | "head";
  /** Another implementation, where the platform has none: that of the package ws, for example. */
  WebSocket?: new (url: string, protocol: string) => any;
}

/** A place in the user's log. Offsets of two epochs have nothing to do with each other. */
export interface Cursor {
  epoch: string;
  offset: number;
}

/**
 * One client of the server, over as many connections as it takes.
 *
 * **One consumer**: a loop, or listeners. Each item comes once and in order. With a loop an item is taken when the loop
 * comes back for the next one, so that on which it breaks, throws or closes the session is not. With listeners it is
 * taken when they have returned (nobody waits for a promise of theirs; one that throws has had its item). What was
 * taken is confirmed to the server in batches. A second loop throws when both wait. Listeners see the items of a loop
 * too, and take part in nothing.
 *
 * **A loop by hand**: `next()` called while another one waits stands behind it, and comes back for the item of that
 * one. `return()` and `throw()` end every `next()` that waits, with `done`, and nothing is taken: so a wait with a bound
 * is `Promise.race([loop.next(), bound])` and then `loop.return()`, or the same promise again. An AbortSignal does it by
 * `signal.addEventListener("abort", () => loop.return())`.
 *
 * **Who listens for `event` takes the log**: `event`, `gap`, `reset`, and with them all else. While nobody does, and
 * there is no loop, they wait and nothing is confirmed; what stands outside of the log (`caught_up`, `active`, `ask` …)
 * comes to its listeners all the same. A program that wants questions alone listens for `event` as well, and so
 * confirms what it ignores.
 *
 * **A slow consumer** holds up confirmations and nothing else. With 1,000 items unread, what else comes is not kept: as
 * soon as no request waits for its reply the session gives its connection up (`waiting`, `until` Infinity), and it goes
 * on from there when all was taken; the server keeps the rest, or says with a `gap` what it could not keep. A request
 * connects for itself meanwhile. A session that nobody reads ends up there.
 *
 * **A lost connection** comes back by itself: after a random time of at most 0.5 s or, if that is longer, as long as it
 * is lost, and never more than 10 s; or when the server said; at once when the machine comes online or the page is
 * looked at again, though no two waits in a row are cut short by that. A live connection is asked for a sign of life
 * then, within 3 s; one that is being made keeps its 10 s. The next one goes on behind the last item taken. What is in the application's hand is not handed out
 * again.
 *
 * **A server that does not keep to the protocol** costs its connection, which comes back; the state says what was
 * expected. Where it broke the order of the log, all of it comes again after a `reset` that says so.
 *
 * It says no more than the server's `messages_per_s` allows: what is more waits.
 */
export class Session extends EventTarget implements AsyncIterable<Item> {
  constructor(url: string | URL, options?: Options);

  /** Where the connection stands. Each change is a `state` event. */
  readonly state: State;
  /**
   * The place of the last item that was handed out, the one in hand included; null before the first welcome. Kept
   * together with what was made of that item, it lets another session go on: nothing is missed, nothing done twice.
   */
  readonly cursor: Cursor | null;

  /**
   * Place an event in a thread, which every device of the user gets, this one too; without a thread the server opens
   * one. Like every request it is asked again after a lost connection, and carried out once, or given up when ten
   * minutes have gone by since it was first asked. Rejects with a `Refusal`; one named `unencodable`, before anything is
   * said, for what JSON would change or leave out without a word, with its path: NaN and infinities, `undefined`, holes
   * of arrays, functions, symbols, a BigInt, a Map, a Set, bytes, an Error, half a surrogate pair, more than 64 levels of
   * nesting, and an integer beyond `Number.MAX_SAFE_INTEGER`, which another device might have as another one: send a
   * string. What has a `toJSON`, as a Date has, is what that gives.
   */
  send(payload: object, options?: { threadId?: string; type?: string }): Promise<Sent>;
  /** End a run and those below it. */
  cancel(runId: string): Promise<Cancellation>;
  /** Answer a question. The first answer counts, from whichever device it came. */
  answer(askId: string, payload: object): Promise<{ ask: string }>;
  /** The events of one thread that are still there, by `seq` and outside of the stream. */
  read(threadId: string, options?: { afterSeq?: number; limit?: number }): Promise<History>;

  /** Connect now, whatever is under way: the way back from `refused`, and past a wait. */
  connect(): void;
  /**
   * Confirm what was taken, and leave for good. Loops end; requests without a reply reject; `cursor` stays. A Node
   * process that has nothing else to do ends when the server has answered the goodbye.
   */
  close(): void;

  /** Ends when the session is closed; throws a `Refusal` when it is refused. */
  [Symbol.asyncIterator](): AsyncGenerator<Item, void, void>;

  addEventListener<K extends keyof SessionEvents>(
    type: K,
    listener: (event: CustomEvent<SessionEvents[K]>) => void,
    options?: boolean | ListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: Listener | null,
    options?: boolean | ListenerOptions,
  ): void;
  removeEventListener<K extends keyof SessionEvents>(
    type: K,
    listener: (event: CustomEvent<SessionEvents[K]>) => void,
    options?: boolean | ListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: Listener | null,
    options?: boolean | ListenerOptions,
  ): void;
}

/** Those of the platform, which declares them for browsers only. */
export interface ListenerOptions {
  capture?: boolean;
  once?: boolean;
  passive?: boolean;
  signal?: AbortSignal;
}
export type Listener = ((event: Event) => void) | { handleEvent(event: Event): void };

/** What `detail` is, by the type of the event. */
export interface SessionEvents {
  event: EventItem;
  gap: GapItem;
  reset: ResetItem;
  caught_up: CaughtUpItem;
  active: ActiveItem;
  inactive: InactiveItem;
  ask: AskItem;
  ask_closed: AskClosedItem;
  state: State;
  /** Everything up to this offset was confirmed to the server. */
  acked: number;
}

/**
 * `waiting`: it comes back by itself; `refused`: it does not, unless something changes and `connect()` is called;
 * `closed`: `close()` was called. `code` is the close code.
 *
 * The wait is `waitMs` milliseconds from when the state was entered, for a countdown, which measures with
 * `performance.now()`; it ends at `until`, as `Date.now()`, which is for people to read and wrong once the clock is set.
 * Both are Infinity when the session waits for what is unread to be taken.
 */
export type State =
  | { name: "connecting"; leaving?: number }
  /** `leaving`: the server will close the connection soon, and asks to be left alone for so many milliseconds. */
  | { name: "live"; leaving?: number }
  | { name: "waiting"; until: number; waitMs: number; code?: number; reason?: string }
  | { name: "refused"; code: number; reason: string }
  | { name: "closed" };

/** What comes. `caught_up` follows what was there when a connection began, and a gap or reset in its middle. */
export type Item =
  | EventItem
  | GapItem
  | ResetItem
  | CaughtUpItem
  | ActiveItem
  | InactiveItem
  | AskItem
  | AskClosedItem;

export interface EventItem {
  kind: "event";
  type: string;
  payload: Record<string, any>;
  thread_id: string;
  run_id?: string;
  event_id: string;
  /** Counts the events of its thread; `seq0` is the first it stands for, when it stands for several. */
  seq: number;
  seq0?: number;
  /** Counts the events of the user's log. */
  offset: number;
  /** Seconds since 1970, for display. */
  timestamp: number;
}

/** Offsets that are gone: the client was away for too long, or too slow. */
export interface GapItem {
  kind: "gap";
  from: number;
  to: number;
  cause: string;
}

/** Forget what came before: everything that is there comes, from `low`. */
export interface ResetItem {
  kind: "reset";
  epoch: string;
  low: number;
  /** Empty when the log is another one; else what the server did against the protocol. */
  cause: string;
}

export interface CaughtUpItem {
  kind: "caught_up";
  offset: number;
}

/**
 * A run is active that this session has not seen begin: `cancel(run_id)` stops it. It comes once, and stands outside of
 * the log. That the run has ended is said by its last event, or by an `inactive`.
 */
export interface ActiveItem {
  kind: "active";
  type: "agent_started";
  /** That of its `agent_started`: `agent_name`, `message_id` or `parent_run_id`. */
  payload: Record<string, any>;
  thread_id: string;
  run_id: string;
  /** Left out while it waits. */
  event_id?: string;
  timestamp?: number;
  /** It has not begun: its message waits for its turn. `agent_started` follows, or an `active` that does not wait. */
  waiting: boolean;
}

/**
 * A run that was active, as far as this session was told, is so no more, and its last event was not seen here:
 * `withdrawn` when its thread is another user's now, `gone` when it ended unseen, in a gap for example.
 */
export interface InactiveItem {
  kind: "inactive";
  run_id: string;
  reason: string;
}

/** A question; it comes once, and stands outside of the log. */
export interface AskItem {
  kind: "ask";
  id: string;
  type: string;
  payload: Record<string, any>;
  thread_id: string;
  run_id?: string;
  timestamp: number;
  /** How long it can be answered from when it came, in seconds; Infinity where there is no timeout. */
  timeout_s: number;
  /** Until when it can be answered, as `Date.now()`, for people to read; Infinity likewise. */
  deadline: number;
}

/** `answered`, `expired` or `withdrawn`; `gone` when it was closed while this client was away. */
export interface AskClosedItem {
  kind: "ask_closed";
  id: string;
  reason: string;
}

/** Where a message is, for ever; `run_id` names the run that will answer it. */
export interface Sent {
  thread_id: string;
  event_id: string;
  run_id: string | null;
  epoch: string;
  seq: number;
  offset: number;
}

export interface Cancellation {
  run_id: string;
  stopped: string[];
  /** Those whose code had not stopped after 5 seconds; they are closed all the same, and say nothing more. */
  running: string[];
}

export interface History {
  thread_id: string;
  events: Omit<EventItem, "kind">[];
  /** Ranges of `seq` that were asked for and are not there. */
  gone: [number, number][];
  head_seq: number;
  /** Ask again after the last one. */
  more: boolean;
}

/**
 * Why a request was not carried out, or why a session ended. `name` and `code` are those of the protocol page
 * (section 7), or: `unencodable`, JSON cannot carry it; `too_big`, it is larger than the server takes; `session_lost`,
 * the server has forgotten the session, or ten minutes have gone by, before it replied, so the request may have been
 * carried out, and was not asked again lest it be twice; `refused` and `closed`, the session was.
 */
export class Refusal extends Error {
  constructor(error: Partial<Refusal>);
  readonly code?: number;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;
}
