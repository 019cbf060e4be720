"""What ``conceptreel summary`` says of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.methods.pcmci.world import INTERVENTIONS


def lines(folder: Path, metrics: dict[str, Any], video: Path | None = None) -> list[str]:
    """mAP of every network on every test set; the false couplings it makes where everything was intervened upon."""
    found = [f"{'mAP':<18}" + "".join(f"{do:>9}" for do in INTERVENTIONS) + f"{'false couplings':>18}"]
    for name, sets in metrics["networks"].items():
        values = "".join(f"{sets[do]['mAP']:9.3f}" for do in INTERVENTIONS)
        false = sets["do(all)"].get("false couplings")
        found.append(f"{name:<18}{values}" + ("" if false is None else f"{false:18.4f}"))
    return found
