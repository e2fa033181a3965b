// The panel's parts that come and go: how long each phase took, answers before and after.

import { h, say } from "./dom.js";
import { duration, ended, known } from "./numbers.js";

const AHEAD = ["loading", "tokenizing", "training", "saving"]; // the phases that every run has
const SHOWN_PHASES = 8; // the latest: a run with many restarts has many more

/** Fill `slot` anew only when `key` has changed: what the user selected or opened stays. */
export function refill(slot, key, make) {
  if (slot.dataset.key === key) return;
  slot.dataset.key = key;
  slot.replaceChildren(...make());
}

/** A thin bar of what the run did and for how long, and faintly what is still to come. */
export function timeline(slot, s, now) {
  const over = ended(s);
  // Most runs wait for less than a moment: that is not worth a place.
  const all = (s.phases || []).filter(([name, began, until]) => name !== "pending" || !(until - began < 1));
  const phases = all.slice(-SHOWN_PHASES);
  const current = phases.length ? phases[phases.length - 1][0] : "";
  const coming = over || !phases.length ? [] : AHEAD.slice(AHEAD.indexOf(current) + 1 || AHEAD.length);
  const state = (until, i) => (i < phases.length - 1 ? "done" : over && s.state !== "Succeeded" ? "stopped" : known(until) ? "done" : over ? s.state === "Succeeded" ? "done" : "stopped" : "now");
  refill(slot, [...phases.map(([name, , until]) => `${name}${known(until)}`), all.length, over, s.state].join(), () => {
    if (!phases.length) return [];
    return [
      h("ol.phases", { ariaLabel: "Phases" },
        ...phases.map(([name, , until], i) => {
          const item = h("li.phase", {}, h("span.phasename", {}, name), h("span.phasetime", {}));
          item.dataset.how = state(until, i);
          if (item.dataset.how === "now") item.setAttribute("aria-current", "step");
          return item;
        }),
        ...coming.map((name) => {
          const item = h("li.phase", {}, h("span.phasename", {}, name), h("span.sr", {}, " still to come"));
          item.dataset.how = "ahead";
          return item;
        })),
    ];
  });
  slot.querySelectorAll("li").forEach((item, i) => {
    if (i >= phases.length) return;
    const [, began, until] = phases[i];
    const end = known(until) ? until : over ? s.ended : now;
    const seconds = known(began) && known(end) ? Math.max(0, end - began) : NaN;
    item.style.flexGrow = known(seconds) ? Math.max(1, Math.sqrt(seconds)) : 1;
    say(item.lastChild, known(seconds) ? (seconds < 1 ? "<1s" : duration(seconds)) : "");
  });
}

/** What the model answered to held-out prompts before the training and after; nothing until there are both. */
export function samples(slot, s) {
  const [first, last] = s.samples && s.samples.length > 1 ? [s.samples[0], s.samples[s.samples.length - 1]] : [];
  refill(slot, last ? JSON.stringify(last) : "", () => {
    if (!last) return [];
    const cards = last.samples.map((after, i) => {
      const before = first.samples.find((other) => other.prompt === after.prompt) || first.samples[i] || {};
      return h("li.case", {},
        h("p.prompt", {}, after.prompt),
        h("div.answers", {},
          answer("Before", before.completion, "before"),
          answer("After", after.completion, "after"),
          after.reference ? answer("In the data", after.reference, "reference") : null));
    });
    return [h("section.samples", {}, h("h4.subtitle", {}, "Held-out prompts, before and after"), h("ul.cases", {}, ...cards))];
  });
}

function answer(label, text, kind) {
  return h(`div.answer.${kind}`, {}, h("p.label", {}, label), h("p.said", { tabIndex: 0 }, text && text.trim() ? text.trim() : "(nothing)"));
}
