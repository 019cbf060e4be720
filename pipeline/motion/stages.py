"""The stages of the floor `motion`: poses, key frames, key clips and the concepts that they form."""

from pipeline.data.stages import VIDEOS
from pipeline.demo.stages import is_rendered
from pipeline.jobs.declare import LONGEST, WAITED_FOR, Cost, Read, Setting, Stage, computed


def from_poses(section) -> bool:
    """Whether key frames are found in the motion of the joints."""
    return section.motion.keyframes.source == "poses"


def from_a_list(section) -> bool:
    """Whether someone else detected the key frames."""
    return section.motion.keyframes.source == "list"


def of_poses(section) -> bool:
    """Whether motion is that of a person's joints."""
    return section.motion.source == "poses"


def of_tracks(section) -> bool:
    """Whether motion is that of things, whatever they are."""
    return section.motion.source == "tracks"


def around_keyframes(section) -> bool:
    """Whether clips are cut around key frames, and not around frames to compare with."""
    return section.motion.pose_clips.selection == "keyframes"


def looks(section) -> float:
    """How often the pose network sees a frame."""
    poses = section.motion.poses
    if poses.source != "computed":
        return 0
    return (2 if poses.boxes == "refined" else 1) * (2 if poses.flip_test else 1)


def detections(section) -> float:
    """How often the detector sees a frame."""
    poses = section.motion.poses
    return poses.source == "computed" and poses.boxes == "detected"


STAGES = (
    Stage(
        "poses",
        module="pipeline.motion.poses",
        when=of_poses,
        writes={"poses": "motion/poses/{shard}.zarr.zip"},
        reads={"videos": VIDEOS},
        settings=(
            Setting("motion.poses"),
            # The frames are those of the clips.
            Setting("data.decode", key="decode", only=("backend", "min_fraction"), when=computed("motion.poses")),
        ),
        per="videos",
        follows="all",
        opens_videos=True,
        files=("motion.poses.path", "motion.poses.boxes_path", "motion.poses.skeleton"),
        checkpoints=("motion.poses.model", "motion.poses.detector"),
        costly=True,
        threads="encoder",
        memory_mb=8000,
        minutes=60,
        cost=Cost(
            "frame",
            encoders={"motion.poses.model": looks, "motion.poses.detector": detections},
            seconds=0.003,
            kilobytes=lambda section, frames: 0.2 * frames,
            alike=("source", "model", "boxes", "detector", "flip_test"),
        ),
        priority=LONGEST,
    ),
    Stage(
        "keyframes",
        module="pipeline.motion.keyframes",
        when=of_poses,
        writes={"keyframes": "motion/keyframes/{shard}.parquet"},
        reads={
            "videos": Read("videos.videos", decides=False, when=from_a_list),
            "signal": Read("decode.signal", when=computed("motion.keyframes")),
            "poses": Read("poses.poses", when=from_poses),
        },
        settings="motion.keyframes",
        per="videos",
        follows="all",
        files=("motion.keyframes.path",),
        minutes=20,
        cost=Cost("frame", seconds=0.0001, alike=("source",)),
        priority=WAITED_FOR,
    ),
    Stage(
        "pose_clips",
        module="pipeline.motion.pose_clips",
        when=of_poses,
        writes={"pose_clips": "motion/pose_clips/{shard}.zarr.zip"},
        reads={"poses": "poses.poses", "keyframes": Read("keyframes.keyframes", when=around_keyframes)},
        settings="motion.pose_clips",
        per="videos",
        memory_mb=4000,
        # Numbers of four bytes, of which packing takes a third.
        cost=Cost(
            seconds=0.002,
            kilobytes=lambda section, frames: (
                section.motion.pose_clips.per_video * section.motion.pose_clips.length * 0.09
            ),
            alike=("length", "per_video"),
        ),
        priority=WAITED_FOR,
    ),
    Stage(
        "tracks",
        module="pipeline.motion.tracks",
        writes={"tracks": "motion/tracks/{shard}.zarr.zip"},
        reads={"clips": "decode.clips", "truth": Read("synthesise.truth", when=is_rendered)},
        settings=(Setting("motion.tracks", only=("threshold", "min_area")),),
        when=of_tracks,
        per="videos",
        memory_mb=4000,
        minutes=60,
        priority=WAITED_FOR,
    ),
    Stage(
        "motion_concepts",
        module="pipeline.motion.motion_concepts",
        writes={"motion_concepts": "motion/motion_concepts.zarr.zip", "motion_labels": "motion/motion_labels.parquet"},
        reads={
            "index": "index.index",
            "pose_clips": Read("pose_clips.pose_clips", when=of_poses),
            "tracks": "tracks.tracks",
        },
        settings=(
            Setting("motion.motion_concepts"),
            Setting("motion.tracks", key="tracks", only=("truth", "length", "stride"), when=of_tracks),
        ),
        files=("motion.motion_concepts.path",),
        gpu="search",
        threads="all",
        memory_mb=8000,
        minutes=60,
        priority=WAITED_FOR,
    ),
    Stage(
        "pose_sheet",
        module="pipeline.motion.sheet",
        writes={"sheet": "explain/poses.png", "quality": "motion/quality.parquet"},
        reads={
            "poses": "poses.poses",
            "pose_clips": "pose_clips.pose_clips",
            "clips": Read("decode.clips", when=computed("backbone.features")),
        },
        when=of_poses,
        per="videos",
        memory_mb=4000,
        captions={"sheet": "poses.rst"},
    ),
)
