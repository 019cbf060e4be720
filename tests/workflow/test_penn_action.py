"""Penn Action from published artifacts, where they are at hand."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "bar"),
    [
        ("penn_action", 0.975),
        pytest.param("penn_action_published_labels", 0.977, marks=pytest.mark.long),
    ],
)
def test_accuracy_with_everything_chosen_on_validation(real_data, tmp_path, project, make_workspace, name, bar):
    workspace = make_workspace(tmp_path)
    (tmp_path / "config.yaml").write_text((project / "config.yaml").read_text())
    workspace.snakemake(f"results/{name}/model.pt", "--config", f"data_root={real_data}")
    metrics = workspace.metrics(name)
    assert (metrics["n_train"] + metrics["n_val"], metrics["n_test"]) == (1256, 1067)
    assert metrics["top1"] >= bar
    assert metrics["relative_duality_gap"] <= 1e-6
