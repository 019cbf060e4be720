"""How much concepts tell beyond what they are named after: concepts-task and interconcept leakage.

Parisini et al., "Leakage and Interpretability in Concept-Based Models" (arXiv 2504.14094), with their estimators:
Kraskov et al. 2004 between two numbers, Ross 2014 between a number and a label, both of 3 neighbours. As there, an
activation is a number and a label a bit: an activation that says nothing else than *how much* of its concept is there
counts as leakage too, where the classes differ in that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.backbone.samples import Samples
from pipeline.jobs.stage import Job
from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.methods.dance.bottleneck.targets import read_labels, read_words

# A mean over more videos or pairs would not be another one, but take minutes.
MAX_VIDEOS, MAX_PAIRS = 500, 100


def information(x: np.ndarray, y: np.ndarray) -> float:
    """Mutual information in nats of two columns ``[n]``; one of integers is a label, one of floats a number."""
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression
    from sklearn.metrics import mutual_info_score

    labels = [np.issubdtype(values.dtype, np.integer) for values in (x, y)]
    if all(labels):
        return float(mutual_info_score(x, y))
    if labels[0]:
        x, y = y, x
    estimate = mutual_info_classif if any(labels) else mutual_info_regression
    if any(labels):
        # The estimator cannot use a label that one sample alone has.
        often = np.isin(y, *np.where(np.bincount(y) > 1))
        x, y = x[often], y[often]
    if not len(x) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(estimate(x[:, None], y, discrete_features=False, n_neighbors=min(3, len(x) - 1), random_state=0)[0])


def task_leakage(z: np.ndarray, truth: np.ndarray, y: np.ndarray) -> float:
    """max(0, I(z; y) − I(c; y)) / H(y) of one concept: CTL of the paper.

    Args:
        z: its activations, float ``[n]``; truth: what it is named after, int or float ``[n]``; y: classes, int ``[n]``.
    """
    entropy = information(y, y)
    return max(0.0, information(z, y) - information(truth, y)) / entropy if entropy > 0 else 0.0


def shared(columns: list[np.ndarray], pairs: list[tuple[int, int]]) -> np.ndarray:
    """I(a; b) / √(I(a; a) I(b; b)) of pairs of columns ``[n]``; 0 where one is constant."""
    own = {m: information(columns[m], columns[m]) for m in sorted({m for pair in pairs for m in pair})}
    scales = [own[a] * own[b] for a, b in pairs]
    return np.array(
        [
            information(columns[a], columns[b]) / np.sqrt(scale) if scale > 0 else 0.0
            for (a, b), scale in zip(pairs, scales, strict=True)
        ]
    )


def pair_leakage(z: list[np.ndarray], truth: list[np.ndarray], pairs: list[tuple[int, int]]) -> np.ndarray:
    """max(0, shared(z) − shared(c)) of pairs of concepts: ICL of the paper."""
    return np.maximum(0.0, shared(z, pairs) - shared(truth, pairs))


def leakage(
    z: np.ndarray, types: list[str], truth: list[np.ndarray | None], y: np.ndarray
) -> dict[str, dict[str, float]]:
    """Mean CTL of each type's concepts, and mean ICL of its concepts with any others.

    Args:
        z: activations ``[n, M]``; types: of the concepts; y: ``[n]``.
        truth: per concept int or float ``[n]``, NaN or −1 where it is unknown; None if it is unknown altogether.

    Returns:
        type → ``ctl``, ``icl``; types without a known concept are left out, ``icl`` with a single concept.
    """
    rng = np.random.default_rng([7401, len(y)])
    known = np.array([column is not None for column in truth], bool)
    rows = np.ones(len(y), bool)
    for column in truth:
        if column is not None:
            rows &= column != -1 if np.issubdtype(column.dtype, np.integer) else np.isfinite(column)
    rows = np.flatnonzero(rows)
    rows = np.sort(rng.permutation(rows)[:MAX_VIDEOS])
    result: dict[str, dict[str, float]] = {}
    if len(rows) < 5:
        return result
    columns = [None if column is None else column[rows] for column in truth]
    z, y = z[rows].astype(np.float64), y[rows].astype(np.int64)
    for kind in TYPES:
        own = np.flatnonzero(known & (np.array(types) == kind))
        if not len(own):
            continue
        result[kind] = {"ctl": float(np.mean([task_leakage(z[:, m], columns[m], y) for m in own]))}
        pairs = [(a, b) for a in own for b in np.flatnonzero(known) if a != b]
        if pairs:
            chosen = [pairs[i] for i in sorted(rng.permutation(len(pairs))[:MAX_PAIRS])]
            result[kind]["icl"] = float(pair_leakage(list(z.T), columns, chosen).mean())
    return result


def read_truth(job: Job, samples: Samples) -> dict[tuple[str, str], np.ndarray]:
    """(type, name) → what a concept is named after, of the samples ``[n]``: a label of motion, −1 where the video has
    none; or a score of the dual encoder, NaN likewise."""
    found: dict[tuple[str, str], np.ndarray] = {}
    if job.given("motion_labels"):
        names, labels, labelled = read_labels(job, samples)
        found |= {
            ("motion", name): np.where(labelled, column, -1).astype(np.int64)
            for name, column in zip(names, labels.T, strict=True)
        }
    if job.given("pseudo_labels"):
        words = read_words(job, samples)
        found |= {
            (str(kind), name): np.where(words.known, column, np.nan).astype(np.float64)
            for kind, name, column in zip(words.types, words.names, words.similarity.T, strict=True)
        }
    return found


def beside_read(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Per type the accuracy of its concepts alone, read and by every other way: what they know beyond themselves.

    Args:
        kinds: kind → its figures, with ``top1_by_type``.

    Returns:
        type → ``read``, and the kinds that have this type in another way; empty without the kind ``read``.
    """
    by_type = {kind: figures.get("top1_by_type") or {} for kind, figures in kinds.items()}
    read = by_type.pop("read", {})
    result = {}
    for kind in TYPES:
        if kind in read:
            # The other kinds whose name begins so read motion too: nothing new.
            others = {name: own for name, own in by_type.items() if kind != "motion" or not name.startswith("read")}
            result[kind] = {"read": read[kind]} | {name: own[kind] for name, own in others.items() if kind in own}
    return result
