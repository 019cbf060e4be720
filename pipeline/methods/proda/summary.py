"""What ``conceptreel summary`` says of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SHOWN = (
    ("headline", "label-free mAP"),
    ("asked", "  asked for in groups"),
    ("single", "  asked for alone"),
    ("presence_lr", "  which objects are there, regression"),
    ("relations_lr", "  how they are related, regression"),
    ("prompt_share", "  part of it that the prompt decides"),
    ("a_t", "  with test labels in the prompts"),
    ("prompt_copy", "  those prompts, copied"),
    ("verbs", "  right verb of a used object"),
    ("edge_auroc", "  edges of an action, AUROC"),
    ("frame_auroc", "  frames of an action, AUROC"),
    ("node_hit", "  object of an action, found first"),
    ("asked_x_s", "  localisation at 25 moments, mAP"),
)


def lines(folder: Path, metrics: dict[str, Any], video: Path | None = None) -> list[str]:
    """Figures of every result split."""
    counts = metrics["videos"]
    found = [f"{metrics['dataset']}: {counts['train']} train, {counts['val']} validation videos"]
    for split, figures in metrics["figures"].items():
        found += ["", f"`{split}`"]
        for name, words in SHOWN:
            if figures.get(name) is not None:
                found.append(f"{words:<40} {figures[name]:.3f}")
    return [*found, "", *(f"warning: {sentence}" for sentence in metrics["warnings"])]
