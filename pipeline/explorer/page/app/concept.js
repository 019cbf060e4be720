// A concept: how it looks, what it is called, which classes use it, which clips show it, and what people make of it.

import { choice, count, fill, h, plural, signed3 } from "./dom.js";
import { Failed } from "./data.js";
import { highest } from "./model.js";
import { bars, chip, clipCard, conceptLink, heading, section } from "./parts.js";
import { medoid } from "./player.js";
import { curate } from "./curation.js";

const CLIPS = 16;

export async function show({ about, session, signal, rest, main }) {
  const m = Number(rest[0]);
  const concept = session.concepts[m];
  if (!concept) throw new Failed("there is no such concept");
  const { K, M, n, z, weights } = session;
  const picture = concept.medoid ? await medoid(concept, signal, true) : null;
  const column = Float64Array.from({ length: n }, (_, i) => z[i * M + m]);
  const uses = about.classes.map((name, k) => [k, weights[k * M + m]]).filter(([, value]) => value !== 0).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const strip = h("ul", { class: "strip" });
  const splits = ["", ...about.splits];
  const strongest = (split) => {
    const s = about.splits.indexOf(split);
    const own = s < 0 ? column : column.map((value, i) => (session.split[i] === s ? value : -Infinity));
    fill(strip, highest(own, CLIPS).filter((i) => own[i] > -Infinity).map((i) => h("li", {}, clipCard(session, i, { note: `activation ${column[i].toFixed(2)}` }))));
  };
  strongest("");
  const off = session.get("off", { m })?.level;
  const node = h(
    "article",
    { class: "concept" },
    h("div", { class: "concept-head" }, picture, h("div", {}, h("p", {}, chip(concept)), heading(concept.label, concept.sentence), facts(concept, n), concept.doubt && h("p", { class: "doubt" }, `Doubtful: ${concept.doubt}`), h("p", { class: "row" }, h("button", { type: "button", onclick: (event) => { const now = session.get("off", { m })?.level; session.change({ kind: "off", m, level: now ? null : concept.absent === null ? "mean" : "absent" }); event.target.textContent = now ? "Switch off in every clip" : "Switch on again"; } }, off ? "Switch on again" : "Switch off in every clip")))),
    h(
      "div",
      { class: "wide-two" },
      section(
        "Weights per class",
        uses.length
          ? bars(uses.map(([k, value]) => ({ label: [value > 0 ? "for " : "against ", h("a", { href: `#/clips?true=${k}&concept=${m}` }, about.classes[k])], value, type: concept.type, text: signed3(value) })))
          : h("p", {}, "No class uses this concept."),
      ),
      h("div", {}, about.curation && section("Curate", curate(about, session, concept, main)), concept.look_alikes.length > 0 && section("Look-alikes", h("p", { class: "small" }, "Concepts whose activations go with its own on the training clips."), h("ul", { class: "plain" }, concept.look_alikes.map(([other, like]) => h("li", {}, conceptLink(session.concepts[other]), h("span", { class: "small" }, ` ${like.toFixed(2)}`)))))),
    ),
    section("Strongest clips", choice("Split", splits.map((name) => [name, name || "all"]), "", strongest), strip),
  );
  return { title: concept.label, node };
}

function facts(concept, n) {
  const said = [];
  if (concept.n_positive !== null) said.push(`${plural(concept.n_positive, "training clip shows", "training clips show")} it`);
  if (concept.present_above !== null) said.push(`present from an activation of ${concept.present_above.toFixed(2)}`);
  if (concept.quality !== null) said.push(`quality ${concept.quality.toFixed(2)}`);
  if (concept.medoid_clip) said.push(`medoid from ${concept.medoid_clip}`);
  return said.length ? h("p", { class: "small" }, said.join(" · ")) : null;
}
