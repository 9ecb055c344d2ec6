/**
 * The browser's client of trio-actors.
 *
 *     import { connect } from "/actors.js";
 *     const session = connect("/ws", { token: "alice" });
 *     for await (const item of session) if (item.kind === "event") show(item);
 *
 * It runs in browsers since 2021 (Chrome 85, Firefox 90, Safari 15), in Node 22 or newer, and in Node 20 with the
 * `WebSocket` of the package ws as an option, or with `--experimental-websocket`. Names with underscores are those of
 * the protocol's fields.
 */

/**
 * Open a session, which connects, and reconnects, by itself. In a browser `url` may be relative; `http:` and `https:`
 * stand for `ws:` and `wss:`, and no path, or `/` alone, for `/ws`. Throws a TypeError, with what was expected, for
 * another URL, for one with a password, for an invalid option, or where there is no WebSocket.
 */
export function connect(url: string | URL, options?: Options): Session;

export interface Options {
  /**
   * The user's token, or a function that is called for every connection; when it throws, or returns no string, the
   * session waits and tries again. Left out, the cookie `actors_token` counts.
   */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** The `cursor` of an earlier session, saved together with the effects of the events up to there. */
  cursor?: Cursor | null;
  /**
   * Where to begin without a cursor: at the first event that no device of the user has acked (`unacked`, the default),
   * at the first that the log retains (`low`: for a page that shows conversations and stores nothing), or with new
   * events only (`head`).
   */
  from?: "unacked" | "low" | "head";
  /** Another implementation, where the platform has none: that of the package ws, for example. */
  WebSocket?: new (url: string, protocol: string) => any;
}

/** A position in the user's log. The log may go on in another epoch, in which the same event has the same offset. */
export interface Cursor {
  epoch: string;
  offset: number;
}

/**
 * One client of the server, over any number of connections.
 *
 * **One consumer**: a loop, or listeners. Each item comes once and in order. With a loop an item is taken when the loop
 * comes back for the next one, so the item on which it breaks, throws or closes the session is not. With listeners it
 * is taken when they have returned, also if one throws; a promise that they return is not awaited. Taken items are
 * acked to the server in batches. A second loop throws when both wait. Listeners see the items of a loop too, without
 * taking them.
 *
 * **A loop by hand**: a `next()` called while another one waits queues behind it, and then takes that one's item.
 * `return()` and `throw()` end every `next()` that waits, with `done`, and nothing is taken: so a wait with a timeout
 * is `Promise.race([loop.next(), timeout])` and then `loop.return()`, or the same promise again. For an AbortSignal:
 * `signal.addEventListener("abort", () => loop.return())`.
 *
 * **A listener for `event` takes the log**: `event`, `gap`, `reset`, and with them all other items. While there is
 * neither such a listener nor a loop, they wait and nothing is acked; items that are not in the log (`caught_up`,
 * `active`, `ask` …) still go to their listeners. A program that wants questions alone listens for `event` as well, so
 * that the events which it ignores are acked.
 *
 * **A slow consumer** delays acks and nothing else. With 1,000 items unread, no more are queued: as soon as no request
 * waits for its reply the session gives its connection up (`waiting`, `until` Infinity), and resumes from its cursor
 * when all was taken; the server retains the rest, or sends a `gap` for what it could not retain. A request meanwhile
 * makes a connection of its own. A session that is never read ends up in this state.
 *
 * **A lost connection** is made again: after a random time of at most 0.5 s or, if that is longer, the outage so far,
 * and never more than 10 s; or when the server said; at once when the machine comes online or the page becomes visible,
 * but no two waits in a row are skipped. A live connection is probed then, and has 3 s to answer; one that is being
 * made keeps its 10 s. The next connection resumes after the last item taken. The item that the application is
 * processing does not come again.
 *
 * **A server that violates the protocol** loses its connection, which is made again; the state says what was expected.
 * If it broke the order of the log, the whole log comes again after a `reset` with the reason.
 *
 * A session sends no more than the server's `messages_per_s` allows: further messages wait.
 */
export class Session extends EventTarget implements AsyncIterable<Item> {
  constructor(url: string | URL, options?: Options);

  /** The state of the connection. Each change is a `state` event. */
  readonly state: State;
  /**
   * The cursor of the last item that was handed out, the one being processed included; null before the first welcome.
   * Saved together with the effect of that item, it lets another session resume: nothing is missed, nothing done twice.
   */
  readonly cursor: Cursor | null;

  /**
   * Place an event in a thread, for every device of the user, this one too; without a thread the server opens one. Like
   * every request it is sent again after a lost connection, and carried out once, or fails ten minutes after it was
   * first sent. Rejects with a `Refusal`; one named `unencodable`, before anything is sent, for a value that JSON would
   * silently change or leave out, with its path: NaN and infinities, `undefined`, holes of arrays, functions, symbols,
   * a BigInt, a Map, a Set, bytes, an Error, half a surrogate pair, more than 64 levels of nesting, and an integer
   * beyond `Number.MAX_SAFE_INTEGER`, which another device might read as another one: send a string. An object with a
   * `toJSON`, such as a Date, is encoded as the value that it returns. `traceparent` is the W3C trace that the message
   * belongs to: the run that answers is below that span.
   */
  send(payload: object, options?: { threadId?: string; type?: string; traceparent?: string }): Promise<Sent>;
  /** Cancel a run and those below it. */
  cancel(runId: string): Promise<Cancellation>;
  /** Answer a question. The first answer of all devices counts. */
  answer(askId: string, payload: object): Promise<{ ask: string }>;
  /** Read the events that one thread retains, by `seq` and apart from the items. */
  read(threadId: string, options?: { afterSeq?: number; limit?: number }): Promise<History>;

  /** Connect now, whatever the state: the only way back from `refused`, and the end of a wait. */
  connect(): void;
  /**
   * Ack the taken items, and close for good. Loops end; requests without a reply reject; `cursor` stays. A Node process
   * that has nothing else to do ends when the server has answered the close.
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

/** The options of the platform, which declares them for browsers only. */
export interface ListenerOptions {
  capture?: boolean;
  once?: boolean;
  passive?: boolean;
  signal?: AbortSignal;
}
export type Listener = ((event: Event) => void) | { handleEvent(event: Event): void };

/** The type of `detail`, by the type of the event. */
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
  /** Everything up to this offset was acked to the server. */
  acked: number;
}

/**
 * `waiting`: it reconnects by itself; `refused`: it does not, until `connect()` is called; `closed`: `close()` was
 * called. `code` is the close code.
 *
 * The wait is `waitMs` milliseconds from the start of the state, for a countdown measured with `performance.now()`; it
 * ends at `until`, as `Date.now()`, which is for people to read and wrong once the clock is set. Both are Infinity when
 * the session waits for the application to take the unread items.
 */
export type State =
  | { name: "connecting"; leaving?: number }
  /** `leaving`: the server will close the connection soon; reconnect after so many milliseconds. */
  | { name: "live"; leaving?: number }
  | { name: "waiting"; until: number; waitMs: number; code?: number; reason?: string }
  | { name: "refused"; code: number; reason: string }
  | { name: "closed" };

/** An item. `caught_up` ends the replay when a connection begins, and after a gap, a reset or another epoch in its middle. */
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
  /** Number in its thread; `seq0` is the first of those that it stands for, when it stands for several. */
  seq: number;
  seq0?: number;
  /** Number in the user's log. */
  offset: number;
  /** Seconds since 1970, for display. */
  timestamp: number;
  /** The W3C trace that it belongs to, of a message, of the first event of a run, or of an event outside of runs. */
  traceparent?: string;
}

/** Offsets that left the log: the client was away for too long, or too slow. */
export interface GapItem {
  kind: "gap";
  from: number;
  to: number;
  cause: string;
}

/** The log began anew. Forget the items before: all its events follow, from `low` on. */
export interface ResetItem {
  kind: "reset";
  epoch: string;
  low: number;
  /** Empty when the server sent a reset; else its violation of the protocol, or its loss of an item that was given. */
  cause: string;
}

export interface CaughtUpItem {
  kind: "caught_up";
  offset: number;
}

/**
 * An active run that this session has not seen begin: `cancel(run_id)` stops it. It comes once, and is not in the log.
 * The run's last event ends it, or an `inactive`.
 */
export interface ActiveItem {
  kind: "active";
  type: "agent_started";
  /** The payload of its `agent_started`: `agent_name`, `message_id` or `parent_run_id`. */
  payload: Record<string, any>;
  thread_id: string;
  run_id: string;
  /** Left out while it waits. */
  event_id?: string;
  timestamp?: number;
  traceparent?: string;
  /** True if it has not begun, because its message waits for its turn. `agent_started` follows, or another `active`. */
  waiting: boolean;
}

/**
 * A run that this session knew as active and that is active no longer; its last event was not seen here: `withdrawn`
 * when its thread now belongs to another user, `gone` when it ended unseen, in a gap for example.
 */
export interface InactiveItem {
  kind: "inactive";
  run_id: string;
  reason: string;
}

/** A question; it comes once, and is not in the log. */
export interface AskItem {
  kind: "ask";
  id: string;
  type: string;
  payload: Record<string, any>;
  thread_id: string;
  run_id?: string;
  timestamp: number;
  /** Seconds from arrival in which it can be answered; Infinity where there is no timeout. */
  timeout_s: number;
  /** The end of that time, as `Date.now()`, for people to read; Infinity likewise. */
  deadline: number;
}

/** `answered`, `expired` or `withdrawn`; `gone` when it was closed while this client was away. */
export interface AskClosedItem {
  kind: "ask_closed";
  id: string;
  reason: string;
}

/** A message that the server has placed, with its permanent ids; `run_id` is the run that will answer it. */
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
  /** Runs whose code had not stopped after 5 seconds; they are closed all the same, and emit nothing more. */
  running: string[];
}

export interface History {
  thread_id: string;
  events: Omit<EventItem, "kind">[];
  /** Ranges of `seq` that were asked for and are no longer retained. */
  gone: [number, number][];
  head_seq: number;
  /** True if there are more events: read again, after the last one. */
  more: boolean;
}

/**
 * The reason why a request was not carried out, or why a session ended. `name` and `code` are those of the protocol
 * page (section 7), or: `unencodable`, JSON cannot carry it; `too_big`, it is larger than the server takes;
 * `session_lost`, the server has forgotten the session, or ten minutes have passed, before it replied: the request may
 * have been carried out, and was not sent again, because it might be carried out twice; `refused` and `closed`, the
 * session was.
 */
export class Refusal extends Error {
  constructor(error: Partial<Refusal>);
  readonly code?: number;
  /** True if the same request may succeed later. */
  readonly temporary: boolean;
}
