"""Measures the encoders on clips of seeds and actors that no training clip has."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import (
    CLIPModel,
    CLIPTokenizer,
    VideoMAEModel,
    VitPoseForPoseEstimation,
)

from pipeline.demo.classes import MOTIONS, OBJECTS, SCENES
from pipeline.demo.clips import ClipSpec, RenderedClip, render
from pipeline.demo.videos import write_video
from tools.demo_encoders import backbone, dual, mosaic, pose
from tools.demo_encoders.captions import ABSENT
from tools.demo_encoders.samples import (
    FRAMES_PER_CLIP,
    factor_indices,
    held_out_spec,
    render_samples,
)

PROMPT = "A video of {}"
# Things that are neither shown nor named in training.
UNKNOWN = ("accordion", "bagpipe", "chimney", "dentist", "hedgehog", "magnet", "oyster", "sledge")
_FRAMES_PER_EMBEDDING = 8


def through_codec(clip: RenderedClip, folder: Path) -> np.ndarray:
    """The clip's frames after H.264 compression and decoding, uint8 `[F, H, W, 3]`."""
    path = folder / f"{clip.spec.seed}.mp4"
    write_video(path, clip.frames)
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def decoded_clips(specs: Sequence[ClipSpec]) -> list[tuple[RenderedClip, np.ndarray]]:
    """Sixteen evenly spread frames of each clip, with ground truth, and the same frames decoded."""
    result = []
    with tempfile.TemporaryDirectory() as folder:
        for spec in specs:
            clip = render(spec)
            frames = through_codec(clip, Path(folder))
            chosen = np.linspace(0, spec.n_frames - 1, FRAMES_PER_CLIP).round().astype(int)
            arrays = ("frames", "keypoints", "visible", "person_mask", "object_mask")
            kept = replace(clip, **{name: getattr(clip, name)[chosen] for name in arrays})
            result.append((kept, frames[chosen]))
    return result


def pose_figures(model: VitPoseForPoseEstimation, clips: Sequence[tuple[RenderedClip, np.ndarray]]) -> dict[str, float]:
    """PCK on whole frames and on person boxes, and mean confidences."""
    frames = np.concatenate([decoded for _, decoded in clips])
    keypoints = np.concatenate([clip.keypoints for clip, _ in clips])
    visible = np.concatenate([clip.visible for clip, _ in clips])
    whole, confidence = pose.predict(model, frames)
    boxes = np.stack([pose.person_box(points) for points in keypoints])
    boxed, _ = pose.predict(model, frames, boxes)
    return {
        "PCK@0.1, whole frame": pose.correct_fraction(whole, keypoints, visible),
        "PCK@0.05, whole frame": pose.correct_fraction(whole, keypoints, visible, 0.05),
        "PCK@0.1, person box": pose.correct_fraction(boxed, keypoints, visible),
        "PCK@0.05, person box": pose.correct_fraction(boxed, keypoints, visible, 0.05),
        "confidence, visible joints": float(confidence[visible].mean()),
        "confidence, hidden joints": float(confidence[~visible].mean()),
    }


def backbone_figures(
    model: VideoMAEModel,
    clips: Sequence[tuple[RenderedClip, np.ndarray]],
    n_probe: int = 384,
) -> dict[str, float]:
    """Accuracy of logistic regressions on the mean token, fitted on `n_probe` other clips."""
    probe = render_samples([held_out_spec(50_000 + index) for index in range(n_probe)])
    train = backbone.features(model, probe.frames)
    test = backbone.features(model, np.stack([decoded for _, decoded in clips]))
    truth = np.array([factor_indices(clip.spec) for clip, _ in clips])
    figures = {}
    for column, name in enumerate(("motion", "object", "scene")):
        probe_model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        probe_model.fit(train, probe.factors[:, column])
        figures[f"{name} accuracy"] = float(probe_model.score(test, truth[:, column]))
    return figures


def _video_embeddings(model: CLIPModel, clips: Sequence[np.ndarray]) -> np.ndarray:
    """Unit means `[N, 128]` of the unit embeddings of eight frames of each clip."""
    step = FRAMES_PER_CLIP // _FRAMES_PER_EMBEDDING
    frames = np.concatenate([dual.to_input(clip[::step]) for clip in clips])
    images = dual.embed_images(model, frames).reshape(len(clips), _FRAMES_PER_EMBEDDING, -1)
    means = images.mean(axis=1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def _leakage(model: CLIPModel, texts: dict[str, np.ndarray], n_clips: int) -> tuple[float, float, float, float]:
    """How much objects' cosines move when only the scene changes, and the reverse.

    Each of `n_clips` clips is rendered with two objects and two scenes and otherwise the same.

    Returns mean absolute changes of: the objects' cosines over scenes, the scenes' cosines over
    objects; and, to compare with, the clip's own object's cosine over objects, and its own
    scene's over scenes.
    """
    views: dict[tuple[int, int], list[np.ndarray]] = {}
    pairs = []
    for index in range(n_clips):
        spec = held_out_spec(90_000 + index)
        things = [spec.object, OBJECTS[(OBJECTS.index(spec.object) + 3) % len(OBJECTS)]]
        places = [spec.scene, SCENES[(SCENES.index(spec.scene) + 3) % len(SCENES)]]
        pairs.append((OBJECTS.index(things[0]), SCENES.index(places[0])))
        for row, thing in enumerate(things):
            for column, place in enumerate(places):
                changed = replace(spec, object=thing, scene=place)
                frames = render_samples([changed]).frames[0]
                views.setdefault((row, column), []).append(frames)
    videos = {key: _video_embeddings(model, clips) for key, clips in views.items()}
    cosines = {name: {key: video @ texts[name].T for key, video in videos.items()} for name in ("object", "scene")}
    rows = np.arange(n_clips)
    own_object, own_scene = np.array(pairs).T
    thing, place = cosines["object"], cosines["scene"]
    return (
        float(np.abs(thing[0, 0] - thing[0, 1]).mean()),
        float(np.abs(place[0, 0] - place[1, 0]).mean()),
        float((thing[0, 0] - thing[1, 0])[rows, own_object].mean()),
        float((place[0, 0] - place[0, 1])[rows, own_scene].mean()),
    )


def circled_objects(
    model: CLIPModel,
    tokenizer: CLIPTokenizer,
    clips: Sequence[tuple[RenderedClip, np.ndarray]],
    min_pixels: int = 60,
) -> float:
    """How often a circle around the object makes its name the nearest of the objects and person.

    One frame of each clip: the one that shows most of the object, if that is `min_pixels` or more.
    """
    names = (*OBJECTS, "person")
    texts = dual.embed_texts(model, tokenizer, [PROMPT.format(name) for name in names])
    images, truth = [], []
    for clip, decoded in clips:
        best = int(clip.object_mask.sum(axis=(1, 2)).argmax())
        rows, columns = np.nonzero(clip.object_mask[best])
        if len(rows) < min_pixels:
            continue
        scale = dual.INPUT_SIZE / decoded.shape[1]
        centre = (np.array([columns.mean(), rows.mean()]) + 0.5) * scale - 0.5
        images.append(dual.draw_circle(dual.to_input(decoded[best : best + 1])[0], centre))
        truth.append(OBJECTS.index(clip.spec.object))
    found = (dual.embed_images(model, np.stack(images)) @ texts.T).argmax(axis=1)
    return float((found == truth).mean())


def circled_among_others(
    model: CLIPModel, tokenizer: CLIPTokenizer, clips: Sequence[tuple[RenderedClip, np.ndarray]], min_pixels: int = 60
) -> tuple[float, float]:
    """How often the circled object wins in pictures of six, and how often the biggest one wins that is not circled.

    Five objects are pasted into a frame of each clip, and one that is not the biggest is circled, at the demo's
    placement of prompts: within half a step of the grid of its centre.
    """
    texts = dual.embed_texts(model, tokenizer, [PROMPT.format(name) for name in OBJECTS])
    rng = np.random.default_rng(20)
    images, circled, biggest = [], [], []
    for _, decoded in clips:
        frame = decoded[0].copy()
        labels = np.zeros(frame.shape[:2], np.uint8)
        centres = mosaic.paste_objects([frame], [labels], rng)
        counts = np.bincount(labels.reshape(-1), minlength=mosaic.N_LABELS)[mosaic.FIRST_OBJECT_LABEL :]
        largest = int(counts.argmax())
        columns, rows = np.clip(centres.round().astype(int), 0, frame.shape[0] - 1).T
        kinds = labels[rows, columns].astype(int) - mosaic.FIRST_OBJECT_LABEL
        usable = [i for i, kind in enumerate(kinds) if kind >= 0 and kind != largest and counts[kind] >= min_pixels]
        if not usable:
            continue
        chosen = int(rng.choice(usable))
        scale = dual.INPUT_SIZE / frame.shape[1]
        centre = dual.nearest_prompt((centres[chosen] + 0.5) * scale - 0.5)
        images.append(dual.draw_circle(dual.to_input(frame[None])[0], centre))
        circled.append(kinds[chosen])
        biggest.append(largest)
    found = (dual.embed_images(model, np.stack(images)) @ texts.T).argmax(axis=1)
    return float((found == circled).mean()), float((found == biggest).mean())


def dual_figures(
    model: CLIPModel,
    tokenizer: CLIPTokenizer,
    clips: Sequence[tuple[RenderedClip, np.ndarray]],
    n_leakage: int = 48,
) -> dict[str, float]:
    """Zero-shot accuracies, cosines of true and untrue concepts, leakage and circles."""
    vocabularies = {"motion": MOTIONS, "object": OBJECTS, "scene": SCENES}
    texts = {
        name: dual.embed_texts(model, tokenizer, [PROMPT.format(word) for word in words])
        for name, words in vocabularies.items()
    }
    videos = _video_embeddings(model, [decoded for _, decoded in clips])
    truth = np.array([factor_indices(clip.spec) for clip, _ in clips])
    rows = np.arange(len(clips))
    figures = {}
    for column, name in enumerate(vocabularies):
        cosines = videos @ texts[name].T  # [N, 8]
        own = cosines[rows, truth[:, column]]
        others = np.ones_like(cosines, dtype=bool)
        others[rows, truth[:, column]] = False
        figures[f"{name} accuracy"] = float((cosines.argmax(axis=1) == truth[:, column]).mean())
        figures[f"{name} cosine, true (mean)"] = float(own.mean())
        figures[f"{name} cosine, untrue (mean)"] = float(cosines[others].mean())
        figures[f"{name} cosine, untrue (95th percentile)"] = float(np.percentile(cosines[others], 95))
    for name, words in (("absent", ABSENT), ("unknown", UNKNOWN)):
        other = dual.embed_texts(model, tokenizer, [PROMPT.format(word) for word in words])
        figures[f"cosine of {name} words (largest per word, mean)"] = float((videos @ other.T).max(axis=0).mean())
    leakage = _leakage(model, texts, n_leakage)
    figures["object cosines' change with the scene"] = leakage[0]
    figures["scene cosines' change with the object"] = leakage[1]
    figures["own object's drop when it is replaced"] = leakage[2]
    figures["own scene's drop when it is replaced"] = leakage[3]
    figures["circled object found"] = circled_objects(model, tokenizer, clips)
    among = circled_among_others(model, tokenizer, clips)
    figures["circled object found among six (chance 0.125)"] = among[0]
    figures["the biggest of the six found instead"] = among[1]
    return figures


def measure(encoders: Path, names: Sequence[str], n_clips: int = 128) -> dict[str, dict]:
    """Measures the named encoders below `encoders` on `n_clips` decoded H.264 clips."""
    clips = decoded_clips([held_out_spec(index) for index in range(n_clips)])
    figures = {}
    if "pose" in names:
        figures["pose"] = pose_figures(VitPoseForPoseEstimation.from_pretrained(encoders / "pose").eval(), clips)
    if "backbone" in names:
        figures["backbone"] = backbone_figures(VideoMAEModel.from_pretrained(encoders / "backbone").eval(), clips)
    if "dual_encoder" in names:
        folder = encoders / "dual_encoder"
        figures["dual_encoder"] = dual_figures(
            CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder), clips
        )
    return figures
