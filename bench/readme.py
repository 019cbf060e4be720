"""Are the figures of the README those of finished runs? ``python bench/readme.py RESULTS_FOLDER``.

A line of the README is found by how it begins; the run's figure, printed as there, must stand in it. Prints a table;
exit code 1 if a figure differs. Runs that are not there are said, and are no error.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"
FOLDS = "weizmann_small_without_*/metrics.json"
DEMO, PENN = "demo/metrics.json", "penn_action/metrics.json"
# How a line begins → (files, place in them, format). Several files: mean ± standard deviation over them.
FIGURES: dict[str, list[tuple[str, str, str]]] = {
    "| Penn Action": [
        (PENN, "top1", ".3f"),
        (PENN, "top1_by_type/motion", ".3f"),
        (PENN, "backbone_top1", ".3f"),
        (PENN, "nnz", "d"),
    ],
    "| Weizmann, one": [
        (FOLDS, "top1", ".3f"),
        (FOLDS, "top1_by_type/motion", ".3f"),
        (FOLDS, "backbone_top1", ".3f"),
    ],
    "| demo, 80": [
        (DEMO, "top1", ".3f"),
        *((DEMO, f"top1_by_type/{kind}", ".3f") for kind in ("motion", "object", "scene")),
    ],
    "| demo, unseen": [(DEMO, "shifted_top1", ".3f"), (DEMO, "kinds/read/shifted_top1", ".3f")],
    "| demo, non-zero": [(DEMO, "nnz", "d")],
    "| [ProDA]": [("graphs_demo*/proda/metrics.json", "headline/value", ".3f")],
    "| [motion transferability]": [
        ("synta_mini/transfer/metrics.json", "models/moving/known", ".1f"),
        ("synta_mini/transfer/metrics.json", "models/moving/unknown", ".1f"),
    ],
}


def at(metrics: Any, place: str) -> float:
    """What ``a/b/c`` names."""
    for name in place.split("/"):
        metrics = metrics[name]
    return metrics


def printed(files: list[Path], place: str, form: str) -> str:
    """The figure as the README prints it."""
    values = [at(json.loads(path.read_text()), place) for path in files]
    if len(values) == 1:
        return format(values[0], form)
    return f"{statistics.mean(values):{form}} ± {statistics.pstdev(values):{form}}"


def compared(readme: str, results: Path) -> Iterator[tuple[str, str, str, str]]:
    """Line, place, the run's figure, and whether the README has it."""
    for begin, figures in FIGURES.items():
        (line,) = [line for line in readme.splitlines() if line.startswith(begin)]
        for pattern, place, form in figures:
            files = sorted(results.glob(pattern))
            if len(files) < 1 + ("*" in pattern):
                yield begin, f"{pattern}: {place}", "", f"{len(files)} runs are too few"
                continue
            figure = printed(files, place, form)
            yield begin, f"{pattern}: {place}", figure, "same" if figure in line else "DIFFERS"


def main(results: Path) -> int:
    print("| line | figure | run | README |\n|---|---|---|---|")
    rows = list(compared(README.read_text(), results))
    for row in rows:
        print("| " + " | ".join(part.strip("| ") for part in row) + " |")
    return int(any(row[-1] == "DIFFERS" for row in rows))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "results")))
