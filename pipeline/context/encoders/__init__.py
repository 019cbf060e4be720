"""Dual encoders by the architecture that a checkpoint's config.json names; see `docs/encoders.md`."""

from __future__ import annotations

from pipeline.context.encoders.base import DualEncoder
from pipeline.context.encoders.clip import CLIP
from pipeline.context.encoders.lavila import LaViLa
from pipeline.context.encoders.viclip import ViCLIP
from pipeline.context.encoders.videoprism import VideoPrism
from pipeline.context.encoders.xclip import XCLIP
from pipeline.encoding.checkpoints import check_kind
from pipeline.jobs.runtime import AUTO, Runtime

__all__ = ["KINDS", "DualEncoder", "load_dual_encoder"]

# Architecture as config.json names it → adapter.
KINDS: dict[str, type[DualEncoder]] = {
    "clip": CLIP,
    "xclip": XCLIP,
    "viclip": ViCLIP,
    "videoprism": VideoPrism,
    "lavila": LaViLa,
}


def load_dual_encoder(name: str, revision: str = "main", sha256: str = "", runtime: Runtime = AUTO) -> DualEncoder:
    """A dual encoder from a hub id or a folder.

    Args:
        sha256: digest that the weights must have; empty for any.

    Raises:
        StageError: it cannot be loaded, or its architecture is none of those that are known here.
    """
    return KINDS[check_kind(name, revision, "dual encoders", KINDS)](name, revision, sha256, runtime)
