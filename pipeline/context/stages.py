"""The stages of the floor `context`: embeddings of videos, prompts and texts, and the concepts that words name."""

from pipeline.data.stages import VIDEOS, videos_if_imported
from pipeline.encoding.known import frames_seen
from pipeline.jobs.declare import LONGEST, WAITED_FOR, Cost, Read, Setting, Stage, computed


def collects_candidates(section) -> bool:
    """Whether candidates come from elsewhere than the text files that ``context.texts`` names, and are wanted."""
    return section.context.candidates.source != "files" and computed("context.texts")(section)


def borrows_encoder(section) -> bool:
    """Whether sentences are encoded like the other texts."""
    return not section.context.sentences.model


def clip_passes(section) -> float:
    """How often the dual encoder sees a video."""
    chosen = section.context.dual_encoder
    return frames_seen(chosen.model, chosen.n_frames) if chosen.source == "computed" else 0


def prompt_passes(section) -> float:
    """How often the dual encoder sees a picture with a circle, per video that is learned from."""
    prompts = section.context.prompts
    return prompts.n_frames * prompts.grid[0] * prompts.grid[1]


# The names of the classes are those of the lists, whatever the splits.
CLASS_NAMES = Read("index.index", settings_count=False)

STAGES = (
    Stage(
        "dual_encoder",
        module="pipeline.context.dual_encoder",
        writes={"dual_encoder": "context/dual_encoder/{shard}.zarr.zip"},
        reads={
            "videos": videos_if_imported("context.dual_encoder"),
            "clips": Read("decode.clips", when=computed("context.dual_encoder")),
        },
        settings="context.dual_encoder",
        per="videos",
        follows="all",
        files=("context.dual_encoder.path",),
        checkpoints=("context.dual_encoder.model",),
        threads="encoder",
        memory_mb=6000,
        minutes=60,
        cost=Cost(
            encoders={"context.dual_encoder.model": clip_passes},
            seconds=0.01,
            kilobytes=lambda section, frames: 2,
            alike=("source", "model", "n_frames"),
        ),
        priority=WAITED_FOR,
    ),
    Stage(
        "prompts",
        module="pipeline.context.prompts",
        writes={"prompts": "context/prompts/{shard}.zarr.zip"},
        reads={"videos": VIDEOS, "clips": "decode.clips"},
        settings="context.prompts",
        per="videos",
        follows="developed",
        checkpoints=("context.prompts.model",),
        costly=True,
        threads="encoder",
        memory_mb=6000,
        minutes=240,
        # Embeddings of 512 numbers of two bytes.
        cost=Cost(
            "train",
            encoders={"context.prompts.model": prompt_passes},
            seconds=0.01,
            kilobytes=lambda section, frames: prompt_passes(section) * 512 * 2 / 1000,
            alike=("model", "n_frames", "grid"),
        ),
        priority=LONGEST,
    ),
    Stage(
        "candidates",
        module="pipeline.context.candidates",
        writes={"candidates": "context/candidates.parquet"},
        reads={"index": "index.index"},
        settings="context.candidates",
        when=collects_candidates,
        files=("context.candidates.names", "context.candidates.wordnet"),
        minutes=120,
    ),
    Stage(
        "texts",
        module="pipeline.context.texts",
        writes={"texts": "context/texts.zarr.zip"},
        reads={"index": CLASS_NAMES, "candidates": "candidates.candidates"},
        settings="context.texts",
        files=("context.texts.candidates", "context.texts.path"),
        checkpoints=("context.texts.model",),
        threads="encoder",
        memory_mb=6000,
        priority=WAITED_FOR,
    ),
    Stage(
        "concepts",
        module="pipeline.context.concepts",
        writes={"concepts": "context/concepts.parquet", "pseudo_labels": "context/pseudo_labels.zarr.zip"},
        reads={"index": "index.index", "dual_encoder": "dual_encoder.dual_encoder", "texts": "texts.texts"},
        settings="context.concepts",
        memory_mb=4000,
        priority=WAITED_FOR,
    ),
    Stage(
        "sentences",
        module="pipeline.context.sentences",
        writes={"sentences": "context/sentences.parquet", "sentence_labels": "context/sentence_labels.zarr.zip"},
        reads={"index": "index.index", "dual_encoder": "dual_encoder.dual_encoder"},
        settings=(
            Setting("context.sentences"),
            # In the space of the videos, unless they have an encoder of their own.
            Setting("context.texts", only=("model", "revision", "sha256"), when=borrows_encoder),
        ),
        files=("context.sentences.files",),
        checkpoints=("context.sentences.model", "context.texts.model"),
        threads="encoder",
        memory_mb=6000,
    ),
)
