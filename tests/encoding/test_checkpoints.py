from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.backbone.encoders import load_backbone
from pipeline.context.encoders import load_dual_encoder
from pipeline.encoding import checkpoints
from pipeline.jobs.stage import RUNTIME_VARIABLE, StageError


@pytest.fixture(scope="module")
def original(tmp_path_factory, checkpoint_folders):
    return checkpoint_folders.backbone("videomae", tmp_path_factory.mktemp("original") / "videomae")


@pytest.fixture
def folder(original, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "videomae")


def test_batches_are_larger_on_a_gpu_and_as_the_run_says(monkeypatch):
    def sizes(**runtime) -> list[int]:
        monkeypatch.setenv(RUNTIME_VARIABLE, json.dumps(runtime))
        return [checkpoints.batch_size(role) for role in ("poses", "features")]

    assert sizes(device="cpu") == [64, 4]
    assert sizes(device="cuda:1") == [256, 32]
    assert sizes(device="cuda", batch_size={"poses": 3}) == [3, 32]


def test_a_hub_id_that_is_not_cached_is_told_what_to_do_offline(hub_cache):
    with pytest.raises(
        StageError, match=r"someone/model.*not in the local cache.*hf download someone/model --revision v2"
    ):
        load_backbone("someone/model", "v2")
    with pytest.raises(StageError, match="neither a folder nor a hub id of the form owner/model"):
        load_backbone("not a name / at all")


def test_a_cached_revision_needs_no_network_and_another_one_is_not_taken_for_it(
    original, checkpoint_folders, hub_cache
):
    name = checkpoint_folders.as_hub(original, hub_cache, "someone/videomae")
    assert load_backbone(name).width == 32
    assert load_backbone(name, checkpoint_folders.COMMIT).width == 32
    with pytest.raises(StageError, match=r"revision v3.* is not in the local cache"):
        load_backbone(name, "v3")


def test_a_half_filled_cache_is_not_enough(original, checkpoint_folders, hub_cache):
    name = checkpoint_folders.as_hub(original, hub_cache, "someone/partial")
    (weights,) = hub_cache.rglob("model.safetensors")
    weights.unlink()
    with pytest.raises(StageError, match=r"has no complete model\.safetensors in the local cache"):
        load_backbone(name)


def test_a_pickled_checkpoint_is_never_opened(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(StageError, match=r"pickled weights only \(pytorch_model\.bin\).*`conceptreel convert`"):
        load_backbone(str(folder))
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(StageError, match=r"has no model\.safetensors beside its config\.json"):
        load_backbone(str(folder))


def test_a_wrong_hash_stops_before_anything_is_loaded(folder):
    right = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert checkpoints.weights_digest(str(folder)) == right
    assert load_backbone(str(folder), sha256=right.upper()).width == 32
    with pytest.raises(StageError, match=f"have SHA-256 {right}, the configuration wants {'0' * 64}"):
        load_backbone(str(folder), sha256="0" * 64)


def test_a_changed_file_has_another_digest(folder):
    before = checkpoints.weights_digest(str(folder))
    state = load_file(folder / "model.safetensors")
    key = next(iter(state))
    save_file({**state, key: state[key] + 1}, folder / "model.safetensors")
    assert checkpoints.weights_digest(str(folder)) != before


def test_missing_and_surplus_weights_are_told(folder):
    state = load_file(folder / "model.safetensors")
    lost = next(key for key in sorted(state) if key.startswith("videomae.encoder"))
    save_file({key: value for key, value in state.items() if key != lost}, folder / "model.safetensors")
    with pytest.raises(StageError, match=f"lacks 1 weights of VideoMAEModel, for example {lost.split('.', 1)[1]}"):
        load_backbone(str(folder))
    save_file({**state, "videomae.encoder.gate": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(StageError, match=r"has 1 weights that VideoMAEModel has not, for example .*gate"):
        load_backbone(str(folder))
    save_file({**state, "videomae.embeddings.position_ids": torch.zeros(1)}, folder / "model.safetensors")
    assert load_backbone(str(folder)).width == 32  # positions that old files store are no weights


def test_missing_surplus_and_misshapen_weights_of_a_port_are_told(tmp_path, checkpoint_folders):
    folder = checkpoint_folders.dual_encoder("viclip", tmp_path / "viclip")
    state = load_file(folder / "model.safetensors")
    for changed, words in (
        ({key: value for key, value in state.items() if key != "temp"}, "lacks 1 weights of ViCLIPModel.*temp"),
        ({**state, "text_encoder.gate": torch.zeros(1)}, "has 1 weights that ViCLIPModel has not.*gate"),
        (
            {**state, "vision_encoder.proj": torch.zeros(32, 9)},
            r"vision_encoder\.proj has shape \[32, 9\], ViCLIPModel of this config\.json needs \[32, 16\]",
        ),
    ):
        save_file(changed, folder / "model.safetensors")
        with pytest.raises(StageError, match=words):
            load_dual_encoder(str(folder))


def test_damaged_files_are_told(folder, tmp_path, checkpoint_folders):
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json")
    with pytest.raises(StageError, match=r"cannot load VideoMAEModel from .* the files are damaged"):
        load_backbone(str(folder))
    port = checkpoint_folders.dual_encoder("viclip", tmp_path / "viclip")
    (port / "model.safetensors").write_bytes(b"short")
    with pytest.raises(StageError, match=r"the weights of .* are damaged"):
        load_dual_encoder(str(port))
    (folder / "config.json").write_text("{")
    with pytest.raises(StageError, match=r"has no readable config\.json"):
        load_backbone(str(folder))
    (folder / "config.json").write_text("{}")
    with pytest.raises(StageError, match="names neither a model_type nor an architecture"):
        load_backbone(str(folder))


def test_an_architecture_that_does_not_fit_its_weights_is_told(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 48}))
    with pytest.raises(StageError, match="cannot load VideoMAEModel"):
        load_backbone(str(folder))


def test_weights_in_several_files_are_one_checkpoint(folder):
    before = load_backbone(str(folder)).model.state_dict()
    state = load_file(folder / "model.safetensors")
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({key: state[key] for key in keys}, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    after = load_backbone(str(folder)).model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert len(checkpoints.weights_digest(str(folder))) == 64
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(StageError, match=r"has no model\.safetensors"):
        load_backbone(str(folder))


def test_settings_of_the_input_are_found_in_every_form(folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(StageError, match=r"has no preprocessor_config\.json, so mean, std and size"):
        load_backbone(str(folder))
    video = {"image_mean": [0.1] * 3, "image_std": [0.2] * 3, "size": {"height": 64, "width": 64}}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    assert load_backbone(str(folder)).preprocessing.mean == (0.1,) * 3
    (folder / "video_preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"video_processor": video, "tokenizer": {}}))
    assert load_backbone(str(folder)).preprocessing.mean == (0.1,) * 3


def test_a_dual_encoder_without_a_tokenizer_is_told(tmp_path, checkpoint_folders):
    for kind, words in (("clip", "has no tokenizer"), ("viclip", r"neither tokenizer\.json nor bpe_simple_vocab")):
        folder = checkpoint_folders.dual_encoder(kind, tmp_path / kind)
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
        with pytest.raises(StageError, match=words):
            load_dual_encoder(str(folder))
