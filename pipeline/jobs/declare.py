"""How a stage is declared: once, next to its code, in ``stages.py`` of its folder.

Rules, the graph of stages, the settings that decide a result, status, staleness, pruning and comparisons follow from
the declaration (`pipeline.rules`). Standard library only: the Snakefile reads all declarations while it is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# A condition on the configuration of one data set.
When = Callable[[Any], bool]

# The longest jobs go first, then what other jobs wait for. What only the last stages read is left for idle cores.
LONGEST, WAITED_FOR, LAST = 10, 1, 0


def always(section: Any) -> bool:
    return True


def value_at(section: Any, path: str) -> Any:
    """The part of a data set's configuration at a dotted path, such as ``motion.poses.model``."""
    for name in path.split("."):
        section = getattr(section, name)
    return section


def computed(path: str) -> When:
    """Condition: the stage with these settings computes its result and does not import it."""
    return lambda section: value_at(section, path).source == "computed"


@dataclass(frozen=True)
class Read:
    """An artifact that a stage opens.

    A stage with shards reads the same shard of an artifact that has shards; a stage without reads all of them.

    Attributes:
        source: ``stage.output``.
        when: where the stage reads it.
        decides: false for a table in which a shard only looks up its videos; `Stage.follows` says when those have
            changed, and a new table alone reruns nothing.
        settings_count: whether it must have been made with today's settings; false where the stage reads nothing in it
            that they change, such as the names of the classes in the index.
        of: wildcard that names the data set to read from, where it is another one.
        when_of: wildcard that names the data set whose configuration ``when`` is asked of.
    """

    source: str
    when: When = always
    decides: bool = True
    settings_count: bool = True
    of: str = "dataset"
    when_of: str = "dataset"

    @property
    def stage(self) -> str:
        return self.source.partition(".")[0]

    @property
    def output(self) -> str:
        return self.source.partition(".")[2]


@dataclass(frozen=True)
class Setting:
    """A part of the configuration that decides a stage's result.

    Attributes:
        path: where it stands below a data set, such as ``motion.keyframes`` or ``data.decode.sampling``.
        key: where the stage finds it; empty for a section whose keys are the stage's own.
        only, without: keys of a section that alone count, or do not.
        when: where it counts.
    """

    path: str
    key: str = ""
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    when: When = always

    def value(self, section: Any) -> dict[str, Any]:
        """What the stage is told, under its key."""
        found = value_at(section, self.path)
        if hasattr(found, "model_dump"):
            chosen = {"include": set(self.only)} if self.only else {"exclude": set(self.without)}
            found = found.model_dump(mode="json", **chosen)
        if not self.key:
            return found
        head, _, rest = self.key.partition(".")
        return {head: {rest: found} if rest else found}

    def path_of(self, key: str) -> str | None:
        """Where a key of the stage's settings stands in the configuration; None if it does not come from here."""
        if not self.key:
            head = key.partition(".")[0]
            return f"{self.path}.{key}" if not self.only or head in self.only else None
        if key == self.key:
            return self.path
        return f"{self.path}.{key.removeprefix(self.key + '.')}" if key.startswith(self.key + ".") else None


@dataclass(frozen=True)
class Cost:
    """What a stage costs, for plans and for the time that its jobs ask for (`pipeline.rules.costs`).

    Attributes:
        unit: what it grows with: every ``video``, every ``frame`` of all, or a video of the ``train`` lists (validation
            is among them).
        encoders: setting that names an encoder → how often its network runs per unit, given the section.
        seconds: of one core per unit beside the networks; None where nobody has measured it.
        kilobytes: that it writes per video, given the section and the frames of a video; None where that is not known.
        alike: keys of its settings that decide its speed: only runs with the same ones tell it.
    """

    unit: Literal["video", "frame", "train"] = "video"
    encoders: Mapping[str, Callable[[Any], float]] = field(default_factory=dict)
    seconds: float | None = None
    kilobytes: Callable[[Any, float], float | None] = lambda section, frames: 0
    alike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One stage: what its rule and everybody who asks about it must know.

    Attributes:
        name: of the rule, of its log, and of the artifact's origin in the provenance; unique.
        module: its code; ``build(job)`` there is called.
        writes: output → file below ``results/<data set>``, with ``{shard}`` or another wildcard.
        reads: input → what it opens, ``stage.output`` or a `Read`.
        settings: what decides its result: the path of its section, or a list of `Setting`.
        when: where it exists.
        per: ``videos`` where the result depends on videos and encoders alone and is kept per data set; ``experiment``
            where labels or splits are read.
        follows: videos whose coming, going or replacement reruns it: of the shard ``all``, those ``developed`` on by
            some experiment, or those of ``train``; of the data set all that are ``listed``, or their ``labels`` and
            splits too; nothing if empty.
        opens_videos: whether it reads the video files.
        looked_up: whether shards look up their videos in what it writes (Snakemake's checkpoint).
        generates: ``module:function`` that names further outputs below ``results/<data set>``, given the section; such
            a stage has a rule per data set.
        files: settings that name files of the user or of the project.
        ships: files of the project beside its code, such as a template; paths from the project.
        checkpoints: settings that name encoders; the weights of local ones are inputs.
        costly: whether a comparison may not make it again, because it takes hours.
        gpu: what of it runs on a GPU besides encoders: a ``network`` that it trains or asks, or a ``search`` of
            neighbours, which takes a faiss for GPUs.
        threads: ``one``, ``all`` cores, those of an ``encoder`` or of ``finetune``.
        memory_mb, minutes: what it asks for at first, more time where its `cost` says so; doubled with every
            resubmission.
        cost: what it costs.
        captions: output → page of the Snakemake report that it goes into.
    """

    name: str
    module: str
    writes: Mapping[str, str]
    reads: Mapping[str, str | Read] = field(default_factory=dict)
    settings: str | tuple[Setting, ...] = ()
    when: When = always
    per: Literal["videos", "experiment"] = "experiment"
    follows: Literal["", "all", "developed", "train", "listed", "labels"] = ""
    opens_videos: bool = False
    looked_up: bool = False
    generates: str = ""
    files: tuple[str, ...] = ()
    ships: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    costly: bool = False
    gpu: Literal["", "network", "search"] = ""
    threads: Literal["one", "all", "encoder", "finetune"] = "one"
    memory_mb: int = 2000
    minutes: int = 30
    cost: Cost = Cost()
    priority: int = LAST
    captions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reads = {name: Read(item) if isinstance(item, str) else item for name, item in self.reads.items()}
        settings = (Setting(self.settings),) if isinstance(self.settings, str) else tuple(self.settings)
        object.__setattr__(self, "reads", reads)
        object.__setattr__(self, "settings", settings)

    @property
    def sharded(self) -> bool:
        return any("{shard}" in path for path in self.writes.values())

    @property
    def log(self) -> str:
        """Path of the log below ``results/<data set>``, with the wildcards of the outputs."""
        path = next(iter(self.writes.values()))
        wildcards = [part.split("}")[0] for part in path.split("{")[1:]]
        return "/".join(["logs", self.name, *(f"{{{name}}}" for name in wildcards)]) + ".log"

    def own_settings(self, section: Any) -> dict[str, Any]:
        """What the configuration says about this stage alone."""
        found: dict[str, Any] = {}
        for setting in self.settings:
            if setting.when(section):
                for key, value in setting.value(section).items():
                    nested = isinstance(value, dict) and isinstance(found.get(key), dict)
                    found[key] = {**found[key], **value} if nested else value
        return found

    def config_key(self, key: str) -> str:
        """Where a key of the stage's settings stands below a data set in the configuration."""
        found = [path for setting in self.settings if (path := setting.path_of(key)) is not None]
        return found[-1] if found else f"{self.name}.{key}"
