"""Stage `transfer_report`: one page with the figures, their plots, and the card of the generated set."""

from __future__ import annotations

import base64
import html
import io
import json
from collections import Counter
from typing import Any

import numpy as np

from pipeline.demo.synta.classes import FACTORS
from pipeline.encoding.pixels import evenly
from pipeline.jobs import stage
from pipeline.methods.transfer.measure import Predictions
from pipeline.methods.transfer.tables import table
from pipeline.store.atomic import StageError, replace_when_done

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:64em;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}.missed{color:#b00}"
)


def picture(figure: Any, words: str) -> str:
    """A matplotlib figure as an image of the page."""
    import matplotlib.pyplot as plt

    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    data = base64.b64encode(held.getvalue()).decode()
    image = f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{html.escape(words)}</figcaption></figure>"


def known_and_unknown(models: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 0.34 * len(models) + 1))
    places = np.arange(len(models))[::-1]
    for shift, key, colour in ((0.2, "known", "#0072b2"), (-0.2, "unknown", "#d55e00")):
        axis.barh(places + shift, [own[key] for own in models.values()], 0.38, color=colour, label=key)
    axis.set_yticks(places, list(models))
    axis.set_xlabel("top-1 in %")
    axis.legend()
    return figure


def hm_over_drop(models: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5))
    for name, own in models.items():
        axis.scatter(own["d_rel"], own["hm"], color="#009e73" if name.endswith(", plain") else "#0072b2")
        axis.annotate(name, (own["d_rel"], own["hm"]), fontsize=7, xytext=(4, 2), textcoords="offset points")
    axis.set_xlabel("relative drop D_rel in % of known")
    axis.set_ylabel("harmonic mean")
    return figure


def drop_by_factor(models: dict[str, Any]) -> Any:
    """Accuracy lost where one factor is unknown, and where all are."""
    import matplotlib.pyplot as plt

    shown = {name: own for name, own in models.items() if own["factors"]}
    figure, axis = plt.subplots(figsize=(9, 3.6))
    width = 0.8 / max(len(shown), 1)
    for number, (name, own) in enumerate(shown.items()):
        drops = [own["known"] - own["factors"].get(role, np.nan) for role in FACTORS] + [own["d_abs"]]
        axis.bar(np.arange(4) + number * width, drops, width, label=name)
    axis.set_xticks(np.arange(4) + 0.4, ["motion", "shape", "scene", "all three"])
    axis.set_ylabel("points below known")
    axis.axhline(0, color="black", linewidth=0.6)
    axis.legend(fontsize=7)
    return figure


def confusion(own: Predictions, names: list[str]) -> Any:
    """Of unknown videos, rows sum to 1; a class beside the one that it is played backward."""
    import matplotlib.pyplot as plt

    order: list[int] = []
    for k in range(len(names)):
        order += [j for j in (k, int(own.partner[k])) if j >= 0 and j not in order]
    matrix = np.zeros((len(names), len(names)))
    np.add.at(matrix, (own["label"], own["predicted"]), 1)
    matrix /= np.maximum(matrix.sum(1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(6, 6))
    axis.imshow(matrix[np.ix_(order, order)], cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(order)), [names[k] for k in order], rotation=90, fontsize=8)
    axis.set_yticks(range(len(order)), [names[k] for k in order], fontsize=8)
    axis.set_xlabel("said")
    axis.set_ylabel("is")
    return figure


def where_it_looks(frames: np.ndarray, looks: np.ndarray, titles: list[str]) -> Any:
    """Frames under what speaks for the class, a row for each clip.

    Args:
        frames: uint8 ``[m, S, H, W, 3]``; looks: ``[m, S, h, w]``, in parts of the clip's whole.
    """
    import matplotlib.pyplot as plt

    m, s = looks.shape[:2]
    figure, axes = plt.subplots(m, s, figsize=(1.15 * s, 1.3 * m), squeeze=False)
    for row in range(m):
        for k, axis in enumerate(axes[row]):
            height, width = frames.shape[2:4]
            axis.imshow(frames[row, k])
            shown = {"cmap": "inferno", "alpha": 0.55, "vmin": 0, "vmax": max(float(looks[row].max()), 1e-9)}
            axis.imshow(
                looks[row, k], extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="bilinear", **shown
            )
            axis.axis("off")
        axes[row, 0].set_title(titles[row], fontsize=7, loc="left")
    return figure


def looked(job: stage.Job, labels: dict[str, str]) -> list[tuple[str, Any]]:
    """Figures of where networks look, of each model: caption and figure.

    Args:
        labels: video id → its class.
    """
    ((arrays, told),) = job.read_arrays("looks")
    wanted, frames = set(told["video_id"]), {}
    for clips, described in job.read_arrays("clips"):
        for number, key in enumerate(described["video_id"]):
            if key in wanted:
                frames[key] = clips["frames"][number][evenly(clips["frames"].shape[1], arrays["looks"].shape[1])]
    found = []
    for model in dict.fromkeys(told["model"]):
        rows = [k for k, name in enumerate(told["model"]) if name == model and told["video_id"][k] in frames]
        ids = [told["video_id"][k] for k in rows]
        titles = [
            f"{told['role'][k]}, {labels.get(key, '?')}: said {told['said'][k]}"
            for k, key in zip(rows, ids, strict=True)
        ]
        if rows:
            words = f"Where {model} looks: what speaks for the class that it says, the first network of the first set"
            figure = where_it_looks(np.stack([frames[key] for key in ids]), arrays["looks"][rows], titles)
            found.append((words, figure))
    return found


def concept_paths(shown: np.ndarray, n_shown: int = 20) -> Any:
    import matplotlib.pyplot as plt

    from pipeline.motion.drawing import draw_paths

    count = min(n_shown, len(shown))
    figure, axes = plt.subplots(-(-count // 10), 10, figsize=(12, 1.35 * -(-count // 10)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for number, axis in zip(range(count), axes.flat, strict=False):
        axis.imshow(draw_paths(shown[number], height=96))
        axis.set_title(f"{number:03d}", fontsize=7)
    return figure


def as_table(markdown: list[str]) -> str:
    """A table in Markdown as HTML."""
    title, _, header, _, *rows = markdown
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in (header, *rows)]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in cells[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells[1:])
    return f"<h3>{html.escape(title)}</h3><table><tr>{head}</tr>{body}</table>"


def card(rows: list[dict[str, Any]], visible: np.ndarray) -> list[str]:
    """The data card of a rendered set.

    Args:
        rows: of the manifest; visible: seen part of every body in every frame.
    """
    frames, counts = [row["n_frames"] for row in rows], Counter(row["factor"] or row["background"] for row in rows)
    fine = {(row["coarse"], row["n"]) for row in rows}
    digests = len({row["digest"] for row in rows})
    seen = visible[visible > 0]
    return [
        f"{len(rows):,} clips of {len({c for c, _ in fine})} coarse and {len(fine)} fine classes; "
        f"{sum(frames):,} frames, 24 a second, {min(frames)} to {max(frames)} a clip",
        "kinds: " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())),
        "views: " + ", ".join(f"{name} {count:,}" for name, count in sorted(Counter(r["view"] for r in rows).items())),
        "sets: " + ", ".join(f"{name} {count:,}" for name, count in sorted(Counter(r["set"] for r in rows).items())),
        f"identities 1 to {max(row['id'] for row in rows)}; an identity has one of ten scenes of its set",
        f"bodies a clip: {min(row['n_bodies'] for row in rows)} to {max(row['n_bodies'] for row in rows)}; shapes "
        + ", ".join(sorted({shape for row in rows for shape in row["shapes"]})),
        f"of the bodies that are seen, {np.mean(seen < 0.75):.1%} are hidden or cut off by more than a quarter",
        f"{digests:,} different files; motions drawn anew because a body was never in the picture: "
        f"{sum(row['attempt'] > 0 for row in rows):,}",
        "made by this project from a seed: no people, no pictures of others; for measuring motion, not for pretraining",
    ]


def build(job: stage.Job) -> None:
    """Write the page."""
    import matplotlib

    from pipeline.methods.models import read
    from pipeline.methods.transfer.model import open_model

    matplotlib.use("Agg")
    metrics = json.loads(job.input("metrics").read_text())
    found, about = job.read_table("predictions")
    predictions = Predictions.of(found, about)
    models, names = metrics["models"], about["class_names"]
    coarse = {name: own for name, own in models.items() if ", fine" not in name}
    headline = metrics["headline"]
    parts = [f"<h1>Motion transferability: {html.escape(job.dataset)}</h1>"]
    parts.append(
        f"<p>{html.escape(headline['name'])}: <b>{headline['value']:.3f}</b>; chance {metrics['chance'] / 100:.3f}. "
        f"Known are validation videos of the set that was trained on, unknown those of the other one; sets are swapped "
        f"and averaged. <i>concepts (truth)</i> see where things really are and are no recogniser.</p>"
    )
    for bar, own in metrics["bars"].items():
        mark = "reached" if own["reached"] else "missed"
        parts.append(f'<div class="{mark}">{mark}: {html.escape(bar)} ({own["value"]:.2f})</div>')
    for number in (2, 3, 4, 5):
        try:
            parts.append(as_table(table(number, [predictions])))
        except StageError as error:
            parts.append(f"<p>Table {number}: {html.escape(str(error))}</p>")
    parts.append(picture(known_and_unknown(coarse), "Known and unknown, coarse classes"))
    parts.append(picture(hm_over_drop(coarse), "Harmonic mean over relative drop; green: plain backgrounds"))
    if any(own["factors"] for own in coarse.values()):
        parts.append(picture(drop_by_factor(coarse), "Which single factor breaks it"))
    for model in ("temporal", "moving", "concepts (found)"):
        own = predictions.where(model=model, level="coarse", background="realistic", role="unknown")
        if len(own["label"]):
            words = f"Confusion of {model}, unknown contexts, a class beside the one that it is played backward"
            parts.append(picture(confusion(own, names), words))
    envelope = read(job.input("model"))
    model = open_model(envelope, None)
    if model.concepts is not None:
        words = "Motion concepts of tracks: paths of the medoids, later is darker"
        parts.append(picture(concept_paths(model.concepts.shown), words))
    told = predictions.where(level="coarse")
    labels = {key: names[label] for key, label in zip(told["video_id"], told["label"], strict=True)}
    for words, figure in looked(job, labels):
        parts.append(picture(figure, words))
    rows, visible = [], []
    for path in job.given("manifest"):
        rows += read_manifest(path)
    for arrays, _ in job.read_arrays("truth"):
        visible.append(arrays["visible"])
    if rows:
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in card(rows, np.concatenate(visible)))
        parts.append(f"<h2>Data card</h2><ul>{lines}</ul>")
    page = f'<!doctype html><meta charset="utf-8"><title>Motion transferability</title><style>{STYLE}</style>'
    with replace_when_done(job.outputs["report"]) as file:
        file.write_text(page + "\n".join(parts), encoding="utf-8")


def read_manifest(path: Any) -> list[dict[str, Any]]:
    """Rows of a manifest, checked.

    Raises:
        ArtifactError: it is absent or damaged.
    """
    from pipeline.store.tables import read_table

    return read_table(path)[0].to_pylist()


if __name__ == "__main__":
    stage.run("transfer_report", build)
