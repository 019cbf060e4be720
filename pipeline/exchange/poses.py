"""Poses that someone else estimated or annotated, in the schema of the stage `poses`: COCO JSON, mmaction2, arrays."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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

Pose = dict[str, np.ndarray]
# A video of more frames than this is rather a file that is no video: numbers of COCO's pictures go to 581,929.
MAX_FRAMES = 1_000_000


def _damaged(text: str) -> VideoError:
    return VideoError("damaged", text)


# ---------------------------------------------------------------------------------------------------------------- one


def boxes_of(keypoints: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Smallest boxes x0, y0, x1, y1 around the joints that are there; zeros where none is.

    Args:
        keypoints: ``[..., J, 2]``; sure: bool ``[..., J]``.

    Returns:
        float32 ``[..., 4]``.
    """
    low = np.where(sure[..., None], keypoints, np.inf).min(-2)
    high = np.where(sure[..., None], keypoints, -np.inf).max(-2)
    return np.where(sure.any(-1)[..., None], np.concatenate([low, high], -1), 0).astype(np.float32)


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas ``[...]`` of boxes ``[..., 4]``."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def checked(keypoints: np.ndarray, confidence: np.ndarray, joints: int, where: str) -> Pose:
    """One person's poses in the schema of the stage; joints without confidence are NaN.

    Args:
        keypoints: ``[F, J, 2]`` pixels; confidence: ``[F, J]`` in [0, 1]; joints: of the configured skeleton.

    Raises:
        VideoError: another number of joints, no frame, or a number that is not finite.
    """
    if keypoints.ndim != 3 or keypoints.shape[2] != 2 or confidence.shape != keypoints.shape[:2]:
        raise _damaged(f"{where} is not frames × joints × 2 but {list(keypoints.shape)}")
    if keypoints.shape[1] != joints:
        raise _damaged(f"{where} has {keypoints.shape[1]} joints, motion.poses.skeleton has {joints}")
    if not len(keypoints):
        raise _damaged(f"{where} has no frame")
    keypoints, confidence = keypoints.astype(np.float32), confidence.astype(np.float32)
    sure = confidence > 0
    if not np.isfinite(confidence).all() or not np.isfinite(keypoints[sure]).all():
        raise _damaged(f"{where} holds NaN or infinity in a joint that has a confidence")
    keypoints = np.where(sure[..., None], keypoints, np.nan)
    return {
        "keypoints": keypoints,
        "confidence": confidence,
        "box": boxes_of(keypoints, sure),
        "present": sure.any(1),
    }


# -------------------------------------------------------------------------------------------------------------- arrays


def from_array(values: Any, joints: int, where: str) -> Pose:
    """Poses of one video from one array: x and y, or x, y and confidence, per frame and joint.

    Args:
        values: ``[F, J, 2]`` or ``[F, J, 3]``; without a confidence, joints that are NaN are missing.

    Raises:
        VideoError: see `checked`.
    """
    if not isinstance(values, np.ndarray) or values.ndim != 3 or values.dtype.kind not in "iuf":
        form = list(values.shape) if isinstance(values, np.ndarray) else "text"
        raise _damaged(f"{where} is not frames × joints × 2 or 3 but {form}")
    if values.shape[2] == 3:
        return checked(values[..., :2], values[..., 2], joints, where)
    return checked(values, np.isfinite(values).all(2), joints, where)


def _array_folder(folder: Path, joints: int, video_id: str) -> Pose:
    for suffix in SUFFIXES:
        path = folder / f"{video_id}{suffix}"
        if path.is_file():
            break
    else:
        raise VideoError("missing", f"{folder.name}/{video_id} exists with none of {', '.join(SUFFIXES)}")
    try:
        found = {name: value for name, value in read_arrays(path).items() if isinstance(value, np.ndarray)}
    except ForeignFileError as error:
        raise _damaged(str(error)) from None
    chosen = [name for name in found if found[name].ndim == 3]
    if len(chosen) != 1:
        raise _damaged(f"{path.name} holds {len(chosen)} arrays of frames × joints × 2 or 3, not one")
    return from_array(found[chosen[0]], joints, path.name)


def _array_file(path: Path, joints: int, all_ids: list[str]) -> Callable[[str], Pose]:
    found = read_arrays(path)
    if "" in found:
        raise ForeignFileError(f"{path} holds one array without a name; name the arrays of a .npz by video")
    names = list(found)
    return _by_name(
        Rows(names, all_ids, str(path)), path.name, lambda row: from_array(found[names[row]], joints, names[row])
    )


def _by_name(rows: Rows, where: str, make: Callable[[int], Pose]) -> Callable[[str], Pose]:
    def read(video_id: str) -> Pose:
        row = rows.find(video_id)
        if row is None:
            raise VideoError("missing", f"{where} has no poses of it")
        return make(row)

    return read


# ------------------------------------------------------------------------------------------------------------ mmaction


def from_mmaction(annotation: Any, joints: int, where: str) -> Pose:
    """Poses of one video from an annotation of mmaction2: the person who covers most over all frames.

    ``keypoint`` is ``[M, T, V, 2]`` and ``keypoint_score`` ``[M, T, V]``: persons, frames, joints.

    Raises:
        VideoError: arrays are missing, three-dimensional, or do not fit together.
    """
    keypoint, score = annotation.get("keypoint"), annotation.get("keypoint_score")
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != 4:
        raise _damaged(f"{where} has no array `keypoint` of persons × frames × joints × 2")
    if keypoint.shape[3] != 2:
        raise _damaged(f"{where} has joints in {keypoint.shape[3]} dimensions; poses in the picture have 2")
    if score is None:  # ground truth has none; what was not placed is at the corner
        score = (keypoint != 0).any(3).astype(np.float32)
    if not isinstance(score, np.ndarray) or score.shape != keypoint.shape[:3]:
        raise _damaged(f"{where}: `keypoint_score` does not fit `keypoint` {list(keypoint.shape)}")
    frames = annotation.get("total_frames", keypoint.shape[1])
    if frames != keypoint.shape[1]:
        raise _damaged(f"{where}: `keypoint` has {keypoint.shape[1]} frames, `total_frames` says {frames}")
    if not len(keypoint):
        raise VideoError("no_person", f"{where} has no person")
    keypoint, score = keypoint.astype(np.float32), score.astype(np.float32)
    sizes = area(boxes_of(keypoint, score > 0)).sum(1)
    person = int(np.nan_to_num(sizes).argmax())
    return checked(keypoint[person], score[person], joints, where)


def _mmaction_file(path: Path, joints: int, all_ids: list[str]) -> Callable[[str], Pose]:
    content = pickles.load(path)
    annotations = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(annotations, list) or not all(
        isinstance(item, dict) and isinstance(item.get("frame_dir"), str) for item in annotations
    ):
        raise ForeignFileError(
            f"{path} is not mmaction2's: a list of annotations, each with a `frame_dir`, is expected"
        )
    rows = Rows([item["frame_dir"] for item in annotations], all_ids, str(path))
    return _by_name(rows, path.name, lambda row: from_mmaction(annotations[row], joints, annotations[row]["frame_dir"]))


# ---------------------------------------------------------------------------------------------------------------- COCO


@dataclass(frozen=True)
class Person:
    """One person in one frame: ``points`` ``[J, 3]`` of x, y and confidence; ``size`` of the box in pixels."""

    frame: int
    points: np.ndarray
    size: float
    track: Any


def _person(annotation: Any, frame: int, where: str) -> Person | None:
    """One annotation; None where it has no keypoints (a crowd, a person who is too small)."""
    points = annotation.get("keypoints")
    if not points or annotation.get("num_keypoints") == 0:
        return None
    try:
        points = np.array(points, np.float64).reshape(-1, 3)
        box = annotation.get("bbox")
        size = float(box[2]) * float(box[3]) if box else float(area(boxes_of(points[:, :2], points[:, 2] > 0)))
    except (ValueError, TypeError, IndexError):
        raise ForeignFileError(f"{where}: `keypoints` must be x, y, v of every joint and `bbox` x, y, w, h") from None
    if "score" not in annotation and np.isin(points[:, 2], [0, 1, 2]).all():
        # Flags of the data set: 1 was placed but is hidden, 2 is visible.
        points[:, 2] /= 2
    track = next((annotation[key] for key in ("track_id", "person_id", "idx") if annotation.get(key) is not None), None)
    return Person(frame, points, size, json.dumps(track))


def _number(name: str, where: str) -> int:
    """The frame number at the end of a file name."""
    digits = re.search(r"(\d{1,18})$", PurePosixPath(name).stem)
    if not digits:
        raise ForeignFileError(f"{where}: the picture {name} has no frame number at the end of its name")
    return int(digits[1])


def _coco_videos(content: Any, where: str) -> dict[str, tuple[set[int], list[Person]]]:
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
        raise ForeignFileError(f"{where} is no COCO keypoint file: `images` and `annotations`, or a list of results")
    place: dict[Any, tuple[str, int]] = {}
    videos: dict[str, tuple[set[int], list[Person]]] = defaultdict(lambda: (set(), []))
    try:
        for image in images or ():
            name = str(image["file_name"])
            parent = str(PurePosixPath(name).parent)
            video = parent if parent != "." else str(image.get("video_id", image.get("vid_id", "")))
            if image["id"] in place:
                raise ForeignFileError(f"{where} has the image id {image['id']} twice")
            place[image["id"]] = (video, _number(name, where))
            videos[video][0].add(place[image["id"]][1])
        for annotation in annotations:
            key = annotation["image_id"]
            if images is None:
                folder = str(PurePosixPath(str(key)).parent)
                video, frame = (folder if folder != "." else "", _number(str(key), where))
            elif key in place:
                video, frame = place[key]
            else:
                raise ForeignFileError(f"{where}: an annotation names the image {key}, which is not in `images`")
            person = _person(annotation, frame, where)
            videos[video][0].add(frame)
            if person:
                videos[video][1].append(person)
    except (KeyError, TypeError, AttributeError) as error:
        raise ForeignFileError(f"{where} is no COCO keypoint file ({type(error).__name__}: {error})") from None
    return dict(videos)


def main_person(persons: Iterable[Person]) -> list[Person]:
    """One person per frame: the track that covers most over all frames, or the largest of each frame without tracks."""
    found = sorted(persons, key=lambda person: (person.frame, -person.size))
    if all(person.track != "null" for person in found):
        covered: dict[Any, float] = defaultdict(float)
        for person in found:
            covered[person.track] += person.size
        main = max(sorted(covered), key=covered.__getitem__, default=None)
        found = [person for person in found if person.track == main]
    chosen: dict[int, Person] = {}
    for person in found:
        chosen.setdefault(person.frame, person)
    return list(chosen.values())


def from_coco(frames: set[int], persons: list[Person], joints: int, where: str) -> Pose:
    """Poses of one video. Frame numbers count from 0 or from 1; a frame that is not named has no person.

    Raises:
        VideoError: no person, another number of joints, or numbers that are not those of frames.
    """
    if not persons:
        raise VideoError("no_person", f"{where} has keypoints of nobody")
    first = 0 if min(frames) == 0 else 1
    n_frames = max(frames) - first + 1
    if n_frames > MAX_FRAMES or n_frames > 100 * len(frames) + 1000:
        raise _damaged(f"{where} numbers {len(frames)} frames up to {max(frames)}; these are no frames of one video")
    widths = {len(person.points) for person in persons}
    if widths != {joints}:
        raise _damaged(f"{where} has {sorted(widths)} joints, motion.poses.skeleton has {joints}")
    points = np.zeros((n_frames, joints, 3), np.float64)
    for person in main_person(persons):
        points[person.frame - first] = person.points
    return checked(points[..., :2], points[..., 2], joints, where)


def _coco_folder(folder: Path, joints: int, video_id: str) -> Pose:
    path = folder / f"{video_id}.json"
    if not path.is_file():
        raise VideoError("missing", f"{folder.name}/{video_id}.json does not exist")
    try:
        videos = _coco_videos(read_json(path), path.name)
    except ForeignFileError as error:
        raise _damaged(str(error)) from None
    if len(videos) != 1:
        raise _damaged(f"{path.name} holds {len(videos)} videos, not one")
    return from_coco(*next(iter(videos.values())), joints, path.name)


def _coco_file(path: Path, joints: int, all_ids: list[str]) -> Callable[[str], Pose]:
    videos = _coco_videos(read_json(path), str(path))
    if set(videos) == {""} and len(all_ids) > 1:
        raise ForeignFileError(
            f"{path} does not tell which video a picture belongs to: `file_name` needs a folder, or an image `video_id`"
        )
    names = list(videos)
    return _by_name(
        Rows(names, all_ids, str(path)), path.name, lambda row: from_coco(*videos[names[row]], joints, names[row])
    )


# ------------------------------------------------------------------------------------------------------------- the one


def files_of(folder: Path, ids: list[str]) -> list[Path]:
    """Files of these videos in a folder with one file per video, in the order of the ids."""
    names = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in (*SUFFIXES, ".json")}
    return [names[key] for key in ids if key in names]


def pose_reader(source: str, place: Path, joints: int, all_ids: list[str]) -> Callable[[str], Pose]:
    """How to get the poses of a video by its id, for one value of ``motion.poses.source``.

    Args:
        source: penn_action, coco, mmaction or arrays.
        place: a folder with one file per video, or one file for all (mmaction: always one file).
        joints: of the configured skeleton.
        all_ids: of the whole data set, to tell which bare names are unique.

    Returns:
        video id → ``keypoints`` ``[F, J, 2]``, ``confidence`` ``[F, J]``, ``box`` ``[F, 4]``, ``present`` ``[F]``; it
        raises `VideoError` for a video that is missing or damaged.

    Raises:
        ForeignFileError: the file or folder as a whole cannot be used.
    """
    if not place.exists():
        raise ForeignFileError(f"{place} does not exist; motion.poses.path names it, below the data set's root")
    if source == "penn_action":
        return lambda video_id: read_penn_action(place / f"{video_id}.mat")
    if place.is_dir():
        if source == "mmaction":
            raise ForeignFileError(f"{place} is a folder; motion.poses.path names the one pickle of all videos")
        return partial(_coco_folder if source == "coco" else _array_folder, place, joints)
    files = {"coco": _coco_file, "mmaction": _mmaction_file, "arrays": _array_file}
    return files[source](place, joints, all_ids)
