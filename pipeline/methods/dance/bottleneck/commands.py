"""Command of the bottleneck: ``evaluate``, a model on a data set or split that it was not trained on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.methods.commands import INDEX, check_file
from pipeline.store.plain import as_json


def evaluate(call: argparse.Namespace) -> int:
    """``conceptreel evaluate MODEL RESULTS``: accuracy on mapped classes, and what edited weights fix and break."""
    for path in (call.model, call.results / INDEX, *filter(None, [call.map])):
        check_file(path)
    from pipeline.methods.dance.bottleneck.cross_domain import evaluate as evaluated
    from pipeline.methods.dance.bottleneck.cross_domain import files_in
    from pipeline.methods.dance.bottleneck.recogniser import read_model

    edits = [(concept, class_name, weight) for class_name, concept, weight in call.weight]
    found = evaluated(read_model(call.model), files_in(call.results), str(call.results), call.split, call.map, edits)
    answer = {"model": str(call.model), **found}
    if call.json:
        print(as_json(answer))
    else:
        _print(answer)
    return 0


def _print(answer: dict[str, Any]) -> None:
    from pipeline.learning.metrics import wilson

    left_out = f"; {answer['n_left_out']} videos of other classes left out" if answer["n_left_out"] else ""
    print(
        f"{answer['results']}, split `{answer['split']}`: {answer['n_videos']} videos of {answer['n_classes']} classes "
        f"that the model knows{left_out}"
    )
    total = answer["n_videos"]
    right = sum(row["right"] for row in answer["classes"])
    low, high = wilson(right, total)
    print(
        f"top-1 {answer['top1']:.3f} ({right} of {total}, 95 % interval {low:.3f} to {high:.3f}); among these "
        f"classes alone {answer['top1_among_mapped']:.3f}\n"
    )
    width = max(len(row["class"]) for row in answer["classes"])
    for row in answer["classes"]:
        lost = row["videos"] - row["right"]
        wrong = f"   {lost} taken for {row['taken_for']}" if lost == 1 else ""
        if lost > 1:
            wrong = f"   {lost} taken for other classes, mostly {row['taken_for']}"
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
    command = commands.add_parser(
        "evaluate",
        help="evaluate a model on another data set or split, with trial edits",
        example="evaluate results/demo/model.pt results/demo --split shifted",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="a model file, such as results/demo/model.pt")
    command.add_argument("results", type=Path, metavar="RESULTS", help="results/<data set>, with index and features")
    command.add_argument(
        "--split", default="test", metavar="NAME", help="split of that data set; all takes every video"
    )
    command.add_argument(
        "--map", type=Path, metavar="FILE", help="lines `class of the data set,class of the model`; else by name"
    )
    command.add_argument(
        "--weight",
        nargs=3,
        action="append",
        default=[],
        metavar=("CLASS", "CONCEPT", "WEIGHT"),
        help="trial edit, the model file does not change; may be repeated",
    )
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=evaluate)
