"""Stage `localise`: do concept maps show where things are? Against the demo's masks, beside GradCAM and Integrated
Gradients on the same backbone.

Some test clips are rendered again with the object apart from hands and body: the person does not tell where it is.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import torch

from pipeline.backbone.encoders import Backbone, encode, load_backbone
from pipeline.backbone.finetuning.tuned import tuned_backbone
from pipeline.backbone.maps import on_grid
from pipeline.backbone.samples import Samples, read_samples
from pipeline.context.encoders import load_dual_encoder
from pipeline.context.prompts import PromptGrid, prompt_frames
from pipeline.context.settings import Prompts
from pipeline.data.entries import DEVELOPMENT
from pipeline.data.settings import Decode
from pipeline.data.table import Rows, join_shards
from pipeline.demo.plan import planned
from pipeline.demo.settings import Generate
from pipeline.encoding.grid import cell_positions, interpolation, resample, smooth_interpolation
from pipeline.encoding.hardware import batch_size, device
from pipeline.jobs import stage
from pipeline.jobs.runtime import Runtime
from pipeline.learning.metrics import average_precision
from pipeline.methods.dance.bottleneck.activations import KindConcepts, activations, concepts_of
from pipeline.methods.dance.bottleneck.pooling import concept_maps, pool
from pipeline.methods.dance.bottleneck.words import concept_named
from pipeline.methods.dance.explain.regions import Interpolation, View, edited
from pipeline.methods.dance.settings import Localise
from pipeline.methods.dance.truth.counterfactuals import model_clip
from pipeline.store.atomic import StageError

# Where heatmaps are cut: at their mean plus this part of the way to their maximum.
CUTS = tuple(number / 10 for number in range(10))
# Test clips that were rendered again, with the object apart from hands and body.
APART = "apart"
# Figures of these clips that are reported.
OF_APART = ("pointing", "pointing_strict", "mean_average_precision")


def rectified(maps: np.ndarray) -> np.ndarray:
    """What is above the mean of a clip: heat of ``[S, H, W]`` that has no zero of its own.

    GradCAM and Integrated Gradients drop what is below zero. A concept map comes of a convolution without bias, and
    its zero means nothing.
    """
    return np.maximum(maps - maps.mean(), 0)


@dataclass
class Tally:
    """Counts of one method over all pictures; see `figures`.

    Zero-shot segmentation is the protocol of Chefer et al. (CVPR 2021): a heatmap is cut at its mean; pixel accuracy
    and intersection over union are counted over all pixels of all pictures, average precision is a mean over pictures.
    Where a map is cut decides much of that. So intersection over union is also counted at each of `CUTS`: the best one
    of a method on validation is its ``mean_iou_fitted``.
    """

    tolerance: int
    hits: int = 0
    near: int = 0
    pictures: int = 0
    right: int = 0
    pixels: int = 0
    # [cut, background or object]
    intersection: np.ndarray = field(default_factory=lambda: np.zeros((len(CUTS), 2)))
    union: np.ndarray = field(default_factory=lambda: np.zeros((len(CUTS), 2)))
    precision: float = 0.0

    def add(self, heat: np.ndarray, mask: np.ndarray) -> None:
        """One heatmap ``[H, W]`` and the true mask, bool ``[H, W]``."""
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        self.hits += int(mask[y, x])
        t = self.tolerance
        self.near += int(mask[max(0, y - t) : y + t + 1, max(0, x - t) : x + t + 1].any())
        mean, peak = heat.mean(), heat.max()
        self.right += int(((heat > mean) == mask).sum())
        self.pixels += mask.size
        for cut, part in enumerate(CUTS):
            found = heat > mean + part * (peak - mean)
            for label in (False, True):
                self.intersection[cut, int(label)] += ((found == label) & (mask == label)).sum()
                self.union[cut, int(label)] += ((found == label) | (mask == label)).sum()
        self.precision += float(average_precision(heat.reshape(-1, 1), mask.reshape(-1, 1))[0])
        self.pictures += 1

    def mean_iou(self) -> np.ndarray:
        """Mean of the intersections over union of background and object, for each of `CUTS`."""
        return (self.intersection / np.maximum(self.union, 1)).mean(1)

    def figures(self, cut: int) -> dict[str, float]:
        """Pointing game (Zhang et al. 2018), strict and with its tolerance, and zero-shot segmentation.

        Args:
            cut: which of `CUTS` serves this method best on validation.
        """
        return {
            "pointing": self.near / self.pictures,
            "pointing_strict": self.hits / self.pictures,
            "pixel_accuracy": self.right / self.pixels,
            "mean_iou": float(self.mean_iou()[0]),
            "mean_iou_fitted": float(self.mean_iou()[cut]),
            "mean_average_precision": self.precision / self.pictures,
        }


class Head(torch.nn.Module):
    """Linear read-outs of the pooled maps."""

    def __init__(self, backbone: Backbone, weight: np.ndarray, bias: np.ndarray):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("weight", torch.from_numpy(weight).float().to(backbone.device))
        self.register_buffer("bias", torch.from_numpy(bias).float().to(backbone.device))

    def read(self, maps: torch.Tensor) -> torch.Tensor:
        """``[b, S, h, w, D]`` → ``[b, outputs]``."""
        return self.backbone.pooled(maps) @ self.weight.T + self.bias

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """``[b, T, 3, H, W]`` → ``[b, outputs]``."""
        return self.read(self.backbone.maps(pixels))


# Captum gives the same for one output at a time; here all outputs share their way through the network, which is most of
# the work, and several threads may ask at once.


def grad_cam(head: Head, pixels: torch.Tensor, outputs: Sequence[int]) -> list[np.ndarray]:
    """GradCAM (Selvaraju et al. 2017) at the last feature maps: for each output ``[S, h, w]``, not negative."""
    with torch.no_grad():
        maps = head.backbone.maps(pixels)
    maps.requires_grad_()
    values = head.read(maps)[0]
    found = []
    for output in outputs:
        (gradient,) = torch.autograd.grad(values[output], maps, retain_graph=True)
        weights = gradient.mean((1, 2, 3), keepdim=True)
        found.append(torch.relu((weights * maps).sum(-1))[0].detach().cpu().numpy())
    return found


def integrated_gradients(head: Head, pixels: torch.Tensor, outputs: Sequence[int], steps: int) -> list[np.ndarray]:
    """Integrated Gradients (Sundararajan et al. 2017) from a grey clip, by Gauss-Legendre quadrature.

    Returns:
        for each output ``[T, H, W]``, the positive part over colours.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    sums = [torch.zeros_like(pixels) for _ in outputs]
    for place, weight in zip((1 + points) / 2, weights / 2, strict=True):
        between = (place * pixels).detach().requires_grad_()
        values = head(between)[0]
        for number, (total, output) in enumerate(zip(sums, outputs, strict=True), 1):
            (gradient,) = torch.autograd.grad(values[output], between, retain_graph=number < len(sums))
            total += weight * gradient
    return [(pixels.detach() * total)[0].sum(1).clamp_min(0).cpu().numpy() for total in sums]


def centroid(weights: np.ndarray) -> np.ndarray:
    """Mean (x, y) of non-negative weights ``[H, W]``: ``[2]``."""
    y, x = np.indices(weights.shape)
    total = weights.sum()
    return np.array([(x * weights).sum(), (y * weights).sum()]) / total if total > 0 else np.full(2, np.nan)


def motion_agreement(paths: list[tuple[np.ndarray, np.ndarray]], min_spread: float) -> float:
    """Correlation of where a heatmap and the object are over time, in clips whose object moves.

    Args:
        paths: per clip the centroids of heatmap and mask, each ``[S, 2]`` in pixels.
        min_spread: clips whose object's position varies less (standard deviation in pixels) do not count.
    """
    pairs = []
    for found, true in paths:
        known = np.isfinite(found).all(1) & np.isfinite(true).all(1)
        if known.sum() > 1 and true[known].std(0).max() >= min_spread:
            pairs.append((found[known] - found[known].mean(0), true[known] - true[known].mean(0)))
    if not pairs:
        return float("nan")
    first, second = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / scale) if scale > 0 else 0.0


@dataclass(frozen=True)
class Case:
    """One clip that shows where its object is.

    Attributes:
        row: its sample row.
        split: of the index, or `APART`.
        frames: uint8 ``[T, H, W, 3]``; masks: true ones per slice, bool ``[S, side, side]``.
        maps: feature maps on the places of the prompts, ``[S, rows, columns, D']``.
    """

    row: int
    video_id: str
    split: str
    label: int
    frames: np.ndarray
    masks: np.ndarray
    object: str
    maps: np.ndarray


def _cases(job: stage.Job, samples: Samples, maps: Rows, per_class: int) -> Iterator[Case]:
    """Clips that are not of train; of the first test clips of each class also one with the object apart."""
    ((truth, known),) = job.read_arrays("truth")
    places, n_slices = job.settings["maps"], maps.values.shape[1]
    map_row = {key: row for row, key in enumerate(maps.video_id)}
    generate, decode = Generate.model_validate(job.settings["generate"]), Decode.model_validate(job.settings["decode"])
    specs = {clip.video_id: clip.spec for clip in planned(generate)}
    named = tuned_backbone(job) or (places["model"], places["revision"])
    backbone = load_backbone(*named, cls_token=places["cls_token"], runtime=job.runtime)
    where = {name: places[name] for name in ("grid", "placement", "radius")}
    left = dict.fromkeys(range(len(samples.videos.class_names)), per_class)
    row_of = {key: row for row, key in enumerate(known["video_id"])}
    wanted = {samples.videos.video_id[row]: int(row) for row in np.flatnonzero(~samples.split("train"))}
    for arrays, described in job.read_arrays("clips"):
        for position, video_id in enumerate(described["video_id"]):
            if video_id not in wanted:
                continue
            row, true = wanted[video_id], row_of[video_id]
            frames, index = arrays["frames"][position], arrays["frame_index"][position]
            slices = prompt_frames(len(frames), n_slices)
            masks = np.unpackbits(truth["object_mask"][truth["offsets"][true] + index[slices]], axis=2).astype(bool)
            split, label, name = samples.videos.split[row], int(samples.label[row]), known["object"][true]
            yield Case(row, video_id, split, label, frames, masks, name, maps.values[map_row[video_id]])
            if split == "test" and left[label]:
                left[label] -= 1
                again = replace(specs[video_id], apart=True)
                frames, masks = model_clip(again, generate, decode, index)
                found = encode(backbone, frames[None], 1, "maps")
                found = on_grid(torch.from_numpy(found), **where).numpy()[0]
                yield Case(row, video_id, APART, label, frames, masks[slices], name, found)


@dataclass
class Interventions:
    """Local interventions (SALF-CBM 3.6) on the true object's concept, inside its mask, with one model kind.

    Attributes:
        weight, bias: of the classifier; objects: of each class's clips.
        outcomes: per split and β the clips whose decision becomes right (``fixed``) or wrong (``broken``).
        wrong, clips: per split the clips decided wrongly before, and all of them.
        wrong_object: of the wrong ones those decided for a class with another object. The others are mistaken in the
            motion or the scene, which more of the true object cannot tell.
    """

    kind: str
    concepts: KindConcepts
    weight: np.ndarray
    bias: np.ndarray
    betas: list[float]
    objects: dict[int, str]
    outcomes: Counter[tuple[str, float, str]] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    wrong_object: Counter[str] = field(default_factory=Counter)
    clips: Counter[str] = field(default_factory=Counter)

    def decide(self, row: int, feature: np.ndarray, maps: np.ndarray) -> int:
        """The class for a sample's feature ``[D]`` and other concept maps ``[S, h, w, M]``; what is read stays."""
        read = None if self.concepts.read is None else self.concepts.read[[row]]
        z = activations(feature[None], self.concepts.layer, pool(maps[None], self.concepts.pooling), read)
        return int((z @ self.weight.T + self.bias).argmax())

    def add(self, case: Case, feature: np.ndarray, maps: np.ndarray, view: View, target: int) -> None:
        """One clip of class ``case.label``, whose object is the located concept ``target``."""
        before = self.decide(case.row, feature, maps)
        was_right = before == case.label
        self.clips[case.split] += 1
        self.wrong[case.split] += not was_right
        self.wrong_object[case.split] += self.objects[before] != self.objects[case.label]
        for beta in self.betas:
            changed = np.concatenate(
                [
                    edited(part[None], view, mask, target, beta) if mask.any() else part[None]
                    for part, mask in zip(maps, case.masks, strict=True)
                ]
            )
            is_right = self.decide(case.row, feature, changed) == case.label
            self.outcomes[case.split, beta, "fixed"] += is_right and not was_right
            self.outcomes[case.split, beta, "broken"] += was_right and not is_right

    def rows(self) -> list[tuple[str, str, float]]:
        """Method, figure, value."""
        counts = [(f"n_{split}", number) for split, number in self.clips.items()]
        counts += [(f"{split}_wrong_before", self.wrong[split]) for split in self.clips]
        counts += [(f"{split}_wrong_object_before", self.wrong_object[split]) for split in self.clips]
        counts += [
            (f"{split}_{what}_by_beta_{beta:g}", self.outcomes[split, beta, what])
            for split in self.clips
            for beta in self.betas
            for what in ("fixed", "broken")
        ]
        return [(self.kind, figure, float(value)) for figure, value in counts]


@dataclass(frozen=True)
class Drawing:
    """What it takes to draw the heatmaps that need a network, as it is sent to the processes that draw.

    Attributes:
        backbone: name and revision of the one that the maps come from.
        weight, bias: over its bare features, ``[K + M, D]`` and ``[K + M]``: of the classes, and of the concept layer
            that sees the whole clip.
        n_classes: K; names, types: of the M concepts.
        steps: of Integrated Gradients.
        prompts: how frames are prompted; grid: their places.
        texts: located concept → its embedding.
    """

    backbone: tuple[str, str]
    weight: np.ndarray
    bias: np.ndarray
    n_classes: int
    names: list[str]
    types: list[str]
    steps: int
    prompts: Prompts
    grid: tuple[int, int]
    texts: dict[str, np.ndarray]


class Networks:
    """The networks of a `Drawing`, opened."""

    def __init__(self, drawing: Drawing, runtime: Runtime):
        self.drawing, self.runtime = drawing, runtime
        self.head = Head(load_backbone(*drawing.backbone, runtime=runtime), drawing.weight, drawing.bias)
        prompts = drawing.prompts
        self.grid = PromptGrid(load_dual_encoder(prompts.model, prompts.revision, prompts.sha256, runtime), prompts)

    def rivals(self, case: Case) -> dict[str, np.ndarray]:
        """GradCAM and Integrated Gradients: method → ``[S, side, side]``."""
        drawing, (n_slices, side) = self.drawing, case.masks.shape[:2]
        pixels = self.head.backbone.pixels(case.frames[None])
        outputs = {"class": case.label}
        if (own := concept_named(case.object, drawing.names, drawing.types)) is not None:
            outputs["concept"] = drawing.n_classes + own
        asked = list(outputs.values())
        places = grad_cam(self.head, pixels, asked)
        integrated = integrated_gradients(self.head, pixels, asked, drawing.steps)
        heat = {}
        for name, place, gradients in zip(outputs, places, integrated, strict=True):
            heat[f"GradCAM, {name}"] = _enlarged(place, side, smooth_interpolation)
            shown = gradients[prompt_frames(len(gradients), n_slices)]
            heat[f"Integrated Gradients, {name}"] = _enlarged(shown, side, interpolation)
        return heat

    def similarity(self, case: Case, concept: str) -> np.ndarray:
        """Of the prompts of a clip to a located concept, at each slice: ``[S, rows, columns]``."""
        n_slices = len(case.masks)
        # The cache has no prompts of test clips: nothing but this comparison asks for them.
        shown = case.frames[prompt_frames(len(case.frames), self.drawing.prompts.n_frames)]
        regions = self.grid.embed(shown, batch_size("prompts", self.runtime)).astype(np.float32)
        found = regions.reshape(len(shown), *self.drawing.grid, -1) @ self.drawing.texts[concept]
        return found[np.arange(n_slices) * len(found) // n_slices]

    def look(self, case: Case, concept: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """`similarity` and `rivals`."""
        return self.similarity(case, concept), self.rivals(case)


# Each holds the networks and torch, some 0.7 GB.
MAX_PROCESSES = 8
# Of this process.
_networks: Networks | None = None


def _open(drawing: Drawing, runtime: Runtime) -> None:
    global _networks
    # A clip per process: threads that share the small products of one wait for each other more than they compute.
    torch.set_num_threads(1)
    _networks = Networks(drawing, runtime)


def _look(case: Case, concept: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    return _networks.look(case, concept)


def looked_at(
    asked: Sequence[tuple[Case, str]], drawing: Drawing, runtime: Runtime, processes: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """`Networks.look` at each clip with its concept, in order; the number of processes changes nothing."""
    if processes == 1 or device(runtime).type == "cuda":
        _open(drawing, runtime)
        yield from itertools.starmap(_look, asked)
        return
    # Threads would wait for each other in Python; a process that has multiplied on threads must not be forked.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, MAX_PROCESSES), context, _open, (drawing, runtime))
    try:
        yield from pool.map(_look, *zip(*asked, strict=True)) if asked else ()
    finally:
        pool.shutdown(cancel_futures=True)


def _drawing(
    job: stage.Job, layers: dict, described: dict, classifier: dict[str, np.ndarray], settings: Localise
) -> Drawing:
    class_weight = classifier["backbone/weight"] / classifier["backbone/std"]
    class_bias = classifier["backbone/bias"] - class_weight @ classifier["backbone/mean"]
    places = job.settings["maps"]
    ((pseudo, words),) = job.read_arrays("pseudo_labels")
    return Drawing(
        tuned_backbone(job) or (places["model"], places["revision"]),
        np.concatenate([class_weight, layers["weight"]]),
        np.concatenate([class_bias, np.zeros(len(layers["weight"]))]),
        len(class_weight),
        described["names"],
        described["types"],
        settings.integration_steps,
        Prompts.model_validate(job.settings["prompts"]),
        tuple(places["grid"]),
        {name: pseudo["texts"][words["names"].index(name)] for name in described["map_names"]},
    )


def build(job: stage.Job) -> None:
    """Write one row per method and figure."""
    settings = Localise.model_validate(job.settings["localise"])
    places = job.settings["maps"]
    samples = read_samples(job, "DANCE")
    ((layers, described),) = job.read_arrays("concept_layers")
    ((classifier, about),) = job.read_arrays("classifier")
    located = [kind for kind in about["kinds"] if kind.endswith("salf")]
    if not located:
        raise StageError("no model kind has maps; see bottleneck.concept_layers.kinds")
    ((_, known),) = job.read_arrays("truth")
    object_of = dict(zip(known["video_id"], known["object"], strict=True))
    objects = {int(label): object_of[key] for key, label in zip(samples.videos.video_id, samples.label, strict=True)}
    interventions = []
    for kind in located:
        prefix = f"{kind}/" if about["kinds"].index(kind) else ""
        concepts = concepts_of(kind, layers, described, samples.videos, about["pooling"][kind])
        weight, bias = classifier[f"{prefix}all/weight"], classifier[f"{prefix}all/bias"]
        interventions.append(Interventions(kind, concepts, weight, bias, settings.betas, objects))
    joined = join_shards(job, "maps", "maps")
    drawing = _drawing(job, layers, described, classifier, settings)

    n_slices = joined.values.shape[1]
    # Validation decides where heatmaps are cut.
    counted: dict[str, dict[str, Tally]] = {"val": {}, "test": {}, APART: {}}
    paths: list[tuple[np.ndarray, np.ndarray]] = []
    cases = list(_cases(job, samples, joined, settings.apart_per_class))
    map_names = described["map_names"]
    targets = [concept_named(case.object, map_names, described["map_types"]) for case in cases]
    asked = [(case, target) for case, target in zip(cases, targets, strict=True) if target is not None]
    drawn = [(case, map_names[target]) for case, target in asked if case.split in counted]
    with contextlib.closing(looked_at(drawn, drawing, job.runtime, job.threads)) as looks:
        for case, target in stage.progress(asked, "localise", unit="clip"):
            side = case.masks.shape[1]
            view = View.of(side, side, places)
            maps = concept_maps(case.maps, layers["map_weight"])  # [S, h, w, M]
            for item in interventions:
                if case.split not in (*DEVELOPMENT, APART):
                    item.add(case, samples.features[case.row], maps, view, target)
            if case.split not in counted:
                continue
            similarity, others = next(looks)
            heat = {
                "concept maps": rectified(view.heatmap(maps[..., target])),
                "prompts themselves": rectified(view.heatmap(similarity)),
                "middle of the picture": np.broadcast_to(rectified(_middle(side)), (n_slices, side, side)),
                **others,
            }
            for name, values in heat.items():
                tally = counted[case.split].setdefault(name, Tally(settings.tolerance))
                for picture, mask in zip(values, case.masks, strict=True):
                    if mask.sum() >= settings.min_pixels:
                        tally.add(picture, mask)
            if case.split == "test":
                found = heat["concept maps"]
                paths.append(
                    (
                        np.stack([centroid(picture) for picture in found]),
                        np.stack([centroid(mask) for mask in case.masks]),
                    )
                )
    tallies = counted["test"]
    if not tallies:
        raise StageError("no object of a test clip is among the concepts with maps")
    table = [
        (name, figure, value)
        for name, tally in tallies.items()
        for figure, value in tally.figures(_best_cut(counted["val"], name)).items()
    ]
    table += [
        ("concept maps", "moves_with_object", motion_agreement(paths, settings.min_spread)),
        ("concept maps", "n_clips_without_concept", targets.count(None)),
        ("concept maps", "n_pictures", tallies["concept maps"].pictures),
    ]
    for name, tally in counted[APART].items():
        figures = tally.figures(0)
        table += [(name, f"{APART}_{figure}", figures[figure]) for figure in OF_APART]
    if counted[APART]:
        table.append(("concept maps", f"n_pictures_{APART}", counted[APART]["concept maps"].pictures))
    table += [row for item in interventions for row in item.rows()]
    methods, figures, values = zip(*table, strict=True)
    columns = {"method": methods, "figure": figures, "value": [float(value) for value in values]}
    job.write_table("localisation", pa.table(columns))


def _best_cut(validation: dict[str, Tally], name: str) -> int:
    """Which of `CUTS` serves a method best; the mean, where no clip of validation shows its object."""
    return int(validation[name].mean_iou().argmax()) if name in validation else 0


def _middle(side: int) -> np.ndarray:
    """A heatmap that knows nothing: warmest in the middle, ``[side, side]``."""
    place = cell_positions(side) - 0.5
    return -np.hypot(place[:, None], place[None])


def _enlarged(maps: np.ndarray, side: int, interpolate: Interpolation) -> np.ndarray:
    """``[S, h, w]`` → ``[S, side, side]``: smooth from places, as concept maps are enlarged, linear from pixels."""
    axes = [interpolate(cell_positions(count), cell_positions(side)) for count in maps.shape[1:]]
    return resample(maps.astype(np.float64), *axes)


if __name__ == "__main__":
    stage.run("localise", build)
