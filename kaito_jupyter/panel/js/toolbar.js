// Above the curve: which series are shown, and how. Below the pointer: the values.

import { h, say, show } from "./dom.js";
import { count, duration, known, rate, short } from "./numbers.js";
import { SMOOTHING, remember } from "./settings.js";

const CHIPS = {
  loss: ["Loss", "Show or hide the loss of each logged step"],
  held: ["Held-out loss", "Show or hide the loss on rows that are not trained on"],
  rate: ["Learning rate", "Show or hide the learning rate, on its own axis"],
  marks: ["Marks", "Show or hide checkpoints (triangles), restarts (dashed lines) and revisions"],
};

export class Toolbar {
  /** `onLook(what)` is told that the user wants to see something else; `onAll()` that the zoom is to end. */
  constructor(look, { onLook, onAll }) {
    this.look = look;
    const changed = (what) => {
      remember(look);
      onLook(what);
    };
    this.chips = {};
    const legend = h("div.legend", { role: "group", ariaLabel: "Curves" });
    for (const [key, [name, title]] of Object.entries(CHIPS)) {
      const button = h("button.chip", { type: "button", title }, h(`span.sample.${key}`, { ariaHidden: "true" }), name);
      button.setAttribute("aria-pressed", String(look[key]));
      button.onclick = () => {
        look[key] = !look[key];
        button.setAttribute("aria-pressed", String(look[key]));
        changed(key);
      };
      this.chips[key] = button;
      legend.append(button);
    }
    this.unzoom = h("button.link", { type: "button", hidden: true, onclick: onAll }, "Show all");
    const slider = h("input.slider", { type: "range", min: "0", max: "1", step: "0.02", value: String(Math.sqrt(look.smoothing / SMOOTHING)), title: "How much of the past the smoothed curve remembers" });
    slider.setAttribute("aria-label", "Smoothing");
    slider.oninput = () => {
      look.smoothing = SMOOTHING * Number(slider.value) ** 2;
      changed("smoothing");
    };
    const log = h("input", { type: "checkbox", checked: look.log });
    log.onchange = () => {
      look.log = log.checked;
      changed("log");
    };
    this.axis = h("select.select", { title: "What the curve is drawn along" },
      h("option", { value: "step" }, "Steps"), h("option", { value: "tokens" }, "Tokens"), h("option", { value: "time" }, "Time"));
    this.axis.setAttribute("aria-label", "Horizontal axis");
    this.axis.value = look.axis;
    this.axis.onchange = () => {
      look.axis = this.axis.value;
      changed("axis");
    };
    const controls = h("div.controls", {}, this.unzoom,
      h("label.control", {}, "Smoothing", slider), h("label.control", {}, log, "Log scale"), h("span.control", {}, "by", this.axis));
    this.root = h("div.line.spread.wrap", {}, legend, controls);
  }

  /** Offer only what there is: no axis of tokens without tokens, no marks without any. */
  update(store) {
    const { rows, evaluations, status } = store;
    show(this.chips.marks, (status.marks || []).length > 0);
    show(this.chips.held, evaluations.length > 0 || status.eval_rows !== 0);
    const last = rows.length - 1;
    for (const name of ["tokens", "time"]) {
      const option = this.axis.querySelector(`[value=${name}]`);
      const there = last >= 0 && known(rows[name][last]);
      if (option.disabled === there) option.disabled = !there;
    }
    const axis = this.axis.querySelector(`[value=${this.look.axis}]`);
    const fits = !axis.disabled || rows.length === 0;
    return fits; // else the chart has nothing to lie along
  }
}

/** The box beside the cursor. */
export class Readout {
  constructor() {
    this.title = h("div.tiptitle", {});
    this.rows = h("dl.tiprows", {});
    this.notes = h("div.tipnotes", {});
    this.root = h("div.tip", { hidden: true, ariaHidden: "true" }, this.title, this.rows, this.notes);
  }

  show(values, look) {
    show(this.root, values !== null);
    if (!values) return;
    say(this.title, titled(values));
    this.rows.replaceChildren(...lines(values, look).flatMap(([key, name, text]) => [
      h("dt", {}, h(`span.sample.${key}`, {}), name), h("dd", {}, text)]));
    this.notes.replaceChildren(...values.marks.map((text) => h("div", {}, text)));
    const right = values.left > values.width / 2;
    Object.assign(this.root.style, { left: right ? "" : `${values.left + 14}px`, right: right ? `${values.width - values.left + 14}px` : "" });
  }
}

function titled({ step, tokens, time }) {
  return [`step ${step.toLocaleString("en-US")}`, known(tokens) && `${count(tokens)} tokens`, known(time) && time >= 0 && duration(time)].filter(Boolean).join(" · ");
}

function lines(values, look) {
  return [
    look.loss && ["loss", "loss", short(values.loss)],
    look.loss && known(values.smooth) && ["smooth", "smoothed", short(values.smooth)],
    look.held && known(values.held) && ["held", `held out (step ${values.heldAt.toLocaleString("en-US")})`, short(values.held)],
    known(values.rate) && ["rate", "learning rate", rate(values.rate)],
  ].filter(Boolean);
}

/** The values under the cursor, for who cannot see them. */
export function spoken(values, look) {
  return [titled(values), ...lines(values, look).map(([, name, text]) => `${name} ${text}`), ...values.marks].join(", ");
}
