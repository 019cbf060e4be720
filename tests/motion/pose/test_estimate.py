from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.data.readers import VideoError
from pipeline.demo.clips import render, sample_spec
from pipeline.jobs.stage import StageError
from pipeline.motion.pose import estimate
from pipeline.motion.pose.boxes import per_frame, read_boxes
from pipeline.motion.pose.estimate import Estimation, person_boxes
from pipeline.motion.pose.vitpose import PoseEstimator, in_frame
from pipeline.motion.poses import finish
from pipeline.motion.settings import Poses

SHIPPED = "pipeline/demo/encoders/pose"


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator(SHIPPED)


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    """Videos of different lengths and sizes; the person of `wide` stands in its right half."""
    made = {
        f"clip{k}": render(sample_spec(20_000_000 + k), frame_indices=list(range(n))).frames
        for k, n in enumerate((7, 3, 5))
    }
    wide = np.full((4, 128, 256, 3), 90, np.uint8)
    wide[:, :, 128:] = made["clip0"][:4]
    return {**made, "wide": wide}


def pose_in(
    estimator: PoseEstimator, frames: torch.Tensor, boxes: torch.Tensor, padding: float, flip_test: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keypoints ``[n, J, 2]`` in pixels of the frames, and confidences ``[n, J]``."""
    regions = estimator.regions(boxes, padding)
    return in_frame(estimator.poses(estimator.cut(frames, regions), flip_test), regions)


class Videos:
    """Opens clips by name, as a decoder does files; counts how often."""

    def __init__(self, clips: dict[str, np.ndarray], broken: tuple[str, ...] = ()):
        self.clips, self.broken, self.opened = clips, broken, []

    @contextmanager
    def __call__(self, path: Path):
        self.opened.append(path.name)
        self.clip = self.clips[path.name]
        yield Reading(self.clip, path.name in self.broken)


class Reading:
    def __init__(self, clip: np.ndarray, broken: bool):
        self.clip, self.broken = clip, broken
        self.height, self.width = clip.shape[1:3]

    def batches(self, size: int):
        for start in range(0, len(self.clip), size):
            if self.broken and start:
                raise VideoError("damaged", "the second batch is not there")
            yield start, self.clip[start : start + size]


class FakeDetector:
    """Sees the same persons in every picture, as parts of it: rows of x0, y0, x1, y1, score."""

    def __init__(self, persons: list[list[float]]):
        self.persons = torch.tensor(persons, dtype=torch.float32).reshape(-1, 5)
        self.sizes = []

    def pixels(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(frames), 1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pixels))
        return self.persons.expand(len(pixels), -1, -1)


def poses_of(estimator, clips, settings, size=64, opener=None, **options) -> dict:
    opener = opener or Videos(clips)
    return dict(Estimation(estimator, settings, size, **options).run([(n, Path(n)) for n in clips], [opener]))


@pytest.mark.parametrize("boxes", ["whole_frame", "refined"])
def test_batches_across_videos_change_nothing(estimator, clips, boxes):
    settings = Poses(boxes=boxes, box_padding=1.1)
    alone = {}
    for name, clip in clips.items():
        alone |= poses_of(estimator, {name: clip}, settings, 100)
    for size in (1, 4, 100):
        together = poses_of(estimator, clips, settings, size)
        assert together.keys() == clips.keys()
        for name, item in together.items():
            assert item["keypoints"].shape == (len(clips[name]), 17, 2) and "present" not in item
            np.testing.assert_allclose(item["keypoints"], alone[name]["keypoints"], atol=0.05)
            np.testing.assert_allclose(item["confidence"], alone[name]["confidence"], atol=1e-3)
            np.testing.assert_allclose(item["box"], alone[name]["box"], atol=0.1)


def test_the_whole_frame_is_one_look_and_refined_a_second_one_at_its_box(estimator, clips):
    clip = clips["clip0"]
    whole = torch.tensor([[0, 0, 127, 127.0]]).repeat(len(clip), 1)
    points, sure = (part.numpy() for part in pose_in(estimator, torch.from_numpy(clip), whole, 1.0))
    first = poses_of(estimator, {"clip0": clip}, Poses(boxes="whole_frame"))["clip0"]
    np.testing.assert_allclose(first["keypoints"], points, atol=1e-3)
    box = person_boxes(points, sure, whole[0].numpy(), 0.2)
    points, _ = pose_in(estimator, torch.from_numpy(clip), torch.from_numpy(box), 1.25)
    second = poses_of(estimator, {"clip0": clip}, Poses(boxes="refined"))["clip0"]
    np.testing.assert_allclose(second["keypoints"], points, atol=1e-3)


def test_the_detected_person_is_posed_where_it_is(estimator, clips):
    """Two in the picture: the larger one, on the right, is the main person; results are those of its part alone."""
    detector = FakeDetector([[0.5, 0, 1, 1, 0.9], [0.05, 0.1, 0.2, 0.6, 0.8]])
    settings = Poses(boxes="detected", box_padding=1.0)
    item = poses_of(estimator, {"wide": clips["wide"]}, settings, detector=detector)["wide"]
    part = torch.from_numpy(clips["wide"])
    points, sure = pose_in(estimator, part, torch.tensor([[128, 0, 256, 128.0]]).repeat(4, 1), 1.0)
    np.testing.assert_allclose(item["keypoints"], points, atol=1e-3)
    np.testing.assert_allclose(item["confidence"], sure, atol=1e-4)
    np.testing.assert_allclose(item["box"], [[128, 0, 256, 128]] * 4)
    assert item["present"].all()


def test_a_detector_runs_in_full_batches_across_videos(estimator, clips):
    detector = FakeDetector([[0.1, 0, 0.9, 1, 0.9]])
    poses_of(estimator, clips, Poses(boxes="detected"), 6, detector=detector)
    assert detector.sizes == [6, 6, 6, 1]  # 7 + 3 + 5 + 4 frames


@pytest.mark.parametrize("boxes", ["refined", "detected"])
def test_frames_that_are_too_large_for_the_memory_are_prepared_in_parts(estimator, clips, monkeypatch, boxes):
    """What the networks see is small; the frames that it is cut out of are not."""
    settings, seen = Poses(boxes=boxes), []

    def few(prepare):
        def run(frames, *more):
            if len(frames) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            seen.append(len(frames))
            return prepare(frames, *more)

        return run

    detector = FakeDetector([[0.1, 0, 0.9, 1, 0.9]])
    whole = poses_of(estimator, clips, settings, 16, detector=detector)
    monkeypatch.setattr(estimator, "cut", few(estimator.cut))
    monkeypatch.setattr(detector, "pixels", few(detector.pixels))
    parts = poses_of(estimator, clips, settings, 16, detector=detector)
    assert sum(seen) == 2 * 19  # all frames, looked at twice
    for name in clips:
        np.testing.assert_allclose(parts[name]["keypoints"], whole[name]["keypoints"], atol=1e-3)


def test_long_videos_are_decoded_a_second_time_with_the_same_result(estimator, clips, monkeypatch):
    settings = Poses(boxes="detected")
    detector = FakeDetector([[0.1, 0, 0.9, 1, 0.9]])
    kept, first = Videos(clips), {}
    first = poses_of(estimator, clips, settings, 2, kept, detector=detector)
    monkeypatch.setattr(estimate, "KEPT_BYTES", 200_000)  # four frames
    again = Videos(clips)
    second = poses_of(estimator, clips, settings, 2, again, detector=detector)
    assert sorted(kept.opened) == sorted(clips)
    assert sorted(again.opened) == sorted([*clips, "clip0", "clip2", "wide"])
    for name in clips:
        np.testing.assert_array_equal(first[name]["keypoints"], second[name]["keypoints"])


@pytest.mark.parametrize("boxes", ["refined", "detected"])
def test_batches_do_not_depend_on_how_many_read_nor_on_the_size_of_their_pieces(estimator, clips, boxes, monkeypatch):
    """The network sees the same batches in the same order, so not one bit differs."""

    def run(*openers: Videos) -> dict:
        detector = FakeDetector([[0.1, 0, 0.9, 1, 0.9]])
        estimation = Estimation(estimator, Poses(boxes=boxes), 4, detector)
        return dict(estimation.run([(name, Path(name)) for name in clips], openers))

    alone = run(Videos(clips))
    readers = [Videos(clips) for _ in range(3)]
    monkeypatch.setattr(estimate, "PIECE_BYTES", 110_000)  # two small frames, or one of `wide`
    together = run(*readers)
    assert [reader.opened for reader in readers] == [["clip0", "wide"], ["clip1"], ["clip2"]]
    for name in clips:
        for part, values in alone[name].items():
            np.testing.assert_array_equal(together[name][part], values)


def test_the_next_video_is_read_while_a_network_runs(clips):
    opened = threading.Event()

    class Waiting(Videos):
        def __call__(self, path: Path):
            if path.name == "clip1":
                opened.set()
            return super().__call__(path)

    class Estimator:
        device = torch.device("cpu")
        model = SimpleNamespace(config=SimpleNamespace(num_labels=17))

        def regions(self, boxes, padding):
            return boxes

        def cut(self, frames, regions):
            return torch.zeros(len(frames), 1)

        def poses(self, crops, flip_test):
            assert opened.wait(10), "the second video was not opened while the network saw the first"
            return torch.zeros(len(crops), 17, 3)

    found = poses_of(Estimator(), clips, Poses(boxes="whole_frame"), 7, Waiting(clips))
    assert found.keys() == clips.keys()


def test_a_video_that_breaks_ends_no_reader(estimator, clips):
    readers = [Videos(clips, broken=("clip0",)), Videos(clips, broken=("clip1",))]
    estimation = Estimation(estimator, Poses(boxes="whole_frame"), 2)
    found = dict(estimation.run([(name, Path(name)) for name in clips], readers))
    assert [name for name, item in found.items() if isinstance(item, VideoError)] == ["clip0", "clip1"]
    assert readers[0].opened == ["clip0", "clip2"] and readers[1].opened == ["clip1", "wide"]


def test_annotated_boxes_of_some_frames(estimator, clips):
    rows = [[f, 10, 5, 118, 126, 1.0] for f in (0, 1, 4, 5)]
    settings = Poses(boxes="annotations", boxes_path="x.csv", max_gap=1, min_person_confidence=0.1)
    annotated = {"clip0": np.array(rows, float)}
    found = poses_of(estimator, clips, settings, annotated=annotated)
    item = found["clip0"]
    # Two frames without a box are one more than the gap; the last one was never annotated.
    np.testing.assert_array_equal(np.isfinite(item["box"][:, 0]), [True, True, False, False, True, True, False])
    assert np.isnan(item["keypoints"][2]).all() and not item["confidence"][2].any()
    points, _ = pose_in(estimator, torch.from_numpy(clips["clip0"][:1]), torch.tensor([[10, 5, 118, 126.0]]), 1.25)
    np.testing.assert_allclose(item["keypoints"][0], points[0], atol=1e-3)
    assert isinstance(found["clip1"], VideoError) and "the table of boxes has none in its 3 frames" in str(
        found["clip1"]
    )
    done = finish(item, settings)
    assert done["present"].tolist() == [True, True, False, False, True, True, False]


def test_nobody_and_broken_videos_leave_the_others_alone(estimator, clips):
    found = poses_of(estimator, clips, Poses(boxes="detected"), detector=FakeDetector([]))
    assert all(str(item).startswith("no_person: no person was detected") for item in found.values())
    found = poses_of(estimator, clips, Poses(boxes="whole_frame"), 2, Videos(clips, broken=("clip0", "wide")))
    assert [name for name, item in found.items() if isinstance(item, VideoError)] == ["clip0", "wide"]
    assert found["clip2"]["keypoints"].shape == (5, 17, 2)


def test_a_table_of_boxes(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(
        "video_id,frame,x0,y0,x1,y1,score\nb,2,0,0,5,5,0.5\na,0,1,2,3,4,1\nb,2,1,1,9,9,0.7\nb,99,1,1,9,9,1\n"
    )
    table = read_boxes(path)
    assert sorted(table) == ["a", "b"]
    with pytest.raises(VideoError, match=r"other_frames: .* up to frame 99, the video has 4 frames, counted from 0"):
        per_frame(table["b"], 4)
    frames = per_frame(table["b"], 4, allowed=96)
    assert [len(boxes) for boxes in frames] == [0, 0, 2, 0]
    np.testing.assert_array_equal(frames[2], [[0, 0, 5, 5, 0.5], [1, 1, 9, 9, 0.7]])
    assert [len(boxes) for boxes in per_frame(None, 2)] == [0, 0]


def test_ids_of_boxes_are_text(tmp_path):
    """0001 stays 0001, and nan and NULL are names like others."""
    path = tmp_path / "boxes.csv"
    names = ["0001", "0002", "1e3", "nan", "NULL"]
    path.write_text("video_id,frame,x0,y0,x1,y1\n" + "".join(f'"{name}",0,1,2,3,4\n' for name in names))
    assert sorted(read_boxes(path)) == sorted(names)
    pq.write_table(
        pa.table({"video_id": [1, 2], "frame": [0, 0], "x0": [1, 1], "y0": [1, 1], "x1": [2, 2], "y1": [2, 2]}),
        tmp_path / "boxes.parquet",
    )
    with pytest.raises(StageError, match="video_id holds int64; an id is text, such as 0001"):
        read_boxes(tmp_path / "boxes.parquet")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("video_id,frame,x0,y0,x1\n", "lacks the column y1"),
        ("video_id,frame,x0,y0,x1,y1\na,0.5,5,0,6,9\n", "frame 0.5"),
        ("video_id,frame,x0,y0,x1,y1\na,0,5,0,5,9\n", r"row 1 \(a\): frame 0, box .* is no box"),
        ("video_id,frame,x0,y0,x1,y1\na,-1,5,0,6,9\n", "frame -1"),
        ("video_id,frame,x0,y0,x1,y1\na,zero,5,0,6,9\n", "must be numbers"),
    ],
)
def test_a_wrong_table_of_boxes_is_told(tmp_path, text, words):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(StageError, match=words):
        read_boxes(tmp_path / "boxes.csv")
    with pytest.raises(StageError, match=r"does not exist; motion\.poses\.boxes_path"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "boxes.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(StageError, match="is no table of boxes"):
        read_boxes(tmp_path / "boxes.parquet")
