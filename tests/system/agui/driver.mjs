/**
 * Runs what it is told, as tests/system/client_js/driver.mjs does, with the agents of trio-actors/ag-ui and the client
 * that they are for. What that client warns of, and what is rejected with no one to see it, is kept in `it.warnings`.
 */

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const project = pathToFileURL(`${process.argv[2]}/`);
const load = async (name) => import(pathToFileURL(createRequire(project).resolve(name)).href);
const { AbstractAgent, HttpAgent, buildResumeArray } = await import(new URL("node_modules/@ag-ui/client/dist/index.mjs", project));
const { Observable } = await load("rxjs");
const { connect } = await import(new URL("node_modules/trio-actors/actors.js", project));
const { WsAgent, ActorsHttpAgent } = await import(new URL("node_modules/trio-actors/agui/agents.js", project));
const { Mapper } = await import(new URL("node_modules/trio-actors/agui/mapper.js", project));

const AsyncFunction = (async () => {}).constructor;
const it = { agents: {}, sessions: {}, warnings: [] };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
for (const kind of ["warn", "error"]) console[kind] = (...words) => it.warnings.push(words.map(String).join(" "));
process.on("unhandledRejection", (error) => it.warnings.push(`unhandled: ${error?.stack ?? error}`));

/** An agent whose events, errors and results are kept: `it.agents[name]`. */
function keep(name, agent) {
  const kept = (it.agents[name] = { agent, events: [], results: [], errors: [] });
  agent.subscribe({ onEvent: ({ event }) => void kept.events.push(event) });
  return kept;
}

function ws(name, url, { token = "alice", session = name, ...config } = {}) {
  it.sessions[session] ??= connect(url, { token });
  keep(name, new WsAgent({ session: it.sessions[session], ...config }));
}

function http(name, url, { plain = false, token = "alice", ...config } = {}) {
  const Agent = plain ? HttpAgent : ActorsHttpAgent;
  keep(name, new Agent({ url, headers: { authorization: `Bearer ${token}` }, ...config }));
}

/** Say something, or go on with an answer, and wait for the end of the stream. */
async function say(name, text, parameters = {}) {
  const { agent } = it.agents[name];
  if (text !== null) agent.addMessage({ id: parameters.id ?? `u-${agent.messages.length}-${name}`, role: "user", content: text });
  return settle(name, agent.runAgent(parameters));
}

const follow = (name) => void settle(name, it.agents[name].agent.connectAgent());

async function settle(name, promise) {
  const kept = it.agents[name];
  try {
    const { result, newMessages } = await promise;
    kept.results.push(result ?? null);
    return { result: result ?? null, newMessages };
  } catch (error) {
    kept.errors.push(`${error.name}: ${error.message}`);
    return { error: error.message };
  }
}

const texts = (name) => it.agents[name].agent.messages.map(({ role, content, toolCalls }) => `${role}: ${content ?? toolCalls[0].function.name}`);
const types = (name) => it.agents[name].events.map(({ type }) => type);
const text = (name) => it.agents[name].agent.messages.filter(({ role }) => role === "assistant").map(({ content }) => content ?? "").join("|");

/** The messages of a client that is given these events of a stream, and what it raises. */
async function reduce(events, initialMessages = []) {
  class Given extends AbstractAgent {
    run() {
      return new Observable((to) => {
        for (const event of events) to.next(event);
        to.complete();
      });
    }
    connect() {
      return this.run();
    }
  }
  const agent = new Given({ threadId: "t1", initialMessages });
  await agent.connectAgent();
  return agent.messages;
}

async function run({ id, script }) {
  try {
    const value = await new AsyncFunction(...Object.keys(SCOPE), script)(...Object.values(SCOPE));
    return { id, value: value ?? null };
  } catch (error) {
    return { id, error: { ...error, name: error.name, message: error.stack } };
  }
}

const SCOPE = { connect, ws, http, say, follow, settle, sleep, texts, types, text, reduce, buildResumeArray, Mapper, Observable, it };

for await (const line of createInterface({ input: process.stdin })) {
  run(JSON.parse(line)).then((said) => console.log(JSON.stringify(said)));
}
process.exit();
