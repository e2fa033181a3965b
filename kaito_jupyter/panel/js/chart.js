// The curve: uPlot with our axes, held-out marks, zoom and theme.

import uPlot from "uplot";
import { Smooth, extent, lowerBound, pick, weight } from "./curve.js";
import { known, rate as rateText, short } from "./numbers.js";

const HEIGHT = 232;
const POINTS = 2400; // rows drawn at once: two a pixel of a wide panel

/** Pixels beside the curve that its longest label needs. */
function labelled(u, labels) {
  return 14 + 6.6 * Math.max(1, ...(labels || []).map((label) => label.length));
}

/** Ticks of a logarithmic axis that has less than some decades to show: 1, 1.5, 2, 3, 5, 7 times powers of ten. */
function logTicks(low, high) {
  const wide = Math.log10(high / low) > 2;
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const digit of wide ? [1] : [1, 1.5, 2, 3, 5, 7]) {
      const tick = Number((digit * 10 ** power).toPrecision(3));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}

export class Chart {
  /** `onHover(values | null)` tells what is under the pointer, `onZoom(zoomed)` whether a part of the curve is shown. */
  constructor(host, store, look, { onHover, onZoom }) {
    this.host = host;
    this.store = store;
    this.look = look; // {smoothing, log, loss, held, rate}: what the user chose to see
    this.onHover = onHover;
    this.onZoom = onZoom;
    this.smooth = new Smooth(0);
    this.window = null; // [first, last] step when zoomed
    this.colors = null;
    this.plot = null;
    this.shape = "";
    this.index = new Uint32Array(0);
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(host);
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

  /** All rows came anew: a curve that was remembered is void. */
  reset() {
    this.smooth.reset(this.smooth.weight);
  }

  draw() {
    const width = this.host.clientWidth;
    if (!width || !this.colors || this.store.rows.length + this.store.evaluations.length === 0) return;
    const data = this.data();
    const shape = [this.look.log, this.look.rate].join();
    if (!this.plot || shape !== this.shape) {
      if (this.plot) this.plot.destroy();
      this.shape = shape;
      this.plot = new uPlot(this.options(width), data, this.host);
    } else {
      this.plot.setData(data);
    }
  }

  /** What uPlot draws: steps, loss, smoothed loss, learning rate; few enough to be quick at any length of run. */
  data() {
    const { rows } = this.store;
    const steps = rows.column("step");
    const losses = rows.column("loss");
    const rates = rows.column("rate");
    const memory = weight(this.look.smoothing, losses.length);
    if (this.smooth.weight !== memory) this.smooth.reset(memory);
    const smoothed = this.smooth.update(losses);
    let begin = 0;
    let end = steps.length;
    if (this.window) {
      begin = Math.max(0, lowerBound(steps, this.window[0]) - 1);
      end = Math.min(steps.length, lowerBound(steps, this.window[1]) + 1);
    }
    this.index = pick(losses, begin, end, POINTS);
    const clean = (values, shown = true) =>
      Array.from(this.index, (i) => {
        const value = values[i];
        return !shown || value !== value || (this.look.log && value <= 0) ? null : value;
      });
    return [
      Array.from(this.index, (i) => steps[i]),
      clean(losses, this.look.loss),
      clean(smoothed, this.look.loss && this.look.smoothing > 0),
      Array.from(this.index, (i) => (this.look.rate && rates[i] === rates[i] ? rates[i] : null)),
    ];
  }

  heldOut() {
    if (!this.look.held) return [[], []];
    const { evaluations } = this.store;
    return [evaluations.column("step"), evaluations.column("loss")];
  }

  rangeX(u) {
    if (this.window) return this.window;
    const found = extent([u.data[0], this.heldOut()[0]]);
    if (!found) return [0, 10];
    return found[0] === found[1] ? [found[0], found[0] + 10] : found;
  }

  rangeY(u) {
    const [steps, losses] = this.heldOut();
    const within = this.window
      ? Array.from(losses).filter((_, i) => steps[i] >= this.window[0] && steps[i] <= this.window[1])
      : losses;
    const found = extent([u.data[1], u.data[2], within], this.look.log);
    if (!found) return this.look.log ? [0.1, 10] : [0, 1];
    const [low, high] = found;
    if (this.look.log) return [low / 1.08, high * 1.08];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  }

  options(width) {
    const { colors, look } = this;
    const font = `11px ${colors.family}`;
    const axis = { stroke: colors.quiet, font, ticks: { show: false }, border: { show: false } };
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
        x: { time: false, range: (u) => this.rangeX(u) },
        y: { distr: look.log ? 3 : 1, range: (u) => this.rangeY(u) },
        rate: { range: (u) => [0, ((extent([u.data[3]]) || [0, 1])[1] || 1) * 1.08] },
      },
      axes: [
        {
          ...axis, size: 30, gap: 6, space: 64, grid: { show: false },
          values: (u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick.toLocaleString("en-US") : "")),
        },
        {
          ...axis, size: labelled, gap: 6, space: 40, grid: { stroke: colors.grid, width: 1 },
          values: (u, ticks) => ticks.map((tick) => (tick === null ? "" : String(Number(tick.toPrecision(3))))),
          ...(look.log ? { splits: (u, i, low, high) => logTicks(low, high), filter: (u, ticks) => ticks } : {}),
        },
        {
          ...axis, scale: "rate", side: 1, size: labelled, gap: 6, space: 40, show: look.rate, grid: { show: false },
          stroke: colors.rate, values: (u, ticks) => ticks.map(rateText),
        },
      ],
      series: [
        {},
        { stroke: colors.faint, width: look.smoothing > 0 ? 1 : 1.5, spanGaps: true, points: this.dots(colors.loss) },
        { stroke: colors.loss, width: 2, spanGaps: true, points: { show: false } },
        { stroke: colors.rate, width: 1.25, dash: [2, 3], scale: "rate", spanGaps: true, points: { show: false } },
      ],
      hooks: {
        drawSeries: [(u, i) => i === 2 && this.drawHeldOut(u)],
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

  drawHeldOut(u) {
    const [steps, losses] = this.heldOut();
    if (!steps.length) return;
    const { ctx, bbox } = u;
    const unit = uPlot.pxRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left - 6 * unit, bbox.top, bbox.width + 12 * unit, bbox.height);
    ctx.clip();
    const places = [];
    for (let i = 0; i < steps.length; i++) {
      if (known(losses[i]) && (!this.look.log || losses[i] > 0)) {
        places.push([u.valToPos(steps[i], "x", true), u.valToPos(losses[i], "y", true)]);
      }
    }
    ctx.strokeStyle = this.colors.held;
    ctx.lineWidth = 1.25 * unit;
    ctx.setLineDash([6 * unit, 4 * unit]);
    ctx.beginPath();
    places.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillStyle = this.colors.held;
    ctx.strokeStyle = this.colors.back;
    const size = (places.length > 60 ? 3 : 5) * unit;
    for (const [x, y] of places) {
      ctx.beginPath();
      ctx.moveTo(x, y - size);
      ctx.lineTo(x + size, y);
      ctx.lineTo(x, y + size);
      ctx.lineTo(x - size, y);
      ctx.closePath();
      ctx.fill();
      ctx.stroke();
    }
    ctx.restore();
  }

  select(u) {
    const { left, width } = u.select;
    if (width < 6) return;
    const range = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (range[1] - range[0] >= 1) this.setZoom(range);
  }

  hover(u) {
    const { idx, left } = u.cursor;
    if (left < 0 || idx === null || idx === undefined || idx >= this.index.length) {
      this.onHover(null);
      return;
    }
    const row = this.index[idx];
    const { rows, evaluations } = this.store;
    const step = rows.step[row];
    const upto = lowerBound(evaluations.column("step"), step + 1) - 1;
    this.onHover({
      step,
      loss: rows.loss[row],
      smooth: this.smooth.values[row],
      rate: rows.rate[row],
      held: upto >= 0 ? evaluations.loss[upto] : NaN,
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
