// A clip: what it is taken for and why, when and where, what it is like, and what would change that.

import { choice, fill, h, percent, signed2, signed3 } from "./dom.js";
import { Failed, json } from "./data.js";
import { logitsOf, nearest, probabilities } from "./model.js";
import { isPresent, likeTraining, notLocated, reasons, whereNot } from "./words.js";
import { bars, chip, clipCard, heading, section } from "./parts.js";
import { controls, effectsTable } from "./change.js";
import { player as makePlayer } from "./player.js";
import { timeline } from "./timeline.js";

const SHOWN = 6;
const NEAREST = 8;

export async function show(context) {
  const { session, rest } = context;
  const i = Number(rest[0]);
  if (!Number.isInteger(i) || i < 0 || i >= session.n) throw new Failed("there is no such clip");
  const { clips, about } = session;
  const media = about.media.clip && (clips.kept?.[i] ?? true) ? await json(`media/clip/${i}.json`) : null;
  const steps = h(
    "p",
    { class: "row steps" },
    h("a", { href: `#/clip/${Math.max(0, i - 1)}`, "aria-disabled": i === 0 ? "true" : null }, "← previous"),
    h("a", { href: `#/clip/${Math.min(session.n - 1, i + 1)}`, "aria-disabled": i === session.n - 1 ? "true" : null }, "next →"),
  );
  const node = await lookAt(context, { clip: i, id: clips.id[i], label: session.label[i], split: about.splits[session.split[i]], distance: clips.distance?.[i], media });
  return { title: clips.id[i], node: [steps, node] };
}

/** Everything about one clip, of the run or of a person's own. */
export async function lookAt(context, { clip, id, label, split, distance, media }) {
  const { about, session, signal } = context;
  const { concepts, M, base } = session;
  const player = media ? await makePlayer(media, about.skeleton, signal) : null;
  if (media?.maps) session.places = { rows: media.place_rows, columns: media.place_columns };
  let [why, against] = [null, null];
  let picked = null;

  const decision = h("div", { class: "decision" });
  const list = h("div");
  const when = h("div");
  const where = h("p", { class: "small where", "aria-live": "polite" });
  const changing = h("div");
  const effect = h("div");
  const logitsNow = () => (typeof clip === "number" ? session.logits.subarray(clip * session.K, (clip + 1) * session.K) : logitsOf(session.activations(clip), session.weights, base.bias));
  const logitsBefore = typeof clip === "number" ? () => session.before.subarray(clip * session.K, (clip + 1) * session.K) : () => logitsOf(session.original(clip), session.base.weights, session.base.bias);

  // A concept's map as it is after the regions that were marked; null for a concept without one.
  const changedMap = (m) => {
    const slices = concepts[m].map === null ? null : player.mapOf(concepts[m].map);
    const region = session.get("region", { clip, m });
    return slices && region?.mask ? slices.map((own) => own.map((value, p) => value + region.beta * region.part[p])) : slices;
  };
  const warmestOf = (slices) => Math.max(...slices.map((own) => Math.max(...own)));

  const showHeat = () => {
    if (!player) return;
    const concept = picked === null ? null : concepts[picked];
    const scale = concept?.map === null || !media.heat ? null : media.heat[concept?.map];
    const shown = concept && changedMap(picked);
    const activation = concept && session.activations(clip)[picked];
    const not = shown ? whereNot(concept, activation, scale, warmestOf(shown)) : "";
    player.heat(not ? null : shown, scale);
    where.textContent = !shown ? "" : not || `Heat: where ${concept.label} is seen`;
  };

  // Where a concept that may be there is not seen in any place.
  const nowhere = ({ index, map }) => {
    const shown = player && map !== null && changedMap(index);
    return shown ? notLocated(media.heat?.[map], warmestOf(shown)) : "";
  };

  let panel = null;
  const pick = (m) => {
    picked = m;
    const local = new AbortController();
    panel?.end.abort();
    panel = { end: local, ...controls({ session, clip, concept: concepts[m], label: decided(), player, scale: media?.heat?.[concepts[m].map], signal: local.signal }) };
    const order = [...rankOf().slice(0, SHOWN), ...concepts.keys()];
    const options = [...new Set([m, ...order])].map((own) => [own, `${concepts[own].type}: ${concepts[own].label}`]);
    fill(changing, h("div", { class: "row beside" }, choice("Concept", options, m, (value) => pick(Number(value))), h("a", { class: "about-it", href: `#/concept/${m}` }, "About this concept")), panel.node);
    player?.paint(null);
    if (concepts[m].map === null) player?.region(null);
    showHeat();
    update();
  };
  const decided = () => {
    const logits = logitsNow();
    return logits.indexOf(Math.max(...logits));
  };
  const rankOf = () => reasons(session.activations(clip), session.weights, concepts, why ?? decided(), against, SHOWN).map(({ concept }) => concept.index);

  const update = () => {
    const z = session.activations(clip);
    const now = probabilities(logitsNow());
    const before = probabilities(logitsBefore());
    const k = now.indexOf(Math.max(...now));
    const was = before.indexOf(Math.max(...before));
    fill(decision, verdict({ about, k, was, now, before, label, like: likeTraining(distance, about.unseen) }));
    const found = reasons(z, session.weights, concepts, why ?? k, against, SHOWN);
    const focused = list.contains(document.activeElement);
    fill(
      list,
      found.length ? reasonBars(found, picked, pick, nowhere) : h("p", {}, "No concept speaks for or against it."),
      found.length > 0 && found.every(({ doubt }) => doubt) && h("p", { class: "doubt" }, "Every concept behind this decision is doubtful."),
    );
    if (focused) list.querySelector('[aria-pressed="true"]')?.focus();
    const lanes = player && timeline({ media, session, reasons: found, player });
    fill(when, lanes);
    when.hidden = !lanes;
    fill(effect, session.done ? effectsTable(session) : h("p", { class: "small" }, "Nothing is changed yet."));
  };
  const changed = () => {
    update();
    panel?.sync();
    showHeat();
  };
  session.addEventListener("change", changed, { signal });
  signal.addEventListener("abort", () => panel?.end.abort());

  const classes = about.classes.map((name, k) => [k, name]);
  const ask = (take) => (value) => {
    take(value === "" ? null : Number(value));
    update();
  };
  const question = h(
    "div",
    { class: "row" },
    choice("Why", [["", "what is decided"], ...classes], "", ask((value) => (why = value))),
    choice("and not", [["", "any other"], ...classes], "", ask((value) => (against = value))),
  );
  const [z, ranked] = [session.activations(clip), rankOf()];
  pick(ranked.find((m) => media?.maps && concepts[m].map !== null && isPresent(concepts[m], z[m])) ?? ranked[0] ?? 0);
  const similar = nearest(session.z, session.n, M, session.original(clip), NEAREST, typeof clip === "number" ? clip : -1);
  return h(
    "article",
    { class: "clip" },
    heading(id, [split, label !== null && `true class ${about.classes[label]}`].filter(Boolean).join(" · ")),
    h(
      "div",
      { class: player ? "clip-two" : "clip-one" },
      h("div", { class: "stage" }, player && [player.node, where], decision),
      h("div", { class: "told-of" }, section("Reasons", question, list), when, section("Change", changing, h("h3", {}, "Effect on every split"), effect)),
    ),
    section("Nearest clips by concepts", h("ul", { class: "strip" }, similar.map(([row, like]) => h("li", {}, clipCard(session, row, { note: `similarity ${like.toFixed(3)}` }))))),
  );
}

function verdict({ about, k, was, now, before, label, like }) {
  const order = Array.from(now.keys()).sort((a, b) => Math.max(now[b], before[b]) - Math.max(now[a], before[a])).slice(0, 3);
  const right = label === null ? null : k === label;
  return [
    h(
      "p",
      { class: `verdict ${right === null ? "" : right ? "right" : "wrong"}` },
      right !== null && h("span", { class: "sign", "aria-hidden": "true" }, right ? "✓" : "✗"),
      h("strong", {}, about.classes[k]),
      h("span", { class: "small" }, percent(now[k])),
      right === false && h("span", {}, `wrong: it is ${about.classes[label]}`),
      k !== was && h("span", { class: "badge" }, `before: ${about.classes[was]}`),
    ),
    like && h("p", { class: like.flagged ? "flagged" : "small" }, like.text),
    h(
      "ul",
      { class: "probabilities" },
      order.map((j) =>
        h(
          "li",
          {},
          h("span", {}, about.classes[j]),
          h("span", { class: "meter", "aria-hidden": "true" }, h("span", { class: "was", style: { left: percent(before[j]) } }), h("span", { class: "is", style: { width: percent(now[j]) } })),
          h("span", { class: "value" }, Math.abs(now[j] - before[j]) > 5e-4 ? `${percent(before[j])} → ${percent(now[j])}` : percent(now[j])),
        ),
      ),
    ),
  ];
}

function reasonBars(found, picked, pick, nowhere) {
  return bars(
    found.map(({ concept, present, said, speaks, activation, value, doubt }) => ({
      current: concept.index === picked,
      label: [
        chip(concept),
        h("button", { type: "button", class: "pick", "aria-pressed": String(concept.index === picked), onclick: () => pick(concept.index) }, said),
        h("p", { class: "small" }, `${speaks} · activation ${signed2(activation)}`),
        present !== false && nowhere(concept) && h("p", { class: "small" }, nowhere(concept)),
        doubt && h("p", { class: "doubt" }, `Doubtful: ${doubt}`),
      ],
      value,
      type: concept.type,
      text: signed3(value),
    })),
  );
}
