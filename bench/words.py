"""Are the words for motions true, and do they tell actions apart?

python bench/words.py                                   # the generator's motions, whose joints in space are known
python bench/words.py --results results/demo            # the demo's key clips, from the poses of its network
python bench/words.py --results results/demo --true     # the same clips, from the true joints in the picture
python bench/words.py --distinct results/penn_action results/weizmann_small

A predicate is what a sentence states: a movement of a part, that one follows another, between which heights a hand
moves, or how a part stays. True are those that the same limits give on true quantities: angles between limbs in space,
heights, and horizontal distances. Two motion concepts are of different actions where the class that most of their
development videos belong to differs; all such pairs are counted.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402

from pipeline.data.entries import DEVELOPMENT  # noqa: E402
from pipeline.demo import figure  # noqa: E402
from pipeline.demo.clips import UNSEEN_ACTORS, performed  # noqa: E402
from pipeline.demo.plan import planned  # noqa: E402
from pipeline.demo.settings import Generate  # noqa: E402
from pipeline.motion.normalise import normalise  # noqa: E402
from pipeline.motion.skeleton import skeleton  # noqa: E402
from pipeline.motion.words import SIDES, Code, codes, describe, zone  # noqa: E402
from pipeline.store.arrays import read_arrays  # noqa: E402
from pipeline.store.tables import read_table  # noqa: E402

LENGTH = 20


def _angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    cosine = (first * second).sum(-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def true_codes(joints: np.ndarray) -> list[Code]:
    """What the parts of a person in space do; joints ``[L, 23, 3]`` of `pipeline.demo.figure`, y upwards."""
    trunk = joints[:, list(figure.SHOULDERS)].mean(1) - joints[:, list(figure.HIPS)].mean(1)
    unit = np.linalg.norm(trunk, axis=-1).mean()
    found, zones = {("trunk", ""): _angle(trunk, np.array([0.0, 1.0, 0.0]))}, {}
    for row, side in enumerate(SIDES):
        places = figure.SHOULDERS, figure.ELBOWS, figure.WRISTS, figure.HIPS, figure.KNEES, figure.ANKLES
        shoulder, elbow, wrist, hip, knee, ankle = (joints[:, place[row]] for place in places)
        found["knee", side] = _angle(knee - hip, ankle - knee)
        found["elbow", side] = _angle(elbow - shoulder, wrist - elbow)
        found["foot", side] = np.maximum(ankle[:, 1] - joints[:, figure.ANKLES[1 - row], 1], 0) / unit
        found["hand", side] = (wrist - shoulder)[:, 1] / unit
        found["reach", side] = np.linalg.norm((wrist - shoulder)[:, [0, 2]], axis=-1) / unit
        zones[side] = zone(found["hand", side], (wrist - hip)[:, 1] / unit)
    apart = joints[:, figure.ANKLES[0]] - joints[:, figure.ANKLES[1]]
    found["feet", ""] = np.linalg.norm(apart[:, [0, 2]], axis=-1) / unit
    return codes(found, zones)


def predicates(stated: list[Code]) -> set[tuple]:
    """What codes state, one by one."""
    result: set[tuple] = set()
    for code in stated:
        own = (code.kind, code.side)
        result |= {(*own, move) for move in code.moves}
        result |= {(*own, first, "then", second) for first, second in itertools.pairwise(code.moves)}
        if not code.moves:
            result.add((*own, "stays", *code.zones))
        elif code.zones:
            ends = code.zones[int(np.argmin(code.values))], code.zones[int(np.argmax(code.values))]
            result.add((*own, "between", *ends))
    return result


def generated(per_motion: int, seed: int = 1) -> Iterator[tuple[str, float, np.ndarray, np.ndarray]]:
    """Motion, degrees by which the person is turned, joints in space, and what perfect pose estimation sees of them."""
    rng = np.random.default_rng(seed)
    for motion, _ in itertools.product(figure.MOTIONS, range(per_motion)):
        amplitude = rng.uniform(0.82, 1.1)
        style = figure.MotionStyle(rng.uniform(), amplitude, rng.uniform(), int(rng.integers(2)), rng.uniform())
        joints = figure.perform(figure.actor_body(int(rng.choice(UNSEEN_ACTORS))), motion, style, LENGTH).joints
        view = figure.View(rng.uniform(-60, 60), rng.uniform(-3, 12), 90.0, np.tile([64.0, 118.0], (LENGTH, 1)))
        yield motion, abs(view.yaw), joints, normalise(figure.project(joints, view)[0][None, :, :17])[0]


def key_clips(results: Path, true: bool) -> Iterator[tuple[str, float, np.ndarray, np.ndarray]]:
    """The same of the key clips of a run of the demo; turns are not told.

    Args:
        true: with the true places of the joints in the picture instead of those that its network estimates.
    """
    specs = {clip.video_id: clip.spec for clip in planned(Generate())}
    truth, known = read_arrays(results / "demo" / "truth.zarr.zip")
    first = dict(zip(known["video_id"], truth["offsets"], strict=False))
    for path in sorted((results / "motion" / "pose_clips").glob("*.zarr.zip")):
        arrays, described = read_arrays(path)
        for row in np.flatnonzero(arrays["kept"]):
            video_id = described["video_id"][arrays["row"][row]]
            spec = specs[video_id]
            frames = np.minimum(arrays["start"][row] + np.arange(arrays["poses"].shape[1]), spec.n_frames - 1)
            poses = arrays["poses"][row]
            if true:
                poses = normalise(truth["keypoints"][first[video_id] + frames][None])[0]
            yield spec.motion, np.nan, performed(spec).joints[frames], poses


def scored(cases: Iterator[tuple[str, float, np.ndarray, np.ndarray]]) -> dict[str, Counter[str]]:
    """Stated predicates that are true (``right``) or not (``wrong``), and true ones not stated (``missed``)."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    joints = skeleton("coco")
    for motion, turned, places, poses in cases:
        description = describe(poses, joints)
        true, stated = predicates(true_codes(places)), predicates(description.codes if description else [])
        outcome = {"right": len(true & stated), "wrong": len(stated - true), "missed": len(true - stated)}
        names = ["all", motion] + ([] if np.isnan(turned) else [f"turned {20 * int(turned // 20)}° and more"])
        for name in names:
            counted[name].update(outcome)
    return counted


def precision_recall(counted: Counter[str]) -> tuple[float, float]:
    right = counted["right"]
    return right / max(1, right + counted["wrong"]), right / max(1, right + counted["missed"])


def distinct(results: Path) -> tuple[int, int, int]:
    """Pairs of motion concepts of different actions, those with different sentences, and the number of concepts."""
    arrays, about = read_arrays(results / "motion" / "motion_concepts.zarr.zip")
    index, told = read_table(results / "data" / "index.parquet")
    videos = {row["video_id"]: row["labels"][0] for row in index.to_pylist() if row["split"] in DEVELOPMENT}
    shown: dict[int, Counter[int]] = defaultdict(Counter)
    for row in read_table(results / "motion" / "motion_labels.parquet")[0].to_pylist():
        for concept in row["concepts"] if row["video_id"] in videos else ():
            shown[concept][videos[row["video_id"]]] += 1
    joints = skeleton(about["skeleton"])
    described = [describe(medoid, joints) for medoid in arrays["medoids"]]
    sentences = [item.sentence if item else "" for item in described]
    for concept, sentence in enumerate(sentences):
        print(f"  {about['names'][concept]} {told['class_names'][shown[concept].most_common(1)[0][0]]}: {sentence}")
    pairs = [
        sentences[a] != sentences[b]
        for a, b in itertools.combinations(range(len(sentences)), 2)
        if shown[a].most_common(1)[0][0] != shown[b].most_common(1)[0][0]
    ]
    return len(pairs), sum(pairs), len(sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-motion", type=int, default=100)
    parser.add_argument("--results", type=Path, help="a run of the demo, whose estimated poses are described")
    parser.add_argument("--true", action="store_true", help="with --results: by the true joints of its clips")
    parser.add_argument("--distinct", type=Path, nargs="+", default=[], metavar="RESULTS")
    call = parser.parse_args()
    for results in call.distinct:
        pairs, differ, count = distinct(results)
        part = differ / max(1, pairs)
        print(f"{results}: {count} concepts, {differ} of {pairs} pairs of different actions differ: {part:.3f}")
    if not call.distinct:
        counted = scored(key_clips(call.results, call.true) if call.results else generated(call.per_motion))
        print(f"{'':<24} {'predicates':>10} {'precision':>10} {'recall':>8}")
        for name, own in counted.items():
            precision, recall = precision_recall(own)
            print(f"{name:<24} {own['right'] + own['missed']:10d} {precision:10.3f} {recall:8.3f}")


if __name__ == "__main__":
    main()
