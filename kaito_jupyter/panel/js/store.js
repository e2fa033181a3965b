// What the front end knows of one run: columns of numbers and a status, filled by the kernel's messages.
//
// A message is {k, g, at, n, e, m, s, t} and one buffer of float64: n rows of each of COLUMNS, then e[1] held-out rows
// of each of EVALUATIONS, column after column. k is "all" (take all anew) or "new" (rows at index `at`, held-out rows at
// e[0], changed keys of the status). g counts the kernel's resends; a "new" that does not fit asks for "all".
// Other words: "log" (lines), "again" (what became of starting the run again), "refused" (why something was not done).

import { LogLines } from "./loglines.js";

export const COLUMNS = ["step", "loss", "rate", "tokens", "time"];
export const EVALUATIONS = ["step", "loss"];

/** Columns that grow: float64, doubled when full. */
export class Columns {
  constructor(names) {
    this.names = names;
    this.clear();
  }

  clear() {
    this.length = 0;
    for (const name of this.names) this[name] = new Float64Array(256);
  }

  /** Append `count` rows from `values` (column after column), starting at `offset`; returns the offset after them. */
  append(values, offset, count) {
    const needed = this.length + count;
    for (const name of this.names) {
      if (needed > this[name].length) {
        const larger = new Float64Array(Math.max(needed, 2 * this[name].length));
        larger.set(this[name].subarray(0, this.length));
        this[name] = larger;
      }
      this[name].set(values.subarray(offset, offset + count), this.length);
      offset += count;
    }
    this.length = needed;
    return offset;
  }

  column(name) {
    return this[name].subarray(0, this.length);
  }
}

/** A buffer as float64: the bytes may lie anywhere in a message, so they are copied to where floats may start. */
function floats(view) {
  if (!view) return new Float64Array(0);
  const start = view.byteOffset || 0;
  return new Float64Array((view.buffer || view).slice(start, start + (view.byteLength & ~7)));
}

export class Store {
  constructor(send) {
    this.send = send;
    this.rows = new Columns(COLUMNS);
    this.evaluations = new Columns(EVALUATIONS);
    this.status = {};
    this.generation = null;
    this.skew = 0; // seconds that the kernel's clock is ahead of ours
    this.heard = 0; // when the kernel last said something, by our clock, in ms
    this.live = false; // has a kernel spoken, or do we show a saved picture of the run?
    this.log = new LogLines(); // what of the log was sent, while somebody looks at it
    this.again = null; // what became of starting the run again: {state, text, name}
    this.refused = ""; // why the kernel could not do what was asked
    this.listeners = new Set();
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed(what) {
    for (const listener of this.listeners) listener(what);
  }

  /** The kernel's clock, in seconds. */
  now() {
    return Date.now() / 1000 + this.skew;
  }

  /** Take a message. Returns false when it does not fit what is here, and then nothing was taken. */
  apply(message, buffers, live = true) {
    if (live) {
      this.heard = Date.now();
      this.live = true;
      if (message.t) this.skew = message.t - this.heard / 1000;
    }
    if (message.k === "log") {
      const fits = this.log.apply(message);
      this.changed("log");
      if (!fits) this.send({ k: "log", on: true });
      return true;
    }
    if (message.k === "again") {
      this.again = message;
      this.changed("again");
      return true;
    }
    if (message.k === "refused") {
      this.refused = message.text;
      this.changed("refused");
      return true;
    }
    if (message.k !== "all" && message.k !== "new") return true;
    const [at, more] = message.e;
    if (message.k === "all") {
      this.rows.clear();
      this.evaluations.clear();
      this.status = {};
      this.generation = message.g;
    } else if (
      message.g !== this.generation || message.at !== this.rows.length || at !== this.evaluations.length
    ) {
      return false;
    }
    const values = floats(buffers && buffers[0]);
    const offset = this.rows.append(values, 0, message.n);
    this.evaluations.append(values, offset, more);
    Object.assign(this.status, message.s);
    if ("left" in message.s) this.status.at = message.t; // the estimate's time, from which the clock counts on
    this.changed(message.k);
    return true;
  }
}
