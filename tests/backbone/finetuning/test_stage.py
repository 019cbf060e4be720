"""The stage as the workflow calls it, and what the stages after it make of its result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.backbone import features, finetune
from pipeline.backbone.encoders import encode, load_backbone
from pipeline.jobs import stage
from pipeline.store.arrays import read_arrays
from pipeline.store.atomic import ArtifactError
from pipeline.store.provenance import digest_of_file
from pipeline.store.tables import read_table

RECIPE = {
    "enabled": True,
    "epochs": 2,
    "warmup_epochs": 1,
    "batch_size": 4,
    "base_learning_rate": 0.1,
    "crop_scale": [0.5, 1.0],
}


def job(name: str, module: str, settings: dict, inputs: dict[str, list], outputs: dict[str, Path]) -> stage.Job:
    arguments = ["--dataset", "d", "--settings", json.dumps(settings)]
    for key, paths in inputs.items():
        arguments += ["--input", key, *map(str, paths)]
    for key, path in outputs.items():
        arguments += ["--output", key, str(path)]
    return stage.Job(name, module, stage.parser().parse_args(arguments))


class Folder:
    """Results of a data set of 14 videos: 8 train, 4 validation, 2 test; one train video could not be decoded."""

    def __init__(self, path: Path, model: str):
        self.path, self.model = path, model
        self.curve = path / "backbone/finetune.parquet"
        self.weights = path / "backbone/finetuned/model.safetensors"

    def write(self, test_label: int = 0, test_level: int = 0) -> None:
        split = ["train"] * 8 + ["val"] * 4 + ["test"] * 2
        labels = [0, 1] * 6 + [test_label] * 2
        # Ids in another order than the splits.
        ids = [f"v{(5 * row) % 14:02d}" for row in range(14)]
        columns = {"video_id": ids, "path": ids, "split": split, "group": ids, "status": ["ok"] * 14}
        columns |= {"first_frame": [None] * 14, "end_frame": [None] * 14}
        columns |= {"labels": [[label] for label in labels], "segments": [[]] * 14}
        index = job("index", "pipeline.data.index", {}, {}, {"index": self.path / "index.parquet"})
        index.write_table("index", pa.table(columns), {"class_names": ["red", "blue"]})
        random = np.random.default_rng(0)
        frames = random.integers(0, 100, (14, 4, 32, 32, 3), dtype=np.uint8)
        for clip, label in zip(frames, labels, strict=True):
            clip[..., 2 * label] += 120
        frames[12:] = test_level
        for shard in range(2):
            rows = [row for row in range(14) if row % 2 == shard and row != 4]
            name = f"{shard:03d}-of-002"
            decode = job("decode", "pipeline.data.decode", {}, {}, {"clips": self.path / f"{name}.zarr.zip"})
            failed = {ids[4]: "broken"} if shard == 0 else {}
            content = {"video_id": [ids[row] for row in rows]}
            decode.write_arrays("clips", {"frames": frames[rows]}, content, n_ok=len(rows), failed=failed)
            # Dark ones, of train videos; another one of these could not be decoded.
            rows = [row for row in rows if row < 8 and row != 6]
            views = job("views", "pipeline.data.views", {}, {}, {"views": self.path / f"views/{name}.zarr.zip"})
            repeated = frames[rows][:, None].repeat(3, 1) // 4
            views.write_arrays("views", {"frames": repeated}, {"video_id": [ids[row] for row in rows]}, n_ok=len(rows))

    @property
    def clips(self) -> list[Path]:
        return sorted(self.path.glob("*.zarr.zip"))

    def finetune(self, with_views: bool = False, **changes) -> None:
        settings = {"model": self.model, "revision": "main", "sha256": "", "sampling": "uniform", **RECIPE, **changes}
        inputs = {"index": [self.path / "index.parquet"], "clips": self.clips}
        inputs["views"] = sorted(self.path.glob("views/*.zarr.zip")) if with_views else []
        outputs = {"finetune": self.curve, "finetuned": self.weights}
        finetune.build(job("finetune", "pipeline.backbone.finetune", settings, inputs, outputs))

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Features of the first shard, and its clips."""
        inputs = {"clips": self.clips[:1], "finetune": [self.curve], "finetuned": [self.weights]}
        place = self.path / "features.npz.zarr.zip"
        features.build(
            job("features", "pipeline.backbone.features", {"model": self.model}, inputs, {"features": place})
        )
        result = read_arrays(place)[0]["features"]
        place.unlink()
        return result, read_arrays(self.clips[0])[0]["frames"]


@pytest.fixture
def folder(tmp_path, tiny_videomae) -> Folder:
    result = Folder(tmp_path, tiny_videomae)
    result.write()
    return result


def test_curve_and_checkpoint(folder):
    folder.finetune()
    table, attributes = read_table(folder.curve)
    rows = table.to_pylist()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert sum(row["chosen"] for row in rows) == 1
    assert attributes["class_names"] == ["red", "blue"]
    config = json.loads((folder.weights.parent / "config.json").read_text())
    assert config["id2label"] == {"0": "red", "1": "blue"}
    assert config["architectures"] == ["VideoMAEForVideoClassification"]
    # What was needed to go on after a kill is gone, and nothing hidden is left.
    assert not [path for path in folder.path.rglob(".*")]


def test_features_come_from_the_tuned_backbone(folder):
    folder.finetune()
    given, frames = folder.features()
    tuned = encode(load_backbone(str(folder.weights.parent)), frames, 8)
    np.testing.assert_allclose(given, tuned, atol=1e-6)
    assert np.abs(tuned - encode(load_backbone(folder.model), frames, 8)).max() > 1e-3


def test_the_chosen_epoch_is_what_is_kept(folder):
    """With a learning rate of nearly zero all epochs are alike; of equal ones the first is taken."""
    folder.finetune(base_learning_rate=1e-30, epochs=3)
    table, _ = read_table(folder.curve)
    best = min(table.to_pylist(), key=lambda row: (-row["val_top1"], row["val_loss"]))
    assert best["chosen"]


def test_test_clips_and_their_labels_change_nothing(folder):
    folder.finetune()
    first, curve = digest_of_file(folder.weights), read_table(folder.curve)[0]
    folder.write(test_label=1, test_level=200)
    folder.finetune()
    assert digest_of_file(folder.weights) == first
    assert read_table(folder.curve)[0].equals(curve)


def test_validation_clips_are_not_trained_on(folder, monkeypatch):
    from pipeline.backbone.finetuning.loop import Training

    seen: set[int] = set()
    original = Training.losses

    def losses(self, batch, epoch):
        seen.update(batch.rows.tolist())
        assert not set(batch.rows.tolist()) & set(self.rows["val"].tolist())
        return original(self, batch, epoch)

    monkeypatch.setattr(Training, "losses", losses)
    folder.finetune(epochs=6)
    assert len(seen) == 7  # eight train videos, one of which was not decoded


def test_views_are_trained_on_and_clips_validated_on(folder, monkeypatch):
    from pipeline.backbone.finetuning.loop import Training

    trained: dict[int, int] = {}
    validated: list[int] = []
    losses, whole_clips = Training.losses, Training._whole_clips

    def watch_training(self, batch, epoch):
        trained.update(zip(batch.rows.tolist(), batch.frames.flatten(1).amax(1).tolist(), strict=True))
        return losses(self, batch, epoch)

    def watch_validation(self, split):
        for part, clips in whole_clips(self, split):
            validated.extend(clips.reshape(len(clips), -1).max(1).tolist())
            yield part, clips

    monkeypatch.setattr(Training, "losses", watch_training)
    monkeypatch.setattr(Training, "_whole_clips", watch_validation)
    folder.finetune(with_views=True, epochs=6)
    assert len(trained) == 6  # eight train videos; one clip and the views of another one could not be decoded
    assert max(trained.values()) < 60 and min(validated) > 200


def test_replaced_weights_are_refused(folder):
    folder.finetune()
    folder.weights.write_bytes((Path(folder.model) / "model.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match="are not the expected ones"):
        folder.features()
    folder.weights.unlink()
    with pytest.raises(ArtifactError, match="there is no fine-tuned backbone in"):
        folder.features()


def test_a_split_without_clips_is_told(folder):
    (folder.path / "001-of-002.zarr.zip").unlink()
    job_of_index = job("index", "pipeline.data.index", {}, {}, {"index": folder.path / "index.parquet"})
    table, _ = read_table(folder.path / "index.parquet")
    split = pa.array(["test" if value == "val" else value for value in table["split"].to_pylist()])
    position = table.column_names.index("split")
    job_of_index.write_table("index", table.set_column(position, "split", split), {"class_names": ["red", "blue"]})
    with pytest.raises(stage.StageError, match="no clip of the split `val` could be decoded"):
        folder.finetune()
