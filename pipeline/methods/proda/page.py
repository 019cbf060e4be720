"""The report's page of the method: what it reaches without labels, and what the published protocol shows beside it."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:"
    "collapse}td,th{padding:.15rem .8rem;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child"
    "{text-align:left}.base{color:#777}.warn{background:#fff3cd;padding:.5rem 1rem}"
)
TITLES = {
    "label_free": "Without labels: every video is asked the same prompts",
    "oracle": "The published protocol: prompts hold the labels of the test videos",
    "parts": "What the generator knows to be true",
    "localisation_25": "Localisation at 25 moments, mAP",
    "table_6": "Table 6: a_s, prompts of true labels alone",
    "table_7": "Table 7: a_s, filled up with absent labels",
    "table_8": "Table 8: localisation, one true label and absent ones",
    "table_9": "Table 9: localisation, one true label",
}
SHOWN_VIDEOS = 6


def page(metrics: dict[str, Any], figures: list, trained: dict[str, Any], results: list) -> str:
    """The whole page; all names are escaped.

    Args:
        figures: of `pipeline.methods.proda.protocols`; trained: what the network's artifact tells; results: splits.
    """
    headline = metrics["headline"]
    value = "unknown" if headline["value"] is None else f"{headline['value']:.3f}"
    parts = [
        f"<h1>ProDA on {escape(metrics['dataset'])}</h1>",
        f"<p>{escape(headline['name'])} <b>{value}</b> on <code>{escape(headline['split'])}</code>: no prompt knows a "
        f"label. Grey figures need no network.</p>",
        *(f'<p class="warn">{escape(sentence)}</p>' for sentence in metrics["warnings"]),
        *(_table(protocol, title, figures) for protocol, title in TITLES.items()),
        _training(trained),
        *(_videos(own, trained["class_names"]) for own in results[:1]),
    ]
    title = f"ProDA on {escape(metrics['dataset'])}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _table(protocol: str, title: str, figures: list) -> str:
    own = [item for item in figures if item.protocol == protocol and not item.figure.endswith("_std")]
    splits = list(dict.fromkeys(item.split for item in own))
    names = list(dict.fromkeys((item.figure, item.baseline) for item in own))
    value = {(item.split, item.figure): item.value for item in own}
    if not own:
        return ""
    rows = [
        f"<tr{' class=base' if baseline else ''}><td>{escape(name)}</td>"
        + "".join(f"<td>{value.get((split, name), float('nan')):.3f}</td>" for split in splits)
        + "</tr>"
        for name, baseline in names
    ]
    head = "".join(f"<th>{escape(split)}</th>" for split in splits)
    return f"<h2>{escape(title)}</h2><table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _training(trained: dict[str, Any]) -> str:
    chosen = "".join(
        f"<li>phase {phase}: {escape(own['recipe'])}, epoch {own['epoch']}, validation {own['validation']:.3f}</li>"
        for phase, own in trained["chosen"].items()
    )
    rows = "".join(
        f"<tr><td>{escape(line['recipe'])}</td><td>{line['phase']}</td><td>{line['epoch']}</td><td>{line['loss']:.3f}</td>"
        f"<td>{line['validation']:.3f}</td></tr>"
        for line in trained["curve"]
    )
    head = "<tr><th>recipe</th><th>phase</th><th>epoch</th><th>loss</th><th>label-free mAP, validation</th></tr>"
    return f"<h2>Training</h2><ul>{chosen}</ul><table>{head}{rows}</table>"


def _videos(own, names: list[str]) -> str:
    """The surest videos, with s of their true and their surest actions as bars."""
    order = np.argsort(-own.predicted["headline"].max(1), kind="stable")[:SHOWN_VIDEOS]
    parts = ["<h2>Videos</h2><p>Each frame's s when the action alone is asked for; true actions are marked ●.</p>"]
    for row in order:
        scores = own.predicted["headline"][row]
        asked = list(dict.fromkeys([*np.flatnonzero(own.truth[row]).tolist(), *np.argsort(-scores)[:2].tolist()]))
        lines = []
        for action in asked:
            gates = own.predicted["frames"][row, action].astype(float)
            bars = "".join(
                f'<rect x="{12 * at}" y="{24 - 24 * gate:.1f}" width="10" height="{24 * gate:.1f}" fill="#D55E00"/>'
                for at, gate in enumerate(gates)
            )
            mark = "●" if own.truth[row, action] else ""
            lines.append(
                f"<tr><td>{mark} {escape(names[action])}</td><td>{scores[action]:.3f}</td>"
                f'<td><svg width="{12 * len(gates)}" height="24">{bars}</svg></td></tr>'
            )
        parts.append(f"<h3>{escape(own.scenes.video_id[row])}</h3><table>{''.join(lines)}</table>")
    return "".join(parts)
