"""What a job may load before it begins: most jobs of a small run are shorter than an import of torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = frozenset({"torch", "transformers", "matplotlib", "scipy", "faiss", "plotly", "sklearn", "pandas"})
# Of `HEAVY`, what these modules may load. Stages that are missing here encode or train, and need torch from the first.
ALLOWED = {
    (): (
        "jobs.stage",
        "store.inspect",
        "encoding.checkpoints",
        "data.index",
        "data.decode",
        "data.views",
        "data.synthesise",
        "demo.generate",
        "motion.poses",
        "motion.keyframes",
        "motion.pose_clips",
        "motion.sheet",
        "motion.tracks",
        "context.candidates",
        "context.texts",
        "context.concepts",
        "context.dual_encoder",
        "backbone.features",
        "methods.dance.truth.evaluate",
    ),
    ("scipy",): (
        "methods.dance.bottleneck.classifier",
        "methods.dance.bottleneck.model",
        "methods.dance.bottleneck.named",
        "methods.dance.bottleneck.baseline_model",
        "methods.dance.explain.pictures",
        "methods.dance.explain.sanity",
        "methods.dance.truth.faithfulness",
    ),
    ("faiss", "scipy"): ("motion.motion_concepts",),
    ("plotly", "scipy"): ("methods.dance.explain.report",),
    ("torch", "transformers"): (
        "backbone.maps",
        "backbone.finetune",
        "context.prompts",
        "context.sentences",
        "motion.pose.estimate",
    ),
}
COMMANDS = (
    "ablations",
    "data",
    "encoding",
    "inspection",
    *(f"methods.dance.{part}" for part in ("bottleneck", "exchange", "explain")),
    "methods.transfer",
)


def loaded(*modules: str) -> set[str]:
    """All modules that a fresh interpreter has after these imports."""
    code = f"import sys, {', '.join(f'pipeline.{name}' for name in modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda names: "+".join(names) or "none")
def test_a_job_loads_no_library_that_it_does_not_need(allowed):
    assert loaded(*ALLOWED[allowed]) & HEAVY <= set(allowed)


def test_help_loads_neither_arrays_nor_the_models_of_the_configuration():
    found = loaded(*(f"{name}.commands" for name in COMMANDS), "context.convert")
    assert not found & (HEAVY | {"numpy", "pyarrow", "zarr", "cv2", "pipeline.config"})
