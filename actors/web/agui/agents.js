/**
 * Agents for @ag-ui/client over a session of actors.js, and over HTTP; see agents.d.ts.
 *
 * A cut stays below the stream of events: the session resumes, so that a client, which takes a second RUN_STARTED for a
 * fault and knows no other way to go on, never hears of it.
 */

import { AbstractAgent, HttpAgent, enforceOutgoingInput, transformHttpEventStream } from "@ag-ui/client";
import { Observable } from "rxjs";

import { ThreadStream, streamsOf } from "./streams.js";
import { Splice } from "./splice.js";

const CAPABILITIES = {
  transport: { streaming: true, websocket: true, resumable: true },
  humanInTheLoop: { supported: true, interrupts: true },
};

/** How long a stream waits before it asks again, which is a random part of it. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 10_000;

/** Answers after which the same request may succeed. */
const TEMPORARY = /^(429|502|503|504)$/;

export class WsAgent extends AbstractAgent {
  constructor({ session, ...config }) {
    super(config);
    this.session = session;
    streamsOf(session); // from now on, because a question comes once
  }

  run(input) {
    return streamed(this, input, (stream) => stream.run(input));
  }

  connect(input) {
    return streamed(this, input, (stream) => stream.follow(input.messages));
  }

  /** Cancel the run on the server; the stream goes on to its last event. */
  abortRun() {
    this.stream?.cancel();
  }

  async getCapabilities() {
    return CAPABILITIES;
  }

  clone() {
    const cloned = super.clone();
    cloned.session = this.session;
    return cloned;
  }
}

/** No method, because a client makes copies of agents that have no private ones. */
function streamed(agent, input, begin) {
  return new Observable((subscriber) => {
    const stream = new ThreadStream(agent.session, input.threadId, agent.left, subscriber);
    agent.stream = stream;
    agent.left = undefined;
    begin(stream);
    return () => {
      agent.left = stream.close();
      if (agent.stream === stream) agent.stream = undefined;
    };
  });
}

/** HttpAgent for the endpoint of actors.agui. */
export class ActorsHttpAgent extends HttpAgent {
  run(input) {
    this.asked = { threadId: input.threadId, runId: input.runId };
    return resumed(this, () => this.fetch(this.url, this.requestInit(enforceOutgoingInput(input))));
  }

  connect(input) {
    this.abortController = new AbortController();
    this.asked = { threadId: input.threadId };
    const { headers } = this.requestInit(input);
    const init = { method: "GET", headers: { ...headers }, signal: this.abortController.signal };
    delete init.headers["Content-Type"];
    return resumed(this, () => this.fetch(addressOf(this, this.asked), init), true);
  }

  /** Cancel the run on the server; the stream goes on to its last event, or ends here if the server cannot be told. */
  abortRun() {
    if (!this.asked) return super.abortRun();
    const init = { method: "DELETE", headers: { ...this.headers } };
    const failed = () => super.abortRun();
    this.fetch(addressOf(this, this.asked), init).then((response) => response.ok || failed(), failed);
  }

  async getCapabilities() {
    return { ...CAPABILITIES, transport: { ...CAPABILITIES.transport, websocket: false } };
  }

  clone() {
    const cloned = super.clone();
    cloned.asked = this.asked;
    return cloned;
  }
}

function addressOf(agent, names) {
  const address = new URL(agent.url, globalThis.location?.href);
  for (const [name, value] of Object.entries(names)) address.searchParams.set(name, value);
  return address.href;
}

/**
 * The response of a request, as the client's own parser of streams takes it. The client's own request would leave a
 * rejection unhandled whenever a connection breaks, which ends a Node process.
 */
function received(request) {
  return new Observable((subscriber) => {
    let reader;
    const read = async () => {
      const response = await request();
      if (!response.ok) {
        const error = new Error(`HTTP ${response.status}: ${await response.text()}`);
        throw Object.assign(error, { status: response.status });
      }
      reader = response.body.getReader();
      subscriber.next({ type: "headers", status: response.status, headers: response.headers });
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        subscriber.next({ type: "data", data: part.value });
      }
      subscriber.complete();
    };
    read().catch((error) => subscriber.error(error));
    return () => void reader?.cancel().catch(() => {});
  });
}

/** Ask again, as often as the connection breaks: the server knows the request, and its prelude is spliced in. */
function resumed(agent, request, isEndless = false) {
  return new Observable((subscriber) => {
    const splice = new Splice();
    let [timer, subscription, lostAt, isOver, hasBegun] = [undefined, undefined, null, false, false];
    const failed = new Error("expected the end of the run, got the end of the stream");
    const lost = (error = failed) => {
      const now = performance.now();
      lostAt ??= now;
      const mayAsk = hasBegun && (error.status === undefined || TEMPORARY.test(error.status));
      if (!mayAsk || isOver || agent.abortController.signal.aborted) return subscriber.error(error);
      const ceiling = Math.min(LAST_WAIT_MS, Math.max(FIRST_WAIT_MS, now - lostAt));
      timer = setTimeout(ask, Math.random() * ceiling);
    };
    const ask = () => {
      splice.begin();
      subscription = transformHttpEventStream(received(request), agent.debugLogger).subscribe({
        next: (event) => {
          if (event.code === "abort" && event.rawEvent) return subscriber.next(event);
          if (event.type === "RUN_ERROR" && event.metadata?.["trio-actors"]?.temporary) return;
          lostAt = null;
          hasBegun = true;
          for (const one of splice.take(event)) subscriber.next(one);
          isOver = !isEndless && splice.isOver;
        },
        error: lost,
        complete: () => (isOver || agent.abortController.signal.aborted ? subscriber.complete() : lost()),
      });
    };
    ask();
    return () => {
      clearTimeout(timer);
      subscription?.unsubscribe();
      agent.asked = undefined;
    };
  });
}
