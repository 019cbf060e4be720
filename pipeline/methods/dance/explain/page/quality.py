"""Quality control of poses and concept layers: figures, and their charts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pipeline.jobs.stage import Job
from pipeline.methods.dance.explain.page import charts
from pipeline.methods.dance.explain.palette import TYPE_COLOURS


def pose_quality(job: Job) -> tuple[dict[str, Any], dict[str, go.Figure]]:
    """Confidence, gaps, dropped key clips and failed videos.

    Returns:
        figures, and the charts ``confidence``, ``missing``.
    """
    confidence, missing, filled = [], [], []
    failed: dict[str, str] = {}
    for arrays, about in job.read_arrays("poses"):
        failed |= {item["video_id"]: item["reason"] for item in about["failed"]}
        for start, end in zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True):
            present, interpolated = arrays["present"][start:end], arrays["interpolated"][start:end]
            seen = present & ~interpolated
            confidence.append(float(arrays["confidence"][start:end][seen].mean()) if seen.any() else 0.0)
            missing.append(float(1 - present.mean()))
            filled.append(float(interpolated.mean()))
    kept = total = 0
    reasons: Counter[str] = Counter()
    without: dict[str, str] = {}
    for arrays, about in job.read_arrays("pose_clips"):
        kept += int(arrays["kept"].sum())
        total += len(arrays["kept"])
        reasons.update(reason for reason in about["reason"] if reason)
        without |= {item["video_id"]: item["reason"] for item in about["failed"] if item["video_id"] not in failed}
    figures = {
        "videos": len(confidence),
        "confidence": float(np.mean(confidence)) if confidence else float("nan"),
        "missing": float(np.mean(missing)) if missing else float("nan"),
        "filled": float(np.mean(filled)) if filled else float("nan"),
        "clips_kept": kept,
        "clips": total,
        "reasons": reasons.most_common(),
        "failed": sorted(failed.items()),
        "without": sorted(without.items()),
    }
    return figures, {
        "confidence": charts.histogram(np.array(confidence), "mean keypoint confidence of a video"),
        "missing": charts.histogram(np.array(missing), "part of the frames without a person"),
    }


def layer_charts(rows: list[dict]) -> dict[str, go.Figure]:
    """One chart per layer and type: validation quality of every concept that was kept or failed this last filter."""
    result = {}
    for layer in ("global", "map"):
        for kind, colour in TYPE_COLOURS.items():
            own = [row for row in rows if row["layer"] == layer and row["type"] == kind and np.isfinite(row["quality"])]
            own.sort(key=lambda row: -row["quality"])
            if own:
                result[f"quality-{layer}-{kind}"] = charts.bars(
                    [row["name"] for row in own],
                    [row["quality"] for row in own],
                    f"{kind}: validation quality" + (", mean over places" if layer == "map" else ""),
                    [colour if row["kept"] else "#cbd2d9" for row in own],
                )
    return result
