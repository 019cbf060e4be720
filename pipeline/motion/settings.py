"""What may be configured about the floor `motion`: one model per stage."""

from typing import Literal

import pydantic
from pydantic import Field

from pipeline.motion.skeleton import shipped
from pipeline.settings import SHA256, Section


class Poses(Section):
    source: Literal["computed", "penn_action", "coco", "mmaction", "arrays"] = Field(
        "computed",
        description="penn_action: the .mat annotations of that data set (13 joints); coco: keypoint JSON; mmaction: "
        "skeleton pickle, read safely; arrays: .npy, .npz, .mat or .pt (docs/exchange.md)",
    )
    path: str = Field("", description="file or folder of imported poses, relative to the root of the data set")
    skeleton: str = Field(
        "coco",
        validate_default=True,
        description="coco (17 joints), penn_action (13), jhmdb (15), mpii (16), kinect (20), ntu or openpose (25), or "
        "a file of your own, relative to the root of the data set (docs/skeletons.md)",
    )
    first_frame: int | None = Field(
        None,
        ge=0,
        description="number of the first frame in coco; null: 0 if any video has a frame 0, else 1",
    )
    max_frame_difference: int = Field(
        0, ge=0, description="frames by which imported poses or boxes may exceed their video, or poses fall short of it"
    )
    model: str = Field("usyd-community/vitpose-plus-large", description="hub id or folder: ViTPose, MoveNet, MMPose")
    revision: str = Field("main", description="branch, tag or commit of the hub repository")
    sha256: str = SHA256
    expert: int | None = Field(0, description="data set index of ViTPose++ (0 is COCO, the joints of published files)")
    boxes: Literal["detected", "annotations", "whole_frame", "refined"] = Field(
        "detected",
        description="detected: by the detector, linked into tracks; annotations: from boxes_path, linked likewise; "
        "whole_frame: the frame is the person box; refined: a second pass on the box of the first pose",
    )
    boxes_path: str = Field(
        "",
        description="CSV or Parquet table of annotated boxes, relative to the root of the data set: video_id, frame, "
        "x0, y0, x1, y1, and optionally score",
    )
    detector: str = Field("PekingU/rtdetr_r50vd_coco_o365", description="hub id or folder: RT-DETR, MoveNet MultiPose")
    detector_revision: str = "main"
    detector_sha256: str = SHA256
    min_box_score: float = Field(0.5, ge=0, le=1, description="boxes above it start a track; others only continue one")
    flip_test: bool = Field(False, description="average with the mirrored picture; slightly better, twice the cost")
    box_padding: float = Field(1.25, ge=1, description="factor by which the person box is enlarged (ViTPose: 1.25)")
    min_joint_confidence: float = Field(0.2, ge=0, le=1, description="joints above it define the refined person box")
    min_person_confidence: float = Field(0.3, ge=0, le=1, description="frames below it count as without a person")
    max_gap: int = Field(5, ge=0, description="longest gap in a track, in frames; gaps are interpolated")
    max_failed_fraction: float = Field(0.05, ge=0, le=1)

    @pydantic.field_validator("skeleton")
    @classmethod
    def _shipped_by_name(cls, value: str) -> str:
        if not value.endswith((".yaml", ".yml")) and value not in shipped():
            raise ValueError(f"neither a skeleton file (.yaml) nor one of {', '.join(shipped())}")
        return shipped().get(value, value)


class Keyframes(Section):
    source: Literal["computed", "list", "poses"] = Field(
        "computed",
        description="computed: where pixels change most; list: a text file `video_id frame frame …`, counted from 0; "
        "poses: where joints move fastest, for poses without videos",
    )
    path: str = ""
    measure: Literal["sum", "count"] = Field(
        "sum",
        description="sum of differences (S) or count of changed pixels (official code, follows codec GOPs)",
    )
    threshold: float = Field(0.3, ge=0, le=1, description="relative peak height (official code)")
    threshold_long: float = Field(0.5, ge=0, le=1, description="the same for long videos (official code: +0.2)")
    long_video: int = Field(70, ge=1, description="a video with more frames counts as long")
    min_distance: int = Field(1, ge=1, description="frames between two peaks")
    baseline_degree: int = Field(2, ge=0, description="degree of the polynomial subtracted before peaks are found")


class PoseClips(Section):
    length: int = Field(25, ge=2, description="frames per clip, L (S: 20 or 25)")
    per_video: int = Field(12, ge=1, description="at most this many clips per video, S")
    min_confidence: float = Field(0.5, ge=0, le=1, description="minimum mean joint confidence (S)")
    min_cosine: float = Field(0.92, ge=-1, le=1, description="minimum cosine similarity of adjacent frames (S)")
    cosine_on: Literal["raw", "centred"] = "centred"
    max_step: float | None = Field(
        0.25,
        gt=0,
        description="largest movement between adjacent frames; median over the joints, in extents of the pose; a "
        "larger one means another person. Raise it below 15 frames per second",
    )
    normalise: Literal["clip", "frame_axis"] = Field(
        "clip",
        description="clip: one scale per clip, aspect ratio kept; frame_axis: per frame and axis (official code)",
    )
    selection: Literal["keyframes", "random", "uniform"] = Field(
        "keyframes", description="where clips are centred; random and uniform: for comparison (S Table 3)"
    )
    seed: int = Field(0, ge=0, description="of the random selection")
    max_failed_fraction: float = Field(
        0.5, ge=0, le=1, description="stop if a larger fraction of the videos with poses has no key clip"
    )


class MotionConcepts(Section):
    source: Literal["discovered", "imported"] = "discovered"
    path: dict[str, str] = Field(default_factory=dict, description="split → JSON or pickle of published motion labels")
    method: Literal["finch", "kmeans", "som"] = Field(
        "finch", description="kmeans and som (a self-organizing map): for comparison (S Table 2); they need n_concepts"
    )
    metric: Literal["cosine", "euclidean"] = "cosine"
    partition: int | None = Field(None, description="FINCH partition by index, 0 the finest")
    n_concepts: int | None = Field(None, ge=1, description="desired number of concepts")
    nearest: bool = Field(True, description="take the partition nearest to n_concepts instead of refining to it")
    min_videos: int = Field(1, ge=1, description="clusters seen in fewer videos are dropped")
    seed: int = Field(0, ge=0, description="of the initialisation of kmeans")

    @pydantic.model_validator(mode="after")
    def _number_is_known(self):
        if self.method != "finch" and self.n_concepts is None:
            raise ValueError(f"method {self.method} needs n_concepts: it does not find the number itself")
        if self.partition is not None and self.n_concepts is not None:
            raise ValueError("give either partition or n_concepts: each sets the number of concepts")
        return self


class Tracks(Section):
    truth: bool = Field(False, description="use the rendered tracks instead of detected ones")
    threshold: float = Field(22, gt=0, description="least difference of a thing from the background, in grey levels")
    min_area: int = Field(8, ge=1, description="smallest thing, in pixels of the model clip")
    length: int = Field(7, ge=2, description="frames of the model clip per window")
    stride: int = Field(3, ge=1, description="frames between two windows")


class Motion(Section):
    source: Literal["poses", "tracks"] = Field(
        "poses",
        description="poses: of a person; tracks: of up to 4 things of any kind, in front of a static camera",
    )
    tracks: Tracks = Tracks()
    poses: Poses = Poses()
    keyframes: Keyframes = Keyframes()
    pose_clips: PoseClips = PoseClips()
    motion_concepts: MotionConcepts = MotionConcepts()
