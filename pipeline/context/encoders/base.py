"""What every dual encoder gives: clips, single pictures and texts as rows of one space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.encoding.batches import Rows, Stopwatch, seen_frames
from pipeline.encoding.encoder import Encoder
from pipeline.encoding.pixels import Preprocessing, check_patch, evenly
from pipeline.jobs.runtime import Runtime
from pipeline.store.atomic import StageError


class DualEncoder(Encoder, ABC):
    """One dual encoder with its preprocessing and its tokenizer; `videos` and `texts` give L2-normalised rows.

    Attributes:
        model: the network.
        preprocessing: of its pictures; size: side of these in pixels; mean, std: of their channels.
        width: E, dimensions of the common space.
        patch: side of the smallest picture that it can see, in pixels.
        n_frames: frames of a clip that it sees, None for any number.
        context_length: tokens of a text that it sees.
    """

    width: int
    patch: int
    n_frames: int | None = None
    context_length: int

    def __init__(self, model: torch.nn.Module, preprocessing: Preprocessing, tokenizer: Any, runtime: Runtime):
        super().__init__(model, runtime)
        self.preprocessing, self.tokenizer = preprocessing, tokenizer
        self.size, self.mean, self.std = preprocessing.size[0], preprocessing.mean, preprocessing.std

    @abstractmethod
    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings ``[b, E]`` of standardised clips ``[b, t, 3, size, size]``."""

    @abstractmethod
    def project(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings ``[b, E]``, not normalised, of standardised pictures ``[b, 3, size, size]``."""

    @abstractmethod
    def embed_tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings ``[b, E]``, not normalised, of token ids and attention mask ``[b, L]``."""

    def tokens(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask ``[b, L]``; longer texts than the encoder takes are cut."""
        result = self.tokenizer(
            texts, padding=True, truncation=True, return_tensors="pt", max_length=self.context_length
        ).to(self.device)
        return result["input_ids"], result["attention_mask"]

    def frames_taken(self, available: int, wanted: int) -> int:
        """How many of a clip's frames are seen: the network's own number, or ``wanted`` where it takes any.

        Raises:
            StageError: the clips have fewer.
        """
        if self.n_frames is None:
            return min(wanted, available)
        if available < self.n_frames:
            raise StageError(
                f"the dual encoder needs {self.n_frames} frames, the clips have {available}; set data.decode.n_frames"
            )
        return self.n_frames

    def pixels(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 ``[..., H, W, 3]`` → standardised ``[..., 3, size, size]``.

        Raises:
            StageError: the pictures are smaller than one patch.
        """
        check_patch(tuple(frames.shape), self.patch, "dual encoder")
        return self.preprocessing(frames)

    def videos(self, clips: Rows, n_frames: int, batch_size: int, watch: Stopwatch | None = None) -> np.ndarray:
        """One row per clip.

        Args:
            clips: uint8 ``[n, T, H, W, 3]``, or blocks of them as they are read; ``n_frames`` of the T are taken,
                evenly spaced, where the network takes any number, otherwise as many as it wants.
            batch_size: pictures at once.

        Returns:
            float32 ``[n, E]``.
        """

        def run(batch: torch.Tensor) -> torch.Tensor:
            return F.normalize(self.embed(self.pixels(batch)).float(), dim=1)

        step = max(1, batch_size // (self.n_frames or n_frames))
        clips = seen_frames(clips, lambda n: evenly(n, self.frames_taken(n, n_frames)))
        return self.rows(clips, run, step, "dual_encoder", watch, np.zeros((0, self.width), np.float32))

    @torch.inference_mode()
    def texts(self, texts: list[str], batch_size: int = 64) -> np.ndarray:
        """float32 ``[len(texts), E]``."""
        rows = []
        for start in range(0, len(texts), batch_size):
            ids, mask = self.tokens(texts[start : start + batch_size])
            with self.autocast():
                embedded = self.embed_tokens(ids, mask)
            rows.append(F.normalize(embedded.float(), dim=1).cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.width), np.float32)
