"""What may be configured about ProDA: the section `proda`. P: the paper; C, S: the authors' two codes."""

from typing import Literal

import pydantic
from pydantic import Field

from pipeline.settings import Section

Recipe = Literal["paper", "independent", "mixed"]


class Network(Section):
    width: int = Field(32, ge=4, description="D (P: 768 on a GPU; 128 suits a CPU)")
    heads: int = Field(4, ge=1, description="of every attention (P: 12)")
    layers: int = Field(2, ge=1, description="of the graph network (C: 3)")
    edge_attention: int = Field(1, ge=0, description="L, blocks of attention over the frames of an edge (C: 2)")
    dropout: float = Field(0.1, ge=0, lt=1)
    prompt: Literal["dynamic", "simple"] = Field("dynamic", description="simple: Table 3's projection, added")
    candidates: int = Field(10, ge=1, description="T, candidate prompts that a node mixes")
    prompt_norm: bool = Field(True, description="layer norm inside equation 1 (C: no, S: yes)")
    norm: Literal["vgnorm", "layer", "batch", "graph"] = Field("vgnorm", description="after each layer; Table 4")
    momentum: float = Field(0.9, ge=0, lt=1, description="α_m of equation 3")
    norm_mean: Literal["batch", "running"] = Field(
        "batch", description="whose mean equation 4 subtracts in training: the batch's (C), or the running one (P)"
    )
    norm_variance: Literal["valid", "authors"] = Field(
        "valid", description="valid: nodes that are there; authors: divided by M+D-1 (C, a slip)"
    )
    mask_padding: bool = Field(True, description="false: padding takes part, as in the authors' codes")
    auxiliary: bool = Field(False, description="relations and classes are read from edges and nodes too (C)")

    @pydantic.model_validator(mode="after")
    def _heads_fit(self):
        if self.width % self.heads:
            raise ValueError(f"`width` must be a multiple of `heads`, and {self.width} is none of {self.heads}")
        return self


class Loss(Section):
    unspecified: float | Literal["adaptive"] = Field(
        0.1, description="weight of the loss of the branch u (S: .1); adaptive: ‖∇L_s‖ / ‖∇L_u‖ (C)"
    )
    encoder_only: bool = Field(False, description="phase 1 trains the encoder and readout m alone; Table 5, ⑥")
    disentangle: bool = Field(True, description="equation 5; Table 5")
    reconstruct: bool = Field(True, description="equation 7; Table 5")
    margin_disentangle: float = Field(0.4, ge=0, description="m₁ (S)")
    margin_reconstruct: float = Field(0.3, ge=0, description="m₂ (S)")
    margins: Literal["fixed", "annealed"] = Field("fixed", description="annealed: m₁ from .7 to .2 (C)")
    correlation: Literal["video", "batch"] = Field("video", description="batch: one for all, so signs cancel (C)")
    reconstruction: Literal["video", "batch"] = Field("video", description="over what the mean of equation 7 is taken")


class Phase(Section):
    epochs: int = Field(5, ge=0)
    learning_rate: float = Field(2e-4, gt=0)
    recipes: list[Recipe] = Field(
        default=["paper", "independent"],
        min_length=1,
        description="prompts of training, all tried: paper (true labels, with and without absent ones), independent "
        "(K of all actions, labels unread), mixed (half of them paper, half 1 to K of all). The best on validation, "
        "label-free, is taken",
    )


class Training(Section):
    batch_size: int = Field(16, ge=2)
    weight_decay: float = Field(0.05, ge=0, description="P: .05, C: 1e-3")
    clip: float = Field(5.0, gt=0, description="of the gradient's norm")
    warm_up: float = Field(0.0, ge=0, lt=1, description="part of the steps in which the rate rises")
    evaluate_every: int = Field(1, ge=1, description="epochs between two label-free figures on validation")
    first: Phase = Phase()
    second: Phase = Phase(learning_rate=1e-4)
    seed: int = 0


class ProDA(Section):
    frames: int = Field(16, ge=2, description="N, of a video: even, in training random")
    asked: int = Field(16, ge=1, description="K, actions in a prompt")
    shuffles: int = Field(3, ge=1, description="cuts of all actions into groups of K that the headline is a mean over")
    threshold: float = Field(0.5, ge=0, le=1, description="θ of frames, and w of edges, that are drawn as kept")
    network: Network = Network()
    loss: Loss = Loss()
    training: Training = Training()
