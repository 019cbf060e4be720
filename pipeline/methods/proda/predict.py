"""Stage `proda_predict`: what the network says of every video. It opens no labels and no splits."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.encoding.hardware import device
from pipeline.graphs.graph import read_scenes
from pipeline.graphs.scene import Scenes
from pipeline.jobs import stage
from pipeline.methods.proda.answers import answer, answer_before, answer_single, groups
from pipeline.methods.proda.fit import encoded
from pipeline.methods.proda.network import ProDA
from pipeline.methods.proda.settings import ProDA as Settings
from pipeline.methods.proda.state import network_of, unpacked

# Actions of a video whose edge weights are kept.
KEPT = 10


def predictions(network: ProDA, scenes: Scenes, settings: Settings) -> dict[str, np.ndarray]:
    """All scores of some videos.

    Returns:
        headline, asked, before (a_m) and single ``[n, C]``, float32; frames ``[n, C, N]`` float16, s when the action
        alone is asked; top ``[n, k]`` actions of the highest headline, edges ``[n, k, N, E]`` float16 of these; times
        ``[n, N]``.
    """
    graph = encoded(network, scenes, settings.frames)
    actions = network.sizes.actions
    found = answer(network, graph, groups(actions, settings.asked, settings.shuffles))
    single = answer_single(network, graph)
    headline = found.headline.cpu().numpy()
    top = np.argsort(-headline, 1, kind="stable")[:, :KEPT]
    chosen = torch.from_numpy(top.copy())[:, :, None, None].to(single.edges.device)
    edges = single.edges.gather(1, chosen.expand(-1, -1, *single.edges.shape[2:]))
    return {
        "headline": headline,
        "asked": found.asked.cpu().numpy(),
        "before": torch.sigmoid(answer_before(network, graph)).cpu().numpy(),
        "single": single.scores.cpu().numpy(),
        "frames": single.frames.cpu().numpy().astype(np.float16),
        "top": top.astype(np.int32),
        "edges": edges.cpu().numpy().astype(np.float16),
        "times": scenes.times[scenes.frames(np.arange(len(scenes)), settings.frames)],
    }


def check_fits(network: ProDA, scenes: Scenes, described: dict, trained: dict) -> None:
    """Raises: StageError: graphs have other nodes, relations or features than the network was trained on."""
    found = {**described, "nodes": int(scenes.node_class.shape[1])}
    for name, wanted in trained.items():
        if found[name] != wanted:
            raise stage.StageError(f"the network was trained on graphs with {name} {wanted}; these have {found[name]}")
    if scenes.features.shape[2] != network.sizes.features:
        raise stage.StageError(
            f"the network was trained on features of {network.sizes.features} numbers; these have "
            f"{scenes.features.shape[2]}"
        )


def build(job: stage.Job) -> None:
    torch.set_num_threads(1)
    ((arrays, attributes),) = job.read_arrays("network")
    state = unpacked(arrays["weights"], attributes["shapes"])
    network, settings = network_of(attributes["sizes"], attributes["settings"], state)
    network.to(device(job.runtime))
    scenes, described = read_scenes(job)
    check_fits(network, scenes, described, attributes["graphs"])
    found = predictions(network, scenes, settings)
    content = {"video_id": scenes.video_id, "class_names": attributes["class_names"]}
    job.write_arrays("predictions", found, content, n_ok=len(scenes))


if __name__ == "__main__":
    stage.run("proda_predict", build)
