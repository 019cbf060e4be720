"""Networks trained and asked on the structural causal model: what a change of the world does to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.methods.pcmci import world
from pipeline.methods.pcmci.controls import ORACLE, SHUFFLED, changed
from pipeline.methods.pcmci.measures import (
    COUPLED,
    HALF,
    Couplings,
    by_group_rates,
    couplings,
    mean_precision,
    soft_coupling,
)
from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.settings import PCMCI, World
from pipeline.methods.pcmci.training import Batch, Curve, asked, train

# What a world without the training's coincidences leaves of a network; of videos, the split that is a result.
HEADLINES = ("do(all)", "test")
# Baselines that no video, or no training, is needed for.
ZERO_SHOT, CHANCE, DISH = "zero-shot", "chance", "activity alone"
# Objects that are flipped to see what a label depends on, and videos that they are flipped in.
FLIPPED, FLIPPED_IN = 8, 120


@dataclass(frozen=True)
class Figure:
    """One figure of one network on one test set; ``do`` says what was intervened upon there."""

    network: str
    do: str
    figure: str
    value: float


@dataclass(frozen=True)
class Coupled:
    """How one network couples labels on one test set."""

    network: str
    do: str
    found: Couplings


Found = tuple[list[Figure], list[Coupled]]


def _batch(videos: world.Videos, shuffled: bool = False) -> Batch:
    """Rows of videos; ``shuffled``: with the frames of other ones, which tell nothing of the video itself."""
    n = len(videos.frames)
    of = torch.randperm(n, generator=world.generator(n, 6)) if shuffled else torch.arange(n)
    return lambda rows: (videos.tokens[rows], videos.frames[of[rows]], None)


def joined(first: world.Videos, second: world.Videos) -> world.Videos:
    """Videos of both, one behind the other."""
    return world.Videos(**{name: torch.cat([getattr(first, name), getattr(second, name)]) for name in vars(first)})


def fitted(
    own: PCMCI, texts: torch.Tensor, batch: Batch, labels: torch.Tensor, rows: np.ndarray, validation: np.ndarray
) -> tuple[Network, Curve]:
    """A network trained from its seed; see `pipeline.methods.pcmci.training.train`."""
    torch.manual_seed(own.training.seed)
    network = Network(texts, batch(rows[:1])[0].shape[-1], own.network)
    return network, train(network, batch, labels, rows, validation, own.training)


def trained(settings: PCMCI, control: str, rows: world.Rows) -> tuple[Network, Curve]:
    """A network as a control has it, trained on the world's train videos, its epoch chosen on validation."""
    parts = ("oracle", "oracle val") if control == ORACLE else ("train", "val")
    first, second = (world.filmed_set(settings.world, rows, part) for part in parts)
    videos, n = joined(first, second), len(first.labels)
    texts = world.bases(settings.world, videos.labels.shape[1]).texts
    every = np.arange(len(videos.labels))
    batch = _batch(videos, control == SHUFFLED)
    return fitted(changed(settings, control), texts, batch, videos.labels, every[:n], every[n:])


def asked_of(
    scores: np.ndarray, labels: np.ndarray, target: str, name: str, do: str, thresholds: Sequence[float]
) -> Found:
    """Figures of logits ``[n, N]``: accuracy of activities, or mAP of actions and how they are coupled.

    Args:
        thresholds: of each action, calibrated; couplings are told of these and of a half.
    """
    if target == "activity":
        return [Figure(name, do, "accuracy", float((scores.argmax(1) == labels.argmax(1)).mean()))], []
    probability = torch.from_numpy(scores).sigmoid().numpy()
    seen, calibrated = (couplings(probability > limit, labels) for limit in (HALF, np.asarray(thresholds)))
    pairs = labels.shape[1] * (labels.shape[1] - 1)
    values = mean_precision(scores, labels) | {
        "false couplings": seen.false,
        "missed couplings": seen.missed,
        "density": seen.density,
        "density of the labels": seen.true_density,
        "soft density": float((np.nan_to_num(soft_coupling(probability)) > COUPLED).sum() / pairs),
        "recall": seen.recall,
        "false couplings, calibrated": calibrated.false,
        "recall, calibrated": calibrated.recall,
    }
    return [Figure(name, do, figure, value) for figure, value in values.items()], [Coupled(name, do, seen)]


def effect_of_objects(network: Network, test: world.Videos, settings: World) -> float:
    """How far an object moves its label's logit, over the gap between positives and negatives.

    Mean over some objects of logit | do(object there) − logit | do(object absent), on videos of do(all).
    """
    rows = np.arange(min(FLIPPED_IN, len(test.labels)))
    part = world.Videos(**{name: getattr(test, name)[rows] for name in vars(test)})
    moved = []
    for which in range(FLIPPED):
        with_it, without = (
            asked(network, _batch(world.flipped(part, settings, which, there)), rows)[:, which]
            for there in (True, False)
        )
        moved.append(float((with_it - without).mean()))
    scores, labels = asked(network, _batch(test), np.arange(len(test.labels))), test.labels.numpy()
    return float(np.mean(moved) / (scores[labels].mean() - scores[~labels].mean()))


def figures(network: Network, name: str, settings: World, rows: world.Rows, thresholds: Sequence[float]) -> Found:
    """mAP by both conventions and couplings on every test set, and on do(all) what objects do."""
    found: list[Figure] = []
    coupled: list[Coupled] = []
    for do in world.INTERVENTIONS:
        test = world.filmed_set(settings, rows, do)
        batch, labels = _batch(test, name == SHUFFLED), test.labels.numpy()
        scores = asked(network, batch, np.arange(len(labels)))
        values, pairs = asked_of(scores, labels, "actions", name, do, thresholds)
        found, coupled = found + values, coupled + pairs
        if do == "do(all)":
            found.append(Figure(name, do, "effect of do(object)", effect_of_objects(network, test, settings)))
    return found, coupled


def baselines(settings: World, rows: world.Rows) -> list[Figure]:
    """The dual encoder alone, prevalence, and the rates of the true activity in train and validation, on every set.

    The last is told the test video's activity, and looks at no video: what of a figure is the dish alone?
    """
    found = []
    known = [torch.cat(parts).numpy() for parts in zip(rows["train"], rows["val"], strict=True)]
    dish = by_group_rates(*known, rows["test"][1].numpy())
    for do in world.INTERVENTIONS:
        test = world.filmed_set(settings, rows, do)
        labels = test.labels.numpy()
        texts = world.bases(settings, labels.shape[1]).texts
        for name, scores in ((ZERO_SHOT, world.zero_shot(texts, test.frames).numpy()), (DISH, dish)):
            found += [Figure(name, do, figure, value) for figure, value in mean_precision(scores, labels).items()]
        found.append(Figure(CHANCE, do, "mAP", float(labels.mean(0)[labels.any(0)].mean())))
    return found
