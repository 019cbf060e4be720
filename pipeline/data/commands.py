"""Commands about data sets: ``conceptreel init`` for one's own videos, ``conceptreel check`` for any configured set."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline.data.entries import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Entry
from pipeline.data.lists import read_listing
from pipeline.data.sets import MADE
from pipeline.data.sets.folders import split_folders
from pipeline.data.sets.listing import Listing, files_in, folders_in
from pipeline.methods.commands import CONFIG
from pipeline.settings import ConfigError
from pipeline.store.atomic import StageError
from pipeline.store.plain import as_json

VIDEOS_PER_SHARD = 200
SHOWN = 10


class InitError(ConfigError):
    """A folder or configuration that cannot be used; nothing was written."""


# -------------------------------------------------------------------------------------------------------------- report


def counts(listing: Listing) -> dict[str, Any]:
    """Videos by split and class, and what is wrong, for people and programs alike."""
    splits = [part for part in ("train", "val", "test") if any(entry.split == part for entry in listing.entries)]
    splits += sorted({entry.split for entry in listing.entries} - set(splits))
    good = [entry for entry in listing.entries if not entry.problem]
    usable = Counter(entry.split for entry in good)
    by_class = Counter((entry.split, name) for entry in good for name in entry.class_names)
    n_labels = Counter(len(entry.labels) for entry in good)
    return {
        "classes": len(listing.class_names),
        "videos": len(listing.entries),
        "splits": {
            part: {
                "listed": sum(entry.split == part for entry in listing.entries),
                "usable": usable[part],
            }
            for part in splits
        },
        "by_class": {name: {part: by_class[part, name] for part in splits} for name in listing.class_names},
        "endings": dict(Counter(Path(entry.path).suffix.lower() for entry in listing.entries).most_common()),
        "videos_by_labels": {str(number): n_labels[number] for number in sorted(n_labels)},
        "segments": sum(len(entry.segments) for entry in good),
        "published": listing.published,
        "notes": listing.notes,
        "missing": listing.missing,
        "unused": listing.unused,
        "copies": listing.copies,
        "problems": {entry.path: entry.problem for entry in listing.entries if entry.problem},
    }


def _print_counts(report: dict[str, Any], by_class: bool) -> None:
    parts = ", ".join(
        f"{item['usable']:,} {name}" + (f" (of {item['listed']:,})" if item["usable"] != item["listed"] else "")
        for name, item in report["splits"].items()
    )
    print(f"{report['videos']:,} videos of {report['classes']} classes: {parts}")
    if len(report["endings"]) > 1:
        print("by ending: " + ", ".join(f"{count:,} {name or 'none'}" for name, count in report["endings"].items()))
    if set(report["videos_by_labels"]) - {"1"}:
        counted = ", ".join(f"{count:,} have {number}" for number, count in report["videos_by_labels"].items())
        print(f"videos by number of labels: {counted}")
    if report["segments"]:
        print(f"{report['segments']:,} labelled segments")
    if by_class:
        width = max(map(len, report["by_class"]))
        for name, own in report["by_class"].items():
            print(f"  {name:<{width}}  " + "  ".join(f"{count:>5,} {part}" for part, count in own.items()))
    for note in report["notes"]:
        print(f"note: {note}")
    for kind in ("missing", "unused", "copies"):
        for line in report[kind]:
            print(f"{kind}: {line}")
    problems = list(report["problems"].items())
    for path, problem in problems[:SHOWN]:
        print(f"problem: {path}: {problem}")
    if len(problems) > SHOWN:
        print(f"and {len(problems) - SHOWN:,} further problems; --json shows all")


def _judged(listing: Listing, settings: Any, root: Path) -> tuple[Listing, str]:
    """The listing with all that the stage `index` notes of it, and why that stage would stop; empty if it would not."""
    from pipeline.data.index import check_classes, check_splits, few_videos
    from pipeline.data.unused import with_findings

    listing = with_findings(listing, settings, root)
    listing = replace(listing, notes=[*listing.notes, *few_videos(listing)])
    try:
        check_splits(listing, settings)
        check_classes(listing, settings.unseen_classes)
    except StageError as error:
        return listing, str(error)
    return listing, ""


def check(call: argparse.Namespace) -> int:
    """``conceptreel check NAME``: what the configuration finds on disk; exit code 1 if something is missing."""
    from pipeline.config import dataset, load

    config = load(call.config)
    data = dataset(config, call.name).data
    if data.index.source in MADE:
        raise ConfigError(f"{call.name} is made by the pipeline itself; there is nothing to check")
    root = Path(config.root_of(call.name, data_root=call.data_root))
    listing, error = _judged(read_listing(data.index, root), data.index, root)
    report = counts(listing)
    wrong = bool(report["missing"] or report["problems"] or report["copies"] or error)
    if call.json:
        print(as_json({**report, "error": error}))
        return int(wrong)
    _print_counts(report, call.classes)
    if error:
        print(f"error: {error}")
    elif not wrong:
        left = ", but for what is unused" if report["unused"] else ""
        print("complete" + (", as published" if listing.published else "") + left)
    return int(wrong)


# ---------------------------------------------------------------------------------------------------------------- init


def _layout_of(folder: Path) -> tuple[str, dict[str, str]]:
    """Source, and split → folder, if the folder has splits inside."""
    if not folder.is_dir():
        raise InitError(f"{folder} is not a folder; name the one that has a folder of videos per class")
    for source, suffixes in (("folders", VIDEO_SUFFIXES), ("images", PICTURE_SUFFIXES)):
        splits = split_folders(folder, suffixes)
        place = folder / splits.get("train", "")
        if any(files_in(place / name, suffixes) for name in folders_in(place)):
            return source, splits
    loose = len(files_in(folder, VIDEO_SUFFIXES))
    found = f"{loose} videos lie there without a folder" if loose else "no video is found there"
    raise InitError(
        f"{folder} has no folder per class: {found}. Put the videos of each class into a folder named after it; "
        f"these endings are read: {', '.join(VIDEO_SUFFIXES)}"
    )


def _opened(entry: Entry, root: Path, decoder: Any, min_frames: int) -> tuple[Entry, tuple[int, float] | None]:
    """The entry, with a problem if its file is no video, and its frames and seconds; only the first is decoded."""
    from pipeline.data.readers import VideoError

    if entry.problem:
        return entry, None
    try:
        with decoder.open(root / entry.path) as video:
            if video.n_frames < min_frames:
                return replace(entry, problem=f"too_short: {video.n_frames} frames"), None
            return entry, (video.n_frames, float(video.timestamps[-1]))
    except VideoError as error:
        return replace(entry, problem=str(error)), None


def data_for(folder: Path, data_root: Path, group_pattern: str) -> tuple[dict[str, Any], Listing]:
    """Part `data` of the configuration of a folder of own videos, and what is in it.

    Raises:
        InitError: there is no folder per class.
        ListError: the classes cannot be used.
    """
    from pipeline.data.settings import Data

    source, splits = _layout_of(folder)
    index: dict[str, Any] = {"source": source}
    if group_pattern:
        index["group_pattern"] = group_pattern
    else:
        index["validation_by"] = "video"
    if "test" not in splits:
        index["test_fraction"] = 0.2
    root, above = Path(os.path.abspath(folder)), Path(os.path.abspath(data_root))
    data: dict[str, Any] = {
        "root": str(root.relative_to(above) if root.is_relative_to(above) else root),
        "index": index,
    }
    if source == "images":
        data["decode"] = {"min_frames": 1}
    listing = read_listing(Data.model_validate(data).index, root)
    if splits and "test" not in splits:
        note = "there is no test split; a fifth of train becomes one (data.index.test_fraction)"
        listing = replace(listing, notes=[note, *listing.notes])
    data = {**data, "shards": max(1, math.ceil(len(listing.entries) / VIDEOS_PER_SHARD))}
    return data, listing


def insert_section(text: str, name: str, section: dict[str, Any], source: str) -> str:
    """A configuration file with one more data set; everything else, comments too, stays as it is.

    Raises:
        InitError: the file is not laid out so that a data set can be added to it.
    """
    block = yaml.safe_dump({name: section}, sort_keys=False, allow_unicode=True)
    root = yaml.compose(text) if text.strip() else None
    lines = text.splitlines()
    place = None
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "datasets" and isinstance(value, yaml.MappingNode) and not value.flow_style:
            place, indent = value.end_mark.line, value.start_mark.column
    if place is None and not text.strip():
        lines, place, indent = ["datasets:"], 1, 2
    if place is None:
        raise InitError(f"{source} has no block `datasets:` to add to; add this section yourself:\n{block}")
    place = min(place, len(lines))
    # Comments before the next key belong to that key.
    while place > 0 and (not lines[place - 1].strip() or lines[place - 1].startswith("#")):
        place -= 1
    added = ["", *(" " * indent + line if line else line for line in block.splitlines())]
    changed = "\n".join([*lines[:place], *added, *lines[place:]]) + "\n"
    before = yaml.safe_load(text) or {}
    expected = {**before, "datasets": {**before.get("datasets", {}), name: section}}
    if yaml.safe_load(changed) != expected:
        raise InitError(f"{source} cannot be changed safely; add this section yourself:\n{block}")
    return changed


def _chosen(call: argparse.Namespace, machine: Any, names: list[str]) -> tuple[str, str]:
    """Profile that the user names, or agrees to on a terminal; elsewhere the one that is proposed. And why."""
    from pipeline.inspection.profiles import proposed

    name, why = proposed(machine, names)
    if call.profile:
        return call.profile, "as you say"
    if call.yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return name, why if len(names) == 1 else f"{why}; --profile names another one"
    while True:
        said = input(f"profile, {' or '.join(names)} [{name}, because {why}]: ").strip()
        if not said:
            return name, why
        if said in names:
            return said, "as you say"


def init(call: argparse.Namespace) -> int:
    """``conceptreel init NAME VIDEO_DIR``: a configuration section for a folder of own videos, with a profile."""
    from pipeline.config import Config, Datasets, load, opened
    from pipeline.data.isolated import Decoder
    from pipeline.inspection import profiles
    from pipeline.jobs.stage import progress
    from pipeline.rules import costs
    from pipeline.store.atomic import replace_when_done

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", call.name):
        raise InitError(f"`{call.name}` cannot name a results folder; use letters, digits, _ and -")
    text = call.config.read_text(encoding="utf-8") if call.config.exists() else ""
    config = load(call.config) if text.strip() else Config()
    if call.name in config.datasets:
        raise InitError(f"{call.config} already has a data set `{call.name}`; choose another name or edit it there")
    data, listing = data_for(call.folder, Path(config.data_root), call.group_pattern)
    pictures = data["index"]["source"] == "images"
    if pictures and call.profile == "small":
        raise InitError("the profile `small` learns motion alone, and pictures have none; take `published`")
    # Pictures have no motion, and `small` knows nothing else.
    names = ["published"] if pictures else list(profiles.PROFILES)
    sections = {name: Datasets({call.name: profiles.section_of(name, data, None)})[call.name] for name in names}
    index, decode = sections["published"].data.index, sections["published"].data.decode
    entries, lengths = listing.entries, []
    people, seen = None, costs.UNKNOWN
    networks = costs.downloads(sections["published"], costs.closure(sections["published"], ["model"]))
    machine = replace(profiles.this_machine(networks), mmpose=config.runtime.mmpose)
    if not call.quick:
        with Decoder(**config.runtime.decoder.model_dump()) as decoder:
            looked = [
                _opened(entry, call.folder, decoder, decode.min_frames)
                for entry in progress(entries, "looking at the files")
            ]
            entries, lengths = [entry for entry, _ in looked], [length for _, length in looked if length]
            if lengths and not pictures:
                places = [call.folder / entry.path for entry in entries if not entry.problem]
                people, seen = profiles.people_in(places, decoder, machine)
    listing, error = _judged(replace(listing, entries=entries), index, call.folder)
    report = counts(listing)
    _print_counts(report, by_class=True)
    part = len(report["problems"]) / max(1, len(entries))
    if part == 1:
        raise InitError("no video can be read; nothing was written")
    if error:
        raise InitError(f"{error}; nothing was written")

    measured = costs.counts_of(sections["published"], listing.entries, call.folder)
    if lengths:
        frames, seconds = (sum(item) / len(lengths) for item in zip(*lengths, strict=True))
        measured = replace(measured, frames=frames, seconds=seconds)
    print(f"\n{machine.words()}")
    if not pictures:
        frames, seconds = costs.amount(measured.frames, "frame"), measured.seconds
        length = frames if seconds is None else f"{frames}, {seconds:.1f} s"
        print(f"videos: {length} on average; people in a frame: {seen}")
    for name in names:
        print("\n" + "\n".join(profiles.described(name, sections[name], measured, machine)))
    profile, why = _chosen(call, machine, names)
    section = profiles.section_of(profile, data, people)
    changed = insert_section(text, call.name, section, str(call.config))
    _ = opened(yaml.safe_load(changed), str(call.config)).datasets[call.name]  # it is one that fits
    with replace_when_done(call.config) as temporary:
        temporary.write_text(changed, encoding="utf-8")
    print(f"\nprofile: {profile} ({why})")
    print(f"{call.config} now has the data set `{call.name}`:\n")
    print(yaml.safe_dump({call.name: section}, sort_keys=False, allow_unicode=True))
    if part > index.max_failed_fraction:
        print(
            f"{part:.0%} of the videos have problems, and the run stops above {index.max_failed_fraction:.0%}: mend "
            f"or remove them first, or raise data.index.max_failed_fraction and data.decode.max_failed_fraction"
        )
    if profile == "small" and not machine.fetched:
        print(f"first: {profiles.FETCH}")
    if not call.group_pattern and (alike := _shared_beginnings(listing.entries)):
        print(
            f"note: names begin alike in several classes ({', '.join(alike[:4])}); if that is a person or place, "
            f"--group-pattern '^(?P<group>[^_]+)_' keeps each on one side of the split; otherwise test figures measure "
            f"memory too"
        )
    print(f"next: conceptreel plan results/{call.name}; snakemake --cores all results/{call.name}/model.pt")
    return 0


def _shared_beginnings(entries: Sequence[Entry]) -> list[str]:
    """What file names begin with, up to the first `_`, in at least two classes each; nothing unless there are two."""
    classes: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        name = PurePosixPath(entry.path).name
        if "_" in name and entry.problem is None:
            classes[name.partition("_")[0]].update(entry.class_names)
    alike = sorted(beginning for beginning, found in classes.items() if len(found) > 1)
    return alike if len(alike) > 1 else []


def add_commands(commands: Any) -> None:
    """Add ``init`` and ``check`` to the sub-parsers of the command line."""
    command = commands.add_parser(
        "init", help="add a folder of your own videos to the configuration", example="init my_set my_videos"
    )
    command.add_argument("name", metavar="NAME", help="name of the data set; results go to results/NAME")
    command.add_argument(
        "folder", type=Path, metavar="VIDEO_DIR", help="folder with a subfolder of videos (or pictures) per class"
    )
    command.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="the file to add to")
    command.add_argument(
        "--group-pattern",
        default="",
        metavar="REGEX",
        help="regular expression with a part (?P<group>…), such as the actor; a group is never split",
    )
    command.add_argument("--quick", action="store_true", help="open no files, except the headers of a few")
    command.add_argument(
        "--profile",
        choices=("small", "published"),
        default="",
        help="set of encoders: for a laptop, or those of the papers; a terminal asks",
    )
    command.add_argument("--yes", action="store_true", help="accept the proposed profile without asking")
    command.set_defaults(run=init)

    command = commands.add_parser(
        "check", help="count the videos of a data set, against the published counts if any", example="check ucf101"
    )
    command.add_argument("name", metavar="NAME", help="name of the data set in the configuration")
    command.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="configuration with the data set")
    command.add_argument("--data-root", default="", metavar="DIR", help="replaces data_root of the configuration")
    command.add_argument("--classes", action="store_true", help="counts of every class")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=check)
