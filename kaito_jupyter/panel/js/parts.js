// The panel's parts that come and go: what went wrong, how long each phase took, answers before and after.

import { h } from "./dom.js";
import { duration, ended, known } from "./numbers.js";

const KINDS = {
  "config": "The configuration cannot work",
  "dataset": "The data cannot be trained on",
  "model": "The base model could not be loaded",
  "gated-model": "The base model needs a licence and a token",
  "target-modules": "LoRA's target modules are not in this model",
  "out-of-memory": "Out of memory",
  "disk-full": "The volume is full",
  "dependency": "A Python package is missing or does not fit",
  "killed": "The trainer was killed",
  "reboot": "The machine was restarted",
  "crash": "The trainer crashed",
};

/** Fill `slot` anew only when `key` has changed: what the user selected or opened stays. */
function refill(slot, key, make) {
  if (slot.dataset.key === key) return;
  slot.dataset.key = key;
  slot.replaceChildren(...make());
}

/** What else is known, what to do, and the line to type. */
function todo(advice, more) {
  return [
    more ? h("p.message", {}, more) : null,
    advice.remedy ? h("p.remedy", {}, h("strong", {}, "What to do: "), advice.remedy) : null,
    advice.command ? h("p.remedy", {}, h("code", {}, advice.command)) : null,
  ];
}

export function trouble(slot, s) {
  const failed = s.state === "Failed";
  const failure = s.failure || {};
  const advice = s.advice || {};
  const shown = failed || Boolean(s.advice);
  refill(slot, shown ? JSON.stringify([failed, failure, advice, s.reason]) : "", () => {
    if (!shown) return [];
    if (!failed) return [h("div.trouble", { role: "status" }, h("p.headline", {}, advice.sentence), ...todo(advice, s.reason))];
    const details = failure.details || [];
    return [
      h("div.trouble", { role: "alert" },
        h("p.headline", {}, KINDS[failure.kind] || "The run failed", failure.kind ? h("code.kind", {}, failure.kind) : null),
        h("p.message", {}, failure.message || s.reason || "The trainer did not say why: look at its logs."),
        ...todo({ ...advice, remedy: advice.remedy || failure.remedy }, advice.sentence),
        details.length ? h("details", {}, h("summary", {}, `Details (${details.length})`), h("pre.details", {}, details.join("\n"))) : null),
    ];
  });
}

export function timeline(slot, s, now) {
  const over = ended(s);
  // Most runs wait for less than a moment: that is not worth a place.
  const phases = (s.phases || []).filter(([name, began, until]) => name !== "pending" || !(until - began < 1));
  const text = phases.map(([name, began, until]) => {
    const end = known(until) ? until : over ? s.ended : now;
    return [name, known(began) && known(end) ? Math.max(0, end - began) : NaN];
  });
  refill(slot, phases.map(([name, , until]) => `${name}${known(until)}`).join() + over, () => {
    if (!phases.length) return [];
    return [
      h("ol.phases", { ariaLabel: "Phases" }, ...phases.map(([name, , until], i) =>
        h("li.phase", { ariaCurrent: !known(until) && !over && i === phases.length - 1 ? "step" : "false" }, h("span.phasename", {}, name), h("span.phasetime", {})))),
    ];
  });
  slot.querySelectorAll("li").forEach((item, i) => {
    const [, seconds] = text[i];
    item.style.flexGrow = known(seconds) ? Math.max(1, Math.sqrt(seconds)) : 1;
    const shown = known(seconds) ? (seconds < 1 ? "<1s" : duration(seconds)) : "";
    if (item.lastChild.textContent !== shown) item.lastChild.textContent = shown;
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
