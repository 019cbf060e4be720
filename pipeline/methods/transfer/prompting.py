"""Stage `transfer_prompt`: a dual encoder that is frozen but for prompts over time and adapters, as EZ-CLIP has them.

EZ-CLIP (arXiv 2312.08010): before each layer of the vision tower every frame gets one more token, a prompt of its own
plus the mean of the frame's tokens, which has attended over the T frames; adapters of a quarter of the width stand
behind the layers of both towers. Coarse and fine names are learned together: one network answers Tables 2 and 3.
Epochs are a set number: EZ-CLIP's code picks the one that does best on unknown videos.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.data.settings import Index
from pipeline.data.table import read_index
from pipeline.encoding.pixels import evenly
from pipeline.jobs import stage
from pipeline.methods.transfer.contexts import Contexts, contexts_of, sentence
from pipeline.methods.transfer.settings import Prompted

_ADAPTED, _SPREAD = 4, 0.02


class Adapter(nn.Module):
    """A residual bottleneck that begins as nothing."""

    def __init__(self, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, max(1, width // _ADAPTED)), nn.Linear(max(1, width // _ADAPTED), width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.up(functional.gelu(self.down(hidden)))


class PromptedCLIP(nn.Module):
    """Frozen CLIP with prompts and adapters, of clips of ``n_frames``.

    Raises:
        StageError: the dual encoder is no CLIP.
    """

    def __init__(self, encoder: Any, n_frames: int):
        super().__init__()
        clip = encoder.model
        if getattr(clip.config, "model_type", "") != "clip":
            raise stage.StageError(
                "transfer.models: prompt is for CLIP; name one in context.texts.model, or take it off"
            )
        self.encoder, self.n_frames = encoder, n_frames
        # Not registered: what is frozen belongs to no state and to no optimiser.
        self._held = [clip.requires_grad_(False)]
        vision, text = clip.vision_model.encoder.layers, clip.text_model.encoder.layers
        widths = clip.config.vision_config.hidden_size, clip.config.text_config.hidden_size
        self.prompts = nn.Parameter(_SPREAD * torch.randn(len(vision), n_frames, widths[0]))
        self.seeing = nn.ModuleList(Adapter(widths[0]) for _ in vision)
        self.reading = nn.ModuleList(Adapter(widths[1]) for _ in text)
        self.scale = nn.Parameter(clip.logit_scale.detach().clone())
        for number, layer in enumerate(vision):
            layer.register_forward_pre_hook(self._prompt(number))
            layer.register_forward_hook(self._seen(number))
        for number, layer in enumerate(text):
            layer.register_forward_hook(lambda _, __, out, n=number: self.reading[n](out))

    def _prompt(self, number: int):
        def put(layer: nn.Module, inputs: tuple) -> tuple:
            hidden = inputs[0]  # [b · T, 1 + P, W]
            means = hidden.mean(1).unflatten(0, (-1, self.n_frames)) + self.prompts[number]
            over_time, _ = layer.self_attn(hidden_states=layer.layer_norm1(means))
            return torch.cat([hidden, over_time.flatten(0, 1)[:, None]], 1), *inputs[1:]

        return put

    def _seen(self, number: int):
        return lambda _, __, out: self.seeing[number](out[:, :-1])

    def videos(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 clips ``[b, T, H, W, 3]`` → unit vectors of clips ``[b, E]`` and of frames ``[b, T, E]``."""
        pixels = self.encoder.pixels(frames.to(self.encoder.device))
        rows = functional.normalize(self.encoder.project(pixels.flatten(0, 1)).float(), dim=1)
        rows = rows.unflatten(0, (-1, self.n_frames))
        return functional.normalize(rows.mean(1), dim=1), rows

    def texts(self, words: list[str]) -> torch.Tensor:
        """Unit vectors ``[n, E]``."""
        return functional.normalize(self.encoder.embed_tokens(*self.encoder.tokens(words)).float(), dim=1)


def alike(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Symmetric KL divergence, halved, of a batch's pictures and texts to who shares a class with whom.

    Args:
        logits: ``[b, b]``; label ``[b]``.
    """
    same = (label[:, None] == label[None]).float()
    wanted = same / same.sum(1, keepdim=True)
    ways = (functional.kl_div(own.log_softmax(1), wanted, reduction="batchmean") for own in (logits, logits.T))
    return sum(ways) / 2


def motion_loss(frames: torch.Tensor) -> torch.Tensor:
    """``1 / (1 + C + V)`` of frame embeddings ``[b, T, E]``: mean central difference, and variance over T."""
    central = (frames[:, 2:] - frames[:, :-2]).abs().mean() / 2 if frames.shape[1] > 2 else frames.new_zeros(())
    return 1 / (1 + central + frames.var(1, unbiased=False).mean())


def train(
    net: PromptedCLIP,
    clips: np.ndarray,
    own: np.ndarray,
    words: list[list[str]],
    labels: list[np.ndarray],
    recipe: Prompted,
    seed: int,
) -> None:
    """Learn prompts and adapters.

    Args:
        clips: uint8 ``[n, T, H, W, 3]``, which may lie in a file; own: rows to learn from ``[m]``.
        words: texts of each level; labels: of each level ``[n]``, −1 where it is not told.
    """
    optimizer = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * -(-len(own) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(recipe.epochs):
        total = 0.0
        for part in torch.randperm(len(own), generator=order).split(recipe.batch_size):
            rows = own[part.numpy()]
            seen, frames = net.videos(torch.from_numpy(clips[rows]))
            loss = motion_loss(frames)
            for names, label in zip(words, labels, strict=True):
                told = np.flatnonzero(label[rows] >= 0)
                if len(told):
                    number = torch.from_numpy(label[rows][told]).to(seen.device)
                    text = net.texts(names)[number]
                    loss = loss + alike(net.scale.exp().clamp(max=100) * seen[told] @ text.T, number)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        stage.logger.info("epoch %d/%d: loss %.3f", epoch + 1, recipe.epochs, total / len(own))


def gathered(job: stage.Job, wanted: dict[str, int], n_frames: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the wanted clips, evenly spaced, in a file: uint8 ``[n, T, H, W, 3]``; and which of them are there.

    Raises:
        StageError: the clips have fewer frames.
    """
    held, there = None, np.zeros(len(wanted), bool)
    for arrays, described in job.read_arrays("clips"):
        frames = arrays["frames"]
        if held is None:
            if frames.shape[1] < n_frames:
                raise stage.StageError(f"clips of {frames.shape[1]} frames are shorter than transfer.prompt.frames")
            held = np.lib.format.open_memmap(path, "w+", np.uint8, (len(wanted), n_frames, *frames.shape[2:]))
        for number, key in enumerate(described["video_id"]):
            if key in wanted:
                held[wanted[key]] = frames[number][evenly(frames.shape[1], n_frames)]
                there[wanted[key]] = True
    if held is None or not there.any():
        raise stage.StageError("no clip to learn from was decoded; look at decode with `conceptreel inspect`")
    return held, there


def learned(
    net: PromptedCLIP, clips: np.ndarray, contexts: Contexts, names: list[str], train_set: int, recipe: Prompted
) -> dict[str, np.ndarray]:
    """Train on a set; embeddings ``[n, E]`` of all clips, and of the texts of coarse and of fine classes of both sets.

    Raises:
        StageError: the set has no clip to learn from.
    """
    seen = np.flatnonzero(contexts.trained(train_set))
    if not len(seen):
        raise stage.StageError(f"set {train_set} has no decoded video to learn from; look at index and decode")
    words, labels = [[sentence(name) for name in names]], [contexts.label]
    if contexts.fine_names.get(train_set):
        words.append(contexts.fine_names[train_set])
        labels.append(contexts.fine)
    train(net, clips, seen, words, labels, recipe, seed=0)
    with torch.inference_mode():
        parts = [
            net.videos(torch.from_numpy(clips[k : k + recipe.batch_size]))[0]
            for k in range(0, len(clips), recipe.batch_size)
        ]
        found = {"embeddings": torch.cat(parts), "coarse": net.texts(words[0])}
        for s, own in contexts.fine_names.items():
            if own:
                found[f"fine_{s}"] = net.texts(own)
    return {key: value.cpu().numpy() for key, value in found.items()}


def build(job: stage.Job) -> None:
    """Write what each set's network makes of all clips before realistic backgrounds, and of all names."""
    from pipeline.context.encoders import load_dual_encoder

    recipe, index = Prompted.model_validate(job.settings["prompt"]), Index.model_validate(job.settings["index"])
    text = job.settings["texts"]
    videos = read_index(job)
    contexts = contexts_of(videos, index, job.root)
    realistic = np.flatnonzero(~contexts.plain)
    wanted = {key: number for number, key in enumerate(videos.video_id[realistic])}
    target = job.outputs["prompted"].parent
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    found: dict[int, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory(dir=target) as folder:
        clips, there = gathered(job, wanted, recipe.frames, Path(folder) / "frames.npy")
        rows = realistic[there]
        own = clips if there.all() else clips[there]  # as a rule they all are, and stay in the file
        for s in [index.train_set] if index.train_set else [1, 2]:
            encoder = load_dual_encoder(text["model"], text["revision"], text["sha256"], job.runtime)
            net = PromptedCLIP(encoder, recipe.frames).to(encoder.device)
            found[s] = learned(net, own, contexts.take(rows), videos.class_names, s, recipe)
    arrays = {f"{name}/{s}": value for s, by_name in found.items() for name, value in by_name.items()}
    job.write_arrays("prompted", arrays, {"video_id": videos.video_id[rows].tolist()}, n_ok=len(rows))


if __name__ == "__main__":
    stage.run("transfer_prompt", build)
