"""What may be configured: one pydantic model per floor, one sub-model per stage.

The sub-model of a stage holds exactly what changes that stage's result; it is handed to the rule as one parameter and
recorded in the artifact. What changes nothing (device, batch size, where the data lie) is in `Runtime`.

Constants of the paper are defaults or per-data-set values in ``config.yaml``; "S" names the DANCE supplement.
"""

from __future__ import annotations

import difflib
import reprlib
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import Field

# How the Snakefile tells the stages about `Runtime`. It stands here because the Snakefile imports nothing heavy.
RUNTIME_VARIABLE = "CONCEPTREEL_RUNTIME"


class ConfigError(ValueError):
    """A mistake in the configuration, told in the words of the file: which key, what is wrong, what would be right."""


class Section(pydantic.BaseModel):
    """A part of the configuration. Unknown keys are errors, and values are not silently converted to another type."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


# Of the weights of an encoder; another file stops the stage.
SHA256 = Field("", pattern="^([0-9a-fA-F]{64})?$", description="of the weights, to stop at others; any if empty")


# ---------------------------------------------------------------------------------------------------------------- data


class Index(Section):
    source: Literal[
        "lists",
        "folders",
        "images",
        "generated",
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
    videos: str = Field("", description="folder of the videos, relative to the root of the data set")
    class_list: str = Field("", description="file with one class name per line, relative to the root")
    check_files: bool = Field(True, description="false where everything is imported and no video is on disk")
    group_pattern: str = Field("", description="regular expression with a group named `group` (actor, source video)")
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
    seed: int = 0
    max_failed_fraction: float = Field(0.05, ge=0, le=1, description="above it the run stops with a list")


class Decode(Section):
    backend: Literal["decord", "pyav", "torchcodec"] = "decord"
    n_frames: int = Field(16, ge=1, description="frames of the model clip (S: 16)")
    sampling: Literal["uniform", "dense"] = Field("uniform", description="S: dense for UCF-101, uniform elsewhere")
    stride: int = Field(4, ge=1, description="frame distance of dense sampling")
    size: int = Field(224, ge=16, description="side of the model clip in pixels (S: 224)")
    min_frames: int = Field(2, ge=1, description="shorter videos are marked too_short")
    max_failed_fraction: float = Field(0.05, ge=0, le=1)


class Data(Section):
    root: str = Field("", description="folder of the data set, relative to data_root")
    shards: int = Field(8, ge=1, description="units of work; choose it so that a lost one costs at most 30 minutes")
    index: Index = Index()
    decode: Decode = Decode()


# -------------------------------------------------------------------------------------------------------------- motion


class Poses(Section):
    source: Literal["computed", "penn_action", "coco", "mmaction", "arrays"] = Field(
        "computed",
        description="penn_action: the .mat annotations of that data set (13 joints); coco: keypoint JSON; mmaction: "
        "skeleton pickle, read safely; arrays: .npy, .npz, .mat or .pt (docs/exchange.md)",
    )
    path: str = Field("", description="file or folder of imported poses, relative to the root of the data set")
    skeleton: Literal["coco", "penn_action"] = "coco"
    model: str = Field("usyd-community/vitpose-plus-large", description="hub id or folder of a ViTPose checkpoint")
    revision: str = Field("main", description="branch, tag or commit of the hub repository")
    sha256: str = SHA256
    expert: int | None = Field(0, description="data set index of ViTPose++ (0 is COCO, the joints of published files)")
    boxes: Literal["detected", "annotations", "whole_frame", "refined"] = Field(
        "detected",
        description="detected: by the detector, linked into tracks; annotations: from boxes_path, linked likewise; "
        "whole_frame: the frame is the person box; refined: a second look at the first pose's box",
    )
    boxes_path: str = Field(
        "",
        description="CSV or Parquet table of annotated boxes, relative to the root of the data set: video_id, frame, "
        "x0, y0, x1, y1, and score if there is one",
    )
    detector: str = Field("PekingU/rtdetr_r50vd_coco_o365", description="hub id or folder of an RT-DETR checkpoint")
    detector_revision: str = "main"
    detector_sha256: str = SHA256
    min_box_score: float = Field(0.5, ge=0, le=1, description="boxes above it begin a track; others only continue one")
    flip_test: bool = Field(False, description="average with the mirrored picture; a little better, twice the cost")
    box_padding: float = Field(1.25, ge=1, description="person box is enlarged by this factor (ViTPose: 1.25)")
    min_joint_confidence: float = Field(0.2, ge=0, le=1, description="joints above it make the refined person box")
    min_person_confidence: float = Field(0.3, ge=0, le=1, description="frames below it hold no person")
    max_gap: int = Field(5, ge=0, description="longest gap in frames that a track may have, and that is interpolated")
    max_failed_fraction: float = Field(0.05, ge=0, le=1)


class Keyframes(Section):
    source: Literal["computed", "list"] = Field("computed", description="list: a text file `video_id frame frame …`")
    path: str = ""
    measure: Literal["sum", "count"] = Field(
        "sum", description="sum of differences (S) or count of changed pixels (official code, follows codec GOPs)"
    )
    threshold: float = Field(0.3, ge=0, le=1, description="relative peak height (official code)")
    threshold_long: float = Field(0.5, ge=0, le=1, description="the same for long videos (official code: +0.2)")
    long_video: int = Field(70, ge=1, description="longer than so many frames is long")
    min_distance: int = Field(1, ge=1, description="frames between two peaks")
    baseline_degree: int = Field(2, ge=0, description="degree of the polynomial that is subtracted first")


class PoseClips(Section):
    length: int = Field(25, ge=2, description="frames per clip, L (S: 20 or 25)")
    per_video: int = Field(12, ge=1, description="at most so many clips per video, S")
    min_confidence: float = Field(0.5, ge=0, le=1, description="mean joint confidence (S)")
    min_cosine: float = Field(0.92, ge=-1, le=1, description="adjacent-frame similarity (S)")
    cosine_on: Literal["raw", "centred"] = "centred"
    normalise: Literal["clip", "frame_axis"] = Field(
        "clip",
        description="clip: one scale per clip, aspect ratio kept; frame_axis: per frame and axis (official code)",
    )
    selection: Literal["keyframes", "random", "uniform"] = Field(
        "keyframes", description="what the clips are cut around; random and uniform: frames to compare with (S Table 3)"
    )
    seed: int = Field(0, ge=0, description="of the random selection")


class MotionConcepts(Section):
    source: Literal["discovered", "imported"] = "discovered"
    path: dict[str, str] = Field(default_factory=dict, description="split → JSON or pickle of published motion labels")
    method: Literal["finch", "kmeans", "som"] = Field(
        "finch", description="kmeans and som (a self-organizing map): to compare with (S Table 2); they need n_concepts"
    )
    metric: Literal["cosine", "euclidean"] = "cosine"
    partition: int | None = Field(None, description="FINCH partition by index, 0 the finest")
    n_concepts: int | None = Field(None, description="wanted number of concepts")
    nearest: bool = Field(True, description="take the partition nearest to n_concepts instead of refining to it")
    min_videos: int = Field(1, ge=1, description="a cluster seen in fewer videos is no concept")
    seed: int = Field(0, ge=0, description="of the starts of kmeans")

    @pydantic.model_validator(mode="after")
    def _number_is_known(self):
        if self.method != "finch" and self.n_concepts is None:
            raise ValueError(f"method {self.method} needs n_concepts: it does not find the number itself")
        if self.partition is not None and self.n_concepts is not None:
            raise ValueError("give either partition or n_concepts: each of them decides the number")
        return self


class Motion(Section):
    poses: Poses = Poses()
    keyframes: Keyframes = Keyframes()
    pose_clips: PoseClips = PoseClips()
    motion_concepts: MotionConcepts = MotionConcepts()


# ------------------------------------------------------------------------------------------------------------- context


class DualEncoder(Section):
    source: Literal["computed", "tensor"] = Field("computed", description="tensor: imported, see docs/exchange.md")
    path: dict[str, str] = Field(
        default_factory=dict, description="split → .pt, .npy, .npz or .mat; rows named, or in the order of that list"
    )
    array: str = Field("", description="name of the matrix in files that hold several")
    model: str = Field(
        "openai/clip-vit-base-patch16", description="hub id or folder: CLIP, X-CLIP, ViCLIP, VideoPrism, LaViLa"
    )
    revision: str = "main"
    sha256: str = SHA256
    n_frames: int = Field(
        8, ge=1, description="frames averaged into one video embedding; video encoders have their own"
    )


class Prompts(Section):
    model: str = Field("openai/clip-vit-base-patch16", description="the dual encoder of the texts")
    revision: str = "main"
    sha256: str = SHA256
    n_frames: int = Field(8, ge=1, description="frames of each clip that are prompted, K; a picture has one")
    grid: tuple[int, int] = Field((7, 7), description="rows and columns of the grid (SALF-CBM: 7 × 7)")
    placement: Literal["stride", "inset", "cells"] = Field(
        "stride",
        description="stride: border to border (SALF-CBM 3.2); inset: whole circles only; cells: middles of equal parts",
    )
    radius: int = Field(32, ge=2, description="of the red circle, in pixels of a picture of 224 (SALF-CBM: 32)")
    line_width: int = Field(2, ge=1, description="of the circle, in pixels of the encoder's picture (SALF-CBM: 2)")


class Candidates(Section):
    source: Literal["files", "endpoint", "wordnet", "names"] = Field(
        "files",
        description="files: those of context.texts.candidates; endpoint: a language model is asked for every class; "
        "wordnet: nouns; names: class names of ImageNet and Places365",
    )
    types: list[Literal["object", "scene", "temporal", "spatio_temporal"]] = Field(
        default=["object", "scene"], min_length=1, description="temporal and spatio_temporal: language baselines"
    )
    url: str = Field("", description="base address of an OpenAI-compatible server, such as http://localhost:8000/v1")
    model: str = Field("", description="name of the model at that server")
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds the key; empty for none")
    per_class: int = Field(5, ge=1, description="candidates of a type that are asked for at once")
    turns: int = Field(2, ge=1, description="how often each question is asked (official code: 2)")
    temperature: float = Field(0.2, ge=0, description="official code: 0.2")
    wordnet: str = Field("", description="folder with index.noun and data.noun, relative to the root")
    names: dict[Literal["object", "scene"], str] = Field(
        default_factory=dict, description="type → file of class names, relative to the root"
    )

    @pydantic.model_validator(mode="after")
    def _complete(self):
        if self.source == "endpoint" and not (self.url and self.model):
            raise ValueError("source: endpoint needs a url and a model")
        if self.source == "wordnet" and not self.wordnet:
            raise ValueError("source: wordnet needs the folder in `wordnet`")
        if self.source == "names" and not set(self.types) <= set(self.names):
            raise ValueError("source: names needs a file in `names` for every type in `types`")
        return self


class Texts(Section):
    source: Literal["computed", "tensor"] = "computed"
    candidates: dict[Literal["object", "scene"], str | list[str]] = Field(
        default_factory=dict, description="type → file, or files, with one candidate per line, relative to the root"
    )
    path: dict[Literal["object", "scene"], str] = Field(
        default_factory=dict, description="type → .pt, .npy, .npz or .mat; rows named, or in the order of candidates"
    )
    array: str = Field("", description="name of the matrix in files that hold several")
    model: str = "openai/clip-vit-base-patch16"
    revision: str = "main"
    sha256: str = SHA256
    prompt: str = Field("A video of {concept}", description="prompt of the pseudo labels (DANCE eq. 3)")


class Concepts(Section):
    max_length: int = Field(30, ge=1, description="characters (S)")
    class_similarity: float = Field(0.85, description="as similar to a class name is dropped (S)")
    mutual_similarity: float = Field(0.95, description="of a pair as similar one is dropped (S)")
    activation_top_k: int = Field(5, ge=1, description="videos whose mean similarity is the activation")
    activation_cutoff: float = Field(0.22, description="below it the concept is not in the data (S)")


class Sentences(Section):
    files: dict[Literal["temporal", "spatio_temporal"], str] = Field(
        default_factory=dict, description="type → file with one sentence per line, relative to the root"
    )
    model: str = Field("", description="dual encoder of the sentences; empty: that of context.texts")
    revision: str = "main"
    sha256: str = SHA256
    class_similarity: float = Field(0.85, description="as similar to a class name is dropped (S)")
    mutual_similarity: float = Field(0.95, description="of a pair as similar one is dropped (S)")
    activation_top_k: int = Field(5, ge=1, description="videos whose mean similarity is the activation")
    activation_cutoff: float = Field(0.22, description="below it the sentence says nothing of the data (S)")


class Context(Section):
    dual_encoder: DualEncoder = DualEncoder()
    prompts: Prompts = Prompts()
    candidates: Candidates = Candidates()
    texts: Texts = Texts()
    concepts: Concepts = Concepts()
    sentences: Sentences = Sentences()


# ------------------------------------------------------------------------------------------------------------ backbone


class Features(Section):
    source: Literal["computed", "tensor"] = Field("computed", description="tensor: imported, see docs/exchange.md")
    path: dict[str, str] = Field(
        default_factory=dict, description="split → .pt, .npy, .npz or .mat; rows named, or in the order of that list"
    )
    array: str = Field("", description="name of the matrix in files that hold several")
    model: str = Field(
        "MCG-NJU/videomae-base",
        description="hub id or folder: VideoMAE, V-JEPA 2, TimeSformer, CLIP, ViT, ResNet, ConvNeXt",
    )
    revision: str = "main"
    sha256: str = SHA256


class Finetune(Section):
    enabled: bool = Field(False, description="tune features.model on the train split, and take features from that")
    head: Literal["random", "probe"] = Field(
        "random", description="to begin with; probe: logistic regression on the untuned features, for few clips"
    )
    probe_views: int = Field(
        0, ge=0, description="random views of each train clip, drawn as for training, that a probe is fitted on as well"
    )
    epochs: int = Field(50, ge=1, description="S")
    views: int = Field(
        4,
        ge=1,
        description="frames kept of each segment of a train video, or clips of it where sampling is dense; every epoch "
        "draws its clip from them. 1: the clip of stage decode in all epochs",
    )
    warmup_epochs: float = Field(5, ge=0, description="S")
    batch_size: int = Field(40, ge=1, description="clips per step on all GPUs together (S: 4 GPUs × 10)")
    base_learning_rate: float = Field(1e-3, gt=0, description="per batch of 256 clips: scaled by batch_size / 256 (S)")
    weight_decay: float = Field(0.05, ge=0, description="S")
    layer_decay: float = Field(0.75, gt=0, le=1, description="learning rate of each block over that of the next (S)")
    drop_path: float = Field(0.1, ge=0, lt=1, description="rate of the last block, rising from 0 (S)")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="VideoMAE's; S does not tell")
    flip: bool = Field(True, description="mirror half of the clips; false where left and right are classes (S: true)")
    crop_scale: tuple[float, float] = Field(
        (0.08, 1.0), description="smallest and largest part of the picture that a crop keeps (VideoMAE)"
    )
    colour_jitter: float = Field(0.4, ge=0, description="of brightness, contrast and saturation (S)")
    rand_augment_operations: int = Field(2, ge=0, description="per clip, each applied to half of the clips")
    rand_augment_magnitude: float = Field(9, ge=0, le=10, description="S")
    rand_augment_std: float = Field(0.5, ge=0, description="of the magnitude (S)")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the products; auto: half where the GPU has it, float32 elsewhere"
    )
    seed: int = 0

    @pydantic.field_validator("crop_scale")
    @classmethod
    def _is_a_part(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("must be two parts of a picture, the smaller first, such as [0.08, 1.0]")
        return value


class Maps(Section):
    cls_token: bool = Field(
        False, description="put the CLS token of a ViT behind the channels of every place (SALF-CBM B.1)"
    )


class Backbone(Section):
    finetune: Finetune = Finetune()
    features: Features = Features()
    maps: Maps = Maps()


# ---------------------------------------------------------------------------------------------------------- bottleneck


Kind = Literal["dance+salf", "dance", "salf"]


class ConceptLayers(Section):
    kinds: list[Kind] = Field(
        default=["dance+salf"],
        min_length=1,
        description="dance: all concepts see the whole clip; salf: objects and scenes as maps, no motion; dance+salf: "
        "motion and maps. The first makes model.pt, the others are reported beside it",
    )
    optimizer: Literal["adam", "lbfgs"] = Field(
        "lbfgs", description="of the motion layer; its problem is convex, lbfgs gets as low in less time (S: adam)"
    )
    learning_rate: float = Field(1e-3, gt=0, description="S")
    batch_size: int = Field(512, ge=2, description="S")
    max_steps: int = Field(10_000, ge=1, description="S: step limit under early stopping")
    eval_every: int = Field(10, ge=1)
    patience: int = Field(10, ge=1, description="evaluations without improvement before stopping")
    motion_weight_decay: list[Annotated[float, Field(ge=0)]] = Field(
        default=[0.3, 0.03, 0.003],
        min_length=1,
        description="penalties of the motion layer, free of scale; the one with the best validation loss is taken",
    )
    text_weight_decay: float = Field(
        0.3, ge=0, description="penalty of the text layers, free of scale; chosen on validation of Penn Action"
    )
    leakage_rank: int = Field(
        0, ge=0, description="directions of the other types that each layer must not see; 0 is the paper"
    )
    feature_scaling: Literal["none", "std", "center_std"] = Field(
        "none", description="of the features inside the layers (paper: none)"
    )
    projection_cutoff: float = Field(0.45, description="validation similarity below it drops the concept (S)")
    map_weight_decay: float = Field(0.3, ge=0, description="penalty of the concept maps, free of scale")
    map_cutoff: float = Field(
        0.1, description="validation similarity of a map, mean over its places, below it is dropped"
    )
    max_failed_fraction: float = Field(0.05, ge=0, le=1, description="of the videos of all shards, without a feature")
    seed: int = 0


class Classifier(Section):
    alpha: float = Field(0.99, ge=0, le=1, description="share of the L1 term (S)")
    n_lambdas: int = Field(100, ge=1)
    min_ratio: float = Field(1e-3, gt=0, lt=1, description="smallest λ of the path as a part of λ_max")
    tolerance: float = Field(1e-6, gt=0, description="relative duality gap")
    pooling: list[Literal["mean", "softmax", "max"]] = Field(
        default=["mean", "softmax", "max"],
        min_length=1,
        description="of concept maps; the one with the best validation accuracy is taken",
    )
    refit: bool = Field(True, description="after the choice on validation, solve again on train and validation")
    nec: list[int] = Field(default=[5, 10, 15], description="effective concepts per class that are reported")


class Baselines(Section):
    kinds: list[Literal["backbone", "backbone-sparse", "attributes", "lf-cbm-entangled", "lf-cbm-disentangled"]] = (
        Field(
            default_factory=list,
            description="model kinds to compare with: the backbone with a dense or a sparse head; a concept "
            "bottleneck of attributes; Label-Free CBM with sentences that mix everything, or with objects, scenes and "
            "temporal sentences",
        )
    )
    attributes: str = Field("", description="CSV of classes × attributes (the form of UCF-101's), relative to the root")
    projection_cutoff: float = Field(0.45, description="validation similarity below it drops the sentence (S)")

    @pydantic.model_validator(mode="after")
    def _attributes_are_named(self):
        if "attributes" in self.kinds and not self.attributes:
            raise ValueError("the kind attributes needs a file in `attributes`")
        return self


class Bottleneck(Section):
    concept_layers: ConceptLayers = ConceptLayers()
    classifier: Classifier = Classifier()
    baselines: Baselines = Baselines()


# ------------------------------------------------------------------------------------------------------- explain, demo


class Pictures(Section):
    poses_per_strip: int = Field(6, ge=2)
    max_concepts: int = Field(48, ge=1, description="motion concepts on one sheet, most used first")
    explained_clips: int = Field(3, ge=1)
    top_k: int = Field(3, ge=1)


class Sanity(Section):
    splits: list[str] = Field(default=["test"], min_length=1, description="whose clips are played backwards and frozen")


class Retrained(Section):
    seeds: int = Field(5, ge=1, description="runs with another validation split and another order of batches")
    shuffles: int = Field(2, ge=1, description="runs with concept labels that belong to other videos")


class Report(Section):
    max_concepts: int = Field(48, ge=1, description="motion concepts in the gallery, most used first; as many in words")
    pairs: int = Field(6, ge=1, description="class pairs that are confused most")
    failures: int = Field(12, ge=1, description="wrong decisions, the surest mistake first")
    top_k: int = Field(5, ge=1, description="concepts per class and per decision")


class Explain(Section):
    pictures: Pictures = Pictures()
    sanity: Sanity = Sanity()
    retrained: Retrained = Retrained()
    report: Report = Report()


class Generate(Section):
    media: Literal["videos", "images"] = Field(
        "videos", description="images: single pictures of other classes, objects in scenes"
    )
    seed: int = 0
    train_per_class: int = Field(20, ge=1)
    test_per_class: int = Field(10, ge=1)
    shifted_per_class: int = Field(6, ge=0)
    size: int = Field(128, ge=112, description="side of the frames in pixels")


class Localise(Section):
    tolerance: int = Field(
        4, ge=0, description="pixels by which the pointing game may miss (Zhang et al. 2018: 15 at about 500 pixels)"
    )
    min_pixels: int = Field(20, ge=1, description="pictures that show less of the object do not count")
    min_spread: float = Field(3.0, ge=0, description="clips whose object's position varies less do not tell of motion")
    integration_steps: int = Field(16, ge=1, description="of Integrated Gradients")
    betas: list[float] = Field(default=[1.0, 4.0, 16.0, 64.0], description="strengths of the local interventions")


class Counterfactuals(Section):
    split: Literal["train", "test", "shifted"] = Field("test", description="whose clips are made again with changes")
    seed: int = Field(0, ge=0, description="draws what a factor is changed to")


class Demo(Section):
    generate: Generate = Generate()
    counterfactuals: Counterfactuals = Counterfactuals()
    localise: Localise = Localise()


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
