"""The network that is tuned: a backbone with a new classification head and drop path."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from pipeline.backbone.encoders import Backbone, load_backbone
from pipeline.backbone.finetuning.recipe import drop_rates
from pipeline.encoding.checkpoints import WEIGHTS, processor_settings
from pipeline.encoding.pixels import Preprocessing
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError, replace_when_done

# Standard deviation of the new head's weights: with VideoMAE's factor of 0.001 all classes start alike.
HEAD_SPREAD = 2e-5
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"


class DropPath:
    """Leaves out residual branches, clip by clip (Huang et al. 2016).

    The choice comes from outside, so that it can be the same however a batch is divided.

    Attributes:
        rates: drop rate of each block.
    """

    def __init__(self, model: transformers.VideoMAEForVideoClassification, highest: float):
        blocks = model.videomae.encoder.layer
        self.rates = drop_rates(len(blocks), highest)
        self._factor: torch.Tensor | None = None
        for depth, block in enumerate(blocks):
            # What the attention and the second matrix of the MLP give is then added to what came in.
            for branch, module in enumerate((block.attention, block.output.dense)):
                module.register_forward_hook(self._hook(depth, branch))

    def _hook(self, depth: int, branch: int):
        def scale(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            if self._factor is None:
                return output
            return output * self._factor[:, depth, branch, None, None].to(output.dtype)

        return scale

    def set(self, uniform: torch.Tensor | None) -> None:
        """Choose for the clips of the next forward pass.

        Args:
            uniform: numbers in 0…1, ``[b, depth, 2]``; a branch is dropped where they are below its rate, and kept
                ones are enlarged so that the mean stays. None keeps everything.
        """
        if uniform is None:
            self._factor = None
            return
        rates = torch.tensor(self.rates, device=uniform.device, dtype=uniform.dtype)[:, None]
        self._factor = ((uniform >= rates) / (1 - rates)).float()


class Standardise:
    """Pixels as the backbone was trained with: uint8 ``[b, T, 3, S, S]`` → float32, mean and deviation per channel."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device):
        self.mean, self.std = (
            torch.tensor(value, device=device).view(3, 1, 1) * 255 for value in (preprocessing.mean, preprocessing.std)
        )

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        return (pictures.float() - self.mean) / self.std

    @property
    def fill(self) -> torch.Tensor:
        """The mean colour in grey levels ``[3]``: what comes in from outside a picture should tell nothing."""
        return self.mean.flatten().round()


def build_classifier(
    name: str, revision: str, class_names: list[str], seed: int, runtime: Runtime = AUTO
) -> tuple[Backbone, transformers.VideoMAEForVideoClassification, Standardise]:
    """A backbone, the classifier around the same weights, and the standardisation of its input.

    Raises:
        StageError: the backbone cannot be loaded or is of an architecture that is not tuned here.
    """
    backbone = load_backbone(name, revision, runtime=runtime)
    config = backbone.model.config
    if config.model_type != "videomae":
        raise StageError(
            f"`{name}` is a {config.model_type}; fine-tuning supports only VideoMAE (the recipe of the supplement); "
            f"set backbone.finetune.enabled to false or name another backbone.features.model"
        )
    config = transformers.VideoMAEConfig.from_dict(
        # The mean of the tokens is classified; a final norm before it, as after pre-training, is given up (VideoMAE).
        {**config.to_dict(), "use_mean_pooling": True, "architectures": ["VideoMAEForVideoClassification"]}
    )
    config.id2label = dict(enumerate(class_names))
    config.label2id = {label: number for number, label in enumerate(class_names)}
    model = transformers.VideoMAEForVideoClassification(config)
    weights = {key: value for key, value in backbone.model.state_dict().items() if not key.startswith("layernorm.")}
    model.videomae.load_state_dict(weights)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.classifier.weight.normal_(0, HEAD_SPREAD, generator=generator)
        model.classifier.bias.zero_()
    device = backbone.device
    model.to(device)
    if backbone.norm is not None:  # it was a classifier already
        model.fc_norm.load_state_dict(backbone.norm.state_dict())
    backbone.model, backbone.norm = model.videomae, model.fc_norm
    return backbone, model, Standardise(backbone.preprocessing, device)


def save_checkpoint(model: transformers.VideoMAEForVideoClassification, name: str, revision: str, folder: Path) -> None:
    """Write a folder that `load_backbone` and ``from_pretrained`` open: weights, config, and the settings of pixels.

    Args:
        name, revision: the backbone that it was made from.
    """
    model.config.dtype = "float32"
    contents = {
        CONFIG: model.config.to_json_string(use_diff=False),
        PROCESSOR: json.dumps(processor_settings(name, revision), indent=2) + "\n",
    }
    for file, text in contents.items():
        with replace_when_done(folder / file) as temporary:
            temporary.write_text(text)
    with replace_when_done(folder / WEIGHTS) as temporary:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, temporary, {"format": "pt"})
