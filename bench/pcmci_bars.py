"""What the stages of PCMCI must do on the structural causal model, against the tables of `conceptreel ablate`.

    conceptreel ablate results/interventions_demo --method pcmci --table stages --table codependency --seeds 5
    conceptreel ablate results/interventions_demo --method pcmci --table transport --table controls --seeds 3
    python -m bench.pcmci_bars results/interventions_demo

Prints a line per bar: mean over the seeds that both networks have, whether it is reached, and each seed. Seeds that two
networks share are of the same world and the same draws.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

from pipeline.store.tables import read_table

# Of what is told without a bar.
NONE = float("-inf")
Figures = dict[str, dict[int, dict[str, float]]]
Bar = tuple[str, tuple[str, ...], Callable[..., float], float, bool]


def _difference(words: str, first: str, second: str, do: str, bar: float = NONE, floor: bool = True) -> Bar:
    """mAP of one network on a test set, less that of another."""
    return f"{words}, {do}", (first, second), lambda a, b: a[f"mAP {do}"] - b[f"mAP {do}"], bar, floor


# Words, networks that are compared, value of one seed, bar, and whether it is a floor.
BARS: tuple[Bar, ...] = (
    _difference("ICH − plain", "ICH", "none", "do(H)", 0.12),
    _difference("ICH − plain", "ICH", "none", "do(all)", 0.25),
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
    _difference("ICH − ICH without transport", "ICH", "ICH, no OT", "do(all)", 0.02),
    (
        "the same at κ = 0, absolute",
        ("ICH, κ = 0", "ICH, no OT, κ = 0"),
        lambda a, b: abs(a["mAP do(all)"] - b["mAP do(all)"]),
        0.01,
        False,
    ),
    _difference("ICH − as sharp without transport", "ICH", "ICH, no OT, as sharp", "do(all)"),
    (
        "the same at κ = 0, absolute",
        ("ICH, κ = 0", "ICH, no OT, as sharp, κ = 0"),
        lambda a, b: abs(a["mAP do(all)"] - b["mAP do(all)"]),
        0.01,
        False,
    ),
    _difference("IVC − plain", "IVC", "none", "do(C)", 0.04),
    _difference("ICH, ICI, IVC − ICH", "HIV", "ICH", "do(all)", -0.03),
    _difference("frames as tokens − plain", "keys", "none", "do(all)", 0.03, floor=False),
    ("trained on do(all), do(all)", ("oracle",), lambda a: a["mAP do(all)"], 0.8, True),
    _difference("shuffled frames − plain", "shuffled", "none", "do(all)"),
    (
        "false couplings, calibrated θ, ICH over plain",
        ("ICH", "none"),
        lambda a, b: a["false couplings, calibrated"] / b["false couplings, calibrated"],
        NONE,
        True,
    ),
    _difference("ICI − plain", "ICI", "none", "do(I)"),
    _difference("ICH, ICI − ICH", "HI", "ICH", "do(I)"),
    _difference("ICH explained − ICH", "ICH, explained", "ICH", "do(I)"),
    _difference("ICH explained − ICH", "ICH, explained", "ICH", "do(all)"),
    _difference("ICH explained − ICH", "ICH, explained", "ICH", "iid"),
    _difference("ICH explained − ICH", "ICH, explained", "ICH", "do(H)"),
)


def lines(figures: Figures) -> list[str]:
    """A line per bar; those whose networks were not made say so."""
    found = []
    for words, names, value, bar, floor in BARS:
        seeds = sorted(set.intersection(*(set(figures.get(name, {})) for name in names)))
        if not seeds:
            found.append(f"{words:<46} not made")
            continue
        each = [value(*(figures[name][seed] for name in names)) for seed in seeds]
        mean = statistics.fmean(each)
        reached = "yes" if (mean >= bar if floor else mean <= bar) else "NO"
        told = f"{'≥' if floor else '≤'} {bar:5.2f} {reached:<3}" if bar != NONE else f"{'no bar':<11}"
        found.append(f"{words:<46} {mean:7.3f} {told} ({', '.join(f'{one:.3f}' for one in each)})")
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
