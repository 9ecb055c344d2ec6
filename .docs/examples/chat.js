import { connect } from "./actors.js";

const token = location.hash.slice(1); // what stands after the # is sent to no server
const session = connect(new URL("ws", location.href), { token, from: "low" });
const log = document.querySelector("#log");
let threadId;

function paragraph(key, text) {
  const found = [...log.children].find((one) => one.dataset.key === key) ?? document.createElement("p");
  found.dataset.key = key;
  found.append(text);
  log.append(found);
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = event.target.elements.text.value;
  session.send({ text }, { threadId }).catch((error) => paragraph(crypto.randomUUID(), error.message));
  event.target.reset();
});

session.addEventListener("state", () => {
  document.querySelector("#state").textContent = session.state.name;
});

for await (const item of session) {
  if (item.kind === "gap" || item.kind === "reset") paragraph(crypto.randomUUID(), "Some of it is gone.");
  if (item.kind !== "event") continue;
  threadId = item.thread_id;
  if (item.type === "user_message") paragraph(item.event_id, `You: ${item.payload.text}`);
  if (item.type === "agent_delta") paragraph(item.run_id, item.payload.text);
}
