// What is wrong with a run, what to do, the line to type, and the button that does the same.

import { h } from "./dom.js";
import { refill } from "./parts.js";

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

/** The headline of a failure, also for who hears it. */
export function headline(s) {
  return KINDS[(s.failure || {}).kind] || "The run failed";
}

export class Trouble {
  /** `onAgain()` starts the run again, `onLog()` shows the error in the log. */
  constructor(slot, { onAgain, onLog }) {
    this.slot = slot;
    this.onAgain = onAgain;
    this.onLog = onLog;
    this.asking = false; // waits for a second press, for what costs something
  }

  update(s, again, live) {
    this.last = [s, again, live];
    const failed = s.state === "Failed";
    const shown = failed || Boolean(s.advice) || Boolean(again);
    const advice = s.advice || {};
    const key = shown ? JSON.stringify([failed, s.failure, advice, s.reason, again, live, this.asking]) : "";
    const focused = this.slot.contains(document.activeElement) && document.activeElement.dataset.act;
    refill(this.slot, key, () => (shown ? [this.card(s, advice, failed, again, live)] : []));
    if (focused && !this.slot.contains(document.activeElement)) {
      const next = this.slot.querySelector("[data-act='go']") || this.slot.querySelector("[data-act='again']") || this.slot.querySelector(".kaito-outcome");
      if (next) next.focus({ preventScroll: true });
    }
  }

  card(s, advice, failed, again, live) {
    const failure = s.failure || {};
    const details = failure.details || [];
    const remedy = advice.remedy || failure.remedy;
    const said = failed
      ? [
          h("p.headline", {}, headline(s), failure.kind ? h("code.kind", {}, failure.kind) : null),
          h("p.message", {}, failure.message || s.reason || "The trainer did not say why: look at its logs."),
          advice.sentence ? h("p.message", {}, advice.sentence) : null,
        ]
      : [h("p.headline", {}, advice.sentence || "Started again"), s.reason ? h("p.message", {}, s.reason) : null];
    const card = h("div.trouble", { role: "group", ariaLabel: failed ? "Why it failed" : "Trouble" }, ...said,
      remedy ? h("p.remedy", {}, h("strong", {}, "What to do: "), remedy) : null,
      advice.command ? h("p.remedy", {}, h("code", {}, advice.command)) : null,
      live ? this.buttons(advice.again, failed, again) : null,
      details.length ? h("details", {}, h("summary", {}, `Details (${details.length})`), h("pre.details", { tabIndex: 0 }, details.join("\n"))) : null);
    if (!failed && !advice.sentence) card.classList.add("kaito-calm");
    return card;
  }

  buttons(offer, failed, again) {
    const button = (act, text, onclick, kind = "") => {
      const made = h(`button.button${kind}`, { type: "button", onclick }, text);
      made.dataset.act = act;
      return made;
    };
    const toLog = failed ? button("log", "Show in the log", () => this.onLog()) : null;
    if (again && again.state !== "refused") return h("div.acts", {}, outcome(again), toLog);
    if (!offer) return toLog && h("div.acts", {}, toLog);
    const refused = again ? outcome(again) : null;
    if (!this.asking) {
      const name = offer.fix ? "Fix and run again" : offer.end ? "End and run again" : "Run again";
      return h("div.acts", {}, refused, button("again", name, () => (offer.costs ? this.ask(true) : this.onAgain()), ".main"), toLog);
    }
    const changes = offer.changes.length
      ? h("ul.changes", {}, ...offer.changes.map((change) => h("li", {}, h("code", {}, change))))
      : null;
    return h("div.confirm", { role: "group", ariaLabel: "Really run it again?" },
      changes ? h("p", {}, "It starts as a run of its own, with:") : null, changes,
      h("p", {}, offer.costs),
      h("div.acts", {},
        button("go", "Start it", () => { this.asking = false; this.onAgain(); }, ".sure"),
        button("no", "Not now", () => this.ask(false))));
  }

  ask(asking) {
    this.asking = asking;
    this.update(...this.last);
  }
}

/** What became of it: refused and why, or the new run's name and how it stands. */
function outcome({ state, text, name }) {
  const words = state === "started"
    ? [h("strong", {}, name), ` has started: ${text}. `, h("code", {}, `%kaito watch ${name}`), " shows it."]
    : [state === "refused" ? `It was not started. ${text}` : text];
  const line = h("p.outcome", { tabIndex: -1 }, ...words);
  line.dataset.act = "outcome"; // it keeps the focus when its words change
  if (state !== "started") line.dataset.state = state;
  return line;
}
