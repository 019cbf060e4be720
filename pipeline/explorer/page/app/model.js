// The last layer of a concept bottleneck is linear, so the page answers every "what if" itself.
//
// Activations z [n, M] stay float32 as they came and are never copied; all sums are float64. An edit is a rank-one update of
// the logits [n, K]: a weight changes one column of them, a concept that is switched off changes what its column of z adds.

const BLOCK = 256;
const PATIENCE = 24;

/** Weights [K, M] without their zeros, class by class. */
export function sparse(weights, K, M) {
  const start = new Int32Array(K + 1);
  const column = [];
  for (let k = 0; k < K; k++) {
    for (let m = 0; m < M; m++) if (weights[k * M + m] !== 0) column.push(m);
    start[k + 1] = column.length;
  }
  const value = new Float64Array(column.length);
  for (let k = 0; k < K; k++) for (let j = start[k]; j < start[k + 1]; j++) value[j] = weights[k * M + column[j]];
  return { start, column: Int32Array.from(column), value };
}

/** Logits of one clip, into `out` from `at` on. */
function row(z, from, { start, column, value }, bias, out, at) {
  for (let k = 0; k < bias.length; k++) {
    let sum = 0;
    for (let j = start[k]; j < start[k + 1]; j++) sum += value[j] * z[from + column[j]];
    out[at + k] = sum + bias[k];
  }
}

/** Logits [K] of one clip's activations [M]. */
export function logitsOf(z, weights, bias) {
  const out = new Float64Array(bias.length);
  row(z, 0, sparse(weights, bias.length, z.length), bias, out, 0);
  return out;
}

/** Logits [n, K] of all clips; lets the page breathe where that takes long. */
export async function allLogits(z, n, M, weights, bias) {
  const K = bias.length;
  const known = sparse(weights, K, M);
  const out = new Float64Array(n * K);
  let since = performance.now();
  for (let first = 0; first < n; first += BLOCK) {
    for (let i = first; i < Math.min(n, first + BLOCK); i++) row(z, i * M, known, bias, out, i * K);
    if (performance.now() - since > PATIENCE) {
      await new Promise((resolve) => setTimeout(resolve));
      since = performance.now();
    }
  }
  return out;
}

/** Class of the highest logit of every clip, the first on ties. */
export function decisions(logits, n, K) {
  const out = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    let best = 0;
    for (let k = 1; k < K; k++) if (logits[i * K + k] > logits[i * K + best]) best = k;
    out[i] = best;
  }
  return out;
}

/** Logit of the true class minus the highest of the others; negative where the decision is wrong. */
export function margins(logits, label, n, K) {
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let other = -Infinity;
    for (let k = 0; k < K; k++) if (k !== label[i] && logits[i * K + k] > other) other = logits[i * K + k];
    out[i] = logits[i * K + label[i]] - other;
  }
  return out;
}

/** Softmax over the classes. */
export function probabilities(logits) {
  const top = Math.max(...logits);
  const parts = Float64Array.from(logits, (value) => Math.exp(value - top));
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / sum);
}

/** One class's weight of one concept differs by `difference`: logits[:, k] += difference · z[:, m]. */
export function reweight(logits, z, n, K, M, k, m, difference) {
  for (let i = 0; i < n; i++) logits[i * K + k] += difference * z[i * M + m];
}

/** What "without a concept" makes of its activation; the levels are those of the command `edit`. */
export function without(value, concept, level) {
  if (level === "mean") return 0;
  if (level === "zero") return -concept.mean / concept.std;
  return Math.min(value, concept.absent);
}

/** A concept is out of every clip: logits += (z'[:, m] − z[:, m]) ⊗ W[:, m]. */
export function switchOff(logits, z, n, K, M, weights, concept, level) {
  const m = concept.index;
  const users = [];
  for (let k = 0; k < K; k++) if (weights[k * M + m] !== 0) users.push(k);
  for (let i = 0; i < n; i++) {
    const difference = without(z[i * M + m], concept, level) - z[i * M + m];
    if (difference !== 0) for (const k of users) logits[i * K + k] += weights[k * M + m] * difference;
  }
}

/** Of every split: how many decisions are right before and after, and which clips are fixed and which broken. */
export function effects(before, after, label, split, splits) {
  const found = splits.map(() => ({ of: 0, before: 0, after: 0, fixed: [], broken: [] }));
  for (let i = 0; i < label.length; i++) {
    const own = found[split[i]];
    const was = before[i] === label[i];
    const is = after[i] === label[i];
    own.of++;
    own.before += was;
    own.after += is;
    if (!was && is) own.fixed.push(i);
    if (was && !is) own.broken.push(i);
  }
  return found;
}

/** How often each class is decided as each, over the clips that `counts` lets in: [K, K], true class first. */
export function confusion(decided, label, K, counts) {
  const out = new Int32Array(K * K);
  for (let i = 0; i < label.length; i++) if (counts(i)) out[label[i] * K + decided[i]]++;
  return out;
}

/** The clips whose activations point the same way, best first: `[row, cosine]`. */
export function nearest(z, n, M, own, wanted, except = -1) {
  const length = Math.hypot(...own) || 1;
  const like = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let dot = 0;
    let square = 0;
    for (let m = 0, at = i * M; m < M; m++, at++) {
      dot += z[at] * own[m];
      square += z[at] * z[at];
    }
    like[i] = i === except ? -2 : dot / (length * (Math.sqrt(square) || 1));
  }
  return highest(like, wanted).map((i) => [i, like[i]]).filter(([, value]) => value > -2);
}

/** Positions of the highest values, best first. */
export function highest(values, wanted) {
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
  return order.slice(0, wanted);
}

/** Wilson's 95 % interval of a proportion. */
export function wilson(right, of) {
  if (!of) return [0, 1];
  const square = 1.959963984540054 ** 2;
  const centre = (right + square / 2) / (of + square);
  const half = (Math.sqrt(square) / (of + square)) * Math.sqrt((right * (of - right)) / of + square / 4);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
