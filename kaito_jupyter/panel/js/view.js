// One panel on the page: header, progress, numbers, curve, phases, and what there is to say at the end.

import { Chart } from "./chart.js";
import { h, icon, say, show } from "./dom.js";
import { ending } from "./ending.js";
import { LogDrawer } from "./log.js";
import { bytes, change, count, duration, ended, known, sentence, share, short } from "./numbers.js";
import { samples, timeline } from "./parts.js";
import { remembered } from "./settings.js";
import { Speaker } from "./speaker.js";
import { colors, watchTheme } from "./theme.js";
import { Readout, Toolbar, spoken } from "./toolbar.js";
import { Trouble, headline } from "./trouble.js";

const SILENCE = 30_000; // ms without news before we say so; the kernel gives a sign of life each 10 s
const CONFIRM = 4_000; // ms in which the second press of Cancel counts
const MOVE = 500; // ms that the panel is off the page, at most, when the notebook renders an output again
const MARKS = {
  Pending: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3Zm0 1.6a3.4 3.4 0 1 1 0 6.8 3.4 3.4 0 0 1 0-6.8Z",
  Running: "M5.4 3.6v8.8L12.4 8Z",
  Succeeded: "m3.6 8.3 1.2-1.2 2.2 2.2 4.3-4.6 1.2 1.2-5.5 5.8Z",
  Failed: "m4.1 5.2 1.1-1.1L8 6.9l2.8-2.8 1.1 1.1L9.1 8l2.8 2.8-1.1 1.1L8 9.1l-2.8 2.8-1.1-1.1L6.9 8Z",
  Cancelled: "M4.5 4.5h7v7h-7Z",
};

function figure(label) {
  const value = h("span.figure", {}, "–");
  const note = h("span.note", {});
  return { value, note, box: h("div.stat", {}, h("span.label", {}, label), value, note) };
}

export class View {
  constructor(store) {
    this.store = store;
    this.look = remembered();
    this.asked = { cancel: 0, cancelled: 0 };
    this.spoken = "";
    this.frame = 0;
    this.stale = { rows: true };
    this.build();
    this.keepPlace();
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
    this.log.close();
    this.speaker.stop();
    this.root.remove();
  }

  build() {
    this.pill = h("span.pill", {});
    this.name = h("h3.name", {});
    this.facts = h("p.facts", {});
    this.cancel = h("button.button.cancel", { type: "button", onclick: () => this.onCancel() }, "Cancel run");
    this.logsButton = h("button.button", { type: "button", ariaExpanded: "false", onclick: () => this.toggleLog() }, "Logs");
    const header = h("header.header", {},
      h("div.title", {}, h("div.line", {}, this.name, this.pill), this.facts),
      h("div.buttons", {}, this.logsButton, this.cancel));

    this.sentence = h("p.sentence", {});
    this.percent = h("span.percent", {});
    this.progress = h("progress.progress", { max: 1, ariaLabel: "Progress of the run" });
    this.status = h("p.sr", { role: "status" });
    this.speaker = new Speaker(this.status);
    this.notice = h("p.notice", { hidden: true });
    const how = h("div.how", {}, h("div.line.spread", {}, this.sentence, this.percent), this.progress, this.status, this.notice);

    this.numbers = {};
    const stats = h("div.stats", {});
    for (const [key, label] of [["loss", "Loss"], ["held", "Held-out loss"], ["speed", "Tokens per second"], ["memory", "Peak memory"], ["time", "Elapsed"]]) {
      this.numbers[key] = figure(label);
      stats.append(this.numbers[key].box);
    }
    this.troubleSlot = h("div.slot", {});
    this.trouble = new Trouble(this.troubleSlot, {
      onAgain: () => this.store.send({ k: "again" }),
      onLog: () => {
        this.log.showError();
        this.logsButton.setAttribute("aria-expanded", "true");
      },
    });
    this.ending = h("div.slot", {});
    this.samples = h("div.slot", {});
    this.phases = h("div.slot", {});
    this.log = new LogDrawer(this.store, (text) => this.speaker.say(text));
    this.root = h("section.panel", { ariaLabel: "Fine-tuning run" },
      header, how, this.troubleSlot, stats, this.buildChart(), this.phases, this.ending, this.samples, this.log.root);
  }

  buildChart() {
    this.toolbar = new Toolbar(this.look, {
      onLook: (what) => {
        if (what === "axis") this.chart.setAxis(this.look.axis);
        else this.chart.setColors(this.chart.colors);
      },
      onAll: () => {
        this.chart.setZoom(null);
        this.canvas.focus({ preventScroll: true }); // the button is gone
      },
    });
    this.readout = new Readout();
    this.canvas = h("div.canvas", { role: "application", ariaRoledescription: "chart", tabIndex: 0, title: "Drag to zoom, double-click for all. Keys: ← → values, + − zoom, Shift ← → move, 0 all." });
    this.canvas.setAttribute("aria-keyshortcuts", "ArrowLeft ArrowRight Home End + - 0 Escape");
    this.canvas.setAttribute("data-lm-suppress-shortcuts", "true"); // a notebook's keys, "0 0" restarts a kernel, are not meant
    this.empty = h("p.empty", {}, "The curve begins with the first logged step.");
    this.chart = new Chart(this.canvas, this.store, this.look, {
      onCursor: (values) => {
        this.readout.show(values, this.look);
        if (values && values.byKey) this.speaker.say(spoken(values, this.look));
      },
      onZoom: (zoomed) => show(this.toolbar.unzoom, zoomed),
    });
    return h("div.chart", {}, this.toolbar.root, h("div.stage", {}, this.canvas, this.readout.root, this.empty));
  }

  /** The panel was put on the page (again), `inWidget` or into a still's place: colours and width are known only now, and focus and scroll were lost. */
  attached(inWidget) {
    this.inWidget = inWidget;
    this.paint();
    this.update();
    this.log.restore();
    if (this.focused && document.activeElement === document.body && performance.now() - this.left < MOVE) {
      this.focused.focus({ preventScroll: true });
    }
  }

  /** Remember what the page forgets when it moves the panel. */
  keepPlace() {
    this.focused = null;
    this.left = Infinity; // when the focus went, whether with the user or because the panel was moved
    this.root.addEventListener("focusin", (event) => {
      this.focused = event.target;
      this.left = Infinity;
    });
    this.root.addEventListener("focusout", () => {
      this.left = performance.now();
    });
  }

  paint() {
    if (this.root.isConnected) this.chart.setColors(colors(this.root));
  }

  onNews(what) {
    if (what === "log") {
      this.log.update();
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
    this.trouble.update(s, this.store.again, this.store.live);
    samples(this.samples, s);
    ending(this.ending, s);
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
    if (!this.toolbar.update(this.store)) this.toStepAxis();
    this.canvas.setAttribute("aria-label", this.chart.words());
    this.chart.draw();
    this.updateNumbers(s);
    this.tick();
  }

  /** The axis that was chosen is not told of by this run: it is not forgotten for the next. */
  toStepAxis() {
    this.toolbar.axis.value = "step";
    this.chart.setAxis("step");
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

  /** Screen readers hear of a new state or phase, of progress each tenth, and of nothing more than once a second. */
  speak(s, text) {
    const part = share(s);
    const mark = [s.state, s.phase, s.advice && s.advice.sentence, this.store.again && this.store.again.state, part === null ? "" : Math.floor(10 * part)].join();
    if (mark === this.spoken) return;
    this.spoken = mark;
    const advice = s.advice || {};
    const why = s.state === "Failed" ? headline(s) : "";
    const { again } = this.store;
    this.speaker.say([`${s.name}: ${text}`, why, advice.sentence, advice.remedy, again && `${again.name} ${again.text}`].filter(Boolean).join(". "));
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

  toggleLog() {
    this.log.toggle();
    this.logsButton.setAttribute("aria-expanded", String(this.log.open));
  }
}
