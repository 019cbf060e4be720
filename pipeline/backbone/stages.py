"""The stages of the floor `backbone`: what a video encoder sees in a clip, and where."""

from pipeline.data.stages import videos_if_imported
from pipeline.jobs.declare import WAITED_FOR, Read, Setting, Stage, computed

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
        priority=WAITED_FOR,
    ),
)
