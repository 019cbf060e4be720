"""The stages of DANCE one after the other in memory, on sets so small that some stage has too little to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.context import concepts
from pipeline.data.index import SEGMENTS
from pipeline.jobs import stage
from pipeline.jobs.runtime import AUTO
from pipeline.methods.dance.bottleneck import baselines, classifier, concept_layers, model, named, readings
from pipeline.methods.dance.explain import pictures, report, retrained, sanity
from pipeline.motion import motion_concepts
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.plain import defined
from pipeline.store.provenance import canonical

WIDTH, LENGTH, JOINTS = 6, 4, 17
FAST = {"max_steps": 20, "eval_every": 5, "batch_size": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "motion_concepts": {},
    "readings": {},
    "concepts": {"activation_cutoff": -1.0, "class_similarity": 2.0},
    "concept_layers": {**FAST, "projection_cutoff": -1.0, "map_cutoff": -1.0, "motion_weight_decay": [0.3, 0.003]},
    "classifier": {"n_lambdas": 8},
    "baselines": {
        "baselines": {"kinds": ["backbone", "backbone-sparse", "attributes"], "attributes": "attributes.csv"},
        "concept_layers": FAST,
        "classifier": {"n_lambdas": 8},
    },
    "model": {
        "decode": {},
        "features": {"model": "x"},
        "reading": {},
        "maps": {"grid": [2, 2], "placement": "stride", "radius": 32},
    },
    "retrained": {
        "retrained": {"seeds": 1, "shuffles": 1},
        "concept_layers": {**FAST, "projection_cutoff": -1.0, "map_cutoff": -1.0},
        "classifier": {"n_lambdas": 8},
    },
    "named": {},
    "sanity": {},
    "pictures": {},
    "report": {},
}
READS = {
    "motion_concepts": ("index", "pose_clips"),
    "concepts": ("index", "dual_encoder", "texts"),
    "readings": ("poses", "pose_clips", "motion_concepts"),
    "concept_layers": (
        "index", "features", "readings", "motion_concepts", "motion_labels", "concepts", "pseudo_labels", "prompts",
        "maps",
    ),
    "classifier": ("index", "features", "concept_layers"),
    "baselines": ("index", "features", "pseudo_labels"),
    "model": (
        "index", "features", "motion_concepts", "motion_labels", "pseudo_labels", "signal", "concept_layers",
        "concept_table", "classifier", "baselines"
    ),
    "named": ("motion_concepts", "motion_labels", "pseudo_labels", "model", "activations"),
    "retrained": (
        "index", "features", "readings", "motion_concepts", "motion_labels", "pseudo_labels", "prompts", "maps",
        "model", "activations",
    ),
    "sanity": ("clips", "model", "activations"),
    "pictures": ("index", "features", "motion_concepts", "concept_layers", "classifier"),
    "report": (
        "index", "features", "motion_concepts", "concepts", "concept_table", "classifier", "model", "activations",
        "metrics", "retrained_table",
    ),
}  # fmt: skip
MODULES = {
    "motion_concepts": motion_concepts,
    "concepts": concepts,
    "readings": readings,
    "concept_layers": concept_layers,
    "classifier": classifier,
    "baselines": baselines,
    "model": model,
    "named": named,
    "retrained": retrained,
    "sanity": sanity,
    "pictures": pictures,
    "report": report,
}


# Inputs that these sets never have, or not always.
ABSENT = ("clips", "poses", "pose_clips", "maps", "motion_concepts", "baselines", "prompts", "finetune", "evaluation")
ABSENT += ("signal", "quality", "readings", "motion_labels", "pseudo_labels", "timelines", "sanity", "retrained")
ABSENT += ("faithfulness", "localisation")


class LittleJob(stage.Job):
    """A job whose artifacts are kept in memory; what an artifact could not hold is refused as on disk."""

    def __init__(self, name: str, store: dict, folder: Path, settings: dict[str, Any]):
        self.name, self.settings, self.dataset, self.shard, self.store = name, settings, "little", None, store
        self.runtime = AUTO
        self._roots, self._videos_of, self._took, self._warnings = {"little": str(folder)}, {}, {}, {}
        self.outputs = {
            key: folder / f"{key}.{suffix}"
            for key, suffix in (
                ("model", "pt"), ("metrics", "json"), ("report", "html"), ("explanations", "png"),
                ("motion_concepts", "png"),
            )
        }  # fmt: skip
        self.inputs = {key: [folder] for key in READS[name] if key in store}
        self.inputs |= {key: [self.outputs[key]] for key in ("model", "metrics")}
        self.inputs["learned"] = self.inputs["metrics"]
        with_names = {key: folder / f"named{self.outputs[key].suffix}" for key in ("model", "metrics")}
        if name == "named":
            self.outputs |= with_names
        elif name in ("pictures", "report") and "curation" in store:
            self.inputs |= {key: [path] for key, path in with_names.items()}
        for key in ABSENT:
            self.inputs.setdefault(key, [])
        if "retrained_table" in store and name == "report":
            self.inputs["retrained"] = [folder]

    def read_arrays(self, name):
        for arrays, attributes in self.store[name]:
            self._accept(Path(name), name, attributes)
            yield arrays, attributes

    def read_table(self, name):
        table, attributes = self.store["retrained_table" if name == "retrained" else name]
        self._accept(Path(name), name, attributes)
        return table, attributes

    def _accept(self, path, name, attributes):
        for told, sentences in attributes.get("provenance", {}).get("warnings", {}).items():
            self._warnings[told] = list(dict.fromkeys([*self._warnings.get(told, ()), *sentences]))

    def note_file(self, name, path):
        return path

    def _kept(self, output, content, failed, extra):
        record = {"warnings": dict(self._warnings), **defined(extra)}
        kept = {**defined(content), "failed": [], "provenance": record, "content_digest": "0"}
        return json.loads(canonical(kept))

    def write_arrays(self, output, arrays, content, *, n_ok, failed=None, **extra):
        for name, array in arrays.items():
            assert np.asarray(array).ndim >= 1, name
        kept = {name: np.asarray(array) for name, array in arrays.items()}
        self.store[output] = [(kept, self._kept(output, content, failed, extra))]
        return "0"

    def write_table(self, output, table, content=None, *, failed=None, **extra):
        self.store[output] = (table, self._kept(output, content or {}, failed, extra))


def inputs(
    rng: np.random.Generator,
    counts: dict[str, list[int]],
    words: dict[str, int],
    *,
    clips: int = 3,
    kept: dict[str, float] | None = None,
    embedded: dict[str, float] | None = None,
    flat: bool = False,
) -> dict:
    """What the stages read: videos per split and class, concepts per type, and what is missing.

    Args:
        counts: split → videos of each class; words: type → number of candidates.
        clips: key clips per video; kept, embedded: split → part of the videos that have some, or an embedding.
        flat: all features are the same.
    """
    n_classes = len(next(iter(counts.values())))
    rows = [(split, label) for split, per in counts.items() for label, n in enumerate(per) for _ in range(n)]
    ids = [f"v{number:03d}" for number in range(len(rows))]
    label = np.array([label for _, label in rows], np.int64)
    names = [f"class {label}" for label in range(n_classes)]
    table = pa.table(
        {
            "video_id": ids,
            "path": ids,
            "first_frame": pa.array([None] * len(rows), pa.int32()),
            "end_frame": pa.array([None] * len(rows), pa.int32()),
            "labels": pa.array([[own] for own in label], pa.list_(pa.int32())),
            "segments": pa.array([[] for _ in rows], SEGMENTS),
            "split": [split for split, _ in rows],
            "group": ids,
            "status": ["ok"] * len(rows),
        }
    )
    content = {"class_names": names}
    signal = rng.standard_normal((n_classes, WIDTH))
    features = (signal[label] + rng.standard_normal((len(rows), WIDTH))).astype(np.float32)
    features = np.ones_like(features) if flat else features
    has_clip = [rng.random() < (kept or {}).get(split, 1.0) for split, _ in rows]
    has_embedding = [rng.random() < (embedded or {}).get(split, 1.0) for split, _ in rows]
    motion = rng.uniform(size=(n_classes, LENGTH, JOINTS, 2))
    cut = [
        (row, motion[label[row]] + 0.1 * rng.uniform(size=motion.shape[1:]), has_clip[row])
        for row in range(len(rows))
        for _ in range(clips)
    ]
    poses = np.array([pose for _, pose, _ in cut], np.float32).reshape(-1, LENGTH, JOINTS, 2)
    n_frames = len(cut) + LENGTH
    some = [row for row, ok in enumerate(has_embedding) if ok]
    unit = lambda values: (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)  # noqa: E731
    texts = unit(rng.standard_normal((sum(words.values()), 8)))
    store = {
        "index": (table, content),
        "features": [({"features": features}, {"video_id": ids, "failed": []})],
        "pose_clips": [
            (
                {
                    "poses": poses,
                    "row": np.array([row for row, _, _ in cut], np.int32),
                    "start": np.arange(len(cut), dtype=np.int32),
                    "kept": np.array([ok for _, _, ok in cut], bool),
                },
                {
                    "video_id": ids,
                    "skeleton": "coco",
                    "failed": [],
                    "reason": ["" if ok else "low_confidence" for _, _, ok in cut],
                },
            )
        ],
        "poses": [
            (
                {
                    "offsets": np.arange(len(rows) + 1) * n_frames,
                    "keypoints": np.ones((len(rows) * n_frames, JOINTS, 2), np.float32),
                    "confidence": np.ones((len(rows) * n_frames, JOINTS), np.float32),
                    "present": np.repeat(np.array(has_clip, bool), n_frames),
                },
                {"video_id": ids, "skeleton": "coco", "failed": []},
            )
        ],
        "dual_encoder": [
            (
                {"embeddings": unit(rng.standard_normal((len(some), 8)))},
                {"video_id": [ids[row] for row in some], "failed": []},
            )
        ],
        "texts": [
            (
                {"prompts": texts, "bare": texts, "classes": np.zeros((0, 8), np.float32)},
                {
                    "type": [kind for kind, n in words.items() for _ in range(n)],
                    "text": [f"{kind} {k}" for kind, n in words.items() for k in range(n)],
                    "class_names": names,
                },
            )
        ],
        "maps": [
            (
                {"maps": rng.standard_normal((len(rows), 2, 2, 2, WIDTH)).astype(np.float16)},
                {"video_id": ids, "failed": []},
            )
        ],
        "prompts": [
            (
                {"regions": unit(rng.standard_normal((len(some), 2, 2, 2, 8))).astype(np.float16)},
                {"video_id": [ids[row] for row in some], "failed": [], "frames": [0, 2], "n_frames": 4},
            )
        ],
    }
    return store


def run(folder: Path, store: dict, wanted: tuple[str, ...], changes: dict[str, dict] | None = None) -> dict[str, str]:
    """Run stages; stage → the one line that a person would get, empty where there is a result.

    Anything but a result or a `StageError` is raised, as it would be a stack trace.
    """
    told = {}
    n_classes = len(store["index"][1]["class_names"])
    lines = ["name," + ",".join(store["index"][1]["class_names"])]
    lines += [f"attribute {k},{','.join(str(int(label == k)) for label in range(n_classes))}" for k in range(2)]
    (folder / "attributes.csv").write_text("\n".join(lines) + "\n")
    for name in wanted:
        job = LittleJob(name, store, folder, {**SETTINGS[name], **(changes or {}).get(name, {})})
        try:
            MODULES[name].build(job)
            told[name] = ""
        except (StageError, ArtifactError) as error:
            told[name] = str(error)
            if name not in ("baselines", "retrained"):
                break
    return told


def strict(path: Path) -> Any:
    """A JSON file read as the standard has it."""

    def refuse(word: str):
        raise ValueError(f"{path} holds {word}, which is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)
