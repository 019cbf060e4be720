"""MMPose in an environment of its own: what comes back is what MMPose itself finds, and nothing is unpickled or run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.context.convert import convert, plain_arrays, read_pickled
from pipeline.demo.clips import render, sample_spec
from pipeline.demo.videos import write_video
from pipeline.encoding.checkpoints import weights_digest
from pipeline.encoding.known import known
from pipeline.jobs.runtime import RUNTIME_VARIABLE, Runtime
from pipeline.jobs.stage import Job
from pipeline.motion.pose import load_estimator
from pipeline.motion.pose.mmpose import cut_out
from pipeline.motion.pose.vitpose import fit_boxes, in_frame
from pipeline.motion.poses import build
from pipeline.motion.settings import Poses
from pipeline.motion.skeleton import mirrored, skeleton
from pipeline.store.arrays import read_arrays
from pipeline.store.atomic import StageError

VARIABLE = "CONCEPTREEL_TEST_MMPOSE"
BOXES = np.array([[40, 20, 130, 200], [150, 60, 310, 180]], np.float32)


def picture(height: int = 240, width: int = 320) -> np.ndarray:
    soft = np.random.default_rng(3).uniform(0, 255, (9, 12, 3)).astype(np.float32)
    return np.clip(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------- without MMPose


@pytest.mark.parametrize("use_udp", [False, True])
def test_crops_are_those_of_its_affine_transforms(use_udp):
    """The matrices of `TopdownAffine`: by three corresponding points, or unbiased (UDP)."""
    width, height = 192, 256
    regions = fit_boxes(torch.from_numpy(BOXES), 1.25, width / height)
    frame = picture()
    found = cut_out(torch.from_numpy(frame)[None].expand(2, -1, -1, -1), regions, width, height, use_udp)
    for (x, y, w, h), crop in zip(regions.tolist(), found.numpy(), strict=True):
        sides = (width - 1, height - 1) if use_udp else (width, height)
        scale = np.array([sides[0] / w, sides[1] / h])
        matrix = np.float32([[scale[0], 0, -scale[0] * (x - w / 2)], [0, scale[1], -scale[1] * (y - h / 2)]])
        expected = cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR).transpose(2, 0, 1)
        difference = np.abs(crop.astype(int) - expected)
        assert (difference <= 2).mean() > 0.99 and difference.mean() < 0.5


def folder_of(place: Path, **config) -> str:
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "mmpose", **config}))
    (place / "model.safetensors").write_bytes(b"")
    return str(place)


def test_a_missing_environment_is_told_in_one_line(tmp_path):
    folder = folder_of(tmp_path / "folder", input_size=[192, 256], use_udp=False)
    with pytest.raises(StageError, match=r"set runtime\.mmpose to the Python of an environment that has MMPose"):
        load_estimator(folder)
    with pytest.raises(StageError, match=r"`/no/python` cannot be started \(No such file or directory\)"):
        load_estimator(folder, runtime=Runtime(mmpose="/no/python"))
    with pytest.raises(StageError, match=r"ended \(exit status 1\)"):
        load_estimator(folder, runtime=Runtime(mmpose=shutil.which("false")))
    # This project's own Python has no MMPose.
    with pytest.raises(StageError, match=r"under .*: ModuleNotFoundError: No module named 'mmpose'"):
        load_estimator(folder, runtime=Runtime(mmpose=sys.executable))


def test_a_folder_that_was_not_converted_is_refused(tmp_path):
    with pytest.raises(StageError, match=r"config\.json of .* is none that `conceptreel convert` writes"):
        load_estimator(folder_of(tmp_path / "folder", input_size=[192]), runtime=Runtime(mmpose=sys.executable))


def test_checkpoints_of_training_are_read_and_hostile_ones_refused(tmp_path, monkeypatch):
    """MMEngine's records come with arrays and with `getattr`, which is allowed to do nothing."""
    ran = tmp_path / "ran"

    class HistoryBuffer:
        def __init__(self, look):
            self.values, self.look = np.ones(3), look

        def __reduce__(self):
            return getattr, (self.look, "shown"), {"values": self.values}

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {ran}",)

    module = types.ModuleType("mmengine.logging.history_buffer")
    monkeypatch.setitem(sys.modules, "mmengine", types.ModuleType("mmengine"))
    monkeypatch.setitem(sys.modules, "mmengine.logging", types.ModuleType("mmengine.logging"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    looked_up = type("HistoryBuffer", (), {"__module__": module.__name__, "shown": print})
    module.HistoryBuffer = looked_up
    notes = {"sigmas": np.ones(2, np.float32), "rate": np.float64(1), "loss": HistoryBuffer(looked_up)}
    torch.save({"meta": notes, "state_dict": {"layer.weight": torch.eye(2)}}, tmp_path / "good.pth")
    assert read_pickled(tmp_path / "good.pth", plain_arrays())["layer.weight"].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(StageError, match="ever unpickled"):
        read_pickled(tmp_path / "good.pth")
    torch.save({"meta": Hostile(), "state_dict": {"layer.weight": torch.eye(2)}}, tmp_path / "bad.pth")
    with pytest.raises(StageError, match="ever unpickled"):
        read_pickled(tmp_path / "bad.pth", plain_arrays())
    assert not ran.exists()
    with pytest.raises(StageError, match=r"needs the config that the weights were trained with.*--config"):
        convert(tmp_path / "good.pth", "mmpose", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------- with MMPose


@pytest.fixture(scope="module")
def python() -> str:
    found = os.environ.get(VARIABLE, "")
    if not found:
        pytest.skip(f"set {VARIABLE} to the Python of an environment with MMPose (envs/mmpose.txt)")
    return found


@pytest.fixture(scope="module")
def made(python, tmp_path_factory):
    """A random RTMPose-t and its own results by MMPose, and the folder that `convert` makes of it."""
    folder = tmp_path_factory.mktemp("mmpose")
    np.save(folder / "frame.npy", picture())
    np.save(folder / "boxes.npy", BOXES)
    oracle = Path(__file__).with_name("mmpose_oracle.py")
    subprocess.run([python, oracle, folder], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    config = Path((folder / "config.txt").read_text())
    convert(folder / "random.pth", "mmpose", folder / "converted", config=config, python=python)
    return folder


@pytest.fixture(scope="module")
def estimator(made, python):
    runtime = Runtime(device="cpu", mmpose=python)
    return load_estimator(str(made / "converted"), mirrored=mirrored(skeleton("coco")), n_joints=17, runtime=runtime)


def test_joints_are_those_of_mmpose(made, estimator):
    expected = np.load(made / "expected.npz")
    regions = estimator.regions(torch.from_numpy(BOXES), 1.25)
    for flip in ("plain", "flipped"):
        found = estimator.poses(torch.from_numpy(expected["crops"]), flip == "flipped").numpy()
        joints, sure = in_frame(found, regions.numpy())
        np.testing.assert_allclose(joints, expected[flip][..., :2], atol=1e-3)
        np.testing.assert_allclose(sure, expected[flip][..., 2], rtol=1e-4)
    assert np.abs(expected["plain"] - expected["flipped"])[..., :2].max() > 1  # the mirror image counts
    frames = torch.from_numpy(np.repeat(picture()[None], 2, 0))
    own = in_frame(estimator.poses(estimator.cut(frames, regions)).numpy(), regions.numpy())[0]
    # Random maps have many maxima of nearly one height: a grey level decides between some.
    assert (np.abs(own - expected["plain"][..., :2]).max(-1) < 1).mean() > 0.8


def test_a_plan_knows_how_fast_it_is(made):
    """RTMPose-t has 0.36 billion multiply-adds (its model zoo)."""
    speed = known(str(made / "converted"))
    assert 0.3 < speed.multiply_adds < 0.42 and speed.seconds > 0 and speed.megabytes == 0


def test_config_json_is_no_way_to_run_code(made, python, tmp_path):
    shutil.copytree(made / "converted", tmp_path / "copy")
    config = json.loads((tmp_path / "copy/config.json").read_text())
    config["model"]["neck"] = {"type": "os.system", "command": f"touch {tmp_path}/ran"}
    (tmp_path / "copy/config.json").write_text(json.dumps(config))
    with pytest.raises(StageError, match=r"names `os\.system`, which is neither a part of MMPose nor of MMCV"):
        load_estimator(str(tmp_path / "copy"), runtime=Runtime(device="cpu", mmpose=python))
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_config_are_refused(made, python, tmp_path):
    text = Path((made / "config.txt").read_text())
    other = text.with_name(text.name.replace("rtmpose-t", "rtmpose-s"))
    with pytest.raises(StageError, match=r"size mismatch for .*take the config that they were trained with"):
        convert(made / "random.pth", "mmpose", tmp_path / "out", config=other, python=python)
    assert not (tmp_path / "out").exists()


def test_the_stage_writes_the_artifact_of_any_estimator(made, python, tmp_path, monkeypatch):
    write_video(tmp_path / "v.mp4", render(sample_spec(20_000_000), frame_indices=list(range(5))).frames)
    columns = {"video_id": ["v"], "path": ["v.mp4"], "listed": ["train"], "status": ["ok"], "developed": [True]}
    table = pa.table({**columns, "first_frame": pa.nulls(1, pa.int64()), "end_frame": pa.nulls(1, pa.int64())})
    monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps({"roots": {"small": str(tmp_path)}, "mmpose": python}))

    def job(name, settings, inputs, output):
        call = {"settings": json.dumps(settings), "input": inputs, "dataset": "small", "shard": "", "threads": 1}
        return Job(name, "pipeline.motion.poses", argparse.Namespace(**call, output=[[name, str(tmp_path / output)]]))

    job("videos", {}, [], "videos.parquet").write_table("videos", table)
    settings = Poses(model=str(made / "converted"), boxes="refined", min_person_confidence=0, min_joint_confidence=0)
    inputs = [["videos", str(tmp_path / "videos.parquet")]]
    build(job("poses", settings.model_dump(mode="json"), inputs, "poses.zarr.zip"))
    arrays, about = read_arrays(tmp_path / "poses.zarr.zip")
    assert arrays["keypoints"].shape == (5, 17, 2) and np.isfinite(arrays["keypoints"]).all()
    record = about["provenance"]
    assert record["weights"] == weights_digest(str(made / "converted"))
    assert record["mmpose"]["mmpose"].startswith("1.") and record["dtype"] == "float32"
