// How a decision and its reasons are worded: as `conceptreel explain` words them.

/** Whether a clip shows a concept; null where nobody knows. */
export function isPresent(concept, activation) {
  return concept.present_above === null ? null : activation >= concept.present_above;
}

/** A concept with its sign. */
export function signed(name, present, activation) {
  if (present === null) return name;
  if (present) return `${name} present${activation < 0 ? ", below average" : ""}`;
  return `no ${name}${activation > 0 ? ", yet above average" : ""}`;
}

export const speaks = (value) => (value > 0 ? "for" : "against");

/** The concepts whose parts are largest, without zeros; those that one may rely on come first. */
export function strongest(parts, concepts, wanted) {
  const order = Array.from(parts.keys())
    .filter((m) => parts[m] !== 0)
    .sort((a, b) => Math.abs(parts[b]) - Math.abs(parts[a]) || a - b);
  const doubtful = (m) => Boolean(concepts[m].doubt);
  let shown = order.slice(0, wanted);
  if (shown.length && shown.every(doubtful)) shown = [...order.filter((m) => !doubtful(m)).slice(0, 1), ...shown];
  return [...shown.filter((m) => !doubtful(m)), ...shown.filter(doubtful)];
}

/** What one concept says, given the activations of a clip and what it adds. */
export function reason(concept, activation, value) {
  const present = isPresent(concept, activation);
  return {
    concept,
    activation,
    value,
    present,
    said: signed(concept.label, present, activation),
    speaks: speaks(value),
    doubt: concept.doubt,
  };
}

/** The reasons for a class, or for it and not for another. */
export function reasons(z, weights, concepts, label, against = null, wanted = 5) {
  const M = concepts.length;
  const parts = Float64Array.from(z, (value, m) => {
    const weight = weights[label * M + m] - (against === null ? 0 : weights[against * M + m]);
    return weight * value;
  });
  return strongest(parts, concepts, wanted).map((m) => reason(concepts[m], z[m], parts[m]));
}

/** Whether a clip is like the training videos; nothing where the model cannot tell. */
export function likeTraining(distance, unseen) {
  if (distance === null || distance === undefined || !unseen) return null;
  const far = distance.toFixed(1);
  const limit = unseen.threshold.toFixed(1);
  return distance > unseen.threshold
    ? { flagged: true, text: `UNLIKE ALL TRAINING VIDEOS, do not rely on it: distance ${far}, and ${limit} is the limit` }
    : { flagged: false, text: `like the training videos: distance ${far} of at most ${limit}` };
}

/** Why a located concept that may be there glows nowhere; empty where it does. `warmest`: of all places of its map. */
export function notLocated(scale, warmest) {
  if (!scale) return "not located, the model does not know how warm a place is that shows it";
  return warmest <= scale[0] ? "not located, no place is as warm as where training videos show it" : "";
}

/** The same of any located concept, with its sign. */
export function whereNot(concept, activation, scale, warmest) {
  const present = isPresent(concept, activation);
  const why = present === false ? "nothing to show" : notLocated(scale, warmest);
  return why && `${signed(concept.label, present, activation)}: ${why}`;
}
