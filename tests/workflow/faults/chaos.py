"""Kill a run at random moments, start it again with the README's command, and compare the end with an undisturbed run.

    python tests/workflow/faults/chaos.py --kills 50

A kill ends the driver and every process below it with SIGKILL, all at the same moment; with ``--only-driver`` the jobs
are left behind as orphans. After each kill, everything that bears the name of an artifact must be readable in full, and
what was finished must not be made again by a later start. A run that ends although it was to be killed is compared, and
the next one begins in an empty folder, until the kills are used up.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conftest import small_configuration
from contents import contents, differences, finished_artifacts, made_again

from pipeline.store.atomic import ArtifactError

PROJECT = Path(__file__).resolve().parents[3]


class Broken(Exception):
    """A promise that a kill has broken."""


def configuration(full: bool) -> tuple[str, str]:
    """Name of the data set and text of the configuration: the demo as it is, or with few clips in several shards."""
    if full:
        return "demo", yaml.safe_dump({"datasets": {"demo": {}}})
    return "small", yaml.safe_dump(small_configuration(PROJECT))


def start(folder: Path, name: str, cores: int) -> subprocess.Popen:
    """The README's command in a folder; what it says goes to ``driver.log`` beside the results."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--cores", str(cores)]
    with open(folder / "driver.log", "ab") as log:
        return subprocess.Popen(
            [*command, f"results/{name}/model.pt"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def in_session(pid: int) -> list[psutil.Process]:
    """Living processes of the session that a process has opened, whether it lives itself or not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_all(run: subprocess.Popen) -> int:
    """End a run and all below it without a word; number of processes."""
    ended: dict[int, psutil.Process] = {}
    # Everyone stands still first, so that nobody notices the death of another and nobody is born meanwhile.
    for number in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL):
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(run.pid).children(recursive=True):
                ended[process.pid] = process
        for process in in_session(run.pid):
            ended[process.pid] = process
        for process in ended.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    run.wait()
    psutil.wait_procs(ended.values(), timeout=60)
    return len(ended)


def end_of_log(folder: Path) -> str:
    return (folder / "driver.log").read_bytes()[-3000:].decode(errors="replace")


def chaos(call: argparse.Namespace, base: Path) -> int:
    """Kill and compare; a line is printed for each kill. Returns the exit status."""
    draw = random.Random(call.seed)
    name, config = configuration(call.full)

    def new_folder(part: str) -> Path:
        (base / part).mkdir(parents=True)
        (base / part / "config.yaml").write_text(config)
        return base / part

    if call.undisturbed:
        calm, span = call.undisturbed, call.span
    else:
        calm = new_folder("undisturbed")
        began = time.monotonic()
        if start(calm, name, call.cores).wait():
            sys.exit(f"the undisturbed run failed:\n{end_of_log(calm)}")
        span = call.span or time.monotonic() - began
    expected = contents(calm / "results" / name)
    print(f"undisturbed: {span:.0f} s, {len(expected)} files", flush=True)

    kills = survived = rounds = again = 0
    while kills < call.kills:
        rounds += 1
        folder = new_folder(f"round_{rounds}")
        before: dict[Path, tuple[int, int]] = {}
        pending = 0
        try:
            while True:
                run = start(folder, name, call.cores)
                moment = draw.uniform(0, span * call.longest)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.wait(moment if kills < call.kills else None)
                if run.returncode is not None:
                    break
                if call.only_driver:
                    run.kill()
                    run.wait()
                    ended = 1
                else:
                    ended = kill_all(run)
                kills, pending = kills + 1, pending + 1
                try:
                    after = finished_artifacts(folder)
                except ArtifactError as error:
                    raise Broken(f"after a kill an artifact is half: {error}") from None
                repeated = made_again(before, after)
                again += len(repeated)
                print(
                    f"kill {kills}: {moment:.1f} s after the start, {ended} processes, {len(after)} finished artifacts"
                    + (f", made again: {', '.join(path.name for path in repeated)}" if repeated else ""),
                    flush=True,
                )
                before = after
            if run.returncode:
                raise Broken(f"the run ended with {run.returncode}:\n{end_of_log(folder)}")
            again += len(made_again(before, finished_artifacts(folder)))
            wrong = differences(contents(folder / "results" / name), expected)
            if wrong:
                raise Broken("the end is not that of an undisturbed run:\n" + "\n".join(wrong))
        except Broken as error:
            print(f"round {rounds}, {pending} kills: {error}", flush=True)
        else:
            survived += pending
            print(f"round {rounds}: {pending} kills, content identical", flush=True)
        finally:
            if run.poll() is None:
                kill_all(run)
    print(f"{again} finished artifacts were made again")
    print(f"{survived} of {kills} kills survived, {rounds} runs, all {len(expected)} files compared")
    return int(survived < kills or again > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--longest", type=float, default=0.5, help="longest life of a start, in undisturbed runs")
    parser.add_argument("--only-driver", action="store_true", help="leave the jobs behind")
    parser.add_argument("--full", action="store_true", help="the whole demo instead of few clips")
    parser.add_argument("--folder", type=Path, help="keep the runs here; it must not exist")
    parser.add_argument("--undisturbed", type=Path, help="folder of a finished run of the same configuration")
    parser.add_argument("--span", type=float, help="seconds that an undisturbed run takes; by default it is measured")
    call = parser.parse_args()
    if call.undisturbed and not call.span:
        parser.error("--undisturbed needs --span")
    if call.folder:
        call.folder.mkdir(parents=True)
        return chaos(call, call.folder.resolve())
    with tempfile.TemporaryDirectory() as folder:
        return chaos(call, Path(folder).resolve())


if __name__ == "__main__":
    sys.exit(main())
