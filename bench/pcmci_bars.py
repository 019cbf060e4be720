"""What the stages of PCMCI must do on the structural causal model, against the tables of `conceptreel ablate`.

    conceptreel ablate results/interventions_demo --method pcmci --table stages --seeds 3   # transport, controls
    python -m bench.pcmci_bars results/interventions_demo

Prints a line per bar: mean over the seeds that both networks have, and whether it is reached.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

from pipeline.store.tables import read_table

Figures = dict[str, dict[int, dict[str, float]]]
# Words, networks that are compared, value of one seed, bar, and whether it is a floor.
BARS: tuple[tuple[str, tuple[str, ...], Callable[..., float], float, bool], ...] = (
    ("ICH − plain, do(H)", ("ICH", "none"), lambda a, b: a["mAP do(H)"] - b["mAP do(H)"], 0.12, True),
    ("ICH − plain, do(all)", ("ICH", "none"), lambda a, b: a["mAP do(all)"] - b["mAP do(all)"], 0.25, True),
    (
        "iid − do(H), ICH over plain",
        ("ICH", "none"),
        lambda a, b: (a["mAP iid"] - a["mAP do(H)"]) / (b["mAP iid"] - b["mAP do(H)"]),
        0.5,
        False,
    ),
    (
        "false couplings, ICH over plain",
        ("ICH", "none"),
        lambda a, b: a["false couplings"] / b["false couplings"],
        0.5,
        False,
    ),
    (
        "effect of an object, ICH over plain",
        ("ICH", "none"),
        lambda a, b: a["effect of do(object)"] / b["effect of do(object)"],
        0.5,
        False,
    ),
    (
        "ICH − ICH without transport, do(all)",
        ("ICH", "ICH, no OT"),
        lambda a, b: a["mAP do(all)"] - b["mAP do(all)"],
        0.02,
        True,
    ),
    (
        "the same at κ = 0, absolute",
        ("ICH, κ = 0", "ICH, no OT, κ = 0"),
        lambda a, b: abs(a["mAP do(all)"] - b["mAP do(all)"]),
        0.01,
        False,
    ),
    ("IVC − plain, do(C)", ("IVC", "none"), lambda a, b: a["mAP do(C)"] - b["mAP do(C)"], 0.04, True),
    ("ICH, ICI, IVC − ICH, do(all)", ("HIV", "ICH"), lambda a, b: a["mAP do(all)"] - b["mAP do(all)"], -0.03, True),
    (
        "frames as tokens − plain, do(all)",
        ("keys", "none"),
        lambda a, b: a["mAP do(all)"] - b["mAP do(all)"],
        0.03,
        False,
    ),
    ("trained on do(all), do(all)", ("oracle",), lambda a: a["mAP do(all)"], 0.8, True),
    ("ICI − plain, do(I): no bar", ("ICI", "none"), lambda a, b: a["mAP do(I)"] - b["mAP do(I)"], float("-inf"), True),
)


def lines(figures: Figures) -> list[str]:
    """A line per bar; those whose networks were not made say so."""
    found = []
    for words, names, value, bar, floor in BARS:
        seeds = sorted(set.intersection(*(set(figures.get(name, {})) for name in names)))
        if not seeds:
            found.append(f"{words:<40} not made")
            continue
        each = [value(*(figures[name][seed] for name in names)) for seed in seeds]
        mean = statistics.fmean(each)
        reached = mean >= bar if floor else mean <= bar
        shown = ", ".join(f"{one:.3f}" for one in each)
        sign = "≥" if floor else "≤"
        found.append(f"{words:<40} {mean:7.3f} {sign} {bar:5.2f} {'yes' if reached else 'NO '} ({shown})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results/interventions_demo")
    results = parser.parse_args().results
    figures: Figures = {}
    for path in sorted((results.parent / "ablations" / results.name).glob("*.parquet")):
        for row in read_table(path)[0].to_pylist():
            figures.setdefault(row["variant"], {}).setdefault(row["seed"], {})[row["figure"]] = row["value"]
    print("\n".join(lines(figures)))


if __name__ == "__main__":
    main()
