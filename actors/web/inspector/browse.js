/** The lists, one of which is shown: turning to it, to its pages, and to a part of it. */

import { byId, drawEach, element, write } from "../dom.js";
import { concernsAll } from "./api.js";
import { LIST_OF, PAGE_SIZE, placeText } from "./lists.js";
import { LISTS, listAt } from "./place.js";
import { count } from "./words.js";

const TYPING_MS = 250;
/** The list that is shown is asked for with every second status. */
const LIST_TICKS = 2;

/** The list that is shown, its page, and its view. */
class Shown {
  /** @type {(string | null)[]} The `after` of each page up to this one. */ pages = [null];
  prefix = "";
  behind = false;
  answer = null;
  #mark = null;
  #age = 0;

  constructor(name) {
    this.name = name;
    this.list = LIST_OF[name];
    this.view = this.list.view();
    byId("list").replaceChildren(this.view.element);
  }

  get page() {
    return { after: this.pages.at(-1), prefix: this.prefix, behind: this.behind };
  }

  /** True if what is shown may have changed. */
  isDue(status) {
    this.#age += 1;
    if (!this.list.ask || this.answer === null) return Boolean(this.list.ask);
    return this.#age >= LIST_TICKS && (!this.list.mark || this.list.mark(status) !== this.#mark);
  }

  take(answer, status) {
    this.answer = answer;
    this.#mark = this.list.mark?.(status);
    this.#age = 0;
  }
}

/** The part of the page that is browsed. */
export class Browse {
  #announce;
  #wake;
  /** @type {Shown} */ #shown;
  #links = new Map();
  #typing = 0;

  /**
   * @param {(text: string) => void} announce
   * @param {() => void} wake  ask the server now
   */
  constructor(announce, wake) {
    this.#announce = announce;
    this.#wake = wake;
    const on = (id, type, listener) => byId(id).addEventListener(type, listener);
    on("narrow", "submit", (event) => event.preventDefault());
    on("prefix", "input", () => this.#narrow());
    on("behind", "change", ({ target }) => this.#select({ behind: target.checked }));
    on("next", "click", () => this.#turn(() => this.#shown.pages.push(this.#shown.answer.after)));
    on("previous", "click", () => this.#turn(() => this.#shown.pages.pop()));
  }

  /** The name of the list; none at first. */
  get name() {
    return this.#shown?.name;
  }

  turnTo(name) {
    const first = this.#shown === undefined;
    this.#shown = new Shown(name);
    const { title, about = "", narrows = false, selects = false } = this.#shown.list;
    byId("narrow").hidden = !narrows;
    byId("prefix").value = "";
    byId("only").hidden = !selects;
    byId("behind").checked = false;
    write(byId("list-title"), title);
    write(byId("list-about"), about);
    if (!first) this.#announce(title);
  }

  #turn(act) {
    act();
    this.#shown.answer = null;
    this.#wake();
  }

  #narrow() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#select({ prefix: byId("prefix").value }), TYPING_MS);
  }

  #select(choice) {
    this.#turn(() => Object.assign(this.#shown, choice, { pages: [null] }));
  }

  /** Ask for the page that is shown, if it may have changed. Throws Refused for what concerns other requests, too. */
  async ask(status) {
    const shown = this.#shown;
    if (!shown.isDue(status)) return;
    const page = JSON.stringify(shown.page);
    try {
      const answer = await shown.list.ask(shown.page);
      if (shown === this.#shown && page === JSON.stringify(shown.page)) shown.take(answer, status);
    } catch (refusal) {
      if (concernsAll(refusal)) throw refusal;
      this.say(`The list could not be asked for: ${refusal.message}.`);
    }
  }

  /** @param {import("./history.js").History} history */
  draw(status, history) {
    const items = LISTS.map((name) => ({ key: name, total: LIST_OF[name].total?.(status) }));
    drawEach(byId("lists"), this.#links, items, listLink, this.#shown.name);
    const { list, answer, view, pages, behind } = this.#shown;
    byId("pager").hidden = !list.noun || (pages.length === 1 && !answer?.after);
    byId("previous").disabled = pages.length === 1;
    byId("next").disabled = !answer?.after;
    if (list.ask && answer === null) return;
    view.update(list.show(answer, { status, grown: (name) => history.grown(name) }), status.at);
    if (!list.noun) return this.say("");
    const shown = (answer.users ?? answer.connections).length;
    const [from, more] = [(pages.length - 1) * PAGE_SIZE, answer.after !== null];
    this.say(placeText(list, { from, shown, more, total: answer.total, behind }));
  }

  say(text) {
    write(byId("list-note"), text);
    byId("list-note").hidden = text === "";
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
