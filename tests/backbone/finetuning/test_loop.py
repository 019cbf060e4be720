from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.backbone.finetuning import checkpoint, loop
from pipeline.backbone.finetuning.loop import Training, precision_of
from pipeline.backbone.finetuning.worker import launch
from pipeline.jobs.stage import StageError


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / checkpoint.STATE)


def assert_same(first, second) -> None:
    """Bit for bit."""
    given, wanted = weights(first), weights(second)
    assert given.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(given[name], value), name


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def killed_after(steps: int, monkeypatch) -> None:
    original = Training.step

    def step(self, *arguments):
        if self.progress.step == steps:
            raise Killed
        return original(self, *arguments)

    monkeypatch.setattr(Training, "step", step)


def test_training_learns_what_can_be_seen(make_training_folder, short_recipe):
    # A red clip that is inverted is rather blue.
    changes = {"epochs": 8, "rand_augment_operations": 0, "label_smoothing": 0.0}
    folder = make_training_folder(settings=short_recipe.model_copy(update=changes))
    progress = Training(folder).run()
    assert [row["epoch"] for row in progress.curve] == list(range(1, 9))
    assert progress.curve[0]["val_top1"] < 1
    assert progress.curve[progress.best - 1]["val_top1"] == 1
    assert progress.curve[-1]["train_loss"] < 0.8 * progress.curve[0]["train_loss"]


@pytest.mark.parametrize(("steps", "views"), [(1, False), (2, True), (4, False), (5, True)])
def test_killed_and_continued_is_the_same_to_the_bit(make_training_folder, monkeypatch, steps, views):
    """Two steps an epoch: the kills are in the first epoch, between epochs, and inside a later one."""
    whole = Training(make_training_folder("whole", views)).run()
    # A state after every step, so that the curve is continued inside an epoch too.
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_STATES", -1.0)
    folder = make_training_folder("killed", views)
    with monkeypatch.context() as patch:
        killed_after(steps, patch)
        with pytest.raises(Killed):
            Training(folder).run()
    lines: list[str] = []
    continued = Training(folder, say=lines.append).run()
    assert f"continued after step {steps} of 6" in lines
    assert continued.curve == whole.curve
    assert_same(folder, folder.with_name("whole"))
    assert len(list(folder.glob("epoch-*"))) == 1


def test_without_states_inside_an_epoch_it_goes_on_after_the_last_one(make_training_folder, monkeypatch):
    whole = Training(make_training_folder("whole")).run()
    folder = make_training_folder("killed")
    with monkeypatch.context() as patch:
        killed_after(3, patch)
        with pytest.raises(Killed):
            Training(folder).run()
    assert checkpoint.read_progress(folder, "plan").step == 2
    assert Training(folder).run().curve == whole.curve
    assert_same(folder, folder.with_name("whole"))


def test_finished_training_has_nothing_to_do(make_training_folder, monkeypatch):
    folder = make_training_folder()
    curve = Training(folder).run().curve
    killed_after(0, monkeypatch)
    assert Training(folder).run().curve == curve


def test_state_of_another_plan_or_damaged_is_not_continued(make_training_folder):
    folder = make_training_folder()
    Training(folder).run()
    plan = loop.Plan.load(folder)
    loop.Plan(**{**vars(plan), "digest": "another"}).save(folder)
    assert Training(folder).progress.step == 0
    plan.save(folder)
    assert Training(folder).progress.step == 6
    (folder / checkpoint.STATE).write_bytes(b"\x10" * 100)
    assert Training(folder).progress.step == 0


@pytest.mark.parametrize("micro_batch", [1, 8])
def test_accumulation_changes_only_rounding(make_training_folder, micro_batch):
    one = Training(make_training_folder("one", micro_batch=3)).run()
    other = Training(make_training_folder("other", micro_batch=micro_batch)).run()
    for first, second in zip(one.curve, other.curve, strict=True):
        assert second["train_loss"] == pytest.approx(first["train_loss"], abs=1e-4)
        assert second["val_loss"] == pytest.approx(first["val_loss"], abs=1e-4)


def test_too_little_memory_halves_the_micro_batch_and_goes_on(make_training_folder, monkeypatch):
    whole = Training(make_training_folder("whole", micro_batch=8)).run()
    original = Training.losses
    limit = 3

    def losses(self, batch, epoch):
        if self.progress.step >= 1 and len(batch.rows) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, batch, epoch)

    monkeypatch.setattr(Training, "losses", losses)
    lines: list[str] = []
    halved = Training(make_training_folder("halved", micro_batch=8), say=lines.append).run()
    assert [line for line in lines if "out of GPU memory" in line] == [
        f"out of GPU memory: micro-batches of at most {number} from now on" for number in (4, 2)
    ]
    for first, second in zip(whole.curve, halved.curve, strict=True):
        assert second["train_loss"] == pytest.approx(first["train_loss"], abs=1e-4)
    limit = 0
    with pytest.raises(StageError, match=r"too little memory for 1 clips at a time; lower runtime\.batch_size"):
        Training(make_training_folder("never")).run()


def test_views_that_are_the_clip_change_nothing(make_training_folder):
    """Frames are drawn apart from crops: the same pictures train the same network, to the bit."""
    one = make_training_folder("one")
    clips = np.load(one / loop.FRAMES)[6:]
    views = np.repeat(clips[:, None], 3, axis=1)
    curve = Training(one).run().curve
    assert Training(make_training_folder("views", views)).run().curve == curve
    assert_same(one.with_name("views"), one)
    # Others do train another one, and are never validated on.
    folder = make_training_folder("others", np.zeros_like(views))
    training = Training(folder)
    before = training.validate()
    assert before == Training(make_training_folder("again")).validate()
    assert training.run().curve[0]["train_loss"] != curve[0]["train_loss"]


@pytest.mark.parametrize("sampling", ["uniform", "dense"])
def test_every_epoch_draws_its_clips_from_the_views(make_training_folder, sampling):
    views = np.zeros((19, 3, 4, 32, 32, 3), np.uint8)
    views += np.arange(19, dtype=np.uint8)[:, None, None, None, None, None] * 12
    views += np.arange(3, dtype=np.uint8)[:, None, None, None, None] * 4
    views += np.arange(4, dtype=np.uint8)[:, None, None, None]
    training = Training(make_training_folder("a", views, sampling=sampling))
    seen = [training.read(np.array([3, 7]), epoch).frames[..., 0, 0, 0].numpy() for epoch in range(30)]
    for position, row in enumerate((3, 7)):
        clips = np.stack([frames[position] for frames in seen])  # [epochs, T]
        chosen, time = np.divmod(clips - 12 * row, 4)
        assert (time == np.arange(4)).all()
        assert set(chosen.ravel()) == {0, 1, 2}
        assert (chosen == chosen[:, :1]).all() == (sampling == "dense")
    again = Training(make_training_folder("b", views, sampling=sampling)).read(np.array([7]), 4)
    np.testing.assert_array_equal(again.frames[0, ..., 0, 0, 0], seen[4][1])


@pytest.mark.slow
@pytest.mark.parametrize(("head", "views"), [("random", True), ("probe", False)])
def test_two_processes_train_as_one_with_accumulation(make_training_folder, short_recipe, head, views):
    """torchrun and gloo, the 8 clips of a batch divided."""
    settings = short_recipe.model_copy(update={"head": head})
    one = Training(make_training_folder("one", views, settings=settings)).run()
    folder = make_training_folder("two", views, settings=settings)
    lines: list[str] = []
    launch(folder, 2, lines.append)
    two = checkpoint.read_progress(folder, "plan")
    assert any("batch 8 on 2 processes" in line for line in lines)
    for first, second in zip(one.curve, two.curve, strict=True):
        assert second["train_loss"] == pytest.approx(first["train_loss"], abs=1e-4)
        assert second["val_loss"] == pytest.approx(first["val_loss"], abs=1e-4)
        assert second["val_top1"] == first["val_top1"]
    given, wanted = weights(folder), weights(folder.with_name("one"))
    for name, value in wanted.items():
        if name.startswith("weights."):
            torch.testing.assert_close(given[name], value, atol=2e-4, rtol=0)


@pytest.mark.slow
def test_error_in_a_process_is_one_line(make_training_folder, short_recipe):
    folder = make_training_folder(settings=short_recipe.model_copy(update={"batch_size": 1}))
    with pytest.raises(StageError, match=r"^a batch of 1 clips cannot be divided among 2 processes"):
        launch(folder, 2, lambda line: None)


@pytest.mark.slow
def test_sigkill_in_the_middle(make_training_folder, short_recipe):
    """A real kill: the first state appears, the process dies, another one goes on."""
    settings = short_recipe.model_copy(update={"epochs": 10})
    folder = make_training_folder("killed", settings=settings)
    command = "import pathlib, sys; from pipeline.backbone.finetuning.worker import launch\n"
    command += "launch(pathlib.Path(sys.argv[1]), 1, print)"
    running = subprocess.Popen([sys.executable, "-c", command, folder], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while checkpoint.read_progress(folder, "plan") is None:
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 0 < checkpoint.read_progress(folder, "plan").step < 20
    continued = Training(folder).run()
    assert continued.curve == Training(make_training_folder("whole", settings=settings)).run().curve
    assert_same(folder, folder.with_name("whole"))


def test_validation_chooses_the_epoch():
    rows = [(0.5, 1.0), (0.75, 0.9), (0.75, 0.6), (0.75, 0.6), (0.5, 0.1)]
    curve = [{"epoch": n, "val_top1": top1, "val_loss": loss} for n, (top1, loss) in enumerate(rows, 1)]
    assert checkpoint.Progress("", curve=curve).best == 3
    assert checkpoint.Progress("").best is None


def test_divergence_is_told(make_training_folder, short_recipe):
    folder = make_training_folder(settings=short_recipe.model_copy(update={"base_learning_rate": 1e30}))
    with pytest.raises(StageError, match=r"fine-tuning diverged before step \d: .* lower backbone.finetune.base_lear"):
        Training(folder).run()


def test_bfloat16_trains_nearly_as_float32(make_training_folder, short_recipe):
    exact = Training(make_training_folder("exact")).run()
    half = Training(
        make_training_folder("half", settings=short_recipe.model_copy(update={"precision": "bfloat16"}))
    ).run()
    differences = [
        abs(first["train_loss"] - second["train_loss"]) for first, second in zip(exact.curve, half.curve, strict=True)
    ]
    assert 0 < max(differences) < 0.02


def test_precision_follows_the_hardware(monkeypatch):
    cuda = torch.device("cuda")
    assert precision_of("auto", torch.device("cpu")) == torch.float32
    assert precision_of("float16", torch.device("cpu")) == torch.float16
    for has, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert precision_of("auto", cuda) == expected


def test_gradients_are_those_of_the_whole_batch(make_training_folder):
    """One step against the loss written down at once."""
    training = Training(make_training_folder(micro_batch=3))
    rows = np.arange(8)
    reference = Training(make_training_folder("reference", micro_batch=8))
    loss = reference.losses(reference.read(rows, 0), 0).mean()
    loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in reference.model.named_parameters()}
    training.optimizer.step = lambda *arguments, **options: None
    parts = np.array_split(rows, 3)
    total = training.step((training.read(part, 0) for part in parts), 3)
    assert float(total) / 8 == pytest.approx(loss.item(), abs=1e-6)
    for name, parameter in training.model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-4)
