// Overview: how good the model is, where it errs, what each class is decided by, and the path from sparse to accurate.

import { choice, count, fill, h, percent, plural, signed2 } from "./dom.js";
import { floats } from "./data.js";
import { confusion, wilson } from "./model.js";
import { bars, chip, colour, heading, links, section } from "./parts.js";

const ASKED_AT_ONCE = 24;

export async function show({ about, session, signal }) {
  const node = h("div", { class: "overview" });
  let split = about.splits.includes("test") ? "test" : about.splits.at(-1);
  const cards = h("div", { class: "cards" });
  const matrix = h("div");
  const perClass = h("div", { class: "classes" });
  const choose = choice("Split", [["", "all"], ...about.splits.map((name) => [name, name])], split, (value) => {
    split = value;
    update();
  });
  const update = () => {
    fill(cards, about.splits.map((name, s) => card(session, name, s)), size(session));
    fill(matrix, confusionMatrix(session, split));
    fill(perClass, classes(session));
  };
  session.addEventListener("change", update, { signal });
  fill(
    node,
    h("div", { class: "row apart" }, heading(about.title, `${plural(about.classes.length, "class", "classes")}, ${plural(about.n, "clip")}, ${plural(about.concepts.length, "concept")}`), links(about.pages)),
    cards,
    about.figures.warnings.length > 0 &&
      h("details", { class: "warnings" }, h("summary", {}, plural(about.figures.warnings.length, "warning")), h("ul", {}, about.figures.warnings.map((text) => h("li", {}, text)))),
    about.path.length > 0 && section("Sparser or more accurate", pathSlider(session, signal)),
    h("div", { class: "wide-two leading" }, section("Confusion", choose, matrix), section("What each class is decided by", perClass)),
  );
  update();
  return { title: "Overview", node };
}

function card(session, name, s) {
  const { after, of } = session.effects[s];
  const [low, high] = wilson(after, of);
  return h(
    "a",
    { class: "card figure", href: `#/clips?split=${encodeURIComponent(name)}&sort=margin` },
    h("span", { class: "label" }, name),
    h("strong", {}, percent(after / of)),
    h("span", { class: "small" }, `${count(after)} of ${count(of)}, 95% interval ${percent(low, 0)} to ${percent(high, 0)}`),
    h("span", { class: "interval", "aria-hidden": "true" }, interval(low, high, after / of)),
  );
}

function interval(low, high, at) {
  return [
    h("span", { class: "range", style: { left: percent(low), width: percent(high - low) } }),
    h("span", { class: "point", style: { left: percent(at) } }),
  ];
}

function size(session) {
  const weights = session.weights.reduce((sum, value) => sum + (value !== 0), 0);
  return h(
    "div",
    { class: "card figure" },
    h("span", { class: "label" }, "weights"),
    h("strong", {}, count(weights)),
    h("span", { class: "small" }, `${(weights / session.K).toFixed(1)} concepts a class, of ${count(session.M)}`),
  );
}

/** A table of true and decided classes; each cell leads to its clips. */
function confusionMatrix(session, split) {
  const { K, about } = session;
  const s = about.splits.indexOf(split);
  const counts = confusion(session.decided, session.label, K, (i) => s < 0 || session.split[i] === s);
  if (K > ASKED_AT_ONCE) return confusedPairs(session, counts, split);
  const largest = Math.max(1, ...counts);
  const cell = (k, j) => {
    const value = counts[k * K + j];
    const style = { "--share": (value / largest).toFixed(3) };
    const words = `${about.classes[k]} decided as ${about.classes[j]}: ${plural(value, "clip")}`;
    if (!value) return h("td", { class: "none" }, "·");
    return h("td", { class: k === j ? "right" : "wrong", style }, h("a", { href: cellLink(split, k, j), "aria-label": words, title: words }, count(value)));
  };
  const table = h(
    "table",
    { class: "confusion" },
    h("thead", {}, h("tr", {}, h("td", {}), about.classes.map((name) => h("th", { scope: "col" }, h("span", {}, name))))),
    h("tbody", {}, about.classes.map((name, k) => h("tr", {}, h("th", { scope: "row" }, name), about.classes.map((_, j) => cell(k, j))))),
  );
  return [h("p", { class: "small" }, "True class in rows, decision in columns. A cell opens its clips."), h("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "Confusion matrix" }, table)];
}

const cellLink = (split, k, j) => `#/clips?${new URLSearchParams({ ...(split ? { split } : {}), true: k, decided: j, sort: "margin" })}`;

/** Many classes: a picture of the whole matrix, and the pairs that are confused most as a list. */
function confusedPairs(session, counts, split) {
  const { K, about } = session;
  const pairs = [];
  counts.forEach((value, at) => {
    if (value && Math.floor(at / K) !== at % K) pairs.push([value, Math.floor(at / K), at % K]);
  });
  pairs.sort((a, b) => b[0] - a[0]);
  const scale = Math.max(2, Math.floor(420 / K));
  const canvas = h("canvas", { class: "matrix", width: K * scale, height: K * scale, role: "img", "aria-label": `Confusion matrix of ${K} classes; the list beside it names the cells` });
  const pen = canvas.getContext("2d");
  const sums = about.classes.map((_, k) => Math.max(1, counts.subarray(k * K, (k + 1) * K).reduce((a, b) => a + b, 0)));
  const [right, wrong] = ["right", "wrong"].map(colour);
  counts.forEach((value, at) => {
    if (!value) return;
    const [k, j] = [Math.floor(at / K), at % K];
    pen.globalAlpha = Math.min(1, 0.25 + (0.75 * value) / sums[k]);
    pen.fillStyle = k === j ? right : wrong;
    pen.fillRect(j * scale, k * scale, scale, scale);
  });
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width].map((part) => Math.min(K - 1, Math.max(0, Math.floor(part * K))));
  };
  const told = h("p", { class: "small told" }, "True class in rows, decision in columns; a cell opens its clips.");
  canvas.addEventListener("pointermove", (event) => {
    const [k, j] = at(event);
    told.textContent = `${about.classes[k]} decided as ${about.classes[j]}: ${plural(counts[k * K + j], "clip")}`;
  });
  canvas.addEventListener("click", (event) => (location.hash = cellLink(split, ...at(event))));
  return h(
    "div",
    { class: "matrix-and-list" },
    h("div", {}, canvas, told),
    pairs.length
      ? h("ol", { class: "pairs" }, pairs.slice(0, ASKED_AT_ONCE).map(([value, k, j]) => h("li", {}, h("a", { href: cellLink(split, k, j) }, `${about.classes[k]} as ${about.classes[j]}`), " ", h("span", { class: "small" }, count(value)))))
      : h("p", {}, "Every clip of this split is decided rightly."),
  );
}

function classes(session) {
  const { K, M, about, concepts, weights } = session;
  const one = (k) => {
    const own = weights.subarray(k * M, (k + 1) * M);
    const order = Array.from(own.keys()).filter((m) => own[m] !== 0).sort((a, b) => Math.abs(own[b]) - Math.abs(own[a]));
    const largest = Math.abs(own[order[0]] ?? 1);
    return [
      order.length === 0 && h("p", { class: "small" }, "No concept: this class is decided by its bias alone."),
      bars(
        order.slice(0, 6).map((m) => ({
          label: [chip(concepts[m]), own[m] > 0 ? "" : "no ", h("a", { href: `#/concept/${m}` }, concepts[m].label)],
          value: own[m],
          type: concepts[m].type,
          text: signed2(own[m]),
        })),
        largest,
      ),
      order.length > 6 && h("p", { class: "small" }, `and ${count(order.length - 6)} more`),
    ];
  };
  if (K <= ASKED_AT_ONCE) {
    return about.classes.map((name, k) => {
      const details = h("details", { open: k < 2, ontoggle: () => fill(inside, details.open ? one(k) : []) }, h("summary", {}, h("span", { class: "name" }, name)));
      const inside = h("div", {}, k < 2 ? one(k) : []);
      details.append(inside);
      return details;
    });
  }
  const inside = h("div", {}, one(0));
  return [choice("Class", about.classes.map((name, k) => [k, name]), 0, (k) => fill(inside, one(Number(k)))), inside];
}

/** The λ path: the whole page looks at the weights of the stop that is chosen. */
function pathSlider(session, signal) {
  const { path, chosen } = session.about;
  const input = h("input", { type: "range", min: 0, max: path.length - 1, step: 1, value: session.stop ?? chosen, "aria-label": "Stop of the λ path, from sparse to dense", list: "stops" });
  const told = h("p", { class: "told" });
  const back = h("button", { type: "button", class: "quiet", onclick: () => go(chosen) }, "Back to the model");
  let wanted = Number(input.value);
  const words = (i) => {
    const stop = path[i];
    told.textContent = `λ = ${stop.lambda.toPrecision(3)}: ${plural(stop.nonzero, "weight")} and ${percent(stop.accuracy.val)} of validation when fitted on train alone${i === chosen ? "; this is the model" : ""}`;
    input.setAttribute("aria-valuetext", told.textContent);
    back.hidden = i === chosen;
  };
  const go = async (i) => {
    wanted = i;
    input.value = i;
    words(i);
    if (i === chosen) return session.look();
    const values = await floats(path[i].weights);
    if (wanted !== i || signal.aborted) return undefined;
    const [weights, bias] = [new Float64Array(session.K * session.M), new Float64Array(session.K)];
    for (let k = 0; k < session.K; k++) {
      weights.set(values.subarray(k * (session.M + 1), (k + 1) * (session.M + 1) - 1), k * session.M);
      bias[k] = values[(k + 1) * (session.M + 1) - 1];
    }
    return session.look({ weights, bias }, i);
  };
  input.addEventListener("input", () => go(Number(input.value)));
  words(wanted);
  return h(
    "div",
    { class: "path" },
    pathChart(path, chosen, wanted, input),
    h("div", { class: "slider" }, h("span", { class: "small" }, "sparser"), input, h("span", { class: "small" }, "more accurate")),
    h("div", { class: "row" }, told, back),
  );
}

/** Accuracy of validation over the stops as columns, so that one sees where it stops growing. */
function pathChart(path, chosen, at, input) {
  const values = path.map((stop) => stop.accuracy.val);
  const low = Math.min(...values) - 0.02;
  const columns = values.map((value, i) =>
    h("span", { class: i === chosen ? "column chosen" : "column", style: { height: percent((value - low) / (Math.max(...values) - low || 1)) } }, h("span", { class: "small" }, i === chosen ? "model" : "")),
  );
  const mark = () => columns.forEach((column, i) => column.classList.toggle("at", i === Number(input.value)));
  input.addEventListener("input", mark);
  columns[at]?.classList.add("at");
  return h("div", { class: "columns", "aria-hidden": "true" }, columns);
}
