// What is drawn over the curves by hand: held-out losses, and the marks of checkpoints, restarts and revisions.

import { known } from "./numbers.js";

/** `points`: [x, loss] each. */
export function drawHeldOut(u, ratio, colors, points) {
  const places = points
    .filter(([x, loss]) => known(x) && known(loss) && !(u.scales.y.distr === 3 && loss <= 0))
    .map(([x, loss]) => [u.valToPos(x, "x", true), u.valToPos(loss, "y", true)]);
  if (!places.length) return;
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - 6 * ratio, bbox.top, bbox.width + 12 * ratio, bbox.height);
  ctx.clip();
  ctx.strokeStyle = colors.held;
  ctx.lineWidth = 1.25 * ratio;
  ctx.setLineDash([6 * ratio, 4 * ratio]);
  ctx.beginPath();
  places.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.fillStyle = colors.held;
  ctx.strokeStyle = colors.back;
  const size = (places.length > 60 ? 3 : 5) * ratio;
  for (const [x, y] of places) shape(ctx, [[x, y - size], [x + size, y], [x, y + size], [x - size, y]], true);
  ctx.restore();
}

/** `marks`: {kind, x} each. A checkpoint is a small triangle on the axis, a restart a dashed line, a revision a full one. */
export function drawMarks(u, ratio, colors, marks) {
  const { ctx, bbox } = u;
  const bottom = bbox.top + bbox.height;
  ctx.save();
  ctx.lineWidth = ratio;
  for (const { kind, x } of marks) {
    const at = Math.round(u.valToPos(x, "x", true));
    if (!(at >= bbox.left - 2 * ratio && at <= bbox.left + bbox.width + 2 * ratio)) continue;
    const size = 4 * ratio;
    if (kind === "checkpoint") {
      ctx.fillStyle = colors.quiet;
      shape(ctx, [[at, bottom - 1.7 * size], [at + size, bottom], [at - size, bottom]]);
      continue;
    }
    ctx.strokeStyle = ctx.fillStyle = colors[kind === "restart" ? "bad" : "quiet"];
    ctx.setLineDash(kind === "restart" ? [4 * ratio, 3 * ratio] : []);
    ctx.beginPath();
    ctx.moveTo(at + 0.5, bbox.top);
    ctx.lineTo(at + 0.5, bottom);
    ctx.stroke();
    if (kind === "restart") shape(ctx, [[at - size, bbox.top], [at + size, bbox.top], [at, bbox.top + 1.7 * size]]);
    else shape(ctx, [[at, bbox.top], [at + 2 * size, bbox.top + size], [at, bbox.top + 2 * size]]);
  }
  ctx.restore();
}

function shape(ctx, points, edge = false) {
  ctx.beginPath();
  points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.closePath();
  ctx.fill();
  if (edge) ctx.stroke();
}
