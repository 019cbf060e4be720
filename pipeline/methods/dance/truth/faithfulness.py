"""Stage `faithfulness`: what the concepts say against what the clips show, which only the demo can know."""

from __future__ import annotations

import numpy as np

from pipeline.data.entries import DEVELOPMENT
from pipeline.demo.classes import FACTORS
from pipeline.jobs import stage
from pipeline.jobs.stage import Job, StageError
from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.methods.dance.bottleneck.recogniser import WITHOUT, ConceptModel
from pipeline.methods.dance.bottleneck.words import concept_named
from pipeline.methods.dance.explain.sanity import read_run, response

# A type must answer to its own change so many times as strongly as to another's.
WANTED_RATIO = 3.0


def contingency(rows: np.ndarray, columns: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    """Counts int64 ``[n_rows, n_columns]`` of pairs."""
    result = np.zeros((n_rows, n_columns), np.int64)
    np.add.at(result, (rows, columns), 1)
    return result


def purity(counts: np.ndarray) -> float:
    """Part of the pairs that fall on the most frequent column of their row."""
    return float(counts.max(1).sum() / counts.sum())


def agreement(concept: np.ndarray, truth: np.ndarray, n_concepts: int, n_values: int) -> dict:
    """How well one label follows from the other, and what shuffled labels would reach.

    Args:
        concept: int ``[n]``; truth: int ``[n]``.
    """
    from sklearn.metrics import normalized_mutual_info_score

    counts = contingency(concept, truth, n_concepts, n_values)
    rng = np.random.default_rng([7301, 0])
    shuffled = [rng.permutation(truth) for _ in range(100)]
    purities = [purity(contingency(concept, labels, n_concepts, n_values)) for labels in shuffled]
    return {
        "purity": purity(counts),
        "nmi": float(normalized_mutual_info_score(concept, truth)),
        "purity_of_shuffled": float(np.mean(purities)),
        "nmi_of_shuffled": float(np.mean([normalized_mutual_info_score(concept, labels) for labels in shuffled])),
        "n": int(counts.sum()),
        "counts": counts.tolist(),
    }


def response_matrix(model: ConceptModel, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How strongly each type of concept answers to a change of each factor.

    Args:
        z: activations ``[1 + 3, n, M]``: of the clips as they were, and with another motion, object and scene.

    Returns:
        mean absolute change of an activation in standard deviations of the training videos, ``[types, factors]``, NaN
        for a type without concepts; and its standard error over the clips.
    """
    change = np.abs(z[1:] - z[:1])  # [factors, n, M]
    mean = np.full((len(TYPES), len(FACTORS)), np.nan)
    error = mean.copy()
    for row, kind in enumerate(TYPES):
        own = np.array(model.types) == kind
        if own.any():
            per_clip = change[..., own].mean(2)  # [factors, n]
            mean[row] = per_clip.mean(1)
            error[row] = per_clip.std(1) / np.sqrt(per_clip.shape[1])
    return mean, error


def shortfalls(matrix: np.ndarray) -> list[dict]:
    """Where a type answers to its own change less than `WANTED_RATIO` times as strongly as to another's."""
    return [
        {"type": kind, "factor": factor, "ratio": float(matrix[i, i] / matrix[i, j])}
        for i, kind in enumerate(TYPES)
        for j, factor in enumerate(FACTORS)
        if i != j and np.isfinite(matrix[i]).all() and not matrix[i, i] >= WANTED_RATIO * matrix[i, j]
    ]


def presence(said: np.ndarray, value: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """How often "present" is true, and how often what is there is said to be: over pairs of a clip and a value.

    Args:
        said: whether a clip is said to show a concept, bool ``[n, m]``; value: which value of the factor each concept
            stands for, ``[m]``; true: of each clip, ``[n]``. Clips whose value no concept stands for do not count.

    Returns:
        ``precision``, NaN where nothing is said to be present, ``recall``, and ``n``, the number of clips.
    """
    known = np.unique(value)
    rows = np.isin(true, known)
    found = np.stack([said[rows][:, value == one].any(1) for one in known], 1)  # [n, values]
    right = found & (true[rows][:, None] == known)
    precision = float(right.sum() / found.sum()) if found.any() else float("nan")
    return {"precision": precision, "recall": float(right.any(1).mean()), "n": int(rows.sum())}


def taken_out(model: ConceptModel, z: np.ndarray, removed: np.ndarray) -> dict[str, dict[str, float]]:
    """What becomes of decisions without some concepts of each clip, by what "without" means.

    Args:
        z: activations ``[n, M]``; removed: bool ``[n, M]``.
    """
    before = model.probabilities(z)
    label = before.argmax(1)
    rows = np.arange(len(z))
    found = {}
    for level in WITHOUT:
        known = [m for m in range(z.shape[1]) if level != "absent" or np.isfinite(model.layer["levels"][0, m])]
        changed = np.where(removed, model.without(z, known, level), z)
        after = model.probabilities(changed)
        found[level] = {
            "changed": float((after.argmax(1) != label).mean()),
            "before": float(before[rows, label].mean()),
            "after": float(after[rows, label].mean()),
        }
    return found


def build(job: Job) -> None:
    """Write the figures as one artifact: matrices as arrays, the rest in its attributes."""
    model, arrays, described = read_run(job)
    ((_, shown),) = job.read_arrays("truth")
    ((changes, about),) = job.read_arrays("counterfactuals")
    if about["activations"] != described["content_digest"]:
        raise StageError("the counterfactual clips were judged by another model; run the pipeline again")
    motion_of = dict(zip(shown["video_id"], shown["motion"], strict=True))
    motions = sorted(set(shown["motion"]))
    split = dict(zip(described["video_id"], described["split"], strict=True))
    names = [name for name, kind in zip(model.concepts, model.types, strict=True) if kind == "motion"]
    figures: dict = {"motions": motions, "concepts": names, "clusters": {}, "activations": {}}
    if names:
        table, labelled = job.read_table("motion_labels")
        # Of a merged concept, the clusters of all that are in it.
        merged = model.about.get("merged", {"names": [[]] * len(names)})["names"]
        members = [[name, *merged[row]] for row, name in enumerate(names)]
        place = {labelled["names"].index(name): row for row, own in enumerate(members) for name in own}
        for part, wanted in (("development", DEVELOPMENT), ("test", ("test",))):
            pairs = [
                (concept, motions.index(motion_of[row["video_id"]]))
                for row in table.to_pylist()
                if split.get(row["video_id"]) in wanted
                for concept in sorted({place[number] for number in row["concepts"] if number in place})
            ]
            if pairs:
                rows, columns = np.array(pairs).T
                figures["clusters"][part] = agreement(rows, columns, len(names), len(motions))
        own = np.flatnonzero(np.array(model.types) == "motion")
        for part in ("test", "shifted"):
            rows = [row for row, key in enumerate(described["video_id"]) if split[key] == part]
            if rows:
                fires = arrays["z"][rows][:, own].argmax(1)
                true = np.array([motions.index(motion_of[described["video_id"][row]]) for row in rows])
                figures["activations"][part] = agreement(fires, true, len(names), len(motions))
    meant: dict[str, dict[int, str]] = {kind: {} for kind in TYPES}
    for kind in TYPES[1:]:
        for word in sorted(set(shown[kind])):
            concept = concept_named(word, model.concepts, model.types, kind)
            if concept is not None:
                meant[kind][concept] = word
    if "development" in figures["clusters"]:
        counts = np.array(figures["clusters"]["development"]["counts"])
        for m, row in zip(np.flatnonzero(np.array(model.types) == "motion"), counts, strict=True):
            meant["motion"][int(m)] = motions[int(row.argmax())]
    said = np.array([[bool(value) for value in model.present(row)] for row in arrays["z"].astype(np.float64)])
    row_of = {key: row for row, key in enumerate(shown["video_id"])}
    figures["present"], figures["without"] = {}, {}
    for part in ("val", "test", "shifted"):
        rows = [row for row, key in enumerate(described["video_id"]) if split[key] == part]
        for kind in (kind for kind in TYPES if rows and meant[kind]):
            true = np.array([shown[kind][row_of[described["video_id"][row]]] for row in rows])
            own, value = np.array(list(meant[kind])), np.array(list(meant[kind].values()))
            figures["present"].setdefault(part, {})[kind] = presence(said[rows][:, own], value, true)
            removed = np.zeros((len(rows), len(model.concepts)), bool)
            removed[:, own] = true[:, None] == value
            z_part = arrays["z"][rows].astype(np.float64)
            figures["without"].setdefault(part, {})[kind] = taken_out(model, z_part, removed)
    z = changes["z"].astype(np.float64)
    matrix, error = response_matrix(model, z)
    figures["shortfalls"] = shortfalls(matrix)
    figures["decisions"] = {}
    for position, factor in enumerate(FACTORS, 1):
        expected = [variants[position] for variants in about["class"]]
        decided = model.probabilities(z[position]).argmax(1)
        is_class = [i for i, name in enumerate(expected) if name is not None]
        right = [model.class_names[decided[i]] == expected[i] for i in is_class]
        figures["decisions"][factor] = {
            **response(model, z[0], z[position], changes["label"]),
            "n_with_class": len(is_class),
            "right_with_class": float(np.mean(right)) if right else None,
        }
    job.write_arrays(
        "faithfulness",
        {"response": matrix, "standard_error": error},
        {
            "types": list(TYPES),
            "factors": list(FACTORS),
            "figures": figures,
            "activations": described["content_digest"],
        },
        n_ok=z.shape[1],
    )


if __name__ == "__main__":
    stage.run("faithfulness", build)
