/**
 * The browser's client of trio-actors.
 *
 *     import { connect } from "/actors.js";
 *     const session = connect("/ws", { token: "alice" });
 *     for await (const item of session) if (item.kind === "event") show(item);
 *
 * It runs in browsers since 2021 (Chrome 85, Firefox 90, Safari 15), in Node 22, and in Node 20 with
 * `--experimental-websocket`. Names with underscores are those of the protocol, as they travel.
 */

/** Open a session. It connects by itself, and again whenever it has to. In a browser `url` may be relative. */
export function connect(url: string, options?: Options): Session;

export interface Options {
  /** Who this is; a function is called for every connection. Left out, the cookie `actors_token` says it. */
  token?: string | (() => string | Promise<string>);
  /** Where an earlier session got to: its `cursor`, kept together with what was made of the events up to there. */
  cursor?: Cursor;
  /**
   * Where to begin without a cursor: at all that is there (`low`, the default), at what no device of the user has
   * confirmed (`unacked`), or with what is new (`head`).
   */
  from?: "low" | "unacked" | "head";
  /** Another implementation, where the platform has none. */
  WebSocket?: typeof WebSocket;
}

/** A place in the user's log. Offsets of two epochs have nothing to do with each other. */
export interface Cursor {
  epoch: string;
  offset: number;
}

/**
 * One client of the server, over as many connections as it takes.
 *
 * **One consumer**: a loop, or listeners for items. Each item comes once and in order. With a loop an item is taken
 * when the loop comes back for the next one; with listeners, when they have returned. What was taken is confirmed to
 * the server in batches. Listeners see the items of a loop too, and take part in nothing.
 *
 * **A slow consumer** holds up confirmations and nothing else. With more than 1,000 items unread the session gives
 * its connection up (`waiting`, `until` Infinity), and comes back when they were read; the server keeps the rest, or
 * says with a `gap` what it could not keep. Requests wait as long. A session that nobody reads ends up there.
 *
 * **A lost connection** comes back by itself: after a random time of at most 0.5 s, doubling to 10 s; or when the
 * server said; at once when the machine comes online or the page is looked at again. An item in the application's
 * hands then counts as taken.
 */
export class Session extends EventTarget implements AsyncIterable<Item> {
  constructor(url: string, options?: Options);

  /** Where the connection stands. Each change is a `state` event. */
  readonly state: State;
  /** The last offset taken; null before the first welcome. Another session can go on from it. */
  readonly cursor: Cursor | null;

  /**
   * Place an event in a thread, which every device of the user gets, this one too; without a thread the server opens
   * one. Like every request it is asked again after a lost connection, and carried out once. Rejects with a `Refusal`.
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
  /** Confirm what was taken, and leave for good. Loops end; requests without a reply reject. */
  close(): void;

  /** Ends when the session is closed; throws a `Refusal` when it is refused. */
  [Symbol.asyncIterator](): AsyncGenerator<Item, void, void>;

  addEventListener<K extends keyof SessionEvents>(
    type: K,
    listener: (event: CustomEvent<SessionEvents[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

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
 * `waiting`: it comes back by itself at `until` (milliseconds, as `Date.now()`); `refused`: it does not, unless
 * something changes and `connect()` is called; `closed`: `close()` was called. `code` is the close code.
 */
export type State =
  | { name: "connecting"; leaving?: number }
  /** `leaving`: the server will close the connection soon, and asks to be left alone for so many milliseconds. */
  | { name: "live"; leaving?: number }
  | { name: "waiting"; until: number; code?: number; reason?: string }
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
  /** Until when it can be answered, as `Date.now()`; `Infinity`, until it is answered or withdrawn. */
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
 * (section 7), or: `too_big`, it is larger than the server takes; `session_lost`, the server has forgotten the session
 * before it replied, so the request may have been carried out, and was not asked again lest it be twice; `refused`
 * and `closed`, the session was.
 */
export class Refusal extends Error {
  constructor(error: Partial<Refusal>);
  readonly code?: number;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;
}
