// The log's lines that are on the page, which of them are shown, and which match a search. No DOM here.

const MOST = 100_000;

/** Which lines each filter lets through, by their levels: e error, w warning, o the trainer's own event, space: all else. */
export const FILTERS = { all: "ewo ", words: "ew ", bad: "ew" };

export class LogLines {
  constructor() {
    this.clear();
  }

  clear() {
    this.at = 0; // number of the first line that is here
    this.first = 0; // number of the first line that the kernel has
    this.texts = [];
    this.levels = [];
    this.longest = 0;
    this.error = "";
    this.over = false;
    this.known = false; // has anything come?
    this.filter = "all";
    this.shown = null; // indices of the lines that the filter lets through; null for all
    this.query = "";
    this.matches = []; // indices of the shown lines that match
  }

  /** Take a message's lines, behind or before those that are here. False when they fit neither. */
  apply({ at, lines, levels, first, over, reset, error }) {
    if (error) {
      this.error = error;
      return true;
    }
    const end = this.at + this.texts.length;
    const before = at + lines.length === this.at && !reset && this.texts.length > 0 && at < this.at;
    if (!this.known || reset) {
      this.texts = lines;
      this.levels = [...levels];
      this.at = at;
    } else if (before) {
      this.texts = lines.concat(this.texts);
      this.levels = [...levels].concat(this.levels);
      this.at = at;
    } else if (at === end) {
      for (const line of lines) this.texts.push(line);
      for (const level of levels) this.levels.push(level);
    } else {
      return false;
    }
    const surplus = this.texts.length - MOST;
    if (surplus > 0) {
      this.texts.splice(0, surplus);
      this.levels.splice(0, surplus);
      this.at += surplus;
    }
    for (const line of lines) if (line.length > this.longest) this.longest = line.length;
    const same = this.known && !reset && !before && surplus <= 0;
    [this.first, this.over, this.known] = [first, over, true];
    this.sift(same ? this.texts.length - lines.length : 0);
    return true;
  }

  /** Does the kernel have lines from before those that are here? */
  get earlier() {
    return this.known && this.at > this.first && this.texts.length < MOST;
  }

  get length() {
    return this.shown ? this.shown.length : this.texts.length;
  }

  /** The line at a place of the list that is shown: its number in `texts`. */
  line(place) {
    return this.shown ? this.shown[place] : place;
  }

  show(filter) {
    this.filter = filter;
    this.sift(0);
  }

  search(query) {
    this.query = query.trim().toLowerCase();
    this.sift(0);
  }

  /** Bring what is shown and what matches up to date, for lines from `from` on. */
  sift(from) {
    const passing = FILTERS[this.filter];
    if (from === 0) {
      this.shown = this.filter === "all" ? null : [];
      this.matches = [];
    }
    for (let i = from; i < this.texts.length; i++) {
      if (this.shown) {
        if (!passing.includes(this.levels[i])) continue;
        this.shown.push(i);
      } else if (!this.query) {
        return;
      }
      if (this.query && this.texts[i].toLowerCase().includes(this.query)) {
        this.matches.push(this.shown ? this.shown.length - 1 : i);
      }
    }
  }

  /** Places of the shown lines that are errors. */
  errors() {
    const places = [];
    for (let i = 0; i < this.length; i++) if (this.levels[this.line(i)] === "e") places.push(i);
    return places;
  }
}

/** A text in pieces, [piece, does it match] each. */
export function pieces(text, query) {
  if (!query) return [[text, false]];
  const found = [];
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(query); at >= 0; at = lower.indexOf(query, from)) {
    if (at > from) found.push([text.slice(from, at), false]);
    from = at + query.length;
    found.push([text.slice(at, from), true]);
  }
  if (from < text.length) found.push([text.slice(from), false]);
  return found;
}
