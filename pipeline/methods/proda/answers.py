"""What a trained network says of videos, without a label: the headline, and each action when it is asked for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.methods.proda.network import Encoded, ProDA

VIDEOS_AT_ONCE = 128


class Answers(NamedTuple):
    """Scores without labels.

    Attributes:
        headline: ``[n, C]``, mean σ(a_t) over the groups of all shuffles.
        asked: ``[n, C]``, mean σ(a_s) of each action in its own groups.
    """

    headline: Tensor
    asked: Tensor


class Single(NamedTuple):
    """What each action looks like when it alone is asked for; E edges of the last layer.

    Attributes:
        scores: ``[n, C]``, σ(a_s) of the action asked.
        frames: ``[n, C, N]``, gates s.
        edges: ``[n, C, N, E]``, weights w, their mean over the layers.
    """

    scores: Tensor
    frames: Tensor
    edges: Tensor


def groups(actions: int, asked: int, shuffles: int) -> Tensor:
    """Prompts that every video is asked ``[G, C]``, of 0 and 1: shuffled actions in groups of K, the last filled."""
    found = []
    asked = min(asked, actions)
    for seed in range(shuffles):
        order = np.random.default_rng(seed).permutation(actions)
        for start in range(0, actions, asked):
            chosen = order[start : start + asked]
            rest = order[:start][: asked - len(chosen)]
            prompt = torch.zeros(actions)
            prompt[np.concatenate([chosen, rest])] = 1
            found.append(prompt)
    return torch.stack(found)


def _parts(count: int) -> list[slice]:
    return [slice(start, start + VIDEOS_AT_ONCE) for start in range(0, count, VIDEOS_AT_ONCE)]


@torch.no_grad()
def answer(network: ProDA, graph: Encoded, prompts: Tensor) -> Answers:
    """Ask every video the same prompts; see `groups`. The network must be in eval mode."""
    total, asked = [], []
    prompts = prompts.to(graph.nodes.device)
    times = prompts.sum(0)
    for part in _parts(len(graph.nodes)):
        own = graph.take(part)
        t, s = 0, 0
        for prompt in prompts:
            rows = prompt.expand(len(own.nodes), -1)
            found = network.disentangle(own, rows)
            t = t + torch.sigmoid(network.read_t(found.fused, own.present).logits)
            s = s + torch.sigmoid(network.read_s(found.specified, own.present).logits[:, :-1]) * prompt
        total.append(t / len(prompts))
        asked.append(s / times)
    return Answers(torch.cat(total), torch.cat(asked))


@torch.no_grad()
def prompt_share(network: ProDA, graph: Encoded, prompts: Tensor) -> float:
    """How much of a_t the prompt decides and not the video: 1: all videos are answered alike; 0: no prompt counts.

    Of logits ``[G, n, C]`` under the same G prompts, at least 2: the variance over prompts, as a part of itself and of
    the variance over videos of their means. A network that copies prompts and has learned nothing of videos is at 1.
    """
    logits = []
    for part in _parts(len(graph.nodes)):
        own = graph.take(part)
        under = [network.disentangle(own, prompt.expand(len(own.nodes), -1)).fused for prompt in prompts.to(own.nodes)]
        logits.append(torch.stack([network.read_t(fused, own.present).logits for fused in under]))
    found = torch.cat(logits, 1)
    of_prompt, of_video = found.var(0).mean(), found.mean(0).var(0).mean()
    return float(of_prompt / (of_prompt + of_video).clamp(min=1e-12))


@torch.no_grad()
def answer_each(network: ProDA, graph: Encoded, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """a_t and a_s, logits ``[n, C]``, of every video under its own prompt ``[n, C]``."""
    t, s = [], []
    for part in _parts(len(graph.nodes)):
        own = graph.take(part)
        found = network.disentangle(own, prompts[part].to(own.nodes.device))
        t.append(network.read_t(found.fused, own.present).logits)
        s.append(network.read_s(found.specified, own.present).logits[:, :-1])
    return torch.cat(t), torch.cat(s)


@torch.no_grad()
def answer_single(network: ProDA, graph: Encoded, actions: list[int] | None = None) -> Single:
    """Ask for single actions, all of them by default."""
    count = network.sizes.actions
    scores, frames, edges = [], [], []
    for action in range(count) if actions is None else actions:
        prompt = torch.zeros(1, count, device=graph.nodes.device)
        prompt[0, action] = 1
        own_scores, own_frames, own_edges = [], [], []
        for part in _parts(len(graph.nodes)):
            own = graph.take(part)
            found = network.disentangle(own, prompt.expand(len(own.nodes), -1))
            read = network.read_s(found.specified, own.present)
            own_scores.append(torch.sigmoid(read.logits[:, action]))
            own_frames.append(read.frames)
            own_edges.append(found.weights.mean(0))
        for kept, new in ((scores, own_scores), (frames, own_frames), (edges, own_edges)):
            kept.append(torch.cat(new))
    return Single(torch.stack(scores, 1), torch.stack(frames, 1), torch.stack(edges, 1))


@torch.no_grad()
def answer_before(network: ProDA, graph: Encoded) -> Tensor:
    """a_m, logits ``[n, C]``: what is read before anything is asked."""
    parts = [graph.take(part) for part in _parts(len(graph.nodes))]
    return torch.cat([network.read_m(own.nodes, own.present).logits for own in parts])
