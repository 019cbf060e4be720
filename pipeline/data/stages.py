"""The stages of the floor `data`: which videos there are, what they show, and their frames."""

from pipeline.demo.stages import is_generated, is_rendered
from pipeline.jobs.declare import LONGEST, WAITED_FOR, Read, Setting, Stage, computed

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


STAGES = (
    Stage(
        "videos",
        module="pipeline.data.videos",
        writes={"videos": "data/videos.parquet"},
        reads={"lists": Read("generate.lists", when=is_generated)},
        settings=(Setting("data.index", key="index"), Setting("experiments", key="experiments")),
        per="videos",
        follows="listed",
        looked_up=True,
        costly=True,
        minutes=20,
    ),
    Stage(
        "index",
        module="pipeline.data.index",
        writes={"index": "data/index.parquet"},
        reads={"lists": Read("generate.lists", when=is_generated)},
        settings="data.index",
        follows="labels",
        looked_up=True,
        minutes=20,
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
        priority=WAITED_FOR,
    ),
)
