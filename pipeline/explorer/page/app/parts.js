// Parts that several views share.

import { fixed2, h, percent } from "./dom.js";

export function heading(title, told) {
  return h("div", { class: "heading" }, h("h1", {}, title), told && h("p", { class: "told" }, told));
}

export function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), children);
}

/** Pages that a method has written itself. */
export function links(pages) {
  if (!pages?.length) return null;
  return h("p", { class: "links" }, pages.map(({ title, href }) => h("a", { href, target: "_blank", rel: "noopener" }, `Open the ${title}`)));
}

/** The type of a concept: a colour and its word. */
export function chip(concept) {
  return h("span", { class: `chip ${kindOf(concept.type)}` }, concept.type);
}

/** Only known types become classes of the style sheet. */
export const kindOf = (type) => (["motion", "object", "scene"].includes(type) ? type : "other");

/** Values as bars to both sides of a middle line: `{label, value, type, text, note}`. */
export function bars(items, largest = Math.max(...items.map(({ value }) => Math.abs(value)), 1e-12)) {
  return h(
    "ul",
    { class: "bars" },
    items.map(({ label, value, type, text, note, current }) =>
      h(
        "li",
        { class: current ? "current" : null },
        h("div", { class: "what" }, label, note && h("p", { class: "small" }, note)),
        h("div", { class: "axis", "aria-hidden": "true" }, bar(value, largest, type)),
        h("div", { class: "value" }, text),
      ),
    ),
  );
}

export function bar(value, largest, type) {
  const part = Math.min(1, Math.abs(value) / largest) / 2;
  return h("span", { class: `fillbar ${kindOf(type)} ${value < 0 ? "against" : "for"}`, style: { left: percent(value < 0 ? 0.5 - part : 0.5, 2), width: percent(part, 2) } });
}

/** A clip as a card: its picture where there is one, its decision, and whether that is right. */
export function clipCard(session, i, given = {}) {
  const { about, clips } = session;
  const right = session.decided[i] === session.label[i];
  const changed = session.decided[i] !== session.decidedBefore[i];
  const decided = about.classes[session.decided[i]];
  const truth = about.classes[session.label[i]];
  return h(
    "a",
    { class: `clip-card ${right ? "right" : "wrong"}`, href: `#/clip/${i}`, ...given },
    about.media.thumb && (clips.kept?.[i] ?? true) && h("img", { src: `media/thumb/${i}.webp`, alt: "", decoding: "async", width: 160, height: 120 }),
    h("span", { class: "line" }, h("span", { class: "sign", "aria-hidden": "true" }, right ? "✓" : "✗"), h("b", {}, decided), h("span", { class: "hidden-words" }, right ? ", right" : `, wrong, it is ${truth}`)),
    h("span", { class: "small" }, right ? given.note ?? clips.id[i] : `is ${truth}`),
    h("span", { class: "small" }, `margin ${fixed2(session.margins[i])} · ${changed ? "changed · " : ""}${about.splits[session.split[i]]}`),
  );
}

/** A concept's name with its type, as a link. */
export function conceptLink(concept) {
  return h("a", { class: "concept-link", href: `#/concept/${concept.index}` }, chip(concept), concept.label);
}

/** A colour of the style sheet as it is now, for a canvas. */
export function colour(name) {
  const probe = document.querySelector(".said");
  probe.style.setProperty("color", `var(--${name})`);
  return getComputedStyle(probe).color;
}
