"""Which choices carry over to an actor who was never seen: each of training and validation is left out once.

python bench/actors.py results/weizmann_small    # a finished run; a few minutes

The test videos of the run are left out of everything, so that choices may rest on what is printed. Of the actors that
remain one or two validate, in several draws. Poses, features and words are those of the run; key clips, motion
concepts, concept layers and classifier are made again. Printed are means over actors and draws ± the standard deviation
over actors.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path[0] = str(PROJECT)

from pipeline.backbone.samples import Samples, read_samples  # noqa: E402
from pipeline.data.entries import DEVELOPMENT  # noqa: E402
from pipeline.jobs.stage import Job  # noqa: E402
from pipeline.learning.metrics import accuracy  # noqa: E402
from pipeline.methods.dance.bottleneck.activations import concepts_of  # noqa: E402
from pipeline.methods.dance.bottleneck.classifier import choose  # noqa: E402
from pipeline.methods.dance.bottleneck.concept_layers import train_layers  # noqa: E402
from pipeline.methods.dance.bottleneck.targets import Targets, read_words  # noqa: E402
from pipeline.methods.dance.settings import Classifier, ConceptLayers  # noqa: E402
from pipeline.motion.motion_concepts import discover, multi_hot, read_pose_clips  # noqa: E402
from pipeline.motion.quality import keep_clips  # noqa: E402
from pipeline.motion.settings import MotionConcepts  # noqa: E402
from pipeline.store.places import shards_of  # noqa: E402

# Largest step in extents of the pose, and smallest cosine, of key clips that are kept.
CLIPS = {"0.25, 0.8": (0.25, 0.8), "0.5, 0.8": (0.5, 0.8), "none, 0.8": (None, 0.8), "none, none": (None, -1.0)}


def job_of(results: Path, inputs: dict[str, list[Path]]) -> Job:
    """A job that reads artifacts of a finished run."""
    given = [[name, *map(str, paths)] for name, paths in inputs.items()]
    call = {"settings": "{}", "input": given, "output": [], "dataset": results.name, "shard": "", "threads": 1}
    return Job("actors", __name__, argparse.Namespace(**call))


class Clips:
    """Key clips of a run, and those that other limits keep.

    Args:
        min_confidence: mean joint confidence of a key clip.
    """

    def __init__(self, job: Job, min_confidence: float):
        self.parts, self.min_confidence = list(job.read_arrays("pose_clips")), min_confidence

    def read_arrays(self, name: str):
        """What `read_pose_clips` asks of a job."""
        yield from self.kept

    def limited(self, max_step: float | None, min_cosine: float) -> Clips:
        self.kept = []
        for arrays, described in self.parts:
            person = np.array([reason != "no_person" for reason in described["reason"]])
            kept, _ = keep_clips(
                *(arrays["mean_confidence"], arrays["min_cosine"], person, arrays["max_step"]),
                min_confidence=self.min_confidence,
                min_cosine_threshold=min_cosine,
                max_step_threshold=max_step,
            )
            self.kept.append(({**arrays, "kept": kept}, described))
        return self


def fold(samples: Samples, clips: Clips, words: tuple, tested: str, validating: tuple[str, ...], kinds: dict) -> dict:
    """Accuracies on one actor: types of concepts → whether train and validation are joined in the end → accuracy."""
    group = samples.videos.group
    split = np.where(group == tested, "test", np.where(np.isin(group, validating), "val", "train")).astype(object)
    samples = replace(samples, videos=replace(samples.videos, split=split))
    found = read_pose_clips(clips, samples.videos)
    seen = split[found.row] != "test"
    labels = np.full(len(found.flat), -1, np.int32)
    labels[seen], _ = discover(found.flat[seen], found.row[seen], MotionConcepts())
    hot = multi_hot(labels, found.row, len(split), labels.max() + 1).astype(np.float32)
    labelled = np.bincount(found.row, minlength=len(split)) > 0
    types, names, texts, similarity, known = words
    told = names.tolist(), types, texts, similarity, known
    targets = Targets([f"motion {k:03d}" for k in range(hot.shape[1])], hot, labelled, *told)
    arrays, content, _ = train_layers(ConceptLayers(kinds=["dance"], types=list(kinds["all"])), samples, targets, None)
    concepts = concepts_of("dance", arrays, content, samples.videos, None)
    z, y = concepts.activations(samples.features), samples.label.astype(np.int64)
    result = {}
    for name, own in kinds.items():
        columns = np.isin(concepts.types, own)
        for refit in (True, False):
            settings = Classifier(n_lambdas=50, tolerance=1e-4, refit=refit)
            choice = choose(
                z[:, columns], y, split == "train", split == "val", len(samples.videos.class_names), settings
            )
            rows = split == "test"
            result[name, refit] = accuracy(z[rows][:, columns], y[rows], choice.solution.weight, choice.solution.bias)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--draws", type=int, default=5, help="of the actors that validate")
    parser.add_argument("--min-confidence", type=float, default=0.25, help="of a key clip, as in the run's settings")
    parser.add_argument("--limits", nargs="+", choices=CLIPS, default=list(CLIPS))
    parser.add_argument("--validating", nargs="+", type=int, default=[1, 2], help="how many actors validate")
    call = parser.parse_args()
    inputs = {
        "index": [call.results / "data/index.parquet"],
        "features": shards_of(call.results, "backbone/features"),
        "pose_clips": shards_of(call.results, "motion/pose_clips"),
        "pseudo_labels": [call.results / "context/pseudo_labels.zarr.zip"],
    }
    job = job_of(call.results, inputs)
    samples = read_samples(job, "DANCE")
    rows = np.flatnonzero(samples.split(*DEVELOPMENT))
    samples = replace(
        samples, videos=samples.videos.take(rows), label=samples.label[rows], features=samples.features[rows]
    )
    words, clips = read_words(job, samples), Clips(job, call.min_confidence)
    kinds = {"all": tuple(dict.fromkeys(["motion", *words[0]])), "motion": ("motion",)}
    actors = sorted(set(samples.videos.group))
    print("| key clips | validate | all | all, no refit | motion alone | motion alone, no refit |\n" + "|---" * 6 + "|")
    for limits in call.limits:
        max_step, min_cosine = CLIPS[limits]
        for count in call.validating:
            by_actor = []
            for tested in actors:
                ways = list(itertools.combinations([name for name in actors if name != tested], count))
                drawn = np.random.default_rng(0).permutation(len(ways))[: call.draws]
                folds = [
                    fold(samples, clips.limited(max_step, min_cosine), words, tested, ways[k], kinds) for k in drawn
                ]
                by_actor.append([np.mean([item[key] for item in folds]) for key in folds[0]])
            figures = zip(np.mean(by_actor, 0), np.std(by_actor, 0, ddof=1), strict=True)
            print(f"| {limits} | {count} | {' | '.join(f'{m:.3f} ± {s:.3f}' for m, s in figures)} |", flush=True)


if __name__ == "__main__":
    main()
