/**
 * Plays the application around a client, in a time of its own: a line of JSON in, `{act, …}`; a line of JSON out.
 *
 * Each connection to this process is one world: the module anew, its clock, its sockets and its session. The clock
 * stands still but for `advance`. The module's own text is all that runs; timers and chance are given to it in its first
 * line, for the sockets of the platform must keep the real ones.
 */

import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const SOURCE = readFileSync(new URL(process.argv[2]), "utf8");
const LENDS = "const { setTimeout, clearTimeout, Date, Math, performance } = globalThis.lent";
const KINDS = ["event", "gap", "reset", "caught_up", "active", "inactive", "ask", "ask_closed"];
const BEGAN_MS = 1_700_000_000_000;

const turn = () => new Promise((resolve) => setImmediate(resolve));
globalThis.lent = {};

/** Time that goes by when it is told to, and dice that always fall the highest. */
class Clock {
  #now = 0;
  #timers = new Map();
  #started = 0;

  setTimeout = (action, ms) => {
    this.#timers.set((this.#started += 1), { at: this.#now + ms, action });
    return this.#started;
  };
  clearTimeout = (id) => this.#timers.delete(id);
  Date = { now: () => BEGAN_MS + this.#now };
  performance = { now: () => this.#now };
  Math = Object.create(Math, { random: { value: () => 1 - 2 ** -53 } });

  /** To the next timer, at most so far; how far it was. */
  advance(most) {
    const next = Math.min(...Array.from(this.#timers.values(), ({ at }) => at));
    const step = Math.max(0, Math.min(most, next - this.#now));
    this.#now += step;
    for (const [id, { at, action }] of this.#timers) {
      if (at <= this.#now && this.#timers.delete(id)) action();
    }
    return step;
  }
}

class World {
  static #made = 0;
  #name = `world${(World.#made += 1)}`;
  #clock = new Clock();
  #sockets = [];
  #session;
  #given = [];
  #outcomes = {};
  #free = Promise.resolve();
  #release;

  async begin({ url, token, from, cursor, listens }) {
    const sockets = this.#sockets;
    class Kept extends WebSocket {
      constructor(...where) {
        super(...where);
        this.over = new Promise((resolve) => this.addEventListener("close", resolve));
        this.ready = Promise.race([this.over, new Promise((resolve) => this.addEventListener("open", resolve))]);
        sockets.push(this);
      }
    }
    globalThis.lent[this.#name] = this.#clock;
    const text = `${LENDS}.${this.#name}; ${SOURCE}`;
    const { connect } = await import(`data:text/javascript,${encodeURIComponent(text)}`);
    this.#session = connect(url, { token, from, cursor, WebSocket: Kept });
    if (listens) this.#listen(this.#session);
    else this.#iterate(this.#session);
  }

  #listen(session) {
    for (const kind of KINDS) session.addEventListener(kind, ({ detail }) => this.#given.push(detail));
  }

  async #iterate(session) {
    try {
      for await (const item of session) {
        this.#given.push(item);
        await this.#free;
      }
    } catch {
      // The state says it.
    }
  }

  ask({ id, request }) {
    const { thread_id: threadId, type, after_seq: afterSeq, limit, payload, traceparent } = request;
    const acts = {
      send: () => this.#session.send(payload, { threadId, type, traceparent }),
      cancel: () => this.#session.cancel(request.run_id),
      answer: () => this.#session.answer(request.ask, payload),
      read: () => this.#session.read(threadId, { afterSeq, limit }),
    };
    acts[request.op]().then(
      (reply) => (this.#outcomes[id] = reply),
      ({ code, name, temporary, message }) => (this.#outcomes[id] = { code, name, temporary, message }),
    );
  }

  hold() {
    this.#free = new Promise((resolve) => (this.#release = resolve));
  }

  release() {
    this.#release();
    this.#free = Promise.resolve();
  }

  leave() {
    this.#session.close();
  }

  /** What there is to see, once the first so many sockets are open and one that the server has ended is over. */
  async look({ accepted, over }) {
    for (const socket of this.#sockets.slice(0, accepted)) await socket.ready;
    if (over !== null) await this.#sockets[over].over;
    await turn();
    await turn();
    const { state, cursor } = this.#session;
    const refused = state.name === "refused" ? state.code : null;
    return { dialled: this.#sockets.length, given: this.#given, outcomes: this.#outcomes, refused, cursor };
  }

  advance({ seconds }) {
    return this.#clock.advance(seconds * 1000) / 1000;
  }

  end() {
    this.#session?.close();
    delete globalThis.lent[this.#name];
  }
}

const server = createServer(async (control) => {
  const world = new World();
  control.on("error", () => control.destroy());
  for await (const line of createInterface({ input: control })) {
    const { act, ...fields } = JSON.parse(line);
    control.write(`${JSON.stringify((await world[act](fields)) ?? null)}\n`);
  }
  world.end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
