"""Stage `report`: one page on a data set's model that needs no network: accuracy, concepts, reasons, checks, costs."""

from __future__ import annotations

import json
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backbone.window import Window
from pipeline.data.table import VideoTable, read_index
from pipeline.jobs import stage
from pipeline.jobs.stage import Job
from pipeline.learning.metrics import wilson
from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.methods.dance.bottleneck.model import stage_seconds
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, Contribution, Reason
from pipeline.methods.dance.bottleneck.words import words_of
from pipeline.methods.dance.explain import editing
from pipeline.methods.dance.explain.curves import curves
from pipeline.methods.dance.explain.editing import Contrast
from pipeline.methods.dance.explain.overlay import glow
from pipeline.methods.dance.explain.page import charts, images, quality
from pipeline.methods.dance.explain.palette import TYPE_COLOURS
from pipeline.methods.dance.explain.regions import View
from pipeline.methods.dance.explain.sanity import read_run
from pipeline.methods.dance.explain.seen import in_words, medoid_of, scale_of, where
from pipeline.methods.dance.explain.timeline import Timeline
from pipeline.methods.dance.settings import Report
from pipeline.methods.dance.truth.faithfulness import WANTED_RATIO
from pipeline.motion.drawing import draw_strip
from pipeline.motion.skeleton import skeleton
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import ArtifactError, StageError, replace_when_done

logger = logging.getLogger("conceptreel")

TEMPLATE = Path(__file__).parent / "page" / "template.html"
NO_FRAMES = np.zeros((0, 1, 1, 3), np.uint8)
# The page is sent by mail and opened on telephones.
MAX_BYTES = 15_000_000


@dataclass(frozen=True)
class Videos:
    """The videos of the run, in the order of the activations.

    Attributes:
        z: activations ``[n, M]``; label, distance from training ``[n]``; split, video_id: object ``[n]``.
    """

    video_id: np.ndarray
    split: np.ndarray
    label: np.ndarray
    z: np.ndarray
    distance: np.ndarray

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.split == split)


class Clips:
    """Frames and concept maps of single videos, found in the shards when they are asked for."""

    def __init__(self, job: Job, model: ConceptModel):
        self.model = model
        self.place: dict[str, dict[str, tuple[Path, int]]] = {"clips": {}, "maps": {}}
        for name, found in self.place.items():
            for path in job.given(name):
                with Arrays(path) as artifact:
                    found |= {key: (path, row) for row, key in enumerate(artifact.attributes["video_id"])}

    def _part(self, name: str, array: str, video_id: str) -> np.ndarray | None:
        if video_id not in self.place[name]:
            return None
        path, row = self.place[name][video_id]
        with Arrays(path) as artifact:
            return artifact.part(array, row)

    def frames(self, video_id: str) -> np.ndarray | None:
        """uint8 ``[T, H, W, 3]``, or None where the run keeps no clips."""
        return self._part("clips", "frames", video_id)

    def frame_index(self, video_id: str) -> np.ndarray | None:
        return self._part("clips", "frame_index", video_id)

    def picture(self, video_id: str, reason: Reason) -> dict[str, Any]:
        """A clip as a concept sees it: its strongest place, or a middle frame where it has no heat.

        Returns:
            ``picture``, None where the run keeps no clips; ``words``, why it has no heat; ``scale`` of the heat.
        """
        frames = self.frames(video_id)
        if frames is None:
            return {"picture": None, "words": "", "scale": None}
        plain = images.still(images.sized(frames[len(frames) // 2]))
        maps = self._part("maps", "maps", video_id) if reason.index >= self.model.n_whole else None
        if maps is None:
            return {"picture": plain, "words": "", "scale": None}
        found = self.model.maps(maps[None])[0, ..., reason.index - self.model.n_whole]
        words, scale = where(self.model, reason, found), scale_of(self.model, reason.index)
        if words or scale is None:
            return {"picture": plain, "words": words, "scale": None}
        view = View.of(images.SIDE, images.SIDE, self.model.about["maps"])
        picture = images.still(images.hottest(frames, glow(found, view, scale)))
        return {"picture": picture, "words": "", "scale": scale}


def _counted(share: float | None, n: int) -> str:
    """A share of n videos as a count with its Wilson interval; empty where nobody knows it."""
    if share is None or np.isnan(share) or not n:
        return ""
    low, high = wilson(round(share * n), n)
    return f"{round(share * n)} of {n}, {low:.2f} to {high:.2f}"


def accuracy_rows(
    metrics: dict[str, Any], ceilings: dict[str, float], model: ConceptModel, videos: Videos, majority: int
) -> tuple[list[dict], list[str]]:
    """The model, its parts, other kinds, and what needs no concepts: one row each; and the further test splits.

    Args:
        ceilings: type → the most that it can tell; empty where nobody knows.
    """
    other = sorted(
        key.removesuffix("_top1")
        for key in metrics
        if key.endswith("_top1") and key not in ("backbone_top1", "val_top1")
    )

    n_videos = {split: len(videos.rows(split)) for split in ("test", *other)}

    def row(name: str, note: str, test: float, **more: Any) -> dict[str, Any]:
        found = {**dict.fromkeys(other), "name": name, "note": note, "test": test, **more}
        counts = {split: _counted(found[split], n) for split, n in n_videos.items()}
        return {**found, "counts": counts}

    def of_kind(name: str, note: str, figures: dict[str, Any]) -> dict[str, Any]:
        further = {split: figures.get(f"{split}_top1") for split in other}
        return row(name, note, figures["top1"], val=figures["val_top1"], nnz=figures["nnz"], **further)

    rows = [of_kind(f"all concepts ({metrics['kind']})", "the model of this report", metrics)]
    for kind in (kind for kind in TYPES if kind in metrics["top1_by_type"]):
        most = f"; {ceilings[kind]:.3f} is the most that this type can tell" if kind in ceilings else ""
        further = {split: metrics.get(f"{split}_top1_by_type", {}).get(kind) for split in other}
        note = f"{metrics['n_concepts'][kind]} concepts{most}"
        val = metrics["val_top1_by_type"].get(kind)
        rows.append(row(f"{kind} concepts alone", note, metrics["top1_by_type"][kind], val=val, **further))
    for kind, figures in metrics["kinds"].items():
        if kind != metrics["kind"]:
            note = ", ".join(f"{count} {name}" for name, count in figures["n_concepts"].items() if count)
            rows.append(of_kind(f"model kind {kind}", note, figures))
    for count, value in metrics["top1_at_nec"].items():
        rows.append(row(f"{count} effective concepts per class", "the path's last solution if it ends before", value))
    rows.append(row("backbone features", "the same sparse classifier, no concepts", metrics["backbone_top1"]))
    test = videos.label[videos.rows("test")]
    if len(test):
        note = f"{model.class_names[majority]}, the most frequent in train; chance is {1 / len(model.class_names):.3f}"
        rows.append(row("always the same class", note, float((test == majority).mean())))
    return rows, other


def leakage_rows(metrics: dict[str, Any]) -> list[dict]:
    """Each type of concepts in each kind: alone, beside the same type read, and its leakage scores."""
    return [
        {
            "type": kind,
            "kind": name,
            "alone": (figures.get("top1_by_type") or {}).get(kind),
            "read": metrics["alone"].get(kind, {}).get("read"),
            **scores,
        }
        for kind in TYPES
        for name, figures in metrics["kinds"].items()
        if (scores := figures.get("leakage", {}).get(kind))
    ]


def confusions(model: ConceptModel, z: np.ndarray, y: np.ndarray, count: int) -> list[dict]:
    """Pairs of classes that are confused most: by wrong decisions, then by the probability that goes astray."""
    probabilities = model.probabilities(z)
    decided = probabilities.argmax(1)
    n = len(model.class_names)
    wrong, astray = np.zeros((n, n)), np.zeros((n, n))
    np.add.at(wrong, (y, decided), 1)
    np.add.at(astray, y, probabilities)
    pairs = [(wrong[a, b] + wrong[b, a], astray[a, b] + astray[b, a], a, b) for a in range(n) for b in range(a + 1, n)]
    pairs.sort(key=lambda pair: (-pair[0], -pair[1]))
    total = np.bincount(y, minlength=n)
    return [
        {
            "first": a,
            "second": b,
            "wrong": int(number),
            "videos": int(total[a] + total[b]),
            "astray": float(mass / max(1, total[a] + total[b])),
        }
        for number, mass, a, b in pairs[:count]
    ]


def _bar(item: Contribution | Contrast, value: float, largest: float) -> dict:
    """A concept and its bar, whose width is the part of the largest value."""
    return {
        "name": item.said,
        "type": item.type,
        "value": value,
        "width": abs(value) / largest,
        "activation": item.activation,
        "speaks": item.speaks,
        "doubt": item.doubt,
    }


def class_rows(model: ConceptModel, top_k: int) -> list[dict]:
    """Each class with its largest weights."""
    largest = np.abs(model.weight).max()
    return [
        {
            "name": name,
            "used": int(np.count_nonzero(model.weight[k])),
            "concepts": [_bar(item, item.weight, largest) for item in editing.top_concepts(model, k, top_k)],
        }
        for k, name in enumerate(model.class_names)
    ]


def speaks_for(model: ConceptModel, concept: int) -> str:
    """The class that a concept speaks for most, in words."""
    weights = model.weight[:, concept]
    best = int(weights.argmax())
    return (
        f"present, it speaks for {model.class_names[best]} ({weights[best]:+.2f})"
        if weights[best] > 0
        else "present, it speaks for no class"
    )


def motion_cards(
    job: Job, model: ConceptModel, clips: Clips, count: int, truth: dict[str, Any] | None
) -> tuple[list[dict], int]:
    """Motion concepts, most frequent first, each as a moving medoid beside its source; and how many there are."""
    own = [m for m, kind in enumerate(model.types) if kind == "motion"]
    source: dict[str, tuple[str, int]] = {}
    if job.given("motion_concepts"):
        ((_, about),) = job.read_arrays("motion_concepts")
        source = {
            name: (video_id, start)
            for name, video_id, start in zip(
                about["names"], about["medoid_video_id"], about["medoid_start"], strict=False
            )
        }
    frequency = model.about["n_videos"] or [0] * len(own)
    approved = model.about.get("approved") or [False] * len(model.concepts)
    cards = []
    for k in sorted(range(len(own)), key=lambda k: (-frequency[k], k))[:count]:
        m = own[k]
        medoid = medoid_of(model, m)
        video_id, start = source.get(model.was[m], (None, 0))
        picture = None
        if medoid is not None:
            joints = skeleton(model.about["skeleton"])
            frames = clips.frames(video_id) if video_id else None
            picture = images.moving(
                images.dancing(medoid, joints, frames, clips.frame_index(video_id) if video_id else None, start)
            )
        shown = []
        if truth and "development" in truth["clusters"]:
            counts = truth["clusters"]["development"]["counts"][truth["concepts"].index(model.was[m])]
            shown = [
                f"{name} {share:.0%}"
                for name, share in zip(truth["motions"], np.array(counts) / max(1, sum(counts)), strict=True)
                if share >= 0.1
            ]
        cards.append(
            {
                "concept": model.concepts[m],
                "name": model.named(m),
                "words": words_of(model.types, model.about, m),
                "doubt": model.doubt[m],
                "approved": approved[m],
                "videos": frequency[k],
                "quality": model.about["quality"][m],
                "speaks": speaks_for(model, m),
                "picture": picture,
                "truth": ", ".join(shown),
            }
        )
    return cards, len(own)


def text_cards(model: ConceptModel, videos: Videos, clips: Clips, kind: str, count: int) -> list[dict]:
    """Concepts of one type in words, most used first, with the clips that activate them most."""
    own = [m for m, name in enumerate(model.types) if name == kind]
    used = sorted(own, key=lambda m: (-np.abs(model.weight[:, m]).max(), m))[:count]
    approved = model.about.get("approved") or [False] * len(model.concepts)
    cards = []
    for m in used:
        best = np.argsort(-videos.z[:, m], kind="stable")[:3]
        shown = []
        for row in best:
            reason = Reason(**model.reason(videos.z[row], m, 0))
            clip = clips.picture(videos.video_id[row], reason)
            shown.append({"id": videos.video_id[row], "split": videos.split[row], "reason": reason, **clip})
        cards.append(
            {
                "name": model.named(m),
                "doubt": model.doubt[m],
                "approved": approved[m],
                "quality": model.about["quality"][m],
                "speaks": speaks_for(model, m),
                "scale": scale_of(model, m),
                "clips": shown,
            }
        )
    return cards


def sample_cards(model: ConceptModel, videos: Videos, clips: Clips, rows: np.ndarray, top_k: int) -> list[dict]:
    """Decisions with their reasons, and why not the class that should have won or came second."""
    cards = []
    logits = model.logits(videos.z[rows])
    for row, values, probabilities in zip(rows, logits, model.probabilities(videos.z[rows]), strict=True):
        label, true = int(values.argmax()), int(videos.label[row])
        other = true if label != true else int(np.argsort(-values, kind="stable")[1])
        reasons = model.explain(videos.z[row], label, top_k)
        against = editing.contrast(model, videos.z[row], label, other, top_k)
        largest = max(
            [abs(item.contribution) for item in reasons] + [abs(item.difference) for item in against], default=1
        )
        frames = clips.frames(videos.video_id[row])
        pictures = []
        for item in [item for item in reasons if item.contribution > 0 and item.present is not False][:3]:
            medoid = medoid_of(model, item.index)
            found: dict[str, Any] = {"picture": None, "words": "", "scale": None}
            if medoid is not None:
                found["picture"] = images.still(draw_strip(medoid, skeleton(model.about["skeleton"]), 6, height=112))
            elif item.index >= model.n_whole:
                found = clips.picture(videos.video_id[row], item)
            # What is left is a text: the words are all there is to see.
            pictures.append({"name": item.said, "type": item.type, **found})
        cards.append(
            {
                "id": videos.video_id[row],
                "decided": model.class_names[label],
                "true": model.class_names[true],
                "right": label == true,
                "other": model.class_names[other],
                "probability": float(probabilities[label]),
                "unseen": model.unseen(videos.distance[row]),
                "margin": float(values[true] - np.delete(values, true).max()),
                "frames": None if frames is None else images.still(images.frame_strip(frames)),
                "reasons": [_bar(item, item.contribution, largest) for item in reasons],
                "against": [_bar(item, item.difference, largest) for item in against],
                "pictures": pictures,
            }
        )
    return cards


def edit_rows(model: ConceptModel, videos: Videos) -> list[dict]:
    """The best suggested edit of every confused pair of validation, with what it does to test."""
    rows, test = videos.rows("val"), videos.rows("test")
    found = []
    z, y = videos.z[rows], videos.label[rows]
    for true, decided, number in editing.confused_pairs(model, z, y):
        for edit in editing.suggest(model, z, y, true, decided)[:1]:
            edited = model.reweight(edit.label, edit.concept, edit.weight)
            there = editing.effect(model, edited, videos.z[test], videos.label[test])
            found.append(
                {
                    "true": model.class_names[true],
                    "decided": model.class_names[decided],
                    "videos": number,
                    "concept": model.named(edit.concept),
                    "weight": edit.weight,
                    "val": f"{len(edit.effect.fixed)} fixed, {len(edit.effect.broken)} broken",
                    "test": f"{len(there.fixed)} fixed, {len(there.broken)} broken",
                }
            )
    return found


def _table(job: Job, name: str) -> list[dict]:
    return job.read_table(name)[0].to_pylist() if job.given(name) else []


def _figures(rows: list[dict], *keys: str) -> dict[tuple, dict[str, float]]:
    """Rows of a figure and a value each, gathered by what else they say."""
    result: dict[tuple, dict[str, float]] = {}
    for item in rows:
        result.setdefault(tuple(item[key] for key in keys), {})[item["figure"]] = item["value"]
    return result


def sanity_rows(job: Job, faithful: dict[str, Any] | None) -> list[dict]:
    """Clips that cannot be what they were: one row per check and split, one column per figure."""
    names = {"backwards": "played backwards", "frozen": "one frame repeated"}
    result = [
        {"check": names[check], "split": split, **figures}
        for (check, split), figures in _figures(_table(job, "sanity"), "check", "split").items()
    ]
    if faithful:
        result += [
            {"check": f"another {factor}", "split": "test clips, rendered again", **values}
            for factor, values in faithful["decisions"].items()
        ]
    return result


def retrained_rows(job: Job) -> list[dict]:
    """Mean and range over the runs of each variant: one row per figure."""
    values: dict[str, dict[str, list[float]]] = {}
    for item in _table(job, "retrained"):
        values.setdefault(item["figure"], {}).setdefault(item["run"], []).append(item["value"])
    return [{"figure": figure, **by_run} for figure, by_run in values.items()]


def localisation_rows(job: Job) -> tuple[list[str], list[dict]]:
    """Where concepts are, against the true masks: figures that every method has, and one row per method."""
    rows = _figures(_table(job, "localisation"), "method")
    methods = {name: found for (name,), found in rows.items() if "pointing" in found}
    shared = [name for name in next(iter(methods.values()), {}) if all(name in found for found in methods.values())]
    return shared, [{"method": name, **found} for name, found in methods.items()]


def timelines(job: Job, model: ConceptModel, digest: str) -> list[dict]:
    """Videos over time: a picture each, and the decisions in words."""
    import matplotlib.pyplot as plt

    found = []
    for arrays, about in job.read_arrays("timelines") if job.given("timelines") else ():
        if about["activations"] != digest:
            raise stage.StageError("the timelines are of another model; run the pipeline again")
        for key, begin, end in zip(about["video_id"], arrays["offsets"][:-1], arrays["offsets"][1:], strict=True):
            parts = [Window(a, b, int(c), int(d), NO_FRAMES) for a, b, c, d in arrays["windows"][begin:end].tolist()]
            timeline = Timeline(model, key, parts, arrays["z"][begin:end].astype(np.float64))
            figure = timeline.figure()
            figure.set_dpi(90)
            figure.canvas.draw()
            picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]
            plt.close(figure)
            found.append({"id": key, "picture": images.still(picture), "lines": timeline.lines()})
    return found


def _majority(videos: Videos) -> int:
    return int(np.bincount(videos.label[videos.rows("train")]).argmax())


# ------------------------------------------------------------------------------------------------- what cannot be made

CANNOT = "This section cannot be made"


def part(make: Callable[[], Any]) -> Any:
    """What a section shows or, where that cannot be made, a value that says why as soon as the section uses it."""
    import jinja2

    try:
        return make()
    except Exception as error:
        if isinstance(error, (StageError, ArtifactError, jinja2.UndefinedError)):
            return jinja2.StrictUndefined(hint=str(error))
        logger.warning("a part of the report cannot be made:\n%s", traceback.format_exc())
        return jinja2.StrictUndefined(hint=f"{type(error).__name__}: {error}")


def rendered(template: Any, values: Mapping[str, Any]) -> str:
    """The page, in which every section that fails says why and stops no other one.

    Args:
        template: a Jinja template whose sections are blocks; the name of a block is the id of its section.
    """

    def guarded(name: str, block: Callable[[Any], Iterable[str]]) -> Callable[[Any], Iterator[str]]:
        def written(context: Any) -> Iterator[str]:
            try:
                yield "".join(block(context))
            except Exception as error:
                logger.warning("the section `%s` of the report cannot be made: %s", name, error)
                title = name.replace("_", " ").capitalize()
                why = f'<p class="verdict bad">{CANNOT}: {escape(str(error))}</p>'
                yield f'<section id="{name}"><h2>{title}</h2>{why}</section>'

        return written

    context = template.new_context(dict(values))
    context.blocks = {name: [guarded(name, block)] for name, block in template.blocks.items()}
    return "".join(template.root_render_func(context))


def build(job: Job) -> None:
    """Write the page."""
    import jinja2

    settings = Report.model_validate(job.settings)
    model, arrays, described = read_run(job)
    index: VideoTable = read_index(job)
    metrics = json.loads(job.note_file("metrics", job.input("metrics")).read_text())
    videos = Videos(
        np.array(described["video_id"], object),
        np.array(described["split"], object),
        arrays["label"].astype(np.int64),
        arrays["z"].astype(np.float64),
        arrays["distance"],
    )
    clips = part(lambda: Clips(job, model))

    asked = "test" if len(videos.rows("test")) else "val"
    rows = videos.rows(asked)
    z, y = videos.z[rows], videos.label[rows]
    margin = editing.margins(model, z, y)
    order = rows[np.argsort(margin, kind="stable")]
    n_wrong = int((margin < 0).sum())
    # Where little goes wrong, the narrowest right decisions tell most.
    shown = order[: max(min(n_wrong, settings.failures), min(len(order), settings.failures // 2))]
    seconds = stage_seconds(job.took)

    chosen = part(lambda: _classifier(job))
    truth = part(lambda: _faithful(job))
    faithful, matrices = (truth, truth) if isinstance(truth, jinja2.Undefined) else truth
    pairs = part(lambda: confusions(model, z, y, settings.pairs))
    removal = part(lambda: curves(model, z) if model.weight.any() else None)
    accuracy = part(lambda: _accuracy(job, metrics, model, videos))
    layers = part(lambda: _table(job, "concept_table"))
    drops = part(lambda: [row for row in layers if not row["kept"]])
    cards = part(lambda: motion_cards(job, model, clips, settings.max_concepts, faithful))
    localisation = part(lambda: localisation_rows(job))
    poses = part(lambda: quality.pose_quality(job) if job.given("poses") else (None, {}))
    charted = _charts(model, metrics, z, y, chosen, seconds, removal, pairs, layers, poses, faithful, matrices)

    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template(TEMPLATE.name)
    values = dict(
        dataset=job.dataset,
        model=model,
        metrics=metrics,
        index=index,
        asked=asked,
        accuracy=part(lambda: accuracy[0]),
        other_splits=part(lambda: accuracy[1]),
        leakage=part(lambda: leakage_rows(metrics)),
        classes=part(lambda: class_rows(model, settings.top_k)),
        pairs=part(
            lambda: [
                {**pair, "first": model.class_names[pair["first"]], "second": model.class_names[pair["second"]]}
                for pair in pairs
            ]
        ),
        motion=part(lambda: cards[0]),
        n_motion=model.types.count("motion"),
        words=part(lambda: {kind: text_cards(model, videos, clips, kind, settings.max_concepts) for kind in TYPES[1:]}),
        n_words={kind: model.types.count(kind) for kind in TYPES[1:]},
        has_drops=isinstance(drops, jinja2.Undefined) or bool(drops),
        drops=drops,
        drop_counts=part(
            lambda: Counter((row["type"], row["reason"].partition(":")[0]) for row in drops).most_common()
        ),
        samples=part(lambda: sample_cards(model, videos, clips, shown, settings.top_k)),
        n_wrong=n_wrong,
        n_asked=len(rows),
        edits=part(lambda: edit_rows(model, videos)),
        edit_log=model.about.get("edits", []),
        poses=part(lambda: poses[0]),
        layers=layers,
        certificate=part(lambda: chosen[1]["certificates"]["all"]),
        sanity=part(lambda: sanity_rows(job, faithful)),
        retrained=part(lambda: retrained_rows(job)),
        faithful=faithful,
        response=part(lambda: matrices.get("response")),
        standard_error=part(lambda: matrices.get("standard_error")),
        types=TYPES,
        in_words=in_words,
        wanted_ratio=WANTED_RATIO,
        areas=part(lambda: removal.areas() if removal else None),
        warnings=job.warnings,
        has_timelines=bool(job.given("timelines")),
        timelines=part(lambda: timelines(job, model, described["content_digest"])),
        localisation_columns=part(lambda: localisation[0]),
        localisation=part(lambda: localisation[1]),
        total_seconds=sum(seconds.values()),
        colours=TYPE_COLOURS,
        gradient=images.gradient(),
        charts=charted,
        library=charts.library(),
    )
    text = rendered(page, values)
    if len(text.encode()) > MAX_BYTES:
        raise stage.StageError(
            f"the report would have {len(text.encode()) / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}; lower "
            f"explain.report.max_concepts or failures"
        )
    with replace_when_done(job.outputs["report"]) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _classifier(job: Job) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    (found,) = job.read_arrays("classifier")
    return found


def _faithful(job: Job) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """Figures and matrices of the stage `faithfulness`, where the truth is known."""
    if not job.given("faithfulness"):
        return None, {}
    ((matrices, about),) = job.read_arrays("faithfulness")
    return about["figures"], matrices


def _accuracy(job: Job, metrics: dict[str, Any], model: ConceptModel, videos: Videos) -> tuple[list[dict], list[str]]:
    measured = {row["figure"]: row["value"] for row in _table(job, "evaluation")}
    ceilings = {name.removeprefix("ceiling_"): value for name, value in measured.items() if name.startswith("ceiling_")}
    return accuracy_rows(metrics, ceilings, model, videos, _majority(videos))


def _charts(
    model: ConceptModel,
    metrics: dict[str, Any],
    z: np.ndarray,
    y: np.ndarray,
    chosen: Any,
    seconds: dict[str, float],
    removal: Any,
    pairs: Any,
    layers: Any,
    poses: Any,
    faithful: Any,
    matrices: Any,
) -> dict[str, Any]:
    """The charts of the page by name, as HTML or as what says why there is none; see `build` for what they are of."""

    def confusion() -> Any:
        counts = np.zeros((len(model.class_names),) * 2)
        np.add.at(counts, (y, model.probabilities(z).argmax(1)), 1)
        return charts.matrix(counts, model.class_names, model.class_names, "true class", "decided class")

    def path() -> Any:
        along = (chosen[0][f"path/{name}"] for name in ("lambda", "accuracy", "nnz"))
        best = chosen[1]["certificates"]["all"]["lambda"]
        return charts.path(*along, best, len(model.class_names), metrics["top1_at_nec"])

    def response() -> Any:
        own = [row for row, kind in enumerate(TYPES) if kind in model.types]
        named = [f"{TYPES[row]} concepts" for row in own]
        return charts.matrix(matrices["response"][own], named, list(TYPES), "react", "what was changed", 2)

    def clusters(found: dict[str, Any]) -> Any:
        said = {model.was[m]: model.named(m) for m, kind in enumerate(model.types) if kind == "motion"}
        spoken = [said.get(name, name) for name in faithful["concepts"]]
        return charts.matrix(np.array(found["counts"]), spoken, faithful["motions"], "motion concept", "true motion")

    def of(several: Callable[[], Mapping[str, Callable[[], Any]]]) -> Mapping[str, Callable[[], Any]]:
        """Charts whose number what they are made of tells; none where that is missing, and its section says so."""
        found = part(several)
        return found if isinstance(found, dict) else {}

    makers: dict[str, Callable[[], Any]] = {
        "confusion": confusion,
        "path": path,
        "seconds": lambda: charts.bars(
            list(seconds), list(seconds.values()), "seconds, all shards together", charts.GREY
        ),
        **of(lambda: {"removal": lambda: charts.removal(removal)} if removal else {}),
        **of(
            lambda: {
                f"pair-{i}": lambda pair=pair: charts.sankey(model, pair["first"], pair["second"])
                for i, pair in enumerate(pairs)
            }
        ),
        **of(lambda: {name: lambda own=own: own for name, own in quality.layer_charts(layers).items()}),
        **of(lambda: {name: lambda own=own: own for name, own in poses[1].items()}),
        **of(lambda: {"response": response} if faithful else {}),
        **of(
            lambda: (
                {
                    f"clusters-{name}": lambda found=found: clusters(found)
                    for name, found in faithful["clusters"].items()
                }
                if faithful
                else {}
            )
        ),
    }
    return {name: part(lambda name=name, make=make: charts.html(make(), name)) for name, make in makers.items()}


if __name__ == "__main__":
    stage.run("report", build)
