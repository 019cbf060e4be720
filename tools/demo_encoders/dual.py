"""The demo's image-text encoder: a small CLIP on 112 x 112 pixels that heeds red circles.

The cosine of a picture and a caption is regressed onto the cosine of what they say (see
`captions`), beside CLIP's contrastive loss (Radford et al., ICML 2021) with several positives. A
red circle (Shtedritski et al., ICCV 2023) narrows what a picture says to what it encloses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pipeline.demo.classes import MOTIONS, OBJECTS, SCENES
from pipeline.encoding.grid import positions
from tools.demo_encoders import captions
from tools.demo_encoders.backbone import GRID, PATCH, crop_box, resize_matrix
from tools.demo_encoders.loop import fit, save_checkpoint
from tools.demo_encoders.mosaic import (
    FIRST_OBJECT_LABEL,
    N_LABELS,
    PERSON_LABEL,
    paste_objects,
    patch_labels,
    pixel_labels,
)
from tools.demo_encoders.pose import planar_positions
from tools.demo_encoders.samples import Samples, degrade, normalise

INPUT_SIZE = 112
CIRCLE_RADIUS = 16
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_HIDDEN_SIZE = 144
_PROJECTION = 128
_BATCH = 32
# Where the demo's prompts have their circles, pixels of the input along each axis. Circles elsewhere are shown too.
_PROMPTS = np.round(positions(7, "inset", 32) * INPUT_SIZE)
_ON_PROMPTS = 0.6
_COMPOUND_CAPTIONS, _ABSENT_CAPTIONS = 32, 24
_COSINE_LOSS_SCALE = 30.0
_CONTRASTIVE_LOSS_SCALE = 0.5
# Two different absent things may be as similar as this before the loss parts them.
_ABSENT_SIMILARITY = 0.3


@dataclass(frozen=True)
class Phase:
    """A part of the training.

    Attributes:
        share: of the steps.
        learning_rate: peak.
        mosaics: fraction of the pictures with pasted objects and a circle; circled: with a circle only.
        circles: so often the same picture comes with another circle: only the circle then tells the contents apart.
        circle_loss: weight of the loss that makes tokens tell where the circle is.
    """

    share: float
    learning_rate: float
    mosaics: float
    circled: float
    circles: int
    circle_loss: float


# First what things are, then what circles are for. A circle is a thin line, and heeding it takes longest to learn.
PHASES = (
    Phase(0.4, 1e-3, mosaics=0.4, circled=0.15, circles=1, circle_loss=0.0),
    Phase(0.6, 7e-4, mosaics=0.45, circled=0.25, circles=2, circle_loss=3.0),
)


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Returns an untrained dual encoder for the tokenizer's vocabulary."""
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": tokenizer.model_max_length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "image_size": INPUT_SIZE,
            "patch_size": 16,
            "hidden_size": _HIDDEN_SIZE,
            "intermediate_size": 3 * _HIDDEN_SIZE,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
        },
        projection_dim=_PROJECTION,
        logit_scale_init_value=float(np.log(1 / 0.07)),
    )
    model = CLIPModel(config)
    with torch.no_grad():
        positions = torch.from_numpy(planar_positions(GRID, _HIDDEN_SIZE))
        model.vision_model.embeddings.position_embedding.weight[1:] = 0.5 * positions
    return model


def draw_circle(image: np.ndarray, centre: Sequence[float], radius: int = CIRCLE_RADIUS, width: int = 2) -> np.ndarray:
    """Returns a copy of an RGB image `[H, W, 3]` with a pure red circle around (x, y)."""
    point = (round(centre[0]), round(centre[1]))
    return cv2.circle(np.ascontiguousarray(image).copy(), point, radius, (255, 0, 0), width)


def circled_content(labels: np.ndarray, centre: np.ndarray, radius: float, scene: int) -> np.ndarray:
    """What a circle encloses, as a unit vector `[25]` over `captions.CONCEPTS`.

    The object of which 0.6 or more lies inside, else the person who fills a third of the circle
    or more, else the scene; a mixture between.

    Args:
        labels: pixel labels `[h, w]` (see `mosaic`).
        centre, radius: (x, y) and radius in pixels.
        scene: position in SCENES.
    """
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    disc = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= radius**2
    inside = np.bincount(labels[disc], minlength=N_LABELS)
    everywhere = np.bincount(labels.reshape(-1), minlength=N_LABELS)
    parts = inside[FIRST_OBJECT_LABEL:] / np.maximum(1, everywhere[FIRST_OBJECT_LABEL:])
    kind = int(inside[FIRST_OBJECT_LABEL:].argmax())
    object_part = np.clip((parts[kind] - 0.1) / 0.5, 0, 1)
    person_part = np.clip((inside[PERSON_LABEL] / max(1, inside.sum()) - 0.06) / 0.24, 0, 1)
    vector = np.zeros(len(captions.CONCEPTS))
    vector[len(MOTIONS) + kind] = object_part
    vector[-1] = (1 - object_part) * person_part
    vector[len(MOTIONS) + len(OBJECTS) + scene] = (1 - object_part) * (1 - person_part)
    return vector / np.linalg.norm(vector)


def _circle_centre(labels: np.ndarray, pasted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A point (x, y): near an object (a pasted one, where there are), on the person, or anywhere."""
    size = labels.shape[0]
    choice = rng.uniform()
    if choice < 0.45:
        if len(pasted):
            return pasted[rng.integers(len(pasted))] + rng.normal(0, 5, 2)
        points = np.argwhere(labels >= FIRST_OBJECT_LABEL)
        if len(points):
            return points.mean(axis=0)[::-1] + rng.normal(0, 5, 2)
    elif choice < 0.6:
        points = np.argwhere(labels == PERSON_LABEL)
        if len(points):
            return points[rng.integers(len(points))][::-1] + rng.normal(0, 3, 2)
    return rng.uniform(0, size, 2)


def nearest_prompt(centre: np.ndarray) -> np.ndarray:
    """The place of the demo's prompt grid that is nearest to (x, y), pixels of the input: `[2]`."""
    return _PROMPTS[np.abs(_PROMPTS - centre[:, None]).argmin(1)]


def _circle_labels(centre: np.ndarray) -> np.ndarray:
    """What patches know of a circle around (x, y), pixels of the input.

    Returns:
        float32 `[GRID, GRID, 4]`: whether the middle is inside, whether the line comes near it, and where the circle's
        centre lies from there, (x, y) in radii.
    """
    middles = (np.arange(GRID) + 0.5) * PATCH
    away = np.stack(np.broadcast_arrays(centre[0] - middles, centre[1] - middles[:, None]), -1) / CIRCLE_RADIUS
    distance = np.linalg.norm(away, axis=-1)
    on_line = np.abs(distance - 1) * CIRCLE_RADIUS < PATCH / 2
    return np.concatenate([np.stack([distance <= 1, on_line], -1), away], -1).astype(np.float32)


@dataclass(frozen=True)
class _Example:
    """One augmented picture.

    Attributes:
        image: uint8 `[112, 112, 3]`.
        patches: labels `[49]`; circle: float32 `[49, 4]`, see `_circle_labels`, zeros without a circle.
        content: float32 `[25]`, see `captions`.
        factors: int64 `[3]`.
    """

    image: np.ndarray
    patches: np.ndarray
    circle: np.ndarray
    content: np.ndarray
    factors: np.ndarray


def _examples(
    frame: np.ndarray, mask: np.ndarray, factors: np.ndarray, phase: Phase, rng: np.random.Generator
) -> Iterator[_Example]:
    """One augmented picture, plain or with some circles in turn."""
    labels = pixel_labels(mask, factors[1])
    # Of `circles` pictures each; what is drawn here is how many draws have them, so that pictures come out as asked.
    with_circle = (phase.mosaics + phase.circled) / phase.circles
    is_circled = rng.uniform() * (with_circle + 1 - phase.mosaics - phase.circled) < with_circle
    pasted = np.empty((0, 2))
    if is_circled and rng.uniform() * (phase.mosaics + phase.circled) < phase.mosaics:
        frame = frame.copy()
        pasted = paste_objects([frame], [labels], rng)
    box = crop_box(rng, frame.shape[0])
    matrix = resize_matrix(box, INPUT_SIZE)
    flags = cv2.INTER_LINEAR if rng.uniform() < 0.6 else cv2.INTER_CUBIC
    plain = cv2.warpAffine(frame, matrix, (INPUT_SIZE, INPUT_SIZE), flags=flags)
    plain = degrade(plain, rng, grey=0.03)
    across = slice(None, None, -1 if rng.uniform() < 0.5 else 1)
    plain = plain[:, across]
    patches = patch_labels(labels, matrix, GRID, PATCH)[:, across].reshape(-1)
    if not is_circled:
        nothing = np.zeros((GRID * GRID, 4), np.float32)
        yield _Example(plain, patches, nothing, captions.picture_content(factors[None])[0].astype(np.float32), factors)
        return
    if across.step == -1:  # from the frame to the mirrored input
        matrix = np.array([[-1.0, 0, INPUT_SIZE - 1], [0, 1, 0]]) @ np.concatenate([matrix, [[0, 0, 1]]])
    for _ in range(phase.circles):
        point = _circle_centre(labels, pasted, rng)
        centre = matrix[:, :2] @ point + matrix[:, 2]
        if rng.uniform() < _ON_PROMPTS:
            centre = nearest_prompt(centre)
            point = np.linalg.solve(matrix[:, :2], centre - matrix[:, 2])
        content = circled_content(labels, point, CIRCLE_RADIUS * box[2] / INPUT_SIZE, factors[2])
        # A line of two pixels reaches one beyond its radius.
        image = draw_circle(plain, centre, CIRCLE_RADIUS - int(rng.integers(2)), int(rng.integers(1, 3)))
        yield _Example(image, patches, _circle_labels(centre).reshape(-1, 4), content.astype(np.float32), factors)


def batches(samples: Samples, tokenizer: CLIPTokenizer, phase: Phase, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches of augmented pictures and of captions, some of them true."""
    rng = np.random.default_rng(seed)
    while True:
        examples: list[_Example] = []
        while len(examples) < _BATCH:
            row, column = rng.integers(len(samples)), rng.integers(samples.frames.shape[1])
            given = samples.frames[row, column], samples.masks[row, column], samples.factors[row]
            examples += _examples(*given, phase, rng)
        images, patches, circles, contents, factors = (
            np.stack([getattr(example, name) for example in examples[:_BATCH]])
            for name in ("image", "patches", "circle", "content", "factors")
        )
        single, single_content = captions.concept_captions(rng)
        compound, compound_content = captions.compound_captions(rng, _COMPOUND_CAPTIONS)
        absent = captions.absent_captions(rng, _ABSENT_CAPTIONS)
        absent_content = np.zeros((len(absent), len(captions.CONCEPTS)))
        texts = tokenizer(single + compound + absent, padding=True, truncation=True, return_tensors="pt")
        said = np.concatenate([single_content, compound_content, absent_content])
        yield {
            "pixels": torch.from_numpy(normalise(images, CLIP_MEAN, CLIP_STD)),
            "patches": torch.from_numpy(patches),
            "circles": torch.from_numpy(circles),
            "content": torch.from_numpy(contents),
            "factors": torch.from_numpy(factors),
            "input_ids": texts["input_ids"],
            "attention_mask": texts["attention_mask"],
            "said": torch.from_numpy(said.astype(np.float32)),
        }


def circle_loss(told: torch.Tensor, circles: torch.Tensor) -> torch.Tensor:
    """How badly tokens tell which of them a circle encloses, and those on its line where its centre is.

    Args:
        told: `[B, 49, 4]`: logits of inside and line, centre (x, y); circles: see `_circle_labels`.
    """
    is_there = functional.binary_cross_entropy_with_logits(told[..., :2], circles[..., :2])
    on_line = circles[..., 1]
    off = (((told[..., 2:] - circles[..., 2:]) ** 2).sum(-1) * on_line).sum() / on_line.sum().clamp_min(1)
    return is_there + 0.3 * off


def contrastive_loss(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each positive of a row against the row's negatives, averaged.

    Other positives of the same row are no negatives (they are left out of the denominator).

    Args:
        logits: `[A, B]`; positive: bool `[A, B]`.
    """
    negatives = logits.masked_fill(positive, -torch.inf).logsumexp(dim=1, keepdim=True)  # [A, 1]
    return functional.softplus(negatives - logits)[positive].mean()


def train(samples: Samples, steps: int, folder: Path, seed: int = 0) -> None:
    """Trains the dual encoder and saves it with its tokenizer to `folder`."""
    torch.manual_seed(seed)
    tokenizer = captions.build_tokenizer()
    model = build_model(tokenizer)
    for number, phase in enumerate(PHASES):
        _train_phase(model, tokenizer, samples, phase, round(phase.share * steps), folder, seed + number)


def _train_phase(
    model: CLIPModel,
    tokenizer: CLIPTokenizer,
    samples: Samples,
    phase: Phase,
    steps: int,
    folder: Path,
    seed: int,
) -> None:
    # A free scale would grow for ever on captions that are all easily told apart.
    model.logit_scale.requires_grad_(False)
    patch_head = nn.Linear(_HIDDEN_SIZE, N_LABELS)
    scene_head = nn.Linear(_HIDDEN_SIZE, len(SCENES))
    circle_head = nn.Linear(_HIDDEN_SIZE, 4)
    patch_weights = torch.tensor([0.15, 0.3] + [1.0] * len(OBJECTS))

    def losses(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        vision = model.vision_model(pixel_values=batch["pixels"])
        image = functional.normalize(model.visual_projection(vision.pooler_output), dim=-1)
        text = functional.normalize(
            model.get_text_features(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).pooler_output,
            dim=-1,
        )
        said, n_absent = batch["said"], _ABSENT_CAPTIONS
        cosines = image @ text.T  # [B, T]
        wanted = batch["content"] @ said.T
        error = (cosines - wanted) ** 2
        # The single concepts are what the encoder is asked for.
        match = error[:, : len(captions.CONCEPTS)].mean() + 0.5 * error.mean()

        between = text @ text.T  # [T, T]
        known = (between - said @ said.T)[:, :-n_absent] ** 2  # an absent thing is like no concept
        excess = functional.relu(between[-n_absent:, -n_absent:].abs() - _ABSENT_SIMILARITY)
        excess = excess * (1 - torch.eye(n_absent))

        scale = model.logit_scale.exp()
        # A plain picture satisfies a caption all of whose concepts it shows.
        shown, named = batch["content"] > 0.4, said > 0
        unmet = named.float() @ (~shown).float().T  # [T, B]
        motion_free = ~named[:, : len(MOTIONS)].any(dim=1) & named.any(dim=1)  # [T]
        positive = (unmet.T == 0) & motion_free
        usable = motion_free | ~named.any(dim=1)
        contrast = contrastive_loss(scale * cosines[:, usable], positive[:, usable])
        contrast = contrast + contrastive_loss(scale * cosines.T[motion_free], positive.T[motion_free])

        tokens = vision.last_hidden_state[:, 1:]  # [B, 49, D]
        return {
            "cosine": _COSINE_LOSS_SCALE * match,
            "text": 0.2 * _COSINE_LOSS_SCALE * (known.mean() + (excess**2).mean()),
            "contrast": _CONTRASTIVE_LOSS_SCALE * contrast,
            "patches": functional.cross_entropy(
                patch_head(tokens).flatten(0, 1), batch["patches"].flatten(), weight=patch_weights
            ),
            "circle": phase.circle_loss * circle_loss(circle_head(tokens), batch["circles"]),
            "scene": 0.3 * functional.cross_entropy(scene_head(tokens.mean(dim=1)), batch["factors"][:, 2]),
        }

    fit(
        nn.ModuleDict({"model": model, "patch_head": patch_head, "scene_head": scene_head, "circle_head": circle_head}),
        batches(samples, tokenizer, phase, seed),
        losses,
        steps,
        phase.learning_rate,
        checkpoint=lambda modules: save(modules["model"], tokenizer, folder),
    )


def save(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Writes the checkpoint, the tokenizer and the settings of the image processor."""
    captions.save_tokenizer(tokenizer, folder)
    save_checkpoint(model, folder)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": INPUT_SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": INPUT_SIZE, "width": INPUT_SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


def to_input(frames: np.ndarray) -> np.ndarray:
    """Resizes square uint8 frames `[N, H, H, 3]` to the encoder's `[N, 112, 112, 3]`."""
    shape = (INPUT_SIZE, INPUT_SIZE)
    return np.stack([cv2.resize(f, shape, interpolation=cv2.INTER_AREA) for f in frames])


@torch.inference_mode()
def embed_images(model: CLIPModel, images: np.ndarray) -> np.ndarray:
    """Unit embeddings `[N, 128]` of uint8 RGB images `[N, 112, 112, 3]`."""
    pixels = torch.from_numpy(normalise(images, CLIP_MEAN, CLIP_STD))
    parts = [model.get_image_features(pixel_values=part).pooler_output for part in pixels.split(_BATCH)]
    return functional.normalize(torch.cat(parts), dim=-1).numpy()


@torch.inference_mode()
def embed_texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> np.ndarray:
    """Unit embeddings `[N, 128]` of texts."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    features = model.get_text_features(**tokens).pooler_output
    return functional.normalize(features, dim=-1).numpy()
