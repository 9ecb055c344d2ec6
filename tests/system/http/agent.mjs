// An agent in JavaScript: node agent.mjs http://127.0.0.1:8766 KEY
const [url, key] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };

async function call(method, path, body) {
  const answer = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(`${told.error.name}: ${told.error.message}`);
  return told;
}

const thread = "/v1/threads/node";
await call("PUT", `${thread}/owner`, { user_id: "alice" });
const run = await call("POST", "/v1/runs", { thread_id: "node", agent_name: "node", run_id: "r1" });

async function* tokens() {
  for (const text of ["one ", "two ", "three"]) {
    const line = { type: "agent_delta", thread_id: "node", run_id: run.run_id, payload: { text } };
    yield new TextEncoder().encode(JSON.stringify(line) + "\n");
  }
}
const answered = await fetch(`${url}/v1/events`, {
  method: "POST",
  headers: { ...headers, "Content-Type": "application/x-ndjson" },
  body: ReadableStream.from(tokens()),
  duplex: "half",
});
const receipts = (await answered.text()).trim().split("\n").map((line) => JSON.parse(line));

const question = { type: "approval", payload: { text: "Deploy?" }, timeout_s: 20 };
const { payload } = await call("POST", `${thread}/asks`, question);
await call("POST", `/v1/runs/${run.run_id}/end`, { outcome: "completed", result: payload });
console.log(JSON.stringify({ receipts, answer: payload }));
