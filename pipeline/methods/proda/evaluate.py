"""Stage `proda`: the model file, the figures and the page; the label-free figure is the headline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.data.entries import DEVELOPMENT
from pipeline.data.table import VideoTable, read_index
from pipeline.graphs.graph import read_scenes
from pipeline.graphs.scene import Scenes
from pipeline.jobs import stage
from pipeline.learning.multilabel import mean_average_precision
from pipeline.methods.proda import baselines, protocols
from pipeline.methods.proda.answers import answer_each, answer_single, groups, prompt_share
from pipeline.methods.proda.fit import encoded
from pipeline.methods.proda.losses import injected
from pipeline.methods.proda.model import Model
from pipeline.methods.proda.network import Encoded, ProDA
from pipeline.methods.proda.page import page
from pipeline.methods.proda.protocols import Figure
from pipeline.methods.proda.settings import ProDA as Settings
from pipeline.methods.proda.state import network_of, unpacked
from pipeline.methods.proda.train import truth_of
from pipeline.store.atomic import replace_when_done
from pipeline.store.plain import write_json

# C leaves out videos with more labels.
MOST_LABELS = 16
# A gap between oracle and headline, and a lead over presence, from which on a person must be told.
LEAK, LEAD = 0.05, 0.02
SEED = 11


@dataclass(frozen=True)
class Split:
    """Videos of one split, what they show, and what was predicted of them without it.

    Attributes:
        truth: bool ``[n, C]``; predicted: arrays of `pipeline.methods.proda.predict`.
        segments: per video (action, start, end) in seconds, none where they are not known; length: ``[n]`` seconds.
    """

    name: str
    scenes: Scenes
    truth: np.ndarray
    predicted: dict[str, np.ndarray]
    segments: list[list[tuple[int, float, float]]]
    length: np.ndarray


def label_free(own: Split) -> list[Figure]:
    """Figures for which no prompt knows a label."""
    names = {"headline": "headline", "asked": "asked", "single": "single", "a_m": "before"}
    found = [
        Figure(own.name, "label_free", name, protocols.charades_map(own.predicted[key], own.truth)[0])
        for name, key in names.items()
    ]
    headline = own.predicted["headline"]
    shown = mean_average_precision(headline, own.truth)[0]
    return [
        *found,
        Figure(own.name, "label_free", "headline_ties_together", shown),
        Figure(own.name, "label_free", "chance", float(own.truth.mean(0)[own.truth.any(0)].mean()), True),
    ]


def prompt_rows(truth: np.ndarray, asked: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the published figure: every video of 1 to 16 labels under its 2L + 1 prompts, which hold its labels.

    Returns:
        Videos ``[k]`` and prompts bool ``[k, C]``.
    """
    draw = np.random.default_rng(seed)
    rows, prompts = [], []
    for row, own in enumerate(truth):
        labels = np.flatnonzero(own)
        if not 0 < len(labels) <= MOST_LABELS:
            continue
        chosen = [draw.choice(labels, true, replace=False) for true in range(1, len(labels) + 1)]
        chosen += [injected(labels, true, truth.shape[1], asked, draw) for true in range(len(labels) + 1)]
        for each in chosen:
            prompt = np.zeros(truth.shape[1], bool)
            prompt[each] = True
            rows.append(row)
            prompts.append(prompt)
    return np.array(rows, int), np.array(prompts, bool).reshape(-1, truth.shape[1])


def _asked(network: ProDA, graph: Encoded, rows: np.ndarray, prompts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """σ of a_t and a_s of videos under prompts."""
    given = torch.from_numpy(prompts.astype(np.float32))
    t, s = answer_each(network, graph.take(torch.from_numpy(rows)), given)
    return torch.sigmoid(t).cpu().numpy(), torch.sigmoid(s).cpu().numpy()


def oracle(own: Split, network: ProDA, graph: Encoded, asked: int, presence: np.ndarray) -> list[Figure]:
    """The published protocol, in which prompts hold test labels, and what they alone are worth."""
    rows, prompts = prompt_rows(own.truth, asked)
    if not len(rows):
        return []
    t, _ = _asked(network, graph, rows, prompts)
    truth = own.truth[rows]
    noise = np.random.default_rng(SEED).random(prompts.shape) * 1e-6  # copies tie, and lists are in no random order
    told = presence[rows] + prompts
    return [
        Figure(own.name, "oracle", "a_t", protocols.charades_map(t, truth)[0]),
        Figure(own.name, "oracle", "prompt_copy", protocols.charades_map(prompts + noise, truth)[0], True),
        Figure(own.name, "oracle", "prompt_and_presence", protocols.charades_map(told, truth)[0], True),
    ]


def tables_6_7(own: Split, network: ProDA, graph: Encoded, asked: int, presence: np.ndarray) -> list[Figure]:
    """a_s under prompts of true labels alone (6) and filled up with absent ones (7), beside prompt × presence."""
    found = []
    for number, absent in ((6, False), (7, True)):
        cells = protocols.by_label_count(own.truth, asked, absent, np.random.default_rng(SEED), MOST_LABELS)
        answers = [_asked(network, graph, rows, prompts)[1] for _, _, rows, prompts in cells]
        products = [prompts * (presence[rows] + 1e-9) for _, _, rows, prompts in cells]
        for name, scores, baseline in (("a_s", answers, False), ("prompt_x_presence", products, True)):
            values = protocols.table_6_7(cells, scores, own.truth)
            for total, (mean, spread) in values.items():
                found.append(Figure(own.name, f"table_{number}", f"{name}_{total}", mean, baseline))
                found.append(Figure(own.name, f"table_{number}", f"{name}_{total}_std", spread, baseline))
            if values:
                mean = float(np.mean([mean for mean, _ in values.values()]))
                found.append(Figure(own.name, f"table_{number}", f"{name}_mean", mean, baseline))
    return found


def tables_8_9(own: Split, network: ProDA, graph: Encoded, asked: int) -> list[Figure]:
    """Localisation as the authors measure it, with one true label in the prompt; beside it, all frames."""
    actions = own.truth.shape[1]
    rows, label, shown = _segment_rows(own)
    if not len(rows):
        return []
    found = []
    for number, absent in ((9, False), (8, True)):
        draw = np.random.default_rng(SEED)
        prompts = np.zeros((len(rows), actions), bool)
        prompts[np.arange(len(rows)), label] = True
        for row in range(len(rows)) if absent else ():
            others = np.flatnonzero(~own.truth[rows[row]])
            prompts[row, draw.choice(others, min(asked - 1, len(others)), replace=False)] = True
        frames = _gates(network, graph, rows, prompts)
        for name, values, baseline in (("s", frames, False), ("all_frames", np.ones_like(frames), True)):
            grid = protocols.grid(values, shown, label, actions)
            for a, theta in enumerate(protocols.THETAS):
                for b, tau in enumerate(protocols.IOUS):
                    figure = f"{name}_theta{theta}_iou{tau}"
                    found.append(Figure(own.name, f"table_{number}", figure, float(grid[a, b]), baseline))
    return found


def _gates(network: ProDA, graph: Encoded, rows: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """s ``[k, N]`` of videos under prompts."""
    given, found = torch.from_numpy(prompts.astype(np.float32)).to(graph.nodes.device), []
    with torch.no_grad():
        for start in range(0, len(rows), 128):
            own = graph.take(torch.from_numpy(rows[start : start + 128]))
            branch = network.disentangle(own, given[start : start + 128])
            found.append(network.read_s(branch.specified, own.present).frames)
    return torch.cat(found).cpu().numpy()


def _segment_rows(own: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every action of every video whose segments are known: video, action ``[k]``, and frames that show it."""
    rows, label, shown = [], [], []
    for row, segments in enumerate(own.segments):
        at = own.predicted["times"][row]
        for action in sorted({action for action, _, _ in segments}):
            inside = [(start <= at) & (at <= end) for other, start, end in segments if other == action]
            rows.append(row)
            label.append(action)
            shown.append(np.any(inside, 0))
    return np.array(rows, int), np.array(label, int), np.array(shown, bool)


def official_localisation(own: Split) -> list[Figure]:
    """mAP over 25 moments of each video, without a label in any prompt."""
    if not any(own.segments):
        return []
    truth = protocols.point_truth(own.segments, own.length, own.truth.shape[1])
    frames = own.predicted["frames"].astype(np.float32)
    figures = []
    for name, gates, baseline in (("asked_x_s", frames, False), ("asked_everywhere", np.ones_like(frames), True)):
        scores = protocols.at_points(own.predicted["asked"], gates, own.predicted["times"], own.length)
        value = protocols.localisation_map(scores, truth)
        figures.append(Figure(own.name, "localisation_25", name, value, baseline))
    return figures


def generated_truth(own: Split, network: ProDA, graph: Encoded, owned: np.ndarray, verbs: int) -> list[Figure]:
    """What only the demo knows: the verb of each used object, and which frames, nodes and edges an action has.

    Args:
        owned: bool ``[n, C, N, M - 1]`` in the order of nodes of the scenes.
    """
    single = answer_single(network, graph)
    half = owned.shape[3]
    edges, frames = single.edges.cpu().numpy(), single.frames.cpu().numpy()
    shown = graph.shown.cpu().numpy()[:, :, :half]
    both = (edges[..., :half] + edges[..., half:]) / 2
    parts = [
        protocols.found_parts(frames[row, action], both[row, action], shown[row], owned[row, action])
        for row, action in zip(*np.nonzero(own.truth), strict=True)
    ]
    found = [
        Figure(own.name, "parts", name, float(np.nanmean([part[name] for part in parts])), name.endswith("chance"))
        for name in parts[0]
    ]
    verb = protocols.verb_accuracy(own.predicted["headline"], own.truth, verbs)
    return [*found, Figure(own.name, "parts", "verbs", verb)]


def regressions(
    train: Split, others: list[Split], classes: int, verbs: int | None
) -> tuple[list[Figure], list[np.ndarray]]:
    """Logistic regressions on what is there, and on how it is related; and scores of the first."""
    found, first = [], []
    for name, columns in (("presence_lr", baselines.presence), ("relations_lr", baselines.relations)):
        wanted = [columns(own.scenes, classes) for own in others]
        scores = baselines.regression(columns(train.scenes, classes), train.truth, wanted)
        first = first or scores
        for own, values in zip(others, scores, strict=True):
            found.append(Figure(own.name, "label_free", name, protocols.charades_map(values, own.truth)[0], True))
            if verbs:
                verb = protocols.verb_accuracy(values, own.truth, verbs)
                found.append(Figure(own.name, "parts", f"verbs_{name}", verb, True))
    return found, first


def warnings_of(figures: list[Figure]) -> list[str]:
    """What a reader of the figures must know."""
    value = {(item.split, item.figure): item.value for item in figures if item.protocol in ("label_free", "oracle")}
    said = []
    for split in dict.fromkeys(item.split for item in figures):
        headline, told = value.get((split, "headline")), value.get((split, "a_t"))
        presence = value.get((split, "presence_lr"))
        if headline is None:
            continue
        if told is not None and told - headline > LEAK:
            said.append(
                f"{split}: with test labels in its prompts the model reaches {told:.3f}, without them {headline:.3f}; "
                f"the prompt gives labels away"
            )
        if presence is not None and headline < presence + LEAD:
            said.append(
                f"{split}: a logistic regression on which objects are there reaches {presence:.3f}, the model "
                f"{headline:.3f}; it has learned little more"
            )
    return said


# ------------------------------------------------------------------------------------------------------------ the stage


def _segments(job: stage.Job, names: list[str]) -> tuple[dict[str, list], dict[str, float]]:
    """Segments and length of every video that the tables of the graphs know."""
    if not job.given("segments"):
        return {}, {}
    table, _ = job.read_table("segments")
    number = {name: action for action, name in enumerate(names)}
    found: dict[str, list] = {}
    length: dict[str, float] = {}
    for row in table.to_pylist():
        if row["class"] in number:
            found.setdefault(row["video_id"], []).append((number[row["class"]], row["start_s"], row["end_s"]))
        length[row["video_id"]] = row["length_s"]
    return found, length


def _splits(videos: VideoTable, scenes: Scenes, predicted: dict[str, dict[str, Any]], segments, length) -> list[Split]:
    row_of = {key: row for row, key in enumerate(scenes.video_id)}
    found = []
    for name in sorted(set(videos.split)):
        here = (videos.split == name) & np.array([key in row_of for key in videos.video_id], bool)
        own = videos.take(here)
        if not len(own):
            continue
        rows = np.array([row_of[key] for key in own.video_id])
        arrays = {
            key: np.stack([predicted[video][key] for video in own.video_id]) for key in predicted[own.video_id[0]]
        }
        last = arrays["times"].max(1)
        lengths = np.array([length.get(key, 0.0) for key in own.video_id])
        lengths = np.where(lengths > 0, lengths, last)
        parts = [segments.get(key, []) for key in own.video_id]
        found.append(Split(name, scenes.take(rows), truth_of(own), arrays, parts, lengths))
    return found


def _predicted(job: stage.Job) -> dict[str, dict[str, Any]]:
    """Predictions by video; edges are left out, they differ in their number between shards."""
    found = {}
    for arrays, attributes in job.read_arrays("predictions"):
        columns = {name: values for name, values in arrays.items() if name != "edges"}
        for row, key in enumerate(attributes["video_id"]):
            found[key] = {name: values[row] for name, values in columns.items()}
    return found


def _owned(job: stage.Job, own: Split, described: dict[str, Any]) -> np.ndarray:
    """Who takes part, ``[n, C, N, M - 1]``, in the order of nodes of the scenes."""
    ((arrays, attributes),) = job.read_arrays("truth")
    row_of = {key: row for row, key in enumerate(attributes["video_id"])}
    rows = np.array([row_of[key] for key in own.scenes.video_id])
    owned, kinds = arrays["owned"][rows], arrays["node_class"][rows][:, 1:]
    place_of = {name: number for number, name in enumerate(attributes["node_classes"])}
    order = np.array([place_of[name] for name in described["node_classes"]])
    result = np.zeros((*owned.shape[:3], own.scenes.node_class.shape[1] - 1), bool)
    for place in range(result.shape[3]):
        kind = own.scenes.node_class[:, place + 1]
        match = (kinds == np.where(kind >= 0, order[kind], -2)[:, None]) & (kind >= 0)[:, None]
        has = match.any(1)
        result[has, ..., place] = np.take_along_axis(owned[has], match.argmax(1)[has][:, None, None, None], 3)[..., 0]
    return result


def build(job: stage.Job) -> None:
    torch.set_num_threads(1)
    ((arrays, trained),) = job.read_arrays("network")
    state = unpacked(arrays["weights"], trained["shapes"])
    network, settings = network_of(trained["sizes"], trained["settings"], state)
    videos = read_index(job)
    scenes, described = read_scenes(job)
    segments, length = _segments(job, videos.class_names)
    splits = _splits(videos, scenes, _predicted(job), segments, length)
    results = [own for own in splits if own.name not in DEVELOPMENT]
    train = next(own for own in splits if own.name == "train")
    generated = bool(job.given("truth"))
    verbs = 3 if generated else None
    found, presence = regressions(train, results, len(described["node_classes"]), verbs)
    for own, objects in zip(results, presence, strict=True):
        found += _figures(job, own, objects, network, settings, described, verbs)
    _write(job, found, trained, described, network, settings, results)


def _figures(
    job, own: Split, presence: np.ndarray, network: ProDA, settings: Settings, described, verbs
) -> list[Figure]:
    graph = encoded(network, own.scenes, settings.frames)
    found = label_free(own) + oracle(own, network, graph, settings.asked, presence)
    share = prompt_share(network, graph, groups(own.truth.shape[1], settings.asked, 1))
    found.append(Figure(own.name, "label_free", "prompt_share", share))
    found += tables_6_7(own, network, graph, settings.asked, presence)
    found += tables_8_9(own, network, graph, settings.asked) + official_localisation(own)
    if verbs:
        found += generated_truth(own, network, graph, _owned(job, own, described), verbs)
    return found


def _write(job, found: list[Figure], trained, described, network, settings: Settings, results: list[Split]) -> None:
    said = warnings_of(found)
    for sentence in said:
        job.warn(sentence)
    about = {
        "dataset": job.dataset,
        "graphs": trained["graphs"],
        "sizes": trained["sizes"],
        "settings": trained["settings"],
        **job.settings["look"],
    }
    Model(trained["class_names"], network, settings, about).save(job.outputs["model"])
    columns = {name: [getattr(item, name) for item in found] for name in Figure._fields}
    columns["graph_source"] = [job.settings["look"]["tables"]["source"]] * len(found)
    job.write_table("evaluation", pa.table(columns))
    metrics = _metrics(job, found, trained, said)
    write_json(job.outputs["metrics"], metrics)
    with replace_when_done(job.outputs["report"]) as file:
        file.write_text(page(metrics, found, trained, results), encoding="utf-8")


def _metrics(job, found: list[Figure], trained: dict[str, Any], said: list[str]) -> dict[str, Any]:
    def value(split: str, figure: str) -> float | None:
        own = [item.value for item in found if (item.split, item.figure) == (split, figure)]
        return own[0] if own and np.isfinite(own[0]) else None

    kept = ("label_free", "oracle", "parts", "localisation_25")
    nested: dict[str, dict[str, float | None]] = {}
    for item in found:
        if item.protocol in kept:
            nested.setdefault(item.split, {})[item.figure] = value(item.split, item.figure)
    return {
        "headline": {"name": "label-free mAP", "value": value("test", "headline"), "split": "test"},
        "dataset": job.dataset,
        "figures": nested,
        "chosen": trained["chosen"],
        "videos": trained["videos"],
        "warnings": [*dict.fromkeys([*said, *job.warnings])],
    }


if __name__ == "__main__":
    stage.run("proda", build)
