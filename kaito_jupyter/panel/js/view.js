// One panel on the page: header, progress, numbers, curve, phases, and what there is to say at the end.

import { Chart } from "./chart.js";
import { h, icon, say, show } from "./dom.js";
import { bytes, change, count, duration, ended, known, rate, sentence, share, short } from "./numbers.js";
import { samples, timeline, trouble } from "./parts.js";
import { colors, watchTheme } from "./theme.js";

const SILENCE = 30_000; // ms without news before we say so; the kernel gives a sign of life each 10 s
const CONFIRM = 4_000; // ms in which the second press of Cancel counts
const MOVE = 500; // ms that the panel is off the page, at most, when the notebook renders an output again
const SMOOTHING = 0.2; // half-life of the smoothed curve, as a share of the curve, at the slider's right end
const MARKS = {
  Pending: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3Zm0 1.6a3.4 3.4 0 1 1 0 6.8 3.4 3.4 0 0 1 0-6.8Z",
  Running: "M5.4 3.6v8.8L12.4 8Z",
  Succeeded: "m3.6 8.3 1.2-1.2 2.2 2.2 4.3-4.6 1.2 1.2-5.5 5.8Z",
  Failed: "m4.1 5.2 1.1-1.1L8 6.9l2.8-2.8 1.1 1.1L9.1 8l2.8 2.8-1.1 1.1L8 9.1l-2.8 2.8-1.1-1.1L6.9 8Z",
  Cancelled: "M4.5 4.5h7v7h-7Z",
};

/** A chip of the legend that shows and hides a series. `sample` is the class of its line, a dash and a mark of its own. */
function chip(name, sample, title) {
  const value = h("span.value", {});
  const button = h("button.chip", { type: "button", title }, h(`span.sample.${sample}`, { ariaHidden: "true" }), h("span", {}, name), value);
  return { button, value };
}

function figure(label) {
  const value = h("span.figure", {}, "–");
  const note = h("span.note", {});
  return { value, note, box: h("div.stat", {}, h("span.label", {}, label), value, note) };
}

export class View {
  constructor(store) {
    this.store = store;
    this.look = { smoothing: SMOOTHING * 0.36 ** 2, log: false, loss: true, held: true, rate: false };
    this.asked = { cancel: 0, cancelled: 0, logs: 0 };
    this.spoken = { text: "", at: 0, mark: "" };
    this.frame = 0;
    this.stale = { rows: true };
    this.build();
    this.remember();
    this.stop = [
      store.subscribe((what) => this.onNews(what)),
      watchTheme(() => this.paint()),
    ];
    const clock = setInterval(() => this.tick(), 1000);
    this.stop.push(() => clearInterval(clock));
  }

  destroy() {
    for (const stop of this.stop) stop();
    cancelAnimationFrame(this.frame);
    this.chart.destroy();
    this.root.remove();
  }

  build() {
    this.pill = h("span.pill", {});
    this.name = h("h3.name", {});
    this.facts = h("p.facts", {});
    this.cancel = h("button.button.cancel", { type: "button", onclick: () => this.onCancel() }, "Cancel run");
    this.logsButton = h("button.button", { type: "button", ariaExpanded: "false", onclick: () => this.toggleLogs() }, "Logs");
    const header = h("header.header", {},
      h("div.title", {}, h("div.line", {}, this.name, this.pill), this.facts),
      h("div.buttons", {}, this.logsButton, this.cancel));

    this.sentence = h("p.sentence", {});
    this.percent = h("span.percent", {});
    this.progress = h("progress.progress", { max: 1, ariaLabel: "Progress of the run" });
    this.status = h("p.sr", { role: "status" });
    this.notice = h("p.notice", { hidden: true });
    const how = h("div.how", {}, h("div.line.spread", {}, this.sentence, this.percent), this.progress, this.status, this.notice);

    this.numbers = {};
    const stats = h("div.stats", {});
    for (const [key, label] of [["loss", "Loss"], ["held", "Held-out loss"], ["speed", "Tokens per second"], ["memory", "Peak memory"], ["time", "Elapsed"]]) {
      this.numbers[key] = figure(label);
      stats.append(this.numbers[key].box);
    }
    this.trouble = h("div.slot", {});
    this.adapter = h("div.slot", {});
    this.samples = h("div.slot", {});
    this.phases = h("div.slot", {});
    this.logText = h("pre.logs", { tabIndex: 0, role: "log", ariaLive: "off", ariaLabel: "Last lines of the log" });
    this.logs = h("section.drawer", { hidden: true, ariaLabel: "Logs" }, this.logText);
    this.root = h("section.panel", { ariaLabel: "Fine-tuning run" },
      header, how, this.trouble, stats, this.buildChart(), this.phases, this.adapter, this.samples, this.logs);
  }

  buildChart() {
    this.chips = {
      loss: chip("Loss", "loss", "Show or hide the loss of each logged step; under the pointer: raw · smoothed"),
      held: chip("Held-out loss", "held", "Show or hide the loss on rows that are not trained on"),
      rate: chip("Learning rate", "rate", "Show or hide the learning rate, on its own axis"),
    };
    const legend = h("div.legend", { role: "group", ariaLabel: "Curves" });
    for (const [key, { button }] of Object.entries(this.chips)) {
      button.setAttribute("aria-pressed", String(this.look[key]));
      button.onclick = () => {
        this.look[key] = !this.look[key];
        button.setAttribute("aria-pressed", String(this.look[key]));
        this.chart.draw();
      };
      legend.append(button);
    }
    this.at = h("span.at", {});
    this.unzoom = h("button.link", { type: "button", hidden: true, onclick: () => this.chart.setZoom(null) }, "Show all");
    const slider = h("input.slider", { type: "range", min: "0", max: "1", step: "0.02", value: String(Math.sqrt(this.look.smoothing / SMOOTHING)), title: "How much of the past the smoothed curve remembers" });
    slider.setAttribute("aria-label", "Smoothing");
    slider.oninput = () => {
      this.look.smoothing = SMOOTHING * Number(slider.value) ** 2;
      this.chart.setColors(this.chart.colors);
    };
    const log = h("input", { type: "checkbox" });
    log.onchange = () => {
      this.look.log = log.checked;
      this.chart.draw();
    };
    const controls = h("div.controls", {}, this.at, this.unzoom, h("label.control", {}, "Smoothing", slider), h("label.control", {}, log, "Log scale"));
    this.canvas = h("div.canvas", { role: "img" });
    this.empty = h("p.empty", {}, "The curve begins with the first logged step.");
    this.chart = new Chart(this.canvas, this.store, this.look, {
      onHover: (values) => this.onHover(values),
      onZoom: (zoomed) => show(this.unzoom, zoomed),
    });
    return h("div.chart", {}, h("div.line.spread.wrap", {}, legend, controls), h("div.stage", {}, this.canvas, this.empty));
  }

  /** The panel was put on the page (again), `inWidget` or into a still's place: colours and width are known only now, and focus and scroll were lost. */
  attached(inWidget) {
    this.inWidget = inWidget;
    this.paint();
    this.update();
    this.logText.scrollTop = this.scrolled;
    if (this.focused && document.activeElement === document.body && performance.now() - this.left < MOVE) {
      this.focused.focus({ preventScroll: true });
    }
  }

  /** Remember what the page forgets when it moves the panel. */
  remember() {
    this.focused = null;
    this.left = Infinity; // when the focus went, whether with the user or because the panel was moved
    this.scrolled = 0;
    this.root.addEventListener("focusin", (event) => {
      this.focused = event.target;
      this.left = Infinity;
    });
    this.root.addEventListener("focusout", () => {
      this.left = performance.now();
    });
    this.logText.addEventListener("scroll", () => {
      if (this.root.isConnected) this.scrolled = this.logText.scrollTop;
    });
  }

  paint() {
    if (this.root.isConnected) this.chart.setColors(colors(this.root));
  }

  onNews(what) {
    if (what === "logs") {
      this.fillLogs();
      return;
    }
    if (what === "refused") {
      this.asked.cancelled = 0;
      this.cancel.disabled = false;
      this.unask();
    }
    if (what === "all") this.chart.reset();
    this.frame = this.frame || requestAnimationFrame(() => {
      this.frame = 0;
      this.update();
    });
  }

  update() {
    const s = this.store.status;
    if (!s.state) return;
    const { rows, evaluations } = this.store;
    this.root.dataset.state = s.state;
    Object.assign(this.root.dataset, { points: rows.length, first: rows.length ? rows.step[0] : "", last: rows.length ? rows.step[rows.length - 1] : "" });
    say(this.name, s.name);
    this.name.title = s.location || "";
    this.updatePill(s);
    const model = /^[./~]/.test(s.preset) ? s.preset.replace(/\/+$/, "").split("/").pop() : s.preset;
    const method = { lora: "LoRA", qlora: "QLoRA" }[s.method] || s.method;
    say(this.facts, [s.revision > 1 && `revision ${s.revision}`, method, model, s.backend, s.backend !== "local" && s.namespace].filter(Boolean).join(" · "));
    this.facts.title = s.preset;
    const part = share(s);
    if (part === null) this.progress.removeAttribute("value");
    else this.progress.value = part;
    say(this.percent, part === null || s.state === "Pending" ? "" : `${Math.floor(100 * part)} %`);
    trouble(this.trouble, s);
    samples(this.samples, s);
    this.updateAdapter(s);
    const over = ended(s);
    show(this.cancel, !over && this.store.live);
    show(this.logsButton, this.store.live);
    if (this.asked.cancelled && !over) {
      this.cancel.disabled = true;
      say(this.cancel, "Cancelling …");
    }
    const empty = rows.length + evaluations.length === 0;
    show(this.empty, empty);
    this.root.classList.toggle("kaito-blank", empty);
    this.root.classList.toggle("kaito-bare", over && empty);
    this.canvas.setAttribute("aria-label", this.chart.words());
    this.chart.draw();
    this.updateNumbers(s);
    this.tick();
  }

  updatePill(s) {
    if (this.pill.dataset.state === s.state) return;
    this.pill.dataset.state = s.state;
    this.pill.replaceChildren(icon(MARKS[s.state] || MARKS.Pending, 14), s.state);
  }

  updateNumbers(s) {
    const { rows, evaluations } = this.store;
    const set = (key, value, note) => {
      say(this.numbers[key].value, value);
      say(this.numbers[key].note, note || "");
    };
    const { smooth } = this.chart;
    set("loss", short(s.loss), rows.length > 1 && smooth.length ? `smoothed ${short(smooth.values[smooth.length - 1])}` : "");
    const base = evaluations.length ? evaluations.loss[0] : NaN;
    const many = evaluations.length > 1;
    set("held", short(s.eval_loss), many ? `${change(base, s.eval_loss)} from ${short(base)}` : evaluations.length ? `at step ${count(evaluations.step[0])}` : s.eval_rows === 0 ? "no rows held out" : "");
    set("speed", count(s.speed), known(s.tokens) ? `${count(s.tokens)} tokens` : "");
    set("memory", bytes(s.memory), s.device);
  }

  updateAdapter(s) {
    const path = s.adapter && (s.state === "Succeeded" || s.state === "Cancelled") ? s.adapter : "";
    if (this.adapter.dataset.path === path) return;
    this.adapter.dataset.path = path;
    if (!path) {
      this.adapter.replaceChildren();
      return;
    }
    const copy = h("button.link", { type: "button", title: "Copy the path" }, "Copy");
    copy.onclick = async () => {
      try {
        await navigator.clipboard.writeText(path);
        say(copy, "Copied");
      } catch {
        say(copy, "Copy it by hand"); // a page without the right to the clipboard
      }
      setTimeout(() => say(copy, "Copy"), 2000);
    };
    this.adapter.replaceChildren(h("div.adapter", {}, h("span.label", {}, "Adapter"), h("code.path", {}, path), copy));
  }

  /** What changes with the clock alone. */
  tick() {
    const s = this.store.status;
    if (!s.state) return;
    const now = this.store.now();
    const text = sentence(s, now);
    say(this.sentence, text);
    const from = known(s.started) ? s.started : s.created;
    say(this.numbers.time.value, known(from) ? duration((known(s.ended) ? s.ended : ended(s) ? from : now) - from) : "–");
    say(this.numbers.time.note, known(from) ? `since ${new Date(from * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}` : "");
    timeline(this.phases, s, now);
    this.speak(s, text);
    const over = ended(s);
    this.notify(s, over);
    if (this.asked.cancel && Date.now() - this.asked.cancel > CONFIRM) this.unask();
    const ending = over !== this.over; // the log's last lines say why
    this.over = over;
    if (!this.logs.hidden && (ending || (!over && Date.now() - this.asked.logs > 3000))) this.askLogs();
  }

  /** What stands between the run and this page, if anything. */
  notify(s, over) {
    const silent = this.store.heard ? Date.now() - this.store.heard : 0;
    let text = "";
    if (!over && silent > SILENCE) {
      text = `No news from the kernel for ${duration(silent / 1000)}. The run goes on without it: after a restart, %kaito watch ${s.name} shows it from its first step on.`;
    } else if (!over && this.asked.cancelled && Date.now() - this.asked.cancelled > 5000 && s.phase !== "saving") {
      text = "The kernel has not answered yet: it does when the running cell has ended.";
    } else if (!over && s.trouble) text = s.trouble;
    else if (over && this.store.live && this.inWidget && known(s.ended) && this.store.now() - s.ended > 10) {
      // A page that was reloaded during the run no longer gets what is put into its outputs.
      text = `This page was reloaded during the run, so its last picture is not in the notebook yet: %kaito watch ${s.name} puts it there.`;
    } else text = this.store.refused;
    say(this.notice, text);
    show(this.notice, text !== "");
  }

  /** Screen readers hear of a new state or phase at once, of progress each tenth, and of nothing more than once a second. */
  speak(s, text) {
    const part = share(s);
    const mark = [s.state, s.phase, part === null ? "" : Math.floor(10 * part)].join();
    if (mark === this.spoken.mark || Date.now() - this.spoken.at < 1000) return;
    this.spoken = { mark, at: Date.now() };
    say(this.status, `${s.name}: ${text}`);
  }

  onHover(values) {
    say(this.at, values ? `step ${values.step.toLocaleString("en-US")}` : "");
    say(this.chips.loss.value, values ? (this.look.smoothing ? `${short(values.loss)} · ${short(values.smooth)}` : short(values.loss)) : "");
    say(this.chips.held.value, values && known(values.held) ? short(values.held) : "");
    say(this.chips.rate.value, values && known(values.rate) && this.look.rate ? rate(values.rate) : "");
  }

  onCancel() {
    if (!this.asked.cancel) {
      this.asked.cancel = Date.now();
      say(this.cancel, "Really cancel?");
      this.cancel.classList.add("kaito-sure");
      return;
    }
    this.unask();
    this.asked.cancelled = Date.now();
    this.cancel.disabled = true;
    say(this.cancel, "Cancelling …");
    this.store.send({ k: "cancel" });
  }

  unask() {
    this.asked.cancel = 0;
    say(this.cancel, "Cancel run");
    this.cancel.classList.remove("kaito-sure");
  }

  toggleLogs() {
    show(this.logs, this.logs.hidden);
    this.logsButton.setAttribute("aria-expanded", String(!this.logs.hidden));
    if (!this.logs.hidden) this.askLogs();
  }

  askLogs() {
    this.asked.logs = Date.now();
    if (this.store.logs === null) say(this.logText, "Asking the kernel, which answers when its cell is done …");
    this.store.send({ k: "logs" });
  }

  fillLogs() {
    const { scrollTop, scrollHeight, clientHeight } = this.logText;
    const bottom = scrollHeight - scrollTop - clientHeight < 40;
    say(this.logText, this.store.logs.length ? this.store.logs.join("\n") : "The log is empty so far.");
    if (bottom) this.logText.scrollTop = this.logText.scrollHeight;
  }
}
