/**
 * The inspector: what a runtime does, second by second, and why an event is not where it should be.
 *
 * api.js asks; state.js, rows.js and reasons.js make of the answers what is shown; views.js draws it; this module
 * joins them.
 */

import { byId, drawEach, element, write } from "../dom.js";
import { concernsAll, get, key, post } from "./api.js";
import { History } from "./history.js";
import { answered, failed, newLink } from "./link.js";
import { LIST_OF, PAGE_SIZE, placeText } from "./lists.js";
import { LISTS, listAt, placeOf, subjectAt } from "./place.js";
import { Plot } from "./plots.js";
import { Questions } from "./questions.js";
import { isWell, sampleOf, stages, vitals } from "./state.js";
import { setMood } from "./tables.js";
import { LinkView, StagesView, VitalsView } from "./views.js";
import { count } from "./words.js";

const TICK_MS = 1_000;
const TYPING_MS = 250;
/** The list that is shown is asked for in every second tick. */
const LIST_TICKS = 2;

const announce = (text) => write(byId("announcer"), text);

/** The list that is shown, its page, and its view. */
class Shown {
  /** @type {(string | null)[]} The `after` of each page up to this one. */ pages = [null];
  prefix = "";
  answer = null;
  mark = null;
  age = 0;

  constructor(name) {
    this.name = name;
    this.list = LIST_OF[name];
    this.view = this.list.view();
    byId("list").replaceChildren(this.view.element);
  }

  get page() {
    return { after: this.pages.at(-1), prefix: this.prefix };
  }

  /** True if what is shown may have changed. */
  isDue(status) {
    if (!this.list.ask) return false;
    this.age += 1;
    return this.list.mark ? this.list.mark(status) !== this.mark : this.answer === null || this.age >= LIST_TICKS;
  }

  take(answer, status) {
    this.answer = answer;
    this.mark = this.list.mark?.(status);
    this.age = 0;
  }
}

/** The page. */
class Inspector {
  #link = newLink();
  #history = new History();
  #status = null;
  /** @type {Shown} */ #shown;
  #timer = 0;
  #busy = false;
  #again = false;
  #typing = 0;

  #questions = new Questions(announce, (refusal) => this.#failed(refusal));
  #vitals = new VitalsView();
  #stages = new StagesView();
  #linkView = new LinkView();
  #links = new Map();
  #plots = [
    [new Plot("Accepted", "/s", ["events/s"]), (all) => [all.rate("accepted")]],
    [new Plot("Delivered", "/s", ["acked/s", "frames/s"]), (all) => [all.rate("acked"), all.rate("written")]],
    [new Plot("Connections", "", ["open"]), (all) => [all.gauge("connections")]],
    [new Plot("Dropped", "/s", ["events/s"]), (all) => [all.rate("dropped")]],
  ];

  start() {
    byId("plots").append(...this.#plots.map(([plot]) => plot.element));
    this.#listen();
    setInterval(() => this.#drawLink(), 500);
    this.#go();
  }

  // what the person does

  #listen() {
    const on = (id, type, listener) => byId(id).addEventListener(type, listener);
    on("retry", "click", () => this.#wake());
    on("gate", "submit", (event) => this.#unlock(event));
    on("forget", "click", () => this.#forget());
    on("ask", "submit", (event) => this.#submit(event));
    on("subject", "input", ({ target }) => target.value === "" && this.#close());
    on("narrow", "submit", (event) => event.preventDefault());
    on("prefix", "input", () => this.#narrow());
    on("next", "click", () => this.#turn(() => this.#shown.pages.push(this.#shown.answer.after)));
    on("previous", "click", () => this.#turn(() => this.#shown.pages.pop()));
    on("list", "click", ({ target }) => target.dataset.release && this.#confirm(target.dataset.release));
    addEventListener("hashchange", () => this.#go());
    document.addEventListener("visibilitychange", () => this.#wake());
    addEventListener("online", () => this.#wake());
  }

  #go() {
    const { list, subject } = placeOf(location.hash);
    const name = list ?? this.#shown?.name ?? LISTS[0];
    if (name !== this.#shown?.name) this.#turnTo(name);
    if (subject !== null) this.#questions.ask(subject, this.#now);
  }

  #turnTo(name) {
    const first = this.#shown === undefined;
    this.#shown = new Shown(name);
    const { title, about = "", narrows = false } = this.#shown.list;
    byId("narrow").hidden = !narrows;
    byId("prefix").value = "";
    write(byId("list-title"), title);
    write(byId("list-about"), about);
    if (!first) announce(title);
    this.#draw();
    this.#wake();
  }

  #turn(act) {
    act();
    this.#shown.answer = null;
    this.#wake();
  }

  #narrow() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => {
      Object.assign(this.#shown, { prefix: byId("prefix").value, pages: [null] });
      this.#turn(() => {});
    }, TYPING_MS);
  }

  #unlock(event) {
    event.preventDefault();
    key.set(byId("key").value.trim());
    byId("key").value = "";
    this.#link = newLink();
    this.#wake();
  }

  #forget() {
    key.forget();
    this.#wake();
  }

  async #confirm(name) {
    const dialog = byId("confirm");
    write(byId("confirm-path"), name);
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
    if (dialog.returnValue !== "yes") return;
    try {
      await post("release", { path: name });
      announce(`${name} is back in service`);
      byId("list-title").focus();
    } catch (refusal) {
      this.#say(`${name} was not released: ${refusal.message}`);
    }
    this.#wake();
  }

  #submit(event) {
    event.preventDefault();
    const id = byId("subject").value.trim();
    if (!id) return;
    const fragment = subjectAt("any", id);
    if (location.hash === fragment) this.#go();
    else location.hash = fragment;
  }

  /** An empty question has no answer, and the address says what is shown. */
  #close() {
    this.#questions.close();
    history.replaceState(null, "", listAt(this.#shown.name));
  }

  // asking, as long as the page is looked at

  /** Ask now, or again as soon as the answers that are waited for are here. */
  #wake() {
    this.#again = this.#busy;
    if (this.#busy) return;
    clearTimeout(this.#timer);
    this.#tick();
  }

  async #tick() {
    if (document.visibilityState === "hidden") return;
    const began = performance.now();
    this.#busy = true;
    try {
      await this.#ask();
    } catch (refusal) {
      this.#failed(refusal);
    }
    this.#busy = false;
    if (this.#again) this.#wake();
    else if (this.#link.name !== "locked") this.#timer = setTimeout(() => this.#tick(), this.#pause(began));
  }

  #pause(began) {
    if (this.#link.name === "gone") return this.#link.again - performance.now();
    return Math.max(TICK_MS - (performance.now() - began), 0);
  }

  async #ask() {
    this.#status = await get("status");
    this.#history.add(sampleOf(this.#status));
    this.#enter(answered(this.#link, performance.now()));
    await this.#askList();
    this.#draw();
  }

  async #askList() {
    const shown = this.#shown;
    if (!shown.isDue(this.#status)) return;
    const page = JSON.stringify(shown.page);
    try {
      const answer = await shown.list.ask(shown.page);
      if (shown === this.#shown && page === JSON.stringify(shown.page)) shown.take(answer, this.#status);
    } catch (refusal) {
      if (concernsAll(refusal)) throw refusal;
      this.#say(`The list could not be asked for: ${refusal.message}.`);
    }
  }

  #failed(refusal) {
    const facts = { now: performance.now(), hasKey: key.get() !== "", chance: Math.random() };
    this.#enter(failed(this.#link, refusal, facts));
  }

  #enter(link) {
    const [before, { name, text }] = [this.#link.name, link];
    this.#link = link;
    this.#drawLink();
    if (name === before) return;
    if (name === "live") announce(before === "gone" ? "The server is back" : "Live");
    if (name === "gone") announce(text);
    if (name === "locked") byId("key").focus();
    if (before === "locked" && name === "live") byId("subject").focus();
    if (name === "live" && before === "locked") this.#go();
  }

  // drawing

  /** The time of the server, as far as it is known here. */
  get #now() {
    return this.#status?.at ?? Date.now() / 1000;
  }

  #draw() {
    if (this.#status === null) return;
    this.#drawState();
    this.#drawLists();
    this.#drawList();
  }

  #drawState() {
    const status = this.#status;
    write(byId("version"), `version ${status.version} · process ${status.pid}`);
    write(byId("matter"), status.text);
    setMood(byId("matter"), isWell(status) ? "" : "bad");
    this.#vitals.draw(vitals(status));
    this.#stages.draw(stages(status.events));
    for (const [plot, read] of this.#plots) plot.draw(read(this.#history), this.#history.end);
  }

  #drawLists() {
    const items = LISTS.map((name) => ({ key: name, total: LIST_OF[name].total?.(this.#status) }));
    drawEach(byId("lists"), this.#links, items, listLink, this.#shown.name);
  }

  #drawList() {
    const { list, answer, view, pages } = this.#shown;
    byId("pager").hidden = !list.noun || (pages.length === 1 && !answer?.after);
    byId("previous").disabled = pages.length === 1;
    byId("next").disabled = !answer?.after;
    if (list.ask && answer === null) return;
    view.update(list.show(answer, { status: this.#status, grown: (name) => this.#history.grown(name) }), this.#now);
    if (!list.noun) return this.#say("");
    const shown = (answer.users ?? answer.connections).length;
    this.#say(placeText(list, { from: (pages.length - 1) * PAGE_SIZE, shown, total: answer.total }));
  }

  #say(text) {
    write(byId("list-note"), text);
    byId("list-note").hidden = text === "";
  }

  #drawLink() {
    this.#linkView.draw(this.#link, { known: this.#status !== null, hasKey: key.get() !== "" });
  }
}

function listLink({ key: name }) {
  const [text, total] = [LIST_OF[name].title, element("small")];
  const link = element("a", { href: listAt(name) }, text, " ", total);
  return {
    element: link,
    update({ total: number }, shown) {
      if (name === shown) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      write(total, number === undefined ? "" : count(number));
    },
  };
}

new Inspector().start();
