"""Rendered clips of Syn-TA against their truth, a brute-force caster, and other processors."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.demo.settings import Synta
from pipeline.demo.synta import clips as clips_module
from pipeline.demo.synta.classes import REVERSED, Clip
from pipeline.demo.synta.clips import colour_of, length_of, render
from pipeline.demo.synta.raycast import Body, Camera, Stage, plane_points, unit
from pipeline.demo.synta.shapes import BOUND, KINDS, hit
from pipeline.store.atomic import StageError

SMALL = Synta(size=64, frames=(12, 12), distance=19)
INSIDE = {
    "cube": lambda p: np.abs(p).max(-1) <= 0.75,
    "sphere": lambda p: (p**2).sum(-1) <= 1,
    "cylinder": lambda p: ((p[..., :2] ** 2).sum(-1) <= 0.75**2) & (np.abs(p[..., 2]) <= 0.8),
    "cone": lambda p: (
        (np.sqrt((p[..., :2] ** 2).sum(-1)) <= (1 - p[..., 2]) / 2) & (p[..., 2] >= -0.8) & (p[..., 2] <= 1)
    ),
    "capsule": lambda p: np.sqrt((p[..., :2] ** 2).sum(-1) + np.maximum(np.abs(p[..., 2]) - 0.5, 0) ** 2) <= 0.55,
    "torus": lambda p: (np.hypot(p[..., 0], p[..., 2]) - 0.68) ** 2 + p[..., 1] ** 2 <= 0.09,
    "pyramid": lambda p: (2.4 * np.abs(p[..., :2]).max(-1) + p[..., 2] <= 1) & (p[..., 2] >= -0.8),
    "prism": lambda p: (
        (0.75**0.5 * np.abs(p[..., 0]) + p[..., 2] / 2 <= 0.5) & (p[..., 2] >= -0.5) & (np.abs(p[..., 1]) <= 0.8)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rays_meet_bodies_where_small_steps_do(kind):
    """An oracle that only knows which points are inside."""
    rng = np.random.default_rng(0)
    eye = np.array(unit((1.0, -2.0, 0.8))) * 5
    aims = rng.uniform(-1.2, 1.2, (400, 3))
    d = aims - eye
    t, normal = hit(kind, tuple(eye), tuple(d.T))
    steps = np.linspace(0.5, 1.6, 3000)
    inside = INSIDE[kind](eye + steps[None, :, None] * d[:, None, :])  # [400, steps]
    first = np.where(inside.any(1), steps[inside.argmax(1)], np.inf)
    grazing = np.isfinite(t) != np.isfinite(first)
    assert grazing.mean() < 0.02  # steps miss corners
    both = np.isfinite(t) & np.isfinite(first)
    assert both.sum() > 50 and np.abs(t[both] - first[both]).max() < 2e-2
    n = np.stack([np.broadcast_to(part, t.shape) for part in normal], -1)
    assert ((n * d).sum(-1)[both] < 1e-9).all()  # outward normals face the eye
    points = eye + t[both][:, None] * d[both]
    assert np.linalg.norm(points, axis=1).max() <= BOUND + 1e-6


def test_a_frame_is_what_a_caster_of_single_rays_sees():
    """At 32 pixels: every pixel by itself, four rays, all bodies, the nearest wins."""
    camera = Camera((2.0, -15.0, 5.0), (0, 0, 1), 32)
    light = unit((-0.35, -0.85, 0.4))
    bodies = [
        Body("cube", (-1.0, 0.5, 1.0), 1.4, (0.8, 0.6), (200.0, 30.0, 40.0), 1.0, 0),
        Body("sphere", (0.6, -0.8, 1.2), 1.1, (1.0, 0.0), (30.0, 220.0, 60.0), 1.0, 1),
        Body("cone", (1.5, 1.5, 2.6), 1.6, (1.0, 0.0), (60.0, 60.0, 240.0), 1.0, 2),
    ]
    stage = Stage(camera, np.full((32, 32, 3), 90.0), plane_points(camera, "front"), light)
    _, ids, seen = stage.frame(bodies)
    votes = np.zeros((32, 32, 4), int)
    for row in range(32):
        for column in range(32):
            for dy in (0.25, 0.75):
                for dx in (0.25, 0.75):
                    d = camera.directions(np.array([column + dx]), np.array([row + dy]))
                    found = []
                    for body in bodies:
                        c, s = body.turn
                        turn = lambda v, c=c, s=s: (c * v[0] + s * v[1], c * v[1] - s * v[0], v[2])  # noqa: E731
                        o = turn([camera.eye[k] - body.position[k] for k in range(3)])
                        t, _ = hit(
                            body.kind,
                            tuple(x / body.scale for x in o),
                            tuple(x / body.scale for x in turn([part[0, 0] for part in d])),
                        )
                        found.append(float(t))
                    nearest = int(np.argmin(found))
                    votes[row, column, nearest + 1 if np.isfinite(found[nearest]) else 0] += 1
    sure = votes.max(-1) == 4
    assert sure.mean() > 0.8 and np.array_equal(ids[sure], votes.argmax(-1)[sure])
    area = {k: (votes[..., k + 1] > 0).sum() for k in range(3)}
    assert all(0 < seen[k][0] <= 1 for k in area)


def test_projected_centres_are_those_of_the_masks():
    clip = render(SMALL, Clip("rising", 3, 4, "front"))
    for number in range(len(clip.frames)):
        rows, columns = np.nonzero(clip.ids[number] == 1)
        x, y, radius = clip.tracks[number, 0, :3]
        x0, y0, x1, y1 = clip.box[number, 0]
        assert abs((x0 + x1) / 2 - x) <= 1 and abs(columns.mean() + 0.5 - x) <= 1
        assert abs(rows.mean() + 0.5 - y) <= 1 + 0.3 * radius  # bodies are not alike above and below their centres
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)


@pytest.mark.parametrize("pair", [("disappearing", 3), ("departing", 4), ("falling", 2)])
def test_twins_are_equal_to_the_byte(pair):
    coarse, n = REVERSED[pair]
    for view in ("front", "ground"):
        first, second = render(SMALL, Clip(coarse, n, 5, view)), render(SMALL, Clip(*pair, 5, view))
        assert np.array_equal(first.frames[::-1], second.frames) and np.array_equal(first.ids[::-1], second.ids)
        assert np.array_equal(first.tracks[::-1], second.tracks)
        assert not np.array_equal(first.frames, second.frames)


def test_twins_across_sets_are_equal_where_shapes_and_scenes_are():
    merged = render(SMALL, Clip("merging", 1, 31, "front", "realistic", "unknown_motion"))
    cloned = render(SMALL, Clip("cloning", 2, 31, "front"))
    assert np.array_equal(merged.frames[::-1], cloned.frames)


def test_the_mean_frame_does_not_tell_the_order():
    """Who sees only the mean of a clip's frames cannot tell it from its twin."""
    for pair in [("disappearing", 1), ("departing", 2), ("falling", 4)]:
        first, second = (render(SMALL, Clip(*own, 2, "front")).frames for own in (REVERSED[pair], pair))
        assert np.array_equal(first.astype(int).sum(0), second.astype(int).sum(0))


def test_plain_and_realistic_have_one_truth():
    first, second = (render(SMALL, Clip("occlusion", 4, 3, "ground", kind)) for kind in ("realistic", "plain"))
    for name in ("ids", "tracks", "position", "scale", "value", "box", "visible", "shape"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert not np.array_equal(first.frames, second.frames)
    assert len(np.unique(second.frames[0][second.ids[0] == 0].reshape(-1, 3), axis=0)) < 60


def test_one_factor_is_changed_at_a_time():
    home = render(SMALL, Clip("bouncing", 2, 33, "front"))
    shape = render(SMALL, Clip("bouncing", 2, 33, "front", "realistic", "unknown_shape"))
    scene = render(SMALL, Clip("bouncing", 2, 33, "front", "realistic", "unknown_scene"))
    assert np.array_equal(home.position, shape.position) and np.array_equal(home.tracks[..., 3:], shape.tracks[..., 3:])
    assert not set(home.about["shapes"]) & set(shape.about["shapes"]) and home.about["scene"] == shape.about["scene"]
    assert np.array_equal(home.ids, scene.ids) and abs(home.about["scene"] - scene.about["scene"]) == 10
    motion = Clip("bouncing", 2, 33, "front", "realistic", "unknown_motion")
    assert (motion.set, motion.shape_set, motion.scene_set) == (2, 1, 1)


@pytest.mark.parametrize(("n", "low", "high"), [(1, 0.75, 0.999), (2, 0.0, 0.2)])
@pytest.mark.parametrize("view", ["front", "ground"])
def test_occlusion_hides_what_its_name_says(n, low, high, view):
    for identity in (1, 2, 3):
        clip = render(Synta(size=112, frames=(8, 8), distance=19), Clip("occlusion", n, identity, view))
        assert clip.visible[0, 1] > 0.97
        assert low <= clip.visible[-1, 1] <= high, (identity, clip.visible[:, 1])


def test_lengths_and_bytes_follow_from_the_seed():
    settings = Synta(size=32, frames=(8, 20), distance=19)
    lengths = {length_of(settings, Clip("rising", 1, k)) for k in range(1, 30)}
    assert min(lengths) >= 8 and max(lengths) <= 20 and len(lengths) > 5
    clip = Clip("teleporting", 4, 2, "front")
    assert np.array_equal(render(settings, clip).frames, render(settings, clip).frames)
    assert len(render(settings, clip).frames) == length_of(settings, clip)
    other = render(settings.model_copy(update={"seed": 1}), clip)
    assert not np.array_equal(other.position[:1], render(settings, clip).position[:1])


def test_what_is_never_seen_is_drawn_again_and_told(monkeypatch):
    monkeypatch.setattr(clips_module, "_all_seen", lambda *_: False)
    with pytest.raises(StageError, match="after 50 draws some body never enters the picture"):
        render(SMALL, Clip("rising", 1, 1, "front"))


def test_colours_are_those_of_the_circle():
    assert colour_of(0, 1, 1) == (255, 0, 0) and colour_of(1 / 3, 1, 1) == pytest.approx((0, 255, 0), abs=1e-3)
    assert colour_of(0.5, 1, 1) == pytest.approx((0, 255, 255)) and colour_of(0.7, 0, 0.4) == (102, 102, 102)


@pytest.mark.parametrize(
    "wrong", [{"size": 113}, {"size": 16}, {"frames": (4, 10)}, {"frames": (20, 10)}, {"distance": 3}]
)
def test_settings_that_cannot_be_rendered_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Synta(**wrong)


PROGRAM = """
import hashlib, sys
from pipeline.demo.settings import Synta
from pipeline.demo.synta.classes import Clip
from pipeline.demo.synta.clips import render
from pipeline.demo.videos import write_video
import numpy as np
print(int(any(np._core._multiarray_umath.__cpu_features__.get(name) for name in ("X86_V3", "X86_V4", "AVX512_ICL"))))
settings = Synta(size=112, frames=(8, 8), distance=19)
for coarse, n, view in (("orbiting", 6, "front"), ("changing shape", 3, "ground"), ("merging", 4, "ground")):
    frames = render(settings, Clip(coarse, n, 2, view)).frames
    write_video(sys.argv[1], frames, 24)
    print(hashlib.blake2b(frames.tobytes()).hexdigest(), hashlib.blake2b(open(sys.argv[1], "rb").read()).hexdigest())
"""


def test_bytes_do_not_depend_on_avx(project, tmp_path):
    """NumPy and the C library are kept from it; the encoder is not, whose output its own assembly does not change."""
    older = {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-FMA,-FMA4",
    }
    said = []
    for extra in ({}, older):
        environment = os.environ | {"PYTHONPATH": str(project)} | extra
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "clip.mp4")]
        said.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert said[1].startswith("0") and said[0].split()[1:] == said[1].split()[1:]
