// Clips: all of them as a grid, filtered, sorted and searched; the address keeps what was asked for.

import { choice, count, fill, h, plural } from "./dom.js";
import { grid } from "./grid.js";
import { isPresent } from "./words.js";
import { clipCard, heading } from "./parts.js";

const SORTS = { id: "name", margin: "margin, lowest first", "-margin": "margin, highest first", activation: "activation of the concept", distance: "unlike training first" };
const VERDICTS = { "": "all", right: "right", wrong: "wrong", fixed: "fixed by changes", broken: "broken by changes", unlike: "unlike training" };

/** The rows that a query lets in, in its order. */
export function chosen(session, query) {
  const { about, clips, label, decided, decidedBefore, margins, n, M, z } = session;
  const value = (name) => query.get(name) || null;
  const number = (name) => (value(name) === null || Number.isNaN(Number(value(name))) ? null : Number(value(name)));
  const split = value("split") === null ? null : about.splits.indexOf(value("split"));
  const [truth, decision, m] = [number("true"), number("decided"), number("concept")];
  const [low, high] = [number("low") ?? -Infinity, number("high") ?? Infinity];
  const words = (value("q") ?? "").toLowerCase();
  const concept = m === null ? null : session.concepts[m];
  const active = (i) => isPresent(concept, z[i * M + m]) ?? z[i * M + m] > 0;
  const verdicts = {
    right: (i) => decided[i] === label[i],
    wrong: (i) => decided[i] !== label[i],
    fixed: (i) => decidedBefore[i] !== label[i] && decided[i] === label[i],
    broken: (i) => decidedBefore[i] === label[i] && decided[i] !== label[i],
    unlike: (i) => clips.distance?.[i] > about.unseen?.threshold,
  };
  const verdict = verdicts[value("verdict")];
  const rows = [];
  for (let i = 0; i < n; i++) {
    if (split !== null && session.split[i] !== split) continue;
    if (truth !== null && label[i] !== truth) continue;
    if (decision !== null && decided[i] !== decision) continue;
    if (verdict && !verdict(i)) continue;
    if (margins[i] < low || margins[i] > high) continue;
    if (concept && value("shown") && active(i) !== (value("shown") === "active")) continue;
    if (words && !clips.id[i].toLowerCase().includes(words)) continue;
    rows.push(i);
  }
  const keys = {
    margin: (i) => margins[i],
    "-margin": (i) => -margins[i],
    activation: (i) => (concept ? -z[i * M + m] : 0),
    distance: (i) => -(clips.distance?.[i] ?? 0),
  };
  const key = keys[value("sort")];
  if (key) rows.sort((a, b) => key(a) - key(b) || a - b);
  return rows;
}

export async function show({ about, session, signal, query, main }) {
  const asked = new URLSearchParams(query);
  const found = h("p", { class: "told", "aria-live": "polite" });
  const nothing = h("p", { class: "empty", hidden: true }, "No clip is like that. ", h("a", { href: "#/clips" }, "Show all clips"));
  const cards = grid({ make: (i) => clipCard(session, i), size: [164, about.media.thumb ? 218 : 98], label: "Clips", signal, main });
  const update = () => {
    const rows = chosen(session, asked);
    found.textContent = rows.length === session.n ? plural(session.n, "clip") : `${count(rows.length)} of ${plural(session.n, "clip")}`;
    nothing.hidden = rows.length > 0;
    cards.show(rows);
  };
  const ask = (name, value) => {
    if (value === "") asked.delete(name);
    else asked.set(name, value);
    history.replaceState(null, "", `#/clips${asked.size ? "?" : ""}${asked}`);
    update();
  };
  const list = (label, name, pairs) => choice(label, pairs, asked.get(name) ?? pairs[0][0], (value) => ask(name, value));
  const classes = about.classes.map((name, k) => [k, name]);
  const limit = (label, name) =>
    h("label", { class: "field narrow" }, h("span", {}, label), h("input", { type: "number", step: "0.5", value: asked.get(name) ?? "", oninput: (event) => ask(name, event.target.value) }));
  const verdicts = Object.entries(VERDICTS).filter(([name]) => (name !== "unlike" || about.unseen) && (!["fixed", "broken"].includes(name) || session.done || asked.get("verdict") === name));
  const sorts = Object.entries(SORTS).filter(([name]) => name !== "distance" || session.clips.distance);
  const search = h("label", { class: "field grow" }, h("span", {}, "Search"), h("input", { type: "search", value: asked.get("q") ?? "", placeholder: "name of a clip", oninput: (event) => ask("q", event.target.value) }));
  const node = h(
    "div",
    {},
    heading("Clips"),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      search,
      list("Split", "split", [["", "all"], ...about.splits.map((name) => [name, name])]),
      list("Decision", "verdict", verdicts),
      list("Sort by", "sort", sorts),
      h(
        "details",
        { class: "more", open: ["true", "decided", "concept", "low", "high"].some((name) => asked.has(name)) },
        h("summary", {}, "Class, concept, margin"),
        h(
          "div",
          { class: "filters" },
          list("True class", "true", [["", "any"], ...classes]),
          list("Decided class", "decided", [["", "any"], ...classes]),
          list("Concept", "concept", [["", "any"], ...session.concepts.map((concept) => [concept.index, `${concept.type}: ${concept.label}`])]),
          list("is", "shown", [["", "active or absent"], ["active", "active"], ["absent", "absent"]]),
          limit("Margin from", "low"),
          limit("to", "high"),
        ),
      ),
    ),
    h("div", { class: "row" }, found, h("a", { class: "small", href: "#/clips" }, "Clear all filters")),
    nothing,
    cards.node,
  );
  session.addEventListener("change", update, { signal });
  update();
  return { title: "Clips", node };
}
