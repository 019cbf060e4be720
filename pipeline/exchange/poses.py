"""Poses that someone else estimated or annotated, in the schema of the stage `poses`: COCO JSON, mmaction2, arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.data.readers import VideoError
from pipeline.exchange import pickles
from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.files import read_json
from pipeline.exchange.matrices import SUFFIXES, Rows, read_arrays
from pipeline.exchange.penn_action import read_penn_action
from pipeline.exchange.persons import Person, absent, boxes_of, main_person

# Arrays of the schema, and what was chosen: ``note`` in words; ``open_end``, whether frames may follow the last one.
Pose = dict[str, Any]
# A video of more frames than this is rather a file that is no video: numbers of COCO's pictures go to 581,929.
MAX_FRAMES = 1_000_000
# Peaks of heatmaps are a little above 1 at times.
MAX_CONFIDENCE = 1.5
# Where no joint is so far from the corner, or one is further, these are no pixels: metres, or parts of the picture.
MIN_PIXELS, MAX_PIXELS = 3, 1e6
# Files of a folder that tell whether their frames count from 0 or from 1.
MAX_ASKED = 100


def _damaged(text: str) -> VideoError:
    return VideoError("damaged", text)


# ---------------------------------------------------------------------------------------------------------------- one


@dataclass(frozen=True)
class Form:
    """What imported poses must be.

    Attributes:
        joints: of the configured skeleton.
        axes: in which order coordinates stand, xy or yx.
        first_frame: number of the first frame, where a list numbers frames; None: found out.
        max_gap: frames that a person may be unseen and still be the same.
    """

    joints: int
    axes: str = "xy"
    first_frame: int | None = None
    max_gap: int = 5

    def upright(self, values: np.ndarray) -> np.ndarray:
        """x, y and what follows of ``[..., 2]`` or ``[..., 3]``."""
        return values if self.axes == "xy" else np.concatenate([values[..., 1::-1], values[..., 2:]], -1)


def _check_joints(count: int, form: Form, where: str) -> None:
    """Raises: VideoError: another number of joints than the skeleton has."""
    if count != form.joints:
        raise _damaged(f"{where} has {count} joints, motion.poses.skeleton has {form.joints}")


def _check_values(points: np.ndarray, where: str) -> None:
    """Raises: VideoError: no joint of ``[..., J, 3]`` is there, or numbers that are no pixels or no confidences."""
    there = points[~absent(points)]
    if not len(there):
        raise VideoError(
            "no_person", f"{where} has no joints: all are missing, as NaN, (0, 0), (-1, -1) or of confidence 0"
        )
    xy, confidence = there[:, :2], there[:, 2]
    if np.isnan(confidence).any() or np.abs(xy).max() > MAX_PIXELS:
        raise _damaged(f"{where} holds infinite or huge numbers, or NaN as the confidence of a joint with coordinates")
    if confidence.min() < 0 or confidence.max() > MAX_CONFIDENCE:
        raise _damaged(
            f"{where} has confidences from {confidence.min():g} to {confidence.max():g}, which must be 0 to 1 ("
            f"percentages? flags? the depth of three-dimensional joints?)"
        )
    if np.abs(xy).max() < MIN_PIXELS:
        raise _damaged(
            f"{where} has coordinates from {xy.min():g} to {xy.max():g}, which must be pixels (metres? fractions of "
            f"the picture?)"
        )


def checked(points: np.ndarray, form: Form, where: str, note: str = "", open_end: bool = False) -> Pose:
    """One person's poses in the schema of the stage; missing joints (see `absent`) are NaN, of confidence 0.

    Args:
        points: ``[F, J, 3]`` of x, y in pixels and a confidence in [0, 1].

    Raises:
        VideoError: another number of joints, no frame, no joint, or numbers that are no pixels or no confidences.
    """
    if points.ndim != 3 or points.shape[2] != 3:
        raise _damaged(f"{where} is not frames × joints × 2 or 3 but {list(points.shape)}")
    _check_joints(points.shape[1], form, where)
    if not len(points):
        raise _damaged(f"{where} has no frame")
    _check_values(points, where)
    there = ~absent(points)
    keypoints = np.where(there[..., None], points[..., :2], np.nan).astype(np.float32)
    return {
        "keypoints": keypoints,
        "confidence": np.where(there, points[..., 2], 0).astype(np.float32),
        "box": boxes_of(keypoints, there),
        "present": there.any(1),
        "note": note,
        "open_end": open_end,
    }


def _with_confidence(values: np.ndarray) -> np.ndarray:
    """``[..., 3]`` of ``[..., 2]``: every joint that is there is sure."""
    return np.concatenate([values, np.ones((*values.shape[:-1], 1))], -1)


# -------------------------------------------------------------------------------------------------------------- arrays


def from_array(values: Any, form: Form | int, where: str) -> Pose:
    """Poses of one video from one array: x and y, or x, y and confidence, per frame and joint.

    Args:
        values: ``[F, J, 2]`` or ``[F, J, 3]``.

    Raises:
        VideoError: see `checked`.
    """
    form = form if isinstance(form, Form) else Form(form)
    if not isinstance(values, np.ndarray) or values.ndim != 3 or values.dtype.kind not in "iuf":
        shape = list(values.shape) if isinstance(values, np.ndarray) else "text"
        raise _damaged(f"{where} is not frames × joints × 2 or 3 but {shape}")
    if values.shape[2] == 2:
        values = _with_confidence(values)
    return checked(form.upright(values.astype(np.float64)), form, where)


def _array_folder(folder: Path, form: Form, video_id: str) -> Pose:
    for suffix in SUFFIXES:
        path = folder / f"{video_id}{suffix}"
        if path.is_file():
            break
    else:
        raise VideoError("missing", f"{folder.name}/{video_id} does not exist with any of {', '.join(SUFFIXES)}")
    try:
        found = {name: value for name, value in read_arrays(path).items() if isinstance(value, np.ndarray)}
    except ForeignFileError as error:
        raise _damaged(str(error)) from None
    chosen = [name for name in found if found[name].ndim == 3]
    if len(chosen) != 1:
        raise _damaged(f"{path.name} holds {len(chosen)} arrays of frames × joints × 2 or 3, not one")
    return from_array(found[chosen[0]], form, path.name)


def _array_file(path: Path, form: Form, all_ids: list[str]) -> Callable[[str], Pose]:
    found = read_arrays(path)
    if "" in found:
        raise ForeignFileError(f"{path} holds one array without a name; name the arrays of a .npz by video")
    names = list(found)
    return _by_name(
        Rows(names, all_ids, str(path)), path.name, lambda row: from_array(found[names[row]], form, names[row])
    )


def _by_name(rows: Rows, where: str, make: Callable[[int], Pose]) -> Callable[[str], Pose]:
    rows.check_some()

    def read(video_id: str) -> Pose:
        row = rows.find(video_id)
        if row is None:
            raise VideoError("missing", f"{where} has no poses of this video")
        return make(row)

    return read


# ------------------------------------------------------------------------------------------------------------ mmaction


def from_mmaction(annotation: Any, form: Form, where: str) -> Pose:
    """Poses of one video from an annotation of mmaction2; of several persons the main one, see `main_person`.

    ``keypoint`` is ``[M, T, V, 2]`` and ``keypoint_score`` ``[M, T, V]``: persons, frames, joints.

    Raises:
        VideoError: arrays are missing, three-dimensional, or do not fit together.
    """
    keypoint, score = annotation.get("keypoint"), annotation.get("keypoint_score")
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4 or keypoint.dtype.kind not in "iuf":
        raise _damaged(f"{where} has no array `keypoint` of persons × frames × joints × 2")
    if keypoint.shape[3] != 2:
        raise _damaged(f"{where} has joints in {keypoint.shape[3]} dimensions; image poses have 2")
    if score is None:  # ground truth has none
        points = _with_confidence(keypoint)
    elif not isinstance(score, np.ndarray) or score.shape != keypoint.shape[:3] or score.dtype.kind not in "iuf":
        raise _damaged(f"{where}: `keypoint_score` does not fit `keypoint` {list(keypoint.shape)}")
    else:
        points = np.concatenate([keypoint, score[..., None]], 3)
    n_frames = keypoint.shape[1]
    frames = annotation.get("total_frames", n_frames)
    if not isinstance(frames, int | np.integer) or frames != n_frames:
        raise _damaged(f"{where}: `keypoint` has {n_frames} frames, `total_frames` says {str(frames)[:20]}")
    if not len(keypoint):
        raise VideoError("no_person", f"{where} has no person")
    points = form.upright(points.astype(np.float64))
    _check_joints(points.shape[2], form, where)
    _check_values(points, where)
    there = ~absent(points)
    boxes = boxes_of(points[..., :2], there)
    persons = [
        Person(int(frame), points[person, frame], boxes[person, frame], str(person))
        for person, frame in np.argwhere(there.any(2))
    ]
    chosen, note = main_person(persons, form.max_gap)
    result = np.zeros(points.shape[1:])
    for person in chosen:
        result[person.frame] = person.points
    return checked(result, form, where, note)


def _mmaction_file(path: Path, form: Form, all_ids: list[str]) -> Callable[[str], Pose]:
    content = pickles.load(path)
    annotations = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(annotations, list) or not all(
        isinstance(item, dict) and isinstance(item.get("frame_dir"), str) for item in annotations
    ):
        raise ForeignFileError(
            f"{path} is not mmaction2's: a list of annotations, each with a `frame_dir`, is expected"
        )
    rows = Rows([item["frame_dir"] for item in annotations], all_ids, str(path))
    return _by_name(rows, path.name, lambda row: from_mmaction(annotations[row], form, annotations[row]["frame_dir"]))


# ---------------------------------------------------------------------------------------------------------------- COCO


@dataclass
class Numbered:
    """One video of a list that numbers its frames.

    Attributes:
        frames: all numbers that are named.
        listed: whether the list names frames beside persons, so that the first and the last one are there.
    """

    frames: set[int] = field(default_factory=set)
    persons: list[Person] = field(default_factory=list)
    listed: bool = False


def _person(annotation: Any, frame: int, form: Form, where: str) -> Person | None:
    """One annotation; None where it has no keypoints (a crowd, a person who is too small)."""
    points = annotation.get("keypoints")
    if not points or annotation.get("num_keypoints") == 0:
        return None
    try:
        points = form.upright(np.array(points, np.float64).reshape(-1, 3))
        x, y, width, height = map(float, annotation.get("bbox") or (np.nan,) * 4)
    except (ValueError, TypeError, OverflowError):
        raise ForeignFileError(f"{where}: `keypoints` must be x, y, v of every joint and `bbox` x, y, w, h") from None
    box = np.array([x, y, x + width, y + height])
    if not np.abs(box).max() <= MAX_PIXELS:  # NaN too
        box = boxes_of(np.clip(points[:, :2], -MAX_PIXELS, MAX_PIXELS), ~absent(points))
    if np.isin(points[:, 2], [0, 1, 2]).all() and ("score" not in annotation or (points[:, 2] == 2).any()):
        # Flags of the data set: 1 was placed but is hidden, 2 is visible.
        points[:, 2] /= 2
    track = next((annotation[key] for key in ("track_id", "person_id", "idx") if annotation.get(key) is not None), None)
    return Person(frame, points, box, None if track is None else json.dumps(track))


def _number(name: str, where: str) -> int:
    """The frame number at the end of a file name."""
    digits = re.search(r"([0-9]{1,18})$", PurePosixPath(name).stem)
    if not digits:
        raise ForeignFileError(f"{where}: the picture {name} has no frame number at the end of its name")
    return int(digits[1])


def _coco_videos(content: Any, form: Form, where: str) -> dict[str, Numbered]:
    """Frames and persons of each video; a file without folders or video ids is one video, "".

    Args:
        content: COCO's dictionary of images and annotations, or its list of results.

    Raises:
        ForeignFileError: another form.
    """
    if isinstance(content, Mapping):
        images, annotations = content.get("images"), content.get("annotations")
    else:
        images, annotations = None, content
    if not isinstance(annotations, list) or not isinstance(images, list | None):
        raise ForeignFileError(
            f"{where} is not a COCO keypoint file: expected `images` and `annotations`, or a list of results"
        )
    place: dict[Any, tuple[str, int]] = {}
    videos: dict[str, Numbered] = {}
    try:
        for image in images or ():
            name = str(image["file_name"])
            parent = str(PurePosixPath(name).parent)
            video = parent if parent != "." else str(image.get("video_id", image.get("vid_id", "")))
            if image["id"] in place:
                raise ForeignFileError(f"{where} has the image id {image['id']} twice")
            place[image["id"]] = (video, _number(name, where))
            videos.setdefault(video, Numbered(listed=True)).frames.add(place[image["id"]][1])
        for annotation in annotations:
            key = annotation["image_id"]
            if images is None:
                folder = str(PurePosixPath(str(key)).parent)
                video, frame = (folder if folder != "." else "", _number(str(key), where))
            elif key in place:
                video, frame = place[key]
            else:
                raise ForeignFileError(f"{where}: an annotation names the image {key}, which is not in `images`")
            person = _person(annotation, frame, form, where)
            found = videos.setdefault(video, Numbered())
            found.frames.add(frame)
            if person:
                found.persons.append(person)
    except (KeyError, TypeError, AttributeError) as error:
        raise ForeignFileError(f"{where} is not a COCO keypoint file ({type(error).__name__}: {error})") from None
    return videos


def first_of(videos: Iterable[Numbered]) -> int:
    """The number that frames count from: 0 if some video of the list has it, else 1."""
    return int(all(0 not in video.frames for video in videos))


def from_coco(video: Numbered, first: int, form: Form, where: str) -> Pose:
    """Poses of one video; a frame that is not named has no person.

    Args:
        first: number of the first frame, the same for a whole list.

    Raises:
        VideoError: no person, another number of joints, or numbers that are not those of the video's frames.
    """
    if not video.persons:
        raise VideoError("no_person", f"{where} has no keypoints")
    low, high = min(video.frames), max(video.frames)
    n_frames = high - first + 1
    if n_frames > MAX_FRAMES or n_frames > 100 * len(video.frames) + 1000:
        raise _damaged(
            f"{where} numbers {len(video.frames)} frames up to {high}; these are not the frames of one video"
        )
    if low < first or (low > first and video.listed and form.first_frame is None):
        raise VideoError(
            "other_frames",
            f"{where} numbers its frames from {low} to {high}, but the list counts from {first}; "
            f"set motion.poses.first_frame to the number of the first frame",
        )
    widths = {len(person.points) for person in video.persons}
    if widths != {form.joints}:
        raise _damaged(f"{where} has {sorted(widths)} joints, motion.poses.skeleton has {form.joints}")
    _check_values(np.stack([person.points for person in video.persons]), where)
    chosen, note = main_person(video.persons, form.max_gap)
    points = np.zeros((n_frames, form.joints, 3), np.float64)
    for person in chosen:
        points[person.frame - first] = person.points
    return checked(points, form, where, "; ".join(filter(None, (f"frames count from {first}", note))), not video.listed)


def _coco_folder(folder: Path, form: Form, all_ids: list[str]) -> Callable[[str], Pose]:
    def videos_of(video_id: str) -> dict[str, Numbered]:
        path = folder / f"{video_id}.json"
        if not path.is_file():
            raise VideoError("missing", f"{folder.name}/{video_id}.json does not exist")
        try:
            return _coco_videos(read_json(path), form, path.name)
        except ForeignFileError as error:
            raise _damaged(str(error)) from None

    def asked() -> Iterable[Numbered]:
        there = [key for key in sorted(all_ids) if (folder / f"{key}.json").is_file()]
        for video_id in there[:MAX_ASKED]:
            try:
                yield from videos_of(video_id).values()
            except VideoError:
                continue  # told where the video is read

    first = first_of(asked()) if form.first_frame is None else form.first_frame

    def read(video_id: str) -> Pose:
        videos = videos_of(video_id)
        if len(videos) != 1:
            raise _damaged(f"{video_id}.json holds {len(videos)} videos, not one")
        return from_coco(next(iter(videos.values())), first, form, f"{video_id}.json")

    return read


def _coco_file(path: Path, form: Form, all_ids: list[str]) -> Callable[[str], Pose]:
    videos = _coco_videos(read_json(path), form, str(path))
    if set(videos) == {""} and len(all_ids) > 1:
        raise ForeignFileError(
            f"{path} does not say which video a picture belongs to: `file_name` needs a folder, or an image `video_id`"
        )
    names = list(videos)
    first = first_of(videos.values()) if form.first_frame is None else form.first_frame
    return _by_name(
        Rows(names, all_ids, str(path)), path.name, lambda row: from_coco(videos[names[row]], first, form, names[row])
    )


# ------------------------------------------------------------------------------------------------------------- the one


def files_of(folder: Path, ids: list[str]) -> list[Path]:
    """Files of these videos in a folder with one file per video, in the order of the ids."""
    names = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in (*SUFFIXES, ".json")}
    return [names[key] for key in ids if key in names]


def _penn_action(folder: Path, video_id: str) -> Pose:
    return read_penn_action(folder / f"{video_id}.mat")


def pose_reader(source: str, place: Path, form: Form | int, all_ids: list[str]) -> Callable[[str], Pose]:
    """How to get the poses of a video by its id, for one value of ``motion.poses.source``.

    Args:
        source: penn_action, coco, mmaction or arrays.
        place: a folder with one file per video, or one file for all (mmaction: always one file).
        form: what they must be; a bare number is that of the joints.
        all_ids: of the whole data set, to tell which bare names are unique.

    Returns:
        video id → ``keypoints`` ``[F, J, 2]``, ``confidence`` ``[F, J]``, ``box`` ``[F, 4]``, ``present`` ``[F]``,
        and what `Pose` adds; it raises `VideoError` for a video that is missing or damaged.

    Raises:
        ForeignFileError: the file or folder as a whole cannot be used.
    """
    form = form if isinstance(form, Form) else Form(form)
    if not place.exists():
        raise ForeignFileError(f"{place} does not exist; motion.poses.path names it, below the data set's root")
    if place.is_dir():
        if source == "mmaction":
            raise ForeignFileError(f"{place} is a folder; motion.poses.path names the one pickle of all videos")
        if all_ids and not files_of(place, all_ids):
            here = sorted(path.name for path in place.iterdir())[:3]
            raise ForeignFileError(
                f"{place} has files of none of the {len(all_ids)} videos: it holds {', '.join(here) or 'no files'}, "
                f"the data set has {', '.join(all_ids[:3])}"
            )
        if source == "coco":
            return _coco_folder(place, form, all_ids)
        return partial(_array_folder, place, form) if source == "arrays" else partial(_penn_action, place)
    if source == "penn_action":
        raise ForeignFileError(f"{place} is a file; motion.poses.path names the folder of annotations")
    files = {"coco": _coco_file, "mmaction": _mmaction_file, "arrays": _array_file}
    return files[source](place, form, all_ids)
