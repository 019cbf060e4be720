"""A model on another data set, or on a split that it was not trained on: accuracy, and what an edited weight changes.

DANCE supplement 3.2 and 6.3: a model of UCF-101 is asked about UCF-101-SCUBA (other backgrounds) and Mimetics (mime),
and misleading weights between concepts and classes are edited by hand, without training.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.entries import plain
from pipeline.data.lines import lines_of
from pipeline.jobs.stage import Job, StageError, run
from pipeline.methods.dance.bottleneck.reading import readings_of
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, read_model
from pipeline.methods.dance.settings import Reading
from pipeline.store.arrays import read_arrays
from pipeline.store.names import NameUnknown, find
from pipeline.store.places import shards_of
from pipeline.store.plain import write_json
from pipeline.store.tables import read_table

# Settings of `data.decode` that decide what a model sees of a video.
SEEN = ("n_frames", "sampling", "stride", "size")
# Settings that name a network.
ENCODER = ("model", "revision", "sha256")
# Where shards lie below a results folder.
PLACES = {
    "features": "backbone/features",
    "maps": "backbone/maps",
    "clips": "data/clips",
    "poses": "motion/poses",
    "pose_clips": "motion/pose_clips",
    "dual_encoder": "context/dual_encoder",
}
# Settings of key clips without which they cannot be compared with medoids.
CUT = ("length", "normalise")


@dataclass(frozen=True)
class VideoSet:
    """Videos of a results folder that have a feature.

    Attributes:
        video_id: ``n`` ids; class_name: of each.
        features: ``[n, D]``; maps: ``[n, S, h, w, D']``, None for a model without maps.
        read: ``[n, n_read]``, NaN where nothing could be read; None for a model that reads nothing.
        class_names: of the data set.
    """

    video_id: list[str]
    class_name: list[str]
    features: np.ndarray
    maps: np.ndarray | None
    read: np.ndarray | None
    class_names: list[str]


@dataclass(frozen=True)
class Outcome:
    """Decisions on the videos whose classes the model knows.

    Attributes:
        label: true class of the model, int64 ``[n]``; decided: its decision.
        among: its decision among the classes that the videos have.
    """

    label: np.ndarray
    decided: np.ndarray
    among: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.decided == self.label


def files_in(results: Path) -> dict[str, list[Path]]:
    """What a finished run has for `read_videos`.

    Raises:
        StageError: there is no index.
    """
    index = results / "data" / "index.parquet"
    if not index.is_file():
        raise StageError(
            f"{results} holds no data/index.parquet; `snakemake --cores all {index}` makes it, and backbone/features "
            f"beside it what the model reads"
        )
    return {"index": [index], **{name: shards_of(results, place) for name, place in PLACES.items()}}


def read_videos(files: dict[str, list[Path]], results: str, split: str, model: ConceptModel) -> VideoSet:
    """Videos of a split with what the model reads of them.

    Args:
        files: ``index`` and those of `PLACES`, see `files_in`; results: what to call them in errors.

    Raises:
        StageError: there is no such split, no feature, or what is there was made by another encoder than the model's.
    """
    table, described = read_table(files["index"][0])
    rows = {row["video_id"]: row for row in table.to_pylist() if row["status"] == "ok"}
    splits = sorted({row["split"] for row in rows.values()})
    if split != "all" and split not in splits:
        raise StageError(f"{results} has no split `{split}`; it has {', '.join(splits)}, and --split all takes all")
    features = _joined(files, results, "features", "features")
    _check_encoder(files, results, model, features[2])
    maps = None
    if model.has_maps:
        maps = _joined(files, results, "maps", "maps")
        # A tuned network has another name where another data set takes it; it is known by its weights.
        unlike = {"pooling", *(ENCODER if _tuned(model, maps[2]) else ())}
        wanted, made = (
            {key: value for key, value in settings.items() if key not in unlike}
            for settings in (model.about["maps"], maps[2]["settings"])
        )
        if wanted != made:
            raise StageError(f"{results}/backbone/maps was made with other settings than those that the model reads")
    row_of_map = {key: row for row, key in enumerate(maps[0])} if maps else {}
    chosen = [
        row
        for row, key in enumerate(features[0])
        if key in rows and split in ("all", rows[key]["split"]) and (maps is None or key in row_of_map)
    ]
    if not chosen:
        raise StageError(f"no video of split `{split}` of {results} has a feature")
    ids = [features[0][row] for row in chosen]
    return VideoSet(
        ids,
        _single(ids, [rows[key]["class_names"] for key in ids]),
        features[1][chosen],
        maps[1][[row_of_map[key] for key in ids]] if maps else None,
        _read(files, results, ids, model),
        described["class_names"],
    )


def _read(files: dict[str, list[Path]], results: str, ids: list[str], model: ConceptModel) -> np.ndarray | None:
    """What the model reads of these videos ``[n, n_read]``, from their poses and embeddings.

    Raises:
        StageError: there are none, or they were made in a way that cannot be compared.
    """
    if not model.n_read:
        return None
    about, texts = model.about["reading"], model.layer.get("texts", np.zeros((0, 1)))
    n_motion = model.n_read - len(texts)
    result = np.full((len(ids), model.n_read), np.nan)
    row_of = {key: row for row, key in enumerate(ids)}
    for name in (*(("poses", "pose_clips") if n_motion else ()), *(("dual_encoder",) if len(texts) else ())):
        if not files[name]:
            raise StageError(f"{results}/{PLACES[name]} holds nothing, and the model reads it; make it with snakemake")
    if n_motion:
        for posed, clipped in zip(files["poses"], files["pose_clips"], strict=True):
            (poses, told), (clips, described) = read_arrays(posed), read_arrays(clipped)
            made = described["provenance"]["settings"]
            for key in CUT:
                if made[key] != about["pose_clips"][key]:
                    raise StageError(
                        f"{results}: motion.pose_clips.{key} is {made[key]}, the model was trained with "
                        f"{about['pose_clips'][key]}"
                    )
            joints, wanted = poses["keypoints"].shape[1], model.medoids.shape[2]
            if joints != wanted:
                raise StageError(f"{results}: its poses have {joints} joints, the model's {wanted}")
            settings, shown = Reading.model_validate(about["motion"]), (told["video_id"], described["video_id"])
            medoids, concept_of = model.read_medoids
            for key, values in readings_of(poses, shown[0], clips, shown[1], medoids, settings, concept_of):
                if key in row_of:
                    result[row_of[key], :n_motion] = values
    if len(texts):
        keys, values, record = _joined(files, results, "dual_encoder", "embeddings")
        wanted, made = about["dual_encoder"], record["settings"]
        for key in ENCODER[:2] if wanted["source"] == "computed" else ():
            if made.get(key) != wanted[key]:
                raise StageError(
                    f"{results}: context.dual_encoder.{key} is {made.get(key)}, the model's words are of {wanted[key]}"
                )
        for key, value in zip(keys, values, strict=True):
            if key in row_of:
                result[row_of[key], n_motion:] = model.scores(value)
    return result


def _single(ids: list[str], class_names: list[list[str]]) -> list[str]:
    several = [row for row, names in enumerate(class_names) if len(names) != 1]
    if several:
        raise StageError(
            f"the model decides between mutually exclusive classes; {len(several)} of {len(ids)} videos have none "
            f"or several labels, for example `{ids[several[0]]}`"
        )
    return [names[0] for names in class_names]


def _joined(
    files: dict[str, list[Path]], results: str, name: str, array: str
) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Ids, values and provenance of a sharded artifact."""
    paths = files[name]
    if not paths:
        raise StageError(
            f"{results}/{PLACES[name]} holds nothing; `snakemake --cores all "
            f"{results}/{PLACES[name]}/000-of-NNN.zarr.zip …` makes its shards"
        )
    parts = [read_arrays(path) for path in paths]
    ids = [key for _, attributes in parts for key in attributes["video_id"]]
    filled = [arrays[array] for arrays, _ in parts if len(arrays[array])]
    if not filled:
        raise StageError(f"no video of {results} has {name}")
    return ids, np.concatenate(filled), parts[0][1]["provenance"]


def _tuned(model: ConceptModel, record: dict[str, Any]) -> bool:
    """Whether an artifact with this provenance was made by the tuned network of a model."""
    return "finetuned" in model.about and record.get("weights") == model.about["finetuned"]


def _check_encoder(files: dict[str, list[Path]], results: str, model: ConceptModel, record: dict[str, Any]) -> None:
    """Refuse features of another network, or of clips that were cut another way."""
    wanted, made = model.about["features"], record["settings"]
    tuned = _tuned(model, record)
    if "finetuned" in model.about and not tuned:
        raise StageError(
            f"{results}: its features are not of the network that the model was tuned with; set "
            f"backbone.features.model to {wanted['model']} and backbone.finetune.enabled to false"
        )
    imported = made.get("source", "computed") != "computed" or wanted["source"] != "computed"
    for key in () if imported or tuned else ("model", "revision"):
        if made.get(key) != wanted[key]:
            raise StageError(
                f"{results}: backbone.features.{key} is {made.get(key)}, the model was trained on features of "
                f"{wanted[key]}; give both data sets the same encoder"
            )
    for path in files["clips"][:1]:
        cut = read_arrays(path)[1]["provenance"]["settings"]
        for key in () if imported else SEEN:
            needed = key != "stride" or cut.get("sampling") == "dense"
            if needed and cut.get(key) != model.about["decode"][key]:
                raise StageError(
                    f"{results}: data.decode.{key} is {cut.get(key)}, the model was trained with "
                    f"{model.about['decode'][key]}"
                )


def read_map(path: Path, there: Sequence[str], model: Sequence[str]) -> dict[str, int]:
    """Class of a data set → class of the model, from lines ``class of the data set,class of the model``.

    Args:
        there, model: the names of both.

    Raises:
        StageError: a line has no two parts, a class is unknown, or one stands there twice.
    """
    result: dict[str, int] = {}
    for number, line in lines_of(path, "--map names a file of `class of the data set,class of the model`"):
        if line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 2 or not all(parts):
            raise StageError(f"{path}, line {number}: expected `class of the data set,class of the model`")
        try:
            find(parts[0], there, "class of the data set")
            label = find(parts[1], model, "class of the model")
        except NameUnknown as error:
            raise StageError(f"{path}, line {number}: {error}") from None
        if parts[0] in result:
            raise StageError(f"{path}, line {number}: `{parts[0]}` is there twice")
        result[parts[0]] = label
    if not result:
        raise StageError(f"{path} maps no class")
    return result


def map_by_name(there: Sequence[str], model: Sequence[str]) -> dict[str, int]:
    """The classes that both have, whatever their spelling of blanks and capitals.

    Raises:
        StageError: there is none.
    """
    label_of = {plain(name): label for label, name in enumerate(model)}
    result = {name: label_of[plain(name)] for name in there if plain(name) in label_of}
    if not result:
        raise StageError("the data set and the model have no class name in common; say which is which with --map FILE")
    return result


def activations_of(model: ConceptModel, videos: VideoSet) -> np.ndarray:
    """Standardised activations ``[n, M]``.

    Raises:
        StageError: the features have another width than the model's.
    """
    try:
        maps = None if videos.maps is None else model.maps(videos.maps)
        return model.activations(videos.features, maps, videos.read)
    except ValueError as error:
        raise StageError(str(error)) from None


def decide(model: ConceptModel, z: np.ndarray, label: np.ndarray) -> Outcome:
    """Decisions on activations ``[n, M]`` with true classes ``[n]``."""
    logits = model.logits(z)  # [n, K]
    own = np.unique(label)
    return Outcome(label, logits.argmax(1), own[logits[:, own].argmax(1)])


def typed_weight(text: str) -> float:
    """A weight as somebody typed it.

    Raises:
        StageError: it is no finite number.
    """
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise StageError(f"`{text}` is no weight; a number is wanted, 0 cuts the concept off from the class")
    return weight


def with_weight(model: ConceptModel, concept: str, class_name: str, value: str) -> tuple[ConceptModel, dict[str, Any]]:
    """The model with one other concept-to-class weight (DANCE Figure 10), and what was changed.

    Args:
        concept: its name, or ``type:name`` where two types share one.
        value: as typed.

    Raises:
        NameUnknown: no such concept or class.
        StageError: the value is no finite number.
    """
    m, label = model.find_concept(concept), find(class_name, model.class_names, "class")
    edited = model.reweight(label, m, typed_weight(value))
    return edited, edited.about["edits"][-1]


def by_class(model: ConceptModel, outcome: Outcome) -> list[dict[str, Any]]:
    """Per class that occurs: number of videos, of right decisions, and what the wrong ones are mostly taken for."""
    rows = []
    for label in np.unique(outcome.label):
        own = outcome.label == label
        wrong = Counter(outcome.decided[own & ~outcome.right].tolist()).most_common(1)
        rows.append(
            {
                "class": model.class_names[label],
                "videos": int(own.sum()),
                "right": int((own & outcome.right).sum()),
                "taken_for": model.class_names[wrong[0][0]] if wrong else "",
            }
        )
    return rows


def evaluate(
    model: ConceptModel,
    files: dict[str, list[Path]],
    results: str,
    split: str,
    map_path: Path | None = None,
    weights: Sequence[tuple[str, str, str]] = (),
) -> dict[str, Any]:
    """Accuracy on the videos whose class the model knows, and what edited weights fix and break.

    Args:
        files, results: see `read_videos`.
        map_path: see `read_map`; without it classes are matched by name.
        weights: concept, class and weight as typed, tried on the model.

    Raises:
        StageError: no video has a class that the model knows, or see `read_videos`.
    """
    videos = read_videos(files, results, split, model)
    if map_path:
        mapped = read_map(map_path, videos.class_names, model.class_names)
    else:
        mapped = map_by_name(videos.class_names, model.class_names)
    known = np.array([name in mapped for name in videos.class_name])
    if not known.any():
        raise StageError(f"no video of split `{split}` has a class that the model knows")
    label = np.array([mapped[name] for name in videos.class_name if name in mapped], np.int64)
    z = activations_of(model, videos)[known]
    before = decide(model, z, label)
    answer: dict[str, Any] = {
        "results": results,
        "split": split,
        "n_videos": int(known.sum()),
        "n_left_out": int((~known).sum()),
        "n_classes": len(np.unique(label)),
        "top1": float(before.right.mean()),
        "top1_among_mapped": float((before.among == label).mean()),
        "classes": by_class(model, before),
    }
    if not weights:
        return answer
    edited, edits = model, []
    for concept, class_name, value in weights:
        edited, edit = with_weight(edited, concept, class_name, value)
        edits.append(edit)
    after = decide(edited, z, label)
    ids = np.array(videos.video_id, object)[known]
    return answer | {
        "edits": edits,
        "edited_top1": float(after.right.mean()),
        "fixed": ids[~before.right & after.right].tolist(),
        "broken": ids[before.right & ~after.right].tolist(),
    }


def build(job: Job) -> None:
    """Write what the model of one data set reaches on the videos of another."""
    model = read_model(job.note_file("model", job.input("model")))
    output = job.outputs["cross_domain"]
    # A set that is there for tests only belongs to the question as a whole.
    split = "test" if output.stem == job.dataset else "all"
    files = {name: job.given(name) for name in ("index", *PLACES)}
    answer = {"model": str(job.input("model")), **evaluate(model, files, f"results/{job.dataset}", split)}
    write_json(output, answer)


if __name__ == "__main__":
    run("cross_domain", build)
