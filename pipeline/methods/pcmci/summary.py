"""What ``conceptreel summary`` says of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def lines(folder: Path, metrics: dict[str, Any], video: Path | None = None) -> list[str]:
    """The first figure of every network on every test set, and the false couplings of the last."""
    networks = metrics["networks"]
    sets = list(dict.fromkeys(name for found in networks.values() for name in found))
    found = [f"{metrics['headline']['name']:<18}" + "".join(f"{name:>9}" for name in sets) + f"{'false couplings':>18}"]
    for name, own in networks.items():
        values = "".join(f"{next(iter(own[do].values())):9.3f}" if do in own else " " * 9 for do in sets)
        false = own.get(sets[-1], {}).get("false couplings")
        found.append(f"{name:<18}{values}" + ("" if false is None else f"{false:18.4f}"))
    return [*found, *(f"warning: {sentence}" for sentence in metrics["warnings"])]
