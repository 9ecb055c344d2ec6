/** The page: one thread, which it follows across its runs. What it shows comes of AG-UI's events, and nothing else. */

import { connect } from "/actors.js";
import { ThreadStream } from "/agui/streams.js";

import { Consumer } from "./consumer.js";

const $ = (selector) => document.querySelector(selector);
const threadId = location.hash.slice(1) || `agui-${Array.from(crypto.getRandomValues(new Uint32Array(3))).join("-")}`;
history.replaceState(null, "", `#${threadId}`);

const session = connect("/ws", { token: "alice" });
const consumer = new Consumer();

session.addEventListener("state", ({ detail: { name } }) => {
  $("#connection").dataset.state = $("#connection").textContent = name;
});

const stream = new ThreadStream(session, threadId, undefined, { next: show, error: fail, complete: () => {} });
stream.follow();

function show(event) {
  consumer.take(event);
  $("#events").append(element("li", event.type, { type: event.type }));
  $("#events").lastChild.scrollIntoView({ block: "nearest" });
  $("#messages").replaceChildren(...consumer.messages.map(shown));
  $("#questions").replaceChildren(...consumer.interrupts.map(asked));
  $("#stop").disabled = !consumer.isRunning;
}

function fail(error) {
  $("#messages").append(element("li", error.message, { role: "error" }));
}

function element(name, text, data = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  Object.assign(made.dataset, data);
  return made;
}

function shown({ role, content, toolCalls }) {
  const called = toolCalls?.[0].function;
  if (called) return element("li", `${called.name}(${called.arguments})`, { role: "call" });
  return element("li", typeof content === "string" ? content : JSON.stringify(content), { role });
}

function asked({ id, message, metadata }) {
  const question = element("p", message ?? "Shall it go on?", { question: id });
  for (const choice of metadata["trio-actors"].payload.choices ?? ["yes", "no"]) {
    const button = element("button", choice, { choice });
    button.addEventListener("click", () => {
      session.answer(id, { choice }).catch(() => {}); // another tab was first, and the stream shows what it said
      $("#text").focus();
    });
    question.append(" ", button);
  }
  return question;
}

$("#form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("#text").value.trim();
  if (text) session.send({ text, id: `u-${Date.now()}` }, { threadId }).catch(fail);
  $("#text").value = "";
});
$("#stop").addEventListener("click", () => stream.cancel());
