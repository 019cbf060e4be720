"""Charts of the report, with plotly; the library itself is put into the page once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.explain.curves import Curves
from pipeline.methods.dance.explain.palette import TYPE_COLOURS

GREY = "#6b7280"
WIDTH_OF_BIN = 0.025
# Concepts of each class in a diagram of two.
LINKS = 6
FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#1f2933"}


def library() -> str:
    """The JavaScript of plotly."""
    return get_plotlyjs()


def html(figure: go.Figure, name: str) -> str:
    """The chart as a part of a page that holds `library`."""
    figure.update_layout(
        template="plotly_white",
        font=FONT,
        margin={"l": 60, "r": 20, "t": 30 if figure.layout.title.text is None else 60, "b": 50},
    )
    return pio.to_html(
        figure,
        full_html=False,
        include_plotlyjs=False,
        div_id=f"chart-{name}",
        config={"displayModeBar": False, "responsive": True},
    )


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def matrix(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    row_title: str,
    column_title: str,
    digits: int = 0,
) -> go.Figure:
    """A matrix ``[rows, columns]`` as colours, with its values written where there are few."""
    # Counts of nothing are left out: what is there is seen better.
    empty = np.isnan(values) | ((values == 0) & (digits == 0))
    text = np.where(empty, "", np.vectorize(lambda value: f"{value:.{digits}f}")(values.astype(float)))
    figure = go.Figure(
        go.Heatmap(
            z=values.tolist(),
            x=[escape(name) for name in columns],
            y=[escape(name) for name in rows],
            text=text.tolist(),
            texttemplate="%{text}" if max(values.shape) <= 26 else None,
            colorscale="Blues",
            zmin=0,
            hovertemplate=f"{row_title} %{{y}}<br>{column_title} %{{x}}<br>%{{z}}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", title=row_title, automargin=True, type="category")
    figure.update_xaxes(title=column_title, automargin=True, type="category")
    figure.update_layout(height=int(np.clip(26 * len(rows) + 160, 260, 900)))
    return figure


def sankey(model: ConceptModel, first: int, second: int) -> go.Figure:
    """Concepts between two classes: what both use stands on a way from one to the other, the rest has one end only.

    The width is the size of the weight; weights against a class are pale.
    """
    used = [
        {int(m) for m in np.argsort(-np.abs(model.weight[k]), kind="stable")[:LINKS] if model.weight[k, m]}
        for k in (first, second)
    ]
    size = np.abs(model.weight[[first, second]])  # [2, M]
    # From what only the first class uses, over what both use, to what only the second uses.
    shown = sorted(used[0] | used[1], key=lambda m: (np.sign(size[1, m]) - np.sign(size[0, m]), -size[:, m].max()))
    heights = np.array([size[:, m].max() for m in shown])
    middles = (np.cumsum(heights) - heights / 2 + 0.08 * heights.sum() * np.arange(len(shown))) / (
        heights.sum() * (1 + 0.08 * (len(shown) - 1))
    )
    labels = [model.class_names[first], *(model.named(m) for m in shown), model.class_names[second]]
    links: dict[str, list] = {"source": [], "target": [], "value": [], "color": [], "customdata": []}
    for node, m in enumerate(shown, 1):
        for k, ends in ((first, (0, node)), (second, (node, len(shown) + 1))):
            weight = float(model.weight[k, m])
            if weight:
                links["source"].append(ends[0])
                links["target"].append(ends[1])
                links["value"].append(abs(weight))
                links["color"].append(_rgba(TYPE_COLOURS[model.types[m]], 0.6 if weight > 0 else 0.18))
                links["customdata"].append(f"{escape(model.named(m))} → {escape(model.class_names[k])}: {weight:+.3f}")
    links["hovertemplate"] = "%{customdata}<extra></extra>"
    figure = go.Figure(
        go.Sankey(
            arrangement="snap",
            node={
                "label": [escape(label) for label in labels],
                "color": [GREY, *(TYPE_COLOURS[model.types[m]] for m in shown), GREY],
                "x": [0.001, *([0.5] * len(shown)), 0.999],
                "y": [0.5, *np.clip(middles, 0.001, 0.999).tolist(), 0.5],
                "pad": 14,
                "thickness": 12,
                "hovertemplate": "%{label}<extra></extra>",
            },
            link=links,
        )
    )
    figure.update_layout(height=max(200, 60 + 34 * len(shown)))
    return figure


def path(lambdas: np.ndarray, accuracy: np.ndarray, nnz: np.ndarray, chosen: float, n_classes: int, at: Mapping):
    """Sparsity against validation accuracy along the λ path.

    Args:
        chosen: λ of the model; at: effective concepts per class → test accuracy.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=nnz / n_classes,
        y=accuracy,
        mode="lines+markers",
        name="validation, along the λ path",
        marker={"size": 5, "color": TYPE_COLOURS["motion"]},
        customdata=lambdas,
        hovertemplate="%{x:.1f} weights per class<br>accuracy %{y:.3f}<br>λ = %{customdata:.2g}<extra></extra>",
    )
    best = int(np.abs(np.log(lambdas) - np.log(chosen)).argmin())
    figure.add_scatter(
        x=[nnz[best] / n_classes],
        y=[accuracy[best]],
        mode="markers",
        name="the model's λ",
        marker={"size": 14, "symbol": "star", "color": TYPE_COLOURS["object"]},
    )
    if at:
        figure.add_scatter(
            x=[float(key) for key in at],
            y=list(at.values()),
            mode="markers",
            name="test, at so many per class",
            marker={"size": 9, "symbol": "diamond", "color": TYPE_COLOURS["scene"]},
        )
    figure.update_xaxes(title="weights that are not zero, per class")
    figure.update_yaxes(title="top-1 accuracy", rangemode="tozero")
    figure.update_layout(height=360, legend={"orientation": "h", "y": 1.14})
    return figure


def bars(names: Sequence[str], values: Sequence[float], title: str, colours: Sequence[str] | str) -> go.Figure:
    """Horizontal bars, first on top."""
    figure = go.Figure(
        go.Bar(
            x=list(values),
            y=[escape(name) for name in names],
            orientation="h",
            marker={"color": colours},
            hovertemplate="%{y}: %{x:.3g}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True, type="category")
    figure.update_xaxes(title=title)
    figure.update_layout(height=int(np.clip(20 * len(names) + 90, 180, 1400)))
    return figure


def histogram(values: np.ndarray, title: str) -> go.Figure:
    """How often each value in [0, 1] comes."""
    figure = go.Figure(
        go.Histogram(
            x=values.tolist(),
            # The last bin takes in the value 1 itself.
            xbins={"start": 0, "end": 1 + WIDTH_OF_BIN, "size": WIDTH_OF_BIN},
            marker={"color": TYPE_COLOURS["motion"], "line": {"width": 0.5}},
        )
    )
    figure.update_xaxes(title=title, range=[0, 1 + WIDTH_OF_BIN])
    figure.update_yaxes(title="videos")
    figure.update_layout(height=260, bargap=0.05)
    return figure


def removal(found: Curves) -> go.Figure:
    """Deletion and insertion curves beside random orders."""
    figure = go.Figure()
    steps = np.arange(len(found.deletion))
    for name, values, colour, dash in (
        ("deletion, strongest first", found.deletion, TYPE_COLOURS["object"], "solid"),
        ("deletion, random order", found.random_deletion, TYPE_COLOURS["object"], "dot"),
        ("insertion, strongest first", found.insertion, TYPE_COLOURS["scene"], "solid"),
        ("insertion, random order", found.random_insertion, TYPE_COLOURS["scene"], "dot"),
    ):
        figure.add_scatter(x=steps, y=values, name=name, mode="lines", line={"color": colour, "dash": dash})
    figure.update_xaxes(title="concepts removed, or given back")
    figure.update_yaxes(title="probability of the decided class", range=[0, 1.02])
    figure.update_layout(height=360, legend={"orientation": "h", "y": 1.2})
    return figure
