/** The last minutes of a runtime, as rates: what its counters said, second by second. Pure. */

/** The time that is kept and shown. */
export const SPAN_SECONDS = 180;

/** Two samples that are further apart have a hole between them: the tab was hidden, or the server was gone. */
const HOLE_SECONDS = 5;

/**
 * @typedef {{at: number, value: number | null}} Point  null is a hole
 * @typedef {object} Sample
 * @property {number} at  seconds, by the clock of the server
 * @property {string} life  of the server: a counter begins anew with it
 * @property {Object<string, number>} counters
 * @property {Object<string, number>} gauges
 */

/** The samples of the last minutes, oldest first. */
export class History {
  /** @type {Sample[]} */ samples = [];

  /** @param {Sample} sample */
  add(sample) {
    this.samples.push(sample);
    const low = sample.at - SPAN_SECONDS - HOLE_SECONDS;
    while (this.samples[0].at < low) this.samples.shift();
  }

  /** The time of the newest sample; what is drawn ends there. */
  get end() {
    return this.samples.at(-1)?.at ?? 0;
  }

  /** Return the values of a gauge. @returns {Point[]} */
  gauge(name) {
    const points = [];
    for (const [index, { at, gauges }] of this.samples.entries()) {
      if (index > 0 && this.#isHole(index)) points.push({ at, value: null });
      points.push({ at, value: gauges[name] });
    }
    return points;
  }

  /** Return how much a counter grew in each second. @returns {Point[]} */
  rate(name) {
    const points = [];
    for (let index = 1; index < this.samples.length; index += 1) {
      const [before, { at, counters }] = [this.samples[index - 1], this.samples[index]];
      const grown = (counters[name] - before.counters[name]) / (at - before.at);
      points.push({ at, value: this.#isHole(index) || Number.isNaN(grown) ? null : Math.max(grown, 0) });
    }
    return points;
  }

  /** Return how much a counter has grown within the span; a server that began anew has counted from nothing. */
  grown(name) {
    let sum = 0;
    for (let index = 1; index < this.samples.length; index += 1) {
      const [before, now] = [this.samples[index - 1], this.samples[index]];
      const from = now.life !== before.life ? 0 : (before.counters[name] ?? 0);
      sum += Math.max((now.counters[name] ?? 0) - from, 0);
    }
    return sum;
  }

  #isHole(index) {
    const [before, now] = [this.samples[index - 1], this.samples[index]];
    return now.at - before.at > HOLE_SECONDS || now.at <= before.at || now.life !== before.life;
  }
}

/** Return the last value and the largest of some points; null without any. */
export function summary(points) {
  const values = points.map(({ value }) => value).filter((value) => value !== null);
  return { last: points.at(-1)?.value ?? null, most: values.length > 0 ? Math.max(...values) : null };
}

/** Return the round number at or above a value that a scale ends with: 1, 2 or 5, and noughts. */
export function roundUp(value) {
  if (value <= 1) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * size).find((step) => step >= value * 0.999);
}
