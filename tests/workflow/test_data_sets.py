"""Data sets in their own layout, own videos and collected candidates, through the rules that read them."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from pipeline.config import published
from pipeline.store.arrays import read_arrays
from pipeline.store.tables import read_table

ENCODER = "pipeline/demo/encoders"


def write_film(path, n_frames, first=0):
    """Frame k is grey with the value 2 k, so that an excerpt tells where it was cut; ``first`` is added to all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (96, 72))
    for k in range(n_frames):
        writer.write(np.full((72, 96, 3), 2 * k + first, np.uint8))
    writer.release()


@pytest.mark.slow
def test_kth_films_become_clips(make_workspace, tmp_path):
    workspace = make_workspace(tmp_path)
    lines = []
    for person in (11, 12, 22):
        for action in ("boxing", "walking"):
            film = f"person{person}_{action}_d1"
            write_film(tmp_path / "data/kth" / action / f"{film}_uncomp.mp4", 60)
            lines.append(f"{film}\t\tframes\t1-20, 21-60")
    (tmp_path / "data/kth/00sequences.txt").write_text("\r\n".join(lines))
    (tmp_path / "data/kth/names.txt").write_text("boxing\nwalking\n")
    index = {"source": "kth", "class_list": "names.txt"}
    poses = {
        "model": f"{ENCODER}/pose",
        "boxes": "whole_frame",
        "expert": None,
        "max_failed_fraction": 1.0,
        "min_person_confidence": 0.0,
    }
    data = {"root": "kth", "shards": 1, "index": index, "decode": {"size": 32}}
    workspace.configure({"datasets": {"kth": {"data": data, "motion": {"poses": poses}}}})
    shard = "000-of-001"
    results = tmp_path / "results/kth"
    made = ("data/index.parquet", f"data/signal/{shard}.zarr.zip", f"motion/poses/{shard}.zarr.zip")
    workspace.snakemake(*(f"results/kth/{path}" for path in made))
    table, attributes = read_table(results / "data/index.parquet")
    rows = table.to_pylist()
    assert len(rows) == 12 and {row["group"] for row in rows if row["split"] == "test"} == {"person22"}
    assert attributes["published"] == {"train": 1528, "test": 863}
    assert attributes["provenance"]["warnings"]["index"][-2:] == [
        "train: 8 videos are listed, 1,528 are published",
        "test: 4 videos are listed, 863 are published",
    ]
    arrays, described = read_arrays(results / f"data/signal/{shard}.zarr.zip")
    lengths = dict(zip(described["video_id"], np.diff(arrays["offsets"]), strict=True))
    assert lengths["person11_boxing_d1_0"] == 20 and lengths["person11_boxing_d1_1"] == 40
    clips, described = read_arrays(results / f"data/clips/{shard}.zarr.zip")
    second = clips["frames"][described["video_id"].index("person11_boxing_d1_1")]
    assert abs(second[0].mean() - 2 * 21) <= 3 and abs(second[-1].mean() - 2 * 58) <= 3
    poses, described = read_arrays(results / f"motion/poses/{shard}.zarr.zip")
    assert dict(zip(described["video_id"], np.diff(poses["offsets"]), strict=True)) == {
        key: lengths[key] for key in described["video_id"]
    }
    assert "train: 8 videos are listed" in (results / "logs/index.log").read_text()


def own_folder(workspace, n=4) -> None:
    for number, name in enumerate(("fall", "sit down")):
        for k in range(n):
            write_film(workspace.folder / "videos" / name / f"{name[0]}{k} (1).mp4", 8, 100 * number + 10 * k)


def test_own_videos_go_from_init_into_the_main_job(make_workspace, tmp_path):
    workspace = make_workspace(tmp_path)
    own_folder(workspace)
    done = workspace.command("init", "my_set", "videos")
    assert "8 videos of 2 classes" in done.stdout
    planned = workspace.planned("results/my_set/model.pt")
    assert planned["index"] == planned["decode"] == planned["model"] == 1 and "candidates" not in planned


def test_folders_with_braces_and_blanks(make_workspace, tmp_path):
    """Of the project, of the run and of the data: nothing is a wildcard or a part of a format."""
    workspace = make_workspace(tmp_path / "run {x} {}")
    own_folder(workspace)
    workspace.project = workspace.copy_project().rename(tmp_path / "a {project} 1")
    index = {"source": "folders", "test_fraction": 0.25, "validation_by": "video"}
    data = {"root": "videos", "shards": 1, "index": index, "decode": {"size": 32}}
    texts = {"candidates": {kind: f"pipeline/context/candidates/kth/{kind}.txt" for kind in ("object", "scene")}}
    workspace.configure({"data_root": ".", "datasets": {"mine": {"data": data, "context": {"texts": texts}}}})
    planned = workspace.planned("results/mine/model.pt")
    assert planned["texts"] == planned["model"] == 1
    signal = "results/mine/data/signal/000-of-001.zarr.zip"
    workspace.snakemake("results/mine/data/index.parquet", signal)
    assert read_table(workspace.folder / "results/mine/data/index.parquet")[0].num_rows == 8
    assert len(read_arrays(workspace.folder / signal)[1]["video_id"]) == 8
    assert workspace.planned("results/mine/data/index.parquet", signal) == {}


def test_a_run_without_a_test_split_stops_at_once(make_workspace, tmp_path):
    workspace = make_workspace(tmp_path)
    own_folder(workspace)
    (tmp_path / "videos").rename(tmp_path / "train")
    (tmp_path / "videos").mkdir()
    (tmp_path / "train").rename(tmp_path / "videos/training")
    data = {"root": "videos", "shards": 1, "index": {"source": "folders", "validation_by": "video"}}
    workspace.configure({"data_root": ".", "datasets": {"mine": {"data": data}}})
    done = workspace.snakemake("results/mine/model.pt", check=False, cores=1)
    assert done.returncode != 0 and "decode" not in workspace.jobs(done)
    log = (tmp_path / "results/mine/logs/index.log").read_text()
    assert "the split `test` has no video: " in log and "data.index.test_fraction" in log and "Traceback" not in log


class _Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.count += 1
        body = json.dumps({"choices": [{"message": {"content": self.server.answer}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stub():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stub) as server:
        server.count, server.answer = 0, '["red ball", "wooden chair"]'
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_candidates_are_asked_for_and_embedded(make_workspace, tmp_path, stub):
    workspace = make_workspace(tmp_path)
    own_folder(workspace)
    url = f"http://127.0.0.1:{stub.server_port}/v1"
    index = {"source": "folders", "test_fraction": 0.25, "validation_by": "video"}
    candidates = {"source": "endpoint", "url": url, "model": "small", "turns": 1, "key_variable": "STUB_KEY"}
    section = {
        "data": {"root": str(tmp_path / "videos"), "index": index},
        "context": {"candidates": candidates, "texts": {"model": f"{ENCODER}/dual_encoder"}},
    }
    workspace.configure({"datasets": {"mine": section}})
    target = "results/mine/context/texts.zarr.zip"
    environment = {key: value for key, value in os.environ.items() if key != "STUB_KEY"}
    environment["no_proxy"] = "127.0.0.1"
    log = tmp_path / "results/mine/logs/candidates.log"
    assert workspace.snakemake(target, check=False, env=environment).returncode != 0
    assert "the environment variable STUB_KEY holds no key" in log.read_text() and stub.count == 0
    environment["STUB_KEY"] = "a-secret-key"
    workspace.snakemake(target, env=environment)
    assert stub.count == 4
    table, _ = read_table(tmp_path / "results/mine/context/candidates.parquet")
    assert table.num_rows == 8 and table["class_name"].to_pylist()[:3] == ["fall", "fall", "sit down"]
    arrays, described = read_arrays(tmp_path / target)
    assert described["text"] == ["red ball", "wooden chair"] * 2 and len(arrays["bare"]) == 4
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"a-secret-key" in path.read_bytes()]
    assert kept == []


def test_every_configured_data_set_has_its_page(project):
    """A guide per source of docs/datasets, and no section that names files which are not shipped."""
    config = published()
    pages = {path.stem for path in (project / "docs/datasets").glob("*.md")}
    sources = {section["data"]["index"].get("source", "lists") for section in config.values() if "data" in section}
    # `breakfast_activities` is another reading of `breakfast`, and stands on its page.
    own = {source for source in sources if not any(source.startswith(f"{page}_") for page in pages)}
    assert own - {"generated", "generated_graphs", "lists"} <= pages
    for section in (section for section in config.values() if "dataset" not in section):
        shipped = [section["data"]["index"].get("class_map", ""), section["data"]["index"].get("class_list", "")]
        for named in section.get("context", {}).get("texts", {}).get("candidates", {}).values():
            shipped += [named] if isinstance(named, str) else named
        for path in shipped:
            assert not path.startswith("pipeline/") or (project / path).is_file(), path
