"""Give broken and hostile files to every reader: a clear error or the content, and nothing else.

    python tests/workflow/faults/fuzz.py --n 10000

Each file is read in a worker process. What counts as wrong: another error than the reader's own; a crash of the worker;
more than ``--seconds``; more than ``--memory-mb`` beyond what the worker had; a program or a connection started, or a
file opened for writing, while the file is read; and content that a check of its digest should have refused.
A case is made again from its kind and seed: ``--only zarr:17``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[3]
SUFFIXES = {"zarr": ".zarr.zip", "parquet": ".parquet", "model": ".pt", "tensor": ".pt", "mat": ".mat"}
SUFFIXES |= {"config": ".yaml", "labels": ".json", "coco": ".json", "mmaction": ".pkl", "poses": ".npz"}
SUFFIXES |= {"boxes": ".csv", "skeleton": ".yaml"}
# Writing, starting and connecting; Python reports them to its audit hooks, and lazy imports do none of it.
ESCAPES = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn", "socket.connect")
ESCAPES += ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.move")
ESCAPES += ("pickle.find_class", "ctypes.dlopen")
WRONG = ("crash", "hang", "escape", "memory", "wrong error", "wrong content")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def readers() -> dict[str, tuple[Callable[[Path], Any], type[Exception] | tuple[type[Exception], ...]]]:
    """Kind → (how it is read, the errors that it may raise)."""
    from pipeline.config import load as load_config
    from pipeline.context.texts import read_candidates
    from pipeline.data.lists import ListError, read_entries
    from pipeline.data.readers import VideoError
    from pipeline.data.settings import Index
    from pipeline.exchange.errors import ForeignFileError
    from pipeline.exchange.penn_action import read_penn_action
    from pipeline.exchange.poses import pose_reader
    from pipeline.exchange.tensors import load_matrix
    from pipeline.jobs.stage import StageError
    from pipeline.methods.dance.bottleneck.recogniser import read_model
    from pipeline.motion import keyframes, motion_concepts
    from pipeline.motion.pose.boxes import read_boxes
    from pipeline.motion.settings import MotionConcepts
    from pipeline.motion.skeleton import read_definition
    from pipeline.settings import ConfigError
    from pipeline.store.arrays import read_arrays
    from pipeline.store.atomic import ArtifactError
    from pipeline.store.inspect import inspect_artifact
    from pipeline.store.tables import read_table

    def artifact(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def both(path: Path) -> Any:
            inspect_artifact(path)  # it reports what is wrong and raises nothing
            return read(path)[1]["content_digest"]

        return both

    def job(path: Path) -> Any:
        return SimpleNamespace(root=path.parent, note_file=lambda _, place: place)

    def labels(path: Path) -> Any:
        settings = MotionConcepts(source="imported", path={"train": path.name})
        return motion_concepts.read_published(job(path), settings)

    def entries(source: str) -> Callable[[Path], Any]:
        def read(path: Path) -> Any:
            path.with_name("classes").write_text("a\nb\n")
            if source == "generated":
                path.replace(path.with_name("lists.csv"))
            settings = Index(
                source=source,
                lists={"train": path.name},
                class_list="classes",
                validation_by="video",
                check_files=False,
            )
            return len(read_entries(settings, path.parent))

        return read

    def poses(source: str) -> Callable[[Path], Any]:
        def read(path: Path) -> Any:
            found = pose_reader(source, path, 17, ["a", "b"])
            return [found(video_id)["note"] for video_id in ("a", "b")]

        return read

    return {
        "zarr": (artifact(read_arrays), ArtifactError),
        "parquet": (artifact(read_table), ArtifactError),
        "model": (read_model, ArtifactError),
        "tensor": (lambda path: load_matrix(job(path), "features", path.name), StageError),
        "mat": (read_penn_action, VideoError),
        "coco": (poses("coco"), (ForeignFileError, VideoError)),
        "mmaction": (poses("mmaction"), (ForeignFileError, VideoError)),
        "poses": (poses("arrays"), (ForeignFileError, VideoError)),
        "boxes": (read_boxes, StageError),
        "skeleton": (read_definition, ValueError),
        "list": (entries("lists"), ListError),
        "generated": (entries("generated"), ListError),
        "labels": (labels, StageError),
        "keyframes": (keyframes.read_published, StageError),
        "candidates": (read_candidates, StageError),
        "config": (load_config, ConfigError),
    }


# -------------------------------------------------------------------------------------------------------- the worker


class Watch:
    """Notes what a reader does beside reading."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple) -> None:
        if not self.on:
            return
        if event == "open":
            path, mode, flags = details
            if (mode and set(str(mode)) & set("wax+")) or (isinstance(flags, int) and flags & WRITING):
                self.seen.append(f"opens {path!r} for writing")
        elif event in ESCAPES:
            self.seen.append(f"{event} {str(details)[:200]}")


def peak_mb(reset: bool = False) -> int:
    """Largest resident memory of this process since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def one_case(kind: str, seed: int, folder: Path, watch: Watch, memory_mb: int) -> tuple[str, str]:
    """(outcome, words) of one file."""
    import mutations

    read, refusal = READERS[kind]
    content = mutations.mutated(kind, seed)
    path = folder / f"file{SUFFIXES.get(kind, '')}"
    path.write_bytes(content)
    watch.seen.clear()
    before = peak_mb(reset=True)
    generic = content != mutations.valid(kind)
    watch.on = kind not in ("list", "generated")  # there the harness itself writes the class list beside it
    try:
        found = read(path)
        outcome, words = "read", ""
    except refusal as error:
        outcome, words = "refused", str(error)
    except BaseException as error:
        outcome, words = "wrong error", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        watch.on = False
    if outcome == "read" and kind in ("zarr", "parquet") and generic and found == "":
        return "wrong content", "an artifact without a digest was accepted"
    if watch.seen or (folder / mutations.CANARY).exists():
        return "escape", "; ".join(watch.seen) or f"{mutations.CANARY} was made"
    if outcome == "refused" and (not words or len(words) > 20_000):
        return "wrong error", f"a message of {len(words)} characters"
    used = peak_mb() - before
    if used > memory_mb:
        return "memory", f"{used} MB"
    return outcome, words[:300]


def worker(memory_mb: int) -> None:
    """Answer lines ``kind seed`` with lines of JSON until there are no more."""
    import warnings

    import mutations

    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    mutations.zstandard_bomb()
    watch = Watch()
    limit = (memory_mb + 3000) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        kind, seed = line.split()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            inner = Path(folder, "inner")
            inner.mkdir()
            outcome, words = one_case(kind, int(seed), inner, watch, memory_mb)
            beside = sorted(path.name for path in Path(folder).iterdir())
            os.chdir("/")
        if beside != ["inner"]:
            outcome, words = "escape", f"files beside the folder: {beside}"
        print(json.dumps([outcome, words]), file=answers, flush=True)


# -------------------------------------------------------------------------------------------------------- the parent


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


class Worker:
    """A process that reads; replaced when it dies or hangs."""

    def __init__(self, memory_mb: int):
        self._memory_mb = memory_mb
        self._process: subprocess.Popen | None = None

    def _begin(self) -> subprocess.Popen:
        path = os.pathsep.join((str(PROJECT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", "--memory-mb", str(self._memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        if self._process.stdout.readline() != b"ready\n":
            sys.exit("the worker does not start")
        return self._process

    def ask(self, kind: str, seed: int, seconds: float) -> tuple[str, str]:
        process = self._process or self._begin()
        process.stdin.write(f"{kind} {seed}\n".encode())
        process.stdin.flush()
        deadline, limit = time.monotonic() + 10 * seconds, cpu_seconds(process.pid) + seconds
        while not select.select([process.stdout], [], [], seconds)[0]:
            # On a machine with other work the clock says little about a reader that is not waiting for anything.
            if cpu_seconds(process.pid) > limit or time.monotonic() > deadline:
                self.end()
                return "hang", f"longer than {seconds:g} s of computing, or {10 * seconds:g} s in all"
        answer = process.stdout.readline()
        if not answer:
            status = process.wait()
            self.end()
            return "crash", f"the worker ended with {status}"
        return tuple(json.loads(answer))

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def cases(kinds: Sequence[str], n: int, first: int) -> Iterator[tuple[str, int]]:
    """The kinds in turn."""
    for number in range(n):
        yield kinds[number % len(kinds)], first + number // len(kinds)


def main() -> int:
    from mutations import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="number of files")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of computing for one file; it may wait ten times as long"
    )
    parser.add_argument("--memory-mb", type=int, default=1000, help="for one file")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--only", metavar="KIND:SEED", help="one case, with what its reader says")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    call = parser.parse_args()
    if call.worker:
        global READERS
        READERS = readers()
        worker(call.memory_mb)
        return 0
    reader = Worker(call.memory_mb)
    chosen = cases(call.kinds, call.n, call.seed)
    if call.only:
        kind, _, seed = call.only.partition(":")
        chosen = iter([(kind, int(seed))])
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str, str]] = Counter()
    slowest, began = 0.0, time.monotonic()
    try:
        for kind, seed in chosen:
            asked = time.monotonic()
            outcome, words = reader.ask(kind, seed, call.seconds)
            slowest = max(slowest, time.monotonic() - asked)
            outcomes[kind, outcome] += 1
            if call.only:
                print(f"{kind}:{seed}: {outcome}: {words}")
            if outcome in WRONG:
                wrong[kind, outcome, words.split("(")[0][:60]] += 1
                if wrong[kind, outcome, words.split("(")[0][:60]] <= 3:
                    print(f"{outcome.upper()} {kind}:{seed}: {words}", flush=True)
    finally:
        reader.end()
    for kind in dict.fromkeys(kind for kind, _ in outcomes):
        of_kind = {outcome: count for (name, outcome), count in outcomes.items() if name == kind}
        print(f"{kind}: {', '.join(f'{outcome} {count}' for outcome, count in sorted(of_kind.items()))}")
    total: Counter[str] = Counter()
    for (_, outcome), count in outcomes.items():
        total[outcome] += count
    print(f"{total.total()} files in {time.monotonic() - began:.0f} s, slowest {slowest:.1f} s")
    print(", ".join(f"{total[outcome]} × {outcome}" for outcome in WRONG))
    return int(any(total[outcome] for outcome in WRONG))


READERS: dict[str, tuple[Callable[[Path], Any], type[Exception] | tuple[type[Exception], ...]]] = {}

if __name__ == "__main__":
    sys.exit(main())
