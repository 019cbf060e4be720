"""Which profile suits own videos on this machine, in words and with its cost: what `conceptreel init` proposes.

Profiles are settings that go together (`pipeline/data/profiles.yaml`).
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Dataset
from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError
from pipeline.encoding.checkpoints import CONVERSIONS, WEIGHTS, cache_folder
from pipeline.inspection.text import table
from pipeline.rules import costs
from pipeline.store.atomic import StageError

PROFILES = {
    "small": "MoveNet and EfficientNet-Lite: motion concepts alone, for a laptop",
    "published": "the networks of the papers, from the hub: motion, objects and scenes, located in the picture",
}
DETECTOR = "small/movenet-multipose"
FETCH = "conceptreel fetch small"
# Of several people; a box of MoveNet's is surely one above it (docs/encoders.md).
MIN_BOX_SCORE = 0.2
# Videos of which one frame is looked at for people.
LOOKED_AT = 8
HUB_SECONDS = 4


@dataclass(frozen=True)
class Machine:
    """What a run could use.

    Attributes:
        gpu: its name, empty without one.
        fetched: whether `conceptreel fetch small` was called.
        hub: ``cached`` where all networks of the papers are here, else ``reachable`` or why it is not.
        mmpose: ``runtime.mmpose``, the Python of an environment with MMPose; empty without one.
    """

    gpu: str
    fetched: bool
    hub: str
    mmpose: str = ""

    @property
    def has_hub(self) -> bool:
        return self.hub in ("cached", "reachable")

    def words(self) -> str:
        hub = {
            "cached": "the networks of the papers are in the hub's cache",
            "reachable": "the hub can be reached",
        }.get(self.hub, f"the hub cannot be reached ({self.hub})")
        small = "those of `conceptreel fetch small` are here" if self.fetched else f"`{FETCH}` was not called yet"
        own = (
            f"; MMPose runs under {self.mmpose}: in each profile motion.poses.model may name a checkpoint of yours "
            f"that `conceptreel convert --kind mmpose` has written; `conceptreel plan` then tells its time"
        )
        return f"this machine: {self.gpu or 'no GPU'}; {hub}; {small}{own if self.mmpose else ''}"


def _gpu() -> str:
    try:
        call = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def _hub(models: Iterable[str]) -> str:
    """Whether the hub's client could bring some networks."""
    import huggingface_hub

    models = list(models)
    places = [(model, revision) for model in models for revision in ("main", CONVERSIONS.get(model)) if revision]
    cached = {
        model
        for model, revision in places
        if isinstance(huggingface_hub.try_to_load_from_cache(model, WEIGHTS, revision=revision), str)
    }
    if cached == set(models):
        return "cached"
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        huggingface_hub.model_info(models[0], timeout=HUB_SECONDS)
    except Exception as error:  # the client raises its own, its transport's and OSErrors
        return type(error).__name__
    return "reachable"


def this_machine(models: Iterable[str]) -> Machine:
    """Look at what there is; a hub that does not answer costs some seconds.

    Args:
        models: hub ids of the networks of the papers.
    """
    return Machine(_gpu(), (cache_folder() / DETECTOR / "config.json").is_file(), _hub(models))


def proposed(machine: Machine, names: list[str]) -> tuple[str, str]:
    """Name of a profile, and why.

    Args:
        names: of those that suit; of pictures, in which nothing moves, it is one.
    """
    if names == ["published"]:
        return "published", "pictures have no motion, and `small` learns nothing else"
    if machine.gpu and machine.has_hub:
        return "published", "there is a GPU, and the networks of the papers can be had"
    return "small", "there is no GPU" if not machine.gpu else "the networks of the papers cannot be had"


def people(places: Iterable[Path], decoder: Decoder) -> list[int]:
    """How many people are in the middle frame of some videos; those that cannot be read are left out.

    Raises:
        StageError: `conceptreel fetch small` was not called.
    """
    import torch

    from pipeline.motion.pose import load_detector

    detector, found = load_detector(DETECTOR), []
    for place in places:
        with contextlib.suppress(VideoError), decoder.open(place) as video:
            frame = torch.from_numpy(video.frames([video.n_frames // 2]))
            found.append(int((detector(detector.pixels(frame))[0, :, 4] >= MIN_BOX_SCORE).sum()))
    return found


def people_in(places: list[Path], decoder: Decoder, machine: Machine) -> tuple[float | None, str]:
    """People in a frame, the median of some, and in words; None where nobody can look cheaply."""
    if not machine.fetched or not places:
        return None, costs.UNKNOWN + (f" before `{FETCH}`" if not machine.fetched else "")
    try:
        found = people(places[:: max(1, len(places) // LOOKED_AT)][:LOOKED_AT], decoder)
    except StageError as error:
        return None, f"{costs.UNKNOWN}: {error}"
    if not found:
        return None, costs.UNKNOWN
    middle = statistics.median(found)
    return middle, f"{middle:g} ({min(found)} to {max(found)} in {len(found)} frames looked at)"


def section_of(profile: str, data: dict[str, Any], people: float | None) -> dict[str, Any]:
    """Configuration of a data set with a profile.

    Args:
        data: its part `data`; people: in a frame, None where that is not known.
    """
    section: dict[str, Any] = {"profile": profile, "data": data}
    if data["index"]["source"] == "images":
        section["bottleneck"] = {"concept_layers": {"kinds": ["salf"]}}
    elif profile == "small" and people is not None and people > 1:
        boxes = {"boxes": "detected", "detector": DETECTOR, "min_box_score": MIN_BOX_SCORE}
        section["motion"] = {"poses": boxes}
    return section


def described(profile: str, section: Dataset, counts: costs.Counts, machine: Machine) -> list[str]:
    """A profile in words with what a run would cost, stage by stage."""
    found = costs.run_costs(section, ["model"], counts, Path("results"))
    total, needed = costs.totals(found), costs.downloads(section, [cost.stage for cost in found])
    least = "" if total["complete"] else "at least "
    if profile == "small":
        download = "none, they are here" if machine.fetched else f"162 MB by `{FETCH}`, once, of which 40 MB are kept"
    else:
        size = sum(known.megabytes for known in needed.values() if known)
        download = f"{costs.space(size)} to download" if machine.hub != "cached" else "downloaded already"
    with_gpu = f", or {least}{costs.hours(total['gpu_hours'])} of a GPU beside {costs.hours(total['beside_hours'])}"
    time = f"{least}{costs.hours(total['cpu_hours'])} of one core{with_gpu if profile == 'published' else ''}"
    lines = [
        f"{profile}: {PROFILES[profile]}",
        f"  {download}; {least}{costs.space(total['megabytes'])} of disk; {time}",
    ]
    shown, left_out = costs.rows(found)
    below = [*(table(shown, costs.HEADER).splitlines() if shown else ()), *left_out]
    return [*lines, *(f"    {line}" for line in below)]
