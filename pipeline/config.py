"""The whole configuration: a section for every floor and every method, below each data set, and what a run is told.

The models of the sections stand beside the code that they are for (``pipeline/<floor>/settings.py``).
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import reprlib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from pipeline.backbone.settings import Backbone
from pipeline.context.settings import Context
from pipeline.data.settings import Data, Expects, Index
from pipeline.demo.settings import Demo
from pipeline.graphs.settings import Graphs
from pipeline.methods.registry import METHODS
from pipeline.motion.settings import Motion
from pipeline.settings import ConfigError, Section

# One file per published set, with the experiments that are usual on it.
PUBLISHED = Path(__file__).parent / "data" / "sets"
# Settings that go together, for own videos.
PROFILES = Path(__file__).parent / "data" / "profiles.yaml"
# The one in C reads the published sets in a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Floors(Section):
    """What every data set or experiment has, whichever methods are there."""

    dataset: str = Field(
        "",
        description="makes this an experiment on the videos of that data set: other splits, labels or settings. What "
        "it does not say is as there; what depends on videos and encoders alone is made once, in that set's folder",
    )
    profile: Literal["", "small", "published"] = Field(
        "",
        description="settings that go together, below what the section says itself (pipeline/data/profiles.yaml). "
        "small: encoders of `conceptreel fetch small`, for machines without a GPU; published: those of the papers",
    )
    expects: Expects = Expects()
    data: Data = Data()
    motion: Motion = Motion()
    context: Context = Context()
    backbone: Backbone = Backbone()
    graphs: Graphs = Graphs()
    demo: Demo = Demo()
    ablations: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="more variants for `conceptreel ablate`: table → variant → settings that differ, as dotted keys",
    )
    # Filled in where the section is looked up: its name, the section of its data set if it is an experiment, and the
    # settings of the `data.index` of all experiments on its videos by name, its own first.
    _name: str = pydantic.PrivateAttr("")
    _base: Any = pydantic.PrivateAttr(None)
    _experiments: dict[str, dict[str, Any]] = pydantic.PrivateAttr(default_factory=dict)
    # Of its results; what stages have read of a person's own files there, by their names.
    _folder: Path = pydantic.PrivateAttr(Path("results"))
    _own_files: dict[str, Any] = pydantic.PrivateAttr(default_factory=dict)
    # Digests of the settings of stages, see `pipeline.rules.graph`.
    _digests: dict[str, str] = pydantic.PrivateAttr(default_factory=dict)

    def model_copy(self, **options: Any) -> _Floors:
        """A copy, whose digests are worked out anew."""
        result = super().model_copy(**options)
        result._digests = {}
        return result

    @property
    def name(self) -> str:
        """Of its folder below ``results``."""
        return self._name

    def own_file(self, name: str, read: Callable[[Path], Any]) -> Any:
        """What a person's file in ``results/<data set>`` says, read once; ``read`` knows what an absent one means."""
        if name not in self._own_files:
            self._own_files[name] = read(self._folder / name)
        return self._own_files[name]

    @property
    def base(self) -> _Floors | None:
        """The data set that an experiment is on; None for a data set."""
        return self._base

    @property
    def experiments(self) -> dict[str, dict[str, Any]]:
        return self._experiments or {self.name: self.data.index.model_dump(mode="json")}

    @pydantic.model_validator(mode="after")
    def _methods_agree(self):
        for method in METHODS.values():
            method.check(self)
        return self


# A method adds its sections beside the floors.
Dataset = pydantic.create_model(
    "Dataset",
    __base__=_Floors,
    __module__=__name__,
    **{name: (model, model()) for method in METHODS.values() for name, model in method.sections.items()},
)


class DecoderLimits(Section):
    seconds: float = Field(600, gt=0, description="longer than this in the decoder and a video is marked too_slow")
    memory_mb: int = Field(3000, ge=500, description="more than this in the decoder and a video is marked too_large")


class Runtime(Section):
    """What changes speed or place, never a result: of a good video, that is; the limits are there for broken ones."""

    device: str = Field(
        "auto",
        description="auto, cpu, cuda or cuda:0; on a cluster auto is cuda, and jobs of encoders ask for a GPU each",
    )
    batch_size: dict[Literal["poses", "features", "dual_encoder", "prompts", "finetune"], pydantic.PositiveInt] = Field(
        default_factory=dict,
        description="rows that an encoder is given at once, by role; what is not named: 64 crops, on a GPU 256; 4 "
        "clips or 32; 64 pictures of clips or 512; 49 prompts or 392; 10 clips of fine-tuning",
    )
    finetune_processes: int = Field(1, ge=1, description="of fine-tuning, one per GPU; several start with torchrun")
    mmpose: str = Field(
        "", description="Python of an environment that has MMPose, for checkpoints of it (docs/packages.md)"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of encoders: auto is bfloat16 on GPUs that have it, float32 elsewhere; processors that multiply "
        "bfloat16 faster (`amx_bf16`) gain by naming it",
    )
    decoder: DecoderLimits = DecoderLimits()


def _model_at(location: tuple, model: type[pydantic.BaseModel]) -> type[pydantic.BaseModel] | None:
    """The section that a pydantic error location points into, or None where it leaves the tree of sections."""
    for step in location:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        kinds = (field.annotation, *typing.get_args(field.annotation)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)), None)
        if model is None:
            return None
    return model


def checked(model: type[Section], raw: Any, source: str, place: tuple[str, ...] = ()) -> Any:
    """A raw section as its model.

    Args:
        place: where the section stands in the file.

    Raises:
        ConfigError: with one line per mistake; an unknown key comes with the nearest known one.
    """
    try:
        return model.model_validate(raw)
    except pydantic.ValidationError as error:
        lines = []
        for problem in error.errors():
            location = problem["loc"]
            key = ".".join(map(str, (*place, *location)))
            if problem["type"] == "extra_forbidden":
                section = _model_at(location[:-1], model)
                known = sorted(section.model_fields) if section else []
                close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
                hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
                lines.append(f"unknown key `{key}`; {hint}")
            else:
                given = f" (given: {reprlib.repr(problem['input'])})" if problem["type"] != "missing" else ""
                lines.append(f"`{key}`: {problem['msg']}{given}")
        raise ConfigError(f"{source}:\n  " + "\n  ".join(lines)) from None


# ------------------------------------------------------------------------------------------------- sections by name


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A section with another one's keys over its own, at every depth; everything but mappings is replaced."""
    both = {**base, **over}
    for key in base.keys() & over.keys():
        if isinstance(base[key], dict) and isinstance(over[key], dict):
            both[key] = merged(base[key], over[key])
    return both


@functools.cache
def published() -> dict[str, dict[str, Any]]:
    """Sections of the published data sets and of the demo, as their files have them."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(PUBLISHED.glob("*.yaml")):
        found.update(_parsed(path))
    return found


@functools.cache
def profiles() -> dict[str, dict[str, Any]]:
    """Settings that go together, by the name of their profile."""
    return _parsed(PROFILES)


class Datasets(Mapping[str, Dataset]):
    """Sections by name: those of the configuration and the published ones, each checked when it is asked for.

    Raises:
        ConfigError: when a section that does not fit is asked for.
    """

    def __init__(self, own: Mapping[str, Any], source: str = "config.yaml", results: str | Path = "results"):
        self._own, self._source, self._results = own, source, Path(results)
        self._found: dict[str, Dataset] = {}

    def __iter__(self) -> Iterator[str]:
        return iter({**self._own, **published()})

    def __len__(self) -> int:
        return len({**self._own, **published()})

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in published()

    def raw(self, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
        """The section as it stands in the files: the user's over the published one, over that of its data set."""
        own = self._own.get(name) or {}
        if not isinstance(own, dict):
            raise ConfigError(f"{self._source}:\n  `datasets.{name}`: a mapping is wanted (given: {reprlib.repr(own)})")
        section = merged(published().get(name, {}), own)
        if isinstance(profile := section.get("profile"), str) and profile in profiles():
            section = merged(profiles()[profile], section)
        base = section.get("dataset")
        if not base or not isinstance(base, str):
            return section
        if base not in self or base in (*seen, name):
            why = "is an experiment on itself" if base in self else near(base, self)
            raise ConfigError(f"{self._source}:\n  `datasets.{name}.dataset`: `{base}` {why}")
        below = self.raw(base, (*seen, name))
        fixed = [key for key in ("root", "shards") if key in section.get("data", {})]
        if fixed and section["data"][fixed[0]] != below.get("data", {}).get(fixed[0]):
            raise ConfigError(
                f"{self._source}:\n  `datasets.{name}.data.{fixed[0]}`: an experiment takes its videos from `{base}`, "
                f"which says it; remove the key"
            )
        # Comparisons vary what a section says itself, and a figure is that of one split. Below an experiment on an
        # experiment is one data set.
        inherited = {key: value for key, value in below.items() if key != "ablations"}
        if isinstance(known := inherited.get("expects"), dict):
            inherited["expects"] = {key: value for key, value in known.items() if key not in ("top1", "source")}
        return {**merged(inherited, section), "dataset": below.get("dataset") or base}

    def __getitem__(self, name: str) -> Dataset:
        if name not in self._found:
            if name not in self:
                raise KeyError(name)
            section = checked(Dataset, self.raw(name), self._source, ("datasets", name))
            section._name = name
            section._folder = self._results / name
            section._base = self[section.dataset] if section.dataset else None
            if not section.dataset:
                indexes = {key: self.raw(key).get("data", {}).get("index", {}) for key in self.experiments_on(name)}
                section._experiments = {
                    key: checked(Index, raw, self._source, ("datasets", key, "data", "index")).model_dump(mode="json")
                    for key, raw in indexes.items()
                }
            self._found[name] = section
        return self._found[name]

    def broken(self) -> dict[str, ConfigError]:
        """Sections of the configuration that do not fit, with what is wrong."""
        found = {}
        for name in self._own:
            try:
                _ = self[name]
            except ConfigError as error:
                found[name] = error
        return found

    def sound(self) -> list[str]:
        """Names of all other sections."""
        broken = self.broken()
        return [name for name in self if name not in broken]

    def experiments_on(self, name: str) -> list[str]:
        """Names of all sections that use the videos of a data set, its own first."""
        written = {other: own if isinstance(own := self._own.get(other), dict) else {} for other in self}
        links = {other: {**published().get(other, {}), **own}.get("dataset") for other, own in written.items()}
        found = [name]
        for other in found:
            found += [key for key, base in links.items() if base == other]
        return found


class _Frame(Section):
    data_root: str = Field("data", description="folder above the data sets; absolute or relative to the run folder")
    runtime: Runtime = Runtime()
    datasets: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """A checked configuration; see `_Frame` for the keys."""

    data_root: str = "data"
    runtime: Runtime = field(default_factory=Runtime)
    datasets: Datasets = field(default_factory=lambda: Datasets({}))

    def root_of(self, name: str, results: str | Path = "results", data_root: str = "") -> str:
        """Folder of a data set's videos and lists, absolute; that of a generated one lies in its results.

        Args:
            results: the folder of that name in the run folder.
            data_root: instead of that of the configuration.
        """
        section = self.datasets[name]
        made = {"generated": "demo", "generated_graphs": "demo", "synta": "synta"}.get(section.data.index.source)
        if made:
            return os.path.abspath(os.path.join(results, section.dataset or name, made))
        run_folder = os.path.dirname(os.path.abspath(results))
        return os.path.abspath(os.path.join(run_folder, data_root or self.data_root, section.data.root))


def opened(raw: dict[str, Any], source: str = "config.yaml", results: str | Path = "results") -> Config:
    """A raw configuration, of which a section is checked when it is asked for: a mistake in one stops no other.

    Args:
        results: the folder of that name in the run folder.

    Raises:
        ConfigError: a mistake outside the sections, one line each; an unknown key comes with the nearest known one.
    """
    frame = checked(_Frame, raw, source)
    for name in frame.datasets:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", name):
            raise ConfigError(f"{source}:\n  `datasets.{name}`: names a folder; use up to 100 letters, digits, _ and -")
    return Config(frame.data_root, frame.runtime, Datasets(frame.datasets, source, results))


def validate(raw: dict[str, Any], source: str = "config.yaml") -> Config:
    """As `opened`, with every section that the configuration has itself checked.

    Raises:
        ConfigError: a mistake anywhere.
    """
    config = opened(raw, source)
    for error in config.datasets.broken().values():
        raise error
    return config


def _parsed(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: missing, not YAML, or something else.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run from the project folder or name it with --configfile") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error})") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # beside its own errors YAML raises those of int, float, datetime and of the stack
        words = str(error)[:500] or type(error).__name__
        raise ConfigError(f"{path} is not valid YAML: {words}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold a mapping with the keys {', '.join(_Frame.model_fields)}")
    return raw


def load(path: str | Path = "config.yaml", results: str | Path = "results") -> Config:
    """Read a configuration file; see `opened`.

    Raises:
        ConfigError: the file is missing, is not YAML or does not fit the schema.
    """
    path = Path(path)
    return opened(_parsed(path), str(path), results)


def near(name: str, known: Iterable[str]) -> str:
    """What to say of a data set that there is not."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return (
        f"is not configured; did you mean `{close[0]}`?"
        if close
        else f"is not configured; there are {', '.join(sorted(known))}"
    )


def dataset(config: Config, name: str) -> Dataset:
    """The section of one data set.

    Raises:
        ConfigError: no such data set; names the nearest one.
    """
    if name in config.datasets:
        return config.datasets[name]
    raise ConfigError(f"the data set `{name}` {near(name, config.datasets)}")


def describe() -> str:
    """The reference of all keys as Markdown, from the schema itself."""
    lines = [
        "# Configuration",
        "",
        "Made by `python -m pipeline.config` from the schema; a test fails when they drift. Unknown keys are errors.",
        "Below a data set the sections are floors and methods; what a section leaves out has the default given here.",
        "",
    ]

    def section(model: type[Section], path: str) -> None:
        plain, nested = [], []
        for name, item in model.model_fields.items():
            inner = item.annotation
            is_section = isinstance(inner, type) and issubclass(inner, Section)
            (nested if is_section else plain).append((name, item))
        if plain:
            lines.extend(
                [
                    f"## `{path}`" if path else "## Top level",
                    "",
                    "| key | default | allowed | meaning |",
                    "|---|---|---|---|",
                ]
            )
            for name, item in plain:
                if name == "datasets":
                    lines.append("| `datasets` | | mapping of a name to a data set | see below |")
                    continue
                default = "" if item.is_required() else f"`{item.get_default(call_default_factory=True)!r}`"
                kind = (
                    str(item.annotation)
                    .replace("typing.", "")
                    .replace("<class '", "")
                    .replace("'>", "")
                    .replace("|", "or")
                )
                signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
                bounds = ", ".join(
                    f"{sign} {getattr(bound, name)}"
                    for bound in item.metadata
                    for name, sign in signs.items()
                    if hasattr(bound, name)
                )
                lines.append(
                    f"| `{name}` | {default} | {kind}{f' ({bounds})' if bounds else ''} | {item.description or ''} |"
                )
            lines.append("")
        for name, item in nested:
            section(item.annotation, f"{path}.{name}".lstrip("."))

    section(_Frame, "")
    section(Dataset, "datasets.<name>")
    return "\n".join(lines)


if __name__ == "__main__":
    print(describe(), end="")
