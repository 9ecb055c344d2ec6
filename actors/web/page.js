/**
 * The demonstration's page: conversations over `actors.v1`, and every event behind them.
 *
 * actors.js is the connection, model.js makes conversations of events, views.js draws them; this module joins them.
 */

import { connect } from "/actors.js";
import { byId, element, write } from "/dom.js";
import { CuttableWebSocket } from "/line.js";
import {
  activeRuns,
  addActive,
  addAsk,
  adopt,
  asksIn,
  confirm,
  endUnseen,
  fold,
  newConversations,
  newMessage,
  newNotice,
  newThread,
  runIdOf,
  threadOf,
  titleOf,
  withdraw,
} from "/model.js";
import { ConnectionView, Follower, RecoveryView, Timeline, drawAll, explain } from "/views.js";

/** @typedef {import("./model.js").Thread} Thread */

const LAST_OF_A_RUN = new Set(["agent_completed", "agent_failed", "agent_cancelled"]);

const WIDE = "(min-width: 62rem)";

const HINTS = {
  live: "Enter sends, Shift+Enter breaks the line, Escape stops",
  naming: "The conversation is being opened; the next message can follow in a moment",
  connecting: "Connecting. You can write already, and send in a moment",
  gone: "The server is gone, so nothing can be sent. What you write stays here",
  refused: "Not connected, so nothing can be sent. What you write stays here",
};

/** The page: the conversation that it shows, and the user's actions. */
class Page {
  #user = new URLSearchParams(location.search).get("user") || "guest";
  /** From `low`, because a page that is loaded anew has stored nothing. */
  #session = connect("/ws", { token: this.#user, from: "low", WebSocket: CuttableWebSocket });
  #conversations = newConversations();
  #draft = newThread(null);
  /** @type {string | null} The thread that is shown; null is the draft. */ #shownId = threadInAddress();
  /** True while the draft gives way to the first thread, until the user asks for a new conversation. */
  #following = true;
  #live = false;
  #acked = 0;
  #drawTimer = 0;
  /** @type {Set<string>} Runs that were asked to stop. */ #stopping = new Set();

  #connection = new ConnectionView();
  #recovery = new RecoveryView();
  #timeline = new Timeline();
  #views = new Map();
  /** @type {Thread | null} */ #drawn = null;
  #conversationFollower = new Follower(byId("conversation"), (away) => (byId("latest").hidden = !away));
  #timelineFollower = new Follower(byId("timeline"));

  start() {
    this.#subscribe();
    this.#listen();
    this.#showEvents(matchMedia(WIDE).matches);
    this.#draw();
    byId("message").focus();
  }

  get #thread() {
    return this.#shownId === null ? this.#draft : threadOf(this.#conversations, this.#shownId);
  }

  // events of the session

  #subscribe() {
    const on = (type, listener) => this.#session.addEventListener(type, ({ detail }) => listener(detail));
    for (const kind of ["event", "gap", "reset", "caught_up"]) on(kind, (item) => this.#recovery.count(item));
    on("state", (state) => this.#setState(state));
    on("acked", (offset) => this.#noteAck(offset));
    on("event", (event) => this.#addEvent(event));
    on("gap", ({ from, to, cause }) => this.#notice(`The events at offsets ${from} to ${to} are gone (${cause})`));
    on("reset", (reset) => this.#startOver(reset));
    on("active", (run) => this.#isActive(run));
    on("inactive", (run) => this.#isOver(run));
    on("ask", (ask) => this.#addAsk(ask));
    on("ask_closed", ({ id }) => this.#removeAsk(id));
  }

  #setState(state) {
    this.#live = state.name === "live";
    this.#connection.enter(state);
    this.#recovery.enter(state, this.#session.cursor?.offset);
    if (this.#live) this.#follow(this.#conversations.events.at(-1));
    this.#draw();
  }

  #addEvent(event) {
    this.#checkStart(event);
    fold(this.#conversations, event);
    if (LAST_OF_A_RUN.has(event.type)) this.#stopping.delete(event.run_id);
    if (!this.#live) return;
    this.#follow(event);
    if (event.thread_id === this.#shownId) this.#announceEnd(event);
    this.#drawSoon();
  }

  #noteAck(offset) {
    this.#acked = offset;
    this.#drawSoon();
  }

  /** A log that does not begin with offset 1 has lost the events before to retention. */
  #checkStart({ offset, seq, seq0 = seq }) {
    const first = offset - seq + seq0;
    if (this.#conversations.events.length > 0 || first <= 1) return;
    this.#notice(`The events before offset ${first} are gone (retention)`);
  }

  /** A page that shows no conversation switches to the first one, so that all tabs show the same. */
  #follow(event) {
    const free = this.#following && this.#shownId === null && this.#draft.outgoing.length === 0;
    if (free && event) this.#turnDraftInto(event.thread_id);
  }

  #startOver({ low, cause }) {
    this.#conversations = newConversations(this.#conversations.asks);
    this.#stopping.clear();
    this.#acked = low - 1;
    this.#draft = newThread(null);
    this.#show(null);
    this.#following = true;
    if (cause) this.#fault(cause);
    else this.#notice("The server was restarted; the earlier conversation is gone");
  }

  #fault(text) {
    console.error(`actors: ${text}`);
    this.#notice(`A fault of the server, so this page has begun anew: ${text}`, true);
  }

  #isActive(run) {
    addActive(this.#conversations, run);
    this.#follow(run);
    this.#drawSoon();
  }

  #isOver(run) {
    endUnseen(this.#conversations, run);
    this.#stopping.delete(run.run_id);
    this.#drawSoon();
  }

  #addAsk(ask) {
    addAsk(this.#conversations, ask);
    this.#follow(ask);
    announce(`A question: ${this.#conversations.asks.get(ask.id).text}`);
    this.#drawSoon();
  }

  #removeAsk(id) {
    this.#conversations.asks.delete(id);
    this.#drawSoon();
  }

  /** Notices about the log go into each conversation, because all of them share it. */
  #notice(text, fault = false) {
    for (const thread of [this.#draft, ...this.#conversations.threads.values()]) {
      thread.entries.push(newNotice(text, this.#session.cursor?.offset ?? 0, fault));
    }
    announce(text);
    this.#drawSoon();
  }

  /** Announced to screen readers as a whole, because token by token it would be noise. */
  #announceEnd(event) {
    if (!LAST_OF_A_RUN.has(event.type)) return;
    const run = this.#thread.runs.get(runIdOf(event));
    const texts = run?.steps.filter((step) => step.kind === "answer" || step.kind === "ending") ?? [];
    announce(`${run?.agent}: ${texts.map((step) => step.text).join(" ") || run?.state}`);
  }

  // actions of the user

  #listen() {
    byId("composer").addEventListener("submit", (event) => this.#submit(event));
    byId("message").addEventListener("keydown", (event) => this.#typed(event));
    byId("message").addEventListener("input", () => this.#drawComposer());
    byId("stop").addEventListener("click", () => this.#stopByButton());
    byId("new").addEventListener("click", () => this.#begin());
    byId("retry").addEventListener("click", () => this.#retry());
    byId("cut").addEventListener("click", () => this.#cutOrMend());
    byId("entries").addEventListener("submit", (event) => this.#answer(event));
    byId("latest").addEventListener("click", () => this.#conversationFollower.catchUp());
    byId("toggle").addEventListener("click", () => this.#showEvents(byId("events").hidden));
    byId("threads").addEventListener("change", ({ target }) => this.#show(target.value || null));
    document.addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && this.#stop());
    addEventListener("hashchange", () => this.#show(threadInAddress()));
  }

  #typed(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#submit(event);
  }

  #submit(event) {
    event.preventDefault();
    const box = byId("message");
    // The server would end the connection for half of a surrogate pair.
    const text = box.value.trim().toWellFormed?.() ?? box.value.trim();
    if (!text || !this.#sendable) return;
    box.value = "";
    this.#send(text);
  }

  /** One message at a time until the server has named the thread, because a second one would open another. */
  get #sendable() {
    return this.#live && !(this.#shownId === null && this.#draft.outgoing.length > 0);
  }

  async #send(text) {
    const [thread, message] = [this.#thread, newMessage(text)];
    thread.outgoing.push(message);
    this.#draw();
    this.#conversationFollower.catchUp();
    try {
      this.#stored(thread, message, await this.#session.send({ text }, { threadId: thread.id ?? undefined }));
    } catch (refusal) {
      this.#giveBack(thread, message, refusal);
    }
  }

  #stored(thread, message, { thread_id, event_id }) {
    message.eventId = event_id;
    if (thread === this.#draft) this.#turnDraftInto(thread_id);
    confirm(threadOf(this.#conversations, thread_id), message, event_id);
    this.#drawSoon();
  }

  /** A message that was refused goes back into the box. */
  #giveBack(thread, message, refusal) {
    withdraw(thread, message);
    byId("message").value = [message.text, byId("message").value].filter(Boolean).join("\n");
    const text = `Your message was not taken: ${refusal.message} (${refusal.name}). It is in the box again`;
    this.#thread.entries.push(newNotice(text, this.#session.cursor?.offset ?? 0));
    announce(text);
    this.#draw();
  }

  async #stop() {
    if (!this.#live) return;
    const runs = activeRuns(this.#thread).filter((run) => !this.#stopping.has(run.id));
    for (const run of runs) this.#stopping.add(run.id);
    this.#drawComposer();
    await Promise.all(runs.map((run) => this.#cancel(run.id)));
  }

  /** The button disappears, so the focus moves to the box first. */
  #stopByButton() {
    this.#stop();
    byId("message").focus();
  }

  async #cancel(runId) {
    try {
      const { running = [] } = await this.#session.cancel(runId);
      for (const id of running) this.#stopping.delete(id);
    } catch (refusal) {
      this.#stopping.delete(runId);
      this.#notice(`The run could not be stopped: ${refusal.message} (${refusal.name})`);
    }
  }

  #begin() {
    this.#draft = newThread(null);
    this.#following = false;
    this.#show(null);
    byId("message").focus();
  }

  /** The question stays, as being answered, until the server closes it on every screen at once. */
  async #answer(event) {
    event.preventDefault();
    const ask = this.#conversations.asks.get(event.target.dataset.ask);
    const { name, value } = event.submitter?.name ? event.submitter : event.target.elements.text;
    ask.answering = true;
    byId("message").focus();
    this.#draw();
    try {
      await this.#session.answer(ask.id, { [name]: value });
    } catch (refusal) {
      ask.answering = false;
      this.#notice(`Your answer was not taken: ${refusal.message} (${refusal.name})`);
    }
  }

  #retry() {
    CuttableWebSocket.mend();
    this.#session.connect();
    byId("message").focus();
  }

  #cutOrMend() {
    if (CuttableWebSocket.isCut) return this.#retry();
    CuttableWebSocket.cut();
    this.#draw();
  }

  #turnDraftInto(id) {
    adopt(threadOf(this.#conversations, id), this.#draft);
    this.#draft = newThread(null);
    if (this.#shownId === null) this.#show(id);
  }

  #show(id) {
    this.#shownId = id;
    const address = id === null ? location.pathname + location.search : `#${encodeURIComponent(id)}`;
    history.replaceState(null, "", address);
    this.#draw();
    this.#conversationFollower.catchUp();
    this.#timelineFollower.catchUp();
  }

  #showEvents(shown) {
    byId("events").hidden = !shown;
    byId("toggle").setAttribute("aria-expanded", String(shown));
    this.#timelineFollower.catchUp();
  }

  // drawing

  /** Draw once for all events within a frame. A timer, because a tab in the background has no animation frames. */
  #drawSoon() {
    this.#drawTimer ||= setTimeout(() => this.#draw(), 16);
  }

  #draw() {
    clearTimeout(this.#drawTimer);
    this.#drawTimer = 0;
    this.#drawConversation(this.#thread);
    this.#drawComposer();
    this.#drawThreads();
    this.#drawPlace();
    this.#connection.draw();
    this.#conversationFollower.follow();
    this.#timelineFollower.follow();
  }

  /** @param {Thread} thread */
  #drawConversation(thread) {
    if (thread !== this.#drawn) this.#turnTo(thread);
    const entries = [...thread.entries, ...asksIn(this.#conversations, thread.id), ...thread.outgoing];
    byId("empty").hidden = entries.some((entry) => entry.kind !== "notice");
    drawAll(byId("entries"), this.#views, entries, this.#acked);
    this.#timeline.draw(thread, this.#acked);
  }

  #turnTo(thread) {
    this.#drawn = thread;
    this.#views.clear();
    byId("entries").replaceChildren();
  }

  #drawComposer() {
    const active = activeRuns(this.#thread);
    const stopping = active.every((run) => this.#stopping.has(run.id));
    if (active.length === 0 && document.activeElement === byId("stop")) byId("message").focus();
    byId("stop").hidden = active.length === 0;
    byId("stop").disabled = !this.#live || stopping;
    byId("send").disabled = !this.#sendable || byId("message").value.trim() === "";
    write(byId("hint"), this.#hint());
  }

  #hint() {
    if (this.#live) return this.#sendable ? HINTS.live : HINTS.naming;
    return CuttableWebSocket.isCut ? HINTS.refused : HINTS[byId("connection").dataset.state];
  }

  #drawThreads() {
    const threads = [...this.#conversations.threads.values()].reverse();
    const choices = this.#shownId === null ? [this.#draft, ...threads] : threads;
    const made = choices.map((thread) => element("option", { value: thread.id ?? "" }, this.#labelOf(thread)));
    const select = byId("threads");
    const same = made.length === select.length && made.every((option, at) => option.isEqualNode(select.options[at]));
    if (!same) select.replaceChildren(...made);
    select.value = this.#shownId ?? "";
  }

  #labelOf(thread) {
    const asking = asksIn(this.#conversations, thread.id).length > 0;
    return `${asking ? "Asks: " : ""}${titleOf(thread)}`;
  }

  #drawPlace() {
    const { epoch, offset } = this.#session.cursor ?? {};
    const log = epoch ? `Log of ${this.#user}, epoch ${epoch}\nSeen to offset ${offset}, acked to ${this.#acked}` : "";
    write(byId("cut"), CuttableWebSocket.isCut ? "Mend my connection" : "Cut my connection");
    const forgetful = this.#thread.forgetful ? "\nThe oldest events are not kept in this page" : "";
    write(byId("place"), log + forgetful);
  }
}

function announce(text) {
  byId("announcer").textContent = text;
}

for (const node of document.querySelectorAll("[data-words]")) explain(node, ...node.dataset.words.split(" "));

/** Return the thread id in the page's address. */
function threadInAddress() {
  const named = location.hash.slice(1);
  try {
    return decodeURIComponent(named) || null;
  } catch {
    return named;
  }
}

new Page().start();
