// The front end's logic without a page: what it stores, thins, smooths and says. `npm test` runs it, and so does pytest.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Along, Smooth, extent, lowerBound, moved, pick, place, weight, zoomed } from "../../../kaito_jupyter/panel/js/curve.js";
import { LogLines, pieces } from "../../../kaito_jupyter/panel/js/loglines.js";
import * as numbers from "../../../kaito_jupyter/panel/js/numbers.js";
import { Store } from "../../../kaito_jupyter/panel/js/store.js";

/** Bytes as they come in a message: at an odd place of a larger buffer. */
function bytes(...values) {
  const buffer = new ArrayBuffer(3 + 8 * values.length);
  const view = new DataView(buffer, 3);
  values.forEach((value, i) => view.setFloat64(8 * i, value, true));
  return view;
}

const all = { k: "all", g: 1, at: 0, n: 2, e: [0, 1], s: { state: "Running", name: "r" }, t: 100 };

test("a store holds what came, column after column", () => {
  const store = new Store(() => {});
  assert.ok(store.apply(all, [bytes(1, 2, 3.5, 3.25, NaN, 1e-4, 9, 18, 100, 101, 0, 3.75)]));
  assert.deepEqual([...store.rows.column("loss")], [3.5, 3.25]);
  assert.deepEqual([...store.rows.column("rate")], [NaN, 1e-4]);
  assert.deepEqual([...store.evaluations.column("loss")], [3.75]);
  assert.ok(store.apply({ k: "new", g: 1, at: 2, n: 1, e: [1, 0], s: { step: 3 }, t: 101 }, [bytes(3, 3, 1e-4, 27, 102)]));
  assert.deepEqual([...store.rows.column("step")], [1, 2, 3]);
  assert.equal(store.status.name, "r");
  assert.equal(store.status.step, 3);
});

test("a message that does not fit is refused and changes nothing", () => {
  const store = new Store(() => {});
  const late = { k: "new", g: 1, at: 5, n: 0, e: [0, 0], s: { step: 9 }, t: 1 };
  assert.equal(store.apply(late, []), false);
  store.apply(all, [bytes(1, 2, 3, 3, 0, 0, 9, 18, 100, 101, 0, 4)]);
  assert.equal(store.apply(late, []), false);
  assert.equal(store.apply({ ...late, g: 2, at: 2, e: [1, 0] }, []), false);
  assert.equal(store.rows.length, 2);
  assert.equal(store.status.step, undefined);
});

test("a resend takes the place of everything", () => {
  const store = new Store(() => {});
  store.apply(all, [bytes(1, 2, 3, 3, 0, 0, 9, 18, 100, 101, 0, 4)]);
  store.apply({ ...all, g: 2, n: 1, e: [0, 0], s: { state: "Failed" } }, [bytes(7, 1, 0, 9, 100)]);
  assert.deepEqual([...store.rows.column("step")], [7]);
  assert.equal(store.evaluations.length, 0);
  assert.deepEqual(store.status, { state: "Failed" });
});

test("columns grow to a hundred thousand rows", () => {
  const store = new Store(() => {});
  const n = 100_000;
  const values = new Float64Array(5 * n).map((_, i) => i % n);
  store.apply({ ...all, n, e: [0, 0] }, [new DataView(values.buffer)]);
  store.apply({ k: "new", g: 1, at: n, n: 1, e: [0, 0], s: {}, t: 1 }, [bytes(n, 1, 2, 3, 4)]);
  assert.equal(store.rows.length, n + 1);
  assert.equal(store.rows.step[n], n);
  assert.equal(store.rows.loss[n - 1], n - 1);
});

test("thinning keeps the ends, every spike, and the order", () => {
  const values = new Float64Array(100_000).fill(1);
  values[54_321] = 9;
  values[77_777] = -9;
  const chosen = pick(values, 0, values.length, 2000);
  assert.ok(chosen.length <= 2002);
  assert.equal(chosen[0], 0);
  assert.equal(chosen.at(-1), 99_999);
  assert.ok(chosen.includes(54_321) && chosen.includes(77_777));
  assert.ok(chosen.every((value, i) => i === 0 || value > chosen[i - 1]));
  assert.deepEqual([...pick(values, 5, 8, 2000)], [5, 6, 7]);
});

test("smoothing goes on where it was, skips what is missing, and is not pulled to zero", () => {
  const whole = new Smooth(0.9);
  const parts = new Smooth(0.9);
  const values = Float64Array.from({ length: 700 }, (_, i) => (i % 13 === 5 ? NaN : 3 - i / 500));
  for (let i = 0; i <= values.length; i += 7) parts.update(values.subarray(0, i));
  assert.deepEqual([...parts.update(values)], [...whole.update(values)]);
  assert.equal(whole.values[0], 3);
  assert.ok(whole.values[5] === whole.values[4]);
});

test("the smoothed curve's memory follows the curve's length", () => {
  assert.equal(weight(0, 100), 0);
  assert.ok(weight(0.03, 10_000) > weight(0.03, 1000));
  assert.equal(weight(0.03, 513), weight(0.03, 1024));
});

test("small tools find their way", () => {
  assert.equal(lowerBound([1, 3, 3, 5], 3), 1);
  assert.equal(lowerBound([1, 3], 9), 2);
  assert.deepEqual(extent([[3, null, NaN], [-1]]), [-1, 3]);
  assert.deepEqual(extent([[3, 0, -1]], true), [3, 3]);
  assert.equal(extent([[null]]), null);
});

test("numbers read as people write them", () => {
  assert.equal(numbers.short(2.34567), "2.346");
  assert.equal(numbers.short(0.000123), "1.23e-4");
  assert.equal(numbers.short(NaN), "–");
  assert.equal(numbers.rate(0.0002), "2e-4");
  assert.equal(numbers.rate(0), "0");
  assert.equal(numbers.count(1_234_567), "1.2M");
  assert.equal(numbers.count(9_999), "9,999");
  assert.equal(numbers.bytes(1_612_000_000), "1.5 GiB");
  assert.deepEqual([8, 130, 3900, 187_200].map(numbers.duration), ["8s", "2m 10s", "1h 05m", "2d 4h"]);
  assert.equal(numbers.change(2, 1.5), "−25 %");
  assert.equal(numbers.change(0, 1), "");
});

test("a run's state is said in a sentence", () => {
  const at = { phase: "training", step: 120, max_steps: 400, left: 130, at: 1000, state: "Running" };
  assert.equal(numbers.sentence(at, 1000), "Training · step 120 of 400 · 2m 10s left");
  assert.equal(numbers.sentence(at, 1010), "Training · step 120 of 400 · 2m 00s left");
  assert.equal(numbers.sentence({ state: "Pending" }, 0), "Waiting to start");
  const loading = { state: "Running", phase: "downloading", detail: "a.bin", done: 1048576, total: 4194304, unit: "bytes" };
  assert.equal(numbers.sentence(loading, 0), "Downloading · a.bin · 1.0 MiB of 4.0 MiB");
  assert.equal(numbers.sentence({ state: "Succeeded", step: 400, started: 0, ended: 372 }, 0), "Finished · 400 steps in 6m 12s");
  const early = { state: "Succeeded", step: 60, max_steps: 400, started: 0, ended: 60, ending: "stopped early, no better in 3 evaluations" };
  assert.equal(numbers.sentence(early, 0), "Finished · 60 of 400 steps in 1m 00s · stopped early, no better in 3 evaluations");
  assert.equal(numbers.sentence({ state: "Failed", phase: "loading", started: 0, ended: 4 }, 0), "Failed while loading · after 4s");
  assert.equal(numbers.share(at), 0.3);
  assert.equal(numbers.share(loading), 0.25);
  assert.equal(numbers.share({ state: "Running", phase: "loading" }), null);
});

test("an axis of tokens never falls and has no holes", () => {
  const along = new Along();
  along.update(Float64Array.of(NaN, 10, 30));
  assert.deepEqual([...along.update(Float64Array.of(NaN, 10, 30, 5, NaN, 40))], [NaN, 10, 30, 30, 30, 40]);
  assert.equal(place([10, 20], [100, 200], 15), 150);
  assert.equal(place([10, 20], [100, 200], 0), 0);
  assert.equal(place([10, 20], [100, 200], 99), 200);
});

test("zooming keeps what is under the pointer, and ends at the whole", () => {
  assert.deepEqual(zoomed([0, 100], [0, 100], 0.5, 50, 1), [25, 75]);
  assert.deepEqual(zoomed([0, 100], [0, 100], 0.5, 0, 1), [0, 50]);
  assert.equal(zoomed([25, 75], [0, 100], 2, 50, 1), null);
  assert.deepEqual(moved([25, 75], [0, 100], 1), [50, 100]);
});

test("log lines are joined at both ends, sifted, searched, and refused where they do not fit", () => {
  const log = new LogLines();
  const send = (at, lines, levels, more = {}) => log.apply({ at, lines, levels, first: 0, over: false, ...more });
  assert.ok(send(2, ["c", "Boom"], " e", { reset: true }));
  assert.ok(send(4, ["done"], "o"));
  assert.ok(log.earlier);
  assert.ok(send(0, ["a", "b boom"], "w "));
  assert.deepEqual(log.texts, ["a", "b boom", "c", "Boom", "done"]);
  assert.equal(send(9, ["x"], " "), false);
  log.search("boom");
  assert.deepEqual(log.matches, [1, 3]);
  log.show("bad");
  assert.equal(log.length, 2);
  assert.deepEqual(log.errors(), [1]);
  assert.deepEqual(pieces("a Boom b", "boom"), [["a ", false], ["Boom", true], [" b", false]]);
});
