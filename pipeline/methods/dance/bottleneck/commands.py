"""Command of the bottleneck: ``evaluate``, a model on a data set or split that it was not trained on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def evaluate(call: argparse.Namespace) -> int:
    """``conceptreel evaluate MODEL RESULTS``: accuracy on mapped classes, and what edited weights fix and break."""
    import numpy as np

    from pipeline.jobs.stage import StageError
    from pipeline.methods.dance.bottleneck import cross_domain
    from pipeline.methods.dance.bottleneck.recogniser import read_model

    if not (call.results / "data" / "index.parquet").is_file():
        raise StageError(
            f"{call.results} holds no data/index.parquet; `snakemake --cores all {call.results}/data/index.parquet` "
            f"makes it, and backbone/features beside it what the model reads"
        )
    model = read_model(call.model)
    videos = cross_domain.read_videos(call.results, call.split, model)
    if call.map:
        mapped = cross_domain.read_map(call.map, videos.class_names, model.class_names)
    else:
        mapped = cross_domain.map_by_name(videos.class_names, model.class_names)
    known = np.array([name in mapped for name in videos.class_name])
    if not known.any():
        raise StageError(f"no video of split `{call.split}` has a class that the model knows")
    label = np.array([mapped[name] for name in videos.class_name if name in mapped], np.int64)
    z = cross_domain.activations_of(model, videos)[known]
    before = cross_domain.decide(model, z, label)
    answer: dict[str, Any] = {
        "model": str(call.model),
        "results": str(call.results),
        "split": call.split,
        "n_videos": int(known.sum()),
        "n_left_out": int((~known).sum()),
        "n_classes": len(np.unique(label)),
        "top1": float(before.right.mean()),
        "top1_among_mapped": float((before.among == label).mean()),
        "classes": cross_domain.by_class(model, before),
    }
    if call.set_weight:
        edited, edits = model, []
        for concept, class_name, value in call.set_weight:
            edited, edit = cross_domain.with_weight(edited, concept, class_name, value)
            edits.append(edit)
        after = cross_domain.decide(edited, z, label)
        ids = np.array(videos.video_id, object)[known]
        answer |= {
            "edits": edits,
            "edited_top1": float(after.right.mean()),
            "fixed": ids[~before.right & after.right].tolist(),
            "broken": ids[before.right & ~after.right].tolist(),
        }
    if call.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print(answer)
    return 0


def _print(answer: dict[str, Any]) -> None:
    left_out = f"; {answer['n_left_out']} videos of other classes left out" if answer["n_left_out"] else ""
    print(
        f"{answer['results']}, split `{answer['split']}`: {answer['n_videos']} videos of {answer['n_classes']} classes "
        f"that the model knows{left_out}"
    )
    print(f"top-1 {answer['top1']:.3f}, among these classes alone {answer['top1_among_mapped']:.3f}\n")
    width = max(len(row["class"]) for row in answer["classes"])
    for row in answer["classes"]:
        wrong = f"   mostly taken for {row['taken_for']}" if row["taken_for"] else ""
        print(f"  {row['class']:<{width}}  {row['right']:>5} of {row['videos']}{wrong}")
    if "edits" in answer:
        print()
        for edit in answer["edits"]:
            print(
                f"weight of {edit['type']} `{edit['concept']}` for {edit['class']}: {edit['before']:.3f} → "
                f"{edit['after']:.3f}"
            )
        fixed, broken = len(answer["fixed"]), len(answer["broken"])
        print(f"fixed {fixed}, broken {broken}: top-1 {answer['top1']:.3f} → {answer['edited_top1']:.3f}")
        for name in ("fixed", "broken"):
            if answer[name]:
                more = ", …" if len(answer[name]) > 8 else ""
                print(f"  {name:<6}  {', '.join(answer[name][:8])}{more}")


def add_commands(commands: Any) -> None:
    """Add the command to the parser of ``conceptreel``."""
    command = commands.add_parser("evaluate", help="a model on another data set or split, with weights edited on trial")
    command.add_argument("model", type=Path)
    command.add_argument("results", type=Path, help="results/<data set>, with index and features")
    command.add_argument("--split", default="test", help="of that data set; all takes every video")
    command.add_argument("--map", type=Path, help="lines `class of the data set,class of the model`; else by name")
    command.add_argument(
        "--set-weight",
        nargs=3,
        action="append",
        default=[],
        metavar=("CONCEPT", "CLASS", "VALUE"),
        help="on trial, the model file stays; may be repeated",
    )
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=evaluate)
