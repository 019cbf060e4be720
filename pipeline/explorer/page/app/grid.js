// A grid of any number of cards, of which only those near the window exist.

import { h } from "./dom.js";

const OVERSCAN = 3;

/** A grid in the page's own scrolling.
 *
 *  `make(item, position)` gives a card, a link; `size` is the least width and the height of one, in pixels, with its gap.
 *  Returns `{node, show(items)}`. Arrow keys, Home, End and the page keys move among the cards. */
export function grid({ make, size: [least, height], label, signal, main }) {
  const list = h("ul", { class: "grid", "aria-label": label });
  const node = h("div", { class: "grid-room" }, list);
  let items = [];
  let columns = 1;
  let drawn = [0, 0];
  let asked = false;

  const draw = (again = false) => {
    const width = node.clientWidth;
    if (!width) return;
    columns = Math.max(1, Math.floor(width / least));
    const rows = Math.ceil(items.length / columns);
    node.style.setProperty("height", `${rows * height}px`);
    const above = Math.max(0, -node.getBoundingClientRect().top);
    const first = Math.max(0, Math.floor(above / height) - OVERSCAN) * columns;
    const last = Math.min(items.length, (Math.ceil((above + innerHeight) / height) + OVERSCAN) * columns);
    if (!again && first === drawn[0] && last === drawn[1] && list.dataset.columns === String(columns)) return;
    // Cards that stay are kept: they have the focus, and their pictures.
    const kept = new Map(again ? [] : [...list.children].map((child) => [Number(child.dataset.position), child]));
    drawn = [first, last];
    list.dataset.columns = columns;
    list.style.setProperty("grid-template-columns", `repeat(${columns}, minmax(0, 1fr))`);
    list.style.setProperty("transform", `translateY(${(first / columns) * height}px)`);
    const cells = [];
    for (let position = first; position < last; position++) {
      cells.push(
        kept.get(position) ??
          h("li", { "data-position": position, "aria-setsize": items.length, "aria-posinset": position + 1, style: { height: `${height}px` } }, make(items[position], position)),
      );
    }
    const staying = new Set(cells);
    for (const child of [...list.children]) if (!staying.has(child)) child.remove();
    cells.forEach((cell, c) => list.children[c] !== cell && list.insertBefore(cell, list.children[c] ?? null));
  };
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
  const focus = (position) => list.querySelector(`li[data-position="${position}"] a`)?.focus({ preventScroll: true });
  const go = (position) => {
    const target = Math.min(items.length - 1, Math.max(0, position));
    const top = node.getBoundingClientRect().top + Math.floor(target / columns) * height;
    if (top < 72) scrollBy(0, top - 72);
    else if (top + height > innerHeight) scrollBy(0, top + height - innerHeight + 12);
    draw();
    focus(target);
  };
  list.addEventListener("keydown", (event) => {
    const at = Number(event.target.closest("li")?.dataset.position);
    const page = columns * Math.max(1, Math.floor(innerHeight / height) - 1);
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || Number.isNaN(at)) return;
    event.preventDefault();
    go(at + by);
  });
  addEventListener("scroll", soon, { signal, passive: true });
  addEventListener("resize", soon, { signal });
  // The height has to be there before the page is scrolled back to where it was.
  main.addEventListener("shown", () => draw(), { signal });
  const watch = new ResizeObserver(soon);
  watch.observe(node);
  signal.addEventListener("abort", () => watch.disconnect());
  return {
    node,
    show: (next) => {
      items = next;
      draw(true);
    },
  };
}
