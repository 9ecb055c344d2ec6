/**
 * Runs what it is told: a line of JSON in, `{id, script}`; a line of JSON out, `{id, value}` or `{id, error}`.
 *
 * A script is the body of an async function. It sees `connect`, `collect`, `sleep`, `turn`, `Fake`, and the object `it`,
 * which lives as long as the process.
 */

import { createInterface } from "node:readline";

const { connect } = await import(process.argv[2]);
const AsyncFunction = (async () => {}).constructor;
const it = { sessions: {} };
const turn = () => new Promise(setImmediate);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A session whose items and states are kept: `it.sessions[name]` has `session`, `items`, `states`. */
function collect(name, url, options) {
  const session = connect(url, options);
  const kept = { session, items: [], states: [session.state], ended: null };
  it.sessions[name] = kept;
  session.addEventListener("state", ({ detail }) => kept.states.push(detail));
  take(kept);
}

async function take(kept) {
  try {
    for await (const item of kept.session) kept.items.push(item);
    kept.ended = "closed";
  } catch (error) {
    kept.ended = error.name;
  }
}

/** A socket with the test at its other end. */
class Fake {
  static sockets = [];
  heard = [];
  readyState = 0;

  constructor() {
    Fake.sockets.push(this);
  }

  /** Open, and welcome the client. */
  async welcome(fields = {}) {
    this.readyState = 1;
    this.onopen();
    await turn();
    const limits = { message_bytes: 1000, ack_events: 3, ack_s: 0.05 };
    const where = { session: "s", epoch: "ep", head: 0, low: 1, start: 1, resume: "fresh", ping_s: 15 };
    this.say({ op: "welcome", ...where, limits, ...fields });
  }

  say(...messages) {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }

  send(text) {
    this.heard.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }
}

const event = (offset, fields) => ({ type: "tick", payload: { n: offset }, thread_id: "t", offset, seq: offset, ...fields });

async function run({ id, script }) {
  try {
    const value = await new AsyncFunction(...Object.keys(SCOPE), script)(...Object.values(SCOPE));
    return { id, value: value ?? null };
  } catch (error) {
    return { id, error: { ...error, name: error.name, message: error.message } };
  }
}

const SCOPE = { connect, collect, sleep, turn, event, Fake, it };

for await (const line of createInterface({ input: process.stdin })) {
  run(JSON.parse(line)).then((said) => console.log(JSON.stringify(said)));
}
process.exit();
