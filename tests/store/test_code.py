from __future__ import annotations

import pytest

from pipeline.store.code import code_digest, files_of, modules_of


def test_follows_imports_but_not_the_plumbing():
    modules = modules_of("pipeline.motion.motion_concepts")
    assert "pipeline.motion.motion_concepts" in modules
    assert "pipeline.motion.finch" in modules
    assert not any(name.startswith(("pipeline.store", "pipeline.jobs.stage")) for name in modules)
    # Lazy imports inside functions count too: the encoder of `poses` is imported only where it computes.
    assert "pipeline.motion.pose.vitpose" in modules_of("pipeline.motion.poses")
    assert "pipeline.motion.pose.vitpose" not in modules


def test_files_and_digest():
    files = files_of("pipeline.motion.finch")
    assert all(path.endswith(".py") for path in files)
    assert code_digest("pipeline.motion.finch") != code_digest("pipeline.motion.keyframes")
    with pytest.raises(ModuleNotFoundError):
        files_of("pipeline.nowhere")
