"""Generated scene graphs with known truth: a person, objects, and actions that are an object with a verb.

What a frame shows says little about the verb: `take` and `put` differ in the order of near and contact alone, and the
habit of the training videos (which verb an object usually has) is broken in the split `shifted`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.demo.settings import Graphs

VERBS = ("hold", "take", "put")
OBJECTS = ("cup", "book", "phone", "towel", "box", "shoe", "bag", "chair")
RELATIONS = ("near", "contact", "looking", "beside")
NEAR, CONTACT, LOOKING, BESIDE = range(len(RELATIONS))
PERSON = 0  # index of the node, and of its class
N_SUBJECTS = 16
FPS = 1.0


class PlannedGraph(NamedTuple):
    """One video before it is drawn: object → verb of each action in it, and the number that its draws start from."""

    video_id: str
    split: str
    subject: str
    actions: tuple[tuple[int, int], ...]
    number: int

    def labels(self) -> tuple[int, ...]:
        return tuple(sorted(thing * len(VERBS) + verb for thing, verb in self.actions))


class Drawn(NamedTuple):
    """One drawn video; frames N, nodes M (0: the person), features F, relations R.

    Attributes:
        features: float32 ``[N, M + 1, F]``; 0 is the whole frame, the mean of what is there.
        box: float32 ``[N, M, 4]`` as x1, y1, x2, y2.
        present: bool ``[N, M]``.
        node_class: int16 ``[M]``: 0 the person, 1 … the objects, -1 no node.
        relations: bool ``[N, M - 1, R]`` between the person and node j + 1.
        owned: bool ``[C, N, M - 1]``: node j + 1 takes part in the action in this frame.
        spans: per action (class, first frame, end).
    """

    features: np.ndarray
    box: np.ndarray
    present: np.ndarray
    node_class: np.ndarray
    relations: np.ndarray
    owned: np.ndarray
    spans: list[tuple[int, int, int]]


def class_names(settings: Graphs) -> list[str]:
    """``hold_cup`` and so on, verbs of one object beside each other."""
    return [f"{verb}_{thing}" for thing in OBJECTS[: settings.objects] for verb in VERBS]


def plan_graphs(settings: Graphs) -> list[PlannedGraph]:
    """All videos with their actions, without drawing them."""
    counts = {"train": settings.train, "test": settings.test, "shifted": settings.shifted}
    found, number = [], 0
    for split, count in counts.items():
        for index in range(count):
            draw = np.random.default_rng([settings.seed, number, 0])
            size = draw.choice(np.arange(1, len(settings.actions) + 1), p=settings.actions)
            things = draw.choice(settings.objects, size, replace=False)
            actions = tuple((int(thing), _verb(int(thing), split, settings.habit, draw)) for thing in things)
            subject = f"{'p' if split == 'train' else split}{draw.integers(N_SUBJECTS):02d}"
            found.append(PlannedGraph(f"{split}_{index:04d}", split, subject, actions, number))
            number += 1
    return found


def _verb(thing: int, split: str, habit: float, draw: np.random.Generator) -> int:
    usual = thing % len(VERBS)
    if split != "shifted" and draw.random() < habit:
        return usual
    return int(draw.choice([verb for verb in range(len(VERBS)) if verb != usual]))


def prototypes(settings: Graphs) -> dict[str, np.ndarray]:
    """What a person, each object and each verb look like: ``[F]``, ``[O, F]``, ``[3, F]``."""
    draw = np.random.default_rng([settings.seed, 7])
    size = settings.features
    return {
        "person": draw.normal(0, 1, size),
        "objects": draw.normal(0, 1, (settings.objects, size)),
        "verbs": draw.normal(0, 1, (len(VERBS), size)),
    }


def draw_graph(planned: PlannedGraph, settings: Graphs, looks: dict[str, np.ndarray]) -> Drawn:
    """Draw one video."""
    draw = np.random.default_rng([settings.seed, planned.number, 1])
    n, m, size, noise = settings.frames, settings.objects + 1, settings.features, settings.noise
    verb_of = dict(planned.actions)
    extra = [] if settings.only_involved else list(range(settings.objects))
    others = [thing for thing in extra if thing not in verb_of and draw.random() < settings.distractors]
    things = draw.permutation(np.array([*verb_of, *others]))
    hand = np.cumsum(draw.normal(0, 0.02, (n, 2)), 0) + 0.5
    start = draw.normal(0, 0.2, (m - 1, 2)) + 0.5

    nodes = np.zeros((n, m, size))
    box, present = np.zeros((n, m, 4)), np.zeros((n, m), bool)
    relations = np.zeros((n, m - 1, len(RELATIONS)), bool)
    owned = np.zeros((settings.objects * len(VERBS), n, m - 1), bool)
    node_class = np.full(m, -1, np.int16)
    nodes[:, PERSON], box[:, PERSON] = looks["person"], np.concatenate([hand - 0.2, hand + 0.2], 1)
    present[:, PERSON], node_class[PERSON] = True, PERSON
    spans = []
    for slot, thing in enumerate(int(thing) for thing in things):
        near = draw.random(n) < settings.near
        contact = draw.random(n) < settings.contact
        looking = draw.random(n) < 0.2
        if thing in verb_of:
            verb = verb_of[thing]
            length = int(draw.integers(4, 9))
            first = int(draw.integers(0, n - length + 1))
            middle, end = first + length // 2, first + length
            contact[first:end] = True
            if VERBS[verb] == "take":
                contact[first:middle], near[first:middle] = False, True
            if VERBS[verb] == "put":
                contact[middle:end], near[middle:end] = False, True
            looking[first:end] |= draw.random(length) < 0.3
            nodes[first:end, PERSON] += settings.verb_strength * looks["verbs"][verb]
            label = thing * len(VERBS) + verb
            owned[label, first:end, slot] = True
            spans.append((label, first, end))
        shown = np.stack([near & ~contact, contact, looking, draw.random(n) < 0.5], 1)
        present[:, slot + 1] = draw.random(n) > settings.missing
        relations[:, slot] = (shown ^ (draw.random(shown.shape) < settings.flips)) & present[:, slot + 1, None]
        node_class[slot + 1] = thing + 1
        instance = looks["objects"][thing] + noise * draw.normal(0, 1, size)
        nodes[:, slot + 1] = instance + noise * draw.normal(0, 1, (n, size))
        drift = start[slot] + np.cumsum(draw.normal(0, 0.01, (n, 2)), 0)
        place = np.where(contact[:, None], hand + draw.normal(0, 0.02, (n, 2)), drift)
        box[:, slot + 1] = np.concatenate([place - 0.05, place + 0.05], 1)
    nodes[:, PERSON] += noise * draw.normal(0, 1, (n, size))
    nodes *= present[..., None]
    frame = nodes.sum(1, keepdims=True) / present.sum(1)[:, None, None]
    return Drawn(
        np.concatenate([frame, nodes], 1).astype(np.float32),
        (np.clip(box, 0, 1) * present[..., None]).astype(np.float32),
        present,
        node_class,
        relations,
        owned,
        spans,
    )


def draw_graphs(settings: Graphs) -> Iterator[tuple[PlannedGraph, Drawn]]:
    """All videos of one configuration."""
    looks = prototypes(settings)
    for planned in plan_graphs(settings):
        yield planned, draw_graph(planned, settings, looks)
