// What a screen reader is told: one thing at a time, at most once a second, and always the latest.

const PAUSE = 1000;

export class Speaker {
  constructor(element) {
    this.element = element;
    this.at = 0;
    this.timer = 0;
    this.next = "";
  }

  say(text) {
    this.next = text;
    if (this.timer) return;
    const wait = this.at + PAUSE - Date.now();
    if (wait <= 0) this.speak();
    else this.timer = setTimeout(() => this.speak(), wait);
  }

  speak() {
    this.timer = 0;
    this.at = Date.now();
    if (this.element.textContent !== this.next) this.element.textContent = this.next;
  }

  stop() {
    clearTimeout(this.timer);
  }
}
