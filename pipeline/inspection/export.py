"""Caches in other people's formats: NumPy files, COCO keypoints, samples for FiftyOne."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.entries import PICTURE_SUFFIXES
from pipeline.inspection.cache import (
    SHARD,
    InspectionError,
    artifacts_in,
    attributes_of,
    index_of,
    kind_of,
    nearest,
    shards_in,
)
from pipeline.inspection.rows import RowIndex
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import new_folder, replace_when_done
from pipeline.store.plain import as_json
from pipeline.store.tables import read_table


def by_kind(path: Path) -> dict[str, list[Path]]:
    """Artifacts of a folder, or a single one: name without suffix and shard → its shards in their order.

    Raises:
        InspectionError: there is none, one cannot be read, or shards of different counts lie side by side.
    """
    paths = [path] if path.is_file() else artifacts_in(path)
    base = path.parent if path.is_file() else path
    kinds: dict[str, list[Path]] = {}
    for item in paths:
        attributes_of(item)  # refuses what cannot be read before anything is written
        kind, shard = kind_of(item.relative_to(base).as_posix())
        name = kind.removesuffix(".zarr.zip").removesuffix(".parquet").removesuffix("{shard}").strip("/")
        if path.is_file() and shard:
            name = item.name[: SHARD.match(item.name).end()]
        # A table and arrays of one name, as of the concept layers, keep their own folders.
        if item.suffix == ".parquet" and item.with_name(item.name.replace(".parquet", ".zarr.zip")).is_file():
            name += ".table"
        kinds.setdefault(name or path.name, []).append(item)
    for name, items in kinds.items():
        counts = {kind_of(item.name)[1].rpartition("-")[2] for item in items}
        if len(counts) > 1:
            raise InspectionError(
                f"{name} has shards of {' and '.join(sorted(counts))}; `conceptreel prune` tells which are left over"
            )
    return kinds


# ---------------------------------------------------------------------------------------------------------------- .npy


def _write_attributes(folder: Path, records: list[dict[str, Any]], lengths: list[set[int | None]]) -> None:
    """Attributes of all shards: those of the first, and what goes on in the others.

    Args:
        lengths: for every shard, how long its lists with an entry per video or per row are.
    """
    result: dict[str, Any] = {}
    for record, own in zip(records, lengths, strict=True):
        for key, value in record.items():
            if key in ("content_digest", "provenance", "schema", "schema_version"):
                continue
            if key in result and isinstance(value, list) and (key == "failed" or len(value) in own):
                result[key] = result[key] + value
            else:
                result.setdefault(key, value)
    (folder / "attributes.json").write_text(as_json(result, None) + "\n", encoding="utf-8")


def _write_arrays(paths: list[Path], folder: Path) -> None:
    """The arrays of all shards, one file each: rows one after the other, offsets and row numbers continued."""
    with contextlib.ExitStack() as stack:
        shards = [stack.enter_context(Arrays(path)) for path in paths]
        indices = [RowIndex(shard) for shard in shards]
        # Python's integers leave the arrays their types.
        videos = list(accumulate((len(index.video_id) for index in indices), initial=0))
        rows = list(accumulate((index.length() or 0 for index in indices), initial=0))
        for name in shards[0].names():
            target = folder / f"{name}.npy"
            target.parent.mkdir(parents=True, exist_ok=True)
            if name == "offsets" and indices[0].video_id:
                parts = [shard[name][1:] + first for shard, first in zip(shards, rows, strict=False)]
                np.save(target, np.concatenate([shards[0][name][:1], *parts]))
            elif name == "row":
                parts = [shard[name] + first for shard, first in zip(shards, videos, strict=False)]
                np.save(target, np.concatenate(parts))
            else:
                _write_rows(name, shards, target)
        lengths = [{len(index.video_id), index.length()} for index in indices]
        _write_attributes(folder, [shard.attributes for shard in shards], lengths)


def _write_rows(name: str, shards: list[Arrays], target: Path) -> None:
    """One array of all shards, of which one at a time is in memory."""
    described = [shard.describe(name) for shard in shards]
    ends = np.cumsum([each["shape"][0] for each in described])
    shape = (int(ends[-1]), *described[0]["shape"][1:])
    file = np.lib.format.open_memmap(target, "w+", np.dtype(described[0]["dtype"]), shape)
    for shard, each, end in zip(shards, described, ends, strict=True):
        file[end - each["shape"][0] : end] = shard[name]
    file.flush()


def _column(column: pa.ChunkedArray) -> dict[str, np.ndarray]:
    """A column as arrays, without objects: they could only be pickled."""
    if not pa.types.is_list(column.type):
        return {"": _values(column)}
    lists = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    offsets = np.cumsum([0, *lengths.to_pylist()]).astype(np.int64)
    flat = lists.flatten()
    if not pa.types.is_struct(flat.type):
        return {"": _values(flat), "_offsets": offsets}
    return {"_offsets": offsets} | {f"_{field.name}": _values(flat.field(field.name)) for field in flat.type}


def _values(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column as numbers or text. Where numbers are null they become float64 with NaN, text becomes empty.

    Raises:
        InspectionError: its type has no counterpart that can be stored without pickling.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        return np.array(column.fill_null("").to_pylist(), np.str_)
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    if column.null_count and any(is_kind(column.type) for is_kind in kinds):
        return np.array([math.nan if value is None else value for value in column.to_pylist()], np.float64)
    values = np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy())
    if values.dtype.hasobject:
        raise InspectionError(f"a column of {column.type} has no counterpart in NumPy; read it with pyarrow")
    return values


def _write_tables(paths: list[Path], folder: Path) -> None:
    read = [read_table(path) for path in paths]
    table = pa.concat_tables([table for table, _ in read])
    for name in table.column_names:
        for suffix, values in _column(table[name]).items():
            np.save(folder / f"{name}{suffix}.npy", values, allow_pickle=False)
    _write_attributes(folder, [record for _, record in read], [set() for _ in read])


def export_npy(path: Path, out: Path) -> list[str]:
    """Write every array as ``OUT/<artifact>/<array>.npy``, shards joined, with ``attributes.json`` beside it.

    Where ``path`` holds artifacts of one kind only, its arrays are ``OUT/<array>.npy``.

    Returns:
        Names of the exported artifacts.

    Raises:
        InspectionError: nothing there, or unreadable.
        StageError: ``out`` is taken.
    """
    kinds = by_kind(path)
    with new_folder(out) as folder:
        for name, paths in kinds.items():
            target = folder / name if len(kinds) > 1 else folder
            target.mkdir(parents=True, exist_ok=True)
            (_write_tables if paths[0].suffix == ".parquet" else _write_arrays)(paths, target)
    return sorted(kinds)


# ----------------------------------------------------------------------------------------------------------- selecting


def _wanted(known: Iterable[str], chosen: list[str] | None, what: str) -> set[str]:
    """The chosen videos, or all.

    Raises:
        InspectionError: one is not known; with the nearest names.
    """
    known = set(known)
    for name in chosen or ():
        if name not in known:
            raise InspectionError(f"there is no video `{name}` in {what}{nearest(name, sorted(known))}")
    return set(chosen) if chosen else known


def _sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Video id → (width, height) in pixels, of the videos that were decoded."""
    sizes = {}
    for attributes in shards_in(folder, "data/signal").values():
        for key, width, height in zip(*(attributes[name] for name in ("video_id", "width", "height")), strict=True):
            sizes[key] = (width, height)
    return sizes


# ---------------------------------------------------------------------------------------------------------------- COCO


def coco_annotation(
    keypoints: np.ndarray, confidence: np.ndarray, box: np.ndarray, least: float, **fields: Any
) -> dict[str, Any]:
    """One person in COCO's layout.

    Args:
        keypoints: ``[J, 2]`` pixels; confidence: ``[J]``; box: ``[4]`` as x0, y0, x1, y1.
        least: joints of less confidence are "not labelled": visibility 0 at (0, 0), as COCO writes them.
        fields: ids and whatever else goes along.
    """
    sure = (confidence >= least) & np.isfinite(keypoints).all(1)
    points = np.where(sure[:, None], keypoints, 0.0).round(2)
    triples = np.concatenate([points, np.where(sure, 2, 0)[:, None]], 1)
    x0, y0, x1, y1 = (float(value) for value in box)
    return {
        **fields,
        "category_id": 1,
        "keypoints": [int(value) if i % 3 == 2 else float(value) for i, value in enumerate(triples.ravel())],
        "num_keypoints": int(sure.sum()),
        "keypoint_scores": [round(float(value), 4) for value in np.nan_to_num(confidence)],
        "score": round(float(np.nan_to_num(confidence).mean()), 4),
        "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
        "area": round((x1 - x0) * (y1 - y0), 2),
        "iscrowd": 0,
    }


def coco_category(name: str) -> dict[str, Any]:
    """The person category; COCO counts joints from 1."""
    from pipeline.motion.skeleton import skeleton

    joints = skeleton(name)
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(joints.joints),
        "skeleton": [[start + 1, end + 1] for start, end in joints.edges],
    }


def export_coco(folder: Path, out: Path, chosen: list[str] | None = None) -> int:
    """Write the poses of every frame as COCO keypoints: an image is a frame, an annotation a person.

    Frames are called ``<video id>/<frame, from 0, 6 digits>.jpg``; entries carry ``video_id`` and ``frame`` too.

    Args:
        chosen: video ids; all by default.

    Returns:
        Number of annotations.

    Raises:
        InspectionError: no poses, an unknown video, or ``out`` is not a JSON file.
    """
    if out.suffix != ".json":
        raise InspectionError(f"{out}: COCO keypoints are one file, name it with .json")
    shards = shards_in(folder, "motion/poses")
    if not shards:
        raise InspectionError(f"{folder} has no poses; `snakemake {folder}/model.pt` makes them in motion/poses/")
    ids = {key for header in shards.values() for key in header["video_id"]}
    wanted = _wanted(ids, chosen, f"the poses of {folder}")
    sizes = _sizes(folder)
    annotations = 0
    # Streamed: the poses of a large data set as Python objects would need tens of gigabytes.
    with replace_when_done(out) as temporary, open(temporary, "w") as images, open(f"{temporary}.part", "w+") as people:
        try:
            images.write('{"info": {"description": ' + as_json(f"Poses of {folder.resolve().name}") + "},\n")
            category = as_json([coco_category(next(iter(shards.values()))["skeleton"])], None)
            images.write(f'"licenses": [], "categories": {category},\n"images": [')
            image = 0
            for path, header in shards.items():
                least = header["provenance"]["settings"]["min_joint_confidence"]
                with Arrays(path) as artifact:
                    arrays = {name: artifact[name] for name in artifact.names()}
                for i, video in enumerate(header["video_id"]):
                    if video not in wanted:
                        continue
                    start, end = (int(value) for value in arrays["offsets"][i : i + 2])
                    for row in range(start, end):
                        image += 1
                        entry = {"id": image, "file_name": f"{video}/{row - start:06d}.jpg"}
                        entry |= {"video_id": video, "frame": row - start}
                        entry |= dict(zip(("width", "height"), sizes.get(video, ()), strict=False))
                        images.write((",\n" if image > 1 else "\n") + as_json(entry, None))
                        if not arrays["present"][row]:
                            continue
                        annotations += 1
                        person = coco_annotation(
                            *(arrays[name][row] for name in ("keypoints", "confidence", "box")),
                            least,
                            id=annotations,
                            image_id=image,
                            interpolated=bool(arrays["interpolated"][row]),
                        )
                        people.write((",\n" if annotations > 1 else "\n") + as_json(person, None))
            images.write('],\n"annotations": [')
            people.seek(0)
            shutil.copyfileobj(people, images)
            images.write("]}\n")
        finally:
            os.unlink(people.name)
    return annotations


# ------------------------------------------------------------------------------------------------------------ FiftyOne

_LABEL = "fiftyone.core.fields.EmbeddedDocumentField(fiftyone.core.labels.{})"
_STRING = "fiftyone.core.fields.StringField"
SAMPLE_FIELDS = {
    "video_id": _STRING,
    "status": _STRING,
    "group": _STRING,
    "ground_truth": _LABEL.format("Classification"),
    "motion": _LABEL.format("Classifications"),
    "object": _LABEL.format("Classifications"),
    "scene": _LABEL.format("Classifications"),
}
FRAME_FIELDS = {"pose": _LABEL.format("Keypoints")}
# Text concepts of a video that are written, strongest first.
TOP_CONCEPTS = 3


def _classification(label: str, confidence: float | None = None) -> dict[str, Any]:
    value: dict[str, Any] = {"_cls": "Classification", "label": label}
    return value if confidence is None else {**value, "confidence": round(float(confidence), 4)}


def _concepts(folder: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Video id → type → its concepts: the motion labels, and the strongest objects and scenes."""
    result: dict[str, dict[str, list[dict[str, Any]]]] = {}
    labels, names = (folder / "motion" / name for name in ("motion_labels.parquet", "motion_concepts.zarr.zip"))
    if labels.is_file() and names.is_file():
        table, _ = read_table(labels)
        called = attributes_of(names)["names"]
        for row in table.to_pylist():
            own = result.setdefault(row["video_id"], {})
            own["motion"] = [_classification(called[number]) for number in row["concepts"]]
    pseudo = folder / "context" / "pseudo_labels.zarr.zip"
    if pseudo.is_file():
        attributes = attributes_of(pseudo)
        types = np.array(attributes["types"])
        with Arrays(pseudo) as artifact:
            similarity = artifact["similarity"]
        for video, values in zip(attributes["video_id"], similarity, strict=True):
            for kind in ("object", "scene"):
                columns = np.flatnonzero(types == kind)
                order = columns[np.argsort(-values[columns], kind="stable")][:TOP_CONCEPTS]
                own = result.setdefault(video, {})
                own[kind] = [_classification(attributes["names"][m], values[m]) for m in order]
    return result


def frame_poses(
    keypoints: np.ndarray, confidence: np.ndarray, present: np.ndarray, width: int, height: int
) -> dict[str, Any]:
    """Frames of one video for FiftyOne, which counts them from 1 and wants points as parts of the picture.

    Args:
        keypoints: ``[F, J, 2]`` pixels; confidence: ``[F, J]``; present: bool ``[F]``.
    """
    frames = {}
    for row in np.flatnonzero(present):
        points = np.nan_to_num(keypoints[row] / (width, height)).round(5).tolist()
        person = {
            "_cls": "Keypoint",
            "label": "person",
            "points": points,
            "confidence": np.nan_to_num(confidence[row]).round(4).tolist(),
        }
        number = int(row) + 1
        frames[str(number)] = {"frame_number": number, "pose": {"_cls": "Keypoints", "keypoints": [person]}}
    return frames


def export_fiftyone(folder: Path, out: Path, root: Path, chosen: list[str] | None = None, poses: bool = True) -> int:
    """Write one sample per video: file, split, class, concepts, and the poses of its frames.

    The layout is that of ``fiftyone.Dataset.from_json``; FiftyOne itself is not needed here.

    Args:
        root: folder of the data set's videos, for absolute file paths.
        poses: False leaves out the frames, which make most of the file.

    Returns:
        Number of samples.

    Raises:
        InspectionError: no index, an unknown video, or ``out`` is not a JSON file.
    """
    from pipeline.motion.skeleton import skeleton

    if out.suffix != ".json":
        raise InspectionError(f"{out}: samples are one file, name it with .json")
    index, class_names = index_of(folder)
    wanted = _wanted(index, chosen, str(folder))
    pictures = all(Path(index[video]["path"]).suffix.lower() in PICTURE_SUFFIXES for video in wanted)
    concepts, sizes = _concepts(folder), _sizes(folder)
    poses = poses and not pictures
    shards = shards_in(folder, "motion/poses") if poses else {}
    where = {video: (path, i) for path, header in shards.items() for i, video in enumerate(header["video_id"])}
    head: dict[str, Any] = {
        "name": folder.resolve().name,
        "media_type": "image" if pictures else "video",
        "num_samples": len(wanted),
        "sample_fields": SAMPLE_FIELDS,
        "frame_fields": FRAME_FIELDS if shards else {},
        "info": {"classes": class_names},
    }
    if shards:
        joints = skeleton(next(iter(shards.values()))["skeleton"])
        edges = [list(edge) for edge in joints.edges]
        head["default_skeleton"] = {"_cls": "KeypointSkeleton", "labels": list(joints.joints), "edges": edges}
    with replace_when_done(out) as temporary, open(temporary, "w") as file:
        file.write(as_json(head, None)[:-1] + ', "samples": [')
        opened: tuple[Path | None, dict[str, np.ndarray]] = (None, {})
        # In the order of the shards, so that each is read once.
        order = sorted(wanted, key=lambda video: (str(where.get(video, ("",))[0]), video))
        for number, video in enumerate(order):
            row = index[video]
            own = concepts.get(video, {})
            sample = {
                "filepath": str((root / row["path"]).absolute()),
                "tags": [row["split"]],
                "metadata": None,
                "video_id": video,
                "status": row["reason"] or row["status"],
                "group": row["group"],
                "ground_truth": _classification(";".join(row["class_names"])),
                **{kind: {"_cls": "Classifications", "classifications": values} for kind, values in own.items()},
            }
            if video in where and video in sizes:
                path, i = where[video]
                if opened[0] != path:
                    with Arrays(path) as artifact:
                        names = ("offsets", "keypoints", "confidence", "present")
                        opened = (path, {name: artifact[name] for name in names})
                arrays = opened[1]
                part = slice(*(int(value) for value in arrays["offsets"][i : i + 2]))
                values = (arrays[name][part] for name in ("keypoints", "confidence", "present"))
                sample["frames"] = frame_poses(*values, *sizes[video])
            file.write((",\n" if number else "\n") + as_json(sample, None))
        file.write("]}\n")
    return len(order)
