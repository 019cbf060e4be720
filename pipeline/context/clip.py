"""CLIP-style dual encoders (Radford et al. 2021): frames averaged into a video embedding, text into the same space."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, CLIPModel

from pipeline.checkpoints import load_model, locate, normalise_pixels, processor_settings, resize
from pipeline.stage import StageError


class DualEncoder:
    """One CLIP checkpoint: `videos` and `texts` give L2-normalised rows of one space."""

    def __init__(self, name: str, revision: str = "main"):
        self.model = load_model(CLIPModel, name, revision)
        settings = processor_settings(name, revision)
        self.mean, self.std = settings["image_mean"], settings["image_std"]
        self.size = self.model.config.vision_config.image_size
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(locate(name), revision=revision)
        except (OSError, ValueError) as error:
            raise StageError(f"`{name}` has no tokenizer ({str(error).splitlines()[0]})") from None

    @property
    def device(self) -> torch.device:
        return self.model.device

    def project(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings ``[b, E]``, not normalised, of standardised pictures ``[b, 3, size, size]``."""
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)

    @torch.inference_mode()
    def videos(self, clips: np.ndarray, n_frames: int, batch_size: int) -> np.ndarray:
        """Mean of the normalised frame embeddings, normalised again.

        Args:
            clips: uint8 ``[n, T, H, W, 3]``; ``n_frames`` of the T are taken, evenly spaced.

        Returns:
            float32 ``[n, E]``.
        """
        taken = np.linspace(0, clips.shape[1] - 1, min(n_frames, clips.shape[1])).round().astype(int)
        flat = clips[:, taken].reshape(-1, *clips.shape[2:])  # [n * t, H, W, 3]
        rows = []
        for start in range(0, len(flat), batch_size):
            pixels = torch.from_numpy(flat[start : start + batch_size]).to(self.device)
            pixels = resize(normalise_pixels(pixels, self.mean, self.std), self.size)
            rows.append(F.normalize(self.project(pixels), dim=1))
        if not rows:
            return np.zeros((0, self.model.config.projection_dim), np.float32)
        frames = torch.cat(rows).view(len(clips), len(taken), -1)  # [n, t, E]
        return F.normalize(frames.mean(1), dim=1).float().cpu().numpy()

    @torch.inference_mode()
    def texts(self, texts: list[str], batch_size: int = 64) -> np.ndarray:
        """float32 ``[len(texts), E]``; longer texts than the encoder takes are cut."""
        rows = []
        for start in range(0, len(texts), batch_size):
            tokens = self.tokenizer(
                texts[start : start + batch_size],
                padding=True,
                truncation=True,
                return_tensors="pt",
                max_length=self.model.config.text_config.max_position_embeddings,
            ).to(self.device)
            pooled = self.model.text_model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
            rows.append(F.normalize(self.model.text_projection(pooled), dim=1).float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.model.config.projection_dim), np.float32)
