// What an ended run has made: where its adapter lies, its digest, and how it is used.

import { h, say } from "./dom.js";
import { bytes } from "./numbers.js";
import { refill } from "./parts.js";

export function ending(slot, s) {
  const over = s.state === "Succeeded" || s.state === "Cancelled";
  const made = over ? s.made || (s.adapter ? { place: s.adapter, uses: [] } : null) : null;
  refill(slot, made ? JSON.stringify(made) : "", () => {
    if (!made) return [];
    const size = made.bytes ? h("span.note", {}, bytes(made.bytes)) : null;
    return [
      h("section.ending", { ariaLabel: "What it made" },
        fact("Adapter", made.place, "the adapter's place", size),
        made.digest ? fact("Digest", made.digest, "the digest") : null,
        ...made.uses.map(([label, code]) =>
          h("details.use", {},
            h("summary", {}, h("span", {}, label)),
            h("div.code", {}, copier(code, label), h("pre.codetext", { tabIndex: 0, ariaLabel: label }, code.trimEnd()))))),
    ];
  });
}

function fact(label, text, what, more = null) {
  return h("div.adapter", {}, h("span.label", {}, label), h("code.path", {}, text), more, copier(text, what));
}

/** A button that copies. */
function copier(text, what) {
  const button = h("button.link", { type: "button", ariaLabel: `Copy ${what}` }, "Copy");
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      say(button, "Copy it by hand"); // a page without the right to the clipboard
    }
    setTimeout(() => say(button, "Copy"), 2000);
  };
  return button;
}
