"""A structural causal model with known truth: actions, the objects and styles that come with them, and two encoders.

An activity decides which actions a video has. It decides the style too (the confounder C); an action brings its object
into the picture (H: the text of the action is contaminated by it); and actions come together because of the activity
(I). Each of the three can be intervened upon: do(H) draws objects at their marginal rates, do(C) any style, do(I)
permutes each column of the labels, so that marginals stay exact. There are no pixels: both encoders are linear maps
with one noise, because own noise for each would be a second sensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pipeline.methods.pcmci.settings import World

N_ACTIVITIES, OWN, SHARED, SHARED_OF = 10, 4, 3, 8
N_ACTIONS = N_ACTIVITIES * OWN + SHARED_OF
N_OBJECTS = N_ACTIONS // 2
ELSEWHERE = 0.005
IN_FRAMES, HIDDEN = 0.7, 0.25
INTENSITY = (0.3, 1.2)
# What the dual encoder sees of an object, of a style; what the video encoder sees of them.
SHOWN = {"frames": (1.2, 0.6), "tokens": (0.6, 1.2)}
# Test sets: what is intervened upon.
INTERVENTIONS: Mapping[str, str] = {"iid": "", "do(H)": "H", "do(C)": "C", "do(I)": "I", "do(all)": "HCI"}


@dataclass(frozen=True)
class Videos:
    """Videos as the encoders see them, and the truth.

    Attributes:
        frames: unit rows of the dual encoder ``[n, L, D]``.
        tokens: of the video encoder ``[n, L, D]``.
        labels: bool ``[n, N]``.
        activity, style: int ``[n]``.
        objects: bool ``[n, N_OBJECTS]``.
        action: int ``[n, L]`` which action each frame shows, −1 where it is hidden.
    """

    frames: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    activity: torch.Tensor
    style: torch.Tensor
    objects: torch.Tensor
    action: torch.Tensor


@dataclass(frozen=True)
class Bases:
    """Looks of actions, objects and styles to both encoders, rows ``[…, D]``, and the labels' texts ``[N, D]``."""

    frames: dict[str, torch.Tensor]
    tokens: dict[str, torch.Tensor]
    rotations: tuple[torch.Tensor, torch.Tensor]
    texts: torch.Tensor


def generator(*seed: int) -> torch.Generator:
    """Random numbers that depend on all of the seeds."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))


def grammar(seed: int) -> torch.Tensor:
    """Rates of actions given activities ``[10, 48]``: 4 own each, 3 of 8 shared, all others rare."""
    random = generator(seed, 1)
    rates = torch.full((N_ACTIVITIES, N_ACTIONS), ELSEWHERE)
    for activity in range(N_ACTIVITIES):
        own = slice(OWN * activity, OWN * (activity + 1))
        rates[activity, own] = 0.55 + 0.4 * torch.rand(OWN, generator=random)
        shared = N_ACTIVITIES * OWN + torch.randperm(SHARED_OF, generator=random)[:SHARED]
        rates[activity, shared] = 0.1 + 0.5 * torch.rand(SHARED, generator=random)
    return rates[:, torch.randperm(N_ACTIONS, generator=random)]


def drawn_labels(rates: torch.Tensor, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels bool ``[n, N]`` and activities ``[n]``, as many of each."""
    activity = torch.arange(n) % len(rates)
    return torch.rand(n, rates.shape[1], generator=generator(seed, 2)) < rates[activity], activity


def permuted(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Every column ``[n]`` in an order of its own: do(I)."""
    random = generator(seed, 3)
    return torch.stack([column[torch.randperm(len(column), generator=random)] for column in labels.T], 1)


def bases(settings: World, n_labels: int = N_ACTIONS) -> Bases:
    """Orthonormal looks, and texts t_i + κ o_i as unit rows."""
    random = generator(settings.seed, 4)
    n_objects = n_labels // 2

    def looks() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        all_rows = torch.linalg.qr(torch.randn(settings.width, settings.width, generator=random))[0]
        parts = all_rows[: n_labels + n_objects + N_ACTIVITIES].split([n_labels, n_objects, N_ACTIVITIES])
        return all_rows, dict(zip(("actions", "objects", "styles"), parts, strict=True))

    (turned, frames), (other, tokens) = looks(), looks()
    texts = frames["actions"].clone()
    texts[:n_objects] += settings.contamination * frames["objects"]
    return Bases(frames, tokens, (turned, other), functional.normalize(texts, dim=1))


def filmed(
    labels: torch.Tensor,
    activity: torch.Tensor,
    settings: World,
    seed: int,
    intervene: str = "",
    objects: tuple[int, bool] | None = None,
) -> Videos:
    """Videos of given labels.

    Args:
        labels: bool ``[n, N]``; activity: int ``[n]``.
        seed: of everything that is drawn; interventions leave all other draws as they are.
        intervene: letters of ``H`` and ``C``; do(I) is a matter of the labels.
        objects: one object and whether it is there in all videos.
    """
    look = bases(settings, labels.shape[1])
    random = generator(settings.seed, seed, 5)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=random)

    n, n_labels = labels.shape
    n_objects, n_frames = n_labels // 2, settings.frames
    rate = torch.where(labels[:, :n_objects], settings.object_rate, 1 - settings.object_rate)
    if "H" in intervene:
        rate = rate.mean(0, keepdim=True).expand(n, -1)
    there = draw(n, n_objects) < rate
    if objects is not None:
        there[:, objects[0]] = objects[1]
    any_style = torch.randint(N_ACTIVITIES, (n,), generator=random)
    follows = draw(n) < (0 if "C" in intervene else settings.style_rate)
    style = torch.where(follows, activity, any_style)
    # Equal runs of the video's actions, in any order; a video without any shows none.
    order = torch.where(labels, draw(n, n_labels), 2.0).argsort(1)
    runs = labels.sum(1).clamp(min=1)
    action = order.gather(1, torch.arange(n_frames)[None] * runs[:, None] // n_frames)  # [n, L]
    shown = (draw(n, n_frames) >= HIDDEN) & labels.any(1, keepdim=True)
    low, high = INTENSITY
    intensity = (low + (high - low) * draw(n, n_labels)).gather(1, action) * shown
    in_frames = (there[:, None] & (draw(n, n_frames, n_objects) < IN_FRAMES)).float()
    noise = settings.noise / settings.width**0.5 * torch.randn(n, n_frames, settings.width, generator=random)

    def seen(rows: dict[str, torch.Tensor], turned: torch.Tensor, gains: tuple[float, float]) -> torch.Tensor:
        found = intensity[..., None] * rows["actions"][action] + gains[0] * in_frames @ rows["objects"]
        return found + gains[1] * rows["styles"][style][:, None] + noise @ turned  # [n, L, D]

    hub = settings.hub * (~shown)[..., None] * look.frames["actions"].sum(0) / n_labels**0.5
    return Videos(
        frames=functional.normalize(seen(look.frames, look.rotations[0], SHOWN["frames"]) + hub, dim=-1),
        tokens=seen(look.tokens, look.rotations[1], SHOWN["tokens"]),
        labels=labels,
        activity=activity,
        style=style,
        objects=there,
        action=torch.where(shown, action, -1),
    )


Rows = Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def label_rows(settings: World) -> Rows:
    """Labels and activities of ``train``, ``val`` and ``test`` that the grammar draws."""
    rates = grammar(settings.seed)
    count = {"train": settings.train, "val": settings.test, "test": settings.test}
    return {name: drawn_labels(rates, n, settings.seed * 100 + k) for k, (name, n) in enumerate(count.items())}


def filmed_set(settings: World, rows: Rows, name: str) -> Videos:
    """``train``, ``val``, a test set of `INTERVENTIONS`; ``oracle`` and ``oracle val``: train and val under do(all)."""
    if name in INTERVENTIONS:
        (labels, activity), seed, what = rows["test"], 2, INTERVENTIONS[name]
    elif name.startswith("oracle"):
        source, seed, what = ("val", 4, "HCI") if name.endswith("val") else ("train", 3, "HCI")
        labels, activity = rows[source]
    else:
        (labels, activity), seed, what = rows[name], ("train", "val").index(name), ""
    if "I" in what:
        labels = permuted(labels, settings.seed * 10 + seed)
    return filmed(labels, activity, settings, seed, what)


def flipped(test: Videos, settings: World, which: int, there: bool) -> Videos:
    """The videos of do(all) with one object put into all of them, or taken out; nothing else changes."""
    return filmed(test.labels, test.activity, settings, 2, "HCI", (which, there))


def zero_shot(texts: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Largest cosine of a label and a frame ``[n, N]``: the dual encoder alone, without training."""
    return (texts @ frames.transpose(1, 2)).amax(-1)
