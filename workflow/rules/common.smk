import functools
import json
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline.config import opened
from pipeline.jobs import messages, restart
from pipeline.jobs.runtime import RUNTIME_VARIABLE
from pipeline.methods.registry import METHODS
from pipeline.rules import asked, times
from pipeline.rules.current import of_earlier_releases
from pipeline.rules.graph import STAGES, settings_json
from pipeline.rules.snakemake import Rules
from pipeline.settings import ConfigError

# On a cluster every job has a machine's part to itself; both the driver and the jobs must see that they are on one,
# because both work out the threads of a job.
ON_CLUSTER = bool(workflow.remote_exec or workflow.resource_settings.nodes is not None)
QUIET = bool(workflow.output_settings.quiet) and not workflow.output_settings.dryrun
MESSAGES = messages.ShortMessages(ON_CLUSTER, QUIET)
logger.addFilter(MESSAGES)


def stop(error):
    """One line for the person who must act; what Snakemake adds to it, and a stack trace, would hide it."""
    if str(error) not in MESSAGES.said:
        print(error, file=sys.stderr)
    MESSAGES.said.add(str(error))
    raise WorkflowError(str(error)) from None


try:
    CONFIG = opened(config)
except ConfigError as error:
    stop(error)

# A mistake in a section that nobody asks for stops nothing; asked for, it ends the run.
if workflow.is_main_process:
    for mistake in CONFIG.datasets.broken().values():
        print(f"warning: {mistake}", file=sys.stderr)

# A dry run changes nothing, and the jobs of a run belong to its driver. The name keeps the lock for the driver's life.
if workflow.is_main_process and not workflow.output_settings.dryrun:
    try:
        DRIVER = restart.begin(Path.cwd())
    except restart.ReadOnlyError as error:
        stop(error)

# Copying a project changes times and no content; nothing is to be made again for that.
if workflow.is_main_process:
    for name in CONFIG.datasets.sound():
        if Path("results", name).is_dir():
            try:
                copied = times.settle(CONFIG.datasets[name], Path("results"), workflow.output_settings.dryrun)
            except ConfigError:  # in a file of its own; said where the data set is asked for
                continue
            if copied:
                print(copied, file=sys.stderr)

if workflow.is_main_process:
    for name in of_earlier_releases(Path("results")):
        print(
            f"results/{name} was made by an earlier release and will be made anew, poses and features too; to keep it, move "
            f"it away, or go on with the release that made it (its `model.pt` opens in both)",
            file=sys.stderr,
        )

# Snakemake has imported every plugin that is installed, whichever of them will run the jobs.
if workflow.is_main_process and "snakemake_executor_plugin_slurm" in sys.modules:
    from pipeline.jobs import cluster

    cluster.repair(
        sys.modules["snakemake_executor_plugin_slurm"], arrays=os.environ.get(cluster.ARRAYS_VARIABLE) == "1"
    )


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    shard="[0-9]+-of-[0-9]+",
    kind="[a-z-]+",
    trained="|".join(CONFIG.datasets),


# Shell jobs run in --directory and know nothing of this file but what is exported here. None of it changes a result,
# so it is kept out of the rules' parameters.
def braces_doubled(text):
    """Snakemake formats shell commands; what is meant literally needs its braces twice."""
    return text.replace("{", "{{").replace("}", "}}")


try:
    PLACES = {
        "roots": {name: CONFIG.root_of(name) for name in CONFIG.datasets.sound()},
        "videos_of": {
            name: CONFIG.datasets[name].dataset for name in CONFIG.datasets.sound() if CONFIG.datasets[name].dataset
        },
    }
except ConfigError as error:
    stop(error)
RUNTIME = {**CONFIG.runtime.model_dump(mode="json"), **PLACES}
if ON_CLUSTER and RUNTIME["device"] == "auto":
    # Jobs of encoders have asked for a GPU; where torch finds none, a processor would not end in the time that they have.
    RUNTIME["device"] = "cuda"
shell.prefix(
    braces_doubled(
        f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH"
        f" PYTHONPATH={shlex.quote(workflow.basedir)}:$PYTHONPATH"
        f" {RUNTIME_VARIABLE}={shlex.quote(json.dumps(RUNTIME))}; "
    )
)


# As long as a rule is asked about, its data set is; `conceptreel prune` then knows that somebody wants it.
@functools.cache
def noted(name):
    if workflow.is_main_process and not workflow.output_settings.dryrun:
        given = workflow.config_settings
        asked.note(Path.cwd(), name, config, given.configfiles, given.config)


RULES = Rules(
    CONFIG,
    workflow.basedir,
    workflow.cores,
    on_cluster=ON_CLUSTER,
    needs_videos=workflow.is_main_process and not workflow.output_settings.dryrun,
    checkpoints=checkpoints,
    ancient=ancient,
    stop=stop,
    note=noted,
)
