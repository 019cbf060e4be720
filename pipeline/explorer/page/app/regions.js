// Concept maps: their places in the picture, heat between them, and regions in which a concept is raised or lowered.
//
// As in pipeline.methods.dance.explain.regions: one matrix per axis takes the places of a map to the pixels of the square.

/** Linear interpolation along one axis, constant beyond the outermost positions: [targets, sources]. */
export function linear(sources, targets) {
  const s = sources.length;
  const out = new Float64Array(targets.length * s);
  targets.forEach((x, t) => {
    let right = sources.findIndex((place) => place >= x);
    if (right <= 0) {
      out[t * s + (right ? s - 1 : 0)] = 1;
      return;
    }
    const part = (x - sources[right - 1]) / (sources[right] - sources[right - 1]);
    out[t * s + right - 1] = 1 - part;
    out[t * s + right] = part;
  });
  return out;
}

/** Quadratic splines through the places, so that heat may be warmest between two of them: [targets, sources]. */
export function smooth(sources, targets) {
  const s = sources.length;
  if (s < 3) return linear(sources, targets);
  const inner = sources.slice(1, -2).map((x, i) => (x + sources[i + 2]) / 2);
  const [low, high] = [sources[0], sources[s - 1]];
  const knots = [low, low, low, ...inner, high, high, high];
  const basis = (x) => {
    let k = 2;
    while (k < s - 1 && x >= knots[k + 1]) k++;
    const own = new Float64Array(s);
    // De Boor's recursion for the three splines that are not zero here.
    let values = [1];
    for (let degree = 1; degree <= 2; degree++) {
      const next = new Array(degree + 1).fill(0);
      for (let j = 0; j < degree; j++) {
        const [left, right] = [knots[k + 1 - degree + j], knots[k + 1 + j]];
        const part = values[j] / (right - left);
        next[j] += (right - x) * part;
        next[j + 1] += (x - left) * part;
      }
      values = next;
    }
    values.forEach((value, j) => (own[k - 2 + j] = value));
    return own;
  };
  const inverse = inverted(sources.map(basis));
  const out = new Float64Array(targets.length * s);
  targets.forEach((x, t) => {
    const own = basis(Math.min(high, Math.max(low, x)));
    for (let c = 0; c < s; c++) for (let j = 0; j < s; j++) out[t * s + c] += own[j] * inverse[j][c];
  });
  return out;
}

/** The inverse of a small matrix, by Gauss and Jordan with pivots. */
function inverted(rows) {
  const size = rows.length;
  const work = rows.map((own, r) => [...own, ...Array.from({ length: size }, (_, c) => Number(c === r))]);
  for (let c = 0; c < size; c++) {
    let pivot = c;
    for (let r = c + 1; r < size; r++) if (Math.abs(work[r][c]) > Math.abs(work[pivot][c])) pivot = r;
    [work[c], work[pivot]] = [work[pivot], work[c]];
    const by = work[c][c];
    work[c] = work[c].map((value) => value / by);
    for (let r = 0; r < size; r++) {
      if (r === c) continue;
      const times = work[r][c];
      if (times) work[r] = work[r].map((value, j) => value - times * work[c][j]);
    }
  }
  return work.map((own) => own.slice(size));
}

/** Middles of the pixels along one axis, as fractions of the side. */
export const middles = (size) => Array.from({ length: size }, (_, i) => (i + 0.5) / size);

/** The part of each place that a region takes, [rows × columns]: β times it is added to the map. `mask`: [side, side] of the square. */
export function taken(mask, side, placeRows, placeColumns) {
  const [h, w] = [placeRows.length, placeColumns.length];
  const pixels = middles(side);
  const down = linear(placeRows, pixels);
  const across = linear(placeColumns, pixels);
  const out = new Float64Array(h * w);
  const [rowSums, columnSums] = [new Float64Array(h), new Float64Array(w)];
  for (let y = 0; y < side; y++) {
    const line = new Float64Array(w);
    for (let x = 0; x < side; x++) if (mask[y * side + x]) for (let c = 0; c < w; c++) line[c] += across[x * w + c];
    for (let r = 0; r < h; r++) {
      rowSums[r] += down[y * h + r];
      for (let c = 0; c < w; c++) out[r * w + c] += down[y * h + r] * line[c];
    }
    for (let c = 0; c < w; c++) columnSums[c] += across[y * w + c];
  }
  for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) out[r * w + c] /= rowSums[r] * columnSums[c];
  return out;
}

/** One concept's map out of those of a clip [S, h, w, l]: [S, h × w]. */
export function mapOf(maps, [S, h, w, l], k) {
  return Array.from({ length: S }, (_, s) => Float64Array.from({ length: h * w }, (_, p) => maps[(s * h * w + p) * l + k]));
}

/** What a map becomes for a whole clip: over the places of each slice, then the mean of the slices. */
export function pool(slices, pooling) {
  const parts = slices.map((own) => {
    const top = Math.max(...own);
    if (pooling === "max") return top;
    if (pooling === "mean") return own.reduce((a, b) => a + b, 0) / own.length;
    let [sum, weights] = [0, 0];
    for (const value of own) {
      const weight = Math.exp(value - top);
      sum += weight * value;
      weights += weight;
    }
    return sum / weights;
  });
  return parts.reduce((a, b) => a + b, 0) / parts.length;
}

/** Activation of a located concept after a region of its map was raised by β, see `taken`. */
export function activationWith(slices, part, beta, concept, pooling) {
  const changed = slices.map((own) => own.map((value, p) => value + beta * part[p]));
  return (pool(changed, pooling) - concept.mean) / concept.std;
}

/** Pixels of a box in fractions of the square, as the command's --box: what it touches. */
export function boxMask(side, { x, y, width, height }) {
  const mask = new Uint8Array(side * side);
  const clip = (value) => Math.min(side, Math.max(0, value));
  const [left, top] = [Math.floor(clip(x * side)), Math.floor(clip(y * side))];
  const [right, bottom] = [Math.ceil(clip((x + width) * side)), Math.ceil(clip((y + height) * side))];
  for (let row = top; row < bottom; row++) mask.fill(1, row * side + left, row * side + right);
  return mask;
}

/** Adds the disc of a brush to a mask; centre and radius in fractions of the square. */
export function dab(mask, side, x, y, radius) {
  const [cx, cy, r] = [x * side, y * side, radius * side];
  for (let row = Math.max(0, Math.floor(cy - r)); row <= Math.min(side - 1, cy + r); row++) {
    for (let column = Math.max(0, Math.floor(cx - r)); column <= Math.min(side - 1, cx + r); column++) {
      if ((row + 0.5 - cy) ** 2 + (column + 0.5 - cx) ** 2 <= r * r) mask[row * side + column] = 1;
    }
  }
}

/** Heat of one slice in `size` × `size` pixels, in [0, 1]; nothing where no place is seen. `axes`: from `smooth`. */
export function heatOf(slice, scale, rows, columns, size) {
  const [h, w] = [rows.length / size, columns.length / size];
  const out = new Float32Array(size * size);
  if (Math.max(...slice) <= scale[0]) return out;
  const coldest = Math.min(...slice);
  for (let y = 0; y < size; y++) {
    const line = new Float64Array(w);
    for (let r = 0; r < h; r++) for (let c = 0; c < w; c++) line[c] += rows[y * h + r] * slice[r * w + c];
    for (let x = 0; x < size; x++) {
      let value = 0;
      for (let c = 0; c < w; c++) value += columns[x * w + c] * line[c];
      out[y * size + x] = Math.min(1, Math.max(0, (Math.max(value, coldest) - scale[0]) / (scale[1] - scale[0])));
    }
  }
  return out;
}
