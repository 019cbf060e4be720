"""The page of a run: figures of all networks, and false couplings by name."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.methods.pcmci.pictures import Told

SHOWN_PAIRS, SHOWN_CONCEPTS = 60, 3
LEGEND = (
    "S̃: frames that the dual encoder matches to a label. A: tokens that the label asks. Green: where it truly is. "
    "Numbers are logits, with the part left out that shows the surest label behind the arrow."
)
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}"
)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _figures(networks: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """A table per figure: networks by test sets."""
    sets = list(dict.fromkeys(name for own in networks.values() for name in own))
    names = dict.fromkeys(figure for own in networks.values() for values in own.values() for figure in values)
    parts = []
    for figure in names:
        rows = [
            [network, *(f"{own[do][figure]:.4f}" if figure in own.get(do, {}) else "" for do in sets)]
            for network, own in networks.items()
            if any(figure in values for values in own.values())
        ]
        parts.append(f"<h3>{escape(figure)}</h3>{_table(['network', *sets], rows)}")
    return parts


def _picture(data: bytes, words: str) -> str:
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def _concepts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The concepts that go with each label, a column per kind."""
    if not rows:
        return []
    kinds = list(dict.fromkeys(row["type"] for row in rows))
    cells: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        cells.setdefault(row["label"], {}).setdefault(row["type"], []).append(f"{row['concept']} ({row['r']:.2f})")
    lines = [
        [label, *(", ".join(own.get(kind, [])[:SHOWN_CONCEPTS]) for kind in kinds)] for label, own in cells.items()
    ]
    words = "Correlation of a label's logit and a concept over test videos. What goes with a label is no cause of it."
    return ["<h2>Concepts that go with labels</h2>", f"<p>{words}</p>", _table(["label", *kinds], lines)]


def _examples(told: Sequence[Told]) -> list[str]:
    """What is said of some videos: logits, counterfactual text, pictures."""
    parts = ["<h2>Test videos</h2>", f"<p>{escape(LEGEND)}</p>"] if told else []
    for own in told:
        head, *more = own.lines
        parts += [f"<h3>{escape(head)}</h3>", f"<pre>{escape(chr(10).join(more))}</pre>"]
        parts += [f"<p>{escape(sentence)}</p>" for sentence in own.sentences]
        parts += [f"<p>{_picture(data, f'{head}: {name}')}</p>" for name, data in own.pictures.items()]
    return parts


def page(
    metrics: dict[str, Any],
    pairs: list[dict[str, Any]],
    couplings: bytes | None = None,
    told: Sequence[Told] = (),
    concepts: Sequence[dict[str, Any]] = (),
) -> str:
    """HTML without scripts; every name of the data set is escaped.

    Args:
        metrics: of ``metrics.json``; pairs: rows of ``couplings.parquet``.
        couplings: picture of Q before and after; told: of the videos that are shown;
            concepts: rows of ``concepts.parquet``.
    """
    head = metrics["headline"]
    value = "unknown" if head["value"] is None else f"{head['value']:.3f}"
    rows = [
        [pair["network"], pair["do"], pair["label"], pair["given"], f"{pair['predicted']:.2f}", f"{pair['true']:.2f}"]
        for pair in pairs[:SHOWN_PAIRS]
    ]
    more = len(pairs) - len(rows)
    body = [
        f"<h1>PCMCI on {escape(metrics['dataset'])}</h1>",
        f"<p>{escape(head['name'])} {value} on {escape(head['split'])}</p>",
        *(f"<p>warning: {escape(sentence)}</p>" for sentence in metrics["warnings"]),
        "<h2>Figures</h2>",
        *_figures(metrics["networks"]),
        "<h2>False couplings</h2>",
        "<p>P(label | other) above 0.6 in what a network predicts, and not in the labels of that set.</p>",
        f"<p>{_picture(couplings, 'couplings of labels and networks')}</p>" if couplings else "",
        _table(["network", "set", "label", "other", "predicted", "true"], rows),
        f"<p>and {more} more: conceptreel couplings --json</p>" if more > 0 else "",
        *_concepts(concepts),
        *_examples(told),
    ]
    title = f"<title>PCMCI on {escape(metrics['dataset'])}</title>"
    return f'<!doctype html><html lang="en"><meta charset="utf-8">{title}<style>{STYLE}</style>{"".join(body)}</html>\n'
