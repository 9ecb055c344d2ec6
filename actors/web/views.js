/** The views: they draw conversations, questions, events and the state of the connection. */

import { byId, drawEach, element, write } from "/dom.js";
import { CuttableWebSocket } from "/line.js";
import { asText, plural, stageOf } from "/model.js";

/**
 * @typedef {import("./actors.d.ts").EventItem} LogEvent
 * @typedef {import("./actors.d.ts").State} State
 * @typedef {import("./model.js").Thread} Thread
 */

function badge(stage = "") {
  return element("span", { class: "stage", "data-stage": stage }, stage);
}

function stamp(node, stage) {
  if (node.dataset.stage !== stage) explain(node, stage);
  node.dataset.stage = stage;
  write(node, stage);
}

/** Explain terms, as a tooltip and to screen readers; the page has each explanation once, under an id. */
export function explain(node, ...words) {
  const ids = words.map((word) => `about-${word}`);
  node.title = ids.map((id) => byId(id).textContent).join("\n");
  node.setAttribute("aria-describedby", ids.join(" "));
  return node;
}

/** One view for each item, by its kind. */
export function drawAll(parent, views, items, acked) {
  drawEach(parent, views, items, (item) => VIEWS[item.kind](item), acked);
}

const VIEWS = {
  message: messageView,
  run: runView,
  notice: noticeView,
  ask: askView,
  thinking: thinkingView,
  tool: toolView,
  answer: () => textView("answer"),
  ending: () => textView("ending"),
};

function messageView(message) {
  const text = element("p", { class: "user-message" }, message.text);
  const place = explain(element("span"), "seq", "offset");
  const stage = badge();
  const meta = element("p", { class: "meta" }, place, stage);
  return {
    element: element("article", { class: "message", "aria-label": "You" }, text, meta),
    update({ event, eventId }, acked) {
      stamp(stage, (text.dataset.stage = stageOf(event, acked, eventId !== null)));
      write(place, event ? `seq ${event.seq} · offset ${event.offset}` : "");
    },
  };
}

function runView(run) {
  const state = element("span", { class: "state" });
  const agent = element("span", { class: "agent" });
  const head = element("header", {}, agent, state);
  const [steps, views] = [element("div", { class: "steps" }), new Map()];
  const [place, stage] = [explain(element("span"), "offset"), badge()];
  const foot = element("p", { class: "meta" }, place, stage);
  const attributes = { class: "run", "data-run": run.id, "aria-label": `Run of ${run.agent}` };
  const card = element("article", attributes, head, steps, foot);
  return {
    element: card,
    update({ agent: name, state: now, steps: all, events, first, last }, acked) {
      card.dataset.state = now;
      write(agent, name);
      write(state, now);
      drawAll(steps, views, all, acked);
      if (events === 0) return;
      write(place, `${plural(events, "event")} · offsets ${first} to ${last}`);
      stamp(stage, stageOf({ offset: last }, acked));
    },
  };
}

function noticeView(notice) {
  return { element: element("p", { class: "notice", "data-fault": notice.fault }, notice.text), update() {} };
}

const untilWhen = (deadline) =>
  deadline === Infinity ? "No hurry" : `Can be answered until ${new Date(deadline).toLocaleTimeString()}`;

/** A form: the label of the button that was pressed, or the text, is the answer. */
function askView({ id, text, choices, deadline }) {
  const buttons = choices.map((choice) => element("button", { name: "choice", value: choice }, choice));
  const written = element("input", { name: "text", required: "", "aria-label": "Answer", autocomplete: "off" });
  const controls = choices.length > 0 ? buttons : [written, element("button", {}, "Answer")];
  const until = element("p", { class: "meta" }, untilWhen(deadline));
  const fields = element("fieldset", {}, element("legend", {}, text), ...controls);
  return {
    element: element("form", { class: "ask", "data-ask": id }, fields, until),
    update({ answering }) {
      fields.disabled = answering;
    },
  };
}

function thinkingView(step) {
  const label = element("span", { class: "label" }, "Thinking");
  return { element: element("p", { class: "thinking" }, label, step.text), update() {} };
}

function toolView(tool) {
  const [state, result] = [element("span", { class: "state" }), element("code", { class: "result" })];
  const name = element("span", { class: "tool-name" }, tool.name);
  const given = element("code", { class: "arguments" }, shown(tool.arguments));
  const body = element("dl", {}, element("dt", {}, "Arguments"), element("dd", {}, given));
  const outcome = [element("dt", {}, "Result"), element("dd", {}, result)];
  const card = element("div", { class: "tool" }, element("p", {}, name, state), body);
  return {
    element: card,
    update({ state: now, result: value }) {
      card.dataset.state = now;
      write(state, now);
      if (now === "executing") return;
      write(result, shown(value));
      if (!outcome[0].isConnected) body.append(...outcome);
    },
  };
}

/** Text that only grows: the nodes stay, so that a reader's selection does. */
function textView(name) {
  const text = document.createTextNode("");
  return {
    element: element("p", { class: name }, text),
    update(step) {
      if (text.length < step.text.length) text.appendData(step.text.slice(text.length));
    },
  };
}

function shown(value) {
  if (value === undefined) return "none";
  return typeof value === "string" ? value : JSON.stringify(value, null, 1).replaceAll(/\n\s*/g, " ");
}

/** The list of events, one row each. */
export class Timeline {
  #body = byId("timeline").querySelector("tbody");
  /** @type {Thread | null} */ #thread = null;
  /** @type {Map<LogEvent, HTMLElement>} */ #rows = new Map();
  /** @type {Set<LogEvent>} */ #unacked = new Set();

  constructor() {
    this.#body.addEventListener("toggle", ({ target }) => unfold(target), true);
  }

  /** @param {Thread} thread */
  draw(thread, acked) {
    if (thread !== this.#thread) this.#turnTo(thread);
    this.#forget(thread.events[0]?.offset ?? Infinity);
    this.#add(thread.events);
    this.#stamp(acked);
    byId("no-events").hidden = this.#rows.size > 0;
  }

  #turnTo(thread) {
    this.#thread = thread;
    this.#rows.clear();
    this.#unacked.clear();
    this.#body.replaceChildren();
  }

  #forget(low) {
    for (const [event, row] of this.#rows) {
      if (event.offset >= low) break;
      row.remove();
      this.#rows.delete(event);
      this.#unacked.delete(event);
    }
  }

  #add(events) {
    let known = events.length;
    while (known > 0 && !this.#rows.has(events[known - 1])) known -= 1;
    for (const event of events.slice(known)) {
      this.#rows.set(event, eventRow(event));
      this.#unacked.add(event);
      this.#body.append(this.#rows.get(event));
    }
  }

  #stamp(acked) {
    for (const event of this.#unacked) {
      const row = this.#rows.get(event);
      row.dataset.stage = stageOf(event, acked);
      stamp(row.querySelector(".stage"), row.dataset.stage);
      if (event.offset <= acked) this.#unacked.delete(event);
    }
  }
}

/** @param {LogEvent} event */
function eventRow(event) {
  const { event_id, type, seq, seq0, offset } = event;
  const summary = element("summary", {}, element("b", {}, type), " ", element("span", {}, gist(event)));
  const whole = element("pre", { tabindex: "0", "aria-label": "The event as it came" });
  const details = element("details", {}, summary, whole);
  const attributes = { "data-event": event_id ?? "", "data-type": type, "data-seq": seq, "data-offset": offset };
  const seqs = seq0 === undefined || seq0 === seq ? String(seq) : `${seq0}–${seq}`;
  const cells = [String(offset), seqs, details, badge()].map((cell) => element("td", {}, cell));
  const row = element("tr", attributes, ...cells);
  CAME_AS.set(details, event);
  return row;
}

/** The details of a row, written when it is opened, because most never are. */
const CAME_AS = new WeakMap();

function unfold(details) {
  const { kind, ...event } = CAME_AS.get(details);
  write(details.lastElementChild, JSON.stringify(event, null, 2));
  if (details.open) details.scrollIntoView({ block: "nearest" });
}

/** Return the gist of an event, in a few words. */
function gist({ payload }) {
  const words = payload.text ?? payload.thought ?? payload.tool_name ?? payload.agent_name ?? payload.reason;
  return asText(words ?? payload.error?.message ?? "").slice(0, 80);
}

/** Keeps the newest entry in view, unless the reader has scrolled away. */
export class Follower {
  #scroller;
  #onAway;
  #away = false;

  /**
   * @param {HTMLElement} scroller
   * @param {(away: boolean) => void} [onAway]
   */
  constructor(scroller, onAway = () => {}) {
    this.#scroller = scroller;
    this.#onAway = onAway;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
  }

  follow() {
    if (!this.#away) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Scroll to the newest entry. */
  catchUp() {
    this.#away = false;
    this.follow();
    this.#onAway(false);
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#away = scrollHeight - scrollTop - clientHeight > 64;
    this.#onAway(this.#away);
  }
}

/** The state of the connection, always visible, in words. */
export class ConnectionView {
  #banner = byId("banner");
  #clock = 0;
  /** @type {State} */ #state = { name: "connecting" };
  /** The time it was entered, by `performance.now()`. */ #entered = 0;
  #failed = false;

  /** True during attempts to reconnect as well, so that the view does not blink. */
  get gone() {
    return this.#state.name === "waiting" || (this.#state.name === "connecting" && this.#failed);
  }

  /** @param {State} state */
  enter(state) {
    this.#failed = state.name !== "live" && (this.#failed || state.name === "waiting");
    this.#state = state;
    this.#entered = performance.now();
    clearInterval(this.#clock);
    if (state.name === "waiting") this.#clock = setInterval(() => this.draw(), 200);
    this.draw();
  }

  draw() {
    const { name, leaving, code } = this.#state;
    const words = { connecting: "Connecting", live: "Live", refused: code === 4500 ? "Replaced" : "Refused" };
    const cut = CuttableWebSocket.isCut;
    const shown = this.gone ? "gone" : name;
    byId("connection").dataset.state = this.#banner.dataset.state = shown;
    write(byId("connection"), this.gone ? (cut ? "Cut off" : "Server gone") : words[name]);
    this.#banner.hidden = shown !== "gone" && shown !== "refused" && leaving === undefined;
    byId("retry").hidden = leaving !== undefined;
    write(byId("retry"), cut ? "Mend the connection" : this.gone ? "Retry now" : "Connect again");
    write(this.#banner.firstElementChild, this.#bannerText());
  }

  #bannerText() {
    const { name, leaving } = this.#state;
    if (leaving !== undefined) {
      return `The server is about to leave. This page comes back by itself, ${Math.ceil(leaving / 1000)} s after that.`;
    }
    return name === "refused" ? this.#whenRefused() : this.#whenGone();
  }

  #whenGone() {
    const { reason, waitMs } = this.#state;
    const what = CuttableWebSocket.isCut ? "You have cut this page off" : "The server is gone";
    if (waitMs === undefined) return `${what}. Trying to reach the server now.`;
    const seconds = Math.max(1, Math.ceil((this.#entered + waitMs - performance.now()) / 1000));
    return `${what}${reason ? ` (${reason})` : ""}. Trying again in ${seconds} s.`;
  }

  #whenRefused() {
    const { reason, code } = this.#state;
    if (code === 4500) return "Another connection has taken this page's place. It does not come back by itself.";
    return `The server refused this page: ${reason || "it gave no reason"} (code ${code}).`;
  }
}

/** The last outage, and the events that were replayed after it. */
export class RecoveryView {
  #element = byId("recovery");
  #since = 0;
  #away = false;
  #counts = { cuts: 0, replayed: 0, gaps: 0, resets: 0 };
  #range = [];

  /** @param {State} state @param {number} [offset]  the last one seen; none before the first connection */
  enter({ name }, offset) {
    if (name !== "waiting" || this.#away || offset === undefined) return;
    this.#away = true;
    this.#since = performance.now();
    this.#counts = { cuts: this.#counts.cuts + 1, replayed: 0, gaps: 0, resets: 0 };
    this.#range = [];
    this.#show(`Lost the connection after offset ${offset}`);
  }

  /** @param {import("./actors.d.ts").Item} item */
  count(item) {
    if (!this.#away) return;
    if (item.kind === "gap") this.#counts.gaps += 1;
    if (item.kind === "reset") this.#counts.resets += 1;
    if (item.kind === "event") this.#replayed(item);
    if (item.kind === "caught_up") this.#back();
  }

  #replayed({ offset, seq, seq0 = seq }) {
    this.#counts.replayed += 1 + seq - seq0;
    this.#range = [this.#range[0] ?? offset - seq + seq0, offset];
  }

  #back() {
    this.#away = false;
    const { replayed, gaps, resets } = this.#counts;
    const which = replayed === 0 ? "" : ` (offsets ${this.#range.join(" to ")})`;
    const rest = `${plural(gaps, "gap")}, ${plural(resets, "reset")}`;
    const seconds = ((performance.now() - this.#since) / 1000).toFixed(1);
    this.#show(`Back after ${seconds} s: ${plural(replayed, "event")} replayed${which}, ${rest}`);
  }

  #show(text) {
    Object.assign(this.#element.dataset, this.#counts, { away: this.#away });
    write(this.#element, text);
  }
}
