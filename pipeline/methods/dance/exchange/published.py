"""Result folders of Label-Free CBM and of DANCE, read as models and written from models.

Label-Free CBM writes one flat folder: ``W_c.pt`` ``[M, D]``, ``proj_mean.pt`` and ``proj_std.pt`` ``[1, M]`` (mean and
unbiased deviation of the train activations), ``W_g.pt`` ``[K, M]``, ``b_g.pt`` ``[K]``, ``concepts.txt``,
``metrics.txt`` and ``args.txt``. Logits are ``((x W_cᵀ − mean) / std) W_gᵀ + b_g``.

DANCE writes a folder per concept type (``pose``, ``spatial``, ``place``, ``temporal``) with its own ``W_c``, mean,
deviation and concepts, and ``aggregated`` with ``W_g``, ``b_g``, all concepts and the metrics. The columns of ``W_g``
follow the order of training: ``pose`` first, then the others as ``train_mode`` in ``args.txt`` has them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.backbone.settings import Features
from pipeline.data.settings import Decode
from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.files import read_json, read_torch
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.store.plain import write_json
from pipeline.store.provenance import digest_of_file

# Folder of DANCE → our concept type; `temporal` are sentences about motion.
FOLDERS = {"pose": "motion", "spatial": "object", "place": "scene", "temporal": "motion"}
AGGREGATED = "aggregated"
# What the layouts have no place for: names of classes, types of concepts, medoids, provenance. Others do not read it.
SIDECAR = "conceptreel.json"
MEDOIDS = "medoids.pt"
# Weights above it are counted as non-zero by the code that writes these folders.
NONZERO = 1e-5


@dataclass(frozen=True)
class Published:
    """A result folder as it stands.

    Attributes:
        layout: lf-cbm or dance.
        concepts: ``M`` names; types: ``M`` of motion, object, scene.
        weight: ``W_c`` ``[M, D]``, mean and std ``[M]``, classifier ``W_g`` ``[K, M]``, bias ``[K]``; all float32.
        stated: ``metrics.txt``, empty where it is absent; arguments: ``args.txt``.
        text: our own side file, None in folders that others wrote; medoids: beside it, ``[n_motion, L, J, 2]``.
        files: relative path → digest of what was read.
    """

    layout: str
    concepts: list[str]
    types: list[str]
    weight: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    classifier: np.ndarray
    bias: np.ndarray
    stated: dict[str, Any]
    arguments: dict[str, Any]
    text: dict[str, Any] | None
    medoids: np.ndarray
    files: dict[str, str]

    @property
    def stated_accuracy(self) -> float | None:
        """Accuracy that the folder states for the split it was evaluated on; None where it states none."""
        metrics = self.stated.get("metrics", {})
        found = [metrics.get(name) for name in ("acc_test", "acc_val")]
        # The solver writes −1 for a split that it was not given.
        return next((float(value) for value in found if isinstance(value, (int, float)) and value >= 0), None)

    @property
    def nonzero(self) -> int:
        return int((np.abs(self.classifier) > NONZERO).sum())


# ------------------------------------------------------------------------------------------------------------- reading


class _Folder:
    """Files below one folder, with the digests of those that were read."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: dict[str, str] = {}

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def note(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise ForeignFileError(f"{self.folder} has no {name}")
        self.files[name] = digest_of_file(path)
        return path

    def tensor(self, name: str) -> np.ndarray:
        """float32 array of a ``.pt`` file that holds one tensor.

        Raises:
            ForeignFileError: absent, something else than one tensor of floats, or not finite.
        """
        path = self.note(name)
        value = read_torch(path)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise ForeignFileError(f"{path} must hold one tensor of floats")
        # The published weights still ask for gradients.
        array = value.detach().float().numpy()
        if not np.isfinite(array).all():
            raise ForeignFileError(f"{path} holds NaN or infinity")
        return array

    def lines(self, name: str) -> list[str]:
        """Lines of a text, whatever ends them; a line end behind the last one is accepted.

        Raises:
            ForeignFileError: absent, no UTF-8 text, or with an empty line inside.
        """
        path = self.note(name)
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ForeignFileError(f"{path} is not UTF-8 text") from None
        found = re.split(r"\r\n|\r|\n", text)
        while found and not found[-1].strip():
            found.pop()
        found = [line.strip() for line in found]
        if not all(found):
            raise ForeignFileError(f"{path}, line {found.index('') + 1} is empty; it must name a concept")
        return found

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object; empty where the file is absent."""
        if not self.has(name):
            return {}
        path = self.note(name)
        value = read_json(path)
        if not isinstance(value, dict):
            raise ForeignFileError(f"{path} must hold a JSON object")
        return value

    def own(self) -> tuple[dict[str, Any] | None, np.ndarray]:
        """Our side file and the medoids beside it; nothing in folders that others wrote."""
        text = self.json(SIDECAR) or None
        medoids = self.tensor(MEDOIDS) if text and self.has(MEDOIDS) else np.zeros((0, 2, 1, 2), np.float32)
        return text, medoids

    def concepts(self, prefix: str) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
        """Names, weight ``[m, D]``, mean and std ``[m]`` of the concepts in one folder.

        Raises:
            ForeignFileError: they do not fit together, or a deviation is not positive.
        """
        names = self.lines(f"{prefix}concepts.txt")
        weight = self.tensor(f"{prefix}W_c.pt")
        if weight.ndim != 2:
            raise ForeignFileError(
                f"{self.folder / prefix}/W_c.pt must be concepts × features, not {list(weight.shape)}"
            )
        if len(names) != len(weight):
            raise ForeignFileError(
                f"{self.folder / prefix}: concepts.txt names {len(names)} concepts, W_c.pt has {len(weight)} rows"
            )
        statistics = []
        for name in ("proj_mean", "proj_std"):
            values = self.tensor(f"{prefix}{name}.pt")
            if values.size != len(weight) or values.ndim > 2:
                raise ForeignFileError(
                    f"{self.folder / prefix}: {name}.pt is {list(values.shape)}, W_c.pt has {len(weight)} concepts"
                )
            statistics.append(values.ravel())
        mean, std = statistics
        if not (std > 0).all():
            worst = int(np.argmin(std))
            raise ForeignFileError(
                f"{self.folder / prefix}/proj_std.pt is {std[worst]:g} for the concept `{names[worst]}`: what never "
                f"varies cannot be standardised; remove the concept from all files"
            )
        return names, weight, mean, std

    def classifier(self, prefix: str, n_concepts: int) -> tuple[np.ndarray, np.ndarray]:
        """``W_g`` ``[K, M]`` and ``b_g`` ``[K]``."""
        weight, bias = self.tensor(f"{prefix}W_g.pt"), self.tensor(f"{prefix}b_g.pt")
        if weight.ndim != 2 or weight.shape[1] != n_concepts:
            raise ForeignFileError(
                f"{self.folder / prefix}/W_g.pt is {list(weight.shape)}; it must be classes × {n_concepts} concepts"
            )
        if bias.shape != (len(weight),):
            raise ForeignFileError(
                f"{self.folder / prefix}/b_g.pt is {list(bias.shape)}, W_g.pt has {len(weight)} classes"
            )
        return weight, bias


def _order(files: _Folder, present: list[str], names: dict[str, list[str]], train_mode: Any) -> list[str]:
    """Order of DANCE's folders in the columns of ``W_g``."""
    stated: list[str] = []
    if isinstance(train_mode, list) and sorted(train_mode) == sorted(present):
        # Training always begins with `pose`, wherever the option names it.
        stated = sorted(train_mode, key=lambda name: (name != "pose", train_mode.index(name)))
    if not files.has(f"{AGGREGATED}/concepts.txt"):
        if not stated:
            raise ForeignFileError(
                f"{files.folder}: nothing tells the order of {', '.join(present)}; "
                f"it needs {AGGREGATED}/concepts.txt, or args.txt with train_mode"
            )
        return stated
    joined = files.lines(f"{AGGREGATED}/concepts.txt")
    fitting = [
        list(order)
        for order in itertools.permutations(present)
        if list(itertools.chain.from_iterable(names[name] for name in order)) == joined
    ]
    if not fitting:
        raise ForeignFileError(
            f"{files.folder / AGGREGATED}/concepts.txt is not the concepts of {', '.join(present)} one after another "
            f"({len(joined)} against {sum(map(len, names.values()))} names)"
        )
    return stated if stated in fitting else fitting[0]


def _read_dance(files: _Folder, present: list[str]) -> Published:
    parts = {name: files.concepts(f"{name}/") for name in present}
    widths = {name: part[1].shape[1] for name, part in parts.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ForeignFileError(f"{files.folder}: W_c.pt of the concept types have different widths: {told}")
    names = {name: part[0] for name, part in parts.items()}
    order = _order(files, present, names, files.json("args.txt").get("train_mode"))
    return _joined(files, "dance", f"{AGGREGATED}/", [(FOLDERS[name], parts[name]) for name in order])


def _joined(files: _Folder, layout: str, prefix: str, parts: list[tuple[str, tuple]]) -> Published:
    """Concepts of one folder or several, each with its type, under the classifier that lies below ``prefix``."""
    named = [(kind, text) for kind, (texts, *_) in parts for text in texts]
    return Published(
        layout,
        [_spoken(text, kind) if layout == "dance" else text for kind, text in named],
        [kind for kind, _ in named],
        *(np.concatenate([part[position] for _, part in parts]) for position in (1, 2, 3)),
        *files.classifier(prefix, len(named)),
        files.json(f"{prefix}metrics.txt"),
        files.json("args.txt"),
        *files.own(),
        files.files,
    )


def _spoken(text: str, kind: str) -> str:
    """DANCE numbers its motion concepts; a number alone says nothing beside an object's name."""
    return f"motion {int(text):03d}" if kind == "motion" and re.fullmatch(r"\d{1,9}", text) else text


def read_published(folder: Path, kind: str | None = None) -> Published:
    """A result folder of Label-Free CBM or of DANCE, told apart by what is in it.

    Args:
        kind: concept type of a flat folder, which does not say; None takes it from the folder's name where that is one
            of DANCE's, else object.

    Raises:
        ForeignFileError: a file is missing or does not fit the others; names the file.
    """
    if not folder.is_dir():
        raise ForeignFileError(f"{folder} is no folder; name the one that holds W_c.pt, or {AGGREGATED}/W_g.pt")
    files = _Folder(folder)
    present = [name for name in FOLDERS if (folder / name).is_dir()]
    if (folder / AGGREGATED).is_dir():
        if not present:
            raise ForeignFileError(f"{folder} has {AGGREGATED}, but no folder of a concept type: {', '.join(FOLDERS)}")
        return _read_dance(files, present)
    if files.has("W_c.pt"):
        if not files.has("W_g.pt"):
            raise ForeignFileError(
                f"{folder} has W_c.pt, but no W_g.pt: one concept type of a DANCE result? Name the folder above it"
            )
        return _joined(files, "lf-cbm", "", [(kind or FOLDERS.get(folder.name, "object"), files.concepts(""))])
    if len(present) == 1:  # DANCE trained on one concept type
        prefix = f"{present[0]}/"
        return _joined(files, "dance", prefix, [(FOLDERS[present[0]], files.concepts(prefix))])
    if files.has("W_g.pt"):
        raise ForeignFileError(f"{folder} has no W_c.pt: a classifier on bare features has no concepts to explain")
    raise ForeignFileError(
        f"{folder} is no result folder: expected W_c.pt, W_g.pt, … in it, or {AGGREGATED} beside {', '.join(FOLDERS)}"
    )


def to_model(
    published: Published,
    dataset: str,
    class_names: list[str] | None = None,
    decode: Decode | None = None,
    features: Features | None = None,
) -> ConceptModel:
    """The folder as a model.

    Args:
        class_names: in label order; None takes those of our own side file, or numbers.
        decode, features: what a video must go through to become a feature; without them the model takes features only.

    Raises:
        ForeignFileError: the number of class names is not that of ``W_g``, or the side file does not fit.
    """
    text, types = published.text, published.types
    n_classes, n_concepts = published.classifier.shape
    if text is not None:
        try:
            types, about = list(text["types"]), dict(text["about"])
            class_names = class_names or list(text["class_names"])
        except (KeyError, TypeError, ValueError) as error:
            raise ForeignFileError(f"{SIDECAR} is incomplete ({error!r})") from None
        if len(types) != n_concepts:
            raise ForeignFileError(f"{SIDECAR} has the types of {len(types)} concepts, W_c.pt has {n_concepts}")
    else:
        about = {
            "dataset": dataset,
            "kind": published.layout,
            "quality": [None] * n_concepts,
            "skeleton": "coco",
            "n_videos": [],
            "metrics": {},
            "edits": [],
            "decode": (decode or Decode()).model_dump(mode="json"),
            "features": (features or Features(source="tensor")).model_dump(mode="json"),
            "imported": {
                "layout": published.layout,
                "backbone": str(published.arguments.get("backbone", "")),
                "stated": published.stated,
                "files": published.files,
            },
        }
    if class_names is not None and len(class_names) != n_classes:
        raise ForeignFileError(f"the class list has {len(class_names)} names, W_g.pt {n_classes} classes")
    return ConceptModel(
        class_names or [f"class {label}" for label in range(n_classes)],
        published.concepts,
        types,
        {"weight": published.weight, "mean": published.mean, "std": published.std},
        published.classifier,
        published.bias,
        published.medoids,
        about,
    )


# ------------------------------------------------------------------------------------------------------------- writing


def _text_file(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines), encoding="utf-8")


def _number(text: str, kind: str) -> str:
    found = re.fullmatch(r"motion (\d+)", text)
    return str(int(found[1])) if kind == "motion" and found and _spoken(str(int(found[1])), kind) == text else text


def _tensor_file(path: Path, values: np.ndarray) -> None:
    torch.save(torch.from_numpy(np.ascontiguousarray(values, np.float32)), path)


def _metrics(model: ConceptModel) -> dict[str, Any]:
    """``metrics.txt`` of an own model; −1, as the solver has it, for what is not known."""
    known: Mapping[str, Any] = model.about.get("metrics", {})
    weight = model.weight.astype(np.float32)
    nonzero = int((np.abs(weight) > NONZERO).sum())
    return {
        "lam": known.get("lambda", -1),
        "metrics": {"acc_tr": -1, "acc_val": known.get("val_top1", -1), "acc_test": known.get("top1", -1)},
        "sparsity": {
            "Non-zero weights": nonzero,
            "Total weights": weight.size,
            "Percentage non-zero": nonzero / weight.size,
        },
    }


def _write_concepts(folder: Path, model: ConceptModel, rows: np.ndarray, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    _tensor_file(folder / "W_c.pt", model.layer["weight"][rows])
    _tensor_file(folder / "proj_mean.pt", model.layer["mean"][None, rows])
    _tensor_file(folder / "proj_std.pt", model.layer["std"][None, rows])
    _text_file(folder / "concepts.txt", [names[row] for row in rows])


def _write_classifier(folder: Path, model: ConceptModel, rows: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    _tensor_file(folder / "W_g.pt", model.weight[:, rows])
    _tensor_file(folder / "b_g.pt", model.bias)
    stated = model.about.get("imported", {}).get("stated") or _metrics(model)
    write_json(folder / "metrics.txt", stated)


def write_published(folder: Path, model: ConceptModel, layout: str) -> None:
    """Write a model into an empty folder in the layout of Label-Free CBM or of DANCE, with a side file of our own.

    DANCE's layout has a place per concept type, so concepts of a type become neighbours: those of ``pose`` first.

    Raises:
        ForeignFileError: the model has maps or names with line breaks, which the layouts have no place for.
    """
    if model.has_maps:
        raise ForeignFileError(
            f"this model locates its concepts, and the layout {layout} has no place for maps; "
            f"export it as safetensors, or a model of kind dance"
        )
    if model.n_read:
        raise ForeignFileError(
            f"this model reads concepts in videos, and the layout {layout} has no place for that; "
            f"export it as safetensors, or a model of kind dance"
        )
    broken = [name for name in model.concepts if len(name.splitlines()) != 1 or name != name.strip()]
    if broken:
        raise ForeignFileError(f"the concept {broken[0]!r} cannot stand in a line of concepts.txt")
    types = np.array(model.types, object)
    features = model.about.get("features", {})
    arguments = {
        "backbone": model.about.get("imported", {}).get("backbone") or features.get("model", ""),
        "data_set": model.about.get("dataset", ""),
        "nb_classes": len(model.class_names),
    }
    names, rows = model.concepts, {"": np.arange(len(types))}
    if layout == "dance":
        names = [_number(text, kind) for text, kind in zip(model.concepts, model.types, strict=True)]
        rows = {name: np.flatnonzero(types == FOLDERS[name]) for name in ("pose", "spatial", "place")}
        rows = {name: found for name, found in rows.items() if len(found)}
        arguments["train_mode"] = list(rows)
    for name, found in rows.items():
        _write_concepts(folder / name, model, found, names)
    order = np.concatenate(list(rows.values()))
    _write_classifier(folder / (AGGREGATED if len(rows) > 1 else next(iter(rows))), model, order)
    if len(rows) > 1:
        _text_file(folder / AGGREGATED / "concepts.txt", [names[row] for row in order])
    write_json(folder / "args.txt", arguments)
    text = {
        "class_names": model.class_names,
        "types": [model.types[row] for row in order],
        "about": _reordered(model.about, order),
    }
    if len(model.medoids):
        _tensor_file(folder / MEDOIDS, model.medoids)
    write_json(folder / SIDECAR, text)


def _reordered(about: dict[str, Any], order: np.ndarray) -> dict[str, Any]:
    quality = about.get("quality")
    return about | ({"quality": [quality[row] for row in order]} if quality and len(quality) == len(order) else {})
