"""The shipped checkpoints of the demo, and the code that trains and measures them."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    CLIPModel,
    CLIPTokenizer,
    VideoMAEModel,
    VitPoseForPoseEstimation,
)

from pipeline.demo.classes import OBJECTS, SCENES, plan
from tools.demo_encoders import (
    backbone,
    captions,
    dual,
    loop,
    measure,
    mosaic,
    pose,
    samples,
)
from tools.demo_encoders.__main__ import ENCODERS, N_CLIPS

CLASSES = {
    "pose": VitPoseForPoseEstimation,
    "backbone": VideoMAEModel,
    "dual_encoder": CLIPModel,
}


@functools.cache
def encoder(name: str):
    torch.set_num_threads(1)
    return CLASSES[name].from_pretrained(ENCODERS / name).eval()


@functools.cache
def decoded_clips():
    return measure.decoded_clips([samples.held_out_spec(index) for index in range(24)])


@pytest.mark.parametrize("name", CLASSES)
def test_every_weight_of_the_checkpoint_is_loaded_as_float32(name):
    model, info = CLASSES[name].from_pretrained(ENCODERS / name, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_checkpoints_take_at_most_ten_megabytes():
    files = [path for path in ENCODERS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files if path.name == "model.safetensors"} == set(CLASSES)
    assert sum(path.stat().st_size for path in files) <= 10_000_000


def test_training_measuring_and_demo_share_no_seed_and_no_actor():
    training = [samples.training_spec(index) for index in (0, N_CLIPS - 1)]
    held_out = [samples.held_out_spec(index) for index in range(0, 100_000, 997)]
    demo = [clip.spec for clip in plan()]
    assert max(spec.seed for spec in demo) < 1_000_000
    assert min(spec.seed for spec in training) >= 10_000_000
    assert min(spec.seed for spec in held_out) > max(spec.seed for spec in training)
    assert {spec.actor for spec in demo}.isdisjoint(spec.actor for spec in held_out)
    assert max(spec.actor for spec in demo) < 1000 <= min(spec.actor for spec in training)
    assert max(spec.actor for spec in held_out) < 1000


def test_factors_of_the_training_clips_are_independent_and_uniform():
    factors = np.array([samples.factor_indices(samples.training_spec(index)) for index in range(1600)])
    for column in range(3):
        counts = np.bincount(factors[:, column], minlength=8)
        assert (np.abs(counts - 200) < 4.5 * np.sqrt(200)).all()
    for first, second in ((0, 1), (0, 2), (1, 2)):
        table = np.histogram2d(factors[:, first], factors[:, second], bins=8)[0]
        expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
        # 49 degrees of freedom: 100 has a probability below 1e-4.
        assert ((table - expected) ** 2 / expected).sum() < 100


def test_tokenizer_writes_known_words_as_one_token_and_any_text_without_loss():
    tokenizer = CLIPTokenizer.from_pretrained(ENCODERS / "dual_encoder")
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    for concept in ("umbrella", "library", "kick", "guitar"):
        ids = tokenizer(f"A video of {concept}").input_ids
        assert (ids[0], ids[-1], len(ids)) == (start, end, 6)
    for text in ("xylophone quartz", "ünïcode 你好", "smörgåsbord fjord"):
        ids = tokenizer(text).input_ids
        assert end not in ids[1:-1]  # which is the unknown token as well
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer("word " * 500, truncation=True).input_ids) == 77


def test_tokenizer_files_agree_with_the_code_that_writes_them():
    built = captions.build_tokenizer()
    for shipped in (CLIPTokenizer, AutoTokenizer):
        loaded = shipped.from_pretrained(ENCODERS / "dual_encoder")
        assert loaded.get_vocab() == built.get_vocab()
        text = "A video of a person waving an astrolabe"
        assert loaded(text).input_ids == built(text).input_ids


def test_a_text_keeps_its_embedding_when_padded():
    tokenizer = CLIPTokenizer.from_pretrained(ENCODERS / "dual_encoder")
    model = encoder("dual_encoder")
    alone = dual.embed_texts(model, tokenizer, ["a ball"])
    padded = dual.embed_texts(model, tokenizer, ["a ball", "a person with a hoop in a kitchen"])
    np.testing.assert_allclose(alone[0], padded[0], atol=1e-5)


def test_byte_pairs_of_a_small_text():
    # "ab" ends two words, so it comes first; then by the alphabet.
    assert captions.byte_pairs(["yab", "xab"]) == [("a", "b</w>"), ("x", "ab</w>"), ("y", "ab</w>")]


def test_contents_of_captions_and_pictures():
    ball, gym = captions.content("ball"), captions.content("gym")
    picture = captions.picture_content(np.array([[0, OBJECTS.index("ball"), SCENES.index("gym")]]))
    assert ball @ gym == 0
    # Weights 0.5 (motion), 1, 1 and 0.5 (person) have the norm sqrt(2.5).
    np.testing.assert_allclose(picture[0] @ ball, 1 / np.sqrt(2.5))
    np.testing.assert_allclose(picture[0] @ captions.content("ball", "gym"), np.sqrt(2 / 2.5))
    assert picture[0] @ captions.content("chair") == 0


def test_circled_content_is_the_object_the_person_or_the_scene():
    labels = np.zeros((128, 128), np.uint8)
    labels[20:100, 20:40] = mosaic.PERSON_LABEL
    labels[60:76, 80:96] = mosaic.FIRST_OBJECT_LABEL + OBJECTS.index("hoop")
    labels[100:110, 60:70] = mosaic.FIRST_OBJECT_LABEL + OBJECTS.index("ball")

    def named(x: float, y: float) -> str:
        content = dual.circled_content(labels, np.array([x, y]), 18.0, SCENES.index("snow"))
        assert np.linalg.norm(content) == pytest.approx(1)
        return captions.CONCEPTS[int(content.argmax())]

    assert named(88, 68) == "hoop"
    assert named(65, 105) == "ball"
    assert named(30, 40) == "person"
    assert named(110, 16) == "snow"


def test_patches_are_labelled_by_what_covers_them():
    hoop = mosaic.FIRST_OBJECT_LABEL + OBJECTS.index("hoop")
    labels = np.zeros((128, 128), np.uint8)
    labels[:64, :64] = mosaic.PERSON_LABEL
    labels[32:64, 32:64] = hoop
    matrix = backbone.resize_matrix(np.array([0.0, 0.0, 128.0]), 64)
    patches = mosaic.patch_labels(labels, matrix, grid=4, patch=16)
    expected = np.zeros((4, 4), int)
    expected[:2, :2] = mosaic.PERSON_LABEL
    expected[1, 1] = hoop
    np.testing.assert_array_equal(patches, expected)


def test_pasted_objects_are_labelled_where_they_changed_the_picture():
    image, labels = np.full((128, 128, 3), 128, np.uint8), np.zeros((128, 128), np.uint8)
    centres = mosaic.paste_objects([image], [labels], np.random.default_rng(3))
    assert centres.shape == (5, 2)
    labelled = labels >= mosaic.FIRST_OBJECT_LABEL
    assert labelled.sum() > 300
    assert (image[labelled] != 128).any(axis=-1).mean() > 0.95
    far = np.ones((128, 128), bool)
    for x, y in centres.astype(int):
        far[max(0, y - 32) : y + 32, max(0, x - 32) : x + 32] = False
    assert (image[far] == 128).all()


def test_fast_decoder_equals_the_one_of_transformers():
    torch.manual_seed(0)
    head = pose.build_model().head
    torch.nn.init.normal_(head.conv.weight)
    torch.nn.init.normal_(head.conv.bias)
    tokens = torch.randn(2, 64, pose.HIDDEN_SIZE)
    expected = head(tokens.transpose(1, 2).reshape(2, -1, 8, 8))
    torch.testing.assert_close(pose.decode(head, tokens), expected, atol=1e-3, rtol=1e-4)


def test_slices_are_encoded_as_if_the_others_were_masked():
    torch.manual_seed(0)
    model = backbone.build_model().eval()
    clips = torch.randn(2, 16, 3, 112, 112)
    slices = torch.tensor([[1, 4, 7], [0, 2, 3]])
    hidden = torch.ones(2, 8, 49, dtype=torch.bool)
    for clip, chosen in enumerate(slices):
        hidden[clip, chosen] = False
    frames = torch.stack([2 * slices, 2 * slices + 1], dim=2).flatten(1)  # [2, 6]
    pixels = torch.stack([clip[chosen] for clip, chosen in zip(clips, frames, strict=True)])
    with torch.no_grad():
        expected = model(clips, bool_masked_pos=hidden.flatten(1)).last_hidden_state
        tokens = backbone.encode_slices(model, pixels, slices)
    torch.testing.assert_close(tokens.flatten(1, 2), expected, atol=1e-5, rtol=1e-5)


def test_phases_share_the_steps():
    plan = list(backbone.phases(50))
    assert [plan.count(phase) for phase in dict.fromkeys(plan)] == [25, 15, 10]
    assert [phase.slices for phase in dict.fromkeys(plan)] == [1, 3, 8]


def test_joints_relative_to_the_hips():
    keypoints = np.arange(34.0).reshape(1, 17, 2)
    relative = backbone.relative_to_hips(keypoints).reshape(17, 2)
    np.testing.assert_allclose(relative[11:13].mean(axis=0), 0)
    np.testing.assert_allclose(relative[0] - relative[5], keypoints[0, 0] - keypoints[0, 5])


def test_orthogonalise_keeps_the_singular_vectors_and_evens_the_values():
    for shape in ((40, 90), (90, 40)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 5
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        core = left.T @ loop.orthogonalise(matrix) @ right.T
        values = core.diagonal()
        assert 0.6 < values.min() <= values.max() < 1.3
        assert (core - values.diag()).abs().max() < 1e-4


def test_muon_moves_against_the_gradient():
    weight = torch.nn.Parameter(torch.zeros(6, 6))
    weight.grad = torch.eye(6)
    loop.Muon([weight], learning_rate=0.1).step()
    assert (weight.diagonal() < -0.05).all()
    assert (weight - weight.diagonal().diag()).abs().max() < 1e-6


def test_contrastive_loss_leaves_other_positives_out():
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    positive = torch.tensor([[True, True, False]])
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    assert dual.contrastive_loss(logits, positive).item() == pytest.approx(expected, abs=1e-6)


def test_heatmap_targets_peak_at_the_key_point():
    keypoints = np.full((1, 17, 2), 127.0 * 8 / 31)  # heat map pixel 8
    keypoints[0, 3] = -5.0  # outside
    visible = np.ones((1, 17), bool)
    visible[0, 2] = False
    maps, weights = pose.heatmap_targets(keypoints, visible)
    assert maps[0, 0, 8, 8] == pytest.approx(1)
    assert maps[0, 0].argmax() == 8 * 32 + 8
    assert 0 < maps[0, 2, 8, 8] < 0.5
    assert weights[0, 2] < weights[0, 0]
    assert not maps[0, 3].any()


def test_correct_fraction_counts_visible_joints_within_the_radius():
    keypoints = np.zeros((1, 17, 2))
    keypoints[0, 16] = [0, 100]  # the box's longer side is 100, so the radius is 10
    predicted = keypoints.copy()
    predicted[0, 0, 0] = 9.9
    predicted[0, 1, 0] = 10.1
    predicted[0, 2, 0] = 50
    visible = np.ones((1, 17), bool)
    visible[0, 2] = False
    assert pose.correct_fraction(predicted, keypoints, visible) == pytest.approx(15 / 16)


def test_pose_encoder_finds_the_joints_of_unseen_clips():
    figures = measure.pose_figures(encoder("pose"), decoded_clips()[:12])
    assert figures["PCK@0.1, whole frame"] >= 0.90
    assert figures["PCK@0.1, person box"] >= 0.90
    assert figures["confidence, hidden joints"] < figures["confidence, visible joints"]


def test_dual_encoder_names_objects_and_scenes_of_unseen_clips():
    tokenizer = CLIPTokenizer.from_pretrained(ENCODERS / "dual_encoder")
    figures = measure.dual_figures(encoder("dual_encoder"), tokenizer, decoded_clips(), 8)
    assert figures["object accuracy"] >= 0.90
    assert figures["scene accuracy"] >= 0.90
    assert figures["object cosine, true (mean)"] > 0.3
    assert figures["object cosine, untrue (mean)"] < 0.15
    # Exchanging the scene must move the objects' cosines far less than exchanging the object.
    assert figures["object cosines' change with the scene"] < 0.2 * figures["own object's drop when it is replaced"]
    assert figures["circled object found"] >= 0.85


def test_backbone_separates_motions_objects_and_scenes_of_unseen_clips():
    figures = measure.backbone_figures(encoder("backbone"), decoded_clips(), n_probe=96)
    assert figures["motion accuracy"] >= 0.7  # of eight; 24 clips
    assert figures["object accuracy"] >= 0.9
    assert figures["scene accuracy"] >= 0.9
