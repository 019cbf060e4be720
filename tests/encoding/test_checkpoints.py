from __future__ import annotations

import contextlib
import hashlib
import json
import shutil

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from pipeline.backbone.encoders import load_backbone
from pipeline.context.encoders import load_dual_encoder
from pipeline.context.settings import Texts
from pipeline.encoding import checkpoints
from pipeline.motion.pose.detector import PersonDetector
from pipeline.store.atomic import StageError


@pytest.fixture(scope="module")
def original(tmp_path_factory, checkpoint_folders):
    return checkpoint_folders.backbone("videomae", tmp_path_factory.mktemp("original") / "videomae")


@pytest.fixture
def folder(original, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "videomae")


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
    name = checkpoint_folders.as_hub(original, hub_cache, "someone/videomae", "v2", "refs/pr/5")
    for revision in ("main", "v2", "refs/pr/5", checkpoint_folders.COMMIT):
        assert load_backbone(name, revision).width == 32
        assert checkpoints.weights_digest(name, revision) == checkpoints.weights_digest(str(original))
    with pytest.raises(StageError, match=r"revision v3.* is not in the local cache"):
        load_backbone(name, "v3")


class Hub:
    """The hub's client with a network: calls for more than the cache are noted, and answered by an error or files."""

    def __init__(self, monkeypatch, answer):
        self.asked, self.answer, self.real = [], answer, huggingface_hub.snapshot_download
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self)

    def __call__(self, name, revision, local_files_only, **options):
        if not local_files_only:
            self.asked.append(revision)
            if isinstance(self.answer, Exception):
                raise self.answer
            self.answer()
        return self.real(name, revision=revision, local_files_only=True, **options)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.GatedRepoError, "its licence must be accepted on its page, and `hf auth login`"),
        (errors.RepositoryNotFoundError, "the hub has no such repository, or a private one"),
        (errors.RevisionNotFoundError, "the hub has the repository, but no such revision"),
    ],
)
def test_what_the_hub_refuses_is_told_in_words(hub_cache, monkeypatch, error, words):
    Hub(monkeypatch, error.__new__(error, "401 Client Error"))  # without the response that its maker wants
    with pytest.raises(StageError, match=words):
        load_backbone("someone/model")


def test_a_cache_of_weights_alone_is_completed_at_the_same_commit(original, checkpoint_folders, hub_cache, monkeypatch):
    """Programs that fetch file by file leave the weights without what the encoder is fed with."""
    name = checkpoint_folders.as_hub(original, hub_cache, "someone/videomae")
    (lacking,) = hub_cache.rglob("preprocessor_config.json")
    lacking.unlink()
    hub = Hub(monkeypatch, OSError("no network"))
    with pytest.raises(StageError, match=r"no preprocessor_config\.json.*run `hf download someone/videomae"):
        load_backbone(name)
    hub.answer = lambda: shutil.copy(original / "preprocessor_config.json", lacking)
    assert load_backbone(name).width == 32
    assert hub.asked == [checkpoint_folders.COMMIT] * 2  # not the branch: it may have moved on


def test_what_is_cached_asks_no_network(tmp_path, checkpoint_folders, hub_cache, monkeypatch):
    """Nor does a checkpoint that never had a processor's file."""
    folder = checkpoint_folders.dual_encoder("viclip", tmp_path / "viclip")
    name = checkpoint_folders.as_hub(folder, hub_cache, "someone/viclip")
    hub = Hub(monkeypatch, OSError("no network"))
    assert load_dual_encoder(name).width == 16
    assert hub.asked == []


def test_the_default_of_which_the_hub_has_pickles_is_taken_from_its_conversion(tmp_path, checkpoint_folders, hub_cache):
    name = Texts().model
    with pytest.raises(StageError, match=r"\(revision refs/pr/10\) is not in .*hf download \S+ --revision refs/pr/10"):
        load_dual_encoder(name)
    folder = checkpoint_folders.dual_encoder("clip", tmp_path / "clip")
    checkpoint_folders.as_hub(folder, hub_cache, name, "refs/pr/10")
    place = hub_cache / f"models--{name.replace('/', '--')}"
    main = place / "snapshots" / ("f" * 40)
    main.mkdir()
    shutil.copy(folder / "config.json", main)
    (place / "refs" / "main").write_text(main.name)
    assert load_dual_encoder(name).width == 16
    assert checkpoints.weights_digest(name) == checkpoints.weights_digest(str(folder))


def test_a_half_filled_cache_is_not_enough(original, checkpoint_folders, hub_cache):
    name = checkpoint_folders.as_hub(original, hub_cache, "someone/partial")
    (weights,) = hub_cache.rglob("model.safetensors")
    weights.unlink()
    with pytest.raises(StageError, match=r"has no complete model\.safetensors in the local cache"):
        load_backbone(name)


def test_a_pickled_checkpoint_is_never_opened(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(StageError, match=r"only pickled weights \(pytorch_model\.bin\).*`conceptreel convert`"):
        load_backbone(str(folder))
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(StageError, match=r"has no model\.safetensors beside its config\.json"):
        load_backbone(str(folder))


def test_a_wrong_hash_stops_before_anything_is_loaded(folder):
    right = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert checkpoints.weights_digest(str(folder)) == right
    assert load_backbone(str(folder), sha256=right.upper()).width == 32
    with pytest.raises(StageError, match=f"have SHA-256 {right}, but the configuration expects {'0' * 64}"):
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
    with pytest.raises(StageError, match=r"has 1 weights that VideoMAEModel lacks, for example .*gate"):
        load_backbone(str(folder))
    save_file({**state, "videomae.embeddings.position_ids": torch.zeros(1)}, folder / "model.safetensors")
    assert load_backbone(str(folder)).width == 32  # positions that old files store are no weights


def test_missing_surplus_and_misshapen_weights_of_a_port_are_told(tmp_path, checkpoint_folders):
    folder = checkpoint_folders.dual_encoder("viclip", tmp_path / "viclip")
    state = load_file(folder / "model.safetensors")
    for changed, words in (
        ({key: value for key, value in state.items() if key != "temp"}, "lacks 1 weights of ViCLIPModel.*temp"),
        ({**state, "text_encoder.gate": torch.zeros(1)}, "has 1 weights that ViCLIPModel lacks.*gate"),
        (
            {**state, "vision_encoder.proj": torch.zeros(32, 9)},
            r"vision_encoder\.proj has shape \[32, 9\], ViCLIPModel of this config\.json needs \[32, 16\]",
        ),
    ):
        save_file(changed, folder / "model.safetensors")
        with pytest.raises(StageError, match=words):
            load_dual_encoder(str(folder))


def test_damaged_files_are_told(folder, tmp_path, checkpoint_folders):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(StageError, match="a pointer that Git LFS left in place of the file"):
        load_backbone(str(folder))
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json")
    with pytest.raises(StageError, match=r"the weights of .* are damaged .model\.safetensors: "):
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


@pytest.mark.parametrize("named", ["../elsewhere.safetensors", "/elsewhere.safetensors", "model-1.bin"])
def test_an_index_that_names_what_is_not_hashed_is_refused(folder, named):
    state = load_file(folder / "model.safetensors")
    save_file(state, folder.parent / "elsewhere.safetensors")
    (folder / "model.safetensors").rename(folder / "elsewhere.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(state, named)}))
    with pytest.raises(StageError, match=rf"names `{named}`; parts .* safetensors in its folder"):
        load_backbone(str(folder))


def test_the_weights_that_are_hashed_are_those_that_are_loaded(folder):
    """A config.json can name another file, which `transformers` would load instead."""
    before = load_backbone(str(folder)).model.state_dict()
    state = load_file(folder / "model.safetensors")
    save_file({key: value + 1 for key, value in state.items()}, folder / "other.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "other.safetensors"}))
    after = load_backbone(str(folder)).model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("kind", ["clip", "viclip"])
def test_weights_in_half_precision_are_computed_with_in_single(tmp_path, checkpoint_folders, kind):
    folder = checkpoint_folders.dual_encoder(kind, tmp_path / kind)
    state = {key: value.bfloat16() for key, value in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    loaded = load_dual_encoder(str(folder)).model.state_dict()
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    key = next(key for key in sorted(loaded) if key.endswith(("layers.0.mlp.fc1.weight", "c_fc.weight")))
    torch.testing.assert_close(loaded[key], state[key].float())


@pytest.mark.parametrize("kind", ["clip", "viclip"])
def test_code_of_a_checkpoint_never_runs_and_is_never_offered(tmp_path, checkpoint_folders, monkeypatch, kind):
    asked, ran = [], tmp_path / "ran"
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "yes")
    folder = checkpoint_folders.dual_encoder(kind, tmp_path / kind)
    (folder / "own.py").write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nclass Own: pass\n")
    for file, content in (
        ("config.json", {"auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}),
    ):
        (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **content}))
    with contextlib.suppress(StageError):
        load_dual_encoder(str(folder))
    assert not asked and not ran.exists()


def test_counters_of_old_files_are_no_weights(tmp_path, checkpoint_folders):
    folder = checkpoint_folders.backbone("resnet", tmp_path / "resnet")
    state = load_file(folder / "model.safetensors")
    assert any(key.endswith("num_batches_tracked") for key in state)
    save_file({key: value for key, value in state.items() if "tracked" not in key}, folder / "model.safetensors")
    assert load_backbone(str(folder)).width == 24
    folder = checkpoint_folders.detector(tmp_path / "detector")
    state = load_file(folder / "model.safetensors")
    more = {key.removeprefix("model.decoder."): value.clone() for key, value in state.items() if "_embed.0" in key}
    more["model.backbone.model.embedder.embedder.0.normalization.num_batches_tracked"] = torch.tensor(7)
    assert len(more) > 2
    save_file({**state, **more}, folder / "model.safetensors")
    assert PersonDetector(str(folder)).person == 0


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
