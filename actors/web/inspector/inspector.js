/**
 * The inspector: what a runtime does, second by second, and why an event is not where it should be.
 *
 * api.js asks; state.js, rows.js and reasons.js make of the answers what is shown; views.js draws it; this module
 * joins them.
 */

import { byId, write } from "../dom.js";
import { get, key, post } from "./api.js";
import { Browse } from "./browse.js";
import { History } from "./history.js";
import { answered, failed, newLink } from "./link.js";
import { LISTS, listAt, placeOf, subjectAt } from "./place.js";
import { Plot } from "./plots.js";
import { Questions } from "./questions.js";
import { isWell, matterOf, sampleOf, stages, vitals } from "./state.js";
import { setMood } from "./tables.js";
import { LinkView, StagesView, VitalsView } from "./views.js";

const TICK_MS = 1_000;

const announce = (text) => write(byId("announcer"), text);

/** The page. */
class Inspector {
  #link = newLink();
  #history = new History();
  #status = null;
  #timer = 0;
  #busy = false;
  #again = false;

  #questions = new Questions(announce, (refusal) => this.#failed(refusal));
  #vitals = new VitalsView();
  #stages = new StagesView();
  #linkView = new LinkView();
  #browse = new Browse(announce, () => this.#wake());
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
    on("list", "click", ({ target }) => target.dataset.release && this.#confirm(target.dataset.release));
    addEventListener("hashchange", () => this.#go());
    document.addEventListener("visibilitychange", () => this.#wake());
    addEventListener("online", () => this.#wake());
  }

  #go() {
    const { list, subject } = placeOf(location.hash);
    const name = list ?? this.#browse.name ?? LISTS[0];
    if (name !== this.#browse.name) {
      this.#browse.turnTo(name);
      this.#draw();
      this.#wake();
    }
    if (subject !== null && ["live", "gone"].includes(this.#link.name)) this.#questions.ask(subject, this.#now);
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
      this.#browse.say(`${name} was not released: ${refusal.message}`);
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
    history.replaceState(null, "", listAt(this.#browse.name));
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
    await this.#browse.ask(this.#status);
    this.#draw();
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
    if (name === "live" && before === "connecting") this.#begin();
  }

  /** The first answer is here, so that the person may ask, and what the address asks is asked. */
  #begin() {
    if (document.activeElement === document.body) byId("subject").focus();
    this.#go();
  }

  // drawing

  /** The time of the server, as far as it is known here. */
  get #now() {
    return this.#status?.at ?? Date.now() / 1000;
  }

  #draw() {
    if (this.#status === null) return;
    this.#drawState();
    this.#browse.draw(this.#status, this.#history);
  }

  #drawState() {
    const status = this.#status;
    write(byId("version"), `version ${status.version} · process ${status.pid}`);
    write(byId("matter"), matterOf(status));
    setMood(byId("matter"), isWell(status) ? "" : "bad");
    this.#vitals.draw(vitals(status));
    this.#stages.draw(stages(status.events));
    for (const [plot, read] of this.#plots) plot.draw(read(this.#history), this.#history.end);
  }

  #drawLink() {
    this.#linkView.draw(this.#link, { known: this.#status !== null, hasKey: key.get() !== "" });
  }
}

new Inspector().start();
