"""What a decision rests on, as pictures and in words: frames by S̃, what is asked of tokens, the plan, couplings."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.data.entries import Segment
from pipeline.methods.pcmci.measures import HALF
from pipeline.store.atomic import replace_when_done
from pipeline.store.plain import write_json

if TYPE_CHECKING:
    from pipeline.methods.pcmci.model import Model, Seen

# Pairs that are named, frames that are shown of a label, labels that a matrix shows, letters of a name in a picture.
STRONGEST, SHOWN_FRAMES, SHOWN_LABELS, LETTERS = 12, 4, 24, 34
# So many labels are all asked what they do to the others.
ALL_LABELS = 200
# Seconds from which on a video's times are told in minutes.
LONG = 120
TRUE = "tab:green"


def strongest(couplings: np.ndarray, names: list[str], top: int) -> list[dict[str, Any]]:
    """Pairs of labels by how far one moves the other's logit in this video, the farthest first; NaN is not known."""
    order = np.argsort(-np.nan_to_num(np.abs(couplings - np.diag(np.diag(couplings)))), axis=None)[:top]
    pairs = [np.unravel_index(place, couplings.shape) for place in order]
    return [{"label": names[i], "because of": names[j], "logit": float(couplings[i, j])} for i, j in pairs if i != j]


def _figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    held = io.BytesIO()
    figure.savefig(held, dpi=110, format="png", metadata={"Software": None})
    return held.getvalue()


def plain(name: str) -> str:
    """A label as matplotlib shows it, cut to a line: a dollar sign would begin a formula."""
    line = " ".join(name.split())
    line = line if len(line) <= LETTERS else line[: LETTERS - 1] + "…"
    return line.replace("$", r"\$")


def _edges(times: np.ndarray) -> np.ndarray:
    """Where the share of each sample begins and ends ``[n + 1]``, for samples at ``[n]`` seconds."""
    between = (times[1:] + times[:-1]) / 2
    half = float(times[-1] - between[-1]) if len(between) else 0.5
    return np.concatenate([[0.0], between, [times[-1] + half]])


def _clock(seconds: float, length: float) -> str:
    """A time as people read it in a video of this length."""
    return f"{seconds:.1f} s" if length < LONG else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def draw_frames(
    seen: Seen,
    weights: dict[str, np.ndarray],
    labels: Sequence[int],
    names: list[str],
    truth: Sequence[Segment],
    probability: np.ndarray,
) -> bytes:
    """A row per label: S̃ over time, what IVC asks of the tokens, true segments, and the frames of largest S̃."""
    shown = SHOWN_FRAMES if seen.pictures is not None else 0
    figure = _figure(12, 1.7 * len(labels) + 0.5)
    grid = figure.subplots(len(labels), 1 + shown, width_ratios=[4] + [1] * shown, squeeze=False)
    edges = {"frames": _edges(seen.times), "tokens": _edges(seen.token_times)}
    length = float(edges["frames"][-1])
    for row, label in zip(grid, labels, strict=True):
        axis = row[0]
        for segment in truth:
            if segment.label == label:
                axis.axvspan(segment.start, segment.end, color=TRUE, alpha=0.2, lw=0, label="true")
        for name, words in (("frames", "S̃, frames"), ("tokens", "A, tokens")):
            if name in weights:
                axis.stairs(weights[name][label], edges[name], label=words, lw=1.5)
        axis.set_title(f"{plain(names[label])}   {probability[label]:.2f}", fontsize=9, loc="left")
        axis.set_ylim(0)
        axis.set_xlim(0, length)
        axis.tick_params(labelsize=7)
        if length >= LONG:
            axis.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds, length))
        best = np.sort(np.argsort(-weights["frames"][label], kind="stable")[:shown])
        for place in row[1:]:
            place.axis("off")
        for place, frame in zip(row[1:], best, strict=False):
            place.imshow(seen.pictures[frame])
            at, weight = _clock(seen.times[frame], length), weights["frames"][label, frame]
            place.set_title(f"{at}, S̃ {weight:.2f}", fontsize=7)
    handles = {word: handle for row in grid for handle, word in zip(*row[0].get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    grid[-1, 0].set_xlabel("minutes:seconds" if length >= LONG else "seconds", fontsize=8)
    return _png(figure)


def draw_plan(
    plan: np.ndarray, labels: list[int], names: list[str], times: np.ndarray, truth: Sequence[Segment] = ()
) -> bytes:
    """Mass that goes from labels ``[n]`` to frames ``[L]``, over what an even plan would send: 1 is no preference.

    True segments are framed.
    """
    from matplotlib.patches import Rectangle

    figure = _figure(10, 0.22 * len(labels) + 1.6)
    axis = figure.subplots()
    shown = plan[labels] * plan.size
    image = axis.imshow(shown, aspect="auto", vmin=0, cmap="viridis", interpolation="nearest")
    figure.colorbar(image, ax=axis, label="mass, even plan = 1")
    axis.set_yticks(range(len(labels)), [plain(names[label]) for label in labels], fontsize=7)
    at = np.unique(np.linspace(0, len(times) - 1, 9).round().astype(int))
    axis.set_xticks(at, [_clock(times[place], times[-1]) for place in at], fontsize=7)
    for segment in truth:
        inside = np.flatnonzero((times >= segment.start) & (times < segment.end))
        if segment.label in labels and len(inside):
            corner = inside[0] - 0.5, labels.index(segment.label) - 0.5
            axis.add_patch(Rectangle(corner, len(inside), 1, fill=False, color=TRUE, lw=2))
    axis.set_title("transport plan P* between labels and frames" + ("; green: true" if truth else ""), fontsize=9)
    return _png(figure)


def draw_matrices(
    matrices: Mapping[str, np.ndarray], names: list[str], words: str, signed: bool, columns: str
) -> bytes:
    """Matrices ``[n, n]`` of labels side by side, on one scale.

    Args:
        matrices: title → values; NaN stays empty.
        words: what a value is; columns: what the columns are.
        signed: the scale is even around 0; otherwise from 0 to 1.
    """
    n = len(names)
    side = 0.16 * n + 0.5
    figure = _figure(side * len(matrices) + 3, side + 2)
    axes = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
    scale = {"vmin": 0, "vmax": 1, "cmap": "viridis"}
    if signed:
        limit = max(float(np.nanmax(np.abs(values))) for values in matrices.values()) or 1.0
        scale = {"vmin": -limit, "vmax": limit, "cmap": "RdBu_r"}
    for axis, (title, values) in zip(axes, matrices.items(), strict=True):
        image = axis.imshow(values, interpolation="nearest", **scale)
        axis.set_title(plain(title) if len(title) <= LETTERS else title.replace("$", r"\$"), fontsize=9)
        axis.set_xticks(range(n), [plain(name) for name in names], fontsize=7, rotation=90)
        axis.set_xlabel(columns, fontsize=8)
    axes[0].set_yticks(range(n), [plain(name) for name in names], fontsize=7)
    figure.colorbar(image, ax=list(axes), label=words, shrink=0.8)
    return _png(figure)


@dataclass(frozen=True)
class Told:
    """What is said of one video.

    Attributes:
        lines: the decision, logits, and couplings in words; sentences: the counterfactual text.
        pictures: file name → PNG.
        record: the same for programs.
    """

    lines: list[str]
    sentences: list[str]
    pictures: dict[str, bytes]
    record: dict[str, Any]


def counterfactual(names: list[str], before: np.ndarray, after: np.ndarray, labels: Sequence[int], words: str):
    """A sentence per label: its probability ``[N]`` before and after an intervention that ``words`` names."""
    return [
        f"{names[label]}: {before[label]:.2f}, {words} {after[label]:.2f}"
        + ("; no longer predicted" if after[label] <= HALF < before[label] else "")
        + ("; now predicted" if before[label] <= HALF < after[label] else "")
        for label in labels
    ]


def tell(
    model: Model,
    source: str,
    seen: Seen,
    top: int = 3,
    after: tuple[Seen, torch.Tensor | None] | None = None,
    words: str = "",
    truth: Sequence[Segment] = (),
) -> Told:
    """All that is known about the decision on one video.

    Args:
        after: the video and the texts of labels under an intervention, which ``words`` names; see `Model.under`.
        truth: true segments of the video, where they are known.
    """
    names = model.class_names
    logits = model.logits(seen.tokens[None], seen.frames[None])[0]
    probability = model.probability(logits)
    weights = model.weights(seen)
    order = np.argsort(-logits, kind="stable")
    drawn, sentences = order[:top].tolist(), []
    if after is not None:
        left, texts = after
        changed = model.logits(left.tokens[None], left.frames[None], texts)[0]
        drawn = list(dict.fromkeys([*drawn, *np.argsort(-np.abs(changed - logits), kind="stable")[:top].tolist()]))
        sentences = counterfactual(names, probability, model.probability(changed), drawn, words)
    true = sorted({segment.label for segment in truth})
    shown = list(dict.fromkeys([*drawn, *true, *order.tolist()]))[: max(SHOWN_LABELS, len(drawn))]
    # Of many labels the shown ones alone are asked about: each costs as much as a video.
    of = None if len(names) <= ALL_LABELS else shown
    coupled = model.couplings(seen, of=of)
    matrices = {"in this video": coupled}
    if after is not None:
        matrices[words] = model.couplings(*after, of=of)
    own = [names[label] for label in shown]
    # What a label does to itself is no coupling, and would outshine the others.
    itself = np.eye(len(shown), dtype=bool)
    some = {title: np.where(itself, np.nan, values[np.ix_(shown, shown)]) for title, values in matrices.items()}
    words_of = "logit − logit | do(column = mean)"
    pictures = {
        "frames.png": draw_frames(seen, weights, drawn, names, truth, probability),
        "plan.png": draw_plan(weights["plan"], shown, names, seen.times, truth),
        "couplings.png": draw_matrices(some, own, words_of, True, "label that is intervened upon"),
    }
    rows = []
    for label in drawn:
        row = {"label": names[label], "logit": float(logits[label]), "probability": float(probability[label])}
        row["frames"] = {f"{time:.1f}": float(weights["frames"][label, at]) for at, time in enumerate(seen.times)}
        row["true"] = [[part.start, part.end] for part in truth if part.label == label]
        if after is not None:
            row["logit, intervened"] = float(changed[label])
        rows.append(row)
    pairs = strongest(coupled, names, STRONGEST)
    record = {"video": source, "intervention": words, "labels": rows, "counterfactual": sentences, "couplings": pairs}
    lines = [f"{source}: {names[order[0]]} ({probability[order[0]]:.3f})"]
    for row in rows:
        moved = f" → {row['logit, intervened']:+.2f}" if after is not None else ""
        lines.append(f"  {row['logit']:+.2f}{moved}  {row['label']}{'  (true)' if row['true'] else ''}")
    lines += [f"  {pair['logit']:+.2f} of {pair['label']} because of {pair['because of']}" for pair in pairs[:top]]
    return Told(lines, sentences, pictures, record)


def write(model: Model, source: str, seen: Seen, out: Path, *more: Any, **options: Any) -> list[str]:
    """Write ``frames.png``, ``plan.png``, ``couplings.png`` and ``explanation.json``; lines that tell what is there.

    Args:
        more, options: of `tell`.
    """
    told = tell(model, source, seen, *more, **options)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in told.pictures.items():
        with replace_when_done(out / name) as temporary:
            temporary.write_bytes(data)
    write_json(out / "explanation.json", told.record)
    return [*told.lines, *told.sentences, *(str(out / name) for name in (*told.pictures, "explanation.json"))]
