"""What may be configured about the floor `data`: one model per stage."""

from typing import Literal

import pydantic
from pydantic import Field

from pipeline.data.entries import split_named
from pipeline.demo.synta.classes import BACKGROUNDS, COARSE
from pipeline.settings import Section

# A clip that lost more than half of its frames no longer shows the action that its label names.
MIN_FRACTION = 0.5


class Rendered(Section):
    classes: list[str] = Field(default_factory=list, description="coarse classes of Syn-TA; all 20 if empty")
    fine_per_set: int = Field(0, ge=0, description="fine classes of each coarse one and set, the first; 0: all")
    views: list[Literal["ground", "front"]] = Field(default_factory=lambda: ["ground", "front"], min_length=1)
    backgrounds: list[Literal["realistic", "plain"]] = Field(default_factory=lambda: ["realistic"], min_length=1)
    ids: int = Field(50, ge=2, description="identities of each fine class and view")
    train_ids: int = Field(30, ge=2, description="identities 1 to this one are for training, the others for validation")
    factor_ids: int = Field(
        0,
        ge=0,
        description="identities for validation that are also rendered with one factor (motion, shape, scene) "
        "of the other set",
    )

    @pydantic.model_validator(mode="after")
    def _known(self) -> "Rendered":
        for name in self.classes:
            if name not in COARSE:
                raise ValueError(f"`classes`: `{name}` is no coarse class of Syn-TA; there are {', '.join(COARSE)}")
        if self.train_ids >= self.ids:
            raise ValueError(f"`train_ids`: {self.train_ids} of {self.ids} identities leave none for validation")
        if self.factor_ids > self.ids - self.train_ids:
            raise ValueError(f"`factor_ids`: there are {self.ids - self.train_ids} identities for validation")
        for value in (self.views, self.backgrounds, self.classes):
            if len(set(value)) < len(value):
                raise ValueError(f"{value} names something twice")
        if "realistic" not in self.backgrounds:
            raise ValueError(f"`backgrounds` must have {BACKGROUNDS[0]}: the others are further splits")
        return self


class Index(Section):
    source: Literal[
        "lists",
        "folders",
        "images",
        "generated",
        "generated_graphs",
        "cad120",
        "charades",
        "charades_scenes",
        "breakfast",
        "breakfast_activities",
        "coin",
        "coin_tasks",
        "haa500",
        "kth",
        "mimetics",
        "penn_action",
        "ucf101",
        "ucf101_scuba",
        "weizmann",
        "synta",
        "k400_ta",
        "ssv2_ta",
    ] = Field(
        "lists",
        description="lists: one file per split; folders: one folder of videos per class, or train/, val/ and test/ "
        "with such folders; images: the same of pictures; generated: the embedded demo; generated_graphs: its "
        "scene graphs; the others: docs/datasets",
    )
    lists: dict[str, str] = Field(
        default_factory=dict, description="split → file of `path label` lines, relative to the root of the data set"
    )
    labels: str = Field(
        "",
        description="with source lists: CSV, TSV or Parquet file of `video` and `label`, and of `start` and `end` in "
        "seconds for segments, relative to the root; the lists then hold paths alone",
    )
    videos: str = Field("", description="folder of the videos, relative to the root of the data set")
    class_list: str = Field("", description="file with one class name per line, relative to the root")
    check_files: bool = Field(True, description="false where everything is imported and no video is on disk")
    group_pattern: str = Field(
        "",
        description="regular expression with a group named `group` (actor, source video), searched in the file name; "
        "groups that differ in capitals alone are one",
    )
    ungrouped: Literal["stop", "one_group"] = Field(
        "stop",
        description="file names that group_pattern does not fit: the run stops and lists them, or all are one group",
    )
    official_split: Literal[1, 2, 3, 4, 5] = Field(
        1, description="of UCF-101, 1 to 3; with charades_scenes the scenario, 1 to 5"
    )
    train_set: Literal[0, 1, 2] = Field(
        0,
        description="of Syn-TA, K400-TA and SSv2-TA: the set that is trained on; validation videos of the other one "
        "are the split `unknown`, and its train videos are not listed. 0: both, as the method `transfer` wants them",
    )
    rendered: Rendered = Field(default_factory=Rendered, description="clips of Syn-TA")
    class_map: str = Field(
        "", description="test-only sets: file of `class of the set,class of the model`; other classes are left out"
    )
    test_groups: list[str] = Field(
        default_factory=list, description="groups that make the test split (folders, KTH, Weizmann)"
    )
    test_fraction: float = Field(0, ge=0, lt=1, description="part of a set without a test split that becomes one")
    validation_groups: list[str] = Field(
        default_factory=list, description="groups of train that make the validation split; empty: carved"
    )
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="part of train carved off for every choice")
    validation_by: Literal["group", "video"] = "group"
    unseen_classes: bool = Field(
        False,
        description="true: classes without train videos are allowed, for methods that can name actions they were not "
        "trained on",
    )
    seed: int = 0
    max_failed_fraction: float = Field(0.05, ge=0, le=1, description="above it the run stops with a list")

    @pydantic.model_validator(mode="after")
    def _lists_are_splits(self) -> "Index":
        for name in self.lists:
            split = split_named(name)
            if split not in (None, name) and (split != "test" or "test" not in self.lists):
                raise ValueError(f"`lists.{name}`: call it `{split}`; another name is a further test split")
        return self

    @pydantic.model_validator(mode="after")
    def _labels_of_lists(self) -> "Index":
        if self.labels and self.source != "lists":
            raise ValueError(f"`labels` is read with `source: lists`; the source {self.source} has labels of its own")
        return self


class Decode(Section):
    backend: Literal["decord", "pyav", "torchcodec"] = Field(
        "decord", description="pyav goes on where another one fails, and decodes where decord is not installed"
    )
    n_frames: int = Field(16, ge=1, description="frames of the model clip (S: 16)")
    sampling: Literal["uniform", "dense"] = Field("uniform", description="S: dense for UCF-101, uniform elsewhere")
    stride: int = Field(4, ge=1, description="frame distance of dense sampling")
    size: int = Field(224, ge=16, description="side of the model clip in pixels (S: 224)")
    min_frames: int = Field(2, ge=1, description="shorter videos are marked too_short")
    min_fraction: float = Field(
        MIN_FRACTION, ge=0, le=1, description="a video with less of what its header promises is marked damaged"
    )
    max_failed_fraction: float = Field(0.05, ge=0, le=1)


class Data(Section):
    root: str = Field("", description="folder of the data set, relative to data_root")
    shards: int = Field(8, ge=1, description="units of work; choose it so that a lost one costs at most 30 minutes")
    index: Index = Index()
    decode: Decode = Decode()


class Expects(Section):
    """What is known of a published set beforehand; no stage reads it."""

    videos: int | None = Field(None, ge=1, description="for plans that are made before the videos are there")
    train: int | None = Field(None, ge=1, description="of these, in the train lists")
    frames: float | None = Field(None, gt=0, description="of a video, on average")
    top1: float | None = Field(None, ge=0, le=1, description="test accuracy that the settings as shipped should reach")
    source: str = Field("", description="who says so, and what was done differently")
