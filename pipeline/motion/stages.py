"""The stages of the floor `motion`: poses, key frames, key clips and the concepts that they form."""

from pipeline.data.stages import VIDEOS
from pipeline.jobs.declare import LONGEST, WAITED_FOR, Read, Stage, computed


def from_poses(section) -> bool:
    """Whether key frames are found in the motion of the joints."""
    return section.motion.keyframes.source == "poses"


def around_keyframes(section) -> bool:
    """Whether clips are cut around key frames, and not around frames to compare with."""
    return section.motion.pose_clips.selection == "keyframes"


STAGES = (
    Stage(
        "poses",
        module="pipeline.motion.poses",
        writes={"poses": "motion/poses/{shard}.zarr.zip"},
        reads={"videos": VIDEOS},
        settings="motion.poses",
        per="videos",
        follows="all",
        opens_videos=True,
        files=("motion.poses.path", "motion.poses.boxes_path", "motion.poses.skeleton"),
        checkpoints=("motion.poses.model", "motion.poses.detector"),
        costly=True,
        threads="encoder",
        memory_mb=8000,
        minutes=60,
        priority=LONGEST,
    ),
    Stage(
        "keyframes",
        module="pipeline.motion.keyframes",
        writes={"keyframes": "motion/keyframes/{shard}.parquet"},
        reads={
            "videos": VIDEOS,
            "signal": Read("decode.signal", when=computed("motion.keyframes")),
            "poses": Read("poses.poses", when=from_poses),
        },
        settings="motion.keyframes",
        per="videos",
        follows="all",
        files=("motion.keyframes.path",),
        minutes=20,
        priority=WAITED_FOR,
    ),
    Stage(
        "pose_clips",
        module="pipeline.motion.pose_clips",
        writes={"pose_clips": "motion/pose_clips/{shard}.zarr.zip"},
        reads={"poses": "poses.poses", "keyframes": Read("keyframes.keyframes", when=around_keyframes)},
        settings="motion.pose_clips",
        per="videos",
        memory_mb=4000,
        priority=WAITED_FOR,
    ),
    Stage(
        "motion_concepts",
        module="pipeline.motion.motion_concepts",
        writes={"motion_concepts": "motion/motion_concepts.zarr.zip", "motion_labels": "motion/motion_labels.parquet"},
        reads={"index": "index.index", "pose_clips": "pose_clips.pose_clips"},
        settings="motion.motion_concepts",
        files=("motion.motion_concepts.path",),
        threads="all",
        memory_mb=8000,
        minutes=60,
        priority=WAITED_FOR,
    ),
)
