"""What a decision rests on, as pictures: frames by S̃ beside what is asked of tokens, the plan, couplings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.entries import Segment
from pipeline.store.atomic import replace_when_done
from pipeline.store.plain import write_json

if TYPE_CHECKING:
    from pipeline.methods.pcmci.model import Model, Seen

STRONGEST, SHOWN_FRAMES = 12, 4


def strongest(couplings: np.ndarray, names: list[str], top: int) -> list[dict[str, Any]]:
    """Pairs of labels by how far one moves the other's logit in this video, the farthest first."""
    order = np.argsort(-np.abs(couplings - np.diag(np.diag(couplings))), axis=None)[:top]
    pairs = [np.unravel_index(place, couplings.shape) for place in order]
    return [{"label": names[i], "because of": names[j], "logit": float(couplings[i, j])} for i, j in pairs if i != j]


def _figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with replace_when_done(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def plain(name: str) -> str:
    """A label as matplotlib shows it: a dollar sign would begin a formula."""
    return name.replace("$", r"\$")


def draw_frames(
    seen: Seen,
    weights: dict[str, np.ndarray],
    labels: Sequence[int],
    names: list[str],
    truth: Sequence[Segment],
    path: Path,
) -> None:
    """A row per label: S̃ over time, what IVC asks of the tokens, true segments, and the frames of largest S̃."""
    figure = _figure(12, 1.9 * len(labels))
    axes = figure.subplots(len(labels), 1 + SHOWN_FRAMES, width_ratios=[4] + [1] * SHOWN_FRAMES, squeeze=False)
    for row, label in zip(axes, labels, strict=True):
        row[0].plot(seen.times, weights["frames"][label], drawstyle="steps-mid", label="S̃, frames")
        if "tokens" in weights:
            at = np.linspace(seen.times[0], seen.times[-1], weights["tokens"].shape[1])
            row[0].plot(at, weights["tokens"][label], drawstyle="steps-mid", alpha=0.7, label="A, tokens")
        for segment in truth:
            if segment.label == label:
                row[0].axvspan(segment.start, segment.end, color="tab:green", alpha=0.2)
        row[0].set_title(plain(names[label]), fontsize=9, loc="left")
        row[0].legend(fontsize=6)
        best = np.sort(np.argsort(-weights["frames"][label], kind="stable")[:SHOWN_FRAMES])
        for axis in row[1:]:
            axis.axis("off")
        for axis, frame in zip(row[1:], best, strict=False):
            axis.imshow(seen.pictures[frame])
            axis.set_title(f"{seen.times[frame]:.1f} s, {weights['frames'][label, frame]:.2f}", fontsize=7)
    axes[-1, 0].set_xlabel("seconds")
    _save(figure, path)


def draw_matrix(values: np.ndarray, rows: list[str], columns: list[str], title: str, path: Path, signed: bool = False):
    """A matrix ``[n, m]`` with its names."""
    figure = _figure(max(5, 0.16 * len(columns) + 3), max(4, 0.16 * len(rows) + 2))
    axis = figure.subplots()
    limit = float(np.nanmax(np.abs(values))) or 1.0
    range_ = {"vmin": -limit, "vmax": limit, "cmap": "RdBu_r"} if signed else {"vmin": 0, "cmap": "viridis"}
    figure.colorbar(axis.imshow(values, aspect="auto", **range_), ax=axis)
    axis.set_yticks(range(len(rows)), [plain(name) for name in rows], fontsize=5)
    axis.set_xticks(range(len(columns)), [plain(name) for name in columns], fontsize=5, rotation=90)
    axis.set_title(title, fontsize=9)
    _save(figure, path)


def write(
    model: Model,
    source: str,
    seen: Seen,
    out: Path,
    top: int = 3,
    changed: np.ndarray | None = None,
    words: str = "",
    truth: Sequence[Segment] = (),
) -> list[str]:
    """Write ``frames.png``, ``plan.png``, ``couplings.png`` and ``explanation.json``; lines that tell what is there.

    Args:
        changed: logits ``[N]`` under an intervention, which ``words`` names.
        truth: true segments of the video, where they are known.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = model.class_names
    logits = model.logits(seen.tokens[None], seen.frames[None])[0]
    weights, coupled = model.weights(seen), model.couplings(seen)
    order = np.argsort(-logits, kind="stable")
    moved = [] if changed is None else np.argsort(-np.abs(changed - logits), kind="stable")[:top].tolist()
    drawn = list(dict.fromkeys([*order[:top].tolist(), *moved]))
    draw_frames(seen, weights, drawn, names, truth, out / "frames.png")
    shown = order[:40].tolist()
    times = [f"{time:.1f}" for time in seen.times]
    draw_matrix(weights["plan"][shown], [names[label] for label in shown], times, "transport plan P*", out / "plan.png")
    own = [names[label] for label in shown]
    title = "logit of the row − its logit | do(column = mean)"
    draw_matrix(coupled[np.ix_(shown, shown)], own, own, title, out / "couplings.png", signed=True)
    probability = model.probability(logits)
    rows = []
    for label in drawn:
        row = {"label": names[label], "logit": float(logits[label]), "probability": float(probability[label])}
        row["frames"] = {times[frame]: float(weights["frames"][label, frame]) for frame in range(len(times))}
        if changed is not None:
            row["logit, intervened"] = float(changed[label])
        rows.append(row)
    found = {"video": source, "intervention": words, "labels": rows, "couplings": strongest(coupled, names, STRONGEST)}
    write_json(out / "explanation.json", found)
    lines = [f"{source}: {names[order[0]]} ({probability[order[0]]:.3f})"]
    for row in rows:
        after = f" → {row['logit, intervened']:+.2f}" if changed is not None else ""
        lines.append(f"  {row['logit']:+.2f}{after}  {row['label']}")
    for pair in found["couplings"][:top]:
        lines.append(f"  {pair['logit']:+.2f} of {pair['label']} because of {pair['because of']}")
    return [*lines, *(str(out / name) for name in ("frames.png", "plan.png", "couplings.png", "explanation.json"))]
