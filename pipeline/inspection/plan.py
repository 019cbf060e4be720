"""What Snakemake would run for a target, asked of Snakemake itself: the rules of reruns are its own.

This is a dry run that ends where the jobs are known. Besides the public interface it reads the graph of jobs, which has
none; `tests/workflow/test_stale.py` compares the answer with what ``snakemake -n`` prints.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.inspection.cache import InspectionError, Place
from pipeline.rules.graph import STAGES
from pipeline.store.code import PROJECT

SNAKEFILE = PROJECT / "Snakefile"


@dataclass(frozen=True)
class PlannedJob:
    """One job of the graph that leads to the target.

    Attributes:
        rule: its rule, which is named after the stage (``generate_<data set>`` makes videos).
        settings: what its stage would be told today, with ``upstream``; None for rules without.
        settings_then: what it was told when it ran last, as Snakemake has noted; None if it has not.
        runs: whether Snakemake would run it.
        missing: its outputs that are not there; ``needed`` if Snakemake would run it for them.
        updated: inputs that are newer than its outputs and of another content than they were made from.
        inputs_added, inputs_removed: files that it reads today and did not, or the other way round.
        parameters_changed: its settings or its videos.
        command_changed: the shell command of its rule.
        follows: inputs that other jobs of the plan make again.
    """

    rule: str
    dataset: str
    shard: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[str, Any] | None
    settings_then: dict[str, Any] | None
    runs: bool
    needed: bool = False
    missing: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    inputs_added: tuple[str, ...] = ()
    inputs_removed: tuple[str, ...] = ()
    parameters_changed: bool = False
    command_changed: bool = False
    follows: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        return self.rule.removesuffix(f"_{self.dataset}") if self.rule not in STAGES else self.rule


@dataclass(frozen=True)
class Plan:
    """Jobs in the order in which they would run, and the configuration that Snakemake has read."""

    jobs: list[PlannedJob]
    config: dict[str, Any]


@contextlib.contextmanager
def _told_in_one_line(target: str) -> Iterator[None]:
    """Snakemake prints what it does and what is wrong; only the latter matters here, and once."""
    from snakemake.exceptions import RuleException, WorkflowError

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield
    except (RuleException, WorkflowError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InspectionError(f"Snakemake cannot plan {target}: {' '.join(lines) or type(error).__name__}") from None


def _settings_in(parameters: Iterable[str]) -> dict[str, Any] | None:
    """The settings among the parameters of a job, which Snakemake notes as Python literals without their names."""
    for text in parameters:
        with contextlib.suppress(ValueError, SyntaxError, TypeError):
            value = json.loads(ast.literal_eval(text))
            if isinstance(value, dict):
                return value
    return None


def _made_for(rule: str) -> str:
    """Data set of a rule without wildcards, which is named after its stage and that."""
    return next((rule.removeprefix(f"{name}_") for name in STAGES if rule.startswith(f"{name}_")), "")


def _planned(workflow: Any, job: Any) -> PlannedJob:
    dag = workflow.dag
    reason = dag.reason(job)
    recorded = {str(path) for output in job.output for path in workflow.persistence.input(output) or ()}
    inputs = {str(path) for path in job.input}
    changed = bool(recorded) and bool(reason.input_changed)
    settings = getattr(job.params, "settings", None)
    noted = (_settings_in(workflow.persistence.params(output) or ()) for output in job.output)
    return PlannedJob(
        rule=job.rule.name,
        dataset=getattr(job.wildcards, "dataset", _made_for(job.rule.name)),
        shard=getattr(job.wildcards, "shard", ""),
        inputs=tuple(map(str, job.input)),
        outputs=tuple(map(str, job.output)),
        settings=json.loads(settings) if isinstance(settings, str) else None,
        settings_then=next(filter(None, noted), None),
        runs=dag.needrun(job),
        # Snakemake does not look further once a job runs for another reason; what was asked for is needed all the same.
        needed=bool(reason.missing_output) or (dag.needrun(job) and job in dag.targetjobs),
        missing=tuple(str(path) for path in job.output if not Path(path).exists()),
        updated=tuple(sorted(map(str, reason.updated_input))),
        inputs_added=tuple(sorted(inputs - recorded)) if changed else (),
        inputs_removed=tuple(sorted(recorded - inputs)) if changed else (),
        parameters_changed=bool(reason.params_changed),
        command_changed=bool(reason.code_changed),
        follows=tuple(sorted(map(str, reason.updated_input_run))),
    )


def plan(place: Place, config: Path | None = None, values: dict[str, Any] | None = None) -> Plan:
    """Ask Snakemake what it would run to make a target.

    Args:
        config: configuration file, ``config.yaml`` of the run folder by default.
        values: what would be given to ``snakemake --config``.

    Raises:
        InspectionError: Snakemake cannot make a plan; says why.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

    if not SNAKEFILE.is_file():
        raise InspectionError(
            f"{SNAKEFILE} does not exist: the workflow belongs to the project folder, install with -e"
        )
    output = OutputSettings(dryrun=True, nocolor=True, quiet={Quietness.ALL})
    configured = ConfigSettings(config=values or {}, configfiles=[config.absolute()] if config else [])
    with _told_in_one_line(place.target), SnakemakeApi(output) as api:
        workflow_api = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=configured,
            snakefile=SNAKEFILE,
            workdir=place.run_folder,
        )
        workflow_api.dag(dag_settings=DAGSettings(targets={place.target})).summary()
        workflow = workflow_api._workflow
        jobs = [
            job
            for level in workflow.dag.toposorted()
            for job in sorted((_planned(workflow, job) for job in level), key=lambda job: (job.rule, job.shard))
        ]
        return Plan(jobs, dict(workflow.globals["config"]))
