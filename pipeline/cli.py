"""The ``conceptreel`` command: look into caches, ask models. Commands import the heavy libraries that they need."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.ablations import commands as ablation_commands
from pipeline.bottleneck import commands as bottleneck_commands
from pipeline.config import ConfigError, dataset, load
from pipeline.store.atomic import ArtifactError


class UsageError(ValueError):
    """Something on the command line cannot be done; one line says what would work."""


def _table(rows: list[list[str]], header: list[str]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    right = {
        header.index(name)
        for name in ("rows", "size", "ok", "done", "running", "failed", "waiting", "seconds")
        if name in header
    }
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _inspect_folder(folder: Path, config_path: Path) -> list[Any]:
    from pipeline.stages import STAGES, settings_digest, shards
    from pipeline.store.inspect import expand, inspect_artifact, is_artifact, mark_stale

    found = [inspect_artifact(path) for path in sorted(folder.rglob("*")) if is_artifact(path)]
    if not found:
        raise UsageError(f"{folder} holds no artifact; `snakemake --cores all {folder}/model.pt` makes them")
    # A folder without a configuration (copied from elsewhere) can still be looked at, but not judged.
    if config_path.is_file():
        config = load(config_path)
        if folder.name in config.datasets:
            section = dataset(config, folder.name)
            by_floor: dict[str, tuple[str, ...]] = {}
            for stage in STAGES.values():
                by_floor[stage.floor] = by_floor.get(stage.floor, ()) + stage.artifacts
            digests = {name: settings_digest(section, name) for name in STAGES}
            mark_stale(folder, found, digests, expand(by_floor, shards(section)))
    return [report for report, _ in found]


def inspect(call: argparse.Namespace) -> int:
    """``conceptreel inspect PATH``: a results folder or one artifact."""
    from pipeline.store.inspect import inspect_artifact, readable

    if call.path.is_dir():
        reports = _inspect_folder(call.path, call.config)
    elif call.path.is_file():
        reports = [inspect_artifact(call.path)[0]]
    else:
        raise UsageError(f"{call.path} does not exist")
    if call.json:
        print(json.dumps([asdict(report) for report in reports], indent=2, ensure_ascii=False))
        return 0
    base = call.path if call.path.is_dir() else call.path.parent
    rows = [
        [
            str(Path(report.path).relative_to(base)),
            str(report.rows),
            "×".join(map(str, report.shape)),
            report.dtype,
            readable(report.bytes),
            str(report.ok),
            str(len(report.failed)),
            f"{report.seconds:.1f}",
            f"{report.stage}@{report.code[:8]} {report.revision}".strip(),
            "UNREADABLE" if report.problem else report.stale or "current",
        ]
        for report in reports
    ]
    header = ["artifact", "rows", "shape", "dtype", "size", "ok", "failed", "seconds", "made by", "state"]
    print(_table(rows, header))
    if len(reports) == 1 and not reports[0].problem:
        print("\narrays:")
        for name, item in reports[0].arrays.items():
            print(f"  {name}: {'×'.join(map(str, item['shape']))} {item['dtype']}")
        print(f"settings: {json.dumps(reports[0].settings, ensure_ascii=False)}")
    reasons: dict[str, dict[str, list[str]]] = {}
    for report in reports:
        if report.problem:
            print(f"\n{report.problem}")
        for item in report.failed:
            reasons.setdefault(item["video_id"], {}).setdefault(item["reason"], []).append(report.stage)
    if reasons:
        print(f"\nfailed ({len(reasons)} videos):")
        for video_id, by_reason in sorted(reasons.items()):
            for reason, stages in by_reason.items():
                print(f"  {video_id}: {reason} [{', '.join(dict.fromkeys(stages))}]")
    total = sum(report.bytes for report in reports)
    stale = sum(bool(report.stale) for report in reports)
    print(
        f"\n{len(reports)} artifacts, {readable(total)}, {stale} stale, "
        f"{sum(bool(report.problem) for report in reports)} unreadable"
    )
    return 0


def status(call: argparse.Namespace) -> int:
    """``conceptreel status RESULTS``; exit code 1 if some job has failed."""
    from pipeline.status import HEADER, as_dict, closing_words, run_status, table

    if not call.results.is_dir():
        raise UsageError(f"{call.results} does not exist; `snakemake --cores all {call.results}/model.pt` begins a run")
    section = None
    if call.config.is_file():
        section = load(call.config).datasets.get(call.results.resolve().name)
    # results/<data set> lies below the folder that Snakemake runs in.
    stages = run_status(call.results, section, call.results.resolve().parent.parent)
    if not stages:
        raise UsageError(f"{call.results} holds neither artifacts nor logs of a run")
    failures = [failure for item in stages for failure in item.failures]
    if call.json:
        print(json.dumps(as_dict(stages), indent=2, ensure_ascii=False))
        return int(bool(failures))
    print(_table(table(stages), HEADER))
    for failure in failures:
        by = f" (SLURM job {failure.slurm})" if failure.slurm else ""
        print(f"\nfailed: {failure.job}{by}: {failure.error}\n  log: {failure.log}")
    print(f"\n{closing_words(stages)}")
    return int(bool(failures))


def predict(call: argparse.Namespace) -> int:
    """``conceptreel predict MODEL VIDEO…``; exit code 1 if some video could not be read."""
    from pipeline.bottleneck.recogniser import load as load_model
    from pipeline.data.readers import VideoError
    from pipeline.explain.predict import VideoPredictor

    predictor = VideoPredictor(load_model(call.model))
    results = []
    for path in call.videos:
        try:
            prediction = predictor.predict(path, call.top)
        except VideoError as error:
            results.append({"video": str(path), "error": str(error)})
            if not call.json:
                print(f"{path}: cannot be read: {error}")
            continue
        results.append(
            {
                "video": str(path),
                "class": prediction.class_name,
                "probability": prediction.probability,
                "probabilities": dict(
                    zip(predictor.model.class_names, map(float, prediction.probabilities), strict=True)
                ),
                "contributions": [asdict(item) for item in prediction.contributions],
            }
        )
        if not call.json:
            print(f"{path}: {prediction.class_name} ({prediction.probability:.1%})")
            for item in prediction.contributions:
                print(f"  {item.contribution:+7.3f}  {item.type:<6}  {item.concept}")
    if call.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    return int(any("error" in item for item in results))


def _seen_with_maps(call: argparse.Namespace) -> tuple[Any, Any]:
    """A predictor whose model has maps, and what it sees in the input.

    Raises:
        UsageError: the model has no maps, or the input does not decode.
    """
    from pipeline.bottleneck.recogniser import load as load_model
    from pipeline.data.readers import VideoError
    from pipeline.explain.predict import VideoPredictor

    model = load_model(call.model)
    if not model.has_maps:
        raise UsageError(
            f"{call.model} has no maps: its concepts see the whole clip. A model with maps is made with "
            f"bottleneck.concept_layers.kinds: [dance+salf] or [salf]"
        )
    predictor = VideoPredictor(model)
    try:
        return predictor, predictor.look(call.input)
    except VideoError as error:
        raise UsageError(f"{call.input} cannot be read: {error}") from None


def _map_of(model: Any, name: str) -> int:
    """Position of a concept's map among the maps."""
    located = model.concepts[model.n_whole :]
    if name in located:
        return located.index(name)
    if name in model.concepts:
        raise UsageError(f"`{name}` is a {model.types[model.concepts.index(name)]} concept and has no map")
    near = difflib.get_close_matches(name, located, n=1, cutoff=0)
    raise UsageError(f"the model has no concept `{name}`; did you mean `{near[0]}`?")


def _region(call: argparse.Namespace, predictor: Any, view: Any) -> Any:
    """The mask that --box, --point or --mask name, bool ``[height, width]``."""
    from pipeline.explain.regions import box_mask, point_mask, read_mask

    if call.box:
        return box_mask(view.height, view.width, tuple(call.box))
    if call.point:
        return point_mask(view.height, view.width, tuple(call.point), predictor.places["radius"])
    return read_mask(call.mask)


def explain(call: argparse.Namespace) -> int:
    """``conceptreel explain MODEL INPUT --out DIR``: the strongest located concepts as heatmaps, everything as JSON."""
    from pipeline.explain.overlay import draw, write_animation, write_strip
    from pipeline.store.atomic import replace_when_done

    if call.out.exists() and not call.out.is_dir():
        raise UsageError(f"{call.out} is a file; --out names a folder")
    predictor, seen = _seen_with_maps(call)
    model = predictor.model
    prediction = predictor.decision(seen, len(model.concepts))
    shown = [item for item in prediction.contributions if item.index >= model.n_whole][: call.top]
    maps = [seen.maps[..., item.index - model.n_whole] for item in shown]
    drawn = [draw(seen.frames, concept_map, seen.view) for concept_map in maps]
    call.out.mkdir(parents=True, exist_ok=True)
    files = []
    for rank, (item, concept_map, pictures) in enumerate(zip(shown, maps, drawn, strict=True), 1):
        stem = f"{rank:02d}_{re.sub('[^A-Za-z0-9]+', '_', item.concept)}"
        writers = [(".png", write_strip)] + ([(".gif", write_animation)] if len(pictures) > 1 else [])
        written = []
        for suffix, write in writers:
            with replace_when_done(call.out / f"{stem}{suffix}") as temporary:
                write(temporary, pictures)
            written.append(f"{stem}{suffix}")
        files.append({**asdict(item), "map": concept_map.round(4).tolist(), "files": written})
    top, left, side = seen.view.square
    answer = {
        "input": str(call.input),
        "class": prediction.class_name,
        "probability": prediction.probability,
        "contributions": [asdict(item) for item in prediction.contributions],
        "located": files,
        "square": {"left": left, "top": top, "side": side},
        "places": {"rows": seen.view.rows.tolist(), "columns": seen.view.columns.tolist()},
        "seconds": seen.times.tolist(),
    }
    with replace_when_done(call.out / "explanation.json") as temporary:
        temporary.write_text(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    print(f"{call.input}: {prediction.class_name} ({prediction.probability:.1%})")
    for item in prediction.contributions[: call.top]:
        print(f"  {item.contribution:+7.3f}  {item.type:<6}  {item.concept}")
    for item in files:
        print(f"where     {call.out / item['files'][-1]}")
    if not files:
        print("where     no located concept contributes to this decision")
    print(f"all       {call.out / 'explanation.json'}")
    return 0


def ask(call: argparse.Namespace) -> int:
    """``conceptreel ask MODEL INPUT --box …``: the concepts that are strongest in a region (Explain Anything)."""
    from pipeline.explain.regions import RegionError, region_activations

    predictor, seen = _seen_with_maps(call)
    try:
        values = region_activations(seen.maps, seen.view, _region(call, predictor, seen.view), call.reduce)
    except RegionError as error:
        raise UsageError(str(error)) from None
    model = predictor.model
    order = sorted(range(len(values)), key=lambda m: -values[m])[: call.top]
    found = [
        {"concept": model.concepts[model.n_whole + m], "type": model.types[model.n_whole + m], "activation": values[m]}
        for m in order
    ]
    if call.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for item in found:
            print(f"  {item['activation']:+10.3f}  {item['type']:<6}  {item['concept']}")
    return 0


def edit(call: argparse.Namespace) -> int:
    """``conceptreel edit MODEL INPUT --concept NAME --box … --beta B``: the decision after a local intervention."""
    from pipeline.explain.regions import RegionError, edited

    if not math.isfinite(call.beta):
        raise UsageError(f"--beta {call.beta} is no number to add")
    predictor, seen = _seen_with_maps(call)
    concept = _map_of(predictor.model, call.concept)
    try:
        maps = edited(seen.maps, seen.view, _region(call, predictor, seen.view), concept, call.beta)
    except RegionError as error:
        raise UsageError(str(error)) from None
    before, after = predictor.decision(seen), predictor.decision(seen, maps=maps)
    names = predictor.model.class_names
    if call.json:
        answer = {
            "before": dict(zip(names, map(float, before.probabilities), strict=True)),
            "after": dict(zip(names, map(float, after.probabilities), strict=True)),
            "class_before": before.class_name,
            "class_after": after.class_name,
        }
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    print(f"before: {before.class_name}, after: {after.class_name}")
    changes = sorted(range(len(names)), key=lambda k: -max(before.probabilities[k], after.probabilities[k]))
    for k in changes[: call.top]:
        print(f"  {before.probabilities[k]:6.1%} → {after.probabilities[k]:6.1%}  {names[k]}")
    return 0


def _print_localisation(path: Path) -> None:
    """The table of the stage `localise`: one line per method, one column per figure."""
    from pipeline.store.tables import read_table

    rows = read_table(path)[0].to_pylist()
    columns = ("pointing", "pixel_accuracy", "mean_iou", "mean_average_precision")
    values = {(row["method"], row["figure"]): row["value"] for row in rows}
    methods = [method for method, figure in values if figure == "pointing"]
    print("\nwhere the object is, against the masks of the test clips:")
    cells = [[method, *(f"{values[method, column]:.3f}" for column in columns)] for method in methods]
    print(_table(cells, ["method", *columns]))
    for (method, figure), value in values.items():
        if (method, figure.removesuffix("_strict")) not in [(method, column) for column in columns]:
            print(f"  {method}: {figure.replace('_', ' ')} {value:g}")


def summary(call: argparse.Namespace) -> int:
    """``conceptreel summary RESULTS``: the figures of a finished run and where everything lies."""
    folder: Path = call.results
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
    except FileNotFoundError:
        raise UsageError(f"{folder} has no metrics.json; `snakemake --cores all {folder}/model.pt` makes it") from None
    print(
        f"{metrics['dataset']}: {metrics['n_train']} train, {metrics['n_val']} validation, "
        f"{metrics['n_test']} test videos"
    )
    ceilings = metrics.get("ceilings", {})
    print(f"\ntest accuracy (top-1)        {metrics['top1']:.3f}   with {metrics['nnz']} non-zero weights")
    for kind in ("motion", "object", "scene"):
        if kind in metrics["top1_by_type"]:
            limit = f"   (ceiling by construction {ceilings[kind]:.3f})" if kind in ceilings else ""
            count = metrics["n_concepts"][kind]
            print(f"  {kind:<8} concepts alone     {metrics['top1_by_type'][kind]:.3f}   {count} concepts{limit}")
    print(f"  backbone features alone     {metrics['backbone_top1']:.3f}   the same classifier without concepts")
    for name in (key for key in metrics if key.endswith("_top1") and key not in ("backbone_top1", "val_top1")):
        print(f"  on `{name.removesuffix('_top1')}`                {metrics[name]:.3f}")
    for name, value in metrics.get("evaluation", {}).items():
        print(f"  {name:<27} {value:.3f}")
    for kind, figures in metrics["kinds"].items() if len(metrics.get("kinds", {})) > 1 else ():
        others = "".join(
            f", on `{name.removesuffix('_top1')}` {figures[name]:.3f}"
            for name in figures
            if name.endswith("_top1") and name != "val_top1"
        )
        print(f"  model kind {kind:<16} {figures['top1']:.3f}{others}")
    if (folder / "demo" / "localisation.parquet").is_file():
        _print_localisation(folder / "demo" / "localisation.parquet")
    if not call.video and metrics["dataset"] == "demo":
        candidates = sorted((folder / "demo" / "videos").glob("*_test_000.mp4"))
        call.video = candidates[0] if candidates else None
    if call.video:
        print("\nwhy? the three strongest concepts of one prediction:")
        predict(argparse.Namespace(model=folder / "model.pt", videos=[call.video], top=3, json=False))
    print(f"\nmodel     {folder / 'model.pt'}")
    print(f"metrics   {folder / 'metrics.json'}")
    for picture in sorted((folder / "explain").glob("*.png")):
        print(f"picture   {picture}")
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="conceptreel", description="Action recognition that explains itself.")
    result.add_argument("--version", action="version", version=f"conceptreel {__version__}")
    commands = result.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("inspect", help="list artifacts: rows, size, counts, origin, stale or not")
    command.add_argument("path", type=Path, help="results/<data set> or one artifact")
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="what to compare the settings with")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=inspect)

    command = commands.add_parser(
        "status", help="jobs done, running and failed; time and memory used and asked; time left"
    )
    command.add_argument("results", type=Path, help="results/<data set>")
    command.add_argument("--config", type=Path, default=Path("config.yaml"), help="tells how many shards there are")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=status)

    command = commands.add_parser("predict", help="class, probability and top contributions of videos")
    command.add_argument("model", type=Path)
    command.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    command.add_argument("--top", type=int, default=5, help="contributions per video")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=predict)

    command = commands.add_parser("explain", help="the located concepts of a decision as heatmaps over the frames")
    command.add_argument("model", type=Path)
    command.add_argument("input", type=Path, metavar="INPUT", help="a video or a picture")
    command.add_argument("--out", type=Path, required=True, help="folder for PNG, GIF and explanation.json")
    command.add_argument("--top", type=int, default=3, help="concepts that are drawn")
    command.set_defaults(run=explain)

    def add_region(command: argparse.ArgumentParser) -> None:
        command.add_argument("model", type=Path)
        command.add_argument("input", type=Path, metavar="INPUT", help="a video or a picture")
        region = command.add_mutually_exclusive_group(required=True)
        region.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="pixels of the input")
        region.add_argument("--point", type=float, nargs=2, metavar=("X", "Y"), help="stands for a circle around it")
        region.add_argument("--mask", type=Path, help="a picture of the input's size; everything but black is in")
        command.add_argument("--json", action="store_true", help="for programs")

    command = commands.add_parser("ask", help="the concepts that are strongest in a region")
    add_region(command)
    command.add_argument("--top", type=int, default=5, help="concepts that are told")
    command.add_argument(
        "--reduce", choices=("sum", "mean"), default="sum", help="over the pixels; sum grows with the region"
    )
    command.set_defaults(run=ask)

    command = commands.add_parser("edit", help="the decision if a concept were stronger or weaker in a region")
    add_region(command)
    command.add_argument("--concept", required=True, help="name of a located concept")
    command.add_argument("--beta", type=float, required=True, help="added to the map; its unit is a standard deviation")
    command.add_argument("--top", type=int, default=5, help="classes that are told")
    command.set_defaults(run=edit)

    bottleneck_commands.add_commands(commands)
    ablation_commands.add_commands(commands)

    command = commands.add_parser("summary", help="figures of a finished run and where its files are")
    command.add_argument("results", type=Path, help="results/<data set>")
    command.add_argument("--video", type=Path, help="the video whose prediction is explained")
    command.set_defaults(run=summary)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Entry of the command: expected errors are one line on stderr and exit code 2."""
    from pipeline.stage import StageError

    call = parser().parse_args(arguments)
    try:
        return call.run(call)
    except (UsageError, ConfigError, ArtifactError, StageError, OSError) as error:
        print(f"conceptreel: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
