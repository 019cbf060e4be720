// Figures of a method that has no concepts to look at.

import { h, plural } from "./dom.js";
import { heading, links, section } from "./parts.js";

const shown = (value) => (value === null ? "–" : Number.isInteger(value) ? String(value) : Math.abs(value) < 1e4 && Math.abs(value) >= 1e-3 ? value.toFixed(3) : value.toPrecision(4));

export async function show({ about }) {
  const { headline, summary, tables, warnings, pages } = about;
  const node = h(
    "div",
    {},
    h("div", { class: "row apart" }, heading(`${about.title} · ${about.method}`, about.about), links(pages)),
    headline && h("div", { class: "cards" }, h("div", { class: "card figure" }, h("span", { class: "label" }, headline.name), h("strong", {}, shown(headline.value)), headline.split && h("span", { class: "small" }, headline.split))),
    warnings.length > 0 && h("details", { class: "warnings" }, h("summary", {}, plural(warnings.length, "warning")), h("ul", {}, warnings.map((text) => h("li", {}, text)))),
    about.rows && h("p", {}, h("a", { href: "#/rows" }, "All clips with their decisions")),
    h(
      "div",
      { class: "wide-two" },
      summary.length > 0 && section("Summary", h("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "Summary" }, h("pre", {}, summary.join("\n")))),
      h("div", {}, tables.map(table)),
    ),
  );
  return { title: "Overview", node };
}

function table({ title, columns, rows }) {
  return section(
    title,
    h(
      "div",
      { class: "scroller", tabindex: "0", role: "group", "aria-label": title || "Figures" },
      h("table", { class: "plain-table" }, h("thead", {}, h("tr", {}, h("td", {}), columns.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows.map(({ name, values }) => h("tr", {}, h("th", { scope: "row" }, name), values.map((value) => h("td", {}, shown(value))))))),
    ),
  );
}
