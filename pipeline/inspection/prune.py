"""Files in a results folder that nothing refers to any more, and their removal.

Only what this project writes is ever listed: artifacts by the names of the table of stages, logs, temporary files of
writers, and what the last stages deliver. Anything else is somebody's own and stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Config, Dataset
from pipeline.inspection.cache import RESULTS, InspectionError, current_files, kind_of
from pipeline.jobs import joblog, restart
from pipeline.methods.registry import METHODS, function
from pipeline.rules.asked import asked_of
from pipeline.rules.graph import STAGES, home, possible, shards
from pipeline.store.inspect import inspect_artifact, is_artifact

# Videos and pictures of the generator, see `pipeline.demo.classes`.
GENERATED = re.compile(r"demo/(videos|images)/[a-z_]+_(train|test|shifted)_[0-9]+\.(mp4|png)")
TEMPORARY = re.compile(r"\.(?P<pid>[0-9]+)\.(?P<name>.+)|\.(?P<other>.+)\.[0-9]+\.tmp")


@dataclass(frozen=True)
class Leftover:
    """A file that nothing refers to."""

    path: Path
    bytes: int
    why: str


def results_folder(path: Path) -> Path:
    """Check what is to be tidied up: ``results`` of a run, or one data set in it.

    Raises:
        InspectionError: it is none, or a symbolic link leads there.
    """
    for part in (path, *path.parents):
        if part.name and part.is_symlink():
            raise InspectionError(f"{part} is a symbolic link; name the folder that it leads to")
        if part.name == RESULTS:
            break
    whole = path.absolute()
    if ".." in whole.parts:
        whole = Path(os.path.normpath(whole))
    if not whole.is_dir():
        raise InspectionError(f"{path} is no folder")
    if RESULTS not in (whole.name, whole.parent.name):
        raise InspectionError(f"{path} is not a results folder; name `results` or results/<data set>")
    return whole


def results_above(folder: Path) -> Path:
    """The folder ``results`` of a data set's folder, or that folder itself; a data set may be called `results`, too."""
    return folder if folder.parent.name != RESULTS else folder.parent


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder; symbolic links are neither files of ours nor followed."""
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _patterns() -> set[str]:
    """Names of all files that some stage writes, below ``results/<data set>``."""
    return {path for stage in STAGES.values() for path in stage.writes.values()}


def _is_alive(pid: int) -> bool:
    try:
        return b"pipeline" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _temporary(path: Path) -> str:
    """Why a file is the rest of a killed writer; empty if it is not, or if the writer may be alive."""
    found = TEMPORARY.fullmatch(path.name)
    if not found or (found["pid"] and _is_alive(int(found["pid"]))):
        return ""
    name = (found["name"] or found["other"]).removesuffix(".tmp")
    ours = name.endswith((".zarr.zip", ".parquet", ".png", ".gif", ".json", ".pt", ".mp4", ".csv", ".html"))
    return "temporary file of a killed job" if ours else ""


def _orphaned_log(relative: str, stages: Iterable[str], parts: Iterable[str]) -> str:
    """Why a log belongs to no job of today; empty if it does, or if it is no log of a stage."""
    stage, _, shard = relative.removeprefix("logs/").removesuffix(".log").partition("/")
    if stage not in STAGES:
        return ""
    if not stages:
        return "log of a data set that is not configured"
    if stage not in stages:
        return f"log of the stage {stage}, which this configuration does not need"
    if STAGES[stage].sharded != bool(shard) or (shard and shard not in parts):
        return "log of a shard that this configuration does not have"
    return ""


def _is_own(path: Path, dataset: str) -> bool:
    """Whether an artifact says that it was made for this data set; one that cannot be read says nothing."""
    _, attributes = inspect_artifact(path)
    return attributes.get("provenance", {}).get("dataset") == dataset


def _generated(section: Dataset) -> set[str]:
    """Videos that a generated data set has today, below ``results/<data set>``."""
    makers = (stage for stage in STAGES.values() if stage.generates and stage.when(section))
    return {path for stage in makers for path in function(stage.generates)(section)}


def is_finished(folder: Path) -> bool:
    """Whether some method has finished a model there."""
    goals = (STAGES[method.goal].writes.values() for method in METHODS.values())
    return any(all((folder / path).is_file() for path in paths) for paths in goals)


def leftovers(folder: Path, sections: Sequence[Dataset]) -> list[Leftover]:
    """What nothing refers to in the cache of one data set, sorted by paths.

    Args:
        folder: ``results/<data set>``.
        sections: its configurations, today's first; none if it has been removed and no run was asked for it.
    """
    current = {path for section in sections for path in current_files(section)}
    stages = {name for own in sections for name in possible(own) if home(own, name) == own.name}
    parts = {part for section in sections for part in shards(section)}
    videos = {path for section in sections if section.base is None for path in _generated(section)}
    patterns = _patterns()
    folders = {path.partition("/")[0] for path in patterns if "/" in path}
    delivered = {path for path in patterns if "/" not in path}
    found: list[Leftover] = []
    if not sections and not any(is_artifact(path) and _is_own(path, folder.name) for path in _files(folder)):
        return found  # somebody's own folder beside the data sets
    for path in _files(folder):
        relative = path.relative_to(folder).as_posix()
        kind, shard = kind_of(relative)
        why = _temporary(path)
        if relative.startswith("logs/") and relative.endswith(".log"):
            why = _orphaned_log(relative, stages, parts)
        elif is_artifact(path) and path.relative_to(folder).parts[0] in folders and relative not in current:
            if not _is_own(path, folder.name):
                continue
            if not sections:
                why = "artifact of a data set that is not configured"
            elif kind not in patterns:
                why = "artifact that no stage of this release makes"
            elif shard and shard not in parts:
                why = f"shard of another number of shards; data.shards is {sections[0].data.shards} now"
            else:
                why = "artifact of a stage that this configuration does not need"
        elif videos and GENERATED.fullmatch(relative) and relative not in videos:
            why = "video that the generated data set no longer has"
        elif not sections and relative in delivered:
            why = "result of a data set that is not configured"
        if why:
            found.append(Leftover(path, path.stat().st_size, why))
    return found


def all_leftovers(path: Path, config: Config, everything: bool) -> tuple[list[Leftover], list[Leftover]]:
    """What nothing refers to in all data sets below ``results``, or in one.

    Args:
        everything: ask this configuration alone.

    Returns:
        What is left over; and what is spared although the configuration does not refer to it, because a run with
        another one was asked for it, or it made a finished model.

    Raises:
        InspectionError: not a results folder.
    """
    folder = results_folder(path)
    results = results_above(folder)
    folders = [folder]
    if folder == results:
        folders = sorted(item for item in folder.iterdir() if item.is_dir() and not item.is_symlink())
    found: list[Leftover] = []
    spared: list[Leftover] = []
    for one in folders:
        today = [config.datasets[one.name]] if one.name in config.datasets else []
        left = leftovers(one, today)
        if left and not everything:
            sections = [*today, *asked_of(results.parent, one.name)]
            still = leftovers(one, sections) if sections or not is_finished(one) else []
            paths = {item.path for item in still}
            spared += [item for item in left if item.path not in paths]
            left = still
        found += left
    return found, spared


@contextlib.contextmanager
def no_run_at_work(folder: Path) -> Iterator[None]:
    """Keep other drivers out while files are deleted.

    Raises:
        InspectionError: a run is at work.
    """
    results = results_above(folder)
    for path in sorted(results.glob("*/logs/**/*.log")):
        log = joblog.read(path)
        if log is not None and log.state == "running":
            host = "" if log.host == socket.gethostname() else f" on {log.host}"
            raise InspectionError(f"the job of {path} is at work{host}; delete nothing while a run goes on")
    lock = results.parent / restart.LOCK
    if not lock.exists():
        yield
        return
    with open(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InspectionError(
                f"a run is at work in {results.parent} ({file.read().strip()}); delete nothing while it goes on"
            ) from None
        yield


def delete(found: list[Leftover], folder: Path) -> None:
    """Remove files, and the folders that become empty.

    Args:
        folder: nothing outside it is touched.

    Raises:
        InspectionError: a file is not below the folder, or has become a link since it was found.
    """
    for item in found:
        if item.path.is_symlink() or folder.resolve() not in item.path.resolve().parents:
            raise InspectionError(f"{item.path} does not lie in {folder}; nothing more is deleted")
        item.path.unlink(missing_ok=True)
    for place in sorted({item.path.parent for item in found}, key=lambda path: -len(path.parts)):
        while place != folder:
            try:
                place.rmdir()
            except OSError:
                break
            place = place.parent
