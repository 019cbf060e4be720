"""Lines of ``conceptreel summary`` about a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def lines(folder: Path, metrics: dict[str, Any], video: Path | None) -> list[str]:
    """Figures of every model, gains of disentanglement, and the bars."""
    found = [f"{'coarse classes, top-1 in %':<34}   known unknown   D_abs   D_rel      HM  runs"]
    for name, own in metrics["models"].items():
        values = " ".join(f"{own[key]:7.1f}" for key in ("known", "unknown", "d_abs", "d_rel", "hm"))
        found.append(f"{name:<34} {values}  {own['runs']:4d}")
    for name, own in metrics["disentanglement"].items():
        test = f"over {own['pairs']} pairs, p {own['p']:.2f}"
        found.append(f"disentangled, {name}: HM {own['gain']:+.1f} ± {own['std']:.1f} {test}")
    for name, own in metrics["bars"].items():
        found.append(f"{'reached' if own['reached'] else 'MISSED ':<8} {name}: {own['value']:.2f}")
    return found
