"""What may be configured about DANCE and SALF-CBM: the sections `bottleneck` and `explain`."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from pipeline.settings import Section

Kind = Literal["dance+salf", "dance", "salf", "read", "read+dance", "read+salf"]
Type = Literal["motion", "object", "scene"]


class ConceptLayers(Section):
    kinds: list[Kind] = Field(
        default=["dance+salf", "read"],
        min_length=1,
        description="dance: all concepts are guessed from the clip's feature; salf: objects and scenes as maps, no "
        "motion; dance+salf: motion and maps; read: motion is read from poses, objects and scenes are the dual "
        "encoder's own scores; read+dance, read+salf: motion is read, the rest guessed or located. The first becomes "
        "model.pt; the others are reported beside it",
    )
    types: list[Type] = Field(
        default=["motion", "object", "scene"],
        min_length=1,
        description="types of concepts, any of these; [motion] alone needs no candidates and no dual encoder; "
        "maps show objects and scenes",
    )
    optimizer: Literal["adam", "lbfgs"] = Field(
        "lbfgs",
        description="of the motion layer; the problem is convex, and lbfgs reaches the same minimum faster (S: adam)",
    )
    learning_rate: float = Field(1e-3, gt=0, description="of Adam (S)")
    batch_size: int = Field(512, ge=2, description="videos per step (S)")
    max_steps: int = Field(10_000, ge=1, description="step limit under early stopping (S)")
    eval_every: int = Field(10, ge=1)
    patience: int = Field(10, ge=1, description="evaluations without improvement before stopping")
    motion_weight_decay: list[Annotated[float, Field(ge=0)]] = Field(
        default=[0.3, 0.03, 0.003],
        min_length=1,
        description="scale-free penalties of the motion layer; the one with the best validation loss is used",
    )
    text_weight_decay: float = Field(
        0.3, ge=0, description="scale-free penalty of the text layers; chosen on validation of Penn Action"
    )
    leakage_rank: int = Field(
        0, ge=0, description="number of directions of the other types hidden from each layer (paper: 0)"
    )
    feature_scaling: Literal["none", "std", "center_std"] = Field(
        "none", description="of the features inside the layers (paper: none)"
    )
    projection_cutoff: float = Field(0.45, description="concepts with a lower validation similarity are dropped (S)")
    map_weight_decay: float = Field(0.3, ge=0, description="scale-free penalty of the concept maps")
    map_cutoff: float = Field(
        0.1, description="maps with a lower validation similarity, averaged over positions, are dropped"
    )
    min_positives: int = Field(
        5, ge=1, description="concepts shown by fewer training videos are doubtful: no reason starts with one alone"
    )
    max_failed_fraction: float = Field(
        0.05, ge=0, le=1, description="stop if a larger fraction of all videos has no feature"
    )
    seed: int = 0

    @property
    def has_motion(self) -> bool:
        """Whether some model kind has motion concepts."""
        return "motion" in self.types and set(self.kinds) != {"salf"}

    @property
    def guesses_motion(self) -> bool:
        """Whether some model kind has motion concepts that are regressed from the feature."""
        return "motion" in self.types and bool({"dance", "dance+salf"} & set(self.kinds))

    @property
    def reads(self) -> bool:
        """Whether some model kind has concepts that are read."""
        return any(kind.startswith("read") for kind in self.kinds)

    @property
    def guesses_words(self) -> bool:
        """Whether some model kind has objects and scenes that are guessed from the feature of the whole clip."""
        return bool({"dance", "read+dance"} & set(self.kinds))

    @property
    def words(self) -> list[Type]:
        """Types of the concepts that words name."""
        return [kind for kind in ("object", "scene") if kind in self.types]

    @property
    def has_maps(self) -> bool:
        """Whether some model kind locates its concepts."""
        return any(kind.endswith("salf") for kind in self.kinds)

    def training(self) -> dict[str, Any]:
        """What every layer is trained with, as arguments."""
        shared = {"learning_rate", "batch_size", "max_steps", "eval_every", "patience", "seed"}
        return self.model_dump(include=shared)


class Reading(Section):
    """Defaults: best by the mean validation accuracy of motion alone on demo, Penn Action and Weizmann."""

    temperature: float = Field(
        0.03, gt=0, description="τ of exp((cos − 1)/τ), with the cosine of a key clip and a medoid"
    )
    movement_temperature: float | None = Field(
        1.0, gt=0, description="τ of a second cosine, of joint movement around mean positions; null: none"
    )
    among_concepts: bool = Field(True, description="divide by the sum over concepts: which motion, not how similar")


class Classifier(Section):
    alpha: float = Field(0.99, gt=0, le=1, description="share of the L1 term (S)")
    n_lambdas: int = Field(100, ge=1)
    min_ratio: float = Field(1e-3, gt=0, lt=1, description="smallest λ of the path as a fraction of λ_max")
    tolerance: float = Field(1e-6, gt=0, description="relative duality gap")
    pooling: list[Literal["mean", "softmax", "max"]] = Field(
        default=["mean", "softmax", "max"],
        min_length=1,
        description="of concept maps; the one with the best validation accuracy is used",
    )
    refit: bool = Field(True, description="after choosing on validation, solve again on train and validation")
    nec: list[int] = Field(default=[5, 10, 15], description="numbers of effective concepts per class to report")


class Baselines(Section):
    kinds: list[Literal["backbone", "backbone-sparse", "attributes", "lf-cbm-entangled", "lf-cbm-disentangled"]] = (
        Field(
            default_factory=list,
            description="model kinds for comparison: the backbone with a dense or a sparse head; a concept "
            "bottleneck of attributes; Label-Free CBM with sentences that mix everything, or with objects, scenes and "
            "temporal sentences",
        )
    )
    attributes: str = Field("", description="CSV of classes × attributes (as for UCF-101), relative to the root")
    projection_cutoff: float = Field(0.45, description="sentences with a lower validation similarity are dropped (S)")

    @pydantic.model_validator(mode="after")
    def _attributes_are_named(self):
        if "attributes" in self.kinds and not self.attributes:
            raise ValueError("the kind `attributes` needs a file in `attributes`")
        return self


class Bottleneck(Section):
    concept_layers: ConceptLayers = ConceptLayers()
    reading: Reading = Reading()
    classifier: Classifier = Classifier()
    baselines: Baselines = Baselines()


class Pictures(Section):
    poses_per_strip: int = Field(6, ge=2)
    max_concepts: int = Field(48, ge=1, description="motion concepts per sheet, most used first")
    explained_clips: int = Field(3, ge=1)
    top_k: int = Field(3, ge=1)


class Sanity(Section):
    splits: list[str] = Field(
        default=["test"], min_length=1, description="splits whose clips are played backwards and frozen"
    )


class Retrained(Section):
    seeds: int = Field(5, ge=1, description="runs with another validation split and batch order")
    shuffles: int = Field(2, ge=1, description="runs with concept labels shuffled between videos")


class Report(Section):
    max_concepts: int = Field(
        48, ge=1, description="motion concepts in the gallery, most used first; same limit for objects and for scenes"
    )
    pairs: int = Field(6, ge=1, description="most confused class pairs")
    failures: int = Field(12, ge=1, description="wrong decisions, most confident first")
    top_k: int = Field(5, ge=1, description="concepts per class and per decision")


class Timelines(Section):
    videos: int = Field(3, ge=0, description="longest test videos, shown over time in the report")
    max_windows: int = Field(64, ge=1, description="windows per video; longer videos have more time between windows")


class Localise(Section):
    tolerance: int = Field(
        4, ge=0, description="pixels by which the pointing game may miss (Zhang et al. 2018: 15 at about 500 pixels)"
    )
    min_pixels: int = Field(20, ge=1, description="pictures that show fewer pixels of the object do not count")
    min_spread: float = Field(3.0, ge=0, description="clips whose object moves less are not used to measure motion")
    integration_steps: int = Field(16, ge=1, description="of Integrated Gradients")
    apart_per_class: int = Field(
        5, ge=0, description="test clips per class rendered again with the object apart from hands and body"
    )
    betas: list[float] = Field(default=[1.0, 4.0, 16.0, 64.0], description="strengths of the local interventions")


class Counterfactuals(Section):
    split: Literal["train", "test", "shifted"] = Field(
        "test", description="split whose clips are rendered again with changes"
    )
    seed: int = Field(0, ge=0, description="draws the new value of each factor")


class Explain(Section):
    pictures: Pictures = Pictures()
    sanity: Sanity = Sanity()
    retrained: Retrained = Retrained()
    report: Report = Report()
    timelines: Timelines = Timelines()
    counterfactuals: Counterfactuals = Counterfactuals()
    localise: Localise = Localise()
