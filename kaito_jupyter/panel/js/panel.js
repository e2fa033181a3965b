// The front end of `kaito_jupyter.panel.widget`: an anywidget module.
//
// The panel's elements outlive a view: when the notebook renders the output again (it does so at each refresh of the
// output's picture), the new view takes the same elements, with their focus, zoom and scroll position. When the run has
// ended, the output becomes a picture and a text that need no kernel; in a page whose kernel still knows the run, the
// <kaito-run-1> element in that text takes the panel in again, in the picture's place.

import "uplot/dist/uPlot.min.css";
import "./panel.css";
import "./chart.css";
import "./parts.css";
import "./log.css";
import { Store } from "./store.js";
import { View } from "./view.js";

const TAG = "kaito-run-1";
const KEPT = 5_000; // ms that elements without a place on the page are kept for the next view

/** Panels on the page, by run. Each widget brings this module anew, so that the one list hangs on the custom element. */
function panels() {
  if (!customElements.get(TAG)) {
    const known = new Map();
    customElements.define(
      TAG,
      class extends HTMLElement {
        static panels = known;
        static hosts = new Set();

        connectedCallback() {
          this.constructor.hosts.add(this);
          this.wake();
        }

        disconnectedCallback() {
          this.constructor.hosts.delete(this);
          this.sleep();
        }

        /** Show the live panel, if this page knows it, as soon as the picture is in place that it stands for. */
        wake() {
          const panel = known.get(this.dataset.run);
          const area = this.closest(".jp-OutputArea");
          if (!panel || !area || this.asleep) return;
          const picture = pictureBefore(this);
          if (!picture) {
            this.observer = this.observer || new MutationObserver(() => this.wake());
            this.observer.observe(area, { childList: true, subtree: true });
            return;
          }
          if (this.observer) this.observer.disconnect();
          const still = [...this.childNodes];
          for (const node of still) node.remove();
          picture.style.display = "none";
          const release = panel.mount(this);
          this.asleep = () => {
            release();
            picture.style.display = "";
            this.replaceChildren(...still);
          };
        }

        sleep() {
          if (this.observer) this.observer.disconnect();
          if (this.asleep) this.asleep();
          this.asleep = null;
        }
      },
    );
  }
  return customElements.get(TAG);
}

/** The output with the picture that belongs to a still text: the one right before it, known by the end of its data. */
function pictureBefore(element) {
  const output = element.closest(".jp-OutputArea-child");
  const before = output && output.previousElementSibling;
  const image = before && before.querySelector("img");
  return image && element.dataset.picture && image.src.endsWith(element.dataset.picture) ? before : null;
}

class Panel {
  constructor(model) {
    this.store = new Store((message) => this.send(message));
    this.model = model;
    this.views = new Set();
    this.asked = 0;
    model.on("msg:custom", (message, buffers) => {
      if (!this.store.apply(message, buffers)) this.want();
    });
    const saved = model.get("snapshot");
    if (saved && saved.k) this.store.apply(saved, [saved.data], false);
    this.want();
  }

  send(message) {
    try {
      this.model.send(message);
    } catch {
      // a saved notebook without a kernel: what was saved is what there is
    }
  }

  /** Ask for everything, but not again while the answer is on its way. */
  want() {
    if (Date.now() - this.asked < 1000) return;
    this.asked = Date.now();
    this.send({ k: "want" });
  }

  /** Put a panel into `host`: elements that have no place on the page any more, else new ones. Returns how to end it. */
  mount(host) {
    let view = [...this.views].find((other) => !other.root.isConnected);
    if (!view) {
      view = new View(this.store);
      this.views.add(view);
    }
    host.append(view.root);
    let frame = 0;
    const settle = () => {
      if (view.root.isConnected) view.attached(!(host instanceof customElements.get(TAG)));
      else frame = requestAnimationFrame(settle); // `host` itself comes onto the page a moment later
    };
    settle();
    return () => {
      cancelAnimationFrame(frame);
      if (view.root.parentElement === host) view.root.remove();
      setTimeout(() => {
        if (view.root.isConnected || !this.views.delete(view)) return;
        view.destroy();
      }, KEPT);
    };
  }
}

export default () => {
  let panel;
  return {
    initialize({ model }) {
      panel = new Panel(model);
      const { panels: known, hosts } = panels();
      const run = model.get("run");
      known.set(run, panel);
      for (const host of hosts) if (host.dataset.run === run) host.wake();
      return () => {
        if (known.get(run) !== panel) return;
        known.delete(run);
        for (const host of hosts) if (host.dataset.run === run) host.sleep();
      };
    },
    render({ el }) {
      el.classList.add("kaito-host");
      return panel.mount(el);
    },
  };
};
