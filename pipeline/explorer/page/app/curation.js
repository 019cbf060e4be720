// What people make of concepts: names, merges, drops, approval. It is kept in curation.yaml, which the pipeline reads.

import { act, forget } from "./data.js";
import { announce, choice, fill, h } from "./dom.js";

/** Whether the model is behind what was curated, and what brings it up to date. */
export function curationNote(curation) {
  if (!curation?.outdated) return null;
  const words = curation.outdated === "names" ? "Names are not in the model file yet." : "Merges and drops change the bottleneck, which has to run again.";
  return h("p", { class: "note" }, words, " ", h("code", {}, curation.command));
}

/** Takes the state that a server has answered over into the page. */
function taken(about, session, answer) {
  about.curation = answer;
  const rows = new Map(answer.concepts.map((row) => [row.id, row]));
  for (const concept of session.concepts) {
    const row = rows.get(concept.id);
    if (!row) continue;
    concept.was ??= concept.curated && concept.label === concept.curated.name ? concept.curated.was : concept.label;
    concept.curated = row;
    concept.label = row.name && row.name !== row.was ? row.name : concept.was;
  }
  forget("data/explore.json");
}

export function curate(about, session, concept, main) {
  const row = concept.curated;
  if (!row || !concept.id) return h("p", { class: "small" }, "This concept has no digest, so nothing can be said of it; run the pipeline again.");
  if (!about.live) return h("p", { class: "small" }, [row.name !== row.was && `named by people, was ${row.was}`, row.approved && "approved", row.state !== "kept" && row.state].filter(Boolean).join(" · ") || "Nothing has been said of it.");
  const told = h("p", { role: "status" });
  const send = async (...changes) => {
    try {
      taken(about, session, await act("curate", { changes }));
      announce("Written to curation.yaml");
      main.ownerDocument.defaultView.dispatchEvent(new Event("hashchange"));
    } catch (error) {
      fill(told, h("span", { class: "bad" }, error.message));
    }
  };
  const name = h("input", { type: "text", value: row.name || row.was, maxlength: 200, spellcheck: "true" });
  const others = session.concepts.filter((other) => other.type === concept.type && other.id && other.id !== concept.id && other.curated?.state === "kept");
  const alike = new Set(concept.look_alikes.map(([m]) => m));
  const pairs = [...others.filter(({ index }) => alike.has(index)), ...others.filter(({ index }) => !alike.has(index))].map((other) => [other.id, `${alike.has(other.index) ? "≈ " : ""}${other.label}`]);
  let merged = pairs[0]?.[0];
  const kept = row.state === "kept";
  const marked = !kept || row.approved || row.name !== row.was || row.note;
  const into = row.into && session.concepts.find(({ id }) => id === row.into);
  return h(
    "div",
    { class: "curate" },
    !kept && h("p", {}, row.state === "merged" ? ["Merged into ", into ? into.label : row.into, "."] : "Dropped.", " The bottleneck has to run again."),
    kept && h("form", { class: "row beside", onsubmit: (event) => { event.preventDefault(); send({ action: "name", concept: concept.id, name: name.value }); } }, h("label", { class: "field grow" }, h("span", {}, "Name"), name), h("button", { type: "submit" }, "Name")),
    kept && pairs.length > 0 && h("div", { class: "row beside" }, choice("Merge with", pairs, merged, (value) => (merged = value)), h("button", { type: "button", onclick: () => send({ action: "merge", concept: concept.id, with: [merged] }) }, "Merge")),
    h("div", { class: "row" }, kept && !row.approved && h("button", { type: "button", onclick: () => send({ action: "approve", concept: concept.id }) }, "Approve"), row.approved && h("span", { class: "badge right" }, "approved"), kept && h("button", { type: "button", onclick: () => send({ action: "drop", concept: concept.id }) }, "Drop"), marked && h("button", { type: "button", class: "quiet", onclick: () => send({ action: "forget", concept: concept.id }) }, "Undo all of this")),
    told,
    curationNote(about.curation),
  );
}
