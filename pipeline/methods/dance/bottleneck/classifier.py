"""Stage `classifier`: the sparse linear layer over the concepts (DANCE eq. 6), λ and pooling chosen on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.backbone.samples import Samples, read_samples
from pipeline.jobs import stage
from pipeline.learning import glm
from pipeline.learning.metrics import accuracy, log_loss
from pipeline.learning.scaling import standardise, standardise_fit
from pipeline.methods.dance.bottleneck.activations import TYPES, KindConcepts, concepts_of
from pipeline.methods.dance.bottleneck.effective import at_nec
from pipeline.methods.dance.settings import Classifier

# The largest λ of standardised columns is about their correlation with a class; below this it is rounding.
LEAST_LAMBDA = 1e-9


@dataclass(frozen=True)
class Choice:
    """A classifier whose λ was chosen on validation.

    Attributes:
        solution: solved at that λ, on train and validation if refitted.
            chosen: position on the path.
    """

    solution: glm.Solution
    lambdas: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray
    nnz: np.ndarray
    chosen: int


def tells(z: np.ndarray, y: np.ndarray, n_classes: int, settings: Classifier) -> bool:
    """Whether some standardised column of z ``[n, p]`` varies with the class."""
    return z.shape[1] > 0 and glm.lambda_max(z, y, n_classes, settings.alpha) > LEAST_LAMBDA


def _path(z: np.ndarray, y: np.ndarray, n_classes: int, settings: Classifier) -> list[glm.Solution]:
    if not tells(z, y, n_classes, settings):
        raise stage.StageError(
            f"nothing tells the {n_classes} classes apart: none of {z.shape[1]} activations or features varies with "
            f"the class over {len(y)} videos; train on more videos, lower motion_weight_decay, text_weight_decay or "
            f"map_weight_decay of bottleneck.concept_layers, or look at the features with `conceptreel inspect`"
        )
    options = settings.model_dump(include={"alpha", "n_lambdas", "min_ratio"})
    return glm.path(z, y, n_classes, tol=settings.tolerance, **options)


def choose(
    z: np.ndarray, y: np.ndarray, train: np.ndarray, val: np.ndarray, n_classes: int, settings: Classifier
) -> Choice:
    """Solve the path on train, take the λ that is most accurate on validation, and solve again on both.

    Ties go to the smaller validation cross-entropy: accuracy on a small validation split has many ties, and the
    sparsest of them is often underfitted.

    Raises:
        StageError: nothing varies with the class.
    """
    path = _path(z[train], y[train], n_classes, settings)
    right = np.array([accuracy(z[val], y[val], item.weight, item.bias) for item in path])
    loss = np.array([log_loss(z[val], y[val], item.weight, item.bias) for item in path])
    chosen = int(np.lexsort((loss, -right))[0])
    solution = path[chosen]
    if settings.refit:
        both = train | val
        solution = glm.solve(
            z[both], y[both], n_classes, lam=solution.lam, alpha=settings.alpha, tol=settings.tolerance, init=solution
        )
    return Choice(
        solution, np.array([item.lam for item in path]), right, loss, np.array([item.nnz for item in path]), chosen
    )


def choose_pooling(
    kind: str, layers: dict[str, np.ndarray], described: dict[str, Any], samples: Samples, settings: Classifier
) -> tuple[KindConcepts, np.ndarray, Choice]:
    """The pooling that serves validation best, ties to the smaller cross-entropy.

    Args:
        kind: of the model; layers, described: see `pipeline.methods.dance.bottleneck.activations.concepts_of`.

    Returns:
        the concepts with that pooling, their activations ``[n, M]``, and the classifier over all of them.

    Raises:
        StageError: the kind has no concept.
    """
    y, n_classes = samples.label.astype(np.int64), len(samples.videos.class_names)
    tried = []
    for pooling in settings.pooling if kind.endswith("salf") else [None]:
        concepts = concepts_of(kind, layers, described, samples.videos, pooling)
        if not concepts.names:
            raise stage.StageError(
                f"the model kind {kind} has no concept left; loosen context.concepts, or projection_cutoff and "
                f"map_cutoff of bottleneck.concept_layers"
            )
        z = concepts.activations(samples.features)
        choice = choose(z, y, samples.split("train"), samples.split("val"), n_classes, settings)
        tried.append((concepts, z, choice))
    return min(tried, key=lambda item: (-item[2].accuracy[item[2].chosen], item[2].loss[item[2].chosen]))


def warnings_of(types: list[str], solution: glm.Solution, class_names: list[str], settings: Classifier) -> list[str]:
    """What a person must know of a classifier over concepts of these types ``[M]``."""
    used = solution.weight.any(0)
    found = [
        f"no decision uses any {kind} concept: all weights of {types.count(kind)} of them are 0"
        for kind in dict.fromkeys(types)
        if used.any() and not used[np.array(types) == kind].any()
    ]
    if not used.any():
        found.append(f"the classifier uses no concept: it decides for {class_names[solution.bias.argmax()]} every time")
    if not solution.converged:
        found.append(
            f"the classifier is not solved to bottleneck.classifier.tolerance = {settings.tolerance:.1e}: "
            f"its relative gap is {solution.relative_gap:.1e}"
        )
    return found


def build(job: stage.Job) -> None:
    """Write, for each model kind, the classifier over all concepts and over each type alone.

    The names of the arrays of the first kind are plain (``all/weight``), those of the others begin with the kind. Of
    the first kind come the classifiers at given NEC too, and there is one over the bare features.
    """
    settings = Classifier.model_validate(job.settings)
    samples = read_samples(job, "DANCE")
    stage.limit_threads(samples.features.size)
    ((layers, described),) = job.read_arrays("concept_layers")
    y = samples.label.astype(np.int64)
    n_classes = len(samples.videos.class_names)
    train, val = samples.split("train"), samples.split("val")
    if len(absent := np.setdiff1d(np.arange(n_classes), y[train])):
        names = ", ".join(samples.videos.class_names[label] for label in absent[:10])
        raise stage.StageError(f"{len(absent)} classes have no training video with a feature: {names}")

    arrays: dict[str, np.ndarray] = {}
    certificates: dict[str, dict[str, float]] = {}

    def keep(name: str, choice: Choice) -> None:
        solution = choice.solution
        arrays[f"{name}/weight"] = solution.weight
        arrays[f"{name}/bias"] = solution.bias
        certificates[name] = {
            "lambda": solution.lam,
            "objective": solution.objective,
            "relative_gap": solution.relative_gap,
            "kkt_gap": solution.kkt_gap,
            "nnz": int(solution.nnz),
            "converged": bool(solution.converged),
            # Of the solution on train alone: the last one has seen validation.
            "val_top1": float(choice.accuracy[choice.chosen]),
        }

    kinds: list[str] = []
    pooling: dict[str, str] = {}
    solved: dict[bytes, Choice] = {}
    for position, kind in enumerate(described["kinds"]):
        prefix = f"{kind}/" if position else ""
        try:
            concepts, z, everything = choose_pooling(kind, layers, described, samples, settings)
        except stage.StageError as error:
            if not position:
                raise
            job.warn(f"the model kind {kind} is left out: {error}")
            continue
        kinds.append(kind)
        if concepts.pooling:
            pooling[kind] = concepts.pooling
        keep(f"{prefix}all", everything)
        for type_name in TYPES:
            part = z[:, np.array(concepts.types) == type_name]
            # A layer that never left zero says nothing: that type alone has no classifier.
            if not tells(part[train], y[train], n_classes, settings):
                continue
            key = np.ascontiguousarray(part).tobytes()  # kinds share their motion concepts
            if key not in solved:
                solved[key] = choose(part, y, train, val, n_classes, settings)
            keep(f"{prefix}{type_name}", solved[key])
        arrays |= {
            f"{prefix}path/lambda": everything.lambdas,
            f"{prefix}path/accuracy": everything.accuracy,
            f"{prefix}path/nnz": everything.nnz,
        }
        for sentence in warnings_of(concepts.types, everything.solution, samples.videos.class_names, settings):
            job.warn(sentence if not position else f"model kind {kind}: {sentence}")
        if not position:
            z_main = z
    mean, std = standardise_fit(samples.features[train])
    keep("backbone", choose(standardise(samples.features, mean, std), y, train, val, n_classes, settings))
    arrays["backbone/mean"], arrays["backbone/std"] = mean, std

    both = train | val
    path = _path(z_main[both], y[both], n_classes, settings)
    for nec in settings.nec:
        arrays[f"nec_{nec}/weight"], arrays[f"nec_{nec}/bias"], lam = at_nec(path, nec)
        certificates[f"nec_{nec}"] = {"lambda": lam, "nnz": int(np.count_nonzero(arrays[f"nec_{nec}/weight"]))}
    job.write_arrays(
        "classifier",
        {name: np.asarray(value, np.float64) for name, value in arrays.items()},
        {
            "certificates": certificates,
            "kinds": kinds,
            "pooling": pooling,
            "class_names": samples.videos.class_names,
        },
        n_ok=len(certificates),
    )


if __name__ == "__main__":
    stage.run("classifier", build)
