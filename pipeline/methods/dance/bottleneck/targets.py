"""What concept layers learn to say, and what was read of the videos: motion labels and similarities, joined by id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.backbone.samples import Samples
from pipeline.jobs import stage
from pipeline.methods.dance.bottleneck.leakage import leakage_projection
from pipeline.methods.dance.bottleneck.levels import halves
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
        texts: their embeddings ``[m, E]``.
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
    read: np.ndarray | None = None

    @classmethod
    def of_words(cls, names: list[str], types: np.ndarray, similarity: np.ndarray, known: np.ndarray) -> Targets:
        """Concepts in words alone, for layers without maps."""
        nothing = np.zeros((len(similarity), 0), np.float32)
        return cls([], nothing, np.ones(len(similarity), bool), names, types, nothing, similarity, known)

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
    """Names of the motion concepts, multi-hot labels of the samples ``[n, n_motion]``, and which have some ``[n]``."""
    table, described = job.read_table("motion_labels")
    names = described["names"]
    hot = np.zeros((table.num_rows, len(names)), np.float32)
    for row, concepts in enumerate(table["concepts"].to_pylist()):
        hot[row, concepts] = 1
    return names, *samples.align(table["video_id"].to_pylist(), hot)


def read_words(job: stage.Job, samples: Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Types, names and texts of the concepts in words, their similarity to the samples, and which have one."""
    ((arrays, described),) = job.read_arrays("pseudo_labels")
    similarity, known = samples.align(described["video_id"], arrays["similarity"])
    types, names = np.array(described["types"]), np.array(described["names"], object)
    return types, names, arrays["texts"], similarity, known


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
        return Targets(motion_names, labels, labelled, [], np.array([], str), nothing, nothing, known, read)
    types, names, texts, similarity, known = read_words(job, samples)
    own = np.isin(types, settings.words)
    words = names[own].tolist(), types[own], texts[own], similarity[:, own], known
    return Targets(motion_names, labels, labelled, *words, read)


def read_readings(job: stage.Job, samples: Samples) -> np.ndarray | None:
    """What was read of the motion concepts ``[n, n_motion]``, NaN for a sample without poses; None where nothing is."""
    if not job.given("readings"):
        return None
    ((arrays, described),) = job.read_arrays("readings")
    values, has_row = samples.align(described["video_id"], arrays["readings"])
    return np.where(has_row[:, None], values, np.nan)
