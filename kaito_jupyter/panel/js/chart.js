// The curve: uPlot with our axes, marks, zoom, cursor and theme.

import uPlot from "uplot";
import { axes } from "./axes.js";
import { Along, Smooth, extent, lowerBound, moved, pick, place, weight, zoomed } from "./curve.js";
import { drawHeldOut, drawMarks } from "./marks.js";
import { known, short } from "./numbers.js";

const HEIGHT = 232;
const POINTS = 2400; // rows drawn at once: two a pixel of a wide panel
const NEAR = 7; // pixels between the cursor and a mark that it tells of

export class Chart {
  /** `onCursor(values | null)` tells what is under the cursor, `onZoom(zoomed)` whether a part of the curve is shown. */
  constructor(host, store, look, { onCursor, onZoom }) {
    this.host = host;
    this.store = store;
    this.look = look; // {smoothing, log, axis, loss, held, rate, marks}: what the user chose to see
    this.onCursor = onCursor;
    this.onZoom = onZoom;
    this.smooth = new Smooth(0);
    this.along = new Along();
    this.window = null; // the part of the axis that is shown; null for all
    this.row = null; // the row at which the keyboard's cursor stands
    this.colors = null;
    this.plot = null;
    this.shape = "";
    this.index = new Uint32Array(0);
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(host);
    host.addEventListener("keydown", (event) => this.onKey(event));
    host.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    host.addEventListener("blur", () => this.point(null));
  }

  destroy() {
    this.resize.disconnect();
    if (this.plot) this.plot.destroy();
    this.plot = null;
  }

  fit() {
    const width = this.host.clientWidth;
    if (!width) return;
    if (!this.plot) this.draw();
    else if (width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  setColors(colors) {
    this.colors = colors;
    this.shape = "";
    this.draw();
  }

  setZoom(range) {
    this.window = range;
    this.onZoom(Boolean(range));
    this.draw();
  }

  setAxis(axis) {
    this.look.axis = axis;
    this.along.reset();
    this.setZoom(null);
  }

  /** All rows came anew: a curve that was remembered is void. */
  reset() {
    this.smooth.reset(this.smooth.weight);
    this.along.reset();
    this.row = null;
  }

  /** Where each row lies on the axis that is shown. */
  places() {
    const { rows } = this.store;
    if (this.look.axis === "tokens") return this.along.update(rows.column("tokens"));
    if (this.look.axis === "time") return this.along.update(rows.column("time"), this.begun());
    return rows.column("step");
  }

  /** When the training began, which is the zero of the axis of time. */
  begun() {
    const first = this.store.rows.column("time").find(known);
    const phase = (this.store.status.phases || []).find(([name, began]) => name === "training" && known(began));
    return phase && phase[1] <= first ? phase[1] : known(first) ? first : 0;
  }

  draw() {
    const width = this.host.clientWidth;
    if (!width || !this.colors || this.store.rows.length + this.store.evaluations.length === 0) return;
    const data = this.data();
    const shape = [this.look.log, this.look.rate, this.look.axis, this.look.smoothing > 0].join();
    if (!this.plot || shape !== this.shape) {
      if (this.plot) this.plot.destroy();
      this.shape = shape;
      this.plot = new uPlot(this.options(width), data, this.host);
    } else {
      this.plot.setData(data);
    }
  }

  /** What uPlot draws: places, loss, smoothed loss, learning rate; few enough to be quick at any length of run. */
  data() {
    const { rows } = this.store;
    const losses = rows.column("loss");
    const rates = rows.column("rate");
    const places = this.places();
    const memory = weight(this.look.smoothing, losses.length);
    if (this.smooth.weight !== memory) this.smooth.reset(memory);
    const smoothed = this.smooth.update(losses);
    let begin = 0;
    while (begin < places.length && places[begin] !== places[begin]) begin += 1;
    let end = places.length;
    if (this.window) {
      const head = begin;
      const tail = places.subarray(head);
      begin = head + Math.max(0, lowerBound(tail, this.window[0]) - 1);
      end = Math.min(end, head + lowerBound(tail, this.window[1]) + 1);
    }
    this.index = pick(losses, begin, end, POINTS);
    const clean = (values, shown = true) =>
      Array.from(this.index, (i) => {
        const value = values[i];
        return !shown || value !== value || (this.look.log && value <= 0) ? null : value;
      });
    return [
      Array.from(this.index, (i) => places[i]),
      clean(losses, this.look.loss),
      clean(smoothed, this.look.loss && this.look.smoothing > 0),
      Array.from(this.index, (i) => (this.look.rate && rates[i] === rates[i] ? rates[i] : null)),
    ];
  }

  /** [place, loss] of each held-out loss. */
  heldOut() {
    if (!this.look.held) return [];
    const { evaluations } = this.store;
    const [steps, places] = [this.store.rows.column("step"), this.places()];
    const losses = evaluations.column("loss");
    return Array.from(evaluations.column("step"), (step, i) => [
      this.look.axis === "step" ? step : place(steps, places, step), losses[i],
    ]);
  }

  marks() {
    if (!this.look.marks) return [];
    const [steps, places] = [this.store.rows.column("step"), this.places()];
    return (this.store.status.marks || [])
      .map(([kind, step, text]) => ({ kind, text, x: this.look.axis === "step" ? step : place(steps, places, step) }))
      .filter(({ x }) => known(x));
  }

  /** All of the axis that there is to show. */
  whole() {
    const places = this.places();
    const ends = places.length ? [places.find(known) ?? NaN, places[places.length - 1]] : [];
    const found = extent([ends, this.heldOut().map(([x]) => x), this.marks().map(({ x }) => x)]);
    if (!found) return [0, 10];
    return found[0] === found[1] ? [found[0], found[0] + 10] : found;
  }

  rangeY(u) {
    const within = this.heldOut().filter(([x]) => !this.window || (x >= this.window[0] && x <= this.window[1]));
    const found = extent([u.data[1], u.data[2], within.map(([, loss]) => loss)], this.look.log);
    if (!found) return this.look.log ? [0.1, 10] : [0, 1];
    const [low, high] = found;
    if (this.look.log) return [low / 1.08, high * 1.08];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  }

  options(width) {
    const { colors, look } = this;
    return {
      width,
      height: HEIGHT,
      padding: [10, look.rate ? 4 : 12, 0, 2],
      legend: { show: false },
      cursor: {
        drag: { x: true, y: false, setScale: false },
        y: false,
        points: { size: 7, width: 2, stroke: (u, i) => [null, colors.loss, colors.loss, colors.rate][i], fill: colors.back },
      },
      scales: {
        x: { time: false, range: () => this.window || this.whole() },
        y: { distr: look.log ? 3 : 1, range: (u) => this.rangeY(u) },
        rate: { range: (u) => [0, ((extent([u.data[3]]) || [0, 1])[1] || 1) * 1.08] },
      },
      axes: axes(look, colors),
      series: [
        {},
        { stroke: look.smoothing > 0 ? colors.faint : colors.loss, width: look.smoothing > 0 ? 1 : 1.5, spanGaps: true, points: this.dots(colors.loss) },
        { stroke: colors.loss, width: 2, spanGaps: true, points: { show: false } },
        { stroke: colors.rate, width: 1.25, dash: [2, 3], scale: "rate", spanGaps: true, points: { show: false } },
      ],
      hooks: {
        drawAxes: [(u) => drawMarks(u, uPlot.pxRatio, this.colors, this.marks())],
        drawSeries: [(u, i) => i === 2 && drawHeldOut(u, uPlot.pxRatio, this.colors, this.heldOut())],
        setSelect: [(u) => this.select(u)],
        setCursor: [(u) => this.hover(u)],
        ready: [(u) => u.over.addEventListener("dblclick", () => this.setZoom(null))],
      },
    };
  }

  /** A few rows are dots: a line of one point would not be seen. */
  dots(color) {
    return { show: (u) => u.data[0].length <= 40, size: 4, stroke: color, fill: color };
  }

  select(u) {
    const { left, width } = u.select;
    if (width < 6) return;
    const range = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (range[1] - range[0] >= this.least()) this.setZoom(range);
  }

  /** The narrowest part that is worth showing. */
  least() {
    const [low, high] = this.whole();
    return this.look.axis === "step" ? 1 : Math.max(1e-3, (high - low) / 1e5);
  }

  zoom(factor, center) {
    const [from, to] = this.window || this.whole();
    const around = known(center) ? Math.min(Math.max(center, from), to) : (from + to) / 2;
    this.setZoom(zoomed([from, to], this.whole(), factor, around, this.least()));
  }

  pan(share) {
    if (this.window) this.setZoom(moved(this.window, this.whole(), share));
  }

  onWheel(event) {
    if (!this.plot || !this.store.rows.length) return;
    const turned = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
    if (event.ctrlKey || event.metaKey) {
      const { left } = this.plot.over.getBoundingClientRect();
      this.zoom(2 ** Math.max(-1, Math.min(1, event.deltaY / 120)), this.plot.posToVal(event.clientX - left, "x"));
    } else if (turned && this.window) {
      this.pan(turned / this.plot.over.clientWidth);
    } else {
      return; // the page's to scroll
    }
    event.preventDefault();
  }

  onKey(event) {
    if (event.target !== this.host || event.ctrlKey || event.metaKey || event.altKey || !this.plot) return;
    const rows = this.store.rows.length;
    const at = this.row === null ? null : this.places()[this.row];
    const stride = Math.max(1, Math.ceil(this.index.length ? (this.index[this.index.length - 1] - this.index[0]) / POINTS : 1));
    const go = (by) => this.point(this.row === null ? (by > 0 ? this.index[0] : this.index[this.index.length - 1]) : this.row + by);
    const keys = {
      ArrowLeft: () => (event.shiftKey && this.window ? this.pan(-0.25) : go(event.shiftKey ? -10 * stride : -stride)),
      ArrowRight: () => (event.shiftKey && this.window ? this.pan(0.25) : go(event.shiftKey ? 10 * stride : stride)),
      Home: () => this.point(0),
      End: () => this.point(rows - 1),
      "+": () => this.zoom(0.5, at),
      "=": () => this.zoom(0.5, at),
      "-": () => this.zoom(2, at),
      0: () => this.setZoom(null),
      Escape: () => this.point(null),
    };
    if (!keys[event.key] || !rows) return;
    event.preventDefault();
    keys[event.key]();
  }

  /** Set the cursor onto a row, and bring it into sight; onto none with null. */
  point(row) {
    if (row === null || row === undefined) {
      if (this.row === null || !this.plot) return;
      this.row = null;
      this.plot.setCursor({ left: -10, top: -10 });
      return;
    }
    this.row = Math.min(Math.max(0, row), this.store.rows.length - 1);
    const x = this.places()[this.row];
    if (this.window && (x < this.window[0] || x > this.window[1])) {
      const width = this.window[1] - this.window[0];
      this.setZoom(moved([x - width / 2, x + width / 2], this.whole(), 0));
    }
    this.plot.setCursor({ left: this.plot.valToPos(x, "x"), top: 20 });
  }

  hover(u) {
    const { idx, left } = u.cursor;
    if (!(left >= 0) || idx === null || idx === undefined || idx >= this.index.length) {
      this.onCursor(null);
      return;
    }
    const row = this.index[idx];
    const { rows, evaluations } = this.store;
    const step = rows.step[row];
    const upto = lowerBound(evaluations.column("step"), step + 1) - 1;
    const at = u.valToPos(u.data[0][idx], "x");
    this.onCursor({
      step,
      loss: rows.loss[row],
      smooth: this.look.smoothing > 0 ? this.smooth.values[row] : NaN,
      rate: rows.rate[row],
      tokens: rows.tokens[row],
      time: rows.time[row] - this.begun(),
      held: upto >= 0 ? evaluations.loss[upto] : NaN,
      heldAt: upto >= 0 ? evaluations.step[upto] : NaN,
      marks: this.marks().filter(({ x }) => Math.abs(u.valToPos(x, "x") - left) <= NEAR).map(({ text }) => text),
      left: u.over.offsetLeft + at,
      width: u.width,
      byKey: this.row !== null,
    });
  }

  /** The curve in words, for who cannot see it. */
  words() {
    const { rows, evaluations } = this.store;
    if (!rows.length) return "Loss by step. Nothing has been logged yet.";
    const last = rows.length - 1;
    const parts = [
      `Loss by step, ${rows.length} points from step ${rows.step[0]} to ${rows.step[last]}.`,
      `Loss went from ${short(rows.loss[0])} to ${short(this.smooth.length ? this.smooth.values[this.smooth.length - 1] : rows.loss[last])} (smoothed).`,
    ];
    if (evaluations.length) {
      const final = evaluations.length - 1;
      parts.push(`Loss on held-out rows: ${short(evaluations.loss[0])} at step ${evaluations.step[0]}, ${short(evaluations.loss[final])} at step ${evaluations.step[final]}.`);
    }
    return parts.join(" ");
  }
}
