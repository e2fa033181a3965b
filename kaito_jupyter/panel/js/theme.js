// Colours for the canvas, read from the page, and word of when they change.

const NAMES = ["loss", "faint", "held", "rate", "grid", "quiet", "back", "bad"];

function luminance(color) {
  const parts = (color.match(/[\d.]+/g) || []).map(Number);
  if (parts.length < 3 || (parts.length > 3 && parts[3] === 0)) return null;
  return (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255;
}

/** Is the page dark where `element` lies? By the first background that is not transparent. */
function dark(element) {
  for (let node = element.parentElement; node; node = node.parentElement) {
    const light = luminance(getComputedStyle(node).backgroundColor);
    if (light !== null) return light < 0.45;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The panel's colours as the canvas needs them (resolved), after its dark or light variant was chosen. */
export function colors(root) {
  root.dataset.dark = dark(root);
  const probe = document.createElement("span");
  root.append(probe);
  const found = { family: getComputedStyle(root).fontFamily };
  for (const name of NAMES) {
    probe.style.color = `var(--kaito-${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** Call `changed` whenever the front end goes over to another theme. Returns a function that ends it. */
export function watchTheme(changed) {
  const later = () => {
    changed();
    setTimeout(changed, 400); // a theme's style sheet may come after its name
  };
  const observer = new MutationObserver(later);
  const attributeFilter = ["class", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"];
  observer.observe(document.body, { attributes: true, attributeFilter });
  observer.observe(document.documentElement, { attributes: true, attributeFilter: [...attributeFilter, "data-theme"] });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", later);
  return () => {
    observer.disconnect();
    scheme.removeEventListener("change", later);
  };
}
