"""Stage `transfer`: heads trained on each set of contexts, and what they say of known and unknown videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.backbone.finetuning.tuned import named_backbone
from pipeline.backbone.samples import Samples, read_samples
from pipeline.data.settings import Index
from pipeline.data.table import join_shards
from pipeline.demo.synta.classes import FACTORS
from pipeline.jobs import stage
from pipeline.learning.heads import dense_head
from pipeline.learning.scaling import standardise, standardise_fit
from pipeline.methods.transfer.concepts import SparseHead, TrackConcepts, discover, of_key_clips, sparse_head
from pipeline.methods.transfer.contexts import Contexts, contexts_of, sentence
from pipeline.methods.transfer.measure import BACKGROUNDS, Predictions, measured
from pipeline.methods.transfer.model import Model
from pipeline.methods.transfer.settings import Transfer
from pipeline.motion.motion_concepts import KeyClips, read_pose_clips
from pipeline.motion.settings import Tracks
from pipeline.store.atomic import replace_when_done
from pipeline.store.plain import as_json

Predict = Callable[[np.ndarray], np.ndarray]
SHUFFLED, BACKWARD = "shuffled", "backward"
_SHOWN = 6  # classes whose looks are kept


@dataclass(frozen=True)
class Looks:
    """Where networks look in m videos.

    Attributes:
        values: ``[m, S, h, w]``, sums to 1 over a clip; row: of the videos ``[m]``; said: classes ``[m]``.
        model, role: of each.
    """

    values: np.ndarray
    row: list[int]
    said: list[int]
    model: list[str]
    role: list[str]

    @classmethod
    def none(cls) -> Looks:
        return cls(np.zeros((0, 0, 0, 0), np.float32), [], [], [], [])

    def joined(self, rows: np.ndarray, model: str, role: str, said: np.ndarray, values: np.ndarray) -> Looks:
        return Looks(
            np.concatenate([self.values, values]) if len(self.row) else values,
            [*self.row, *rows.tolist()],
            [*self.said, *said.tolist()],
            [*self.model, *[model] * len(rows)],
            [*self.role, *[role] * len(rows)],
        )


def first_of_classes(label: np.ndarray, most: int) -> np.ndarray:
    """Row of the first video of each of the first classes."""
    return np.unique(label, return_index=True)[1][:most]


class Judge:
    """Collects what models say of the videos that they are judged by."""

    def __init__(self, contexts: Contexts, n_classes: int):
        self.contexts, self.n_classes = contexts, n_classes
        self.rows: list[dict[str, Any]] = []

    def ask(self, model: str, train_set: int, seed: int, plain: bool, predict: Predict, level: str = "coarse") -> None:
        """Note predictions in every role.

        Args:
            predict: bool ``[n]`` of the videos → their classes.
        """
        for role in ("known", "unknown", *(() if plain else FACTORS)):
            self.note(model, train_set, seed, plain, role, self.contexts.role(role, train_set, plain), predict, level)

    def note(
        self,
        model: str,
        train_set: int,
        seed: int,
        plain: bool,
        role: str,
        chosen: np.ndarray,
        predict: Predict,
        level: str = "coarse",
    ) -> None:
        if not chosen.any():
            return
        said = predict(chosen)
        label = (self.contexts.label if level == "coarse" else self.contexts.fine)[chosen]
        common = {"model": model, "level": level, "train_set": train_set, "seed": seed, "role": role}
        common["background"] = BACKGROUNDS[plain]
        for row, truth, answer in zip(np.flatnonzero(chosen), label, said, strict=True):
            self.rows.append({**common, "row": int(row), "label": int(truth), "predicted": int(answer)})


def backgrounds(contexts: Contexts, train_set: int) -> list[bool]:
    """Kinds of background that a set can be trained on: realistic, and plain where there is one."""
    return [plain for plain in (False, True) if contexts.trained(train_set, plain).any()]


def linear(judge: Judge, features: np.ndarray, train_set: int) -> SparseHead:
    """A dense layer over the features; returned is that of realistic backgrounds."""
    contexts, found = judge.contexts, None
    for plain in backgrounds(contexts, train_set):
        seen = contexts.trained(train_set, plain)
        val = seen & contexts.validation
        mean, std = standardise_fit(features[seen & ~val])
        z = standardise(features, mean, std)
        head = dense_head(z, contexts.label, seen & ~val, val, judge.n_classes)
        judge.ask("linear", train_set, 0, plain, lambda rows, z=z, h=head: (z[rows] @ h.weight.T + h.bias).argmax(1))
        found = found or SparseHead(head.weight, head.bias, mean, std)
    assert found is not None
    return found


def of_tracks(
    judge: Judge, name: str, tracks: np.ndarray, train_set: int, settings: Transfer, windows: Tracks
) -> tuple[TrackConcepts, SparseHead]:
    """Concepts of tracks and a sparse layer; returned are those of realistic backgrounds."""
    contexts, found = judge.contexts, None
    for plain in backgrounds(contexts, train_set):
        seen = contexts.trained(train_set, plain)
        concepts = discover(tracks[seen], settings.n_concepts, windows.length, windows.stride)
        z = concepts.activations(tracks)
        val = seen & contexts.validation
        head = sparse_head(z, contexts.label, seen & ~val, val, judge.n_classes)
        judge.ask(name, train_set, 0, plain, lambda rows, z=z, h=head: h.logits(z[rows]).argmax(1))
        found = found or (concepts, head)
    assert found is not None
    return found


def networks(judge: Judge, maps: np.ndarray, controls: dict[str, Any], train_set: int, settings: Transfer) -> Looks:
    """Networks over the frames of the maps, with all seeds; and the variants of disentanglement, paired by seed.

    Args:
        maps: ``[n, S, h, w, D]``; controls: rows of the videos, and their maps shuffled and backward.

    Returns:
        Where the first networks of realistic backgrounds look in some known and unknown videos.
    """
    import torch

    from pipeline.methods.transfer import networks as nets

    contexts = judge.contexts
    recipe = nets.Recipe(**settings.model_dump(include=set(nets.Recipe.__dataclass_fields__)))
    label, fine = (torch.from_numpy(values) for values in (contexts.label, contexts.fine))
    looks = Looks.none()
    for plain in backgrounds(contexts, train_set):
        seen = contexts.trained(train_set, plain)
        for moving in (False, True):
            wanted = "moving" if moving else "temporal"
            variants = [("base", wanted)] if wanted in settings.models else []
            if moving and not plain and "disentangled" in settings.models:
                known = bool((contexts.fine[seen] >= 0).all())  # lists of the release do not tell fine classes
                variants += [(name, f"disentangled: {name}") for name in nets.VARIANTS[1:] if known]
            if not variants:
                continue
            reduction = nets.reduction_of(maps[seen], settings.channels, moving)
            own = reduction(maps[seen], moving)
            roles = {role: contexts.role(role, train_set, plain) for role in ("known", "unknown")}
            roles |= {} if plain else {role: contexts.role(role, train_set) for role in FACTORS}
            roles = {role: rows for role, rows in roles.items() if rows.any()}  # real videos have no factors
            looked = {role: reduction(maps[rows], moving) for role, rows in roles.items()}
            changed = {}
            if controls and not plain:
                for change in (SHUFFLED, BACKWARD):
                    rows = contexts.role("known", train_set)[controls["row"]]
                    changed[change] = (controls["row"][rows], reduction(controls[change][rows], moving))
            for variant, name in variants:
                for seed in range(settings.seeds):
                    net = nets.train(variant, own, label[seen], fine[seen], judge.n_classes, recipe, seed)
                    for role, rows in roles.items():
                        answer = lambda _, net=net, x=looked[role]: nets.predict(net, x)  # noqa: E731
                        judge.note(name, train_set, seed, plain, role, rows, answer)
                    for role in ("known", "unknown") if variant == "base" and not plain and seed == 0 else ():
                        first = first_of_classes(contexts.label[roles[role]], _SHOWN)
                        said, where = nets.attention(net, looked[role][first])
                        rows = np.flatnonzero(roles[role])[first]
                        looks = looks.joined(rows, name, role, said, where.reshape(*where.shape[:2], *maps.shape[2:4]))
                    for change, (rows, inputs) in changed.items() if variant == "base" else ():
                        order = np.argsort(rows)
                        mask = np.isin(np.arange(len(contexts.label)), rows)
                        answer = lambda _, net=net, x=inputs, o=order: nets.predict(net, x)[o]  # noqa: E731
                        judge.note(name, train_set, seed, plain, change, mask, answer)
    return looks


def _networks(call: tuple) -> tuple[list[dict[str, Any]], Looks]:
    """What `networks` notes and gives, in a process of its own."""
    import torch

    torch.set_num_threads(1)
    contexts, n_classes, maps, controls, train_set, settings = call
    judge = Judge(contexts, n_classes)
    looks = networks(judge, maps, controls, train_set, settings)
    return judge.rows, looks


@dataclass(frozen=True)
class Space:
    """Where clips and names meet: unit vectors of clips ``[n, E]``, of coarse names, and of each set's fine names."""

    videos: np.ndarray
    coarse: np.ndarray
    fine: dict[int, np.ndarray]


def of_texts(judge: Judge, name: str, space: Space, train_set: int, plains: list[bool]) -> None:
    """The nearest class text; what is known and unknown differs in its videos, and in fine classes in its names too."""
    contexts, videos = judge.contexts, space.videos
    for plain in plains:
        judge.ask(name, train_set, 0, plain, lambda rows: (videos[rows] @ space.coarse.T).argmax(1))
    for role, s in (("known", train_set), ("unknown", 3 - train_set)):
        if s in space.fine:
            rows = contexts.role(role, train_set) & (contexts.fine >= 0)
            say = lambda rows, s=s: (videos[rows] @ space.fine[s].T).argmax(1)  # noqa: E731
            judge.note(name, train_set, 0, False, role, rows, say, "fine")


def zero_shot(judge: Judge, embeddings: np.ndarray, names: list[str], encode: Callable, train_sets: list[int]) -> None:
    """A dual encoder as it is; encode: texts → their unit vectors ``[k, E]``."""
    fine = {s: encode(own) for s, own in judge.contexts.fine_names.items() if own}
    space = Space(embeddings, encode([sentence(name) for name in names]), fine)
    for train_set in train_sets:
        of_texts(judge, "zero_shot", space, train_set, backgrounds(judge.contexts, train_set))


def prompted(judge: Judge, job: stage.Job, samples: Samples, train_sets: list[int]) -> None:
    """The dual encoder with what was learned on each set.

    Raises:
        StageError: a video that is judged has no row.
    """
    ((arrays, described),) = job.read_arrays("prompted")
    for train_set in train_sets:
        own = {name.rpartition("/")[0]: value for name, value in arrays.items() if name.endswith(f"/{train_set}")}
        videos, there = samples.align(described["video_id"], own["embeddings"])
        missing = np.flatnonzero(~there & ~judge.contexts.plain)
        if len(missing):
            key = samples.videos.video_id[missing[0]]
            raise stage.StageError(f"prompted: `{key}` has a feature, but no row; delete prompted and run again")
        fine = {s: own[f"fine_{s}"] for s in (1, 2) if f"fine_{s}" in own}
        of_texts(judge, "prompt", Space(videos, own["coarse"], fine), train_set, [False])


def of_poses(judge: Judge, clips: KeyClips, train_set: int, settings: Transfer) -> None:
    """Concepts of a person's key clips and a sparse layer."""
    seen = judge.contexts.trained(train_set)
    val = seen & judge.contexts.validation
    z = of_key_clips(clips.flat, clips.row, clips.start, seen, settings.n_concepts)
    head = sparse_head(z, judge.contexts.label, seen & ~val, val, judge.n_classes)
    judge.ask("concepts (poses)", train_set, 0, False, lambda rows: head.logits(z[rows]).argmax(1))


def _aligned(job: stage.Job, samples: Samples, name: str, array: str) -> np.ndarray:
    """An array of a sharded input, a row for each sample.

    Raises:
        StageError: a video that has a feature has no row there.
    """
    joined = join_shards(job, name, array)
    values, there = samples.align(joined.video_id, joined.values)
    if not there.all():
        missing = samples.videos.video_id[np.flatnonzero(~there)[0]]
        raise stage.StageError(f"{name}: `{missing}` has a feature, but no {array}; delete {name} and run again")
    return values


def train_sets_of(contexts: Contexts, index: Index) -> list[int]:
    """Sets that are trained on in turn.

    Raises:
        StageError: a set cannot be learned from, or there is nothing to judge by.
    """
    wanted = [index.train_set] if index.train_set else [1, 2]
    for s in wanted:
        seen = contexts.trained(s)
        for what, rows in (("train", seen & ~contexts.validation), ("validation", seen & contexts.validation)):
            if not rows.any():
                raise stage.StageError(f"set {s} has no {what} video with a feature; look at index and decode")
        absent = set(contexts.label.tolist()) - set(contexts.label[seen & ~contexts.validation].tolist())
        if absent:
            raise stage.StageError(f"set {s} has no train video of {len(absent)} coarse classes; add videos of them")
        for role in ("known", "unknown"):
            if not contexts.role(role, s).any():
                raise stage.StageError(f"there is no {role} video for who trains on set {s}")
    return wanted


def _told(samples: Samples, contexts: Contexts, judge: Judge) -> Iterator[tuple[str, Any]]:
    for name in ("model", "level", "background", "role"):
        yield name, pa.array([row[name] for row in judge.rows], pa.string()).dictionary_encode()
    for name in ("train_set", "seed", "label", "predicted"):
        yield name, pa.array([row[name] for row in judge.rows], pa.int32())
    yield "video_id", pa.array([samples.videos.video_id[row["row"]] for row in judge.rows], pa.string())
    yield "fine", pa.array([int(contexts.fine[row["row"]]) for row in judge.rows], pa.int32())


def build(job: stage.Job) -> None:
    """Train everything that is asked for on each set; write the model, predictions and figures."""
    settings = Transfer.model_validate(job.settings["transfer"])
    index = Index.model_validate(job.settings["index"])
    samples = read_samples(job, "transfer")
    stage.limit_threads(samples.features.size)
    names = samples.videos.class_names
    contexts = contexts_of(samples.videos, index, job.root)
    train_sets = train_sets_of(contexts, index)
    judge = Judge(contexts, len(names))
    about = {"dataset": job.dataset, "train_set": train_sets[0], **_look(job)}
    model = None
    for s in train_sets:
        head = linear(judge, samples.features, s)
        model = model or Model(names, head, None, about)
    if job.given("tracks"):
        windows = Tracks.model_validate(job.settings["tracks"])
        about |= {"tracks": job.settings["tracks"]}
        held = [item for item in ("truth", "found") if item in _arrays_of(job)]
        for which in held:
            tracks = _aligned(job, samples, "tracks", which)
            made = [of_tracks(judge, f"concepts ({which})", tracks, s, settings, windows) for s in train_sets]
            concepts, head = made[0]
            model = Model(names, head, concepts, about)
    if job.given("pose_clips"):
        clips = read_pose_clips(job, samples.videos)
        for s in train_sets:
            of_poses(judge, clips, s, settings)
    looks = Looks.none()
    if job.given("maps"):
        maps = _aligned(job, samples, "maps", "maps")
        controls: dict[str, Any] = {}
        for arrays, described in job.read_arrays("controls"):
            row = samples.videos.rows_of(described["video_id"])
            known = row >= 0
            controls = {"row": row[known], **{change: arrays[change][known] for change in (SHUFFLED, BACKWARD)}}
        calls = [(contexts, len(names), maps, controls, s, settings) for s in train_sets]
        with ProcessPoolExecutor(min(job.threads, len(calls))) as pool:
            done = list(pool.map(_networks, calls))
        judge.rows += [row for rows, _ in done for row in rows]
        looks = done[0][1]
    if job.given("dual_encoder"):
        from pipeline.context.encoders import load_dual_encoder

        text = job.settings["texts"]
        encoder = load_dual_encoder(text["model"], text["revision"], text["sha256"], job.runtime)
        zero_shot(judge, _aligned(job, samples, "dual_encoder", "embeddings"), names, encoder.texts, train_sets)
    if job.given("prompted"):
        prompted(judge, job, samples, train_sets)
    ids = [samples.videos.video_id[row] for row in looks.row]
    told = {"video_id": ids, "model": looks.model, "role": looks.role, "said": [names[k] for k in looks.said]}
    job.write_arrays("looks", {"looks": looks.values}, told, n_ok=len(ids))
    table = pa.table(dict(_told(samples, contexts, judge)))
    attributes = {
        "class_names": names,
        "fine_names": {str(s): own for s, own in contexts.fine_names.items()},
        "partner": contexts.partner.tolist(),
        "dataset": job.dataset,
        "tuned": bool(job.given("finetuned")),
    }
    job.write_table("predictions", table, attributes)
    found = measured(Predictions.of(table, attributes))
    with replace_when_done(job.outputs["metrics"]) as file:
        file.write_text(as_json({**found, "seconds": job.took}))
    assert model is not None
    model.save(job.outputs["model"])


def _arrays_of(job: stage.Job) -> set[str]:
    """Names of the arrays that tracks have."""
    return set(next(iter(job.read_arrays("tracks")))[0])


def _look(job: stage.Job) -> dict[str, Any]:
    """What a model file says of a new video's way."""
    return {"decode": job.settings["decode"], **named_backbone(job)}


if __name__ == "__main__":
    stage.run("transfer", build)
