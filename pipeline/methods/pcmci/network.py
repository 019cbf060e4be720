"""PCMCI's network (supplement, Algorithm 1): labels that are questions to a video, cleaned by ICH, ICI and IVC in turn.

N labels, L frames of a frozen dual encoder (width E), L_v tokens of a video encoder, D the network's width.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pipeline.methods.pcmci import transport
from pipeline.methods.pcmci.settings import Network as Settings

# Noise on the mixing matrices, so that labels can begin to mix.
MIXING_NOISE = 0.01


class Attention(nn.Module):
    """Multi-head attention ``[B, N, D]``, ``[B, M, D]`` → ``[B, N, D]``."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"the width {width} is no multiple of the {heads} heads")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, asking: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        def split(rows: torch.Tensor) -> torch.Tensor:
            return rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, n, D / heads]

        found = functional.scaled_dot_product_attention(
            split(self.query(asking)), split(self.key(asked)), split(self.value(asked))
        )
        return self.out(found.transpose(1, 2).flatten(2))


class Mixing(nn.Module):
    """Two sets of label rows ``[B, N, D]`` made one: Wᵀ[first; second] over labels, or [first, second]W over features.

    It begins as the set that ``keeps`` names, up to a little noise.
    """

    def __init__(self, n_labels: int, width: int, mix: str, keeps: int):
        super().__init__()
        self.over_labels = mix == "labels"
        size = n_labels if self.over_labels else width
        eye, none = torch.eye(size), torch.zeros(size, size)
        start = torch.cat([eye, none] if keeps == 0 else [none, eye])
        self.weight = nn.Parameter(start + MIXING_NOISE * torch.randn(2 * size, size))  # [2N, N] or [2D, D]

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        if self.over_labels:
            size = self.weight.shape[1]
            return self.weight[:size].T @ first + self.weight[size:].T @ second
        return torch.cat([first, second], -1) @ self.weight


class Hallucination(nn.Module):
    """ICH: T' = [T, H] W_H with H = S̃ V^P, the frames that the dual encoder matches to a label. Begins as T' = T."""

    def __init__(self, width: int):
        super().__init__()
        self.join = nn.Linear(2 * width, width)
        with torch.no_grad():
            self.join.weight.copy_(torch.cat([torch.eye(width), torch.zeros(width, width)], 1))
            self.join.bias.zero_()

    def forward(self, texts: torch.Tensor, evidence: torch.Tensor) -> torch.Tensor:
        return self.join(torch.cat([texts.expand_as(evidence), evidence], -1))


class Codependency(nn.Module):
    """ICI: T* = W_Iᵀ [T'; R], R the relations of labels: heads of attention among them, concatenated."""

    def __init__(self, n_labels: int, settings: Settings):
        super().__init__()
        self.relations = Attention(settings.width, settings.heads)
        self.mixing = Mixing(n_labels, settings.width, settings.mix, keeps=0)

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        return self.mixing(texts, self.relations(texts, texts))


class VisualConfounder(nn.Module):
    """IVC: V* = W_Cᵀ [M; V'], the tokens as the labels M ask for them."""

    def __init__(self, n_labels: int, settings: Settings):
        super().__init__()
        self.context = Attention(settings.width, settings.heads)
        self.ask, self.answer = (nn.Linear(settings.width, settings.width) for _ in range(2))
        self.mixing = Mixing(n_labels, settings.width, settings.mix, keeps=1)

    def forward(self, mediator: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """V* ``[B, N, D]``, and softmax(A) ``[B, N, L_v]``: which tokens each label asked."""
        tokens = tokens + self.context(tokens, tokens)  # F(V)
        asked = self.ask(mediator) @ self.answer(tokens).transpose(1, 2) / tokens.shape[-1] ** 0.5
        weights = asked.softmax(-1)
        found = weights @ tokens  # [B, N, D]
        return self.mixing(mediator.expand_as(found), found), weights


class Decoder(nn.Module):
    """One layer of cross-attention of labels over keys, and a classifier per label: logit_i = w_i · z_i + b_i."""

    def __init__(self, n_labels: int, settings: Settings):
        super().__init__()
        width = settings.width
        self.ask = nn.Linear(width, width)
        self.cross = Attention(width, settings.heads)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, settings.feedforward), nn.ReLU(), nn.Linear(settings.feedforward, width)
        )
        self.weight = nn.Parameter(torch.randn(n_labels, width) / width**0.5)
        self.bias = nn.Parameter(torch.full((n_labels,), -1.0))
        self.among = Attention(width, settings.heads) if settings.label_attention else None

    def forward(self, texts: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        asked = self.ask(texts).expand(len(keys), -1, -1)
        if self.among is not None:
            asked = asked + self.among(asked, asked)
        z = self.first(asked + self.cross(asked, keys))
        z = self.second(z + self.feedforward(z))
        return (z * self.weight).sum(-1) + self.bias  # [B, N]


class Network(nn.Module):
    """All stages over one list of labels.

    Args:
        texts: embeddings of the labels ``[N, E]``; kept as unit rows.
        token_width: of the video encoder's tokens.
        settings: which stages there are, in which order and form.

    Raises:
        ValueError: fewer than two labels, a text without direction, a stage named twice, or no head fits the width.
    """

    def __init__(self, texts: torch.Tensor, token_width: int, settings: Settings):
        super().__init__()
        if len(texts) < 2:
            raise ValueError(f"PCMCI compares labels, and there is {len(texts)}; name at least two")
        if len(set(settings.stages)) < len(settings.stages):
            raise ValueError(f"pcmci.network.stages names a stage twice: {', '.join(settings.stages)}")
        self.settings = settings
        n_labels, text_width = texts.shape
        self.register_buffer("texts", transport.unit_rows(texts.float(), "texts of labels"))
        # What a plain network has comes first: its weights are the same, whatever stages follow.
        self.tokens = nn.Linear(token_width, settings.width)
        same = text_width == settings.width
        self.project = nn.Identity() if same else nn.Linear(text_width, settings.width, bias=False)
        self.decoder = Decoder(n_labels, settings)
        self.frames = nn.Linear(text_width, settings.width) if settings.frames_as_tokens else None
        kinds = {
            "ICH": lambda: Hallucination(settings.width),
            "ICI": lambda: Codependency(n_labels, settings),
            "IVC": lambda: VisualConfounder(n_labels, settings),
        }
        self.stages = nn.ModuleDict({name: kinds[name]() for name in settings.stages})
        self.register_buffer("population", torch.zeros(n_labels, text_width))

    def weights(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """S̃ ``[B, N, L]``: which frames ``[B, L, E]`` the dual encoder matches to each label; nothing is learned."""
        chosen = self.settings
        with torch.no_grad():
            similar = transport.log_similarity(self.texts, frames, chosen.temperature, mask)
            return transport.refined(similar, chosen.regularisation, chosen.refine)

    def evidence(self, frames: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """H = S̃ V^P ``[B, N, E]``."""
        return self.weights(frames, mask) @ frames

    def set_population(self, mean: torch.Tensor) -> None:
        """H of ``marginal: population``: the mean ``[N, E]`` over train videos."""
        self.population.copy_(mean)

    def steps(
        self,
        tokens: torch.Tensor,
        frames: torch.Tensor,
        mask: torch.Tensor | None = None,
        replaced: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Labels T* ``[B, N, D]`` and keys V* as the decoder gets them, and weights over frames and tokens by name.

        Args:
            tokens: of the video encoder ``[B, L_v, token width]``.
            frames: unit rows of the dual encoder ``[B, L, E]``.
            mask: bool ``[B, L]``, false where a frame pads.
            replaced: bool ``[B, N]``: do(T'_j = mean of T') for these labels, after ICH where there is one.
        """
        keys = self.tokens(tokens)
        if self.frames is not None:
            keys = torch.cat([keys, self.frames(frames)], 1)
        texts = self.project(self.texts)[None]  # [1, N, D] as long as no video has been seen
        seen: dict[str, torch.Tensor] = {}
        after = "ICH" if "ICH" in self.stages else None

        def intervened(texts: torch.Tensor) -> torch.Tensor:
            return texts if replaced is None else torch.where(replaced[..., None], texts.mean(1, keepdim=True), texts)

        texts = texts if after else intervened(texts)
        for name in self.settings.stages:
            stage = self.stages[name]
            if name == "ICH":
                if self.settings.marginal == "own":
                    seen["frames"] = self.weights(frames, mask)
                    evidence = seen["frames"] @ frames
                else:
                    evidence = self.population.expand(len(frames), -1, -1)
                texts = intervened(stage(texts, self.project(evidence)))
            elif name == "ICI":
                texts = stage(texts)
            else:
                keys, seen["tokens"] = stage(texts, keys)
        return texts, keys, seen

    def forward(
        self,
        tokens: torch.Tensor,
        frames: torch.Tensor,
        mask: torch.Tensor | None = None,
        replaced: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits ``[B, N]``; arguments as of `steps`."""
        texts, keys, _ = self.steps(tokens, frames, mask, replaced)
        return self.decoder(texts, keys)

    def tuned(self, tune: str) -> list[nn.Parameter]:
        """What is trained: ``text`` = ICH, ICI and the classifier, ``visual`` = everything (supplement, Table 8)."""
        if tune == "visual":
            return list(self.parameters())
        stages = [weight for name in ("ICH", "ICI") if name in self.stages for weight in self.stages[name].parameters()]
        return [*stages, self.decoder.weight, self.decoder.bias]
