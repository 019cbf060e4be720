// What is explored: the run's files, which stop of the λ path is looked at, and what was changed, with undo and redo.

import { allLogits, decisions, effects, logitsOf, margins, reweight, switchOff, without } from "./model.js";
import { activationWith } from "./regions.js";

/** A change is one of
 *  {kind: "weight", k, m, value}            in every clip
 *  {kind: "off", m, level}                  in every clip; level null: on again
 *  {kind: "activation", clip, m, value}     in one clip; value null: as it was
 *  {kind: "region", clip, m, mask, part, beta, slices, side}  in one clip; mask null: as it was
 *  A later change of the same thing replaces the earlier one. */
const keyOf = (change) => [change.kind, change.clip ?? "", change.k ?? "", change.m].join(" ");

export class Session extends EventTarget {
  /** `about`: data/explore.json; `clips`: data/clips.json; `z`: [n, M]; `weights`: [K, M] of the model. */
  constructor(about, clips, z, weights) {
    super();
    Object.assign(this, { about, clips, z });
    this.concepts = about.concepts;
    [this.n, this.K, this.M] = [about.n, about.classes.length, about.concepts.length];
    this.label = Int32Array.from(clips.label);
    this.split = Uint16Array.from(clips.split);
    this.own = { weights: Float64Array.from(weights), bias: Float64Array.from(about.bias) };
    this.stop = about.chosen;
    this.changes = [];
    this.done = 0;
  }

  /** Looks at other weights; those of the model itself where none are given. */
  async look(base = this.own, stop = this.about.chosen) {
    const logits = await allLogits(this.z, this.n, this.M, base.weights, base.bias);
    this.base = base;
    this.stop = stop;
    this.before = logits;
    this.decidedBefore = decisions(logits, this.n, this.K);
    this.weights = Float64Array.from(base.weights);
    this.logits = Float64Array.from(logits);
    this.computed();
  }

  get isOwn() {
    return this.base === this.own;
  }

  /** The changes that count, by what they change. */
  get active() {
    const found = new Map();
    for (const change of this.changes.slice(0, this.done)) {
      found.delete(keyOf(change));
      found.set(keyOf(change), change);
    }
    return [...found.values()];
  }

  get(kind, parts) {
    return this.active.find((change) => keyOf(change) === keyOf({ kind, ...parts }));
  }

  /** Makes a change; while something is dragged, its steps are one change. */
  change(change, dragging = false) {
    const last = this.changes[this.done - 1];
    if (dragging && last?.dragging && keyOf(last) === keyOf(change)) this.done--;
    this.changes.splice(this.done, Infinity, { ...change, dragging });
    this.done++;
    this.computed();
  }

  /** What is dragged has been let go. */
  settle() {
    const last = this.changes[this.done - 1];
    if (last) last.dragging = false;
  }

  undo() {
    if (this.done) this.to(this.done - 1);
  }

  redo() {
    if (this.done < this.changes.length) this.to(this.done + 1);
  }

  to(done) {
    this.done = done;
    this.computed();
  }

  /** All logits from those before any change: updates of rank one, so that nothing drifts however often one drags. */
  computed() {
    const { n, K, M, z, logits, weights } = this;
    const since = performance.now();
    logits.set(this.before);
    weights.set(this.base.weights);
    const active = this.active;
    for (const { kind, k, m, value } of active) {
      if (kind !== "weight") continue;
      reweight(logits, z, n, K, M, k, m, value - weights[k * M + m]);
      weights[k * M + m] = value;
    }
    for (const { kind, m, level } of active) {
      if (kind === "off" && level) switchOff(logits, z, n, K, M, weights, this.concepts[m], level);
    }
    const single = new Set(active.map((change) => change.clip).filter((clip) => typeof clip === "number"));
    for (const clip of single) logits.set(logitsOf(this.activations(clip), weights, this.base.bias), clip * K);
    this.decided = decisions(logits, n, K);
    this.effects = effects(this.decidedBefore, this.decided, this.label, this.split, this.about.splits);
    this._margins = null;
    this.took = performance.now() - since;
    this.dispatchEvent(new Event("change"));
  }

  get margins() {
    this._margins ??= margins(this.logits, this.label, this.n, this.K);
    return this._margins;
  }

  /** A clip's activations as they came. `clip`: a row, or the key of a file that was tried. */
  original(clip) {
    return typeof clip === "number" ? this.z.subarray(clip * this.M, (clip + 1) * this.M) : this.tried.get(clip).z;
  }

  tried = new Map();

  /** A clip's activations with all changes: regions, then what was dragged, then what is off. */
  activations(clip) {
    const z = Float64Array.from(this.original(clip));
    const active = this.active;
    for (const change of active) {
      if (change.kind === "region" && change.clip === clip && change.mask) {
        z[change.m] = activationWith(change.slices, change.part, change.beta, this.concepts[change.m], this.about.pooling);
      }
    }
    for (const { kind, clip: where, m, value } of active) {
      if (kind === "activation" && where === clip && value !== null) z[m] = value;
    }
    for (const { kind, m, level } of active) {
      if (kind === "off" && level) z[m] = without(z[m], this.concepts[m], level);
    }
    return z;
  }

  /** The edits that a model can keep: other weights. */
  get edits() {
    return this.active
      .filter(({ kind, k, m, value }) => kind === "weight" && value !== this.base.weights[k * this.M + m])
      .map(({ k, m, value }) => ({ class: k, concept: m, weight: value }));
  }

  /** What a change is, in words. */
  words({ kind, clip, k, m, value, level, beta, mask }) {
    const name = this.concepts[m].label;
    const where = typeof clip === "number" ? this.clips.id[clip] : this.tried.get(clip)?.id;
    if (kind === "weight") {
      const before = this.base.weights[k * this.M + m].toFixed(3);
      return `${name} → ${this.about.classes[k]}: weight ${before} becomes ${value.toFixed(3)}`;
    }
    if (kind === "off") return level ? `without ${name} (${level}), in every clip` : `${name} on again`;
    if (kind === "activation") {
      return value === null ? `${name} in ${where}: activation as it was` : `${name} in ${where}: activation ${value.toFixed(2)}`;
    }
    return mask ? `${name} in a region of ${where}: ${beta < 0 ? "lowered" : "raised"} by ${Math.abs(beta).toFixed(1)}` : `${name} in ${where}: region cleared`;
  }
}
