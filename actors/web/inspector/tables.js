/** Tables whose rows and cells stay while what is in them changes: nothing flickers, and no link loses the focus. */

import { drawEach, element, write } from "../dom.js";
import { ago } from "./words.js";

/** @typedef {import("./rows.js").Table} Table @typedef {import("./rows.js").Cell} Cell */

/** Make a table with a caption for screen readers. */
export function tableView() {
  const [caption, head, body] = [element("caption", { class: "unseen" }), element("tr"), element("tbody")];
  const rows = new Map();
  return {
    element: element("table", {}, caption, element("thead", {}, head), body),
    /** @param {Table} table @param {number} now  the time, in seconds since 1970 */
    update({ caption: text, columns, rows: all }, now) {
      write(caption, text);
      if (head.childElementCount === 0) head.append(...columns.map(headOf));
      drawEach(body, rows, all, () => rowView(columns), now);
    },
  };
}

export const headOf = (column) => element("th", { scope: "col", ...classOf(column) }, column.label);

export function classOf({ number, wide }) {
  const names = [number && "number", wide && "wide"].filter(Boolean);
  return names.length > 0 ? { class: names.join(" ") } : {};
}

function rowView(columns) {
  const cells = columns.map((column) => cellView(element("td", classOf(column))));
  return {
    element: element("tr", {}, ...cells.map((cell) => cell.element)),
    update(row, now) {
      for (const [index, cell] of cells.entries()) cell.update(row.cells[index], now);
    },
  };
}

/** Make what is in a cell: a text, a link, a time or a button, and a note below it. */
export function cellView(node) {
  let [tag, main] = ["", element("span")];
  const note = element("small");
  node.append(main);
  return {
    element: node,
    /** @param {Cell} cell */
    update({ text, href, mood = "", note: more = "", mono = false, at, release }, now) {
      const wanted = release ? "button" : href ? "a" : at ? "time" : "span";
      if (wanted !== tag) main.replaceWith((main = element((tag = wanted), release ? { type: "button" } : {})));
      if (href && main.getAttribute("href") !== href) main.setAttribute("href", href);
      if (release) Object.assign(main.dataset, { release });
      if (at) main.dateTime = main.title = new Date(at * 1000).toISOString();
      main.classList.toggle("mono", mono);
      setMood(main, mood);
      write(main, at ? ago(at, now) : text);
      write(note, more);
      if (more && !note.isConnected) node.append(note);
      if (!more) note.remove();
    },
  };
}

/** Show in what state a thing is by a colour, beside the words that say it. */
export function setMood(node, mood) {
  if ((node.dataset.mood ?? "") === mood) return;
  if (mood) node.dataset.mood = mood;
  else delete node.dataset.mood;
}
