// What a person chose to see, remembered for this browser's tab where it may be: a page without storage forgets it.

const KEY = "kaito-panel";

export const SMOOTHING = 0.2; // half-life of the smoothed curve, as a share of the curve, at the slider's right end

const USUAL = { smoothing: SMOOTHING * 0.36 ** 2, log: false, axis: "step", loss: true, held: true, rate: false, marks: true };

export function remembered() {
  const look = { ...USUAL };
  try {
    const saved = JSON.parse(sessionStorage.getItem(KEY) || "{}");
    for (const name of Object.keys(USUAL)) if (typeof saved[name] === typeof USUAL[name]) look[name] = saved[name];
  } catch {
    // no storage, or what is in it is not ours
  }
  if (!["step", "tokens", "time"].includes(look.axis)) look.axis = USUAL.axis;
  return look;
}

export function remember(look) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(look));
  } catch {
    // then it is not remembered
  }
}
