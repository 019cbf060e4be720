"""Figures of ProDA: the label-free ones, and those of the paper with the baselines that expose them. Pure functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Charades' official localisation: points per video, and score of a video that is missing.
POINTS = 25
THETAS = IOUS = (0.2, 0.5, 0.7)


class Figure(NamedTuple):
    """A line of ``evaluation.parquet``."""

    split: str
    protocol: str
    figure: str
    value: float
    baseline: bool = False


def charades_map(scores: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """mAP as Charades' evaluation program has it, and how many classes have no positive.

    Videos are sorted stably by falling score, so ties keep the order of the list; videos without any label count as
    negatives below all others; a class without positives has no average precision and is left out.

    Args:
        scores: ``[n, C]``; truth: bool ``[n, C]``.
    """
    ranked = np.where(truth.any(1, keepdims=True), scores, -np.inf)
    order = np.argsort(-ranked, 0, kind="stable")
    hits = np.take_along_axis(truth, order, 0)
    precision = np.cumsum(hits, 0) / np.arange(1, len(hits) + 1)[:, None]
    positives = hits.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (precision * hits).sum(0) / positives
    return (float(np.nanmean(values)) if positives.any() else float("nan")), int((positives == 0).sum())


def by_label_count(
    truth: np.ndarray, asked: int, absent: bool, draw: np.random.Generator, most: int
) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """Rows of Tables 6 and 7: videos of L labels under prompts of i = 1 … L true ones.

    Args:
        absent: whether each prompt is filled up to K with absent ones (Table 7).
        most: L above it are left out.

    Returns:
        (L, i, rows ``[k]``, prompts bool ``[k, C]``) for each.
    """
    counts, found = truth.sum(1), []
    for total in range(1, most + 1):
        rows = np.flatnonzero(counts == total)
        if not len(rows):
            continue
        for true in range(1, total + 1):
            prompt = np.zeros((len(rows), truth.shape[1]), bool)
            for place, row in enumerate(rows):
                own = np.flatnonzero(truth[row])
                chosen = list(draw.choice(own, true, replace=False))
                if absent:
                    others = np.flatnonzero(~truth[row])
                    fill = min(max(asked - true, 0), len(others))
                    chosen += list(draw.choice(others, fill, replace=False))
                prompt[place, chosen] = True
            found.append((total, true, rows, prompt))
    return found


def table_6_7(
    cells: list[tuple[int, int, np.ndarray, np.ndarray]], scores: list[np.ndarray], truth: np.ndarray
) -> dict[int, tuple[float, float]]:
    """L → mAP of a_s, mean and population standard deviation over i.

    Args:
        cells: of `by_label_count`; scores: ``[k, C]`` of each.
    """
    found: dict[int, list[float]] = {}
    for (total, _, rows, prompt), own in zip(cells, scores, strict=True):
        found.setdefault(total, []).append(charades_map(own, truth[rows] & prompt)[0])
    return {total: (float(np.mean(values)), float(np.std(values))) for total, values in found.items()}


def grid(frames: np.ndarray, shown: np.ndarray, label: np.ndarray, actions: int) -> np.ndarray:
    """Tables 8 and 9: ``[θ, τ]``, part of the segments that are found, per class and then averaged over all classes.

    A frame counts where s² / max s² reaches θ; a row counts where its frames overlap the true ones by more than τ.
    There is no ranking, and a class that nothing shows counts as 0.

    Args:
        frames: gates s ``[k, N]``; shown: bool ``[k, N]``; label: ``[k]``.
    """
    power = frames.astype(np.float64) ** 2
    power /= np.maximum(power.max(1, keepdims=True), 1e-12)
    result = np.zeros((len(THETAS), len(IOUS)))
    for a, theta in enumerate(THETAS):
        kept = power >= theta
        common, either = (kept & shown).sum(1), (kept | shown).sum(1)
        for b, tau in enumerate(IOUS):
            right = common / np.maximum(either, 1) > tau
            own = [right[label == action].mean() if (label == action).any() else 0.0 for action in range(actions)]
            result[a, b] = np.mean(own)
    return result


def points(length: np.ndarray) -> np.ndarray:
    """The moments at which Charades asks what is going on: ``[n, 25]`` seconds, t_j = (j − 1) · length / 25."""
    return np.arange(POINTS) * np.asarray(length, float)[:, None] / POINTS


def point_truth(segments: list[list[tuple[int, float, float]]], length: np.ndarray, actions: int) -> np.ndarray:
    """bool ``[n, 25, C]``: start ≤ t ≤ end.

    Args:
        segments: per video (action, start, end) in seconds.
    """
    at = points(length)
    truth = np.zeros((len(segments), POINTS, actions), bool)
    for row, own in enumerate(segments):
        for action, start, end in own:
            truth[row, :, action] |= (start <= at[row]) & (at[row] <= end)
    return truth


def at_points(asked: np.ndarray, frames: np.ndarray, times: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Scores ``[n, 25, C]``: what an action is said when asked for, times its gate s at the nearest frame.

    Args:
        asked: ``[n, C]``; frames: ``[n, C, N]``; times: ``[n, N]`` seconds.
    """
    nearest = np.abs(points(length)[:, :, None] - times[:, None]).argmin(2)
    gates = np.take_along_axis(frames, nearest[:, None], 2)  # [n, C, 25]
    return (asked[..., None] * gates).transpose(0, 2, 1)


def localisation_map(scores: np.ndarray, truth: np.ndarray) -> float:
    """Official localisation: mAP over the rows of all videos and points ``[n, 25, C]``."""
    actions = truth.shape[2]
    flat = truth.reshape(-1, actions)
    order = np.argsort(-scores.reshape(-1, actions), 0, kind="stable")
    hits = np.take_along_axis(flat, order, 0)
    precision = np.cumsum(hits, 0) / np.arange(1, len(hits) + 1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.nanmean((precision * hits).sum(0) / hits.sum(0)))


def verb_accuracy(scores: np.ndarray, truth: np.ndarray, verbs: int) -> float:
    """How often the best verb of an object that is used is the right one; classes of one object are neighbours."""
    own, right = (values.reshape(len(values), -1, verbs) for values in (scores, truth))
    used = right.any(2)
    return float((own.argmax(2) == right.argmax(2))[used].mean()) if used.any() else float("nan")


def auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a true one has the higher score, ties count half; NaN where there is one kind alone."""
    yes, no = scores[truth], scores[~truth]
    if not len(yes) or not len(no):
        return float("nan")
    return float(((yes[:, None] > no) + 0.5 * (yes[:, None] == no)).mean())


def found_parts(frames: np.ndarray, edges: np.ndarray, shown: np.ndarray, owned: np.ndarray) -> dict[str, float]:
    """How well one action's parts are found, where truth is known; NaN where there is nothing to tell apart.

    Edges are judged by w and by w·s; nodes by their mean w over the frames, and by its mean weighted with s², the
    square that localisation takes too: w says what takes part in a frame, s whether the frame counts.

    Args:
        frames: s ``[N]``; edges: w ``[N, M - 1]`` between person and node; shown, owned: bool ``[N, M - 1]``.
    """
    nodes = shown.any(0)
    taken = owned.any(0)[nodes]
    decided = len(taken) > 1 and taken.any() and not taken.all()

    def hit(weight: np.ndarray) -> float:
        mean = (edges * shown * weight[:, None]).sum(0)[nodes] / np.maximum(
            (shown * weight[:, None]).sum(0)[nodes], 1e-12
        )
        return float(taken[mean.argmax()]) if decided else float("nan")

    return {
        "frame_auroc": auroc(frames, owned.any(1)),
        "edge_auroc": auroc((edges * frames[:, None])[shown], owned[shown]),
        "edge_auroc_w_alone": auroc(edges[shown], owned[shown]),
        "node_hit": hit(frames.astype(float) ** 2),
        "node_hit_w_alone": hit(np.ones(len(frames))),
        "node_hit_chance": float(taken.mean()) if decided else float("nan"),
    }
