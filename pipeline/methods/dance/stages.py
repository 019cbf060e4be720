"""The stages of DANCE and SALF-CBM, from features and concepts to a model, its figures and its explanations."""

from dataclasses import dataclass
from typing import Any

from pipeline.backbone import stages as backbone
from pipeline.backbone.stages import MAP_SETTINGS, TUNED
from pipeline.demo.stages import is_generated
from pipeline.jobs.declare import WAITED_FOR, Read, Setting, Stage, computed
from pipeline.methods.dance import curation
from pipeline.motion.stages import of_poses

MODULE = "pipeline.methods.dance"


def has_motion(section) -> bool:
    """Whether some model kind of this data set has motion concepts."""
    return section.bottleneck.concept_layers.has_motion


def reads_motion(section) -> bool:
    """Whether some model kind reads its motion concepts from poses; imported labels have no medoids to compare with."""
    discovered = section.motion.motion_concepts.source == "discovered"
    return has_motion(section) and section.bottleneck.concept_layers.reads and discovered


def tells_motion(section) -> bool:
    """Whether the model file must tell how the poses of a new video are read."""
    return reads_motion(section) and section.bottleneck.concept_layers.kinds[0].startswith("read")


def tells_words(section) -> bool:
    """Whether the model file must tell of the dual encoder, whose scores are the model's concepts."""
    return section.bottleneck.concept_layers.kinds[0] == "read" and learns_words(section)


def has_maps(section) -> bool:
    """Whether some model kind of this data set locates its concepts."""
    return section.bottleneck.concept_layers.has_maps


def learns_words(section) -> bool:
    """Whether objects or scenes are learned."""
    return bool(section.bottleneck.concept_layers.words)


def learns_objects(section) -> bool:
    return "object" in section.bottleneck.concept_layers.words


def guesses_alone(section) -> bool:
    """Whether the model takes all concepts from the feature, so that windows of a video are quick to look at."""
    return not section.bottleneck.concept_layers.kinds[0].startswith("read")


def has_baselines(section) -> bool:
    return bool(section.bottleneck.baselines.kinds)


def has_sentences(section) -> bool:
    """Whether some baseline learns from sentences."""
    return any(kind.startswith("lf-cbm") for kind in section.bottleneck.baselines.kinds)


def has_words(section) -> bool:
    """Whether some baseline learns from objects and scenes too."""
    return "lf-cbm-disentangled" in section.bottleneck.baselines.kinds


def curated(section) -> curation.Curation:
    """What people have said about the concepts of this run."""
    return section.own_file(curation.FILE, curation.read)


def curates_motion(section) -> bool:
    """Whether motion concepts are merged or dropped."""
    return has_motion(section) and "motion" in curated(section).structure()


@dataclass(frozen=True)
class Curated(Setting):
    """Marks of ``curation.yaml``; nothing where nobody has curated, so that all settings are as without it.

    Attributes:
        structure: merges and drops alone.
    """

    path: str = f"results/<data set>/{curation.FILE}"
    key: str = "curation"
    structure: bool = True

    def value(self, section: Any) -> dict[str, Any]:
        found = curated(section).structure() if self.structure else curated(section).marks()
        return {self.key: found} if found else {}


def _both(*conditions):
    return lambda section: all(condition(section) for condition in conditions)


has_clips = computed("backbone.features")

MOTION_CONCEPTS = {"motion_concepts": Read("motion_concepts.motion_concepts", when=has_motion)}
# How good the poses are: its warnings are the model's, and its sheet of skeletons is made in every run.
QUALITY = {"quality": Read("pose_sheet.quality", when=has_motion)}
# By whose content merges and drops know them.
CURATED_MOTION = {"motion_concepts": Read("motion_concepts.motion_concepts", when=curates_motion)}
MOTION_LABELS = {"motion_labels": Read("motion_concepts.motion_labels", when=has_motion)}
READINGS = {"readings": Read("readings.readings", when=reads_motion)}
CONCEPTS = {"concepts": Read("concepts.concepts", when=learns_words)}
PSEUDO_LABELS = {"pseudo_labels": Read("concepts.pseudo_labels", when=learns_words)}
MAPS = {"maps": Read("maps.maps", when=has_maps)}
PROMPTS_AND_MAPS = {"prompts": Read("prompts.prompts", when=has_maps), **MAPS}
SAMPLES = {"index": "index.index", "features": "features.features"}
# Without names that people have given: what is computed from the model does not run again for them.
MODEL = {"model": "model.model", "activations": "model.activations"}
# As people see it.
NAMED = {"model": "named.model", "activations": "model.activations"}
# They look at clips through the encoder that the model file names.
CLIPS_AND_WEIGHTS = {"clips": "decode.clips", "finetuned": TUNED["finetuned"]}
POSES = ("poses", "keyframes", "pose_clips")
# The model file names what a new video must go through.
NEW_VIDEO = (
    *backbone.NEW_VIDEO,
    *(
        Setting(f"{part.path}.{key}", key=f"maps.{key}", when=has_maps)
        for part in MAP_SETTINGS
        for key in (part.only or ("cls_token",))
    ),
)
READ_IN_NEW_VIDEO = (
    Setting("bottleneck.reading", key="reading.motion", when=tells_motion),
    *(Setting(f"motion.{name}", key=f"reading.{name}", when=tells_motion) for name in POSES),
    Setting("context.dual_encoder", key="reading.dual_encoder", when=tells_words),
)
MAPS_OF_TRUTH = tuple(
    Setting(f"{part.path}.{key}", key=f"maps.{key}") for part in MAP_SETTINGS for key in (part.only or ("cls_token",))
)
BOTTLENECK = (
    Setting("bottleneck.concept_layers", key="concept_layers"),
    Setting("bottleneck.classifier", key="classifier"),
)

BOTTLENECK_STAGES = (
    Stage(
        "readings",
        module=f"{MODULE}.bottleneck.readings",
        writes={"readings": "bottleneck/readings.zarr.zip"},
        reads={
            "poses": "poses.poses",
            "pose_clips": "pose_clips.pose_clips",
            "motion_concepts": "motion_concepts.motion_concepts",
        },
        settings=(Setting("bottleneck.reading"), Curated()),
        when=_both(reads_motion, of_poses),
        memory_mb=8000,
        priority=WAITED_FOR,
    ),
    Stage(
        "concept_layers",
        module=f"{MODULE}.bottleneck.concept_layers",
        writes={
            "concept_layers": "bottleneck/concept_layers.zarr.zip",
            "concept_table": "bottleneck/concept_layers.parquet",
        },
        reads={
            **SAMPLES,
            **MOTION_LABELS,
            **CURATED_MOTION,
            **READINGS,
            **CONCEPTS,
            **PSEUDO_LABELS,
            **PROMPTS_AND_MAPS,
        },
        settings=(Setting("bottleneck.concept_layers"), Curated()),
        threads="all",
        memory_mb=8000,
        minutes=120,
        priority=WAITED_FOR,
    ),
    Stage(
        "classifier",
        module=f"{MODULE}.bottleneck.classifier",
        writes={"classifier": "bottleneck/classifier.zarr.zip"},
        reads={**SAMPLES, "concept_layers": "concept_layers.concept_layers"},
        settings="bottleneck.classifier",
        threads="all",
        memory_mb=8000,
        minutes=240,
    ),
    Stage(
        "baselines",
        module=f"{MODULE}.bottleneck.baselines",
        writes={"baselines": "bottleneck/baselines.zarr.zip"},
        reads={
            **SAMPLES,
            "pseudo_labels": Read("concepts.pseudo_labels", when=has_words),
            "sentence_labels": Read("sentences.sentence_labels", when=has_sentences),
        },
        # Trained like the concept layers, whatever kinds those have.
        settings=(
            Setting("bottleneck.baselines", key="baselines"),
            Setting(
                "bottleneck.concept_layers",
                key="concept_layers",
                without=("kinds", "types", "leakage_rank", "min_positives"),
            ),
            Setting("bottleneck.classifier", key="classifier"),
        ),
        when=has_baselines,
        files=("bottleneck.baselines.attributes",),
        threads="all",
        memory_mb=8000,
        minutes=120,
    ),
    Stage(
        "baseline_model",
        module=f"{MODULE}.bottleneck.baseline_model",
        writes={"model": "baselines/{kind}.pt"},
        reads={**TUNED, "baselines": "baselines.baselines"},
        settings=NEW_VIDEO,
        when=has_baselines,
        minutes=20,
    ),
    Stage(
        "model",
        module=f"{MODULE}.bottleneck.model",
        writes={
            "model": "bottleneck/model.pt",
            "metrics": "bottleneck/metrics.json",
            "activations": "bottleneck/activations.zarr.zip",
        },
        reads={
            **SAMPLES,
            **TUNED,
            **MOTION_CONCEPTS,
            **QUALITY,
            "signal": Read("decode.signal", when=has_clips),
            **MOTION_LABELS,
            **PSEUDO_LABELS,
            "concept_layers": "concept_layers.concept_layers",
            "concept_table": "concept_layers.concept_table",
            "classifier": "classifier.classifier",
            "baselines": "baselines.baselines",
        },
        settings=(*NEW_VIDEO, *READ_IN_NEW_VIDEO, Curated()),
        threads="all",
        memory_mb=4000,
    ),
    Stage(
        "named",
        module=f"{MODULE}.bottleneck.named",
        writes={"model": "model.pt", "metrics": "metrics.json", "curation": "bottleneck/curation.parquet"},
        reads={
            **MODEL,
            "learned": "model.metrics",
            **MOTION_CONCEPTS,
            **MOTION_LABELS,
            **PSEUDO_LABELS,
        },
        settings=(Curated(structure=False),),
        memory_mb=4000,
    ),
    Stage(
        "cross_domain",
        module=f"{MODULE}.bottleneck.cross_domain",
        writes={"cross_domain": "cross_domain/{trained}.json"},
        reads={
            **SAMPLES,
            "model": Read("model.model", of="trained"),
            "maps": Read("maps.maps", when=has_maps, when_of="trained"),
            "clips": Read("decode.clips", when=has_clips),
            "poses": Read("poses.poses", when=tells_motion, when_of="trained"),
            "pose_clips": Read("pose_clips.pose_clips", when=tells_motion, when_of="trained"),
            "dual_encoder": Read("dual_encoder.dual_encoder", when=tells_words, when_of="trained"),
        },
        memory_mb=4000,
    ),
)

EXPLAIN_STAGES = (
    Stage(
        "pictures",
        module=f"{MODULE}.explain.pictures",
        writes={"motion_concepts": "explain/motion_concepts.png", "explanations": "explain/explanations.png"},
        reads={"clips": Read("decode.clips", when=has_clips), **NAMED},
        settings="explain.pictures",
        memory_mb=8000,
        captions={"motion_concepts": "motion_concepts.rst", "explanations": "explanations.rst"},
    ),
    Stage(
        "sanity",
        module=f"{MODULE}.explain.sanity",
        writes={"sanity": "explain/sanity.zarr.zip", "sanity_table": "explain/sanity.parquet"},
        reads={
            **CLIPS_AND_WEIGHTS,
            **MODEL,
            "poses": Read("poses.poses", when=tells_motion),
            "pose_clips": Read("pose_clips.pose_clips", when=tells_motion),
        },
        settings="explain.sanity",
        when=has_clips,
        checkpoints=("backbone.features.model",),
        threads="encoder",
        memory_mb=8000,
        minutes=120,
    ),
    Stage(
        "retrained",
        module=f"{MODULE}.explain.retrained",
        writes={"retrained": "explain/retrained.zarr.zip", "retrained_table": "explain/retrained.parquet"},
        reads={
            **SAMPLES,
            **MOTION_LABELS,
            **CURATED_MOTION,
            **READINGS,
            **PSEUDO_LABELS,
            **PROMPTS_AND_MAPS,
            **MODEL,
        },
        settings=(Setting("explain.retrained", key="retrained"), *BOTTLENECK, Curated()),
        threads="all",
        memory_mb=16000,
        minutes=600,
    ),
    Stage(
        "timelines",
        module=f"{MODULE}.explain.timelines",
        writes={"timelines": "explain/timelines.zarr.zip"},
        reads={
            "index": "index.index",
            "signal": "decode.signal",
            "finetuned": TUNED["finetuned"],
            **MODEL,
        },
        settings="explain.timelines",
        when=_both(has_clips, guesses_alone),
        opens_videos=True,
        checkpoints=("backbone.features.model",),
        threads="encoder",
        memory_mb=8000,
        minutes=60,
    ),
    Stage(
        "report",
        module=f"{MODULE}.explain.report",
        writes={"report": "report.html"},
        reads={
            **SAMPLES,
            "clips": Read("decode.clips", when=has_clips),
            "poses": Read("poses.poses", when=has_motion),
            "pose_clips": Read("pose_clips.pose_clips", when=has_motion),
            **MOTION_CONCEPTS,
            **CONCEPTS,
            **MAPS,
            "concept_table": "concept_layers.concept_table",
            "classifier": "classifier.classifier",
            **NAMED,
            "metrics": "named.metrics",
            "evaluation": "evaluate.evaluation",
            "sanity": "sanity.sanity_table",
            "timelines": "timelines.timelines",
            "retrained": "retrained.retrained_table",
            "faithfulness": "faithfulness.faithfulness",
            "localisation": "localise.localisation",
        },
        settings="explain.report",
        when=of_poses,
        ships=("pipeline/methods/dance/explain/page/template.html",),
        memory_mb=8000,
        minutes=60,
        captions={"report": "report.rst"},
    ),
)

# What the model is worth where the truth is known.
TRUTH_STAGES = (
    Stage(
        "evaluate",
        module=f"{MODULE}.truth.evaluate",
        writes={"evaluation": "demo/evaluation.parquet"},
        reads={
            "index": "index.index",
            "truth": "generate.truth",
            "poses": "poses.poses",
            "dual_encoder": Read("dual_encoder.dual_encoder", when=learns_words),
        },
        settings=(Setting("context.texts", key="texts", when=learns_words),),
        when=_both(is_generated, has_motion, of_poses),
        checkpoints=("context.texts.model",),
        memory_mb=6000,
    ),
    Stage(
        "localise",
        module=f"{MODULE}.truth.localise",
        writes={"localisation": "demo/localisation.parquet"},
        reads={
            **SAMPLES,
            "truth": "generate.truth",
            "clips": "decode.clips",
            **TUNED,
            **MAPS,
            **PSEUDO_LABELS,
            "concept_layers": "concept_layers.concept_layers",
            "classifier": "classifier.classifier",
        },
        settings=(
            Setting("explain.localise", key="localise"),
            *MAPS_OF_TRUTH,
            Setting("context.prompts", key="prompts"),
            # It renders what `generate` has rendered, as `decode` would cut it.
            Setting("demo.generate", key="generate"),
            Setting("data.decode", key="decode"),
        ),
        when=_both(is_generated, has_maps, learns_objects),
        checkpoints=("backbone.features.model", "context.prompts.model"),
        threads="all",
        memory_mb=8000,
        minutes=60,
    ),
    Stage(
        "counterfactuals",
        module=f"{MODULE}.truth.counterfactuals",
        writes={"counterfactuals": "demo/counterfactuals.zarr.zip"},
        reads={**CLIPS_AND_WEIGHTS, **MODEL},
        # It renders what `generate` has rendered, as `decode` would cut it.
        settings=(
            Setting("explain.counterfactuals", key="counterfactuals"),
            Setting("demo.generate", key="generate"),
            Setting("data.decode", key="decode"),
        ),
        when=is_generated,
        checkpoints=("backbone.features.model",),
        threads="encoder",
        memory_mb=8000,
        minutes=60,
    ),
    Stage(
        "faithfulness",
        module=f"{MODULE}.truth.faithfulness",
        writes={"faithfulness": "demo/faithfulness.zarr.zip"},
        reads={
            "truth": "generate.truth",
            **MOTION_LABELS,
            **MODEL,
            "counterfactuals": "counterfactuals.counterfactuals",
        },
        when=is_generated,
        memory_mb=4000,
    ),
)

STAGES = (*BOTTLENECK_STAGES, *EXPLAIN_STAGES, *TRUTH_STAGES)
