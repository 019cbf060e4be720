"""One process of a training: ``torchrun … -m pipeline.backbone.finetuning.worker FOLDER``, or called directly."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from pipeline.backbone.finetuning.loop import Plan, Training
from pipeline.encoding.hardware import device
from pipeline.store.atomic import StageError

ERROR = "error: "
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """A training whose job was killed must not go on: the next one would write the same files."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):  # not on Linux
        return


def _on_gpu(folder: Path) -> bool:
    return device(Plan.load(folder).runtime).type == "cuda"


def launch(folder: Path, processes: int, say: Callable[[str], None]) -> None:
    """Train in this process, or in several of this machine with torchrun.

    Args:
        folder: see `Training`.
        say: takes lines about the progress.

    Raises:
        StageError: the training failed.
    """
    if processes == 1:
        Training(folder, say=say).run()
        return
    if _on_gpu(folder) and processes > torch.cuda.device_count():
        raise StageError(
            f"runtime.finetune_processes is {processes}, but this machine has {torch.cuda.device_count()} GPUs"
        )
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    running = subprocess.Popen(
        [sys.executable, "-m", *command, "-m", "pipeline.backbone.finetuning.worker", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=end_with_parent,
    )
    told = raised = ""
    try:
        for line in running.stdout:
            if line.startswith(ERROR):
                told = told or line.removeprefix(ERROR).rstrip()
            elif re.match(r"[\w.]*(Error|Exception)\b", line):
                raised = raised or line.rstrip()
            say(line.rstrip())
    finally:
        if running.poll() is None:
            running.terminate()
        running.wait()
        running.stdout.close()
    if running.returncode:
        raise StageError(told or f"a training process failed; see the log: {raised or running.returncode}")


def main() -> None:
    """Entry under torchrun, which tells rank and number of processes in the environment."""
    end_with_parent()
    folder, rank, processes = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    on_gpu = _on_gpu(folder)
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        Training(folder, rank, processes, lambda line: print(line, flush=True)).run()
    except StageError as error:
        print(f"{ERROR}{error}", flush=True)
        os._exit(1)  # the others wait for this one in a collective; torchrun ends them
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
