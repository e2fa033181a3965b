// The log's drawer: only the lines in sight are elements, so that a hundred thousand of them scroll as ten do.

import { h, say, show } from "./dom.js";
import { pieces } from "./loglines.js";

const ROW = 18; // pixels of a line
const SPARE = 12; // lines above and below what is in sight
const KEEP = 10_000; // ms between two words to the kernel that the drawer is still open
const LEVELS = { e: "error", w: "warning", o: "own" };

export class LogDrawer {
  constructor(store, speak) {
    this.store = store;
    this.speak = speak;
    this.follow = true;
    this.current = -1; // place of the line that was jumped to
    this.scrolled = [0, 0];
    this.wanted = ""; // what to jump to once lines are there
    this.keeper = 0;
    this.build();
  }

  build() {
    const button = (text, onclick, more = {}) => h("button.button", { type: "button", onclick, ...more }, text);
    this.query = h("input.query", { type: "search", placeholder: "Search the log", spellcheck: false });
    this.query.setAttribute("aria-label", "Search the log");
    this.query.oninput = () => this.search();
    this.query.onkeydown = (event) => {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
      event.stopPropagation();
    };
    this.found = h("span.found", {});
    this.filter = h("select.select", {}, h("option", { value: "all" }, "All lines"), h("option", { value: "words" }, "Without the trainer's numbers"), h("option", { value: "bad" }, "Warnings and errors"));
    this.filter.setAttribute("aria-label", "Which lines");
    this.filter.onchange = () => {
      this.store.log.show(this.filter.value);
      this.current = -1;
      this.draw();
    };
    this.back = button("↑", () => this.step(-1), { ariaLabel: "Previous match" });
    this.next = button("↓", () => this.step(1), { ariaLabel: "Next match" });
    this.error = button("Next error", () => this.toError());
    this.following = button("Follow", () => this.setFollow(!this.follow), { title: "Stay at the end of the log while lines come" });
    const bar = h("div.logbar", {}, this.query, this.back, this.next, this.found, h("span.grow", {}), this.error, this.filter, this.following);
    this.rows = h("div.logrows", {});
    this.space = h("div.logspace", {}, this.rows);
    this.view = h("div.logs", { tabIndex: 0, role: "log", ariaLive: "off", ariaLabel: "Lines of the log" }, this.space);
    this.view.setAttribute("data-lm-suppress-shortcuts", "true"); // a notebook's keys, "d d" deletes a cell, are not meant
    this.view.addEventListener("scroll", () => this.onScroll());
    this.foot = h("p.logfoot", {});
    this.root = h("section.drawer", { hidden: true, ariaLabel: "Log" }, bar, this.view, this.foot);
    this.setFollow(true);
  }

  get open() {
    return !this.root.hidden;
  }

  toggle(open = !this.open) {
    if (open === this.open) return;
    show(this.root, open);
    if (open) {
      this.store.log.known = false;
      this.store.send({ k: "log", on: true });
      this.keeper = setInterval(() => this.store.send({ k: "log", on: true, keep: true }), KEEP);
      this.draw();
    } else {
      this.close();
    }
  }

  close() {
    if (!this.keeper) return;
    clearInterval(this.keeper);
    this.keeper = 0;
    this.store.send({ k: "log", on: false });
  }

  /** Lines have come. */
  update() {
    if (!this.open) return;
    const { log } = this.store;
    const height = this.space.offsetHeight;
    const shift = this.before !== undefined && log.at < this.before ? (log.length - this.count) * ROW : 0;
    this.before = log.at;
    this.draw();
    if (this.follow) this.toEnd();
    else if (shift > 0 && height) this.view.scrollTop += shift;
    if (this.wanted === "error" && log.known) this.toError();
    if (log.query && log.earlier) this.store.send({ k: "log", on: true, more: true });
  }

  /** Open it where the last error is. */
  showError() {
    this.wanted = "error";
    if (this.open && this.store.log.known) this.toError();
    this.toggle(true);
    this.view.focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "nearest" });
  }

  setFollow(follow) {
    this.follow = follow;
    this.following.setAttribute("aria-pressed", String(follow));
    if (follow) this.toEnd();
  }

  toEnd() {
    this.view.scrollTop = this.view.scrollHeight;
    this.scrolled = [this.view.scrollTop, this.view.scrollLeft]; // at once: the page may move the panel before it tells
  }

  onScroll() {
    if (!this.root.isConnected || !this.open) return;
    const { scrollTop, scrollLeft, scrollHeight, clientHeight } = this.view;
    const end = scrollHeight - scrollTop - clientHeight < ROW;
    if (scrollTop < this.scrolled[0] && !end && this.follow) this.setFollow(false);
    else if (end && !this.follow && scrollTop > this.scrolled[0]) this.setFollow(true);
    this.scrolled = [scrollTop, scrollLeft];
    if (scrollTop < 20 * ROW && this.store.log.earlier) this.store.send({ k: "log", on: true, more: true });
    this.draw();
  }

  /** The page moved the panel, which forgets how far was scrolled. */
  restore() {
    [this.view.scrollTop, this.view.scrollLeft] = this.scrolled;
    if (this.follow) this.toEnd();
    this.draw();
  }

  search() {
    this.store.log.search(this.query.value);
    this.current = -1;
    if (this.store.log.query) this.step(-1);
    if (this.store.log.query && this.store.log.earlier) this.store.send({ k: "log", on: true, more: true });
    this.draw();
  }

  /** Go to the match after (1) or before (-1) the present one, and around. */
  step(by) {
    this.jump(this.store.log.matches, by);
  }

  /** Go to the next error, the last one first: it is mostly the one that counts. */
  toError() {
    this.wanted = "";
    const places = this.store.log.errors();
    this.jump(places, places.includes(this.current) ? 1 : -1);
  }

  jump(places, by) {
    if (!places.length) return;
    const after = places.findIndex((place) => place > this.current);
    const at = places.indexOf(this.current);
    let next = by > 0 ? after : (at >= 0 ? at : this.current < 0 ? places.length : after < 0 ? places.length : after) - 1;
    if (next < 0) next = by > 0 ? 0 : places.length - 1;
    this.current = places[next];
    this.setFollow(false);
    this.view.scrollTop = Math.max(0, this.current * ROW - this.view.clientHeight / 2);
    this.view.scrollLeft = 0;
    this.scrolled = [this.view.scrollTop, 0];
    this.draw();
    const { log } = this.store;
    this.speak(`${next + 1} of ${places.length}: ${log.texts[log.line(this.current)].slice(0, 200)}`);
  }

  draw() {
    const { log } = this.store;
    this.count = log.length;
    const { scrollTop, clientHeight } = this.view;
    this.space.style.height = `${Math.max(1, log.length) * ROW}px`;
    this.space.style.minWidth = `calc(${log.longest}ch + 40px)`;
    const from = Math.max(0, Math.min(log.length, Math.floor(scrollTop / ROW)) - SPARE);
    const to = Math.min(log.length, Math.ceil((scrollTop + (clientHeight || 240)) / ROW) + SPARE);
    this.rows.style.transform = `translateY(${from * ROW}px)`;
    const elements = [];
    for (let place = from; place < to; place++) elements.push(this.row(place));
    if (!log.length) elements.push(h("div.logline", {}, this.nothing()));
    this.rows.replaceChildren(...elements);
    const at = log.matches.indexOf(this.current);
    say(this.found, log.query ? `${at >= 0 ? `${at + 1} of ` : ""}${log.matches.length.toLocaleString("en-US")}` : "");
    for (const button of [this.back, this.next]) button.disabled = !log.matches.length;
    this.error.disabled = !log.levels.includes("e");
    say(this.foot, this.footing());
  }

  row(place) {
    const { log } = this.store;
    const i = log.line(place);
    const level = LEVELS[log.levels[i]];
    const parts = pieces(log.texts[i], log.query).map(([text, match]) => (match ? h("mark", {}, text) : text));
    const line = h(`div.logline${level ? `.${level}` : ""}`, {}, ...(parts.length && log.texts[i] ? parts : [" "]));
    if (place === this.current) line.classList.add("kaito-current");
    return line;
  }

  nothing() {
    const { log } = this.store;
    if (log.error) return log.error;
    if (!log.known) return "Asking the kernel, which answers when its cell is done …";
    return log.texts.length ? "No line of this kind." : "The log is empty so far.";
  }

  footing() {
    const { log } = this.store;
    if (!log.known) return "";
    const all = `${log.texts.length.toLocaleString("en-US")} lines`;
    const some = log.shown ? `${log.length.toLocaleString("en-US")} of ${all}` : all;
    const more = log.earlier ? " · earlier ones come when you scroll up" : log.at > 0 ? " · what was before is in run.logs()" : "";
    return `${some}${more}${log.over ? " · the log has ended" : ""}`;
  }
}
