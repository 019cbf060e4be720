"""Stage `pcmci_train`: the configured network and its controls, trained and asked on the structural causal model."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa

from pipeline.jobs import stage
from pipeline.methods.pcmci.controls import OWN
from pipeline.methods.pcmci.rows import read_rows
from pipeline.methods.pcmci.settings import PCMCI
from pipeline.methods.pcmci.trials import baselines, figures, trained


def build(job: stage.Job) -> None:
    """Write the weights of the configured network, and the figures of all."""
    stage.limit_threads(0)
    settings = PCMCI.model_validate(job.settings)
    rows, names = read_rows(job, settings.world)
    found = baselines(settings.world, rows)
    curves = {}
    for control in (OWN, *settings.controls):
        try:
            network, curve = trained(settings, control, rows)
        except ValueError as error:
            raise stage.StageError(f"PCMCI ({control}) cannot be trained: {error}") from None
        found += figures(network, control, settings.world, rows)
        curves[control] = vars(curve)
        if control == OWN:
            own = {name: value.detach().numpy().reshape(-1) for name, value in network.state_dict().items()}
    columns = {key: [asdict(figure)[key] for figure in found] for key in ("network", "do", "figure", "value")}
    columns["seed"] = [settings.world.seed] * len(found)
    content = {"class_names": names, "settings": settings.model_dump(mode="json"), "curves": curves}
    job.write_arrays("network", own, content, n_ok=len(rows["train"][0]))
    job.write_table("evaluation", pa.table(columns))


if __name__ == "__main__":
    stage.run("pcmci_train", build)
