// Numbers and durations as people read them.

const TERMINAL = new Set(["Succeeded", "Failed", "Cancelled"]);

export const ended = (status) => TERMINAL.has(status.state);

export const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 0.000123 → "1.23e-4", 2.3456 → "2.346": four digits that count. */
export function short(value, digits = 4) {
  if (!known(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(Math.max(0, digits - 2)).replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toPrecision(digits);
}

/** A learning rate: 0.0002 → "2e-4", without zeros that say nothing. */
export function rate(value) {
  if (!known(value)) return "–";
  if (value === 0) return "0";
  const [digits, power] = value.toExponential(2).split("e");
  const mantissa = digits.replace(/\.?0+$/, "");
  return Math.abs(value) >= 0.01 ? String(Number(value.toPrecision(3))) : `${mantissa}e${Number(power)}`;
}

/** 1234567 → "1.2M". */
export function count(value) {
  if (!known(value)) return "–";
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= size) {
      const scaled = value / (unit === "k" ? 1e3 : size);
      return `${scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)}${unit}`;
    }
  }
  return Math.round(value).toLocaleString("en-US");
}

/** Bytes, by 1024: "1.4 GiB". */
export function bytes(value) {
  if (!known(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (value >= 1024 && i < units.length - 1) {
    value /= 1024;
    i += 1;
  }
  return `${i && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[i]}`;
}

/** Seconds as "42s", "2m 10s", "1h 05m", "2d 3h". */
export function duration(seconds) {
  if (!known(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  const two = (n) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

/** Seconds on an axis: as `duration`, without a last part of nothing: "2m", "1h 30m". */
export function clock(seconds) {
  if (!known(seconds)) return "";
  return duration(seconds).replace(/(?<=.) 0+[smh]$/, "");
}

/** A change in per cent, with a true minus: "−26 %". */
export function change(before, after) {
  if (!known(before) || !known(after) || before === 0) return "";
  const percent = (100 * (after - before)) / Math.abs(before);
  const digits = Math.abs(percent) < 10 ? 1 : 0;
  const text = Math.abs(percent).toFixed(digits);
  return Number(text) === 0 ? "±0 %" : `${percent < 0 ? "−" : "+"}${text} %`;
}

/** One line for people: "Training · step 120 of 400 · 2m 10s left". */
export function sentence(status, now) {
  const s = status;
  const steps = known(s.max_steps)
    ? `step ${count(s.step)} of ${count(s.max_steps)}`
    : s.step ? `step ${count(s.step)}` : "";
  const took = known(s.ended) && known(s.started) ? duration(s.ended - s.started) : "";
  const parts = [];
  if (s.state === "Succeeded") {
    const made = s.ending && known(s.max_steps) && s.step < s.max_steps ? `${count(s.step)} of ${count(s.max_steps)}` : count(s.step);
    parts.push("Finished", s.step ? `${made} steps${took ? ` in ${took}` : ""}` : took && `in ${took}`, s.ending);
  } else if (s.state === "Failed") {
    parts.push(`Failed${s.step ? ` at ${steps}` : s.phase && s.phase !== "pending" ? ` while ${s.phase}` : ""}`);
    parts.push(took && `after ${took}`);
  } else if (s.state === "Cancelled") {
    parts.push(s.step ? `Cancelled at ${steps}` : "Cancelled before the first step", took && `after ${took}`);
  } else if (s.state === "Pending" || !s.phase || s.phase === "pending") {
    parts.push("Waiting to start", s.reason);
  } else {
    parts.push(s.phase[0].toUpperCase() + s.phase.slice(1));
    if (s.phase === "training") {
      parts.push(steps);
      if (known(s.left)) parts.push(`${duration(Math.max(0, s.left - (now - s.at)))} left`);
    } else {
      parts.push(s.detail);
      if (known(s.done)) {
        const amount = s.unit === "bytes" ? bytes : count;
        const total = known(s.total) ? ` of ${amount(s.total)}` : "";
        parts.push(`${amount(s.done)}${total}${s.unit && s.unit !== "bytes" ? ` ${s.unit}` : ""}`);
      }
    }
  }
  return parts.filter(Boolean).join(" · ");
}

/** Share of the work done, 0 to 1, or null when nobody knows. */
export function share(status) {
  if (status.state === "Succeeded") return 1;
  const training = status.phase === "training" || ended(status) || status.phase === "saving" || status.phase === "pushing";
  if (training && known(status.max_steps) && status.max_steps > 0) return Math.min(1, (status.step || 0) / status.max_steps);
  if (!training && known(status.done) && known(status.total) && status.total > 0) {
    return Math.min(1, status.done / status.total);
  }
  return ended(status) ? 0 : null;
}
