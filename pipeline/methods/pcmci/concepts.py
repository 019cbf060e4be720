"""Stage `pcmci_concepts`: the motion, object and scene concepts of the floors that go with each label in test videos.

What goes with a label is no cause of it: the logits of a network and the concepts of a video are compared as they come.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.jobs import stage

# Concepts of each kind that are kept of a label, and videos that a correlation needs.
STRONGEST, FEWEST = 5, 5
COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("label", "type", "concept")] + [("r", pa.float64()), ("videos", pa.int32())]
)


def correlations(logits: np.ndarray, concepts: np.ndarray) -> np.ndarray:
    """Pearson's r ``[N, M]`` of logits ``[n, N]`` and concepts ``[n, M]``; 0 where one of both is constant."""

    def standardised(values: np.ndarray) -> np.ndarray:
        values = values.astype(float) - values.mean(0, dtype=float)
        spread = np.sqrt((values**2).sum(0))
        return np.divide(values, spread, out=np.zeros_like(values), where=spread > 1e-9)

    return standardised(logits).T @ standardised(concepts)


def strongest(
    logits: np.ndarray, concepts: np.ndarray, labels: list[str], names: list[str], types: list[str]
) -> list[dict]:
    """Rows of the concepts of each kind that go with each label most, the strongest first; none of too few videos."""
    if len(logits) < FEWEST:
        return []
    found, kinds = correlations(logits, concepts), np.array(types)
    rows = []
    for own, label in zip(found, labels, strict=True):
        for kind in dict.fromkeys(types):
            of_kind = np.flatnonzero(kinds == kind)
            for place in of_kind[np.argsort(-own[of_kind], kind="stable")[:STRONGEST]]:
                if own[place] > 0:
                    row = {"label": label, "type": kind, "concept": names[place], "r": float(own[place])}
                    rows.append(row | {"videos": len(logits)})
    return rows


def joined(ids: list[str], logits: np.ndarray, others: list[str], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the videos that both know."""
    where = {key: row for row, key in enumerate(others)}
    known = [row for row, key in enumerate(ids) if key in where]
    return logits[known], values[[where[ids[row]] for row in known]]


def build(job: stage.Job) -> None:
    """Write ``concepts``: label, type, concept, r, videos."""
    ((arrays, described),) = job.read_arrays("predictions")
    ids, logits, labels = described["video_id"], arrays["logits"].astype(np.float32), described["class_names"]
    rows: list[dict] = []
    if job.given("motion_labels"):
        table, named = job.read_table("motion_labels")
        hot = np.zeros((table.num_rows, len(named["names"])), np.float32)
        for row, own in enumerate(table["concepts"].to_pylist()):
            hot[row, own] = 1
        both = joined(ids, logits, table["video_id"].to_pylist(), hot)
        rows += strongest(*both, labels, named["names"], ["motion"] * hot.shape[1])
    if job.given("pseudo_labels"):
        ((words, named),) = job.read_arrays("pseudo_labels")
        both = joined(ids, logits, named["video_id"], words["similarity"])
        rows += strongest(*both, labels, named["names"], named["types"])
    if not rows:
        job.warn(f"no concept goes with a label: of {len(ids)} test videos too few have concepts")
    job.write_table("concepts", pa.Table.from_pylist(rows, COLUMNS))


if __name__ == "__main__":
    stage.run("pcmci_concepts", build)
