"""What concept layers learn to say, and what was read of the videos: motion labels and similarities, joined by id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.backbone.samples import Samples
from pipeline.jobs import stage
from pipeline.methods.dance.bottleneck.leakage import leakage_projection
from pipeline.methods.dance.bottleneck.levels import halves
from pipeline.methods.dance.curation import kept_groups, united
from pipeline.methods.dance.settings import ConceptLayers

Showing = tuple[np.ndarray, np.ndarray, bool, bool]


@dataclass(frozen=True)
class Targets:
    """What the layers learn to say about the samples.

    Attributes:
        motion_names: of the discovered motion concepts; empty where no model kind has them.
        labels: multi-hot ``[n, n_motion]``; labelled: bool ``[n]``. Videos whose clips were all dropped teach nothing
            (DANCE supplement 2.2), but get a decision.
        names, types: of the ``m`` concepts in words that passed the filters.
        texts: their embeddings ``[t, E]``; text_of: the concept of each ``[t]``. A merged one has several, and the
            largest similarity of them.
        similarity: of every sample to them, ``[n, m]``; has_similarity: bool ``[n]``.
        read: the motion concepts as they are read from poses, ``[n, n_motion]``, NaN where they cannot be; None where
            they are not.
    """

    motion_names: list[str]
    labels: np.ndarray
    labelled: np.ndarray
    names: list[str]
    types: np.ndarray
    texts: np.ndarray
    similarity: np.ndarray
    has_similarity: np.ndarray
    text_of: np.ndarray
    read: np.ndarray | None = None

    @classmethod
    def of_words(cls, names: list[str], types: np.ndarray, similarity: np.ndarray, known: np.ndarray) -> Targets:
        """Concepts in words alone, for layers without maps."""
        nothing = np.zeros((len(similarity), 0), np.float32)
        labelled, nobody = np.ones(len(similarity), bool), np.zeros(0, np.int64)
        return cls([], nothing, labelled, names, types, nothing, similarity, known, nobody)

    def seen(self, train: np.ndarray) -> np.ndarray:
        """bool ``[n_motion]``: a concept without a positive training video has nothing to learn from."""
        return self.labels[train & self.labelled].any(0)

    def showing(self, kind: str, name: str, train: np.ndarray) -> Showing:
        """Which training videos show a concept.

        Args:
            train: bool ``[n]``.

        Returns:
            rows of those of which it is known, int64 ``[k]``; bool ``[k]``; whether the latter means anything; and
            whether those without it may show anything else, see `levels_of`.
        """
        if kind == "motion":
            rows = np.flatnonzero(train & self.labelled)
            return rows, self.labels[rows, self.motion_names.index(name)] > 0, True, True
        rows = np.flatnonzero(train & self.has_similarity)
        (column,) = (m for m in np.flatnonzero(self.types == kind) if self.names[m] == name)
        return rows, *halves(self.similarity[rows, column]), False

    def hidden_from(self, kind: str, samples: Samples, features: np.ndarray, rank: int) -> np.ndarray | None:
        """The projection ``[D, D]`` that ``features`` ``[n, D]`` go through for one type's layer.

        None for rank 0, and where there is no other type.
        """
        train, val = samples.split("train"), samples.split("val")
        motion = self.labels[:, self.seen(train)]
        is_own = np.concatenate([np.full(motion.shape[1], "motion"), self.types]) == kind
        if not rank or is_own.all():
            return None
        known = (train | val) & self.labelled & self.has_similarity
        if not known.any():
            raise stage.StageError(
                "no video has both a kept key clip and an embedding, which bottleneck.concept_layers.leakage_rank "
                "compares; set it to 0, or loosen motion.pose_clips"
            )
        targets = np.concatenate([motion, self.similarity], 1)[known]
        return leakage_projection(features[known], targets[:, is_own], targets[:, ~is_own], rank)


def read_labels(job: stage.Job, samples: Samples) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the motion concepts, multi-hot labels of the samples ``[n, n_motion]``, and which have some ``[n]``.

    As somebody has curated them: without dropped ones, and merged ones are there under the name of the leading one.
    """
    table, described = job.read_table("motion_labels")
    names = described["names"]
    hot = np.zeros((table.num_rows, len(names)), np.float32)
    for row, concepts in enumerate(table["concepts"].to_pylist()):
        hot[row, concepts] = 1
    rows = kept_groups(job, "motion", names)
    hot = united(hot, rows)
    return [names[own[0]] for own in rows], *samples.align(table["video_id"].to_pylist(), hot)


@dataclass(frozen=True)
class Words:
    """The concepts in words, as somebody has curated them.

    Attributes:
        types: ``[m]``; names: object ``[m]``, of the leading ones.
        texts: embeddings ``[t, E]``, a merged concept's behind each other; text_of: the concept of each, int64 ``[t]``.
        similarity: of the samples, ``[n, m]``; known: bool ``[n]``.
    """

    types: np.ndarray
    names: np.ndarray
    texts: np.ndarray
    text_of: np.ndarray
    similarity: np.ndarray
    known: np.ndarray

    def of_types(self, wanted: Sequence[str]) -> Words:
        """Those of some types alone."""
        own = np.isin(self.types, wanted)
        kept = own[self.text_of]
        text_of = (np.cumsum(own) - 1)[self.text_of[kept]]
        return Words(self.types[own], self.names[own], self.texts[kept], text_of, self.similarity[:, own], self.known)


def word_groups(job: stage.Job, types: Sequence[str], names: Sequence[str]) -> list[list[int]]:
    """Rows of the concepts in words that are left, those of a merged one together, see `curation.groups`."""
    found: list[list[int]] = []
    for kind in dict.fromkeys(types):
        own = [row for row, its in enumerate(types) if its == kind]
        found += [[own[row] for row in rows] for rows in kept_groups(job, kind, [names[row] for row in own])]
    return sorted(found)


def read_words(job: stage.Job, samples: Samples) -> Words:
    """The concepts in words and their similarity to the samples."""
    ((arrays, described),) = job.read_arrays("pseudo_labels")
    rows = word_groups(job, described["types"], described["names"])
    first = [own[0] for own in rows]
    similarity, known = samples.align(described["video_id"], united(arrays["similarity"], rows))
    types, names = np.array(described["types"])[first], np.array(described["names"], object)[first]
    texts = arrays["texts"][[row for own in rows for row in own]]
    text_of = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    return Words(types, names, texts, text_of, similarity, known)


def read_targets(job: stage.Job, samples: Samples, settings: ConceptLayers) -> Targets:
    """Motion labels and similarities of the samples, joined by id, of the types that are learned."""
    motion_names: list[str] = []
    labels, labelled = np.zeros((len(samples.videos), 0), np.float32), np.ones(len(samples.videos), bool)
    read = read_readings(job, samples)
    if settings.has_motion:
        motion_names, labels, labelled = read_labels(job, samples)
    if not settings.words:
        nothing = np.zeros((len(samples.videos), 0), np.float32)
        known = np.ones(len(samples.videos), bool)
        nobody = np.zeros(0, np.int64)
        return Targets(motion_names, labels, labelled, [], np.array([], str), nothing, nothing, known, nobody, read)
    words = read_words(job, samples).of_types(settings.words)
    told = words.names.tolist(), words.types, words.texts, words.similarity, words.known, words.text_of
    return Targets(motion_names, labels, labelled, *told, read)


def read_readings(job: stage.Job, samples: Samples) -> np.ndarray | None:
    """What was read of the motion concepts ``[n, n_motion]``, NaN for a sample without poses; None where nothing is."""
    if not job.given("readings"):
        return None
    ((arrays, described),) = job.read_arrays("readings")
    values, has_row = samples.align(described["video_id"], arrays["readings"])
    return np.where(has_row[:, None], values, np.nan)
