"""Models as Python objects: ``load("results/demo/model.pt").predict("clip.mp4").explain()``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipeline.data.entries import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, Contribution, opened
from pipeline.methods.dance.explain import editing
from pipeline.methods.dance.explain.cached import Cached, look, person_of, read_cached
from pipeline.methods.dance.explain.editing import Contrast, Effect, Suggestion
from pipeline.methods.dance.explain.palette import TYPE_COLOURS
from pipeline.methods.dance.explain.seen import Seen, in_words, picture_of
from pipeline.methods.models import Envelope, read
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.names import NameUnknown, find

if TYPE_CHECKING:
    from pipeline.methods.dance.explain.predict import VideoPredictor
    from pipeline.methods.dance.explain.timeline import Timeline


# Over the rows of `Reason.line`.
HEADING = f"  {'logit':>7}  {'speaks':<7}  {'type':<6}  concept; its activation in standard deviations"


@dataclass(frozen=True)
class Explanation:
    """The reasons of a decision: concepts with what each adds to the logit; ``note`` tells whether to rely on it."""

    title: str
    rows: list[Contribution] | list[Contrast]
    note: str = ""

    @staticmethod
    def _value(row: Contribution | Contrast) -> float:
        return row.contribution if isinstance(row, Contribution) else row.difference

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int):
        return self.rows[position]

    def __str__(self) -> str:
        lines = [HEADING] * bool(self.rows) + [row.line(self._value(row)) for row in self.rows]
        if self.rows and all(row.doubt for row in self.rows):
            lines.append("  every concept behind this decision is doubtful")
        note = [f"  {self.note}"] if self.note else []
        return "\n".join([self.title, *note, *(lines or ["  no concept speaks for or against it"])])

    __repr__ = __str__

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "note": self.note, "reasons": [asdict(row) for row in self.rows]}

    def _repr_html_(self) -> str:
        largest = max((abs(self._value(row)) for row in self.rows), default=1.0)
        bars = "".join(
            f"<tr><td style='text-align:left'>{escape(row.said)} <small>{row.type}, activation {row.activation:+.2f}"
            f"{escape('; doubtful: ' + row.doubt) if row.doubt else ''}</small></td>"
            f"<td>{row.speaks}</td><td style='text-align:right'>{self._value(row):+.3f}</td>"
            f"<td style='width:160px;text-align:left'><div style='height:10px;background:{TYPE_COLOURS[row.type]};"
            f"opacity:{1 if self._value(row) > 0 else 0.45};width:{abs(self._value(row)) / largest:.0%}'></div></td>"
            "</tr>"
            for row in self.rows
        )
        return f"<b>{escape(self.title)}</b><p>{escape(self.note)}</p><table>{bars}</table>"


@dataclass(frozen=True)
class Decision:
    """What a model says about one video.

    Attributes:
        source: path or id of the video.
        z: standardised concept activations ``[M]``.
        deactivated: names of the concepts that were taken out; levels: what that means for each.
        distance: from the training videos; None where the model cannot tell.
        look: gives frames and concept maps of the video when a picture is wanted; None where they are not known.
    """

    core: ConceptModel
    source: str
    z: np.ndarray
    deactivated: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    distance: float | None = None
    look: Callable[[], Seen | None] = field(default=lambda: None, repr=False, compare=False)

    @property
    def logits(self) -> np.ndarray:
        """``[K]``."""
        return self.core.weight @ self.z + self.core.bias

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        return self.core.probabilities(self.z)[0]

    @property
    def label(self) -> int:
        return int(self.probabilities.argmax())

    @property
    def class_name(self) -> str:
        return self.core.class_names[self.label]

    @property
    def probability(self) -> float:
        return float(self.probabilities[self.label])

    @property
    def unseen(self) -> dict[str, Any] | None:
        """Whether the video is unlike all of training; see `ConceptModel.unseen`."""
        return self.core.unseen(self.distance)

    def explain(self, class_name: str | None = None, against: str | None = None, top_k: int = 5) -> Explanation:
        """The concepts that speak most for or against a class (the decided one), or for it and not another.

        Raises:
            NameUnknown: there is no such class.
        """
        label = self.label if class_name is None else find(class_name, self.core.class_names, "class")
        name = self.core.class_names[label]
        head = f"{self.source}: {name} ({self.probabilities[label]:.1%})"
        if self.deactivated:
            out = (f"{name} ({level})" for name, level in zip(self.deactivated, self.levels, strict=True))
            head += f" without {', '.join(out)}"
        if against is None:
            return Explanation(head, self.core.explain(self.z, label, top_k), in_words(self.unseen))
        other = find(against, self.core.class_names, "class")
        head += f" and not {against} ({self.probabilities[other]:.1%})"
        return Explanation(head, editing.contrast(self.core, self.z, label, other, top_k), in_words(self.unseen))

    def rather(self, top_k: int = 5) -> Explanation | None:
        """Why the decided class and not the next one; None where there is only one class."""
        if len(self.core.class_names) < 2:
            return None
        second = self.core.class_names[int(self.probabilities.argsort()[-2])]
        return replace(self.explain(against=second, top_k=top_k), note="")

    def without(self, *concepts: str, level: str = "absent") -> Decision:
        """The decision if the video did not show these concepts.

        Args:
            level: what that means: ``absent``, ``mean`` or ``zero``; see
                `pipeline.methods.dance.bottleneck.recogniser.ConceptModel.without`.

        Raises:
            NameUnknown: there is no such concept or level, or the model does not know the level.
        """
        rows = [self.core.find_concept(name) for name in concepts]
        names = tuple(self.core.concepts[m] for m in rows)
        return replace(
            self,
            z=self.core.without(self.z, rows, level),
            deactivated=(*self.deactivated, *names),
            levels=(*self.levels, *(level for _ in names)),
        )

    def reason(self, concept: int) -> Contribution:
        """What one concept says for or against the decided class."""
        value = float(self.core.weight[self.label, concept] * self.z[concept])
        weight = float(self.core.weight[self.label, concept])
        return Contribution(**self.core.reason(self.z, concept, value), contribution=value, weight=weight)

    def picture(self, concept: str) -> Image.Image | None:
        """A motion concept as the strip of its medoid, a located concept as its heatmap over the frames.

        Returns:
            None for a concept that is only a text, that the video does not show, or that is not located in it.

        Raises:
            NameUnknown: there is no such concept.
            ArtifactError: the cache holds something else than the model has seen.
        """
        reason = self.reason(self.core.find_concept(concept))
        found = picture_of(self.core, reason) or picture_of(self.core, reason, self.look())
        return None if found is None else Image.fromarray(found.strip())

    def as_dict(self, top: int) -> dict[str, Any]:
        """The decision and its strongest reasons, for JSON."""
        return {
            "class": self.class_name,
            "probability": self.probability,
            "probabilities": dict(zip(self.core.class_names, map(float, self.probabilities), strict=True)),
            "unseen": self.unseen,
            "contributions": [asdict(row) for row in self.explain(top_k=top)],
        }

    def lines(self, top: int) -> list[str]:
        """The decision and its strongest reasons as people read them."""
        return str(self.explain(top_k=top)).splitlines()

    def __str__(self) -> str:
        return str(self.explain())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.explain()._repr_html_()


class Model:
    """A concept bottleneck model with what it needs to look at a video, and with the videos it knows.

    Attributes:
        core: weights, names and settings, see `pipeline.methods.dance.bottleneck.recogniser.ConceptModel`.
        results: the folder of its run, or None; known videos are read from there.
        runtime: hardware that looks at new videos.
    """

    method = "dance"

    def __init__(self, core: ConceptModel, results: Path | None, predictor: Any = None, runtime: Runtime = AUTO):
        self.core = core
        self.results = results
        self.runtime = runtime
        self._predictor = predictor

    @functools.cached_property
    def cached(self) -> Cached:
        """Activations of the videos of the run.

        Raises:
            ArtifactError: there is no run beside the model, or it is of another model.
        """
        if self.results is None:
            raise ArtifactError("this model stands alone; say where its run is: load(path, results=FOLDER)")
        return read_cached(self.results, self.core)

    @property
    def class_names(self) -> list[str]:
        return self.core.class_names

    @property
    def edits(self) -> list[dict]:
        """What was changed by hand, oldest first."""
        return self.core.about.get("edits", [])

    def predict(self, source: str | Path | np.ndarray, maps: np.ndarray | None = None) -> Decision:
        """The decision on a video file, on a video of the run by its id, or on a backbone feature ``[D]``.

        Args:
            maps: feature maps ``[S, rows, columns, D']`` on the model's grid, with a feature of a model that has them.

        Raises:
            VideoError: the file cannot be read.
            NameUnknown: it is neither a file nor a known id.
            ValueError: feature or maps do not fit the model.
        """
        if isinstance(source, np.ndarray):
            if source.ndim != 1:
                raise ValueError(f"one feature has the shape [D], got {list(source.shape)}")
            concept_maps = None if maps is None else self.core.maps(maps[None])
            z, (distance,) = self.core.activations(source, concept_maps)[0], self.core.distance(source)
            return Decision(self.core, "feature", z, distance=distance)
        if os.path.exists(source) or Path(source).suffix.lower() in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES):
            seen = self._seer().look(Path(source))
            z = self.core.activations(seen.feature, None if seen.maps is None else seen.maps[None], seen.read)[0]
            (distance,) = self.core.distance(seen.feature)
            return Decision(self.core, str(source), z, distance=distance, look=lambda: seen)
        try:
            known = self.cached
        except ArtifactError as error:
            if self.results is not None:
                raise
            raise NameUnknown(f"{source} is no file; {error}") from None
        row = find(str(source), known.video_id, "file or video")
        name, z, folder = known.video_id[row], known.z[row], self.results
        seen = functools.cache(lambda: look(folder, self.core, name, z))
        return Decision(self.core, name, z, distance=known.distance[row], look=seen)

    def _seer(self) -> VideoPredictor:
        if self._predictor is None:
            from pipeline.methods.dance.explain.predict import VideoPredictor  # loads the backbone

            self._predictor = VideoPredictor(self.core, self.runtime)
        return self._predictor

    def timeline(self, source: str | Path, length: float | None = None, hop: float | None = None) -> Timeline:
        """Decision and activations along a video file: the model's windows slid over it.

        Args:
            length: of a window in seconds; by default what the model's clips span in its typical training video.
            hop: seconds from one window to the next; a quarter of a window by default.

        Raises:
            VideoError: the file cannot be read. StageError: there is no such file, or the model needs a length.
        """
        from pipeline.methods.dance.explain.timeline import Timeline  # loads the backbone

        length = self.core.about.get("window") if length is None else length
        if length is None:
            raise StageError("the model does not know how long its training videos are; name the length of a window")
        if not os.path.exists(source):
            raise StageError(f"{source} is no file; the cache keeps clips, and a timeline needs the whole video")
        found = self._seer().over_time(Path(source), length, length / 4 if hop is None else hop)
        return Timeline(self.core, str(source), *found)

    def animation(self, source: str, pixels: bool = True, top: int = 4) -> tuple[list[np.ndarray], int]:
        """The decision on a video of the run as moving pictures: the person, the recognised motion, the reasons.

        Args:
            source: id of the video; pixels: False draws skeletons alone, so that no one can be recognised.
            top: reasons that are drawn.

        Returns:
            pictures, uint8 ``[H, W, 3]`` each, and for how many milliseconds each is shown;
            `pipeline.methods.dance.explain.overlay.write_animation` makes a GIF of both.

        Raises:
            NameUnknown: the run has no such video.
            ArtifactError: the model stands alone, or the run has neither clips nor poses.
        """
        from pipeline.methods.dance.explain.animation import drawn  # draws with OpenCV

        cached = self.cached
        name = cached.video_id[find(source, cached.video_id, "video")]
        decision = self.predict(name)
        person = person_of(self.results, name, pixels)
        if person is None:
            raise ArtifactError(f"{self.results} has neither a clip nor poses of {name}: there is nothing to draw")
        true = self.core.class_names[cached.label[cached.video_id.index(name)]]
        verdict = "right" if true == decision.class_name else f"wrong, it is {true}"
        title = f"{name}: {decision.class_name} ({decision.probability:.1%}, {verdict})"
        seconds = float(np.diff(person.times).mean()) if len(person.times) > 1 else 1.0
        return drawn(self.core, title, decision.explain(top_k=top).rows, person), round(1000 * seconds)

    def failures(self, split: str = "test", top_k: int | None = None) -> list[Decision]:
        """Decisions on a split that are wrong, the surest mistake first (by the margin to the true class).

        Raises:
            NameUnknown: there is no such split.
        """
        rows = self.cached.rows(split)
        margin = editing.margins(self.core, self.cached.z[rows], self.cached.label[rows])
        wrong = np.flatnonzero(margin < 0)
        order = wrong[np.argsort(margin[wrong], kind="stable")][:top_k]
        return [self.predict(self.cached.video_id[rows[i]]) for i in order]

    def reweight(self, class_name: str, concept: str, weight: float) -> Model:
        """A model with one other concept-to-class weight; this one stays as it is.

        Raises:
            NameUnknown: there is no such class or concept.
        """
        label = find(class_name, self.core.class_names, "class")
        edited = self.core.reweight(label, self.core.find_concept(concept), weight)
        # Backbone and activations do not depend on the weight.
        result = Model(edited, self.results, self._predictor, self.runtime)
        if "cached" in self.__dict__:
            result.__dict__["cached"] = self.cached
        return result

    def effect(self, other: Model, split: str) -> Effect:
        """Videos of a split that another model decides rightly and this one wrongly, and the other way round."""
        rows = self.cached.rows(split)
        return editing.effect(self.core, other.core, self.cached.z[rows], self.cached.label[rows])

    def accuracy(self, split: str) -> float:
        """Top-1 on a split of the run."""
        rows = self.cached.rows(split)
        return float((editing.decisions(self.core, self.cached.z[rows]) == self.cached.label[rows]).mean())

    def suggest_edits(
        self, true: str | None = None, decided: str | None = None, split: str = "val"
    ) -> dict[tuple[str, str], list[Suggestion]]:
        """Edits that would win confused videos back, for one pair of classes or for all that are confused.

        Raises:
            NameUnknown: there is no such class or split.
        """
        rows = self.cached.rows(split)
        z, y = self.cached.z[rows], self.cached.label[rows]
        names = self.core.class_names
        wanted = [(a, b) for a, b, _ in editing.confused_pairs(self.core, z, y)]
        if true is not None:
            wanted = [pair for pair in wanted if pair[0] == find(true, names, "class")]
        if decided is not None:
            wanted = [pair for pair in wanted if pair[1] == find(decided, names, "class")]
        return {(names[a], names[b]): editing.suggest(self.core, z, y, a, b) for a, b in wanted}

    def explain(self, source: str | Path, out: Path, top: int = 3) -> list[str]:
        """Write the pictures of a decision's strongest concepts; see `pipeline.methods.dance.explain.written`."""
        from pipeline.methods.dance.explain.written import write_explanation

        return write_explanation(self.core, self.predict(source), out, top)

    def save(self, path: str | Path) -> None:
        """Write the model with its edit log; the file that it was loaded from is left alone unless it is named."""
        self.core.save(path)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.core.types.count(kind)} {kind}" for kind in TYPES if self.core.types.count(kind))
        edits = f", {len(self.edits)} edits" if self.edits else ""
        return (
            f"<model of {self.core.about['dataset']}: {len(self.core.class_names)} classes, {counts} concepts{edits}>"
        )


def open_model(envelope: Envelope, results: Path | None, runtime: Runtime = AUTO) -> Model:
    """The model in an opened file.

    Args:
        results: folder of the run that it belongs to; the folder of the file if that holds a run.
        runtime: hardware that looks at new videos.
    """
    core = opened(envelope)
    folder = envelope.path.resolve().parent if results is None else results
    if results is None and not (folder / "bottleneck").is_dir():
        return Model(core, None, runtime=runtime)
    return Model(core, folder, runtime=runtime)


def load(path: str | Path, results: str | Path | None = None, runtime: Runtime = AUTO) -> Model:
    """Open a model file of DANCE; see `open_model`.

    Raises:
        ArtifactError: it is absent, damaged, no model of this method, or of a newer release.
    """
    return open_model(read(path), None if results is None else Path(results), runtime)
