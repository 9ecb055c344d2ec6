/**
 * Agents of AG-UI 1.0 for `@ag-ui/client`, over a session of trio-actors, and over HTTP.
 *
 *     import { connect } from "trio-actors";
 *     import { WsAgent } from "trio-actors/ag-ui";
 *     const agent = new WsAgent({ session: connect("wss://chat.example/ws", { token }), threadId });
 *     agent.addMessage({ id: crypto.randomUUID(), role: "user", content: "Hello" });
 *     await agent.runAgent();
 *
 * Both need the packages `@ag-ui/client` and `rxjs`, which an application of AG-UI has.
 */

import type { AgentCapabilities, AgentConfig, BaseEvent, RunAgentInput } from "@ag-ui/client";
import { AbstractAgent, HttpAgent } from "@ag-ui/client";
import type { Observable } from "rxjs";
import type { Session } from "../actors.js";

export interface WsAgentConfig extends AgentConfig {
  /**
   * The session, which many agents may share. From the first agent on its items are taken and acked, because a
   * question comes once; listeners and loops of the application's own get them too.
   */
  session: Session;
}

/**
 * An agent over a session. Cuts, resumes and joined tokens stay below its streams of events, so that a client never
 * hears of them, and its text is exact.
 *
 * - `runAgent` sends the newest message of the user, and ends with the run that answers it, or with its question: an
 *   interrupt. With `resume` it answers, and the run goes on; an answer that comes too late, because another device was
 *   first, is none, and the stream shows what became of the run.
 * - `connectAgent` restores the thread, and follows it across its runs, those of other devices and of the server too,
 *   until it is detached or the session ends.
 * - `abortRun` cancels the run on the server; the stream goes on to its last event. `detachActiveRun` lets it run.
 *
 * A message that the server refuses rejects with the `Refusal` of the session.
 */
export class WsAgent extends AbstractAgent {
  constructor(config: WsAgentConfig);
  readonly session: Session;
  run(input: RunAgentInput): Observable<BaseEvent>;
  protected connect(input: RunAgentInput): Observable<BaseEvent>;
  abortRun(): void;
  getCapabilities(): Promise<AgentCapabilities>;
  clone(): WsAgent;
}

/**
 * `HttpAgent` for the endpoint of `actors.agui`, which the plain `HttpAgent` works with as well. This one asks again
 * when its connection breaks, and splices the server's prelude into the stream; its `abortRun` cancels the run on the
 * server; and it has `connectAgent`, which follows the thread across its runs.
 */
export class ActorsHttpAgent extends HttpAgent {
  protected connect(input: RunAgentInput): Observable<BaseEvent>;
  getCapabilities(): Promise<AgentCapabilities>;
  clone(): ActorsHttpAgent;
}
