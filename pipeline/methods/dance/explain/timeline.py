"""When: the model's windows slid over a video, with the decision and each concept's activation in every one."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.backbone.window import Window
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.store.atomic import StageError, replace_when_done
from pipeline.store.plain import write_json

# Standard deviations at which the colours of a picture end.
LIMIT = 3.0
# Concepts on one picture.
SHOWN = 24


def runs(values: list[Any]) -> list[tuple[int, int, Any]]:
    """First and last place of each run of equal values, and the value."""
    found, end = [], 0
    for value, run in groupby(values):
        begin, end = end, end + len(list(run))
        found.append((begin, end - 1, value))
    return found


@dataclass(frozen=True)
class Timeline:
    """What a model says along a video.

    Attributes:
        source: path of the video.
        windows: ``n`` parts of the video, in order; z: standardised activations ``[n, M]``.
    """

    core: ConceptModel
    source: str
    windows: list[Window]
    z: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """``[n, K]``."""
        return self.core.probabilities(self.z)

    @property
    def present(self) -> list[list[bool | None]]:
        """Whether each window shows each concept, ``n`` times ``M``; None where nobody knows."""
        return [self.core.present(row) for row in self.z]

    def part(self, first: int, last: int) -> dict[str, Any]:
        """What a stretch of windows tells of alone: from the middle between it and the window before to that after.

        Returns:
            ``start`` and ``end`` in seconds, ``first_frame`` and ``last_frame``.
        """
        begin, end = self.windows[first], self.windows[last]
        found = {"start": begin.start, "end": end.end, "first_frame": begin.first, "last_frame": end.last}
        if first:
            before = self.windows[first - 1]
            found["start"] = (before.start + before.end + begin.start + begin.end) / 4
            found["first_frame"] = (before.first + before.last + begin.first + begin.last) // 4 + 1
        if last + 1 < len(self.windows):
            after = self.windows[last + 1]
            found["end"] = (end.start + end.end + after.start + after.end) / 4
            found["last_frame"] = (end.first + end.last + after.first + after.last) // 4
        return found

    def decisions(self) -> list[tuple[int, int, int]]:
        """First window, last window and class of each stretch that is decided alike."""
        return runs(self.probabilities.argmax(1).tolist())

    def stretches(self, concept: int) -> list[tuple[int, int]]:
        """First and last window of each stretch that shows a concept; of a motion: what matched its medoid."""
        return [(first, last) for first, last, shown in runs([row[concept] for row in self.present]) if shown]

    def used(self) -> list[int]:
        """Concepts that some decision uses, motions first, in the order of the model."""
        return np.flatnonzero(np.abs(self.core.weight).max(0) > 0).tolist()

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        core, probabilities = self.core, self.probabilities
        return {
            "video": self.source,
            "windows": [
                {
                    "start": window.start,
                    "end": window.end,
                    "first_frame": window.first,
                    "last_frame": window.last,
                    "class": core.class_names[int(row.argmax())],
                    "probabilities": dict(zip(core.class_names, map(float, row), strict=True)),
                    "activations": z.tolist(),
                    "present": present,
                }
                for window, row, z, present in zip(self.windows, probabilities, self.z, self.present, strict=True)
            ],
            "concepts": [
                {
                    "concept": name,
                    "type": core.types[m],
                    "named": core.named(m),
                    "doubt": core.doubt[m],
                    "shown": [self.part(a, b) for a, b in self.stretches(m)],
                }
                for m, name in enumerate(core.concepts)
            ],
        }

    def lines(self) -> list[str]:
        """Decisions over time, and which frames show each concept that decisions use."""
        core, first = self.core, self.windows[0]
        probabilities = self.probabilities
        found = [
            f"{self.source}: {self.windows[-1].end:.1f} s in {len(self.windows)} windows of "
            f"{first.end - first.start:.1f} s"
        ]
        for a, b, label in self.decisions():
            part, sure = self.part(a, b), probabilities[a : b + 1, label]
            likely = f"({sure.min():.1%} to {sure.max():.1%})"
            found.append(f"  {part['start']:6.1f} to {part['end']:6.1f} s  {core.class_names[label]} {likely}")
        for m in self.used():
            parts = [self.part(a, b) for a, b in self.stretches(m)]
            where = [f"{part['first_frame']} to {part['last_frame']}" for part in parts]
            if where:
                doubt = f"   DOUBTFUL: {core.doubt[m]}" if core.doubt[m] else ""
                found.append(f"  {core.types[m]:<6}  {core.named(m)}: frames {', '.join(where)}{doubt}")
        return found

    def figure(self):
        """Probabilities of the classes over time, and activations of the concepts that are active most, as a figure."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        # A dollar in a name begins no formula.
        with matplotlib.rc_context({"text.parse_math": False}):
            return self._drawn(plt)

    def _drawn(self, plt):
        core = self.core
        parts = [self.part(row, row) for row in range(len(self.windows))]
        bounds = [*(part["start"] for part in parts), parts[-1]["end"]]
        shown = sorted(sorted(self.used(), key=lambda m: -np.abs(self.z[:, m]).max())[:SHOWN])
        figure, (above, below) = plt.subplots(
            2,
            1,
            figsize=(10, 3 + 0.28 * max(1, len(shown))),
            sharex=True,
            height_ratios=[2, max(1, 0.28 * len(shown))],
            layout="constrained",
        )
        probabilities = self.probabilities
        for k in [k for k in np.argsort(-probabilities.max(0)) if probabilities[:, k].max() >= 0.05][:8]:
            above.step(bounds, [*probabilities[:, k], probabilities[-1, k]], where="post", label=core.class_names[k])
        above.set_ylim(0, 1.02)
        above.set_ylabel("probability", fontsize=9)
        above.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        # The folder tells nothing about the video, and a long title would be cut.
        name = textwrap.fill(Path(self.source).name, 60)
        above.set_title(f"{name}\nwhat is decided, and what is active", fontsize=10, loc="left")
        rows = np.arange(len(shown) + 1)
        drawn = below.pcolormesh(bounds, rows, self.z[:, shown].T, cmap="PRGn", vmin=-LIMIT, vmax=LIMIT)
        for row, m in enumerate(shown):
            for a, b in self.stretches(m):
                below.plot([bounds[a], bounds[b + 1]], [row + 0.5] * 2, color="black", linewidth=1.2, marker="|")
        below.set_yticks(rows[:-1] + 0.5, [f"{core.named(m)} ({core.types[m]})" for m in shown], fontsize=8)
        below.invert_yaxis()
        below.set_xlabel("seconds; a black line: present", fontsize=9)
        figure.colorbar(drawn, ax=below, label="activation", pad=0.01)
        return figure

    def write(self, out: Path) -> list[str]:
        """Write ``timeline.json`` and ``timeline.png``.

        Returns:
            the decisions in words, and where both lie.

        Raises:
            StageError: the folder is a file.
        """
        import matplotlib.pyplot as plt

        if out.exists() and not out.is_dir():
            raise StageError(f"{out} is a file; --out names a folder")
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "timeline.json", self.as_dict())
        figure = self.figure()
        with replace_when_done(out / "timeline.png") as temporary:
            figure.savefig(temporary, format="png", dpi=110, facecolor="white", metadata={"Software": None})
        plt.close(figure)
        return [*self.lines(), f"when      {out / 'timeline.png'}", f"all       {out / 'timeline.json'}"]
