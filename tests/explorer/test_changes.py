"""What a page may change: a model is saved with its log, an own file is looked at, and nothing else is written."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.cli import main
from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError
from pipeline.demo.videos import write_video
from pipeline.explorer.server import application
from pipeline.explorer.session import Session
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.explain.api import load
from pipeline.methods.dance.explore.attempt import HELD, Attempts, Hurried
from pipeline.methods.dance.explore.run import open_run
from pipeline.methods.registry import METHODS
from tests.explorer.runs import HOSTILE

SESSION = Session(8123, "the token", "the cookie")
HEADERS = {"cookie": "conceptreel_8123=the cookie", "x-conceptreel": "1"}


@pytest.fixture
def folder(small_run, tmp_path) -> Path:
    return shutil.copytree(small_run, tmp_path / "small")


def client_of(folder: Path, **limits) -> TestClient:
    return TestClient(
        application(open_run(folder, METHODS["dance"]), SESSION, **limits), base_url="http://127.0.0.1:8123"
    )


def save(folder: Path, told):
    return client_of(folder).post("/api/save", headers=HEADERS, json=told)


def test_a_saved_model_is_the_commands(folder, tmp_path):
    edits = [{"class": 1, "concept": 0, "weight": 0.5}, {"class": 1, "concept": 0, "weight": -0.25}]
    answer = save(folder, {"name": "better", "edits": [*edits, {"class": "kick", "concept": "sea", "weight": 2}]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["path"] == str(folder / "better.pt") and answer.json()["edits"] == 3
    command = tmp_path / "command.pt"
    weights = [("wave", "motion 000", "0.5"), ("wave", "motion 000", "-0.25"), ("kick", "sea", "2")]
    told = [part for weight in weights for part in ("--weight", *weight)]
    assert main(["edit", str(folder / "model.pt"), *told, "--save", str(command)]) == 0
    own, its = read_model(folder / "better.pt"), read_model(command)
    np.testing.assert_array_equal(own.weight, its.weight)
    assert own.about == its.about and len(own.about["edits"]) == 3
    # It lies beside its run, so that it knows the run's videos.
    assert load(folder / "better.pt").cached.video_id[1] == "clip_001"


def test_an_existing_file_stays_as_it_is(folder):
    before = (folder / "model.pt").read_bytes()
    told = {"name": "model", "edits": [{"class": 0, "concept": 0, "weight": 1}]}
    answer = save(folder, told)
    assert answer.status_code == 400 and "exists and stays as it is" in answer.json()["error"]
    assert (folder / "model.pt").read_bytes() == before
    assert save(folder, {**told, "name": "one.pt"}).status_code == 200
    assert save(folder, {**told, "name": "one"}).status_code == 400


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/b", "/tmp/x", ".hidden", "a b", "a\\b", "a\n", "ü", "x" * 65, "a.b", None, 3, ["a"], "a\0"],
)
def test_a_name_is_no_path(folder, name):
    before = sorted(folder.parent.rglob("*"))
    answer = save(folder, {"name": name, "edits": [{"class": 0, "concept": 0, "weight": 1}]})
    assert answer.status_code == 400 and "64 letters" in answer.json()["error"]
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "edits",
    [
        None,
        [],
        {},
        [1],
        [{}],
        [{"class": 0, "concept": 0}],
        [{"class": 3, "concept": 0, "weight": 1}],
        [{"class": -1, "concept": 0, "weight": 1}],
        [{"class": True, "concept": 0, "weight": 1}],
        [{"class": 0.0, "concept": 0, "weight": 1}],
        [{"class": "nobody", "concept": 0, "weight": 1}],
        [{"class": 0, "concept": 4, "weight": 1}],
        [{"class": 0, "concept": "nothing", "weight": 1}],
        [{"class": 0, "concept": 0, "weight": "1"}],
        [{"class": 0, "concept": 0, "weight": None}],
        [{"class": 0, "concept": 0, "weight": True}],
        [{"class": 0, "concept": 0, "weight": 1e300}],
        [{"class": 0, "concept": 0, "weight": 1}, {"class": 0, "concept": 0, "weight": {}}],
    ],
)
def test_edits_that_are_none_write_nothing(folder, edits):
    answer = save(folder, {"name": "new", "edits": edits})
    assert answer.status_code == 400 and list(answer.json()) == ["error"]
    assert not (folder / "new.pt").exists()


def test_a_number_that_json_does_not_have_writes_nothing(folder):
    content = '{"name": "new", "edits": [{"class": 0, "concept": 0, "weight": NaN}]}'
    assert client_of(folder).post("/api/save", headers=HEADERS, content=content).status_code == 400
    assert not (folder / "new.pt").exists()


def test_a_disk_that_is_full_leaves_no_empty_file(folder, monkeypatch):
    from pipeline.methods.dance.bottleneck.recogniser import ConceptModel

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ConceptModel, "save", full)
    answer = save(folder, {"name": "new", "edits": [{"class": 0, "concept": 0, "weight": 1}]})
    assert answer.status_code == 400 and "No space left" in answer.json()["error"]
    assert not (folder / "new.pt").exists()


# ------------------------------------------------------------------------------------------------------- own files


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("own") / "own.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (1, 48, 64, 3), np.uint8).repeat(20, 0)
    write_video(path, frames, 25)
    return path.read_bytes()


def attempt(client: TestClient, content, name: str = "own.mp4", **headers):
    return client.post("/api/try", headers={**HEADERS, "x-filename": name, **headers}, content=content)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_an_own_file_is_seen_as_the_command_sees_it(folder, video, temporary, tmp_path):
    client = client_of(folder)
    answer = attempt(client, video, "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E.MP4")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["id"] == f"{HOSTILE}.MP4"
    own = tmp_path / "own.mp4"
    own.write_bytes(video)
    decision = load(folder / "model.pt").predict(own)
    np.testing.assert_allclose(found["z"], decision.z, rtol=0, atol=1e-6)
    assert found["distance"] == pytest.approx(decision.distance)
    clip = found["clip"]
    assert clip["original"] == [48, 64] and clip["frames"] == 16 and clip["times"] == sorted(clip["times"])
    for address in (clip["picture"], found["thumb"]):
        assert client.get(f"/{address}", headers=HEADERS).headers["content-type"] == "image/webp"
    maps = np.frombuffer(client.get(f"/{clip['maps']}", headers=HEADERS).content, "<f4").reshape(clip["map_shape"])
    np.testing.assert_allclose(maps, decision.look().maps, atol=1e-5)
    assert not list(temporary.glob("conceptreel-*"))


def test_only_the_last_pictures_are_held(folder):
    attempts = Attempts(read_model(folder / "model.pt"))
    for number in range(HELD + 3):
        attempts.pictures[f"{number:016x}"] = {"clip.webp": b"x"}
        attempts.forget()
    assert len(attempts.pictures) == HELD
    assert attempts.read(f"{0:016x}", "clip.webp") is None and attempts.read(f"{HELD:016x}", "clip.webp") == b"x"


@pytest.mark.parametrize("name", ["", "own", "own.txt", "own.mp4.exe", "own.PT", "../own.html", "own.mp4%00.txt"])
def test_other_suffixes_are_not_even_read(folder, temporary, name):
    def endless():
        raise AssertionError("it was read")
        yield b""

    answer = attempt(client_of(folder), endless(), name, **{"content-length": "9"})
    assert answer.status_code == 415 and ".mp4" in answer.json()["error"]
    assert not list(temporary.glob("conceptreel-*"))


def test_a_large_file_is_refused_before_it_is_read(folder, temporary):
    def endless():
        raise AssertionError("it was read")
        yield b""

    client = client_of(folder, upload_bytes=1000)
    answer = attempt(client, endless(), **{"content-length": "1001"})
    assert answer.status_code == 413 and "at most" in answer.json()["error"]
    assert attempt(client, endless(), **{"transfer-encoding": "chunked"}).status_code == 411
    assert not list(temporary.glob("conceptreel-*"))


def test_what_is_no_video_is_told_without_the_name_of_the_copy(folder, temporary):
    answer = attempt(client_of(folder), b"this is no video" * 100)
    assert answer.status_code == 400 and answer.json()["error"].startswith("it cannot be read: not_a_video")
    assert str(temporary) not in answer.text
    assert not list(temporary.glob("conceptreel-*"))


def test_a_file_takes_no_longer_than_it_may(folder, video, temporary):
    answer = attempt(client_of(folder, upload_seconds=1e-6), video)
    assert answer.status_code == 400 and "cannot be read: too_slow" in answer.json()["error"]
    assert not list(temporary.glob("conceptreel-*"))


def test_a_file_that_does_not_arrive_is_not_waited_for(folder, temporary):
    """The sender says a size and then nothing."""

    async def ask():
        app = application(open_run(folder, METHODS["dance"]), SESSION, upload_seconds=0.05)
        told = {**HEADERS, "host": "127.0.0.1:8123", "x-filename": "own.mp4", "content-length": "9"}
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/try",
            "raw_path": b"/api/try",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        }
        sent = []

        async def send(message):
            sent.append(message)

        await app(scope, asyncio.Event().wait, send)
        return sent

    start, body = asyncio.run(ask())
    assert start["status"] == 408 and b"takes longer to arrive" in body["body"]
    assert not list(temporary.glob("conceptreel-*"))


def test_a_longer_file_has_a_timeline(folder, video):
    model = read_model(folder / "model.pt")
    model.about["window"] = 0.4
    model.save(folder / "model.pt")
    found = attempt(client_of(folder), video).json()["clip"]["timeline"]
    windows, z = np.array(found["windows"]), np.array(found["z"])
    assert len(windows) == len(z) > 3 and z.shape[1] == 4
    np.testing.assert_allclose(windows[:, 1] - windows[:, 0], 0.4, atol=1e-3)
    assert windows[0, 0] == 0 and windows[-1, 1] == pytest.approx(0.8, abs=0.05)


def test_reading_ends_when_the_time_is_over():
    class Endless:
        def batches(self, size):
            while True:
                yield 0, None

    with pytest.raises(VideoError, match="--upload-seconds"):
        list(Hurried(Endless(), deadline=-1.0).batches())


def test_own_files_are_decoded_in_another_process(folder, video, monkeypatch):
    opened = []
    original = Decoder.open

    def watched(self, path, *args, **options):
        opened.append(Path(path).name)
        return original(self, path, *args, **options)

    monkeypatch.setattr(Decoder, "open", watched)
    assert attempt(client_of(folder), video).status_code == 200
    assert set(opened) == {"file.mp4"}


def test_one_file_at_a_time(folder, video, monkeypatch):
    run = open_run(folder, METHODS["dance"])
    begun, end = threading.Event(), threading.Event()

    def slow(upload):
        begun.set()
        end.wait(60)
        return {}

    monkeypatch.setattr(run, "attempt", slow)
    client = TestClient(application(run, SESSION), base_url="http://127.0.0.1:8123")
    first = threading.Thread(target=attempt, args=(client, video))
    first.start()
    assert begun.wait(60)
    answer = attempt(client, video)
    end.set()
    first.join()
    assert answer.status_code == 429 and "another file" in answer.json()["error"]
    monkeypatch.undo()
    assert attempt(client, b"no video").status_code == 400


def test_a_model_of_imported_features_takes_no_file(large_run, video):
    answer = attempt(client_of(large_run), video)
    assert answer.status_code == 415 and answer.json()["error"] == "this run takes no files"
