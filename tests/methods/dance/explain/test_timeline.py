"""What is seen when: stretches of equal decisions and of concepts, their frames, and the files that tell them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.backbone.window import Window
from pipeline.methods.dance.bottleneck.model import window_length
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.timeline import Timeline, runs
from pipeline.store.atomic import StageError


def timeline(z) -> Timeline:
    """Windows of 1 s, every half second at 20 frames a second; `a` is decided by a motion, `b` by its absence."""
    z = np.array(z, float)
    levels = np.array([[-1.0, np.nan], [1, np.nan], [0, np.nan], [9, np.nan], [1, np.nan]])
    about = {"dataset": "test", "skeleton": "coco", "n_videos": [9], "doubt": ["", "why $x_"]}
    layer = {"weight": np.eye(2), "mean": np.zeros(2), "std": np.ones(2), "levels": levels}
    weight = np.array([[2.0, 0.1], [-2, 0]])
    medoids = np.zeros((1, 4, 17, 2), np.float32)
    names = ["a $\\frac{$", "b <script>"]
    model = ConceptModel(
        names, ["motion 000", "$\\frac{$"], ["motion", "object"], layer, weight, np.zeros(2), medoids, about
    )
    windows = [Window(i / 2, i / 2 + 1, 10 * i, 10 * i + 19, np.zeros((0, 1, 1, 3), np.uint8)) for i in range(len(z))]
    return Timeline(model, "film $x_$.mp4", windows, z)


def test_runs():
    assert runs([1, 1, None, True, True, True]) == [(0, 1, 1), (2, 2, None), (3, 5, True)]
    assert runs([]) == []


def test_decisions_and_stretches_share_the_time_among_them():
    found = timeline([[1, 0], [2, 0], [-1, 0], [-1, 0], [1, 0]])
    assert found.decisions() == [(0, 1, 0), (2, 3, 1), (4, 4, 0)]
    assert found.stretches(0) == [(0, 1), (4, 4)] and found.stretches(1) == []
    parts = [found.part(first, last) for first, last, _ in found.decisions()]
    # The middles of the windows are at 0.5, 1, 1.5, 2 and 2.5 s.
    assert [(part["start"], part["end"]) for part in parts] == [(0, 1.25), (1.25, 2.25), (2.25, 3)]
    assert [(part["first_frame"], part["last_frame"]) for part in parts] == [(0, 24), (25, 44), (45, 59)]
    (concept, other) = found.as_dict()["concepts"]
    assert [(part["first_frame"], part["last_frame"]) for part in concept["shown"]] == [(0, 24), (45, 59)]
    assert other["shown"] == [] and other["doubt"] == "why $x_"
    assert [window["class"] for window in found.as_dict()["windows"]] == [
        "a $\\frac{$",
        "a $\\frac{$",
        *["b <script>"] * 2,
        "a $\\frac{$",
    ]
    assert found.as_dict()["windows"][2]["present"] == [False, None]
    assert "  motion  motion 000: frames 0 to 24, 45 to 59" in found.lines()


@pytest.mark.parametrize("n", [1, 3])
def test_files_are_written_whatever_the_names(tmp_path, n):
    lines = timeline([[1, 0]] * n).write(tmp_path / "out")
    answer = json.loads((tmp_path / "out" / "timeline.json").read_text())
    assert len(answer["windows"]) == n and lines[-1].endswith("timeline.json")
    assert np.asarray(Image.open(tmp_path / "out" / "timeline.png")).std() > 5
    (tmp_path / "file").write_text("")
    with pytest.raises(StageError, match="--out names a folder"):
        timeline([[1, 0]]).write(Path(tmp_path / "file"))


def test_a_window_is_as_long_as_clips_of_typical_training_videos():
    seconds, fps = np.array([2.0, 4.0, 9.0]), np.array([25.0, 25.0, 25.0])
    assert window_length({"sampling": "uniform"}, seconds, fps) == 4.0
    dense = {"sampling": "dense", "n_frames": 16, "stride": 4}
    assert window_length(dense, seconds, fps) == pytest.approx(61 / 25)
    assert window_length(dense, np.zeros(0), np.zeros(0)) is None
