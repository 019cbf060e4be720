"""Some test videos for the page of a run: what the model says of them, and what it would say without a part of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.data.decode import Decode
from pipeline.data.entries import Segment
from pipeline.data.isolated import Decoder
from pipeline.data.readers import VideoError
from pipeline.data.table import VideoTable, read_index
from pipeline.jobs import stage
from pipeline.methods.pcmci import world
from pipeline.methods.pcmci.look import pictures
from pipeline.methods.pcmci.model import Model, Seen
from pipeline.methods.pcmci.pictures import Told, tell
from pipeline.methods.pcmci.rows import read_rows

SHOWN = 2
# Part of a video that is dropped around the frame of largest S̃ where no true segment is known.
AROUND = 0.05

Example = tuple[str, Seen, list[Segment]]


def richest(labels: Sequence[Sequence[int]], shown: int = SHOWN) -> list[int]:
    """Rows with the most labels, the first of equals first."""
    return sorted(range(len(labels)), key=lambda row: -len(labels[row]))[:shown]


def runs_of(action: np.ndarray) -> list[Segment]:
    """Segments of the actions that frames ``[L]`` show, a second each; −1 shows none."""
    found, start = [], 0
    for label, run in itertools.groupby(action.tolist()):
        end = start + sum(1 for _ in run)
        if label >= 0:
            found.append(Segment(float(start), float(end), label))
        start = end
    return found


def of_world(job: stage.Job, model: Model) -> Iterator[Example]:
    """Test videos under do(all), a frame per second."""
    settings = model.settings.world
    rows, _ = read_rows(job, settings)
    test = world.filmed_set(settings, rows, "do(all)")
    for row in richest([labels.nonzero().ravel().tolist() for labels in test.labels]):
        times = np.arange(settings.frames) + 0.5
        seen = Seen(test.frames[row].numpy(), test.tokens[row].numpy(), times)
        yield f"test video {row + 1} under do(all)", seen, runs_of(test.action[row].numpy())


def of_videos(job: stage.Job, model: Model) -> Iterator[Example]:
    """Test videos as the encoders have seen them, with the frames themselves; one that no longer opens is left out."""
    videos = read_index(job)
    test = videos.take(videos.split == "test")
    kept = {name: _rows_of(job, name, test) for name in ("frames", "tokens")}
    test = test.take(np.array([all(key in rows for rows in kept.values()) for key in test.video_id], bool))
    decode = Decode.model_validate(job.settings["look"]["decode"])
    with Decoder(**job.runtime.decoder) as decoder:
        for row in richest(test.labels):
            key, excerpt = test.video_id[row], test.frames[row]
            (frames, times), (tokens, _) = kept["frames"][key], kept["tokens"][key]
            try:
                shown, _ = pictures(job.root / test.path[row], len(frames), decode, decoder.open, excerpt)
            except VideoError as error:
                stage.logger.warning("%s is not shown: %s", key, error)
                continue
            yield (
                key,
                Seen(frames.astype(np.float32), tokens.astype(np.float32), times, shown),
                list(test.segments[row]),
            )


def _rows_of(job: stage.Job, name: str, test: VideoTable) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows and times of the test videos with the most labels, twice as many as are shown: some may lack others."""
    wanted = {test.video_id[row] for row in richest(test.labels, 2 * SHOWN)}
    return {
        key: (arrays[name][row], arrays["times"][row])
        for arrays, attributes in job.read_arrays(name)
        for row, key in enumerate(attributes["video_id"])
        if key in wanted
    }


def span_of(model: Model, seen: Seen, truth: Sequence[Segment]) -> tuple[float, float]:
    """Seconds of the surest label: its longest true segment, or what is around its frame of largest S̃."""
    label = int(model.logits(seen.tokens[None], seen.frames[None])[0].argmax())
    own = [part for part in truth if part.label == label]
    if own:
        longest = max(own, key=lambda part: part.end - part.start)
        return longest.start, longest.end
    at = float(seen.times[int(model.weights(seen)["frames"][label].argmax())])
    around = AROUND * float(seen.times[-1])
    return max(0.0, at - around), at + around


def examples(job: stage.Job, model: Model) -> list[Told]:
    """Test videos with the most labels, and each of them without the part that shows its surest label."""
    found = []
    for name, seen, truth in (of_world if model.settings.source == "world" else of_videos)(job, model):
        span = span_of(model, seen, truth)
        try:
            after = seen.without(*span), None
        except stage.StageError:  # it shows nothing else
            after = None
        words = f"without {span[0]:.1f}–{span[1]:.1f} s" if after else ""
        found.append(tell(model, name, seen, after=after, words=words, truth=truth))
    return found
