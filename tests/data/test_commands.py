"""`conceptreel init` and `conceptreel check`, called as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from pipeline.cli import main
from pipeline.config import load
from pipeline.data.commands import InitError, _shared_beginnings, insert_section
from pipeline.data.entries import Entry
from pipeline.data.isolated import Decoder
from pipeline.inspection import profiles
from pipeline.inspection.profiles import Machine, proposed


def write_video(path, n_frames=6, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for k in range(n_frames):
        writer.write(np.full((48, 64, 3), 10 * k + 5 * shade, np.uint8))
    writer.release()


BARE = Machine("", False, "ConnectError")


@pytest.fixture
def machine(monkeypatch):
    """Sets what `init` finds on the machine; nothing at first."""

    def set_to(machine: Machine) -> None:
        monkeypatch.setattr(profiles, "this_machine", lambda models: machine)

    set_to(BARE)
    return set_to


@pytest.fixture
def videos(tmp_path, monkeypatch, machine):
    """A working folder with a configuration, and two classes of five videos elsewhere, on a bare machine."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work/config.yaml").write_text(
        "# mine\ndata_root: data\n\ndatasets:\n  # first\n  demo: { data: { index: { source: generated } } } # keep\n\n"
        "# how fast\nruntime: { device: cpu }\n"
    )
    for n, name in enumerate(("fall", "sit down")):
        for k in range(5):
            write_video(tmp_path / "clips" / name / f"{name[0]}{k} (1).mp4", shade=5 * n + k)
    return tmp_path / "clips"


def call(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_init_adds_a_section_and_leaves_the_rest_as_it_is(videos, capsys):
    before = Path("config.yaml").read_text()
    code, out, _ = call(capsys, "init", "my_set", videos)
    assert code == 0
    assert "10 videos of 2 classes: 6 train, 2 val, 2 test" in out
    assert "problem" not in out and "note" not in out
    assert "next: conceptreel plan results/my_set; snakemake --cores all results/my_set/model.pt" in out
    after = Path("config.yaml").read_text()
    for line in before.splitlines():
        assert line in after.splitlines()
    assert after.index("my_set:") < after.index("# how fast")
    section = load("config.yaml").datasets["my_set"]
    assert section.data.root == str(videos) and section.data.index.source == "folders" and section.data.shards == 1
    assert section.profile == "small" and section.bottleneck.concept_layers.types == ["motion"]
    assert set(yaml.safe_load(after)["datasets"]["my_set"]) == {"profile", "data"}
    assert "videos: 6 frames, 0.2 s on average" in out
    assert "profile: small (there is no GPU; --profile names another one)" in out
    assert out.splitlines()[-2:] == [
        "first: conceptreel fetch small",
        "next: conceptreel plan results/my_set; snakemake --cores all results/my_set/model.pt",
    ]
    code, out, _ = call(capsys, "check", "my_set", "--classes")
    assert code == 0 and "complete" in out and "  sit down      3 train      1 val      1 test" in out
    code, _, err = call(capsys, "init", "my_set", videos)
    assert code == 2 and "already has a data set `my_set`" in err
    assert Path("config.yaml").read_text() == after


def test_init_tells_what_it_finds_wrong(videos, capsys, tmp_path):
    (videos / "fall/f0 (1).mp4").write_bytes(b"<html>gone</html>")
    (videos / "fall/f1 (1).mp4").write_bytes(b"")
    (videos / "fall/notes.txt").write_text("")
    write_video(videos / "sit down/more/x.mp4")
    write_video(videos / "by_actor/ann/x.mp4")
    write_video(videos / "loose.mp4")
    (videos / "empty").mkdir()
    code, out, _ = call(capsys, "init", "my_set", videos)
    assert code == 0
    for words in (
        "problem: fall/f0 (1).mp4: not_a_video: f0 (1).mp4 is a web page",
        "problem: fall/f1 (1).mp4: empty",
        "unused: fall: 1 files are not videos, for example notes.txt",
        "unused: sit down: 1 videos in sub-folders are not read, for example sit down/more/x.mp4",
        "unused: the folder by_actor is not a class: its 1 videos are in sub-folders; move them up",
        "unused: the folder empty has no video, so it is not a class",
        "unused: 1 videos are outside the class folders, for example loose.mp4",
        "note: fall: 3 videos are few",
        "20% of the videos have problems, and the run stops above 5%",
    ):
        assert words in out
    assert call(capsys, "init", "second", videos, "--quick")[1].count("problem") == 0


@pytest.mark.parametrize("kind", ["flat", "none", "missing", "broken", "name"])
def test_init_writes_nothing_where_nothing_can_be_used(videos, capsys, tmp_path, kind):
    before = Path("config.yaml").read_text()
    folder = {"flat": videos / "fall", "none": tmp_path / "work", "missing": videos / "gone"}.get(kind, videos)
    if kind == "broken":
        for path in videos.glob("*/*.mp4"):
            path.write_bytes(b"")
    code, _, err = call(capsys, "init", "my set" if kind == "name" else "my_set", folder)
    words = {
        "flat": "5 videos lie there without a folder",
        "none": "no video is found there",
        "missing": "is not a folder",
        "broken": "no video can be read; nothing was written",
        "name": "cannot name a results folder",
    }[kind]
    assert code == 2 and words in err and err.count("\n") == 1
    assert Path("config.yaml").read_text() == before


def test_init_by_group_and_with_pictures_and_splits(videos, capsys, tmp_path):
    code, out, _ = call(capsys, "init", "by_actor", videos, "--group-pattern", "^(?P<group>[a-z][0-9])", "--quick")
    assert code == 0 and load("config.yaml").datasets["by_actor"].data.index.validation_by == "group"
    code, _, err = call(capsys, "init", "wrong", videos, "--group-pattern", "(", "--quick")
    assert code == 2 and "is not a regular expression" in err
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for k in range(6):
                path = tmp_path / "work/data/pets" / split / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))
    code, out, _ = call(capsys, "init", "pets", "data/pets")
    section = load("config.yaml").datasets["pets"]
    assert code == 0 and "24 videos of 2 classes: 10 train, 2 val, 12 test" in out
    assert section.data.root == "pets" and section.data.index.source == "images"
    assert section.bottleneck.concept_layers.kinds == ["salf"] and section.data.decode.min_frames == 1
    assert section.profile == "published" and len(section.context.texts.candidates["object"]) == 4
    assert call(capsys, "init", "more_pets", "data/pets", "--profile", "small")[0] == 2


def test_the_proposal_follows_from_what_is_there():
    both = ["small", "published"]
    assert proposed(BARE, both)[0] == proposed(Machine("H", True, "ConnectError"), both)[0] == "small"
    assert proposed(Machine("", True, "reachable"), both)[0] == "small"
    for hub in ("cached", "reachable"):
        assert proposed(Machine("H", False, hub), both)[0] == "published"


def test_a_profile_is_named_or_asked_for(videos, capsys, machine, monkeypatch):
    assert call(capsys, "init", "named", videos, "--profile", "published")[0] == 0
    section = load("config.yaml").datasets["named"]
    assert section.motion.poses.model == "usyd-community/vitpose-plus-large" and section.context.texts.candidates
    machine(Machine("NVIDIA H200, 143771 MiB", True, "cached"))
    code, out, _ = call(capsys, "init", "agreed", videos, "--yes", "--quick")
    assert code == 0 and load("config.yaml").datasets["agreed"].profile == "published"
    assert "this machine: NVIDIA H200" in out and "first:" not in out and "MMPose" not in out
    Path("config.yaml").write_text(Path("config.yaml").read_text().replace("device: cpu", "mmpose: own/bin/python"))
    assert "MMPose runs under own/bin/python" in call(capsys, "init", "posed", videos, "--yes", "--quick")[1]
    asked = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return ["what?", "small"][len(asked) - 1]

    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)
    assert call(capsys, "init", "asked", videos, "--quick")[0] == 0
    assert len(asked) == 2 and "[published, because there is a GPU" in asked[0]
    assert load("config.yaml").datasets["asked"].profile == "small"


def test_several_people_are_told_apart_by_their_boxes(videos, capsys, machine, monkeypatch):
    machine(Machine("", True, "ConnectError"))
    monkeypatch.setattr(profiles, "people", lambda places, decoder: [1, 3, 4])
    code, out, _ = call(capsys, "init", "crowd", videos)
    assert code == 0 and "people in a frame: 3 (1 to 4 in 3 frames looked at)" in out
    poses = load("config.yaml").datasets["crowd"].motion.poses
    assert (poses.boxes, poses.detector, poses.min_box_score) == ("detected", "small/movenet-multipose", 0.2)
    monkeypatch.setattr(profiles, "people", lambda places, decoder: [1, 1, 2])
    call(capsys, "init", "alone", videos)
    assert load("config.yaml").datasets["alone"].motion.poses.boxes == "refined"


def test_people_are_counted_in_real_frames(fetched, real_data):
    fetched("movenet-multipose")
    with Decoder() as decoder:
        found = profiles.people(sorted((real_data / "weizmann").rglob("*_wave2.avi"))[:3], decoder)
    assert found == [1, 1, 1]


def test_a_missing_configuration_is_made(videos, capsys):
    code, _, _ = call(capsys, "init", "my_set", videos, "--config", "new.yaml", "--quick")
    assert code == 0 and set(yaml.safe_load(Path("new.yaml").read_text())["datasets"]) == {"my_set"}


def test_configurations_that_cannot_be_added_to():
    for text in ("datasets: { a: {} }\n", "data_root: x\n"):
        with pytest.raises(InitError, match="add this section yourself"):
            insert_section(text, "b", {}, "config.yaml")
    assert yaml.safe_load(insert_section("datasets:\n    a: {}", "b", {"x": 1}, "")) == {
        "datasets": {"a": {}, "b": {"x": 1}}
    }


def test_check_counts_labels_where_a_video_has_not_one(videos, capsys, tmp_path):
    root = tmp_path / "work/data/own"
    root.mkdir(parents=True)
    for name in "abcde":
        (root / f"{name}.mp4").write_text("")
    (root / "train.csv").write_text("a.mp4\nb.mp4\nc.mp4\n")
    (root / "test.csv").write_text("d.mp4\ne.mp4\n")
    (root / "labels.csv").write_text(
        "video,label,start,end\na,run,0,1\na,sit,1,2\na,run,2,3\nb,run,,\nc,sit,,\nc,run,,\nd,sit,,\n"
    )
    index = {"lists": {"train": "train.csv", "test": "test.csv"}, "labels": "labels.csv", "validation_fraction": 0.01}
    Path("own.yaml").write_text(yaml.safe_dump({"datasets": {"own": {"data": {"root": "own", "index": index}}}}))
    code, out, _ = call(capsys, "check", "own", "--config", "own.yaml", "--classes")
    assert code == 0
    assert out.splitlines() == [
        "5 videos of 2 classes: 2 train, 1 val, 2 test",
        "videos by number of labels: 1 have 0, 2 have 1, 2 have 2",
        "3 labelled segments",
        "  run      2 train      1 val      0 test",
        "  sit      1 train      1 val      1 test",
        "note: run: 3 videos are few; a class with fewer than 5 is hardly learned",
        "note: sit: 3 videos are few; a class with fewer than 5 is hardly learned",
        "complete",
    ]
    report = json.loads(call(capsys, "check", "own", "--config", "own.yaml", "--json")[1])
    assert report["videos_by_labels"] == {"0": 1, "1": 2, "2": 2} and report["segments"] == 3
    # Where every video has one label there is nothing to say.
    (root / "labels.csv").write_text("video,label\n" + "".join(f"{name},run\n" for name in "abcde"))
    assert "number of labels" not in call(capsys, "check", "own", "--config", "own.yaml")[1]


def test_check_tells_what_is_missing(videos, capsys, tmp_path):
    root = tmp_path / "work/data/haa"
    (root / "video/arm_wave").mkdir(parents=True)
    for k in range(19):
        (root / f"video/arm_wave/arm_wave_{k:03d}.mp4").write_text("")
    (root / "names.txt").write_text("arm_wave\n")
    index = {"source": "haa500", "class_list": "names.txt"}
    Path("haa.yaml").write_text(yaml.safe_dump({"datasets": {"haa": {"data": {"root": "haa", "index": index}}}}))
    code, out, _ = call(capsys, "check", "haa", "--config", "haa.yaml")
    assert code == 1
    assert "20 videos of 1 classes: 13 train, 3 val, 3 test (of 4)" in out
    assert "missing: 1 of 20 videos are not on disk: 1 of arm_wave" in out
    assert "problem: video/arm_wave/arm_wave_019.mp4: missing: arm_wave/arm_wave_019.mp4 is not on disk" in out
    code, out, _ = call(capsys, "check", "haa", "--config", "haa.yaml", "--json")
    report = json.loads(out)
    assert report["published"] == {"train": 16, "test": 4} and report["by_class"]["arm_wave"]["train"] == 13
    code, _, err = call(capsys, "check", "haa", "--config", "haa.yaml", "--data-root", "elsewhere")
    assert code == 2 and "elsewhere/haa does not exist; data_root and data.root" in err
    code, _, err = call(capsys, "check", "ha", "--config", "haa.yaml")
    assert code == 2 and "did you mean `haa`" in err


def test_the_cache_of_the_hub_is_looked_into_before_the_hub(hub_cache):
    """Weights of one repository are on its main branch, those of the other one where the hub's converter put them."""
    models = ["some/one", "openai/clip-vit-base-patch16"]
    assert profiles._hub(models) == "HF_HUB_OFFLINE is set"
    for model, revision in zip(models, ("main", "refs/pr/10"), strict=True):
        folder = hub_cache / f"models--{model.replace('/', '--')}"
        (folder / "refs" / revision).parent.mkdir(parents=True)
        (folder / "refs" / revision).write_text("0" * 40)
        (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
        (folder / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(b"")
    assert profiles._hub(models) == "cached"


def test_names_that_begin_alike_in_several_classes_are_told():
    def entry(path, name):
        return Entry(path, path, (0,), (name,), "train", "train")

    same = [entry(f"{action}/{who}_{action}.avi", action) for action in ("run", "jump") for who in ("ann", "bob")]
    assert _shared_beginnings(same) == ["ann", "bob"]
    assert _shared_beginnings([entry(f"{a}/v_{a}_{i}.avi", a) for a in ("run", "jump") for i in range(3)]) == []
    assert _shared_beginnings([entry(f"{a}/{a}_{i}.avi", a) for a in ("run", "jump") for i in range(3)]) == []
