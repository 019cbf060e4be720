"""The stages of the floor `data`: which videos there are, what they show, and their frames."""

from pipeline.demo.stages import has_generated_graphs, is_generated, is_rendered
from pipeline.jobs.declare import LONGEST, WAITED_FOR, Cost, Read, Setting, Stage, computed

# Where a shard looks up its videos: all that open them, and what is imported for them.
VIDEOS = Read("videos.videos", decides=False)


def videos_if_imported(path: str) -> Read:
    """The same for a stage that computes its result from other artifacts, unless it imports it.

    Args:
        path: of its settings.
    """
    is_computed = computed(path)
    return Read("videos.videos", decides=False, when=lambda section: not is_computed(section))


def has_views(section) -> bool:
    """Whether a backbone is tuned on clips that are drawn anew in every epoch."""
    return section.backbone.finetune.enabled and section.backbone.finetune.views > 1


def view_share(section) -> float:
    """Views of a video of the train lists in the mean."""
    return section.backbone.finetune.views * (1 - section.data.index.validation_fraction)


def clip_kilobytes(section) -> float:
    """Size of a clip; packing takes half of its pixels (bench/datasets.py, UCF-101)."""
    return section.data.decode.n_frames * section.data.decode.size**2 * 3 / 1000 / 2


STAGES = (
    Stage(
        "videos",
        module="pipeline.data.videos",
        writes={"videos": "data/videos.parquet"},
        reads={
            "lists": Read("generate.lists", when=is_generated),
            "graphs": Read("generate_graphs.lists", when=has_generated_graphs),
        },
        settings=(Setting("data.index", key="index"), Setting("experiments", key="experiments")),
        per="videos",
        follows="listed",
        looked_up=True,
        costly=True,
        minutes=20,
        cost=Cost(seconds=0.0002),
    ),
    Stage(
        "index",
        module="pipeline.data.index",
        writes={"index": "data/index.parquet"},
        reads={
            "lists": Read("generate.lists", when=is_generated),
            "graphs": Read("generate_graphs.lists", when=has_generated_graphs),
        },
        settings="data.index",
        follows="labels",
        looked_up=True,
        minutes=20,
        cost=Cost(seconds=0.0002),
        priority=LONGEST,  # it stops a run that cannot succeed before anything else takes its time
    ),
    Stage(
        "synthesise",
        module="pipeline.data.synthesise",
        writes={"truth": "synta/truth/{shard}.zarr.zip", "manifest": "synta/manifest/{shard}.parquet"},
        reads={"videos": VIDEOS},
        settings="demo.synta",
        when=is_rendered,
        per="videos",
        follows="all",
        costly=True,
        memory_mb=2000,
        minutes=60,
        priority=LONGEST,
    ),
    Stage(
        "decode",
        module="pipeline.data.decode",
        writes={"clips": "data/clips/{shard}.zarr.zip", "signal": "data/signal/{shard}.zarr.zip"},
        reads={"videos": VIDEOS},
        settings="data.decode",
        per="videos",
        follows="all",
        opens_videos=True,
        costly=True,
        memory_mb=4000,
        minutes=60,
        # bench/datasets.py: a clip of UCF-101.
        cost=Cost(
            "frame",
            seconds=0.0034,
            kilobytes=lambda section, frames: clip_kilobytes(section) + 0.01 * frames,
            alike=("n_frames", "size"),
        ),
        priority=WAITED_FOR,
    ),
    Stage(
        "views",
        module="pipeline.data.views",
        writes={"views": "data/views/{shard}.zarr.zip"},
        reads={"index": Read("index.index", decides=False)},
        # As many as fine-tuning wants, sampled like the clips.
        settings=(Setting("data.decode", key="decode"), Setting("backbone.finetune.views", key="views")),
        when=has_views,
        follows="train",
        opens_videos=True,
        costly=True,
        memory_mb=8000,
        minutes=60,
        # docs/finetuning.md: 0.8 s for each of eight videos of UCF-101. Those that validate have no views.
        cost=Cost(
            "train",
            seconds=0.64,
            kilobytes=lambda section, frames: view_share(section) * clip_kilobytes(section),
            alike=("views",),
        ),
        priority=WAITED_FOR,
    ),
)
