"""Stage `pictures`: the motion concepts as strips of skeletons, and explained clips."""

from __future__ import annotations

import textwrap

import numpy as np

from pipeline.jobs import stage
from pipeline.methods.dance.bottleneck.recogniser import ConceptModel, Contribution
from pipeline.methods.dance.explain.palette import TYPE_COLOURS
from pipeline.methods.dance.explain.sanity import read_run
from pipeline.methods.dance.settings import Pictures
from pipeline.motion.drawing import draw_strip
from pipeline.motion.skeleton import skeleton
from pipeline.store.arrays import Arrays
from pipeline.store.atomic import replace_when_done


def save(figure, path) -> None:
    """Write a figure atomically; the date that matplotlib would add is left out, so that equal pictures are equal."""
    import matplotlib.pyplot as plt

    with replace_when_done(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    plt.close(figure)


def draw_motion_concepts(model: ConceptModel, settings: Pictures):
    """A sheet of medoid strips, most frequent concepts first, each with the class it speaks for most."""
    import matplotlib.pyplot as plt

    motion = [m for m, kind in enumerate(model.types) if kind == "motion"]
    shown = sorted(range(len(model.medoids)), key=lambda k: (-model.about["n_videos"][k], k))[: settings.max_concepts]
    joints = skeleton(model.about["skeleton"])
    if not shown:
        figure, axis = plt.subplots(figsize=(6, 1.2))
        axis.axis("off")
        reason = "The motion labels were imported: there are no medoids to draw."
        if not motion:
            reason = "This model has no motion concepts."
        axis.text(0.5, 0.5, reason, ha="center", va="center")
        return figure
    columns = 3
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(15, 2.4 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, k in zip(axes.flat, shown, strict=False):
        axis.imshow(draw_strip(model.medoids[k], joints, settings.poses_per_strip))
        weights = model.weight[:, motion[k]]
        best = int(np.argmax(weights))
        speaks = f"for {model.class_names[best]} ({weights[best]:+.2f})" if weights[best] > 0 else "not used"
        axis.set_title(
            f"{textwrap.fill(model.named(motion[k]), 66)}\n{model.about['n_videos'][k]} videos · {speaks}",
            fontsize=8,
            loc="left",
        )
    figure.suptitle(
        f"Motion concepts of {model.about['dataset']}: {len(shown)} of {len(model.medoids)}, most frequent first; "
        f"left side violet, right side yellow",
        fontsize=11,
    )
    figure.tight_layout()
    return figure


def _reasons(axis, contributions: list[Contribution]) -> None:
    values = [item.contribution for item in contributions][::-1]
    names = [
        f"{item.said}\n{item.type}, activation {item.activation:+.2f}{', DOUBTFUL' if item.doubt else ''}"
        for item in contributions
    ][::-1]
    axis.barh(names, values, color=[TYPE_COLOURS[item.type] for item in contributions][::-1])
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_xlabel("against ← contribution to the logit: weight × activation → for", fontsize=8)
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def draw_explanations(model: ConceptModel, examples: list[dict], settings: Pictures):
    """One row per clip: its frames, the strongest contributions, and the medoid of the strongest motion concept that it
    shows, where the model has some."""
    import matplotlib.pyplot as plt

    joints = skeleton(model.about["skeleton"])
    widths = [1.2, 1, 1.2] if len(model.medoids) else [1.2, 1]
    figure, axes = plt.subplots(
        len(examples),
        len(widths),
        figsize=(5 * sum(widths), 2.5 * len(examples)),
        squeeze=False,
        width_ratios=widths,
        layout="constrained",
    )
    motion = [m for m, kind in enumerate(model.types) if kind == "motion"]
    for (frames_axis, reasons_axis, *strip_axes), example in zip(axes, examples, strict=True):
        for axis in (frames_axis, *strip_axes):
            axis.axis("off")
        prediction = example["prediction"]
        verdict = (
            "right" if prediction.label == example["label"] else f"wrong, is {model.class_names[example['label']]}"
        )
        frames_axis.set_title(
            f"{example['video_id']}: {prediction.class_name} ({prediction.probability:.0%}, {verdict})",
            fontsize=9,
            loc="left",
        )
        if example["frames"] is not None:
            frames_axis.imshow(np.concatenate(list(example["frames"]), 1))
        else:
            frames_axis.text(0.5, 0.5, "imported features: no frames", ha="center", va="center", fontsize=9)
        _reasons(reasons_axis, prediction.contributions[: settings.top_k])
        strongest = [
            item
            for item in prediction.contributions
            if item.type == "motion" and item.contribution > 0 and item.present is not False
        ]
        for strip_axis in strip_axes if strongest else ():
            strip_axis.imshow(
                draw_strip(model.medoids[motion.index(strongest[0].index)], joints, settings.poses_per_strip)
            )
            strip_axis.set_title(textwrap.fill(f"{strongest[0].said}, medoid", 66), fontsize=9, loc="left")
    return figure


def choose_examples(y: np.ndarray, probabilities: np.ndarray, count: int) -> list[int]:
    """Rows that tell most: the surest right one, then the surest wrong one, then right ones of other classes."""
    predicted = probabilities.argmax(1)
    certain = probabilities.max(1)
    right = [int(i) for i in np.argsort(-certain, kind="stable") if predicted[i] == y[i]]
    wrong = [int(i) for i in np.argsort(-certain, kind="stable") if predicted[i] != y[i]]
    chosen = right[:1] + wrong[:1]
    seen = {int(y[i]) for i in chosen}
    for row in right[1:]:
        if len(chosen) < count and int(y[row]) not in seen:
            chosen.append(row)
            seen.add(int(y[row]))
    return chosen[:count]


def build(job: stage.Job) -> None:
    """Write both pictures."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["text.parse_math"] = False  # a dollar in a name begins no formula
    settings = Pictures.model_validate(job.settings)
    model, arrays, described = read_run(job)
    save(draw_motion_concepts(model, settings), job.outputs["motion_concepts"])

    split = np.array(described["split"], object)
    rows = np.flatnonzero(split == ("test" if "test" in split else "val"))
    ids = [described["video_id"][row] for row in rows]
    z, y = arrays["z"][rows].astype(np.float64), arrays["label"][rows]
    shown_rows = choose_examples(y, model.probabilities(z), settings.explained_clips)
    predictions = model.decide(z[shown_rows], max(settings.top_k, 10))
    frames = clip_frames(job, [ids[i] for i in shown_rows])
    examples = [
        {
            "video_id": ids[i],
            "label": int(y[i]),
            "prediction": prediction,
            "frames": frames.get(ids[i]),
        }
        for i, prediction in zip(shown_rows, predictions, strict=True)
    ]
    save(draw_explanations(model, examples, settings), job.outputs["explanations"])


def clip_frames(job: stage.Job, wanted: list[str]) -> dict[str, np.ndarray]:
    """Five frames of the wanted videos, uint8 ``[5, H, W, 3]``, from the model clips if there are any."""
    found = {}
    for path in job.given("clips"):
        with Arrays(path) as artifact:
            for row, key in enumerate(artifact.attributes["video_id"]):
                if key in wanted:
                    clip = artifact.part("frames", row)
                    found[key] = clip[np.linspace(0, len(clip) - 1, 5).round().astype(int)]
    return found


if __name__ == "__main__":
    stage.run("pictures", build)
