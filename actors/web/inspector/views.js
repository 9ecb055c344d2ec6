/** The views of the inspector: the state, the lists, and the answers to *why?*. */

import { byId, drawEach, element, write } from "../dom.js";
import { bannerOf } from "./link.js";
import { cellView, classOf, headOf, setMood, tableView } from "./tables.js";
import { ago, count } from "./words.js";

const LINK_WORDS = { connecting: "Connecting", live: "Live", gone: "Server gone", locked: "Key needed" };

/** The link to the server, in words; and what is shown of the page while it is not live. */
export class LinkView {
  /**
   * @param {import("./link.js").Link} link
   * @param {{known: boolean, hasKey: boolean}} facts  `known` once there was an answer
   */
  draw(link, { known, hasKey }) {
    const { name, text } = link;
    byId("connection").dataset.state = byId("banner").dataset.state = name;
    write(byId("connection"), LINK_WORDS[name]);
    byId("banner").hidden = name !== "gone";
    byId("gate").hidden = name !== "locked";
    byId("inside").hidden = !known || name === "locked";
    byId("inside").dataset.stale = String(name === "gone");
    byId("forget").hidden = !hasKey || name === "locked";
    if (name === "locked") write(byId("gate-text"), text);
    if (name === "gone") write(byId("banner").firstElementChild, bannerOf(link, performance.now(), Date.now()));
  }
}

/** The signs of life. */
export class VitalsView {
  #views = new Map();

  draw(vitals) {
    drawEach(byId("vitals"), this.#views, vitals, vitalView);
  }
}

function vitalView({ label }) {
  const [value, note] = [element("b"), element("small")];
  const sign = element("div", {}, element("dt", {}, label), element("dd", {}, value, note));
  return {
    element: sign,
    update({ value: text, mood, note: more }) {
      setMood(sign, mood);
      write(value, text);
      write(note, more);
    },
  };
}

/** The events by stage: a bar in proportion, and the same as numbers. */
export class StagesView {
  #parts = new Map();
  #rows = new Map();

  draw(stages) {
    drawEach(byId("stages").querySelector(".bar"), this.#parts, stages, stagePart);
    drawEach(byId("stages").querySelector("dl"), this.#rows, stages, stageRow);
  }
}

function stagePart({ key }) {
  const part = element("i", { "data-stage": key });
  return {
    element: part,
    update({ count: number, share }) {
      part.hidden = number === 0;
      part.style.flexGrow = String(share);
    },
  };
}

function stageRow({ key, note }) {
  const value = element("b");
  const name = element("dt", {}, element("i", { "data-stage": key, "aria-hidden": "true" }), key);
  const row = element("div", {}, name, element("dd", {}, value, element("small", {}, note)));
  return {
    element: row,
    update({ count: number }) {
      row.dataset.none = String(number === 0);
      write(value, count(number));
    },
  };
}

// lists

const USER_COLUMNS = [
  { label: "User" },
  { label: "State" },
  { label: "Devices", number: true, wide: true },
  { label: "Lag", number: true },
  { label: "Not acked", number: true },
  { label: "Threads", number: true, wide: true },
  { label: "Runs", number: true, wide: true },
];

/** Users in a table, each with what is below it: devices, threads and runs. */
export function usersView() {
  const [body, views, open] = [element("tbody"), new Map(), new Set()];
  const head = element("thead", {}, element("tr", {}, ...USER_COLUMNS.map(headOf)));
  const caption = element("caption", { class: "unseen" }, "Users, and below each its devices, threads and runs");
  let drawn = [];
  const draw = (now) => {
    const items = drawn.flatMap((user) => (open.has(user.key) ? [user, { ...user, key: belowOf(user.key) }] : [user]));
    drawEach(body, views, items, make, now, open);
  };
  const make = ({ key }) => (key.startsWith("below ") ? belowView() : userView(key, toggle));
  const toggle = (key, now) => {
    if (!open.delete(key)) open.add(key);
    draw(now);
  };
  const table = element("table", { class: "users" }, caption, head, body);
  const none = element("p", { class: "none" }, "No user has devices or events here.");
  return {
    element: element("div", {}, table, none),
    update({ users }, now) {
      table.hidden = users.length === 0;
      none.hidden = users.length > 0;
      drawn = users.map((user) => ({ ...user, key: `user ${user.key}` }));
      draw(now);
    },
  };
}

const belowOf = (key) => `below ${key}`;

function userView(key, toggle) {
  let seen = 0;
  const button = element("button", { type: "button", class: "fold", "aria-expanded": "false" });
  const state = cellView(element("td"));
  const figures = USER_COLUMNS.slice(2).map((column) => element("td", classOf(column)));
  button.addEventListener("click", () => toggle(key, seen));
  return {
    element: element("tr", {}, element("th", { scope: "row" }, button), state.element, ...figures),
    update({ name, state: text, mood, figures: values }, now, open) {
      seen = now;
      write(button, name);
      button.setAttribute("aria-expanded", String(open.has(key)));
      state.update({ text, mood }, now);
      for (const [index, cell] of figures.entries()) write(cell, values[index][1]);
    },
  };
}

/** The row below a user. */
function belowView() {
  const [log, why] = [element("span"), element("a")];
  const [notes, devices] = [element("p", { class: "notes" }), tableView()];
  const [threads, runs] = [linksView("h3"), linksView("h3")];
  const none = element("p", { class: "none" }, "No device is connected.");
  const first = element("p", { class: "log" }, log, " ", why);
  const parts = [first, notes, devices.element, none, threads.element, runs.element];
  const cell = element("td", { colspan: USER_COLUMNS.length }, element("div", {}, ...parts));
  return {
    element: element("tr", { class: "below" }, cell),
    update(user, now) {
      write(log, user.log);
      write(why, `Why ${user.name}?`);
      why.setAttribute("href", user.href);
      write(notes, user.notes.join(" · "));
      notes.hidden = user.notes.length === 0;
      none.hidden = user.devices.rows.length > 0;
      devices.element.hidden = user.devices.rows.length === 0;
      devices.update(user.devices, now);
      threads.update("Threads", user.threads, user.moreThreads);
      runs.update("Runs", user.runs, user.moreRuns);
    },
  };
}

/** Links in a line, and how many more there are; nothing at all without any. */
export function linksView(heading = "h4") {
  const [title, list, more, views] = [element(heading), element("ul"), element("small"), new Map()];
  const whole = element("div", { class: "links" }, title, list, more);
  return {
    element: whole,
    update(name, links, others) {
      whole.hidden = links.length === 0;
      write(title, name);
      drawEach(list, views, links.map((link) => ({ key: link.href + link.text, ...link })), linkView);
      write(more, others > 0 ? `and ${count(others)} more` : "");
    },
  };
}

function linkView() {
  const cell = cellView(element("li"));
  return { element: cell.element, update: (link) => cell.update(link, 0) };
}

/** One table. */
export function listView(none) {
  const [table, empty] = [tableView(), element("p", { class: "none" }, none)];
  return {
    element: element("div", {}, table.element, empty),
    update(given, now) {
      table.element.hidden = given.rows.length === 0;
      empty.hidden = given.rows.length > 0;
      table.update(given, now);
    },
  };
}

const FEW = 10;

/** Tables with titles, each with its first rows until all are asked for. */
export function groupsView(none) {
  const [list, views, empty] = [element("div", { class: "groups" }), new Map(), element("p", { class: "none" }, none)];
  return {
    element: element("div", {}, list, empty),
    update({ groups }, now) {
      empty.hidden = groups.length > 0;
      drawEach(list, views, groups, groupView, now);
    },
  };
}

function groupView({ title, none = "", broad = false }) {
  let [all, last] = [false, null];
  const [note, table, more] = [element("p"), listView(none), element("button", { type: "button" })];
  const draw = (group, now) => {
    last = [group, now];
    const rows = all ? group.table.rows : group.table.rows.slice(0, FEW);
    write(note, group.note ?? "");
    write(more, `Show all ${count(group.table.rows.length)}`);
    more.hidden = rows.length === group.table.rows.length;
    table.update({ ...group.table, rows }, now);
  };
  more.addEventListener("click", () => {
    all = true;
    draw(...last);
  });
  const parts = [element("h3", {}, title), note, table.element, more];
  const whole = element("div", broad ? { class: "broad" } : {}, ...parts);
  return { element: whole, update: draw };
}

/** Failures, each with its traceback. */
export function failuresView() {
  const [list, views] = [element("ol", { class: "failures" }), new Map()];
  const empty = element("p", { class: "none" }, "No failure was recorded.");
  return {
    element: element("div", {}, list, empty),
    update({ failures }, now) {
      empty.hidden = failures.length > 0;
      drawEach(list, views, failures, failureView, now);
    },
  };
}

function failureView({ path, error, handling, traceback, href, at }) {
  const when = element("time", { datetime: new Date(at * 1000).toISOString() });
  const [what, where] = [element("b", {}, error), element("span", { class: "mono" }, path)];
  const summary = element("summary", {}, what, " ", where, " ", when);
  const about = element("p", {}, `It was handling ${handling || "nothing"}. `);
  if (href) about.append(element("a", { href }, `Why ${path}?`));
  const trace = element("pre", { tabindex: "0", "aria-label": "Traceback" }, traceback);
  return {
    element: element("li", {}, element("details", {}, summary, about, trace)),
    update(_, now) {
      write(when, ago(at, now));
    },
  };
}

// why?

/** Return the answer to one question, as a card. */
export function reasonView(reason, now) {
  const { title, sentence, mood, word, notes, links, steps, ranges, devices, threads, moreThreads } = reason;
  const verdict = cellView(element("span", { class: "word" }));
  verdict.update({ text: word, mood }, now);
  const said = element("p", { class: "sentence", "data-mood": mood }, sentence);
  const head = element("header", {}, element("h3", {}, title), verdict.element);
  const card = element("article", { class: "reason" }, head, said);
  if (notes.length > 0) card.append(element("ul", { class: "notes" }, ...notes.map((note) => element("li", {}, note))));
  if (steps.length > 0) card.append(element("ol", { class: "steps" }, ...steps.map((step) => element("li", {}, step))));
  for (const table of [ranges, devices].filter(Boolean)) card.append(...titled(table, now));
  for (const [name, found, more] of [["See also", links, 0], ["Threads", threads, moreThreads]]) {
    const line = linksView();
    line.update(name, found, more);
    card.append(line.element);
  }
  return card;
}

function titled(table, now) {
  const view = tableView();
  view.update(table, now);
  return [element("h4", {}, table.caption), view.element];
}

/** What is said where there is nothing to show. */
export const nothingView = (text) => element("p", { class: "none" }, text);
