"""Tables of comparisons as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

PAPER_NAMES = {
    "charades": "Charades",
    "ucf101": "UCF-101",
    "penn_action": "Penn Action",
    "haa100": "HAA-100",
    "kth": "KTH",
    "breakfast": "Breakfast",
    "breakfast_activities": "Breakfast",
    "coin": "COIN",
    "coin_tasks": "COIN",
}


def spread(values: list[float], scale: float = 1.0, digits: int = 1) -> str:
    """Mean ± standard deviation (ddof 1), or the value alone where there is no spread."""
    if not values:
        return "–"
    mean = statistics.fmean(values) * scale
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {statistics.stdev(values) * scale:.{digits}f}"


def published(variants: list[dict[str, Any]], dataset: str) -> str:
    """Whose figures of the paper stand beside the table: the data set's own where it has some, else UCF-101's."""
    # A data set like penn_action_published_labels is a variation of the one whose name it begins with.
    own = max((name for name in PAPER_NAMES if dataset.startswith(name)), key=len, default="")
    if own and any(own in variant["paper"] for variant in variants):
        return own
    return "ucf101" if any("ucf101" in variant["paper"] for variant in variants) else ""


def markdown(dataset: str, rows: list[dict[str, Any]], attributes: dict[str, Any]) -> str:
    """One table: mean and spread over the seeds, beside the paper's figure.

    Args:
        rows: of ``variant``, ``seed``, ``figure``, ``value``; attributes: see `pipeline.ablations.run.write_rows`.
    """
    variants = attributes["variants"]
    splits = sorted({row["figure"] for row in rows if row["figure"].endswith("_top1")} - {"val_top1"})
    paper = published(variants, dataset)
    if not any(row["figure"] in ("top1", "val_top1") for row in rows):
        return _plain(dataset, rows, attributes, paper)
    header = ["variant", "test", *(f"`{name.removesuffix('_top1')}`" for name in splits), "validation"]
    header += ["concepts", "non-zero weights"] + ([f"paper ({PAPER_NAMES[paper]})"] if paper else [])
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    notes = []
    for variant in variants:
        values: dict[str, list[float]] = {}
        for row in rows:
            if row["variant"] == variant["name"]:
                values.setdefault(row["figure"], []).append(row["value"])
        cells = [variant["name"]]
        cells += [spread(values.get(name, []), 100) for name in ("top1", *splits, "val_top1")]
        cells += [spread(values.get(name, []), digits=0) for name in ("n_concepts", "nnz")]
        if paper:
            cells.append(f"{variant['paper'][paper]:.1f}" if paper in variant["paper"] else "–")
        lines.append(f"| {' | '.join(cells)} |")
        if variant["problem"]:
            notes.append(f"{variant['name']}: {variant['problem']}")
    return _titled(dataset, attributes, lines, notes)


def _plain(dataset: str, rows: list[dict[str, Any]], attributes: dict[str, Any], paper: str) -> str:
    """The same for methods whose figures are no accuracies: a column each, in per cent."""
    names = list(dict.fromkeys(row["figure"] for row in rows))
    header = ["variant", *names, *([f"paper ({PAPER_NAMES[paper]})"] if paper else [])]
    lines, notes = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"], []
    for variant in attributes["variants"]:
        own = [row for row in rows if row["variant"] == variant["name"]]
        cells = [spread([row["value"] for row in own if row["figure"] == name], 100) for name in names]
        cells += [f"{variant['paper'][paper]:.1f}" if paper in variant["paper"] else "–"] if paper else []
        lines.append(f"| {' | '.join([variant['name'], *cells])} |")
        if variant["problem"]:
            notes.append(f"{variant['name']}: {variant['problem']}")
    return _titled(dataset, attributes, lines, notes)


def _titled(dataset: str, attributes: dict[str, Any], lines: list[str], notes: list[str]) -> str:
    text = f"### {attributes['title']}\n\n"
    if attributes["source"]:
        text += f"After {attributes['source']}. "
    text += f"`conceptreel ablate results/{dataset} --table {attributes['table']} --seeds {attributes['seeds']}`\n\n"
    text += "\n".join(lines) + "\n"
    return text + "".join(f"\n{note}\n" for note in notes)


def page(parts: dict[str, list[str]]) -> str:
    """The whole page.

    Args:
        parts: data set → its tables as Markdown.
    """
    lines = [
        "# Ablations",
        "",
        "Made by `conceptreel ablations`; do not edit. Top-1 in per cent, mean ± standard deviation over the seeds. A",
        "seed draws another validation split, other mini-batches, other starts of k-means and other random frames; the",
        "test split stays. Everything is chosen on validation. All variants are the model kind `dance`. The paper's",
        "figures stand beside them where it has some, mostly of another data set: compare differences between rows.",
        "",
    ]
    for dataset, tables in parts.items():
        lines += [f"## `{dataset}`", "", *(line for table in tables for line in (table,))]
    return "\n".join(lines).rstrip() + "\n"
