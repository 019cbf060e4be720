"""The concept filters of DANCE (supplement 1.3.2), each with the reason for every candidate that it drops.

Order: exact duplicates, length, similarity to a class name, similarity to another candidate, activation in the data.
The fifth filter of the paper, projection, needs trained concept layers, and stands with those of DANCE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.context.settings import Concepts, Sentences
from pipeline.store.atomic import StageError

ROWS_AT_ONCE = 1024
# Similarities that agree so far are equal: two texts with one embedding, or two candidates that have only each other.
ROUNDING = 1e-5


@dataclass
class Candidate:
    """One object or scene that might become a concept.

    Attributes:
        type: object or scene.
        text: as written in the candidate list.
        dropped_by: name of the filter that dropped it; empty while it is kept.
        reason: the figures that decided.
        class_similarity, mutual_similarity, activation: what the filters measured; NaN where they did not look.
    """

    type: str
    text: str
    dropped_by: str = ""
    reason: str = ""
    class_similarity: float = float("nan")
    mutual_similarity: float = float("nan")
    activation: float = float("nan")

    @property
    def kept(self) -> bool:
        return not self.dropped_by

    def drop(self, name: str, reason: str) -> None:
        self.dropped_by, self.reason = name, reason


def cosine(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Similarity ``[n, m]`` in [−1, 1] of rows ``[n, E]`` and others ``[m, E]`` of any length but zero."""
    unit, other_unit = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, others))
    return unit @ other_unit.T


def drop_duplicates(candidates: list[Candidate]) -> None:
    """Drop candidates that differ from an earlier one of their type in case or blanks only."""
    first: dict[tuple[str, str], str] = {}
    for candidate in candidates:
        key = (candidate.type, " ".join(candidate.text.casefold().split()))
        if key in first:
            candidate.drop("duplicate", f"the same as '{first[key]}'")
        else:
            first[key] = candidate.text


def drop_long(candidates: list[Candidate], max_length: int) -> None:
    """Drop texts of more than ``max_length`` characters."""
    for candidate in candidates:
        if candidate.kept and len(candidate.text) > max_length:
            candidate.drop("length", f"{len(candidate.text)} characters, more than {max_length}")


def drop_class_names(
    candidates: list[Candidate], similarity: np.ndarray, class_names: Sequence[str], threshold: float
) -> None:
    """Drop what as good as names a class: such a concept explains nothing.

    Args:
        similarity: ``[n_candidates, n_classes]``.
    """
    for candidate, row in zip(candidates, similarity, strict=True):
        if candidate.kept and len(row):
            nearest = int(row.argmax())
            candidate.class_similarity = float(row[nearest])
            if row[nearest] >= threshold:
                candidate.drop(
                    "class_similarity", f"{row[nearest]:.3f} to class '{class_names[nearest]}', at least {threshold}"
                )


def drop_similar(
    candidates: list[Candidate], similarity: Callable[[Sequence[int], Sequence[int]], np.ndarray], threshold: float
) -> None:
    """Of two candidates of one type that are too similar, drop the one that is less similar to all others.

    Pairs are handled from the most similar down, and a dropped candidate drops nobody: of three equal texts one stays.
    Equal pairs go in the order of the list, and of two candidates that are equal to all others the earlier one stays:
    the rounding of a processor decides neither.
    An object and a scene are never compared: what they mean differs by their type.

    Args:
        similarity: gives a part of ``[n_candidates, n_candidates]`` from rows and columns: the whole would be 3 GB for
            the nouns of WordNet.
    """
    for kind in dict.fromkeys(candidate.type for candidate in candidates):
        rows = [row for row, candidate in enumerate(candidates) if candidate.type == kind and candidate.kept]
        pairs: list[tuple[int, int]] = []
        value: dict[tuple[int, int], float] = {}
        sums: dict[int, float] = {}
        for start in range(0, len(rows), ROWS_AT_ONCE):
            own = rows[start : start + ROWS_AT_ONCE]
            part = similarity(own, rows)  # [rows at once, rows of this type]
            for at, row in enumerate(own):
                sums[row] = float(part[at].sum())
                others = np.delete(part[at], start + at)
                candidates[row].mutual_similarity = float(others.max()) if len(others) else float("nan")
            for at, other in zip(*np.nonzero(part >= threshold), strict=True):
                if other > start + at:
                    pairs.append((own[at], rows[other]))
                    value[pairs[-1]] = float(part[at, other])
        pairs.sort(key=lambda pair: (-round(value[pair] / ROUNDING), pair))
        for i, j in pairs:
            if not (candidates[i].kept and candidates[j].kept):
                continue
            loser, winner = (i, j) if sums[i] < sums[j] - ROUNDING * len(rows) else (j, i)
            candidates[loser].drop(
                "mutual_similarity",
                f"{value[i, j]:.3f} to '{candidates[winner].text}', at least {threshold}; summed similarity "
                f"{sums[loser]:.2f} against {sums[winner]:.2f}",
            )


def drop_inactive(candidates: list[Candidate], similarity: np.ndarray, top_k: int, cutoff: float) -> None:
    """Drop what is not in the data: mean similarity of the ``top_k`` most similar videos below ``cutoff``.

    The paper says "average"; over all videos no concept of its own data reaches its threshold, the official code takes
    the mean of the top five.

    Args:
        similarity: videos × candidates, ``[n_videos, n_candidates]``, train videos only.
    """
    count = min(top_k, len(similarity))
    strongest = -np.partition(-similarity, count - 1, axis=0)[:count] if count else np.zeros((1, len(candidates)))
    for candidate, value in zip(candidates, strongest.mean(0), strict=True):
        candidate.activation = float(value)
        if candidate.kept and value < cutoff:
            candidate.drop("activation", f"mean similarity {value:.3f} of its top {count} train videos, below {cutoff}")


def apply_filters(
    candidates: list[Candidate],
    embeddings: np.ndarray,
    classes: tuple[Sequence[str], np.ndarray],
    activation: np.ndarray,
    settings: Concepts | Sentences,
    max_length: int | None = None,
) -> np.ndarray:
    """All filters in their order: which candidates were kept, bool ``[n_candidates]``.

    Args:
        embeddings: of the candidates ``[n_candidates, E]``.
        classes: names, and their embeddings ``[n_classes, E]``; without these that filter is left out.
        activation: see `drop_inactive`; max_length: see `drop_long`.

    Raises:
        StageError: none was kept.
    """
    what = type(settings).__name__.lower()
    if not candidates:
        raise StageError(f"there is no candidate for {what}; see context.texts.candidates and context.sentences.files")
    if not len(activation):
        raise StageError(
            f"no train video has an embedding, so {what} cannot be filtered; see what failed in context/dual_encoder"
        )
    drop_duplicates(candidates)
    if max_length is not None:
        drop_long(candidates, max_length)
    names, embedded = classes
    if len(embedded):
        drop_class_names(candidates, cosine(embeddings, embedded), names, settings.class_similarity)
    drop_similar(
        candidates, lambda rows, others: cosine(embeddings[rows], embeddings[others]), settings.mutual_similarity
    )
    drop_inactive(candidates, activation, settings.activation_top_k, settings.activation_cutoff)
    kept = np.array([candidate.kept for candidate in candidates])
    if not kept.any():
        strongest = max(candidate.activation for candidate in candidates)
        by = ", ".join(f"{n} by {name}" for name, n in Counter(item.dropped_by for item in candidates).most_common())
        raise StageError(
            f"all {len(candidates)} candidates for {what} were dropped ({by}); the strongest activation is "
            f"{strongest:.3f}, context.{what}.activation_cutoff is {settings.activation_cutoff}"
        )
    return kept


def as_table(candidates: list[Candidate]) -> pa.Table:
    """One row per candidate: kept, or dropped by which filter and why."""
    columns = ("type", "text", "kept", "dropped_by", "reason", "class_similarity", "mutual_similarity", "activation")
    return pa.table({name: [getattr(candidate, name) for candidate in candidates] for name in columns})
