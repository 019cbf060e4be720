// Concepts: all of them as a grid, with what people have made of them.

import { choice, count, fill, h, plural } from "./dom.js";
import { grid } from "./grid.js";
import { chip, heading, section } from "./parts.js";
import { curationNote } from "./curation.js";

/** How much all classes together rest on each concept. */
export function importance(session) {
  const out = new Float64Array(session.M);
  session.weights.forEach((value, at) => (out[at % session.M] += Math.abs(value)));
  return out;
}

export async function show({ about, session, signal, query, main }) {
  const types = [...new Set(session.concepts.map(({ type }) => type))];
  const asked = new URLSearchParams(query);
  const weight = importance(session);
  const found = h("p", { class: "told", "aria-live": "polite" });
  const cards = grid({ make: (m) => card(session, session.concepts[m], weight[m]), size: [264, 178], label: "Concepts", signal, main });
  const sorts = { weight: (a, b) => weight[b] - weight[a], name: (a, b) => session.concepts[a].label.localeCompare(session.concepts[b].label), shown: (a, b) => (session.concepts[b].n_positive ?? 0) - (session.concepts[a].n_positive ?? 0) };
  const update = () => {
    const words = (asked.get("q") ?? "").toLowerCase();
    const states = { doubtful: (c) => c.doubt, sure: (c) => !c.doubt, approved: (c) => c.curated?.approved, unused: (c) => !weight[c.index] };
    const state = states[asked.get("state")];
    const rows = session.concepts
      .filter((c) => (!asked.get("type") || c.type === asked.get("type")) && (!words || `${c.label} ${c.sentence}`.toLowerCase().includes(words)) && (!state || state(c)))
      .map((c) => c.index)
      .sort(sorts[asked.get("sort")] ?? sorts.weight);
    found.textContent = rows.length === session.M ? plural(session.M, "concept") : `${count(rows.length)} of ${plural(session.M, "concept")}`;
    cards.show(rows);
  };
  const ask = (name, value) => {
    if (value === "") asked.delete(name);
    else asked.set(name, value);
    history.replaceState(null, "", `#/concepts${asked.size ? "?" : ""}${asked}`);
    update();
  };
  const list = (label, name, pairs) => choice(label, pairs, asked.get(name) ?? pairs[0][0], (value) => ask(name, value));
  const node = h(
    "div",
    {},
    heading("Concepts"),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      h("label", { class: "field grow" }, h("span", {}, "Search"), h("input", { type: "search", placeholder: "name or sentence", value: asked.get("q") ?? "", oninput: (event) => ask("q", event.target.value) })),
      types.length > 1 && list("Type", "type", [["", "all"], ...types.map((type) => [type, type])]),
      list("Show", "state", [["", "all"], ["sure", "without doubt"], ["doubtful", "doubtful"], ["unused", "without a weight"], ...(about.curation ? [["approved", "approved"]] : [])]),
      list("Sort by", "sort", [["", "weight"], ["name", "name"], ["shown", "clips that show it"]]),
    ),
    found,
    curationNote(about.curation),
    cards.node,
    gone(about.curation),
  );
  update();
  return { title: "Concepts", node };
}

function card(session, concept, weight) {
  const { curated, medoid, n_positive: shown } = concept;
  const strip = medoid && h("img", { class: "strip-of", src: medoid, alt: "", decoding: "async", style: { width: `${concept.frames * 100}%` } });
  const example = !medoid && session.about.media.thumb && strongest(session, concept.index);
  const picture = strip || (example !== false && h("img", { class: "cover", src: `media/thumb/${example}.webp`, alt: "", decoding: "async" }));
  return h(
    "a",
    { class: "concept-card", href: `#/concept/${concept.index}` },
    picture && h("span", { class: "pose" }, picture),
    h(
      "span",
      { class: "body" },
      h("span", { class: "row" }, chip(concept), concept.doubt && h("span", { class: "badge doubt" }, "doubtful"), curated?.approved && h("span", { class: "badge right" }, "approved"), curated && ["dropped", "merged"].includes(curated.state) && h("span", { class: "badge" }, curated.state)),
      h("b", {}, concept.label),
      h("span", { class: "small" }, [shown !== null && `${count(shown)} training clips show it`, weight ? `weight ${weight.toFixed(2)} in all` : "no class uses it"].filter(Boolean).join(" · ")),
    ),
  );
}

/** The clip with a picture in which a concept is most active. */
function strongest({ n, M, z, clips }, m) {
  let best = -1;
  for (let i = 0; i < n; i++) if ((clips.kept?.[i] ?? true) && (best < 0 || z[i * M + m] > z[best * M + m])) best = i;
  return best >= 0 && best;
}

/** What was curated and exists no longer is said, not lost. */
function gone(curation) {
  const unknown = curation?.concepts.filter(({ state }) => state === "unknown") ?? [];
  if (!unknown.length) return null;
  return section("Curated, but no longer found", h("p", { class: "small" }, "The run no longer has these concepts; what was said of them stays in curation.yaml."), h("ul", {}, unknown.map((row) => h("li", {}, chip(row), " ", row.name || row.was, row.note && h("span", { class: "small" }, ` – ${row.note}`)))));
}
