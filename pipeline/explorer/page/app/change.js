// Change: a concept that is switched off, an activation or a weight that is dragged, a region; and what that does.

import { act } from "./data.js";
import { announce, choice, count, fill, h, percent, plural, signed1, signed2 } from "./dom.js";
import { taken, boxMask } from "./regions.js";

const LEVELS = { absent: "absent: as in clips that do not show it", mean: "mean: it adds nothing", zero: "zero: its layer says 0" };
const ROOM = 1.25;
const BETA = 10;

/** Controls of one concept in one clip. `player`: of the clip, or null. Returns `{node, sync}`. */
export function controls({ session, clip, concept, label, player, scale, signal }) {
  const m = concept.index;
  const { about, K, M, n, z } = session;
  let k = label;
  const set = (change, dragging) => session.change({ m, ...change }, dragging);
  const settled = () => session.settle();

  // On or off, in every clip.
  const levels = Object.entries(LEVELS).filter(([name]) => name !== "absent" || concept.absent !== null);
  const level = h("select", { "aria-label": "What without means", onchange: () => on.checked || set({ kind: "off", level: level.value }) }, levels.map(([name, text]) => h("option", { value: name }, text)));
  const on = h("input", { type: "checkbox", role: "switch", checked: true, onchange: () => set({ kind: "off", level: on.checked ? null : level.value }) });

  // The activation, in this clip.
  let [low, high] = [-3, 3];
  for (let i = 0; i < n; i++) {
    low = Math.min(low, z[i * M + m]);
    high = Math.max(high, z[i * M + m]);
  }
  const dragged = (given, oninput) => h("input", { type: "range", ...given, oninput, onchange: settled });
  const activation = dragged({ min: (low * ROOM).toFixed(2), max: (high * ROOM).toFixed(2), step: 0.01, "aria-label": `Activation of ${concept.label} in this clip` }, () =>
    set({ kind: "activation", clip, value: Number(activation.value) }, true),
  );
  const activationTold = h("output");
  const activationBack = h("button", { type: "button", class: "quiet", onclick: () => set({ kind: "activation", clip, value: null }) }, "As it was");

  // A weight, in every clip.
  const largest = Math.max(1, ...session.base.weights.map(Math.abs)) * ROOM;
  const weight = dragged({ min: -largest.toFixed(3), max: largest.toFixed(3), step: 0.001, "aria-label": `Weight of ${concept.label}` }, () => set({ kind: "weight", k, value: Number(weight.value) }, true));
  const weightTold = h("output");
  const weightBack = h("button", { type: "button", class: "quiet", onclick: () => set({ kind: "weight", k, value: session.base.weights[k * M + m] }) }, "As it was");
  const classes = choice("Weight for", about.classes.map((name, j) => [j, name]), k, (value) => {
    k = Number(value);
    sync();
  });

  const region = player && concept.map !== null && scale !== undefined ? regionControls(session, clip, concept, player, set, settled, signal) : null;

  const sync = () => {
    const off = session.get("off", { m })?.level;
    on.checked = !off;
    if (off) level.value = off;
    level.disabled = on.checked;
    const own = session.get("activation", { clip, m });
    const now = session.activations(clip)[m];
    activation.value = now;
    activationTold.textContent = signed2(now);
    activationBack.hidden = !own || own.value === null;
    const value = session.weights[k * M + m];
    weight.value = value;
    weightTold.textContent = value.toFixed(3);
    weightBack.hidden = value === session.base.weights[k * M + m];
    region?.sync();
  };
  sync();
  const node = h(
    "div",
    { class: "controls-of" },
    h("div", { class: "control" }, h("label", { class: "switch" }, on, "On"), h("label", { class: "field" }, h("span", {}, "Off means"), level), scope("every clip")),
    h("div", { class: "control" }, h("span", { class: "name" }, "Activation"), activation, activationTold, activationBack, scope("this clip")),
    h("div", { class: "control" }, classes, weight, weightTold, weightBack, scope("every clip")),
    region?.node,
  );
  return { node, sync };
}

const scope = (text) => h("span", { class: "scope" }, text);

function regionControls(session, clip, concept, player, set, settled, signal) {
  const m = concept.index;
  const slices = player.mapOf(concept.map);
  const places = session.places;
  let box = { x: 0.25, y: 0.25, width: 0.5, height: 0.5 };
  const own = () => session.get("region", { clip, m });
  const apply = (mask, dragging = false) =>
    set({ kind: "region", clip, mask, part: mask && taken(mask, player.side, places.rows, places.columns), beta: Number(beta.value), slices, side: player.side }, dragging);
  const beta = h("input", { type: "range", min: -BETA, max: BETA, step: 0.1, value: -5, "aria-label": "Raise or lower in the region, in standard deviations", onchange: settled, oninput: () => {
    told.textContent = signed1(Number(beta.value));
    const now = own();
    // The mask stays; only how much is added differs.
    if (now?.mask) set({ ...now, beta: Number(beta.value) }, true);
  } });
  const told = h("output", {}, signed1(-5));
  let tool = null;
  const buttons = ["box", "brush"].map((name) =>
    h("button", { type: "button", "aria-pressed": "false", onclick: (event) => {
      tool = tool === name ? null : name;
      buttons.forEach((button, b) => button.setAttribute("aria-pressed", String(["box", "brush"][b] === tool)));
      player.paint(tool, () => Number(beta.value), apply);
      if (tool) announce(`Draw on the clip to mark a region with the ${name}`);
      event.preventDefault();
    } }, name === "box" ? "Box" : "Brush"),
  );
  const number = (name, label) => h("label", { class: "field tiny" }, h("span", {}, label), h("input", { type: "number", min: 0, max: 100, step: 5, value: box[name] * 100, onchange: (event) => {
    box = { ...box, [name]: Math.min(100, Math.max(0, Number(event.target.value))) / 100 };
  } }));
  const clear = h("button", { type: "button", class: "quiet", onclick: () => apply(null) }, "Clear");
  signal.addEventListener("abort", () => player.paint(null));
  return {
    sync: () => {
      const now = own();
      clear.hidden = !now?.mask;
      if (now?.mask) {
        beta.value = now.beta;
        told.textContent = signed1(now.beta);
      }
      player.region(now?.mask ?? null, now?.beta);
    },
    node: h(
      "fieldset",
      { class: "region" },
      h("legend", {}, "Region ", scope("this clip")),
      h("p", { class: "small" }, "Mark a part of the picture; the concept is lowered or raised there."),
      h("div", { class: "row" }, buttons, clear),
      h("div", { class: "control" }, h("span", { class: "name" }, "Lower / raise"), beta, told),
      h("details", {}, h("summary", {}, "A box by numbers"), h("div", { class: "row" }, number("x", "left %"), number("y", "top %"), number("width", "width %"), number("height", "height %"), h("button", { type: "button", onclick: () => { const mask = boxMask(player.side, box); if (mask.some(Boolean)) apply(mask); } }, "Mark"))),
    ),
  };
}

/** What the changes do to every split; numbers lead to the clips. */
export function effectsTable(session) {
  const cell = (rows, verdict, name) => h("td", { class: rows.length ? verdict : "none" }, rows.length ? h("a", { href: `#/clips?verdict=${verdict}&split=${encodeURIComponent(name)}`, "aria-label": `${plural(rows.length, "clip")} ${verdict} in ${name}` }, count(rows.length)) : "0");
  return h(
    "table",
    { class: "effects" },
    h("thead", {}, h("tr", {}, ["split", "before", "after", "fixed", "broken"].map((name) => h("th", { scope: "col" }, name)))),
    h(
      "tbody",
      {},
      session.about.splits.map((name, s) => {
        const { of, before, after, fixed, broken } = session.effects[s];
        return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, percent(before / of)), h("td", {}, percent(after / of)), cell(fixed, "fixed", name), cell(broken, "broken", name));
      }),
    ),
  );
}

/** A bar at the lower edge while there are changes, with their log in a dialog. */
export function dock(node, session) {
  const told = h("p", { class: "told" });
  const undo = h("button", { type: "button", onclick: () => session.undo() }, "Undo");
  const redo = h("button", { type: "button", onclick: () => session.redo() }, "Redo");
  const list = h("ol", { class: "log" });
  const effects = h("div");
  const keep = h("div");
  const title = h("h2", { id: "changes-title" }, "Changes");
  const dialog = h("dialog", { "aria-labelledby": "changes-title" }, h("div", { class: "row apart" }, title, h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Close")), effects, h("h3", {}, "Log"), list, keep);
  const review = h("button", { type: "button", class: "primary", onclick: () => dialog.showModal() }, "Review");
  dialog.addEventListener("click", (event) => (event.target === dialog || event.target.closest("a")) && dialog.close());
  fill(node, told, h("div", { class: "row" }, undo, redo, review));
  document.body.append(dialog);
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.matches("input[type=text], input[type=search], input[type=number]")) return;
    event.preventDefault();
    if (event.shiftKey) session.redo();
    else session.undo();
  });
  const update = () => {
    node.hidden = !session.changes.length && session.isOwn;
    document.body.classList.toggle("docked", !node.hidden);
    if (node.hidden) return;
    const [fixed, broken] = ["fixed", "broken"].map((name) => session.effects.reduce((sum, own) => sum + own[name].length, 0));
    const where = session.isOwn ? "" : `another λ, ${session.about.path[session.stop]?.lambda.toPrecision(3)}; `;
    told.textContent = `${where}${plural(session.done, "change")}: ${count(fixed)} fixed, ${count(broken)} broken`;
    [undo.disabled, redo.disabled] = [!session.done, session.done === session.changes.length];
    fill(effects, effectsTable(session));
    fill(list, session.changes.map((change, i) => h("li", { class: i < session.done ? "" : "undone" }, h("button", { type: "button", class: "quiet", "aria-current": i === session.done - 1 ? "step" : null, onclick: () => session.to(i + 1) }, session.words(change)))), session.done > 0 && h("li", { class: "start" }, h("button", { type: "button", class: "quiet", onclick: () => session.to(0) }, "Undo everything")));
    fill(keep, session.about.live ? saving(session) : h("p", { class: "small" }, "This is a copy of a run: changes last as long as the page is open."));
  };
  session.addEventListener("change", update);
  update();
}

/** Keeps the changed weights as a model file of their own. */
function saving(session) {
  const edits = session.edits;
  const others = session.active.length - edits.length;
  if (!session.isOwn) return h("p", { class: "small" }, "The weights of another λ are not saved as a model; go back to the model's own first.");
  if (!edits.length) return h("p", { class: "small" }, "A model keeps changed weights only; what is changed in clips is no part of it.");
  const name = h("input", { type: "text", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{0,63}", maxlength: 64, value: "edited", spellcheck: "false" });
  const told = h("p", { role: "status" });
  const form = h(
    "form",
    {
      class: "row save",
      onsubmit: async (event) => {
        event.preventDefault();
        fill(told, "Saving …");
        try {
          const { path, command } = await act("save", { name: name.value, edits });
          fill(told, "Saved as ", h("code", {}, path), ". ", h("code", {}, command));
        } catch (error) {
          fill(told, h("span", { class: "bad" }, error.message));
        }
      },
    },
    h("label", { class: "field" }, h("span", {}, "Name of the model"), name),
    h("button", { type: "submit", class: "primary" }, "Save as model"),
  );
  return [h("h3", {}, "Save"), others > 0 && h("p", { class: "small" }, `${plural(edits.length, "weight")} of ${plural(session.active.length, "change")} can be saved; the others are no part of a model.`), form, told];
}
