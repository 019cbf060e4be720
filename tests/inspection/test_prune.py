from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time

import pytest
import yaml

from pipeline.cli import main
from pipeline.inspection.cache import InspectionError
from pipeline.inspection.prune import Leftover, delete
from pipeline.jobs import restart
from pipeline.rules.asked import ASKED, note
from pipeline.rules.graph import STAGES


def configure(cache, **section) -> None:
    raw = {"datasets": {"own": {**cache.raw["datasets"]["own"], **section}}}
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump(raw))


def files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def listed(capsys, *arguments: str) -> dict[str, str]:
    assert main(["prune", *arguments, "--json"]) == 0
    return {item["path"]: item["why"] for item in json.loads(capsys.readouterr().out)["files"]}


def log(path, text: str = "INFO ended\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def ended() -> int:
    """Id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_current_cache_has_nothing_left_over(cache, capsys):
    log(cache.folder / "logs/poses/000-of-002.log")
    log(cache.folder / "logs/index.log")
    before = files(cache.run_folder)
    assert main(["prune", "results", "--delete"]) == 0
    assert "nothing is left over" in capsys.readouterr().out and files(cache.run_folder) == before


def test_shards_and_logs_of_another_number_of_shards(cache, capsys):
    old = {str(path) for path in cache.folder.rglob("*-of-002.*")}
    log(cache.folder / "logs/poses/001-of-002.log")
    configure(cache, data={**cache.raw["datasets"]["own"]["data"], "shards": 4})
    found = listed(capsys, "results/own")
    assert set(found) == old | {str(cache.folder / "logs/poses/001-of-002.log")}
    assert "data.shards is 4 now" in found[str(cache.path("poses", shard="001-of-002"))]
    assert files(cache.folder) >= {"motion/poses/001-of-002.zarr.zip"}  # listing deletes nothing


def test_stages_that_the_configuration_does_not_need_any_more(cache, capsys):
    log(cache.folder / "logs/poses/001-of-002.log")
    configure(cache, bottleneck={"concept_layers": {"kinds": ["salf"]}})  # without motion concepts
    kinds = {
        os.path.relpath(path, cache.folder).split("/of-")[0].rsplit("/", 1)[0] for path in listed(capsys, "results")
    }
    assert kinds == {"motion", "motion/poses", "motion/keyframes", "motion/pose_clips", "logs/poses"}


def test_a_removed_data_set_is_deleted_on_request_alone(cache, capsys):
    (cache.folder / "model.pt").write_bytes(b"weights")
    (cache.folder / "notes.txt").write_text("mine")
    (cache.folder / "motion/my.parquet").write_bytes(b"mine too")
    log(cache.folder / "logs/index.log")
    log(cache.folder / "logs/mine.log")
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump({"datasets": {"other": {}}}))
    before = files(cache.run_folder)
    assert main(["prune", "results"]) == 0
    assert "--delete removes them" in capsys.readouterr().out and files(cache.run_folder) == before
    assert main(["prune", "results", "--delete"]) == 0
    assert files(cache.folder) == {"notes.txt", "motion/my.parquet", "logs/mine.log"}
    assert not (cache.folder / "backbone").exists()


def test_artifacts_of_another_origin_stay(cache, capsys):
    """A cache that was copied under another name says so; it is somebody's own."""
    (cache.folder / "model.pt").write_bytes(b"mine")
    log(cache.folder / "logs/index.log")
    (cache.run_folder / "results/own").rename(cache.run_folder / "results/kept")
    assert listed(capsys, "results") == {}


def test_artifacts_of_stages_that_are_gone(cache, capsys):
    """An older release wrote them; a copy outside the floors is somebody's own."""
    old = cache.folder / "motion/older/000-of-002.zarr.zip"
    for path in (old, cache.folder / "backup/000-of-002.zarr.zip"):
        path.parent.mkdir()
        path.write_bytes(cache.path("poses", shard="000-of-002").read_bytes())
    assert listed(capsys, "results/own") == {str(old): "artifact that no stage of this release makes"}


def test_temporary_files_of_killed_jobs(cache, capsys, ended):
    folder = cache.folder / "motion/poses"
    dead, alive = folder / f".{ended}.000-of-002.zarr.zip", folder / f".{os.getpid()}.001-of-002.zarr.zip"
    for path in (dead, alive, folder / ".hidden"):
        path.write_bytes(b"half")
    writer = [sys.executable, "-c", "import time; time.sleep(60)", "pipeline.motion.poses"]
    with subprocess.Popen(writer) as process:
        beginning = folder / f".{process.pid}.000-of-002.zarr.zip"
        beginning.write_bytes(b"half")
        try:
            found = listed(capsys, "results/own")
        finally:
            process.kill()
    assert str(dead) in found and str(beginning) not in found
    assert main(["prune", "results/own", "--delete"]) == 0
    assert not dead.exists() and (folder / ".hidden").exists()


def test_videos_that_a_smaller_demo_does_not_have(cache, capsys):
    index, generate = {"source": "generated"}, {"train_per_class": 2, "test_per_class": 1, "shifted_per_class": 0}
    raw = {"datasets": {"own": {"data": {"shards": 2, "index": index}, "demo": {"generate": generate}}}}
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump(raw))
    videos = cache.folder / "demo/videos"
    videos.mkdir(parents=True)
    for name in ("ball_lift_train_000.mp4", "ball_lift_train_007.mp4", "mine.mp4"):
        (videos / name).write_bytes(b"")
    assert set(listed(capsys, "results/own")) == {str(videos / "ball_lift_train_007.mp4")}


def test_the_configuration_is_that_of_the_run(cache, capsys, monkeypatch, tmp_path):
    """In a working folder with another configuration nothing may look like left over."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "config.yaml").write_text(yaml.safe_dump({"datasets": {"other": {}}}))
    monkeypatch.chdir(elsewhere)
    assert listed(capsys, str(cache.run_folder / "results")) == {}
    (cache.run_folder / "config.yaml").unlink()
    assert main(["prune", str(cache.run_folder / "results"), "--delete"]) == 2
    assert "config.yaml does not exist" in capsys.readouterr().err and cache.path("index").exists()


def test_links_are_neither_followed_nor_deleted(cache, capsys, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / "000-of-064.zarr.zip"
    target.write_bytes(cache.path("poses", shard="000-of-002").read_bytes())
    (cache.folder / "motion/poses/003-of-064.zarr.zip").symlink_to(target)
    (cache.folder / "backbone/maps").symlink_to(outside)
    (cache.run_folder / "results/linked").symlink_to(cache.folder)
    assert main(["prune", "results", "--delete"]) == 0
    assert target.exists() and (cache.folder / "backbone/maps").is_symlink()
    assert main(["prune", "results/linked"]) == 2
    assert "results/linked is a symbolic link" in capsys.readouterr().err


def noted(cache, raw, *files: str) -> None:
    """As the driver of a run notes with what configuration it was asked for the data set."""
    note(cache.run_folder, "own", raw, files, {})


def test_what_a_run_with_another_configuration_was_asked_for_stays(cache, capsys):
    """`--configfile other.yaml` made it; beside `results` lies a configuration that does not know it."""
    noted(cache, cache.raw, "other.yaml")
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump({"datasets": {"other": {}}}))
    before = files(cache.run_folder)
    assert main(["prune", "results", "--delete"]) == 0
    shown = capsys.readouterr().out
    assert "stay: runs with another configuration" in shown and "nothing is left over" in shown
    assert files(cache.run_folder) == before
    assert main(["prune", "results", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [] and told["spared"]["files"] > 5 and told["spared"]["bytes"] > 1000
    assert main(["prune", "results", "--everything", "--delete"]) == 0
    assert not list(cache.folder.rglob("*.zarr.zip"))


def test_the_next_run_with_the_same_files_takes_the_place_of_the_one_before(cache, capsys):
    section = cache.raw["datasets"]["own"]
    more = {"datasets": {"own": {**section, "data": {**section["data"], "shards": 4}}}}
    old = {str(path) for path in cache.folder.rglob("*-of-002.*")}
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump(more))
    noted(cache, cache.raw)
    assert listed(capsys, "results/own") == {}  # no run has made the four shards yet
    noted(cache, more)
    assert set(listed(capsys, "results/own")) == old
    noted(cache, cache.raw, "two.yaml")
    assert listed(capsys, "results/own") == {}
    assert set(listed(capsys, "results/own", "--everything")) == old


def test_a_finished_model_of_a_data_set_that_is_not_configured_stays(cache, capsys):
    """Its run left no note: it is of an earlier release, or was copied."""
    for path in STAGES["named"].writes.values():
        (cache.folder / path).parent.mkdir(exist_ok=True)
        (cache.folder / path).write_bytes(b"finished")
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump({"datasets": {"other": {}}}))
    before = files(cache.folder)
    assert main(["prune", "results", "--delete"]) == 0 and files(cache.folder) == before
    assert "--everything lists them too" in capsys.readouterr().out
    assert str(cache.folder / "model.pt") in listed(capsys, "results", "--everything")


def test_a_note_that_cannot_be_read_deletes_nothing(cache, capsys):
    noted(cache, cache.raw, "other.yaml")
    (note_file,) = (cache.run_folder / ASKED / "own").iterdir()
    (cache.run_folder / "config.yaml").write_text(yaml.safe_dump({"datasets": {"other": {}}}))
    before = files(cache.folder)
    for text in ("{", "[]", json.dumps({"config": {"datasets": {"own": {"moton": {}}}}})):
        note_file.write_text(text)
        assert main(["prune", "results", "--delete"]) == 2
        assert "remove it, or give --everything" in capsys.readouterr().err and files(cache.folder) == before


def test_only_results_are_tidied_up(cache, capsys, tmp_path):
    for path, words in (
        (tmp_path, "not a results folder"),
        ("results/own/motion", "not a results folder"),
        ("no", "no folder"),
    ):
        assert main(["prune", str(path), "--delete"]) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.splitlines()) == 1
    file = tmp_path / "precious.parquet"
    file.write_bytes(b"1")
    with pytest.raises(InspectionError, match="does not lie in"):
        delete([Leftover(file, 1, "")], cache.folder)
    assert file.exists()


def test_nothing_is_deleted_while_a_run_goes_on(cache, capsys, ended):
    left = cache.folder / f"motion/poses/.{ended}.000-of-002.zarr.zip"
    left.write_bytes(b"half")
    lock = cache.run_folder / restart.LOCK
    lock.parent.mkdir()
    with open(lock, "w") as driver:
        driver.write("process 7 on node3")
        driver.flush()
        fcntl.flock(driver, fcntl.LOCK_SH)
        assert main(["prune", "results", "--delete"]) == 2
    assert "a run is at work" in (error := capsys.readouterr().err) and "process 7 on node3" in error and left.exists()
    started = {"time": time.time(), "pid": 1, "host": "another", "slurm": "71"}
    log(cache.folder / "logs/poses/000-of-002.log", f"2033-05-18 03:33:20,000 INFO started {json.dumps(started)}\n")
    assert main(["prune", "results", "--delete"]) == 2
    assert "is at work on another" in capsys.readouterr().err and left.exists()
