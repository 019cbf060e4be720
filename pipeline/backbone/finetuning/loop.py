"""The training itself: gradient accumulation, mixed precision, several processes, checkpoints.

A step is one batch, whatever it is divided into: each process takes an equal part, in micro-batches whose gradients
are summed. The sum of the losses is divided by the whole batch, so the division changes nothing but rounding.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from pipeline.backbone.finetuning import checkpoint, recipe
from pipeline.backbone.finetuning.augment import augment, draw_view
from pipeline.backbone.finetuning.checkpoint import Progress
from pipeline.backbone.finetuning.network import DropPath, build_classifier
from pipeline.backbone.settings import Finetune
from pipeline.encoding.batches import ahead
from pipeline.encoding.hardware import autocast
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError

PLAN, FRAMES, VIEWS = "plan.json", "frames.npy", "views.npy"
# A state is written after every epoch, and inside long ones so often that a kill costs at most this.
SECONDS_BETWEEN_STATES = 300.0


@dataclass(frozen=True)
class Plan:
    """What is trained, as the stage wrote it for its processes.

    Attributes:
        digest: of everything that decides the result; a state with another one is not continued.
        model, revision: the backbone to begin with.
        settings: the recipe.
        class_names: in the order of the labels.
        splits: split → ``rows`` of the file of clips, and ``labels``; of train also ``views``, rows of the file of
            views, where every epoch draws its clips from these.
        sampling: how the clips were sampled: uniform or dense.
        micro_batch: clips that a process computes at a time.
        threads: of each process.
        runtime: of the job.
    """

    digest: str
    model: str
    revision: str
    settings: Finetune
    class_names: list[str]
    splits: dict[str, dict[str, list[int]]]
    sampling: str
    micro_batch: int
    threads: int
    runtime: Runtime = AUTO

    def save(self, folder: Path) -> None:
        models = {"settings": self.settings.model_dump(mode="json"), "runtime": asdict(self.runtime)}
        (folder / PLAN).write_text(json.dumps({**vars(self), **models}))

    @staticmethod
    def load(folder: Path) -> Plan:
        content = json.loads((folder / PLAN).read_text())
        settings, runtime = Finetune.model_validate(content["settings"]), Runtime.from_mapping(content["runtime"])
        return Plan(**{**content, "settings": settings, "runtime": runtime})


def precision_of(wanted: str, device: torch.device) -> torch.dtype:
    """Type of the network's products; ``auto``: bfloat16 on GPUs that have it, float16 on older ones, else float32."""
    if wanted != "auto":
        return getattr(torch, wanted)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


@dataclass(frozen=True)
class MicroBatch:
    """Clips that go through the network at a time: frames uint8 ``[b, T, H, W, 3]``, labels ``[b]``, row numbers."""

    rows: np.ndarray
    frames: torch.Tensor
    labels: torch.Tensor


class Training:
    """One process of a training.

    Args:
        folder: with the plan and the clips; states are written there.
        rank, processes: which of how many processes this is.
        say: takes lines about the progress, in the first process.
    """

    def __init__(
        self, folder: Path, rank: int = 0, processes: int = 1, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.folder, self.rank, self.processes = folder, rank, processes
        self.say = say if rank == 0 else lambda line: None
        self.plan = plan = Plan.load(folder)
        self.settings = settings = plan.settings
        torch.set_num_threads(plan.threads)
        self.frames = np.load(folder / FRAMES, mmap_mode="r")
        self.rows, self.labels = (
            {split: np.array(content[name], np.int64) for split, content in plan.splits.items()}
            for name in ("rows", "labels")
        )
        self.views, self.view_rows = None, plan.splits["train"].get("views")
        if self.view_rows:
            self.views = np.load(folder / VIEWS, mmap_mode="r")  # [n, n_views, T, H, W, 3]
        self.course = recipe.course(settings, len(self.rows["train"]))
        if self.course.batch < processes:
            raise StageError(
                f"a batch of {self.course.batch} clips cannot be divided among {processes} processes; lower "
                f"runtime.finetune_processes or raise backbone.finetune.batch_size"
            )
        self.backbone, self.model, self.standardise = build_classifier(
            plan.model, plan.revision, plan.class_names, settings.seed, plan.runtime
        )
        self.device = self.backbone.device
        self.micro_batch = plan.micro_batch
        self.size = self.model.config.image_size
        self.fill = self.standardise.fill
        self.drop_path = DropPath(self.model, settings.drop_path)
        depth = len(self.drop_path.rates)
        self.optimizer = torch.optim.AdamW(
            recipe.parameter_groups(self.model.named_parameters(), depth, settings.layer_decay, settings.weight_decay),
            lr=self.course.peak,
            betas=(0.9, 0.999),
        )
        self.dtype = precision_of(settings.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.progress = checkpoint.load_state(folder, plan.digest, self.model, self.optimizer, self.device)
        if self.progress.scaler:
            self.scaler.load_state_dict(self.progress.scaler)
        self._has_probe = settings.head == "probe" and not self.progress.step
        if self._has_probe:
            self._begin_with_a_probe()
        # Losses of this epoch's clips. They go on where a state left them, so that the curve does not depend on when
        # states were written.
        self.total = torch.tensor(self.progress.loss if rank == 0 else 0.0, dtype=torch.float64, device=self.device)
        self.network = (
            DistributedDataParallel(self.model, device_ids=[self.device.index] if self.device.type == "cuda" else None)
            if processes > 1
            else self.model
        )

    def _begin_with_a_probe(self) -> None:
        """Give the head the weights of a linear probe on train clips, whole ones and as training would see them.

        Every process computes its part of the features.
        """
        from pipeline.backbone.finetuning.probe import fit_probe

        self.model.eval()
        shape = len(self.rows["train"]), 1 + self.settings.probe_views, self.backbone.width
        features = torch.zeros(shape, dtype=torch.float64, device=self.device)
        with torch.inference_mode(), autocast(self.device, self.dtype):
            for part, clips in self._whole_clips("train"):
                features[part, 0] = self.backbone.features(self.backbone.pixels(clips)).double()
                for number in range(1, shape[1]):
                    # Numbers of epochs that never come, so that training sees other views.
                    epoch = self.settings.epochs + number
                    pixels, _ = self._seen(self.read(part, epoch), epoch)
                    features[part, number] = self.backbone.features(pixels).double()
        weight, bias = fit_probe(self._summed(features).cpu().numpy(), self.labels["train"], len(self.plan.class_names))
        with torch.no_grad():
            self.model.classifier.weight.copy_(torch.from_numpy(weight))
            self.model.classifier.bias.copy_(torch.from_numpy(bias))

    # ------------------------------------------------------------------------------------------------------- one pass

    def read(self, positions: np.ndarray, epoch: int) -> MicroBatch:
        """Some of the train clips as this epoch sees them, on the device."""
        rows = self.rows["train"][positions]
        if self.views is None:
            frames = self.frames[rows]
        else:
            frames = np.stack([self._drawn(self.view_rows[position], epoch) for position in positions])
        tensors = [torch.from_numpy(frames), torch.from_numpy(self.labels["train"][positions])]
        if self.device.type == "cuda":
            tensors = [tensor.pin_memory().to(self.device, non_blocking=True) for tensor in tensors]
        return MicroBatch(rows, *tensors)

    def _drawn(self, row: int, epoch: int) -> np.ndarray:
        """The clip of one video in one epoch, uint8 ``[T, H, W, 3]``."""
        n_views, n = self.views.shape[1:3]
        random = recipe.random_of_frames(self.settings.seed, epoch, row)
        return self.views[row, recipe.draw_clip(n_views, n, self.plan.sampling, random), np.arange(n)]

    def _seen(self, batch: MicroBatch, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch as an epoch sees it: pixels ``[b, T, 3, S, S]``, and numbers for `DropPath.set`."""
        views, dropped = [], []
        for row in batch.rows:
            random = recipe.random_of(self.settings.seed, epoch, int(row))
            views.append(draw_view(self.settings, *batch.frames.shape[2:4], random))
            dropped.append(random.random((len(self.drop_path.rates), 2), np.float32))
        pixels = self.standardise(augment(batch.frames, views, self.size, self.fill))
        return pixels, torch.from_numpy(np.stack(dropped)).to(self.device)

    def logits(self, batch: MicroBatch, epoch: int) -> torch.Tensor:
        """Of the batch as an epoch sees it, with the branches that this epoch drops: ``[b, K]``."""
        pixels, dropped = self._seen(batch, epoch)
        self.drop_path.set(dropped)
        with autocast(self.device, self.dtype):
            return self.network(pixels).logits.float()

    def losses(self, batch: MicroBatch, epoch: int) -> torch.Tensor:
        """Cross-entropy of every clip, ``[b]``."""
        return F.cross_entropy(
            self.logits(batch, epoch),
            batch.labels,
            label_smoothing=self.settings.label_smoothing,
            reduction="none",
        )

    def step(self, batches: Iterator[MicroBatch], n_batches: int) -> torch.Tensor:
        """One update; sum of the losses of this process's clips."""
        step = self.progress.step
        epoch = step // self.course.steps_per_epoch
        rate = self.course.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for number in range(n_batches):
            # Processes exchange gradients once per step: with the last micro-batch.
            last = number == n_batches - 1
            waiting = contextlib.nullcontext() if last or self.processes == 1 else self.network.no_sync()
            batch = next(batches)
            with waiting:
                losses = self.losses(batch, epoch)
                # DistributedDataParallel takes the mean over processes; we want the sum.
                self.scaler.scale(losses.sum() * self.processes / self.course.batch).backward()
            total += losses.detach().double().sum()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total

    def _whole_clips(self, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """This process's part of a split: positions ``[b]`` and clips, in micro-batches."""
        own = np.array_split(np.arange(len(self.rows[split])), self.processes)[self.rank]
        parts = np.array_split(own, math.ceil(len(own) / self.micro_batch)) if len(own) else []
        yield from zip(parts, ahead(self.frames[self.rows[split][part]] for part in parts), strict=True)

    def validate(self) -> tuple[float, float]:
        """Mean cross-entropy and accuracy on validation, on whole clips as stage `features` sees them."""
        self.model.eval()
        self.drop_path.set(None)
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        with torch.inference_mode():
            for part, clips in self._whole_clips("val"):
                labels = torch.from_numpy(self.labels["val"][part]).to(self.device)
                with autocast(self.device, self.dtype):
                    logits = self.model(self.backbone.pixels(clips)).logits.float()
                sums[0] += F.cross_entropy(logits, labels, reduction="sum").double()
                sums[1] += (logits.argmax(1) == labels).sum()
        self.model.train()
        loss, right = (self._summed(sums) / len(self.rows["val"])).tolist()
        return loss, right

    def _summed(self, values: torch.Tensor) -> torch.Tensor:
        """Over all processes."""
        if self.processes > 1:
            dist.all_reduce(values)
        return values

    # ----------------------------------------------------------------------------------------------------- the course

    def _shares(self, first: int) -> Iterator[list[np.ndarray]]:
        """This process's micro-batches of each step, from one step on to the end of its epoch."""
        end = (first // self.course.steps_per_epoch + 1) * self.course.steps_per_epoch
        for step in range(first, end):
            rows = recipe.batch_of(step, self.course, len(self.rows["train"]), self.settings.seed)
            yield recipe.share(rows, self.rank, self.processes, self.micro_batch)

    def run(self) -> Progress:
        """Train from the state that was found to the end."""
        progress, course = self.progress, self.course
        self.say(
            f"{len(self.rows['train'])} train and {len(self.rows['val'])} validation clips; batch {course.batch} on "
            f"{self.processes} processes, micro-batches of at most {self.micro_batch}; learning rate "
            f"{course.peak:.3g}; {str(self.dtype).removeprefix('torch.')} on {self.device}"
        )
        if progress.step:
            self.say(f"continued after step {progress.step} of {course.steps}")
        if self._has_probe:
            self._finish_epoch({"epoch": 0, "learning_rate": 0.0, "train_loss": None})
            self.say(f"the head is a linear probe: validation top-1 {progress.curve[0]['val_top1']:.4f}")
        self.model.train()
        while progress.step < course.steps:
            try:
                self._epoch()
            except torch.OutOfMemoryError:
                self._halve()
        return progress

    def _halve(self) -> None:
        """Go on with smaller micro-batches at the step whose memory did not suffice.

        Raises:
            StageError: they cannot be smaller, or other processes wait for this one.
        """
        if self.micro_batch == 1 or self.processes > 1:
            raise StageError(
                f"the GPU has too little memory for {self.micro_batch} clips at a time; lower "
                f"runtime.batch_size.finetune and run again; it resumes from the last state"
            )
        self.micro_batch //= 2
        self.say(f"out of GPU memory: micro-batches of at most {self.micro_batch} from now on")

    def _epoch(self) -> None:
        progress, course = self.progress, self.course
        epoch = progress.step // course.steps_per_epoch
        shares = list(self._shares(progress.step))
        batches = ahead(self.read(part, epoch) for share in shares for part in share)
        began = saved = time.monotonic()
        for share in shares:
            rate = course.learning_rate(progress.step)
            self.total += self.step(batches, len(share))
            progress.step += 1
            progress.seen += course.batch
            if progress.step % course.steps_per_epoch and self._agree(time.monotonic() - saved):
                self._note()
                self._save()
                saved = time.monotonic()
        self._note()
        speed = len(shares) * course.batch / (time.monotonic() - began)
        train_loss = progress.loss / progress.seen
        progress.loss, progress.seen = 0.0, 0
        self.total.zero_()
        row = self._finish_epoch({"epoch": epoch + 1, "learning_rate": rate, "train_loss": train_loss})
        self._save()
        self.say(
            f"epoch {epoch + 1}/{course.epochs}: train loss {train_loss:.4f}, validation loss {row['val_loss']:.4f}, "
            f"validation top-1 {row['val_top1']:.4f}, {speed:.2f} clips/s"
        )

    def _finish_epoch(self, row: dict) -> dict:
        """Put an epoch into the curve, with its validation, and keep its weights if it is the best so far."""
        row["val_loss"], row["val_top1"] = self.validate()
        self.progress.curve.append(row)
        if self.rank == 0 and self.progress.best == row["epoch"]:
            checkpoint.save_weights(self.folder, row["epoch"], self.model)
        return row

    def _agree(self, seconds: float) -> bool:
        """Whether it is time for a state: the first process decides, because clocks differ."""
        if self.processes == 1:
            return seconds > SECONDS_BETWEEN_STATES
        decision = torch.tensor(float(seconds > SECONDS_BETWEEN_STATES), device=self.device)
        dist.broadcast(decision, 0)
        return bool(decision.item())

    def _note(self) -> None:
        """Put the sum of the losses of all processes into the progress.

        Raises:
            StageError: it is no number any more.
        """
        self.progress.loss = float(self._summed(self.total.clone()))
        if not math.isfinite(self.progress.loss):
            raise StageError(
                f"fine-tuning diverged before step {self.progress.step}: the loss is {self.progress.loss}; lower "
                f"backbone.finetune.base_learning_rate, or set backbone.finetune.precision to float32"
            )

    def _save(self) -> None:
        if self.rank == 0:
            self.progress.scaler = self.scaler.state_dict()
            checkpoint.save_state(self.folder, self.progress, self.model, self.optimizer)
            checkpoint.forget_other_weights(self.folder, self.progress.best)
