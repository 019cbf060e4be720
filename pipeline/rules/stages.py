"""The stages of the pipeline as a table: where each one lives, what it reads, which settings decide its result.

Used by the Snakefile while it is parsed and by ``conceptreel inspect``; standard library and pydantic only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.config import Config, Dataset, dataset
from pipeline.store.provenance import canonical, digest_of


@dataclass(frozen=True)
class Stage:
    """One rule.

    Attributes:
        floor: package folder, config section and results folder.
        reads: stages whose artifacts it opens.
        artifacts: what it writes below ``results/<dataset>/<floor>/``, with ``{shard}`` for sharded ones.
    """

    floor: str
    reads: tuple[str, ...]
    artifacts: tuple[str, ...]

    @property
    def sharded(self) -> bool:
        return any("{shard}" in artifact for artifact in self.artifacts)


STAGES: dict[str, Stage] = {
    "generate": Stage("demo", (), ("truth.zarr.zip",)),
    "index": Stage("data", (), ("index.parquet",)),
    "decode": Stage("data", (), ("clips/{shard}.zarr.zip", "signal/{shard}.zarr.zip")),
    "views": Stage("data", (), ("views/{shard}.zarr.zip",)),
    "poses": Stage("motion", (), ("poses/{shard}.zarr.zip",)),
    "keyframes": Stage("motion", ("decode",), ("keyframes/{shard}.parquet",)),
    "pose_clips": Stage("motion", ("poses", "keyframes"), ("pose_clips/{shard}.zarr.zip",)),
    "motion_concepts": Stage("motion", ("index", "pose_clips"), ("motion_concepts.zarr.zip", "motion_labels.parquet")),
    "dual_encoder": Stage("context", ("decode",), ("dual_encoder/{shard}.zarr.zip",)),
    "prompts": Stage("context", ("decode",), ("prompts/{shard}.zarr.zip",)),
    "candidates": Stage("context", ("index",), ("candidates.parquet",)),
    "texts": Stage("context", ("candidates",), ("texts.zarr.zip",)),
    "concepts": Stage("context", ("index", "dual_encoder", "texts"), ("concepts.parquet", "pseudo_labels.zarr.zip")),
    "sentences": Stage("context", ("index", "dual_encoder"), ("sentences.parquet", "sentence_labels.zarr.zip")),
    "finetune": Stage("backbone", ("index", "decode", "views"), ("finetune.parquet",)),
    "features": Stage("backbone", ("decode", "finetune"), ("features/{shard}.zarr.zip",)),
    "maps": Stage("backbone", ("decode", "finetune"), ("maps/{shard}.zarr.zip",)),
    "concept_layers": Stage(
        "bottleneck",
        ("index", "features", "motion_concepts", "concepts", "prompts", "maps"),
        ("concept_layers.zarr.zip", "concept_layers.parquet"),
    ),
    "classifier": Stage("bottleneck", ("index", "features", "concept_layers"), ("classifier.zarr.zip",)),
    "baselines": Stage("bottleneck", ("index", "features", "concepts", "sentences"), ("baselines.zarr.zip",)),
    "evaluate": Stage("demo", ("index", "generate", "poses", "dual_encoder"), ("evaluation.parquet",)),
    "localise": Stage(
        "demo",
        (
            "index",
            "generate",
            "decode",
            "finetune",
            "features",
            "maps",
            "concepts",
            "concept_layers",
            "classifier",
        ),
        ("localisation.parquet",),
    ),
    "model": Stage(
        "bottleneck",
        ("index", "finetune", "features", "motion_concepts", "concept_layers", "classifier", "evaluate", "baselines"),
        ("activations.zarr.zip",),
    ),
    "baseline_model": Stage("bottleneck", ("finetune", "baselines"), ()),
    "pictures": Stage("explain", ("index", "features", "motion_concepts", "concept_layers", "classifier"), ()),
    "sanity": Stage("explain", ("decode", "model"), ("sanity.zarr.zip", "sanity.parquet")),
    "retrained": Stage(
        "explain",
        ("index", "features", "motion_concepts", "concepts", "prompts", "maps", "model"),
        ("retrained.zarr.zip", "retrained.parquet"),
    ),
    "counterfactuals": Stage("demo", ("generate", "decode", "model"), ("counterfactuals.zarr.zip",)),
    "faithfulness": Stage(
        "demo", ("generate", "motion_concepts", "model", "counterfactuals"), ("faithfulness.zarr.zip",)
    ),
    "report": Stage(
        "explain",
        (
            "index",
            "decode",
            "poses",
            "pose_clips",
            "motion_concepts",
            "concepts",
            "features",
            "maps",
            "concept_layers",
            "classifier",
            "model",
            "sanity",
            "retrained",
            "faithfulness",
            "localise",
        ),
        (),
    ),
}

# Stages whose `source` setting makes them import instead of compute: they then read no other stage.
IMPORTABLE = ("poses", "keyframes", "dual_encoder", "texts", "features")


def imports(section: Dataset, stage: str) -> bool:
    """Whether this stage takes its result from files that someone else made."""
    if stage not in IMPORTABLE:
        return False
    return getattr(getattr(section, STAGES[stage].floor), stage).source != "computed"


def has_motion(section: Dataset) -> bool:
    """Whether some model kind of this data set has motion concepts."""
    return any(kind != "salf" for kind in section.bottleneck.concept_layers.kinds)


def has_maps(section: Dataset) -> bool:
    """Whether some model kind of this data set locates its concepts."""
    return any(kind != "dance" for kind in section.bottleneck.concept_layers.kinds)


def collects_candidates(section: Dataset) -> bool:
    """Whether concept candidates come from elsewhere than the text files that ``context.texts`` names."""
    return section.context.candidates.source != "files"


def has_views(section: Dataset) -> bool:
    """Whether a backbone is tuned on clips that are drawn anew in every epoch."""
    return section.backbone.finetune.enabled and section.backbone.finetune.views > 1


def has_sentences(section: Dataset) -> bool:
    """Whether some baseline learns from sentences."""
    return any(kind.startswith("lf-cbm") for kind in section.bottleneck.baselines.kinds)


def reads(section: Dataset, stage: str) -> tuple[str, ...]:
    """Stages whose artifacts a stage opens under this configuration."""
    if imports(section, stage):
        return ()
    absent = (() if has_motion(section) else ("motion_concepts",)) + (() if has_maps(section) else ("prompts", "maps"))
    absent += () if section.backbone.finetune.enabled else ("finetune",)
    absent += () if has_views(section) else ("views",)
    absent += () if collects_candidates(section) else ("candidates",)
    if stage == "report":
        absent += parts_without(section)
    kinds = section.bottleneck.baselines.kinds
    absent += () if kinds else ("baselines",)
    if stage == "baselines":
        absent += () if has_sentences(section) else ("sentences",)
        absent += () if "lf-cbm-disentangled" in kinds else ("concepts",)
    return tuple(name for name in STAGES[stage].reads if name not in absent)


def parts_without(section: Dataset) -> tuple[str, ...]:
    """Stages that the report of this data set does without: they need videos, motion, maps, or a known truth."""
    absent: tuple[str, ...] = ()
    if imports(section, "features"):
        absent += ("decode", "sanity")
    if not has_motion(section):
        absent += ("poses", "pose_clips")
    if section.data.index.source != "generated":
        absent += ("faithfulness", "localise")
    return absent if has_maps(section) else (*absent, "localise")


def own_settings(section: Dataset, stage: str) -> dict[str, Any]:
    """What the configuration says about one stage."""
    if stage == "evaluate":  # it has no section: it asks the text encoder that the data set uses
        return {"texts": section.context.texts.model_dump(mode="json")}
    if stage == "views":  # as many as fine-tuning wants, sampled like the clips
        return {"decode": section.data.decode.model_dump(mode="json"), "views": section.backbone.finetune.views}
    if stage == "sentences":  # in the space of the videos, unless they have an encoder of their own
        texts, sentences = section.context.texts, section.context.sentences
        own = {} if sentences.model else texts.model_dump(mode="json", include={"model", "revision", "sha256"})
        return sentences.model_dump(mode="json") | own
    if stage == "baselines":  # trained like the concept layers, whatever kinds those have
        layers = section.bottleneck.concept_layers
        return {
            "baselines": section.bottleneck.baselines.model_dump(mode="json"),
            "concept_layers": layers.model_dump(mode="json", exclude={"kinds", "leakage_rank"}),
            "classifier": section.bottleneck.classifier.model_dump(mode="json"),
        }
    if stage in ("model", "baseline_model"):  # the file names what a new video must go through
        described = {
            "decode": section.data.decode.model_dump(mode="json"),
            "features": section.backbone.features.model_dump(mode="json"),
        }
        return described | ({"maps": own_settings(section, "maps")} if has_maps(section) else {})
    if stage == "finetune":  # it tunes the network that features would come from
        start = section.backbone.features.model_dump(mode="json", include={"model", "revision", "sha256"})
        sampling = section.data.decode.model_dump(mode="json", include={"sampling"})
        return {**start, **section.backbone.finetune.model_dump(mode="json"), **sampling}
    if stage == "retrained":  # everything that the bottleneck is trained with
        bottleneck = section.bottleneck
        return {
            "retrained": section.explain.retrained.model_dump(mode="json"),
            "concept_layers": bottleneck.concept_layers.model_dump(mode="json"),
            "classifier": bottleneck.classifier.model_dump(mode="json"),
        }
    if stage == "counterfactuals":  # it renders what `generate` has rendered, as `decode` would cut it
        return {
            "counterfactuals": section.explain.counterfactuals.model_dump(mode="json"),
            "generate": section.demo.generate.model_dump(mode="json"),
            "decode": section.data.decode.model_dump(mode="json"),
        }
    if stage == "faithfulness":  # nothing to choose
        return {}
    if stage == "localise":
        return {
            "localise": section.explain.localise.model_dump(mode="json"),
            "maps": own_settings(section, "maps"),
            "prompts": section.context.prompts.model_dump(mode="json"),
        }
    if stage == "maps":  # features where the prompts are
        features, prompts = section.backbone.features, section.context.prompts
        return {
            "model": features.model,
            "revision": features.revision,
            "sha256": features.sha256,
            **section.backbone.maps.model_dump(mode="json"),
            **prompts.model_dump(mode="json", include={"grid", "placement", "radius"}),
        }
    part = getattr(getattr(section, STAGES[stage].floor), stage)
    return part.model_dump(mode="json")


def settings(section: Dataset, stage: str) -> dict[str, Any]:
    """A stage's own settings and, under ``upstream``, the digests of the settings of all stages that it reads.

    The digests make an artifact that was touched or copied recognisable where it is read.
    """
    upstream = {name: settings_digest(section, name) for name in reads(section, stage)}
    return {**own_settings(section, stage), "upstream": upstream}


def settings_digest(section: Dataset, stage: str) -> str:
    return digest_of(settings(section, stage))


def settings_json(config: Config, name: str, stage: str) -> str:
    """The one parameter of a rule: canonical JSON, so that equal settings are equal strings."""
    return canonical(settings(dataset(config, name), stage))


def shards(section: Dataset) -> list[str]:
    """Shard names such as ``003-of-064``."""
    count = section.data.shards
    return [f"{index:03d}-of-{count:03d}" for index in range(count)]
