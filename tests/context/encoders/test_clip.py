from __future__ import annotations

import numpy as np
import pytest

from pipeline.context.encoders import DualEncoder, load_dual_encoder
from pipeline.context.texts import read_candidates, spoken
from pipeline.jobs.stage import StageError

SHIPPED = "pipeline/demo/encoders/dual_encoder"


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    return load_dual_encoder(SHIPPED)


def clips(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 6, 112, 112, 3), dtype=np.uint8)


def test_rows_are_unit_length_and_independent_of_the_batch(encoder):
    many = encoder.videos(clips(3), 4, 64)
    one = encoder.videos(clips(3), 4, 1)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(one, many, atol=1e-5)
    assert encoder.videos(clips(0), 4, 8).shape == (0, many.shape[1])


def test_a_video_is_the_mean_of_its_normalised_frames(encoder):
    clip = clips(1)
    frames = np.stack([encoder.videos(clip[:, k : k + 1], 1, 8)[0] for k in range(6)])
    mean = frames.mean(0)
    np.testing.assert_allclose(encoder.videos(clip, 6, 8)[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_texts_do_not_depend_on_their_neighbours(encoder):
    alone = encoder.texts(["A video of ball"])
    padded = encoder.texts(["A video of ball", "a person with an open umbrella on the beach", "ü 漢字 ☂"])
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(padded, axis=1), 1, rtol=1e-5)
    long = encoder.texts(["ball " * 500])
    assert np.isfinite(long).all()


def test_candidates_file(tmp_path):
    path = tmp_path / "object.txt"
    path.write_text("# comment\nball\n\n  tennis racket \n", encoding="utf-8")
    assert read_candidates(path) == ["ball", "tennis racket"]
    path.write_text("# nothing\n")
    with pytest.raises(StageError, match="holds no candidate"):
        read_candidates(path)
    with pytest.raises(StageError, match="does not exist"):
        read_candidates(tmp_path / "none.txt")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StageError, match="cannot be read as UTF-8 text"):
        read_candidates(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("jumping_jacks", "jumping jacks"),
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("CPR", "cpr"),
        ("roller-skating", "roller skating"),
    ],
)
def test_class_names_are_spoken(name, said):
    assert spoken(name) == said
