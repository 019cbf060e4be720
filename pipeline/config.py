"""The whole configuration: a section for every floor and every method, below each data set, and what a run is told.

The models of the sections stand beside the code that they are for (``pipeline/<floor>/settings.py``).
"""

from __future__ import annotations

import difflib
import reprlib
import typing
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from pipeline.backbone.settings import Backbone
from pipeline.context.settings import Context
from pipeline.data.settings import Data
from pipeline.demo.settings import Demo
from pipeline.methods.dance.settings import Bottleneck, Explain
from pipeline.motion.settings import Motion
from pipeline.settings import ConfigError, Section


class Dataset(Section):
    @pydantic.model_validator(mode="after")
    def _maps_need_an_encoder(self):
        kinds = self.bottleneck.concept_layers.kinds
        if self.backbone.features.source != "computed" and kinds != ["dance"]:
            raise ValueError("imported features have no places, so bottleneck.concept_layers.kinds can only be [dance]")
        return self

    @pydantic.model_validator(mode="after")
    def _tuning_needs_an_encoder(self):
        if self.backbone.features.source != "computed" and self.backbone.finetune.enabled:
            raise ValueError("backbone.finetune.enabled has no use where the features are imported; set it to false")
        return self

    @pydantic.model_validator(mode="after")
    def _language_needs_sentences(self):
        needed = {"lf-cbm-entangled": "spatio_temporal", "lf-cbm-disentangled": "temporal"}
        for kind in self.bottleneck.baselines.kinds:
            if kind in needed and needed[kind] not in self.context.sentences.files:
                raise ValueError(f"the kind {kind} needs {needed[kind]} in context.sentences.files")
        return self

    data: Data = Data()
    motion: Motion = Motion()
    context: Context = Context()
    backbone: Backbone = Backbone()
    bottleneck: Bottleneck = Bottleneck()
    explain: Explain = Explain()
    demo: Demo = Demo()
    ablations: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="more variants for `conceptreel ablate`: table → variant → settings that differ, as dotted keys",
    )


class DecoderLimits(Section):
    seconds: float = Field(600, gt=0, description="longer than this in the decoder and a video is marked too_slow")
    memory_mb: int = Field(3000, ge=500, description="more than this in the decoder and a video is marked too_large")


class Runtime(Section):
    """What changes speed or place, never a result: of a good video, that is; the limits are there for broken ones."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:0")
    batch_size: dict[Literal["poses", "features", "dual_encoder", "prompts", "finetune"], pydantic.PositiveInt] = Field(
        default_factory=dict,
        description="rows that an encoder is given at once, by role; what is not named: 64 crops, on a GPU 256; 4 "
        "clips or 32; 64 pictures of clips or 512; 49 prompts or 392; 10 clips of fine-tuning",
    )
    finetune_processes: int = Field(1, ge=1, description="of fine-tuning, one per GPU; several start with torchrun")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of encoders: auto is bfloat16 on GPUs that have it, float32 elsewhere; processors that multiply "
        "bfloat16 faster (`amx_bf16`) gain by naming it",
    )
    decoder: DecoderLimits = DecoderLimits()


class Config(Section):
    data_root: str = Field("data", description="folder above the data sets; absolute or relative to the run folder")
    runtime: Runtime = Runtime()
    datasets: dict[str, Dataset]


def _model_at(location: tuple, model: type[pydantic.BaseModel] = Config) -> type[pydantic.BaseModel] | None:
    """The section that a pydantic error location points into, or None where it leaves the tree of sections."""
    for step in location:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        annotation = field.annotation if field else model if model is Dataset else None
        if annotation is None:
            return None
        for candidate in (annotation, *typing.get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, pydantic.BaseModel):
                model = candidate
                break
        else:
            return None
    return model


def _section_of(location: tuple) -> type[pydantic.BaseModel] | None:
    if location[:1] == ("datasets",):
        return Dataset if len(location) == 2 else _model_at(location[2:], Dataset)
    return _model_at(location)


def validate(raw: dict[str, Any], source: str = "config.yaml") -> Config:
    """Check a raw configuration.

    Raises:
        ConfigError: with one line per mistake; an unknown key comes with the nearest known one.
    """
    try:
        return Config.model_validate(raw)
    except pydantic.ValidationError as error:
        lines = []
        for problem in error.errors():
            location = problem["loc"]
            key = ".".join(str(step) for step in location)
            if problem["type"] == "extra_forbidden":
                section = _section_of(location[:-1])
                known = sorted(section.model_fields) if section else []
                near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
                hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
                lines.append(f"unknown key `{key}`; {hint}")
            else:
                given = f" (given: {reprlib.repr(problem['input'])})" if problem["type"] != "missing" else ""
                lines.append(f"`{key}`: {problem['msg']}{given}")
        raise ConfigError(f"{source}:\n  " + "\n  ".join(lines)) from None


def load(path: str | Path = "config.yaml") -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: the file is missing, is not YAML or does not fit the schema.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
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
        raise ConfigError(f"{path} must hold a mapping with the keys {', '.join(Config.model_fields)}")
    return validate(raw, str(path))


def dataset(config: Config, name: str) -> Dataset:
    """The section of one data set.

    Raises:
        ConfigError: no such data set; names the nearest one.
    """
    if name in config.datasets:
        return config.datasets[name]
    near = difflib.get_close_matches(name, config.datasets, n=1, cutoff=0.4)
    hint = f"did you mean `{near[0]}`?" if near else f"configured: {', '.join(sorted(config.datasets))}"
    raise ConfigError(f"no data set `{name}` in the configuration; {hint}")


def describe() -> str:
    """The reference of all keys as Markdown, from the schema itself."""
    lines = [
        "# Configuration",
        "",
        "Made by `python -m pipeline.config` from the schema; a test fails when they drift. Unknown keys are errors.",
        "Below a data set the sections are the floors; what a section leaves out has the default given here.",
        "",
    ]

    def section(model: type[Section], path: str) -> None:
        plain, nested = [], []
        for name, field in model.model_fields.items():
            inner = field.annotation
            is_section = isinstance(inner, type) and issubclass(inner, Section)
            (nested if is_section else plain).append((name, field))
        if plain:
            lines.extend(
                [
                    f"## `{path}`" if path else "## Top level",
                    "",
                    "| key | default | allowed | meaning |",
                    "|---|---|---|---|",
                ]
            )
            for name, field in plain:
                if name == "datasets":
                    lines.append("| `datasets` | | mapping of a name to a data set | see below |")
                    continue
                default = "" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
                kind = (
                    str(field.annotation)
                    .replace("typing.", "")
                    .replace("<class '", "")
                    .replace("'>", "")
                    .replace("|", "or")
                )
                signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
                bounds = ", ".join(
                    f"{sign} {getattr(item, name)}"
                    for item in field.metadata
                    for name, sign in signs.items()
                    if hasattr(item, name)
                )
                lines.append(
                    f"| `{name}` | {default} | {kind}{f' ({bounds})' if bounds else ''} | {field.description or ''} |"
                )
            lines.append("")
        for name, field in nested:
            section(field.annotation, f"{path}.{name}".lstrip("."))

    section(Config, "")
    section(Dataset, "datasets.<name>")
    return "\n".join(lines)


if __name__ == "__main__":
    print(describe(), end="")
