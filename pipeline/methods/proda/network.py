"""The network of ProDA: an encoder of scene graphs, prompts, and a graph network that both branches share.

B videos, N frames, M nodes (0: the person), E directed edges, C actions, D width. Nothing loops over frames, nodes or
edges; what is not there is masked, so padding changes nothing. Equations are those of the paper.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.methods.proda.settings import Network

EPSILON = 1e-5


class Graphs(NamedTuple):
    """Scene graphs of B videos.

    Attributes:
        features: ``[B, N, M + 1, F]``; 0 is the whole frame.
        box: ``[B, N, M, 4]`` as x1, y1, x2, y2 in [0, 1].
        present: bool ``[B, N, M]``.
        node_class: int64 ``[B, M]``, 0 where there is no node.
        edges: int64 ``[B, E, 2]``, source and target.
        listed: bool ``[B, E]``, false for padding.
        relations: ``[B, N, E, R]``, 0 or 1.
    """

    features: Tensor
    box: Tensor
    present: Tensor
    node_class: Tensor
    edges: Tensor
    listed: Tensor
    relations: Tensor

    def take(self, rows) -> Graphs:
        return Graphs(*(part[rows] for part in self))


class Sizes(NamedTuple):
    """What the data decide: actions, relations, classes of nodes, features of a node, frames."""

    actions: int
    relations: int
    node_classes: int
    features: int
    frames: int


class Encoded(NamedTuple):
    """Videos before any prompt: nodes F_o ``[B, N, M, D]``, edges ``[B, N, E, D]``, and where something is."""

    nodes: Tensor
    edges: Tensor
    present: Tensor
    source: Tensor
    target: Tensor
    shown: Tensor

    def take(self, rows) -> Encoded:
        return Encoded(*(part[rows] for part in self))


class Branches(NamedTuple):
    """Disentangled nodes ``[B, N, M, D]``, and edge weights of each layer ``[layers, B, N, E]`` of either branch."""

    specified: Tensor
    unspecified: Tensor
    fused: Tensor
    weights: Tensor
    weights_unspecified: Tensor


class Read(NamedTuple):
    """A readout: logits ``[B, K]``, frame gates ``[B, N]``, node gates ``[B, N, M]``."""

    logits: Tensor
    frames: Tensor
    nodes: Tensor


def _mlp(*sizes: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*parts[:-1], nn.LayerNorm(sizes[-1]), nn.GELU())


class FeedForward(nn.Module):
    """Two layers with a residual and a norm."""

    def __init__(self, width: int, dropout: float = 0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop, self.norm = nn.Dropout(dropout), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.drop(self.layers(x)))


class Attention(nn.Module):
    """A standard block of self-attention over the last axis but one; keys that are not there get no weight."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm, self.ffn, self.drop = nn.LayerNorm(width), FeedForward(width, dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """``[..., L, D]`` with keys ``[..., L]``; a row without any key attends to itself, and is masked later."""
        shape, (length, width) = x.shape, x.shape[-2:]
        flat, keys = x.reshape(-1, length, width), there.reshape(-1, length)
        q, k, v = self.qkv(flat).view(-1, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        keys = keys | ~keys.any(1, keepdim=True)  # a row that is masked as a whole would be NaN
        mixed = functional.scaled_dot_product_attention(
            q, k, v, keys[:, None, None], dropout_p=self.dropout if self.training else 0.0
        )
        mixed = self.out(mixed.transpose(1, 2).reshape(-1, length, width))
        return self.ffn(self.norm(flat + self.drop(mixed))).view(shape)


class VGNorm(nn.Module):
    """Equations 3 and 4: one mean per frame over all videos, and one deviation per frame and video.

    The mean is running, so a video is normalised alone; ``mean="batch"`` takes that of the batch while training, as the
    authors' code does. ``variance="authors"`` divides by M·D + 1 with padding counted, their slip.
    """

    def __init__(self, frames: int, momentum: float = 0.9, mean: str = "batch", variance: str = "valid"):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(frames)), nn.Parameter(torch.zeros(frames))
        self.alpha = nn.Parameter(torch.ones(frames))
        self.register_buffer("mean", torch.zeros(frames))
        self.momentum, self.of_batch, self.variance = momentum, mean == "batch", variance

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Nodes ``[B, N, M, D]`` where they are present ``[B, N, M]``; zero elsewhere."""
        mask, width = present[..., None].to(x), x.shape[-1]
        mean = self.mean
        if self.training:
            own = (x * mask).sum((0, 2, 3)) / (mask.sum((0, 2, 3)) * width).clamp(min=1)
            with torch.no_grad():
                self.mean.mul_(self.momentum).add_((1 - self.momentum) * own)
            mean = own if self.of_batch else self.mean
        centred = (x - (self.alpha * mean)[:, None, None]) * mask
        free = mask.sum((2, 3), keepdim=True) * width - 1 if self.variance == "valid" else x.shape[2] + width - 1
        deviation = torch.rsqrt((centred**2).sum((2, 3), keepdim=True) / (torch.as_tensor(free).clamp(min=1)) + EPSILON)
        return (centred * deviation * self.scale[:, None, None] + self.shift[:, None, None]) * mask


class OtherNorm(nn.Module):
    """What Table 4 compares with: layer, batch with frames as channels, or graph (Cai et al. 2021)."""

    def __init__(self, kind: str, width: int, frames: int):
        super().__init__()
        self.kind = kind
        self.layer = nn.LayerNorm(width) if kind == "layer" else None
        self.batch = nn.BatchNorm2d(frames) if kind == "batch" else None
        if kind == "graph":
            self.scale, self.shift, self.alpha = (nn.Parameter(torch.full((width,), v)) for v in (1.0, 0.0, 1.0))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        mask = present[..., None].to(x)
        if self.layer is not None:
            return self.layer(x) * mask
        if self.batch is not None:
            return self.batch(x * mask) * mask
        count = mask.sum(2, keepdim=True).clamp(min=1)
        centred = (x - self.alpha * (x * mask).sum(2, keepdim=True) / count) * mask
        deviation = torch.rsqrt((centred**2).sum(2, keepdim=True) / count + EPSILON)
        return (centred * deviation * self.scale + self.shift) * mask


class Prompt(nn.Module):
    """Equations 1 and 2; ``simple`` adds the projected specification and looks at no node (Table 3)."""

    def __init__(self, actions: int, width: int, settings: Network):
        super().__init__()
        self.simple, self.candidates = settings.prompt == "simple", settings.candidates
        if self.simple:
            self.project = nn.Linear(actions, width)
            return
        self.of_prompt, self.queries = nn.Linear(actions, width), nn.Linear(actions, width * settings.candidates)
        self.norm = nn.LayerNorm(width) if settings.prompt_norm else nn.Identity()
        self.weigh = nn.Linear(width, settings.candidates)

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        if self.simple:
            return x + self.project(prompt)[:, None, None]
        alpha = torch.sigmoid(self.weigh(self.norm(self.of_prompt(prompt)[:, None, None] + x)))
        return x + torch.einsum("bnmt,btd->bnmd", alpha, self.queries(prompt).view(len(x), self.candidates, -1))


class GraphLayer(nn.Module):
    """VGPNN, equations 9 to 12: edges over time, their weights, messages to the target, and the norm."""

    def __init__(self, width: int, frames: int, settings: Network):
        super().__init__()
        self.link = _mlp(3 * width, width, width)
        self.over_time = nn.ModuleList(
            Attention(width, settings.heads, settings.dropout) for _ in range(settings.edge_attention)
        )
        self.weigh, self.message = nn.Linear(width, 1), _mlp(2 * width, width, width)
        self.update = nn.Linear(width, width)
        if settings.norm == "vgnorm":
            self.norm = VGNorm(frames, settings.momentum, settings.norm_mean, settings.norm_variance)
        else:
            self.norm = OtherNorm(settings.norm, width, frames)

    def forward(self, x: Tensor, graph: Encoded) -> tuple[Tensor, Tensor]:
        """Nodes ``[B, N, M, D]`` → the same, and the weights of the edges ``[B, N, E]``."""
        start, end = _ends(x, graph.source), _ends(x, graph.target)
        edge = self.link(torch.cat([start, graph.edges, end], -1)).transpose(1, 2)
        for block in self.over_time:
            edge = block(edge, graph.shown.transpose(1, 2))
        edge = edge.transpose(1, 2)
        shown = graph.shown.to(x)
        weight = torch.sigmoid(self.weigh(edge))[..., 0] * shown
        message = weight[..., None] * self.message(torch.cat([start, edge], -1))
        to = functional.one_hot(graph.target, x.shape[2]).to(x)
        gathered = torch.einsum("bned,bem->bnmd", message, to)
        return functional.gelu(self.norm(self.update(x + gathered), graph.present)), weight


class Readout(nn.Module):
    """Nodes are gated and summed in each frame, frames are gated and summed in the video."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        half = max(1, width // 2)
        self.node = nn.Sequential(nn.Linear(width, half), nn.GELU(), nn.Linear(half, 1))
        self.frame = nn.Sequential(nn.Linear(width, half), nn.GELU(), nn.Linear(half, 1))
        self.of_frame, self.of_video = FeedForward(width), FeedForward(width)
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor, present: Tensor) -> Read:
        nodes = torch.sigmoid(self.node(x))[..., 0] * present
        frame = self.of_frame((x * nodes[..., None]).sum(2))
        gates = torch.sigmoid(self.frame(frame))[..., 0]
        video = self.of_video((frame * gates[..., None]).sum(1))
        return Read(self.classify(video), gates, nodes)


class ProDA(nn.Module):
    """The whole network; `encode` sees no prompt, `disentangle` answers one per video."""

    def __init__(self, sizes: Sizes, settings: Network):
        super().__init__()
        width, heads, drop = settings.width, settings.heads, settings.dropout
        actions, frames = sizes.actions, sizes.frames
        self.sizes, self.settings = sizes, settings
        self.adapter, self.box = nn.Linear(sizes.features, width), _mlp(4, width)
        self.join = _mlp(width, width)
        self.position = nn.Parameter(torch.zeros(1, frames, 1, width))
        self.t1, self.s1, self.t2, self.s2 = (Attention(width, heads, drop) for _ in range(4))
        self.to_t, self.to_s, self.encoded = _mlp(width, width), _mlp(width, width), FeedForward(width, drop)
        self.classes, self.out = nn.Embedding(sizes.node_classes, width), FeedForward(width, drop)
        self.edge = _mlp(3 * width, width)
        self.relation = nn.Linear(sizes.relations, width)
        self.prompt_s, self.prompt_u = (Prompt(actions, width, settings) for _ in range(2))
        self.enter_s, self.enter_u = FeedForward(width, drop), FeedForward(width, drop)
        self.layers = nn.ModuleList(GraphLayer(width, frames, settings) for _ in range(settings.layers))
        self.fuse = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.rebuild = nn.Sequential(_mlp(width, width, width), nn.Linear(width, width))
        self.read_s, self.read_u = Readout(width, actions + 1), Readout(width, actions + 1)
        self.read_t, self.read_m = Readout(width, actions), Readout(width, actions)
        if settings.auxiliary:
            self.tell_relations, self.tell_class = (
                nn.Linear(width, sizes.relations),
                nn.Linear(width, sizes.node_classes),
            )

    def _over_frames(self, block: Attention, x: Tensor, there: Tensor) -> Tensor:
        return block(x.transpose(1, 2), there.transpose(1, 2)).transpose(1, 2)

    def encode(self, graphs: Graphs) -> Encoded:
        """What is known of videos before anything is asked."""
        there = graphs.present if self.settings.mask_padding else torch.ones_like(graphs.present)
        frame = self.adapter(graphs.features[:, :, :1])
        x = self.join(self.adapter(graphs.features[:, :, 1:]) + self.box(graphs.box)) + self.position
        t, s = self._over_frames(self.t1, x, there), self.s1(x, there)
        both = t + s + x
        x = self.encoded(self._over_frames(self.t2, self.to_t(both), there) + self.s2(self.to_s(both), there))
        nodes = self.out(x + self.classes(graphs.node_class)[:, None]) * there[..., None]
        source, target = graphs.edges.unbind(-1)
        shown = _ends(there[..., None], source)[..., 0] & _ends(there[..., None], target)[..., 0]
        shown = shown & graphs.listed[:, None]
        ends = [_ends(nodes, source), frame.expand(-1, -1, source.shape[1], -1), _ends(nodes, target)]
        edges = self.edge(torch.cat(ends, -1)) + self.relation(graphs.relations)
        return Encoded(nodes, edges, there, source, target, shown)

    def disentangle(self, graph: Encoded, prompt: Tensor) -> Branches:
        """The two halves of each video under a specification ``[B, C]`` of 0 and 1; the other half is its inverse."""
        here, other = (self.prompt_s, prompt), (self.prompt_u, 1 - prompt)
        pair = Encoded(*(torch.cat([part, part]) for part in graph))
        count = len(prompt)
        x = torch.cat([enter(ask(graph.nodes, v)) for enter, (ask, v) in ((self.enter_s, here), (self.enter_u, other))])
        weights = []
        for number, layer in enumerate(self.layers):
            if number:
                x = torch.cat([here[0](x[:count], here[1]), other[0](x[count:], other[1])])
            x, weight = layer(x, pair)
            weights.append(weight)
        specified, unspecified = x[:count], x[count:]
        delta = torch.sigmoid(self.fuse(torch.cat([unspecified, specified], -1)))
        fused, both = delta * unspecified + (1 - delta) * specified, torch.stack(weights)
        return Branches(specified, unspecified, fused, both[:, :count], both[:, count:])

    def rebuilt(self, fused: Tensor) -> Tensor:
        """F_r of equation 6."""
        return self.rebuild(fused)


def _ends(x: Tensor, index: Tensor) -> Tensor:
    """Values of nodes ``[B, N, M, D]`` at the ends of edges ``[B, E]``: ``[B, N, E, D]``."""
    where = index[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
    return x.gather(2, where)
