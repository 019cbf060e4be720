"""What may be configured about the floor `data`: one model per stage."""

from typing import Literal

import pydantic
from pydantic import Field

from pipeline.data.entries import split_named
from pipeline.settings import Section

# A clip that lost more than half of its frames no longer shows the action that its label names.
MIN_FRACTION = 0.5


class Index(Section):
    source: Literal[
        "lists",
        "folders",
        "images",
        "generated",
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
    ] = Field(
        "lists",
        description="lists: one file per split; folders: one folder of videos per class, or train/, val/ and test/ "
        "with such folders; images: the same of pictures; generated: the embedded demo; the others: docs/datasets",
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
    official_split: Literal[1, 2, 3] = Field(1, description="of UCF-101")
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
