"""The stages of the floor `backbone`: what a video encoder sees in a clip, and where."""

from pipeline.data.stages import clip_kilobytes, videos_if_imported, view_share
from pipeline.encoding.known import KNOWN
from pipeline.jobs.declare import WAITED_FOR, Cost, Read, Setting, Stage, computed

ENCODER = ("model", "revision", "sha256")


def is_tuned(section) -> bool:
    return section.backbone.finetune.enabled


# What a stage needs of a tuned backbone: its curve, which names the weights, and the weights.
TUNED = {"finetune": "finetune.finetune", "finetuned": "finetune.finetuned"}

# What a model file must tell of a new video's way to its feature; see `pipeline.backbone.look`.
NEW_VIDEO = (Setting("data.decode", key="decode"), Setting("backbone.features", key="features"))

# Features where the prompts are.
MAP_SETTINGS = (
    Setting("backbone.maps"),
    Setting("backbone.features", only=ENCODER),
    Setting("context.prompts", only=("grid", "placement", "radius")),
)

# A step forward and back costs three times a look.
TRAINING = 3


def is_computed(section) -> float:
    return section.backbone.features.source == "computed"


def trained_passes(section) -> float:
    """How often the backbone sees a video of the train lists while it is tuned, in looks."""
    recipe = section.backbone.finetune
    part = section.data.index.validation_fraction
    return recipe.epochs * (TRAINING * (1 - part) + part)


def map_kilobytes(section, frames: float) -> float | None:
    """Of the maps of a video on the prompts' grid, two bytes each."""
    known = KNOWN.get(section.backbone.features.model)
    rows, columns = section.context.prompts.grid
    return known and known.map_values and rows * columns * known.map_values * 2 / 1000


STAGES = (
    Stage(
        "finetune",
        module="pipeline.backbone.finetune",
        writes={
            "finetune": "backbone/finetune.parquet",
            "finetuned": "backbone/finetuned/model.safetensors",
            "config": "backbone/finetuned/config.json",
            "processor": "backbone/finetuned/preprocessor_config.json",
        },
        reads={"index": "index.index", "clips": "decode.clips", "views": "views.views"},
        settings=(
            Setting("backbone.finetune"),
            # It tunes the network that features would come from, on clips that are drawn as `decode` draws them.
            Setting("backbone.features", only=ENCODER),
            Setting("data.decode.sampling", key="sampling"),
        ),
        when=is_tuned,
        checkpoints=("backbone.features.model",),
        costly=True,
        threads="finetune",
        memory_mb=16000,
        # A job that was ended by its time limit goes on from its last state.
        minutes=1440,
        # Clips lie there uncompressed while it trains, and their views (docs/finetuning.md).
        cost=Cost(
            "train",
            encoders={"backbone.features.model": trained_passes},
            kilobytes=lambda section, frames: 2 * clip_kilobytes(section) * (1 + view_share(section)),
            alike=("model", "epochs"),
        ),
    ),
    Stage(
        "features",
        module="pipeline.backbone.features",
        writes={"features": "backbone/features/{shard}.zarr.zip"},
        reads={
            "videos": videos_if_imported("backbone.features"),
            "clips": Read("decode.clips", when=computed("backbone.features")),
            **TUNED,
        },
        settings="backbone.features",
        per="videos",
        follows="all",
        files=("backbone.features.path",),
        checkpoints=("backbone.features.model",),
        threads="encoder",
        memory_mb=8000,
        minutes=60,
        cost=Cost(
            encoders={"backbone.features.model": is_computed},
            seconds=0.01,
            kilobytes=lambda section, frames: 4,
            alike=("source", "model"),
        ),
        priority=WAITED_FOR,
    ),
    Stage(
        "maps",
        module="pipeline.backbone.maps",
        writes={"maps": "backbone/maps/{shard}.zarr.zip"},
        reads={"clips": "decode.clips", **TUNED},
        settings=MAP_SETTINGS,
        per="videos",
        checkpoints=("backbone.features.model",),
        costly=True,
        threads="encoder",
        memory_mb=6000,
        minutes=60,
        cost=Cost(
            encoders={"backbone.features.model": is_computed},
            seconds=0.01,
            kilobytes=map_kilobytes,
            alike=("model",),
        ),
        priority=WAITED_FOR,
    ),
)
