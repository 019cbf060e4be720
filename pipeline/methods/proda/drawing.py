"""One action of one video as a picture: what carries it over a frame, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.store.atomic import replace_when_done

# Okabe and Ito's palette, distinguishable with colour blindness.
OWN, OTHER, TRUE = "#D55E00", "#999999", "#009E73"


def draw(answer, part, path: Path) -> None:
    """Write the picture.

    Args:
        answer: `pipeline.methods.proda.model.Disentangled`; part: one of its parts.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    best = int(part.frames.argmax())
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6), height_ratios=(4, 1))
    _frame(above, answer, part, best)
    name = f"{part.name}  ({part.score:.2f})"
    above.set_title(name, parse_math=False, fontsize=11)
    _bar(below, answer, part, best)
    with replace_when_done(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    plt.close(figure)


def _frame(axis, answer, part, best: int) -> None:
    """Boxes and edges that are kept, in colour; those of the complement grey. Coordinates are parts of the picture."""
    from matplotlib.patches import Rectangle

    if answer.pictures is not None:
        axis.imshow(answer.pictures[best], extent=(0, 1, 1, 0), aspect="auto")
    axis.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
    axis.set_xlabel(f"at {part.times[best]:.1f} s; grey: the complement", fontsize=8)
    present, box, edges = answer.scene.present[best], answer.scene.box[best], answer.scene.edges[0]
    centres = (box[:, :2] + box[:, 2:]) / 2
    carried: set[int] = set()
    for weights, colour in ((part.others, OTHER), (part.edges, OWN)):
        for number, (a, b) in enumerate(edges):
            if a < 0 or b < 0 or not (present[a] and present[b]) or weights[best, number] < answer.threshold:
                continue
            ends = centres[[a, b]]
            axis.plot(*ends.T, color=colour, linewidth=0.5 + 2 * float(weights[best, number]), alpha=0.8)
            if colour == OWN:
                carried |= {int(a), int(b)}
    for node in np.flatnonzero(present):
        x1, y1, x2, y2 = box[node]
        colour = OWN if node in carried else OTHER
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.5))
        axis.text(x1, y1, answer.node_names[node], color=colour, fontsize=7, parse_math=False, clip_on=True)


def _bar(axis, answer, part, best: int) -> None:
    """s over time; what reaches θ is filled, true segments are green."""
    place = np.arange(len(part.frames))
    axis.bar(place, part.frames, color=[OWN if kept else OTHER for kept in part.kept], width=0.9)
    level = float(part.frames.max() * np.sqrt(answer.threshold))
    axis.axhline(level, color="black", linewidth=0.7, linestyle="--")
    for start, end in part.segments:
        inside = (part.times >= start) & (part.times <= end)
        axis.bar(place[inside], -0.08, color=TRUE, width=0.9)
    axis.axvline(best, color="black", linewidth=0.7)
    axis.set(xlim=(-0.5, len(place) - 0.5), ylim=(-0.1, 1.02), ylabel="s")
    axis.set_xticks(place[:: max(1, len(place) // 8)])
    axis.set_xticklabels([f"{part.times[at]:.1f} s" for at in place[:: max(1, len(place) // 8)]], fontsize=7)
