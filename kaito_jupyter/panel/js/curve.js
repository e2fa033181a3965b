// From all rows to the few that a chart of some hundred pixels can show. No DOM here.

/** Index of the first value that is not below `limit`, in sorted `values`. */
export function lowerBound(values, limit) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Weight of the past of an average whose half-life is this share of the whole curve: what a curve needs depends on its
 * length. It changes when the number of rows has doubled, not with each row.
 */
export function weight(share, length) {
  return share > 0 && length ? 0.5 ** (1 / Math.max(2, share * 2 ** Math.ceil(Math.log2(length)))) : 0;
}

/** An exponential moving average that grows with its data; early values are not pulled to zero (as in Adam). */
export class Smooth {
  constructor(weight) {
    this.reset(weight);
  }

  reset(weight) {
    this.weight = weight;
    this.length = 0;
    this.mean = 0;
    this.mass = 0;
    this.values = new Float64Array(256);
  }

  /** Take in the values that are new at the end. Fewer than before means: another curve, begin again. */
  update(values) {
    if (values.length < this.length) this.reset(this.weight);
    if (values.length > this.values.length) {
      const larger = new Float64Array(Math.max(values.length, 2 * this.values.length));
      larger.set(this.values.subarray(0, this.length));
      this.values = larger;
    }
    for (let i = this.length; i < values.length; i++) {
      const value = values[i];
      if (value === value) {
        this.mean = this.weight * this.mean + (1 - this.weight) * value;
        this.mass = this.weight * this.mass + (1 - this.weight);
      }
      this.values[i] = this.mass > 0 ? this.mean / this.mass : NaN;
    }
    this.length = values.length;
    return this.values.subarray(0, this.length);
  }
}

/**
 * Where each row lies on the axis of tokens or time: the same numbers, but never falling (a trainer that was restarted may
 * count anew) and without holes. Rows before the first known value have none (NaN).
 */
export class Along {
  constructor() {
    this.reset();
  }

  reset(start = 0) {
    this.start = start;
    this.length = 0;
    this.last = NaN;
    this.values = new Float64Array(256);
  }

  /** Take in the values that are new at the end; `start` is what counts as zero. */
  update(values, start = 0) {
    if (values.length < this.length || start !== this.start) this.reset(start);
    if (values.length > this.values.length) {
      const larger = new Float64Array(Math.max(values.length, 2 * this.values.length));
      larger.set(this.values.subarray(0, this.length));
      this.values = larger;
    }
    for (let i = this.length; i < values.length; i++) {
      const value = values[i] - start;
      if (value === value && !(value < this.last)) this.last = value;
      this.values[i] = this.last;
    }
    this.length = values.length;
    return this.values.subarray(0, this.length);
  }
}

/** Where a step lies on an axis on which the rows' `steps` lie at `places`: between its neighbours. */
export function place(steps, places, step) {
  if (!steps.length) return step === 0 ? 0 : NaN;
  const at = lowerBound(steps, step);
  if (at >= steps.length) return places[steps.length - 1];
  if (steps[at] === step || !(places[at] === places[at])) return places[at];
  const [before, left] = at ? [steps[at - 1], places[at - 1]] : [0, 0];
  if (left !== left) return places[at];
  return left + ((places[at] - left) * (step - before)) / (steps[at] - before);
}

/** A part of [low, high]: `range` made larger or smaller around `center`. Null when that is all of it. */
export function zoomed(range, [low, high], factor, center, least) {
  const [from, to] = range;
  const width = Math.max(least, (to - from) * factor);
  if (width >= high - low) return null;
  const share = to > from ? (center - from) / (to - from) : 0.5;
  const begin = Math.min(Math.max(low, center - share * width), high - width);
  return [begin, begin + width];
}

/** `range` moved by a share of its width, inside [low, high]. */
export function moved([from, to], [low, high], share) {
  const width = to - from;
  const begin = Math.min(Math.max(low, from + share * width), Math.max(low, high - width));
  return [begin, begin + width];
}

/**
 * Indices of the rows from `begin` to `end` that are worth drawing, at most about `most`: of each bucket the rows with
 * the smallest and the largest value, so that no spike is lost.
 */
export function pick(values, begin, end, most) {
  const total = end - begin;
  if (total <= most) return Uint32Array.from({ length: total }, (_, i) => begin + i);
  const buckets = Math.max(1, most >> 1);
  const chosen = [];
  for (let bucket = 0; bucket < buckets; bucket++) {
    const from = begin + Math.floor((bucket * total) / buckets);
    const to = begin + Math.floor(((bucket + 1) * total) / buckets);
    let low = from;
    let high = from;
    for (let i = from + 1; i < to; i++) {
      if (values[i] < values[low] || values[low] !== values[low]) low = i;
      if (values[i] > values[high] || values[high] !== values[high]) high = i;
    }
    if (low === high) chosen.push(low);
    else if (low < high) chosen.push(low, high);
    else chosen.push(high, low);
  }
  if (chosen[chosen.length - 1] !== end - 1) chosen.push(end - 1);
  if (chosen[0] !== begin) chosen.unshift(begin);
  return Uint32Array.from(chosen);
}

/** Smallest and largest finite value of several lists, or null. With `positive`, of those above zero. */
export function extent(lists, positive = false) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists) {
    for (const value of list) {
      if (value === null || value !== value || (positive && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}
