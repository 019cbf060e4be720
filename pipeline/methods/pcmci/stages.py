"""The stages of PCMCI: what both encoders see of long videos, networks and controls, the model with its figures."""

from pipeline.data.stages import VIDEOS
from pipeline.jobs.declare import LONGEST, WAITED_FOR, Read, Setting, Stage, When

ENCODER = ("model", "revision", "sha256")
# Frames are sampled evenly over the whole video, whatever clips of other methods are.
READING = ("backend", "size", "min_frames", "min_fraction", "max_failed_fraction")


def has_videos(section) -> bool:
    return section.pcmci.source == "videos"


def has_index(section) -> bool:
    """Whether labels are the data set's; the grammar of the structural causal model needs none."""
    return has_videos(section) or section.pcmci.world.labels == "index"


def has_concepts(section) -> bool:
    return has_videos(section) and bool(section.pcmci.concepts)


def names(kind: str) -> When:
    """Condition: concepts of this kind are compared with labels."""
    return lambda section: has_concepts(section) and kind in section.pcmci.concepts


def settings_of(part: str, encoder: str) -> tuple[Setting, ...]:
    """What decides rows of one encoder."""
    return (
        Setting(f"pcmci.{part}", key=part),
        Setting(encoder, key="encoder", only=ENCODER),
        Setting("data.decode", key="decode", only=READING),
    )


FRAMES = settings_of("frames", "context.dual_encoder")
TOKENS = settings_of("tokens", "backbone.features")

STAGES = (
    *(
        Stage(
            f"pcmci_{part}",
            module=f"pipeline.methods.pcmci.{part}",
            writes={part: f"pcmci/{part}/{{shard}}.zarr.zip"},
            reads={"videos": VIDEOS},
            settings=settings_of(part, encoder),
            when=has_videos,
            per="videos",
            follows="all",
            opens_videos=True,
            checkpoints=(f"{encoder}.model",),
            costly=True,
            threads="encoder",
            memory_mb=6000,
            minutes=240,
            priority=WAITED_FOR,
        )
        for part, encoder in (("frames", "context.dual_encoder"), ("tokens", "backbone.features"))
    ),
    Stage(
        "pcmci_labels",
        module="pipeline.methods.pcmci.labels",
        writes={"labels": "pcmci/labels.zarr.zip"},
        reads={"index": Read("index.index", settings_count=False)},
        settings=(
            Setting("pcmci.labels"),
            Setting("context.dual_encoder", key="encoder", only=ENCODER),
        ),
        when=has_videos,
        checkpoints=("context.dual_encoder.model",),
        threads="encoder",
        memory_mb=4000,
    ),
    Stage(
        "pcmci_train",
        module="pipeline.methods.pcmci.train",
        writes={
            "network": "pcmci/network.zarr.zip",
            "evaluation": "pcmci/evaluation.parquet",
            "couplings": "pcmci/couplings.parquet",
            "predictions": "pcmci/predictions.zarr.zip",
            "matrices": "pcmci/matrices.zarr.zip",
        },
        reads={
            "index": Read("index.index", when=has_index),
            "frames": "pcmci_frames.frames",
            "tokens": "pcmci_tokens.tokens",
            "labels": "pcmci_labels.labels",
        },
        settings=(Setting("pcmci", without=("frames", "tokens", "labels", "concepts")),),
        memory_mb=4000,
        minutes=240,
        priority=LONGEST,
    ),
    Stage(
        "pcmci_concepts",
        module="pipeline.methods.pcmci.concepts",
        writes={"concepts": "pcmci/concepts.parquet"},
        reads={
            "predictions": "pcmci_train.predictions",
            "motion_labels": Read("motion_concepts.motion_labels", when=names("motion")),
            "pseudo_labels": Read("concepts.pseudo_labels", when=names("words")),
        },
        settings=(Setting("pcmci.concepts", key="concepts"),),
        when=has_concepts,
    ),
    Stage(
        "pcmci",
        module="pipeline.methods.pcmci.evaluate",
        writes={"model": "pcmci/model.pt", "metrics": "pcmci/metrics.json", "report": "pcmci/report.html"},
        reads={
            "network": "pcmci_train.network",
            "evaluation": "pcmci_train.evaluation",
            "couplings": "pcmci_train.couplings",
            "matrices": "pcmci_train.matrices",
            "concepts": "pcmci_concepts.concepts",
            # The page shows some test videos.
            "index": Read("index.index", when=has_index),
            "frames": "pcmci_frames.frames",
            "tokens": "pcmci_tokens.tokens",
        },
        opens_videos=True,
        # What looks at a new video must look as these rows were made.
        settings=(
            *(
                Setting(item.path, key=f"look.{item.key}", only=item.only, when=has_videos)
                for item in (FRAMES[0], TOKENS[0], FRAMES[2])
            ),
            Setting("context.dual_encoder", key="look.dual_encoder", only=ENCODER, when=has_videos),
            Setting("backbone.features", key="look.backbone", only=ENCODER, when=has_videos),
        ),
    ),
)
