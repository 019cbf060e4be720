"""What may be configured about the floor `context`: one model per stage."""

from typing import Literal

import pydantic
from pydantic import Field

from pipeline.settings import SHA256, Section


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
    class_similarity: float = Field(0.85, description="a candidate at least as similar to a class name is dropped (S)")
    mutual_similarity: float = Field(
        0.95, description="of two candidates at least as similar to each other, one is dropped (S)"
    )
    activation_top_k: int = Field(5, ge=1, description="videos whose mean similarity is the activation")
    activation_cutoff: float = Field(0.22, description="below it the concept is not in the data (S)")


class Sentences(Section):
    files: dict[Literal["temporal", "spatio_temporal"], str] = Field(
        default_factory=dict, description="type → file with one sentence per line, relative to the root"
    )
    model: str = Field("", description="dual encoder of the sentences; empty: that of context.texts")
    revision: str = "main"
    sha256: str = SHA256
    class_similarity: float = Field(0.85, description="a candidate at least as similar to a class name is dropped (S)")
    mutual_similarity: float = Field(
        0.95, description="of two candidates at least as similar to each other, one is dropped (S)"
    )
    activation_top_k: int = Field(5, ge=1, description="videos whose mean similarity is the activation")
    activation_cutoff: float = Field(0.22, description="below it the sentence says nothing of the data (S)")


class Context(Section):
    dual_encoder: DualEncoder = DualEncoder()
    prompts: Prompts = Prompts()
    candidates: Candidates = Candidates()
    texts: Texts = Texts()
    concepts: Concepts = Concepts()
    sentences: Sentences = Sentences()
