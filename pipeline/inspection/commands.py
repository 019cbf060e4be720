"""The commands that look into caches: ``inspect``, ``diff``, ``stale``, ``prune``, ``export`` and ``thumbnails``.

Libraries are imported where they are used: a listing of hundreds of artifacts should take no longer than reading them.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.methods.commands import CONFIG, number_above_zero
from pipeline.store.plain import as_json

# Attributes of one artifact that differ and are printed.
LISTED = 12


def _inspect_video(call: argparse.Namespace) -> int:
    """``conceptreel inspect PATH --video ID``: the rows of one video, in one artifact or in all that have some."""
    import numpy as np

    from pipeline.inspection.cache import InspectionError, artifacts_in, nearest, section_of
    from pipeline.inspection.listing import inspect_folder
    from pipeline.inspection.rows import described, known_videos, video_rows
    from pipeline.store.inspect import inspect_artifact

    if call.path.is_dir():
        known = {path: known_videos(path) for path in artifacts_in(call.path)}
        paths = [path for path, videos in known.items() if call.video in videos]
        if not paths:
            everyone = [video for videos in known.values() for video in videos]
            raise InspectionError(f"{call.path} has no video `{call.video}`{nearest(call.video, everyone)}")
        stale = {Path(item.path): item.stale for item in inspect_folder(call.path, section_of(call.path, call.config))}
    else:
        paths = [call.path]
        report, _ = inspect_artifact(call.path)
        stale = {call.path: report.stale}
    found = [video_rows(path, call.video) for path in paths]
    if call.json:
        answer = [
            {
                "artifact": rows.path,
                "video_id": rows.video_id,
                "failed": rows.failed,
                "stale": stale[path],
                "values": {
                    name: value.tolist() if isinstance(value, np.ndarray) else value
                    for name, value in rows.values.items()
                },
            }
            for path, rows in zip(paths, found, strict=True)
        ]
        print(as_json(answer))
        return 0
    for path, rows in zip(paths, found, strict=True):
        print(f"{rows.path}{f'  STALE: {stale[path]}' if stale[path] else ''}")
        if rows.failed:
            print(f"  failed: {rows.failed}")
        for name, value in rows.values.items():
            first, *others = described(value, call.rows, name in rows.ragged)
            print(f"  {name}: {first}")
            for line in others:
                print(f"    {line}")
    return 0


def _print_decoding(reports: list[Any]) -> None:
    """Which decoders the frames came from, and what was unusual about single videos."""
    from collections import Counter

    decoders = {(report.stage, key): name for report in reports for key, name in report.decoders.items()}
    if decoders:
        print()
    for stage in dict.fromkeys(stage for stage, _ in decoders):
        counted = Counter(name for (own, _), name in decoders.items() if own == stage).most_common()
        words = ", ".join(f"{count} by {name}" for name, count in counted)
        print(f"decoded for {stage}: {words}")
    notes: dict[tuple[str, str], list[str]] = {}
    for report in reports:
        for key, note in report.unusual.items():
            notes.setdefault((key, note), []).append(report.stage)
    if notes:
        print(f"\nnoted ({len({key for key, _ in notes})} videos):")
        for (key, note), stages in sorted(notes.items()):
            print(f"  {key}: {note} [{', '.join(dict.fromkeys(stages))}]")


def inspect(call: argparse.Namespace) -> int:
    """``conceptreel inspect PATH``: a results folder or one artifact."""
    from pipeline.inspection.cache import InspectionError, section_of
    from pipeline.inspection.listing import inspect_folder
    from pipeline.inspection.text import readable, shape, table
    from pipeline.store.inspect import inspect_artifact

    if not call.path.exists():
        raise InspectionError(f"{call.path} does not exist")
    if call.video:
        return _inspect_video(call)
    if call.path.is_dir():
        reports = inspect_folder(call.path, section_of(call.path, call.config))
    else:
        reports = [inspect_artifact(call.path)[0]]
        if reports[0].problem:
            raise InspectionError(reports[0].problem)
    if call.json:
        print(as_json([asdict(report) for report in reports]))
        return 0
    base = call.path if call.path.is_dir() else call.path.parent
    rows = [
        [
            str(Path(report.path).relative_to(base)),
            str(report.rows),
            shape(report.shape),
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
    print(table(rows, header))
    if not call.path.is_dir():
        print("\narrays:")
        for name, item in reports[0].arrays.items():
            print(f"  {name}: {shape(item['shape'])} {item['dtype']}")
        print(f"settings: {as_json(reports[0].settings, None)}")
    for note in dict.fromkeys(f"{report.stage}: {note}" for report in reports for note in report.notes):
        print(f"\nnote: {note}")
    for sentence in dict.fromkeys(f"{report.stage}: {told}" for report in reports for told in report.warnings):
        print(f"\nwarning: {sentence}")
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
    _print_decoding(reports)
    total = sum(report.bytes for report in reports)
    stale = sum(bool(report.stale) for report in reports)
    print(
        f"\n{len(reports)} artifacts, {readable(total)}, {stale} stale, "
        f"{sum(bool(report.problem) for report in reports)} unreadable"
    )
    return 0


def _side_by_side(pairs: dict[str, tuple[Any, Any]], label: str) -> None:
    for number, (key, values) in enumerate(pairs.items()):
        if number == LISTED:
            print(f"  … and {len(pairs) - LISTED} more of these; --json tells all")
            break
        texts = ["absent" if value is None else as_json(value, None) for value in values]
        shown = [text if len(text) <= 60 else f"{text[:57]}…" for text in texts]
        print(f"  {label} {key}: {shown[0]} → {shown[1]}")


def diff(call: argparse.Namespace) -> int:
    """``conceptreel diff FIRST SECOND``; exit code 1 if their contents differ."""
    from pipeline.inspection.diff import compare_caches

    found = list(compare_caches(call.first, call.second))
    differing = [item for item in found if item.differs]
    if call.json:
        print(as_json([asdict(item) for item in found], default=str))
        return int(bool(differing))
    for item in found:
        print(f"{item.path}{f': only in the {item.only}' if item.only else ''}")
        if item.problem:
            print(f"  cannot be compared: {item.problem}")
        _side_by_side(item.provenance, "made with")
        _side_by_side(item.content, "content")
        for side, ids in zip(("first", "second"), item.videos, strict=True):
            if ids:
                more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
                print(f"  rows only in the {side} ({len(ids)}): {', '.join(ids[:5])}{more}")
        for array in item.arrays:
            print(f"  {array}")
        if not item.differs:
            print("  the content is the same")
    verb = "artifact differs" if len(differing) == 1 else "artifacts differ"
    print(f"\n{len(differing)} {verb}" if differing else "\nthe contents are the same")
    return int(bool(differing))


def stale(call: argparse.Namespace) -> int:
    """``conceptreel stale TARGET``; exit code 1 if something would run again, or is stale unnoticed."""
    from pipeline.config import dataset, load
    from pipeline.inspection.cache import InspectionError, place_of
    from pipeline.inspection.plan import plan
    from pipeline.inspection.stale import explain, lines

    place = place_of(call.target)
    if place.target == f"results/{place.dataset}":
        place = place_of(call.target / "model.pt")
    values = {}
    for item in call.set or ():
        key, sign, value = item.partition("=")
        if not sign:
            raise InspectionError(f"--set {item} has no `=`; write it as for snakemake --config, as data_root=/my/data")
        values[key] = value
    dataset(load(call.config or place.run_folder / "config.yaml"), place.dataset)
    answer = explain(place, plan(place, call.config, values))
    if call.json:
        print(as_json(answer.as_dict(), default=str))
    else:
        print("\n".join(lines(answer)))
    return int(bool(answer.reruns or answer.believed))


def prune(call: argparse.Namespace) -> int:
    """``conceptreel prune RESULTS``: list what nothing refers to; delete it only with --delete."""
    from pipeline.config import load
    from pipeline.inspection.prune import all_leftovers, delete, no_run_at_work, results_above, results_folder
    from pipeline.inspection.text import readable, table

    folder = results_folder(call.path)
    # The configuration beside `results`, not that of the working folder: to another one all of them would be unknown.
    config = load(call.config or results_above(folder).parent / "config.yaml")
    found, spared = all_leftovers(call.path, config, call.everything)
    total = sum(item.bytes for item in found)
    if call.delete and found:
        with no_run_at_work(folder):
            delete(found, folder)
    if call.json:
        answer = [{"path": str(item.path), "bytes": item.bytes, "why": item.why} for item in found]
        more = {"files": len(spared), "bytes": sum(item.bytes for item in spared)}
        print(as_json({"deleted": call.delete, "bytes": total, "files": answer, "spared": more}))
        return 0
    if spared:
        size = readable(sum(item.bytes for item in spared))
        print(
            f"{len(spared)} files, {size}, stay: runs with another configuration were asked for them, or a finished "
            f"model is of a data set that is not configured; --everything lists them too\n"
        )
    if not found:
        print(f"{call.path}: nothing is left over")
        return 0
    rows = [[str(item.path.relative_to(folder)), readable(item.bytes), item.why] for item in found]
    print(table(rows, ["file", "size", "why"]))
    words = f"{len(found)} files, {readable(total)}"
    print(f"\ndeleted {words}" if call.delete else f"\n{words}; --delete removes them")
    return 0


def _root_of(folder: Path, config_path: Path, data_root: str) -> Path:
    """Folder of the videos of a cache, as the workflow has it.

    Raises:
        ConfigError: the configuration does not know the data set.
    """
    from pipeline.config import dataset, load

    config, name = load(config_path), folder.resolve().name
    dataset(config, name)
    return Path(config.root_of(name, folder.resolve().parent, data_root))


def export(call: argparse.Namespace) -> int:
    """``conceptreel export PATH --as FORMAT --out OUT``."""
    from pipeline.inspection import export as exporting

    if call.format == "npy":
        names = exporting.export_npy(call.path, call.out)
        print(f"{call.out}: {', '.join(names)}")
    elif call.format == "coco":
        count = exporting.export_coco(call.path, call.out, call.video)
        print(f"{call.out}: {count} poses")
    else:
        root = _root_of(call.path, call.config, call.data_root)
        count = exporting.export_fiftyone(call.path, call.out, root, call.video, not call.without_poses)
        print(f"{call.out}: {count} samples; fiftyone.Dataset.from_json reads them")
    return 0


def thumbnails(call: argparse.Namespace) -> int:
    """``conceptreel thumbnails RESULTS --out SHEET.png``."""
    from itertools import islice

    from pipeline.inspection import thumbnails as sheets
    from pipeline.inspection.cache import InspectionError

    if call.out.suffix.lower() not in sheets.SUFFIXES:
        raise InspectionError(f"{call.out}: pictures are written as {', '.join(sheets.SUFFIXES)}")
    videos = sheets.chosen_videos(call.path, getattr(call, "class"), call.split, call.video)
    if not videos:
        raise InspectionError(f"no video of {call.path} is of that class and split and ok")
    if call.frames == "keyframes":
        root = _root_of(call.path, call.config, call.data_root)
        tiles = list(sheets.keyframe_tiles(call.path, videos, root, call.size, call.limit))
    else:
        whole = bool(call.video)
        chosen = videos if whole else sheets.spread(videos, call.limit)
        tiles = list(islice(sheets.clip_tiles(call.path, chosen, whole), call.limit))
    sheets.write_sheet(sheets.contact_sheet(tiles, call.columns, call.size), call.out)
    print(f"{call.out}: {len(tiles)} pictures of {len(videos)} videos")
    return 0


def add_commands(commands: Any) -> None:
    """Add the commands of this package to those of ``conceptreel``."""
    command = commands.add_parser(
        "inspect", help="list artifacts: rows, size, counts, origin, state", example="inspect results/demo"
    )
    command.add_argument("path", type=Path, metavar="PATH", help="results/<data set> or one artifact")
    command.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help="configuration to compare the settings with"
    )
    command.add_argument("--video", metavar="ID", help="print the rows of this video instead")
    command.add_argument("--rows", type=number_above_zero, default=3, metavar="N", help="rows to print of each array")
    command.add_argument("--json", action="store_true", help="print JSON; with --video all values")
    command.set_defaults(run=inspect)

    command = commands.add_parser(
        "diff",
        help="compare two caches: artifacts, provenance, arrays and rows",
        example="diff before/results/demo results/demo",
    )
    command.add_argument("first", type=Path, metavar="FIRST", help="results/<data set> or one artifact")
    command.add_argument("second", type=Path, metavar="SECOND", help="the same, of another run")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=diff)

    command = commands.add_parser(
        "stale",
        help="what would run again for a file, why, and for how long",
        example="stale results/demo/model.pt",
    )
    command.add_argument(
        "target", type=Path, metavar="TARGET", help="results/<data set>/model.pt, or the output of any rule"
    )
    command.add_argument("--config", type=Path, metavar="FILE", help="same as snakemake --configfile")
    command.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="same as snakemake --config; may be repeated"
    )
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=stale)

    command = commands.add_parser(
        "prune", help="list files that are no longer needed; delete them on request", example="prune results"
    )
    command.add_argument("path", type=Path, metavar="PATH", help="results, or results/<data set>")
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration to keep files for; default: config.yaml beside results",
    )
    command.add_argument(
        "--everything", action="store_true", help="include files that runs with other configurations need"
    )
    command.add_argument("--delete", action="store_true", help="delete the listed files")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=prune)

    command = commands.add_parser(
        "export",
        help="export caches as NumPy files, COCO keypoints or FiftyOne samples",
        example="export results/demo --as coco --out poses.json",
    )
    command.add_argument(
        "path", type=Path, metavar="PATH", help="results/<data set>; for npy also a folder below it or one artifact"
    )
    command.add_argument(
        "--as", dest="format", choices=("npy", "coco", "fiftyone"), required=True, help="the format to write"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="OUT", help="npy: a new folder; coco, fiftyone: a .json file"
    )
    command.add_argument(
        "--video", action="append", metavar="ID", help="coco, fiftyone: only this video; may be repeated"
    )
    command.add_argument("--without-poses", action="store_true", help="fiftyone: leave out keypoints")
    command.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help="fiftyone: configuration that locates the videos"
    )
    command.add_argument(
        "--data-root", default="", metavar="DIR", help="fiftyone: replaces data_root of the configuration"
    )
    command.set_defaults(run=export)

    command = commands.add_parser(
        "thumbnails",
        help="make a contact sheet of videos or key frames, PNG or JPEG",
        example="thumbnails results/demo --out sheet.png",
    )
    command.add_argument("path", type=Path, metavar="RESULTS", help="results/<data set>")
    command.add_argument("--out", type=Path, required=True, metavar="SHEET", help="SHEET.png or SHEET.jpg")
    command.add_argument(
        "--frames",
        choices=("clip", "keyframes"),
        default="clip",
        help="clip: from the cache, the middle frame, all frames with --video; keyframes: from the video files",
    )
    command.add_argument("--class", action="append", metavar="CLASS", help="only this class; may be repeated")
    command.add_argument("--split", action="append", metavar="NAME", help="only this split; may be repeated")
    command.add_argument("--video", action="append", metavar="ID", help="only this video; may be repeated")
    command.add_argument(
        "--limit",
        type=number_above_zero,
        default=64,
        metavar="N",
        help="largest number of pictures, spread over the videos",
    )
    command.add_argument("--columns", type=number_above_zero, default=8, metavar="N", help="pictures per row")
    command.add_argument("--size", type=number_above_zero, default=112, metavar="N", help="side of a picture in pixels")
    command.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help="keyframes: configuration that locates the videos"
    )
    command.add_argument(
        "--data-root", default="", metavar="DIR", help="keyframes: replaces data_root of the configuration"
    )
    command.set_defaults(run=thumbnails)
