/** Plots: a few lines over the last minutes, with their scale in words, and all of it as a text. */

import { element, write } from "../dom.js";
import { SPAN_SECONDS, roundUp, summary } from "./history.js";
import { duration, short } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [360, 64];

/** @typedef {{label: string, points: import("./history.js").Point[]}} Line */

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Return the line through some points as SVG's path has it; each hole begins another piece. */
export function pathOf(points, end, top) {
  let [path, open] = ["", false];
  for (const { at, value } of points) {
    if (value !== null) path += `${open ? "L" : "M"}${xOf(at, end)} ${yOf(value, top)}`;
    open = value !== null;
  }
  return path;
}

/** Return the areas below the line, closed at the ground. */
export function areaOf(points, end, top) {
  return piecesOf(points)
    .map((piece) => {
      const [from, to] = [xOf(piece[0].at, end), xOf(piece.at(-1).at, end)];
      return `M${from} ${HEIGHT}${pathOf(piece, end, top).replace("M", "L")}L${to} ${HEIGHT}Z`;
    })
    .join("");
}

function piecesOf(points) {
  const pieces = [[]];
  for (const point of points) {
    if (point.value === null) pieces.push([]);
    else pieces.at(-1).push(point);
  }
  return pieces.filter((piece) => piece.length > 0);
}

const rounded = (value) => Number(value.toFixed(1));
const xOf = (at, end) => rounded(WIDTH * (1 - (end - at) / SPAN_SECONDS));
const yOf = (value, top) => rounded(HEIGHT - (HEIGHT - 2) * (value / top));

/** One plot: a title, the value of now for each line, the lines, and the top of the scale. */
export class Plot {
  #unit;
  #lines;
  #top = element("span", { class: "top" });
  #svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  /** The text of the picture. */ #title;

  /** @param {string} title @param {string} unit  after each value @param {string[]} labels  of the lines */
  constructor(title, unit, labels) {
    this.#title = title;
    this.#unit = unit;
    this.#lines = labels.map((label, index) => newLine(label, index));
    for (const { area, line } of this.#lines) this.#svg.append(area, line);
    const legend = element("p", { class: "now" }, ...this.#lines.map(({ legend: one }) => one));
    const head = element("figcaption", {}, element("h3", {}, title), legend);
    this.element = element("figure", { class: "plot" }, head, element("div", {}, this.#svg, this.#top));
  }

  /** @param {import("./history.js").Point[][]} series  one for each line @param {number} end */
  draw(series, end) {
    const all = series.map(summary);
    const top = roundUp(Math.max(0, ...all.map(({ most }) => most ?? 0)));
    for (const [index, { area, line, value }] of this.#lines.entries()) {
      area.setAttribute("d", areaOf(series[index], end, top));
      line.setAttribute("d", pathOf(series[index], end, top));
      write(value, said(all[index].last));
    }
    write(this.#top, `${short(top)}${this.#unit}`);
    this.#svg.setAttribute("aria-label", this.#told(all));
  }

  #told(all) {
    const lines = this.#lines.map(({ label }, index) => {
      const { last, most } = all[index];
      return `${said(last)} ${label} now, ${said(most)} at most`;
    });
    return `${this.#title}, the last ${duration(SPAN_SECONDS)}: ${lines.join("; ")}`;
  }
}

const said = (value) => (value === null ? "–" : short(value));

function newLine(label, index) {
  const value = element("b", {}, "–");
  const legend = element("span", { "data-line": index }, value, " ", label);
  const area = shape("path", { class: "area", "data-line": index });
  const line = shape("path", { class: "line", "data-line": index, "vector-effect": "non-scaling-stroke" });
  return { label, value, legend, area, line };
}
