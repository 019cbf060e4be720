// Elements without markup. Every text becomes a text node, so that no name of a class, concept or file can become an element.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `class`, `style` (an object), `on…` functions and properties such as `value`; the rest are attributes. */
export function h(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

/** The same for a drawing. */
export function svg(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "textContent", "indeterminate", "selected"]);

function filled(node, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || (value === false && !PROPERTIES.has(name))) continue;
    if (name === "style") for (const [key, own] of Object.entries(value)) node.style.setProperty(key, own);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  // A select knows its value only once it has its options.
  if (node.localName === "select" && given.value !== undefined) node.value = given.value;
  return node;
}

/** Other children in place of those of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A list to choose from: `[value, text]` pairs. */
export function choice(label, pairs, value, onchange, given = {}) {
  const id = `choice-${++choices}`;
  const options = pairs.map(([own, text]) => h("option", { value: own }, text));
  const list = h("select", { ...given, id, value, onchange: () => onchange(list.value) }, options);
  // Not around the list: what a label says would be all that can be chosen.
  return h("div", { class: "field" }, h("label", { for: id }, label), list);
}
let choices = 0;

/** Says something to those who listen to the page. */
export function announce(text) {
  document.querySelector(".said").textContent = text;
}

const signedBy = (digits) => (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
export const signed1 = signedBy(1);
export const signed2 = signedBy(2);
export const signed3 = signedBy(3);
/** Without a plus sign. */
export const fixed2 = (value) => signed2(value).replace("+", "");
export const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)}%`;
export const count = (value) => value.toLocaleString("en");
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
export const seconds = (value) => `${value.toFixed(2)} s`;

/** Whether things that move should stay still until they are asked to move. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
