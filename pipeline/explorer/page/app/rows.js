// Clip by clip, what a method has decided: a long table of which only the part near the window exists.

import { json } from "./data.js";
import { choice, count, fill, h, plural } from "./dom.js";
import { heading } from "./parts.js";

const HEIGHT = 40;
const OVERSCAN = 10;

export async function show({ about, signal, main }) {
  const { classes, columns, values } = await json(about.rows);
  const n = values[0]?.length ?? 0;
  const text = columns.map(({ kind }, c) => {
    const whole = values[c].every((value) => value === null || Number.isInteger(value));
    const words = {
      class: (value) => classes[value] ?? "",
      classes: (value) => value.map((k) => classes[k]).join(", "),
      flag: (value) => (value ? "yes" : "no"),
      number: (value) => (whole ? String(value) : value.toFixed(3)),
      text: (value) => value,
    }[kind];
    return (i) => (values[c][i] === null || values[c][i] === undefined ? "" : words(values[c][i]));
  });
  let [order, down, search, filters] = [0, false, "", new Map()];
  let rows = [];
  const told = h("p", { class: "told", "aria-live": "polite" });
  const body = h("tbody");
  const above = h("tr", { "aria-hidden": "true" });
  const below = h("tr", { "aria-hidden": "true" });
  const heads = columns.map(({ name }, c) => h("th", { scope: "col", class: `of-${columns[c].kind}` }, h("button", { type: "button", class: "quiet", onclick: () => { [order, down] = [c, order === c ? !down : false]; update(); } }, name)));
  const table = h("table", { class: "plain-table rows", "aria-rowcount": n }, h("thead", {}, h("tr", {}, heads)), body);
  let drawn = "";
  const draw = () => {
    const top = Math.max(0, -body.getBoundingClientRect().top);
    const first = Math.max(0, Math.floor(top / HEIGHT) - OVERSCAN);
    const last = Math.min(rows.length, first + Math.ceil(innerHeight / HEIGHT) + 2 * OVERSCAN);
    const key = `${first} ${last}`;
    if (key === drawn) return;
    drawn = key;
    const spacer = (row, lines) => fill(row, h("td", { colspan: columns.length, style: { height: `${lines * HEIGHT}px`, padding: "0", border: "0" } }));
    spacer(above, first);
    spacer(below, rows.length - last);
    fill(body, first > 0 && above, rows.slice(first, last).map((i) => h("tr", {}, text.map((own, c) => h("td", { class: `of-${columns[c].kind}` }, own(i))))), last < rows.length && below);
  };
  const update = () => {
    rows = [];
    for (let i = 0; i < n; i++) {
      if (search && !text.some((own) => own(i).toLowerCase().includes(search))) continue;
      if ([...filters].some(([c, wanted]) => text[c](i) !== wanted)) continue;
      rows.push(i);
    }
    const number = columns[order].kind === "number";
    const key = number ? (i) => values[order][i] ?? -Infinity : text[order];
    rows.sort((a, b) => (number ? key(a) - key(b) : key(a).localeCompare(key(b))) || a - b);
    if (down) rows.reverse();
    heads.forEach((head, c) => head.setAttribute("aria-sort", c !== order ? "none" : down ? "descending" : "ascending"));
    told.textContent = rows.length === n ? plural(n, "clip") : `${count(rows.length)} of ${plural(n, "clip")}`;
    drawn = "";
    draw();
  };
  const few = columns.flatMap(({ kind, name }, c) => {
    const known = ["text", "class", "flag"].includes(kind) ? [...new Set(values[c].map((_, i) => text[c](i)))] : [];
    if (known.length < 2 || known.length > 60) return [];
    return [choice(name, [["", "any"], ...known.sort().map((value) => [value, value || "–"])], "", (value) => { if (value === "") filters.delete(c); else filters.set(c, value); update(); })];
  });
  addEventListener("scroll", draw, { signal, passive: true });
  addEventListener("resize", draw, { signal });
  main.addEventListener("shown", () => update(), { signal });
  const node = h(
    "div",
    {},
    heading("Clips"),
    h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, h("label", { class: "field grow" }, h("span", {}, "Search"), h("input", { type: "search", oninput: (event) => { search = event.target.value.toLowerCase(); update(); } })), few),
    told,
    h("div", { class: "scroller wide-table", tabindex: "0", role: "group", "aria-label": "Clips" }, table),
  );
  return { title: "Clips", node };
}
