// When: what is decided in each window of a long clip, and where in it each reason is seen.

import { h, percent, seconds } from "./dom.js";
import { logitsOf } from "./model.js";
import { chip, kindOf } from "./parts.js";

export function timeline({ media, session, reasons, player }) {
  const { times, timeline: along } = media;
  if (times.length < 2) return null;
  const step = (times.at(-1) - times[0]) / (times.length - 1);
  const start = Math.min(times[0], along ? along.windows[0][0] : Infinity);
  const end = Math.max(times.at(-1) + step, along ? along.windows.at(-1)[1] : 0);
  const part = (time) => Math.min(1, Math.max(0, (time - start) / (end - start)));
  const segment = ([from, to], text, kind, strength = 1) =>
    h("button", { type: "button", class: `segment ${kind}`, title: text, "aria-label": `${text}; go there`, onclick: () => player.seek((from + to) / 2), style: { left: percent(part(from), 2), width: percent(Math.max(0.01, part(to) - part(from)), 2), "--strength": strength } });
  const lanes = [];
  if (along) lanes.push(lane("decision", decided(session, along).map(({ from, to, k }) => named(segment([from, to], `${session.about.classes[k]}, ${seconds(from)} to ${seconds(to)}`, "class"), session.about.classes[k]))));
  for (const { concept, present } of reasons) {
    if (present === false) continue;
    const found = concept.map !== null && media.maps ? glowing(media, player, concept) : matched(media, concept);
    if (found.length) lanes.push(lane([chip(concept), concept.label], found.map(({ from, to, text, strength }) => segment([from, to], text, kindOf(concept.type), strength))));
  }
  if (!lanes.length) return null;
  const cursor = h("span", { class: "cursor", "aria-hidden": "true" });
  player.listen((time) => cursor.style.setProperty("left", percent(part(time), 2)));
  return h("section", { class: "timeline" }, h("h2", {}, "When"), h("div", { class: "lanes" }, lanes, h("div", { class: "over" }, cursor)), h("p", { class: "row apart small" }, h("span", {}, seconds(start)), h("span", {}, seconds(end))));
}

const lane = (name, segments) => h("div", { class: "lane" }, h("p", { class: "small" }, name), h("div", { class: "track" }, segments));

const named = (button, text) => {
  button.append(text);
  return button;
};

/** What is decided along a clip; a stretch ends half-way between two windows. */
function decided(session, { windows, z }) {
  const found = [];
  z.forEach((own, w) => {
    const logits = logitsOf(Float64Array.from(own), session.weights, session.base.bias);
    const k = logits.indexOf(Math.max(...logits));
    const middle = (windows[w][0] + windows[w][1]) / 2;
    const border = w ? (middle + (windows[w - 1][0] + windows[w - 1][1]) / 2) / 2 : windows[0][0];
    if (found.at(-1)?.k === k) return;
    if (found.length) found.at(-1).to = border;
    found.push({ from: border, to: windows.at(-1)[1], k });
  });
  return found;
}

/** The slices of a clip in which a located concept glows. */
function glowing(media, player, concept) {
  const scale = media.heat?.[concept.map];
  if (!scale) return [];
  const slices = player.mapOf(concept.map);
  const at = (s) => media.times[Math.min(media.frames - 1, Math.floor((s * media.frames) / slices.length))];
  const step = (media.times.at(-1) - media.times[0]) / (media.times.length - 1);
  return slices.flatMap((own, s) => {
    const warmest = Math.max(...own);
    if (warmest <= scale[0]) return [];
    const to = s + 1 < slices.length ? at(s + 1) : media.times.at(-1) + step;
    return [{ from: at(s), to, strength: Math.min(1, 0.35 + (0.65 * (warmest - scale[0])) / (scale[1] - scale[0])), text: `${concept.label} is seen, ${seconds(at(s))} to ${seconds(to)}` }];
  });
}

/** Where a clip is most like the medoid of a motion. */
function matched(media, concept) {
  return media.medoids
    .filter((own) => own.concept === concept.index)
    .map(({ from, to, similarity }) => ({ from, to, strength: Math.max(0.35, similarity), text: `most like the medoid of ${concept.label}, ${seconds(from)} to ${seconds(to)}, similarity ${similarity.toFixed(2)}` }));
}
