/** Streams of AG-UI events of one thread, each of which begins with a prelude, as one stream that a client takes. */

const LAST = /^RUN_(FINISHED|ERROR)$/;

export class Splice {
  /** The last run that was told of is over. */ isOver = false;
  /** The run that is told of. */ #running = null;
  /** A stream begins, and has not come to its snapshot. */ #isNew = true;
  #texts = new Map();
  #subagents = new Set();
  /** The subagents that the new stream tells of again. */ #again = null;

  /** Another stream begins: its prelude continues the run that is told of. */
  begin() {
    this.#isNew = this.#running !== null;
  }

  /** Take an event of the newest stream; what a client is to be given for it. */
  take(event) {
    if (!this.#isNew) return this.#pass(event);
    if (event.type === "RUN_STARTED" && event.runId === this.#running.runId) return [];
    if (event.type === "RUN_STARTED") return this.#passAnother(event);
    if (event.type !== "MESSAGES_SNAPSHOT") return this.#passAgain(event);
    this.#again = new Set();
    return [...this.#pause(), event];
  }

  #pause() {
    const paused = [...this.#texts].map(([messageId, owner]) => ({ type: "TEXT_MESSAGE_END", messageId, ...owner }));
    this.#texts.clear();
    return paused;
  }

  /** The run that was told of ended while there was no stream; how, is not known. */
  #passAnother(event) {
    const gone = [...this.#subagents].map((name) => ({ type: "SUBAGENT_FINISHED", subagentRunId: name }));
    const { threadId, runId } = this.#running;
    this.#isNew = false;
    const end = { type: "RUN_FINISHED", threadId, runId, outcome: { type: "success" } };
    return [...this.#pause(), ...gone, ...this.#pass(end), ...this.#pass(event)];
  }

  /** Behind the snapshot come the subagents that are active, and those that are not among them have ended. */
  #passAgain(event) {
    const { type, subagentRunId } = event;
    if (this.#again && type === "SUBAGENT_STARTED") {
      this.#again.add(subagentRunId);
      return this.#subagents.has(subagentRunId) ? [] : this.#pass(event);
    }
    const gone = [...this.#subagents].filter((name) => this.#again && !this.#again.has(name));
    this.#isNew = false;
    this.#again = null;
    for (const name of gone) this.#subagents.delete(name);
    return [...gone.map((name) => ({ type: "SUBAGENT_FINISHED", subagentRunId: name })), ...this.#pass(event)];
  }

  #pass(event) {
    const { type, messageId, subagentRunId } = event;
    const owner = subagentRunId === undefined ? {} : { subagentRunId };
    if (type === "RUN_STARTED") this.#running = event;
    if (type === "RUN_STARTED") this.isOver = false;
    if (type === "TEXT_MESSAGE_START") this.#texts.set(messageId, owner);
    if (type === "TEXT_MESSAGE_END") this.#texts.delete(messageId);
    if (type === "SUBAGENT_STARTED") this.#subagents.add(subagentRunId);
    if (/^SUBAGENT_(FINISHED|ERROR)$/.test(type)) this.#subagents.delete(subagentRunId);
    if (LAST.test(type)) {
      this.isOver = true;
      this.#running = null;
      this.#texts.clear();
      this.#subagents.clear();
    }
    return [event];
  }
}
