"""Top-down pose estimators of MMPose, whose network runs under the Python of an environment of its own.

MMPose and MMCV want other packages than this project. So the process that owns the videos cuts persons out of frames,
and `pipeline.motion.pose.mmpose_worker`, started once per job under ``runtime.mmpose``, answers with joints. A
converted checkpoint is safetensors beside a config.json that describes the network in plain values: a job runs no
config and unpickles nothing. Only `described` runs a config, because somebody asked `conceptreel convert` to.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.encoding import hardware
from pipeline.encoding.checkpoints import check_digest, config_of, stored_weights, weights_digest
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.motion.pose import mmpose_worker
from pipeline.motion.pose.vitpose import check_joints, crop, fit_boxes
from pipeline.store.atomic import StageError

ENVIRONMENT = (
    "set runtime.mmpose to the Python of an environment that has MMPose; envs/mmpose.txt says how to make one "
    "(docs/packages.md)"
)


class _Process:
    """The worker under another Python; its errors become one line.

    Raises:
        StageError: that Python is not there, or what it was asked cannot be done.
    """

    def __init__(self, python: str, *arguments: str):
        if not python:
            raise StageError(f"this estimator is of MMPose; {ENVIRONMENT}")
        # What this project's own Python is told to import is not for that one.
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 — as long as the process
        try:
            self._worker = subprocess.Popen(
                [python, mmpose_worker.__file__, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=own,
            )
        except OSError as error:
            raise StageError(f"`{python}` cannot be started ({error.strerror}); {ENVIRONMENT}") from None
        self.python = python
        self.close = weakref.finalize(self, _end, self._worker, self._said)

    def send(self, request: dict[str, Any], array: np.ndarray) -> None:
        try:
            self._worker.stdin.write(json.dumps(request).encode() + b"\n")
            self._worker.stdin.write(memoryview(array).cast("B"))
            self._worker.stdin.flush()
        except BrokenPipeError:
            pass  # the answer, which then does not come, says why

    def receive(self) -> tuple[dict[str, Any], np.ndarray]:
        """A header, and the float32 array that it announces."""
        length = int.from_bytes(self._read(mmpose_worker.LENGTH_BYTES), "big")
        header = json.loads(self._read(length))
        if "refused" in header:
            raise StageError(f"MMPose under `{self.python}`: {header['refused']}")
        shape = header.get("shape", [0])
        return header, np.frombuffer(self._read(4 * int(np.prod(shape))), np.float32).reshape(shape).copy()

    def _read(self, count: int) -> bytes:
        found = self._worker.stdout.read(count)
        if len(found) < count:
            self._worker.wait()
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit status {self._worker.returncode}"
            raise StageError(f"MMPose under `{self.python}` ended ({why}); {ENVIRONMENT}")
        return found


def _end(worker: subprocess.Popen, said: Any) -> None:
    worker.kill()
    worker.wait()
    for pipe in (worker.stdin, worker.stdout, said):
        pipe.close()


def described(config: Path, python: str) -> dict[str, Any]:
    """What config.json of a converted checkpoint says. Runs ``config``, which is Python, in MMPose's environment.

    Raises:
        StageError: it cannot be run there, or describes no network that poses the person in a box.
    """
    return _answer(python, "describe", str(config))


def measured(folder: Path, python: str) -> dict[str, float | None]:
    """How large and how fast the network of a converted checkpoint is: what `pipeline.encoding.known.Known` says of it.

    Raises:
        StageError: it cannot be loaded there.
    """
    return _answer(python, "measure", str(folder))


def _answer(python: str, *arguments: str) -> dict[str, Any]:
    process = _Process(python, *arguments)
    try:
        return process.receive()[0]
    finally:
        process.close()


def cut_out(frames: torch.Tensor, regions: torch.Tensor, width: int, height: int, use_udp: bool) -> torch.Tensor:
    """Regions of frames as MMPose's ``TopdownAffine`` cuts them: uint8 ``[n, 3, height, width]``.

    Args:
        frames: uint8 ``[n, H, W, 3]``; regions: centre and size in pixels ``[n, 4]``.
        use_udp: whether pixel i of w is i / (w − 1) of the way from the left edge to the right one, or i / w.
    """
    if not use_udp:
        sides = regions.new_tensor([width, height])
        size = regions[:, 2:] * (sides - 1) / sides
        regions = torch.cat([regions[:, :2] - regions[:, 2:] / (2 * sides), size], 1)
    pixels = frames.movedim(-1, 1).float()  # [n, 3, H, W]
    return crop(pixels, regions, height, width).round().clamp(0, 255).to(torch.uint8)


class MMPose:
    """Keypoints of the person in a box; the interface is that of `pipeline.motion.pose.vitpose.PoseEstimator`.

    Args:
        name, revision: folder that `conceptreel convert` wrote; sha256: digest that the weights must have, or empty.
        mirrored: joint → the joint that it becomes in a mirrored picture; for ``flip_test``.
        n_joints: joints of the skeleton that is wanted.
        options: those of other estimators, which it does not look at.

    Raises:
        StageError: it cannot be loaded, there is no environment for it, or the skeleton has other joints.
    """

    def __init__(
        self,
        name: str,
        revision: str = "main",
        mirrored: Sequence[int] = (),
        sha256: str = "",
        n_joints: int | None = None,
        runtime: Runtime = AUTO,
        **options: int | None,
    ):
        config = config_of(name, revision)
        (weights,) = stored_weights(name, revision)
        check_digest(name, revision, sha256)
        try:
            self.width, self.height = (int(side) for side in config["input_size"])
            self.use_udp = bool(config["use_udp"])
        except (KeyError, TypeError, ValueError) as error:
            raise StageError(f"config.json of `{name}` is none that `conceptreel convert` writes ({error!r})") from None
        self.device = hardware.device(runtime)
        self.mirrored = list(mirrored)
        self._process = _Process(runtime.mmpose, "serve", str(weights.parent.resolve()), str(self.device))
        ready, _ = self._process.receive()
        self.n_joints, self.versions = ready["n_joints"], ready["versions"]
        check_joints(name, self.n_joints, n_joints)

    def record(self, name: str, revision: str) -> dict[str, Any]:
        """What the provenance of its results says of it."""
        weights = weights_digest(name, revision)
        return {"weights": weights, "device": str(self.device), "dtype": "float32", "mmpose": self.versions}

    def regions(self, boxes: torch.Tensor, padding: float) -> torch.Tensor:
        """What the network sees around boxes ``[n, 4]`` (x0, y0, x1, y1 in pixels): centre and size ``[n, 4]``."""
        return fit_boxes(boxes.float(), padding, self.width / self.height)

    def cut(self, frames: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """The regions of frames, uint8 ``[n, H, W, 3]`` on any device, uint8 as MMPose has them: ``[n, 3, h, w]``."""
        return cut_out(frames.to(self.device), regions.to(self.device), self.width, self.height, self.use_udp)

    def poses(self, crops: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        """Positions as parts of the region, from edge to edge, and confidences: ``[n, J, 3]``."""
        pictures = crops.cpu().contiguous().numpy()
        request = {"shape": pictures.shape, "mirrored": self.mirrored if flip_test else None}
        self._process.send(request, pictures)
        header, found = self._process.receive()
        if "out_of_memory" in header:
            raise torch.cuda.OutOfMemoryError(header["out_of_memory"])
        found[..., :2] /= [self.width, self.height]
        return torch.from_numpy(found)
