"""Commands that exchange models and matrices with other code: ``import``, ``export-model``, ``predict-features``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.methods.commands import check_file, number_above_zero
from pipeline.store.plain import as_json


def _video_settings(call: argparse.Namespace) -> tuple[Any, Any]:
    """What a video must go through, where --backbone says by which network the features were made."""
    from pipeline.backbone.settings import Features
    from pipeline.data.settings import Decode

    if not call.backbone:
        return None, None
    decode = Decode(min_frames=1, n_frames=call.n_frames, size=call.size, sampling=call.sampling)
    return decode, Features(source="computed", model=call.backbone, revision=call.revision)


def _check_backbone(name: str, revision: str, width: int) -> None:
    from pipeline.backbone.encoders import load_backbone
    from pipeline.exchange.errors import ForeignFileError

    found = load_backbone(name, revision).width
    if found != width:
        raise ForeignFileError(f"{name} gives {found} features, the folder's concepts read {width}")


def import_model(call: argparse.Namespace) -> int:
    """``conceptreel import FOLDER --out MODEL``: a published result folder as a model."""
    for path in filter(None, (call.folder, call.features, call.list, call.class_list)):
        check_file(path)
    from pipeline.data.entries import read_class_list
    from pipeline.exchange.errors import ForeignFileError
    from pipeline.exchange.matrices import read_matrix
    from pipeline.methods.dance.exchange import evaluate
    from pipeline.methods.dance.exchange.published import read_published, to_model
    from pipeline.methods.dance.exchange.safe import WEIGHTS, read_safe

    if call.out.exists():
        raise ForeignFileError(f"{call.out} exists; name another file with --out, or remove it")
    if bool(call.features) != bool(call.list):
        raise ForeignFileError("--features and --list go together: the matrix, and the labels of its rows")
    stated = None
    if (call.folder / WEIGHTS).is_file():
        model = read_safe(call.folder)
        print(f"{call.folder}: a model as safetensors")
    else:
        published = read_published(call.folder, call.type)
        stated = published.stated_accuracy
        name = call.dataset or call.out.resolve().parent.name
        class_names = read_class_list(call.class_list) if call.class_list else None
        model = to_model(published, name, class_names, *_video_settings(call))
        print(
            f"{call.folder}: {published.layout}, {len(model.concepts)} concepts, {len(model.class_names)} classes, "
            f"{published.nonzero} of {model.weight.size} weights non-zero"
        )
        if call.backbone:
            _check_backbone(call.backbone, call.revision, model.layer["weight"].shape[1])
    if call.features:
        _, features, labels = evaluate.labelled(read_matrix(call.features, call.array), call.list, model.class_names)
        outcome = evaluate.evaluate(model, features, labels)
        told = "the folder states no accuracy"
        if stated is not None:
            evaluate.check_stated(outcome, stated)
            told = f"as the folder states ({stated:.6f})"
        print(f"accuracy  {outcome.accuracy:.6f} ({outcome.right} of {outcome.total}), {told}")
        model.about["metrics"] = {**model.about.get("metrics", {}), "top1": outcome.accuracy, "n_test": outcome.total}
    model.save(call.out)
    print(f"model     {call.out}")
    return 0


def export_model(call: argparse.Namespace) -> int:
    """``conceptreel export-model MODEL --format F --out DIR``: for other people's code."""
    check_file(call.model)
    from pipeline.methods.dance.bottleneck.recogniser import read_model
    from pipeline.methods.dance.exchange.published import write_published
    from pipeline.methods.dance.exchange.safe import write_safe
    from pipeline.store.atomic import new_folder

    model = read_model(call.model)
    with new_folder(call.out) as folder:
        if call.format == "safetensors":
            write_safe(folder, model)
        else:
            write_published(folder, model, call.format)
    for path in sorted(path for path in call.out.rglob("*") if path.is_file()):
        print(path)
    return 0


def predict_features(call: argparse.Namespace) -> int:
    """``conceptreel predict-features MODEL MATRIX``: decisions with their reasons, without a video."""
    for path in filter(None, (call.model, call.matrix, call.list)):
        check_file(path)
    from pipeline.exchange.errors import ForeignFileError
    from pipeline.exchange.matrices import read_matrix
    from pipeline.methods.dance.bottleneck.recogniser import read_model
    from pipeline.methods.dance.exchange import evaluate
    from pipeline.methods.dance.explain.api import HEADING
    from pipeline.methods.dance.explain.seen import in_words

    model = read_model(call.model)
    if model.has_maps:
        raise ForeignFileError(f"{call.model} locates its concepts; it needs videos: conceptreel predict")
    if model.n_read:
        raise ForeignFileError(f"{call.model} reads its concepts; it needs videos: conceptreel predict")
    matrix = read_matrix(call.matrix, call.array)
    features, labels = matrix.values, None
    ids = matrix.ids or [f"row {row}" for row in range(len(features))]
    if call.list:
        ids, features, labels = evaluate.labelled(matrix, call.list, model.class_names)
    try:
        predictions = model.predict(features, call.top)
    except ValueError as error:
        raise ForeignFileError(f"{call.matrix}: {error}") from None
    found = [
        {
            "video": key,
            "class": item.class_name,
            "probability": item.probability,
            "unseen": item.unseen,
            "contributions": [asdict(part) for part in item.contributions],
            **({} if labels is None else {"label": model.class_names[labels[row]]}),
        }
        for row, (key, item) in enumerate(zip(ids, predictions, strict=True))
    ]
    if call.json:
        print(as_json(found))
        return 0
    for key, item in zip(ids, predictions, strict=True):
        print(f"{key}: {item.class_name} ({item.probability:.1%})")
        if item.unseen:
            print(f"  {in_words(item.unseen)}")
        print("\n".join([HEADING, *(part.line(part.contribution) for part in item.contributions)]))
    if labels is not None:
        right = sum(item.label == label for item, label in zip(predictions, labels, strict=True))
        outcome = evaluate.Outcome(right, len(labels))
        print(f"accuracy  {outcome.accuracy:.6f} ({outcome.right} of {outcome.total})")
    return 0


def add_commands(commands: Any) -> None:
    """Add these commands to those of ``conceptreel``."""
    command = commands.add_parser(
        "import",
        help="a result folder of LF-CBM or DANCE, or safetensors, as a model",
        example="import lf_cbm_ucf101/ --out results/theirs/model.pt",
    )
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="with W_c.pt, W_g.pt, …; with aggregated; or with model.safetensors"
    )
    command.add_argument("--out", type=Path, required=True, metavar="MODEL", help="for example results/<name>/model.pt")
    command.add_argument("--class-list", type=Path, metavar="FILE", help="one class name per line, in label order")
    command.add_argument("--dataset", metavar="NAME", help="name of the data set; default: the folder of --out")
    command.add_argument(
        "--type", choices=("motion", "object", "scene"), help="type of all concepts of a flat folder; default: object"
    )
    command.add_argument(
        "--features", type=Path, metavar="FILE", help="feature matrix that must reproduce the stated accuracy"
    )
    command.add_argument("--list", type=Path, metavar="FILE", help="`path label` of the rows of --features")
    command.add_argument("--array", default="", metavar="NAME", help="name of the matrix in a file with several")
    command.add_argument(
        "--backbone", metavar="ID", help="hub id or folder of the feature network, to predict from videos"
    )
    command.add_argument("--revision", default="main", metavar="NAME", help="revision of --backbone")
    command.add_argument(
        "--n-frames", type=number_above_zero, default=16, metavar="N", help="frames per clip for --backbone"
    )
    command.add_argument(
        "--size", type=number_above_zero, default=224, metavar="N", help="side of the clip for --backbone, in pixels"
    )
    command.add_argument(
        "--sampling", choices=("uniform", "dense"), default="uniform", help="frame sampling for --backbone"
    )
    command.set_defaults(run=import_model)

    command = commands.add_parser(
        "export-model",
        help="export a model in the layout of LF-CBM or DANCE, or as safetensors",
        example="export-model results/demo/model.pt --format safetensors --out shared/demo",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="a model file, such as results/demo/model.pt")
    command.add_argument("--format", choices=("lf-cbm", "dance", "safetensors"), required=True, help="the layout")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    command.set_defaults(run=export_model)

    command = commands.add_parser(
        "predict-features",
        help="class, probability and contributions from a feature matrix",
        example="predict-features results/theirs/model.pt features.npz",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="a model file whose concepts use only features")
    command.add_argument("matrix", type=Path, metavar="MATRIX", help=".pt, .npy, .npz, .mat or .safetensors")
    command.add_argument(
        "--list", type=Path, metavar="FILE", help="lines `path label` of its rows, to report the accuracy"
    )
    command.add_argument("--array", default="", metavar="NAME", help="name of the matrix in a file with several")
    command.add_argument("--top", type=number_above_zero, default=3, metavar="N", help="contributions per row")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=predict_features)
