import functools
import json
import logging
import os
import shlex
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline.jobs import restart
from pipeline.config import dataset as section_named, validate
from pipeline.jobs.runtime import RUNTIME_VARIABLE
from pipeline.settings import ConfigError
from pipeline.data.entries import DEVELOPMENT, ListError, by_shard, members_digest
from pipeline.data.lists import read_entries
from pipeline.rules.stages import (
    collects_candidates,
    has_maps,
    has_motion,
    has_views,
    imports,
    reads,
    settings_json,
    shards,
)
from pipeline.store.code import files_of

logger = logging.getLogger("conceptreel")


def stop(error):
    """One line for the person who must act; a stack trace of the workflow would hide it.

    It is printed too, because Snakemake leaves it out of what it says about a failed input function.
    """
    print(error, file=sys.stderr)
    raise WorkflowError(str(error)) from None


try:
    CONFIG = validate(config)
except ConfigError as error:
    stop(error)

ENVIRONMENT = "../../envs/conceptreel.yaml"

# A dry run changes nothing, and the jobs of a run belong to its driver. The name keeps the lock for the driver's life.
if workflow.is_main_process and not workflow.output_settings.dryrun:
    try:
        DRIVER = restart.begin(Path.cwd())
    except restart.ReadOnlyError as error:
        stop(error)

# Snakemake has imported every plugin that is installed, whichever of them will run the jobs.
if workflow.is_main_process and "snakemake_executor_plugin_slurm" in sys.modules:
    from pipeline.jobs import cluster

    cluster.repair(sys.modules["snakemake_executor_plugin_slurm"])


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    shard="[0-9]+-of-[0-9]+",
    kind="[a-z-]+",
    trained="|".join(CONFIG.datasets),


def section(wildcards):
    try:
        return section_named(CONFIG, wildcards.dataset)
    except ConfigError as error:
        stop(error)


def is_generated(name):
    return CONFIG.datasets[name].data.index.source == "generated"


def root_of(name):
    """Folder of a data set's videos and lists, absolute, because stages may be started from anywhere."""
    if is_generated(name):
        return os.path.abspath(f"results/{name}/demo")
    return os.path.abspath(os.path.join(CONFIG.data_root, CONFIG.datasets[name].data.root))


# Shell jobs run in --directory and know nothing of this file but what is exported here. None of it changes a result,
# so it is kept out of the rules' parameters.
def braces_doubled(text):
    """Snakemake formats shell commands; what is meant literally needs its braces twice."""
    return text.replace("{", "{{").replace("}", "}}")


RUNTIME = {**CONFIG.runtime.model_dump(mode="json"), "roots": {name: root_of(name) for name in CONFIG.datasets}}
shell.prefix(
    f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH PYTHONPATH={shlex.quote(workflow.basedir)}:$PYTHONPATH"
    f" {RUNTIME_VARIABLE}={braces_doubled(shlex.quote(json.dumps(RUNTIME)))}; "
)


def settings(stage):
    """The single parameter of a rule that decides its result; see the cache rules in docs/cache.md."""
    of_data_set = functools.cache(lambda name: settings_json(CONFIG, name, stage))
    return lambda wildcards: of_data_set(wildcards.dataset)


def code(module):
    """Source files of a stage: Snakemake does not see imported code by itself."""
    return [os.path.relpath(path) for path in files_of(module)]


# The longest jobs go first, then what the concept layers wait for. What only the last stages read is left for the cores
# that are idle while concept layers are trained.
LONGEST, WAITED_FOR = 10, 1

ENTRIES = {}


def entries(name):
    """Videos of a data set with labels and splits, read once while the workflow is parsed."""
    if name not in ENTRIES:
        section = CONFIG.datasets[name]
        try:
            if is_generated(name):
                from pipeline.data.sets.generated import planned_entries

                ENTRIES[name] = planned_entries(section.demo.generate)
            else:
                ENTRIES[name] = read_entries(section.data.index, root_of(name))
        except ListError as error:
            if os.path.isdir(root_of(name)):
                stop(error)
            # Without the data a dry run still shows the plan; the rule `index` then says what is missing.
            logger.warning(f"{name}: {error}")
            ENTRIES[name] = []
    return ENTRIES[name]


def position_of(wildcards):
    """Number of the shard that a path names."""
    known = shards(section(wildcards))
    if wildcards.shard not in known:
        stop(
            f"{wildcards.dataset} has no shard {wildcards.shard}; with data.shards: {len(known)} they end with {known[-1]}"
        )
    return known.index(wildcards.shard)


@functools.cache
def shard_digests(name, splits=None):
    """Digests of the videos of every shard. Each stage asks, and a large data set takes seconds to go through."""
    parts = by_shard(entries(name), CONFIG.datasets[name].data.shards)
    if splits:
        return [members_digest([entry for entry in part if entry.split in splits], None) for part in parts]
    root = None if is_generated(name) else root_of(name)  # there the videos are inputs
    return [members_digest(part, root) for part in parts]


def members(wildcards):
    """Digest of the videos in one shard: a video that is added, replaced or removed reruns this shard alone."""
    part = position_of(wildcards)
    return shard_digests(wildcards.dataset)[part]


def learned_from(wildcards):
    """Digest of the videos in one shard that are of train or validation."""
    part = position_of(wildcards)
    return shard_digests(wildcards.dataset, DEVELOPMENT)[part]


def trained_on(wildcards):
    """Digest of the train videos in one shard."""
    part = position_of(wildcards)
    return shard_digests(wildcards.dataset, ("train",))[part]


def all_members(wildcards):
    """Digest of everything that the index says: ids, labels, splits."""
    return members_digest(entries(wildcards.dataset), None, with_labels=True)


def index_of(wildcards):
    """The index as input of a shard, to be wrapped in ``ancient``: a new index alone reruns no shard.

    The index is a checkpoint because Snakemake looks for changed parameters only in jobs that do not wait for another
    job; after a checkpoint it looks again, so that the shard of an added video reruns in the same invocation.
    """
    return checkpoints.index.get(dataset=wildcards.dataset).output[0]


def videos_of_shard(wildcards):
    """Videos that a rule makes; those on a user's disk are tracked through `members`, one stat each."""
    if not is_generated(wildcards.dataset):
        return []
    part = position_of(wildcards)
    return [
        f"results/{wildcards.dataset}/demo/{entry.path}"
        for entry in entries(wildcards.dataset)
        if entry.in_shard(part, section(wildcards).data.shards)
    ]


def over_shards(pattern):
    """Input function: the given artifact of every shard."""
    return lambda wildcards: expand(pattern, dataset=wildcards.dataset, shard=shards(section(wildcards)))


def unless_imported(stage, pattern):
    """Input function: an artifact that a stage reads only where it computes its result itself."""
    return lambda wildcards: [] if imports(section(wildcards), stage) else pattern.format(**wildcards)


def with_maps(pattern):
    """Input function: an artifact of every shard, where some model kind locates its concepts."""
    return lambda wildcards: over_shards(pattern)(wildcards) if has_maps(section(wildcards)) else []


def with_views(pattern):
    """Input function: an artifact of every shard, where fine-tuning draws its clips anew in every epoch."""
    return lambda wildcards: over_shards(pattern)(wildcards) if has_views(section(wildcards)) else []


def with_motion(pattern):
    """Input function: an artifact that is needed where some model kind has motion concepts."""
    return lambda wildcards: pattern.format(**wildcards) if has_motion(section(wildcards)) else []


def with_tuning(pattern):
    """Input function: what fine-tuning makes, where it is enabled."""
    return lambda wildcards: pattern.format(**wildcards) if section(wildcards).backbone.finetune.enabled else []


def with_candidates(pattern):
    """Input function: the collected candidates, where texts are computed and not from plain text files."""

    def files(wildcards):
        own = section(wildcards)
        return pattern.format(**wildcards) if collects_candidates(own) and not imports(own, "texts") else []

    return files


def for_baselines(prefix, pattern):
    """Input function: an artifact that is needed where some baseline's name begins so."""

    def files(wildcards):
        kinds = section(wildcards).bottleneck.baselines.kinds
        return pattern.format(**wildcards) if any(kind.startswith(prefix) for kind in kinds) else []

    return files


def with_motion_shards(pattern):
    """Input function: an artifact of every shard, where some model kind has motion concepts."""
    return lambda wildcards: over_shards(pattern)(wildcards) if has_motion(section(wildcards)) else []


def in_report(name, pattern):
    """Input function: the artifact of a stage that only some reports have."""
    return lambda wildcards: pattern.format(**wildcards) if name in reads(section(wildcards), "report") else []


def clips_unless_imported(wildcards):
    """All clips of a data set, for pictures; none where the features come from elsewhere."""
    if imports(section(wildcards), "features"):
        return []
    return over_shards("results/{dataset}/data/clips/{shard}.zarr.zip")(wildcards)


def under_root(stage_settings, *keys):
    """Input function: files named in the configuration, below the root of the data set or shipped with the project."""

    def files(wildcards):
        value = stage_settings(section(wildcards))
        found = []
        for key in keys:
            named = getattr(value, key)
            paths = list(named.values()) if isinstance(named, dict) else [named]
            for path in sum(([path] if isinstance(path, str) else path for path in paths), []):
                places = [os.path.join(root_of(wildcards.dataset), path), os.path.join(workflow.basedir, path)]
                # A missing file is told by the stage, which knows what it is for.
                found += [os.path.relpath(place) for place in places if path and os.path.isfile(place)][:1]
        return found

    return files


def checkpoint(stage_settings, *keys):
    """Input function: the weights of encoders where they are local folders; a hub id is pinned by its revision."""

    def files(wildcards):
        value = stage_settings(section(wildcards))
        folders = [Path(workflow.basedir, getattr(value, key)) for key in keys or ("model",)]
        found = (path for folder in folders for path in folder.glob("*") if path.suffix in (".json", ".safetensors"))
        return sorted(os.path.relpath(path) for path in found)

    return files


# On a cluster every job has a machine's part to itself; both the driver and the jobs must see that they are on one,
# because both work out the threads of a job.
ON_CLUSTER = workflow.remote_exec or workflow.resource_settings.nodes is not None

# A job's log compares what it used with what was asked for; see `conceptreel status`.
ASKED = "--mem-mb {resources.mem_mb} --minutes {resources.runtime}"


def doubling(first):
    """Resource that doubles with every resubmission: what was too little once is not asked for again."""
    return lambda wildcards, attempt: first * 2 ** (attempt - 1)


def gpus():
    """GPUs of an encoder's job. ``auto`` asks for none: the driver cannot know what the nodes have."""
    return int(ON_CLUSTER and CONFIG.runtime.device.startswith("cuda"))


def encoder_threads():
    """One encoder job at a time where a GPU is shared by all of them, as many as there are cores elsewhere."""
    if ON_CLUSTER:
        return 4 if gpus() else 1
    has_gpu = CONFIG.runtime.device.startswith("cuda") or (
        CONFIG.runtime.device == "auto" and shutil.which("nvidia-smi") is not None
    )
    return workflow.cores or 1 if has_gpu else 1


def finetune_threads():
    """A process of fine-tuning with a GPU prepares little; without one it takes the whole machine."""
    return 4 * CONFIG.runtime.finetune_processes if gpus() else workflow.cores


def stage(module, arguments):
    """Shell command of a stage: what every stage is told, and its own inputs and outputs."""
    return (
        f"python -m {module} --dataset {{wildcards.dataset}} --settings {{params.settings:q}}"
        f" --threads {{threads}} {ASKED} --log {{log:q}} {arguments}"
    )
