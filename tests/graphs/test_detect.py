"""Scene graphs of a user's video: detector, tracker, geometry and CLIP, with tiny networks of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.demo.videos import write_video
from pipeline.graphs import geometry
from pipeline.graphs.detect import ObjectDetector, person_first
from pipeline.graphs.settings import Detect, Graph, Nodes
from pipeline.methods.proda.model import Model
from pipeline.methods.proda.network import ProDA, Sizes
from pipeline.methods.proda.settings import ProDA as Settings
from pipeline.store.atomic import StageError


@pytest.fixture(scope="module")
def model(tmp_path_factory, checkpoint_folders) -> Model:
    folder = tmp_path_factory.mktemp("checkpoints")
    detector = checkpoint_folders.detector(folder / "detector")
    encoder = checkpoint_folders.dual_encoder("clip", folder / "clip")
    classes = person_first(ObjectDetector(str(detector)).classes)
    graph = Graph(nodes=4, relations="geometric", max_frames=6)
    names = [f"class {number}" for number in range(5)]
    settings = Settings.model_validate({"frames": 4, "asked": 2, "network": {"width": 8, "heads": 2}})
    nodes = Nodes(model=str(encoder))
    from pipeline.context.encoders import load_dual_encoder

    width = load_dual_encoder(str(encoder)).width
    sizes = Sizes(len(names), len(geometry.NAMES), len(classes), width, 4)
    torch.manual_seed(0)
    about = {
        "tables": {"source": "detected"},
        # Random weights are sure of nothing.
        "detect": Detect(model=str(detector), every=2, min_score=1e-6).model_dump(mode="json"),
        "graph": graph.model_dump(mode="json"),
        "nodes": nodes.model_dump(mode="json"),
        "graphs": {"node_classes": classes, "relation_names": list(geometry.NAMES), "topology": "star", "nodes": 4},
        "sizes": dict(sizes._asdict()),
        "settings": settings.model_dump(mode="json"),
        "threshold": 0.5,
    }
    return Model(names, ProDA(sizes, settings.network).eval(), settings, about)


def test_a_user_asks_about_a_clip(model, tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), np.uint8)
    write_video(tmp_path / "mine.mp4", frames)
    decision = model.predict(tmp_path / "mine.mp4")
    assert len(decision.ranking) == 5 and 0 <= decision.probability <= 1
    answer = decision.disentangle(["class 3", "class 0"])
    assert [part.name for part in answer.parts] == ["class 3", "class 0"]
    assert answer.pictures.shape == (4, 64, 96, 3) and answer.scene.present.shape == (4, 4)
    told = answer.write(tmp_path / "out")
    assert "2 pictures" in told[-1] and (tmp_path / "out/action_02.png").stat().st_size > 1000


def test_it_is_kept_as_a_file(model, tmp_path):
    from pipeline.methods.models import load

    model.save(tmp_path / "model.pt")
    again = load(tmp_path / "model.pt")
    assert again.method == "proda" and again.class_names == model.class_names
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, model.network.state_dict()[name])


def test_graphs_that_nobody_can_find_in_a_video_are_refused(model, tmp_path):
    other = Model(model.class_names, model.network, model.settings, {**model.about, "tables": {"source": "cad120"}})
    (tmp_path / "mine.mp4").touch()
    with pytest.raises(StageError, match="cannot be found in a video"):
        other.predict(tmp_path / "mine.mp4")
