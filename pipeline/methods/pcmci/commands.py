"""Commands of PCMCI: ``intervene`` asks a model what if, ``couplings`` tells which labels a run couples falsely."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from pipeline.methods.commands import INPUT, add_model, asked_of, number_above_zero, open_model
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.plain import as_json


def _texts(given: list[str]) -> dict[str, str]:
    """Label → text of ``LABEL=TEXT``.

    Raises:
        StageError: another form.
    """
    pairs = [item.partition("=") for item in given]
    for item, (name, sign, text) in zip(given, pairs, strict=True):
        if not (name and sign and text.strip()):
            raise StageError(f'--do {item!r} is not of the form "label=text"')
    return {name.strip(): text.strip() for name, _, text in pairs}


def _span(given: str | None) -> tuple[float, float] | None:
    """Seconds of ``10-20``.

    Raises:
        StageError: another form, or it ends before it begins.
    """
    if given is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*", given)
    if not found or not float(found[1]) < float(found[2]):
        raise StageError(f"--drop-frames {given!r} is not a span of seconds such as 10-20")
    return float(found[1]), float(found[2])


def intervene(call: argparse.Namespace) -> int:
    """``conceptreel intervene MODEL INPUT --out DIR``."""
    texts, span = _texts(call.do), _span(call.drop_frames)
    opened = open_model(call, call.input)
    from pipeline.data.readers import VideoError
    from pipeline.methods.models import able
    from pipeline.methods.pcmci.pictures import write

    model = able(opened, "intervene", "intervene")
    video = asked_of(call, model, call.input)
    try:
        seen = model.see(video)
    except VideoError as error:
        raise StageError(f"{call.input} cannot be read: {error}") from None
    words = "; ".join(
        [
            *(f"do({name} = {text})" for name, text in texts.items()),
            *([f"without {span[0]:g}-{span[1]:g} s"] if span else []),
        ]
    )
    after = model.under(seen, texts, span) if words else None
    print("\n".join(write(model, video, seen, call.out, call.top, after, words, model.truth(video))))
    return 0


def couplings(call: argparse.Namespace) -> int:
    """``conceptreel couplings RESULTS``: how densely labels and predictions are coupled, and false pairs by name."""
    from pipeline.store.tables import read_table

    path = call.results / "pcmci/couplings.parquet"
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; `snakemake --cores all {call.results}/pcmci/model.pt` makes it")
    table, attributes = read_table(path)
    rows = table.to_pylist()
    if call.json:
        print(as_json({"sets": attributes["sets"], "pairs": rows}, None))
        return 0
    print("part of all pairs of labels that are coupled, in the labels and by the network")
    print(f"{'network':<18}{'set':>9}{'labels':>9}{'network':>9}{'false':>9}{'missed':>9}{'recall':>9}")
    for own in attributes["sets"]:
        figures = "".join(f"{own[key]:9.4f}" for key in ("true_density", "density", "false", "missed", "recall"))
        print(f"{own['network']:<18}{own['do']:>9}{figures}")
    print("\nfalse couplings: P(label | other) of the network above 0.6, of the labels not")
    for row in rows[: call.top]:
        pair = f"{row['label']} | {row['given']}"
        print(f"  {row['network']:<12}{row['do']:>9}  {pair}: {row['predicted']:.2f}, true {row['true']:.2f}")
    if len(rows) > call.top:
        print(f"  and {len(rows) - call.top} more")
    return 0


def add_commands(commands: Any) -> None:
    """Add the commands to the parser of ``conceptreel``."""
    command = commands.add_parser(
        "intervene",
        help="what a PCMCI model predicts if a label has another text or frames are missing",
        example="intervene results/breakfast/pcmci/model.pt film.avi --out reasons/ --drop-frames 10-20",
    )
    add_model(command, 3, "labels that are drawn")
    command.add_argument("input", metavar="INPUT", help=INPUT)
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for pictures and explanation.json"
    )
    command.add_argument(
        "--do", action="append", default=[], metavar="LABEL=TEXT", help="replace the text of a label; may be repeated"
    )
    command.add_argument("--drop-frames", metavar="FROM-TO", help="drop the frames between these seconds")
    command.set_defaults(run=intervene)

    command = commands.add_parser(
        "couplings",
        help="which labels a PCMCI run couples only because training did",
        example="couplings results/interventions_demo",
    )
    command.add_argument("results", type=Path, metavar="RESULTS", help="results/<data set>")
    command.add_argument("--top", type=number_above_zero, default=20, metavar="N", help="false couplings to list")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=couplings)
