"""The stages of `transfer`: order of frames taken away, heads trained on one set and judged on both, and a page."""

from pipeline.backbone.stages import ENCODER, MAP_SETTINGS, NEW_VIDEO, TUNED
from pipeline.jobs.declare import Read, Setting, Stage, computed, value_at
from pipeline.motion.stages import of_poses, of_tracks

MODULE = "pipeline.methods.transfer"


def asks(*models: str):
    """Condition: some of these models are wanted."""
    return lambda section: any(name in section.transfer.models for name in models)


def has_maps(section) -> bool:
    """Whether some model looks at feature maps, and there can be some."""
    return asks("temporal", "moving", "disentangled")(section) and computed("backbone.features")(section)


def has_concepts(section) -> bool:
    return asks("concepts")(section) and of_tracks(section)


def has_pose_concepts(section) -> bool:
    return asks("concepts")(section) and of_poses(section)


def has_texts(section) -> bool:
    return asks("zero_shot")(section) and bool(value_at(section, "context.texts.model"))


STAGES = (
    Stage(
        "transfer_controls",
        module=f"{MODULE}.controls",
        writes={"controls": "transfer/controls.zarr.zip"},
        reads={"index": "index.index", "clips": "decode.clips", **TUNED},
        settings=MAP_SETTINGS,
        when=has_maps,
        checkpoints=("backbone.features.model",),
        threads="encoder",
        memory_mb=8000,
        minutes=120,
    ),
    Stage(
        "transfer_prompt",
        module=f"{MODULE}.prompting",
        writes={"prompted": "transfer/prompted.zarr.zip"},
        reads={"index": "index.index", "clips": "decode.clips"},
        settings=(
            Setting("transfer.prompt", key="prompt"),
            Setting("data.index", key="index"),
            Setting("context.texts", key="texts", only=ENCODER),
        ),
        when=asks("prompt"),
        checkpoints=("context.texts.model",),
        threads="encoder",
        memory_mb=8000,
        minutes=600,
    ),
    Stage(
        "transfer",
        module=f"{MODULE}.train",
        writes={
            "model": "transfer/model.pt",
            "looks": "transfer/looks.zarr.zip",
            "metrics": "transfer/metrics.json",
            "predictions": "transfer/predictions.parquet",
        },
        reads={
            "index": "index.index",
            "features": "features.features",
            **TUNED,
            "maps": Read("maps.maps", when=has_maps),
            "controls": "transfer_controls.controls",
            "tracks": Read("tracks.tracks", when=has_concepts),
            "pose_clips": Read("pose_clips.pose_clips", when=has_pose_concepts),
            "dual_encoder": Read("dual_encoder.dual_encoder", when=has_texts),
            "prompted": "transfer_prompt.prompted",
        },
        settings=(
            Setting("transfer", key="transfer"),
            Setting("data.index", key="index"),
            Setting("motion.tracks", key="tracks", when=has_concepts),
            Setting("context.texts", key="texts", only=ENCODER, when=has_texts),
            *NEW_VIDEO,
        ),
        checkpoints=("context.texts.model",),
        threads="all",
        memory_mb=8000,
        minutes=240,
    ),
    Stage(
        "transfer_report",
        module=f"{MODULE}.report",
        writes={"report": "transfer/report.html"},
        reads={
            "predictions": "transfer.predictions",
            "metrics": "transfer.metrics",
            "model": "transfer.model",
            "looks": "transfer.looks",
            "clips": Read("decode.clips", when=has_maps),
            "manifest": "synthesise.manifest",
            "truth": "synthesise.truth",
        },
        memory_mb=4000,
    ),
)
