// The axes of the chart: where their ticks lie and what they say.

import { clock, count, rate as rateText } from "./numbers.js";

/** Steps between two ticks of an axis of time, in seconds. */
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

/** Pixels beside the curve that its longest label needs. */
function labelled(u, labels) {
  return 14 + 6.6 * Math.max(1, ...(labels || []).map((label) => label.length));
}

/** Ticks of a logarithmic axis that has less than some decades to show: 1, 1.5, 2, 3, 5, 7 times powers of ten. */
export function logTicks(low, high) {
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

const ALONG = {
  step: { values: (u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick.toLocaleString("en-US") : "")) },
  tokens: { values: (u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? count(tick) : "")) },
  time: { values: (u, ticks) => ticks.map(clock), incrs: TIMES },
};

export function axes(look, colors) {
  const axis = { stroke: colors.quiet, font: `11px ${colors.family}`, ticks: { show: false }, border: { show: false } };
  return [
    { ...axis, size: 30, gap: 6, space: 64, grid: { show: false }, ...ALONG[look.axis] },
    {
      ...axis, size: labelled, gap: 6, space: 40, grid: { stroke: colors.grid, width: 1 },
      values: (u, ticks) => ticks.map((tick) => (tick === null ? "" : String(Number(tick.toPrecision(3))))),
      ...(look.log ? { splits: (u, i, low, high) => logTicks(low, high), filter: (u, ticks) => ticks } : {}),
    },
    {
      ...axis, scale: "rate", side: 1, size: labelled, gap: 6, space: 40, show: look.rate, grid: { show: false },
      stroke: colors.rate, values: (u, ticks) => ticks.map(rateText),
    },
  ];
}
