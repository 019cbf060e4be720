"""The comparisons of the DANCE supplement as changed settings, with its figures.

Its Tables 2 to 5 and 7 to 12 are about UCF-101, Table 6 about four data sets; Table 1 of the paper compares models.
"""

from __future__ import annotations

from typing import Any

from pipeline.ablations.cache import Cache, run_step
from pipeline.ablations.variants import Table, Variant, changed
from pipeline.config import Dataset
from pipeline.methods.dance.bottleneck.activations import TYPES
from pipeline.methods.dance.comparisons.score import Head
from pipeline.motion.clustering import som_side
from pipeline.rules import graph
from pipeline.store.arrays import read_arrays
from pipeline.store.provenance import canonical, digest_of
from pipeline.store.tables import read_table

UCF101 = "ucf101"
# What decides a variant: a head over its concepts if it says nothing, or the name of a baseline.
CONCEPTS = Head()


def seeded(section: Dataset, seed: int) -> Dataset:
    """The section for one repetition: another validation split, mini-batches and draws; 0 is the run itself."""
    layers, index = section.bottleneck.concept_layers, section.data.index
    clips, concepts = section.motion.pose_clips, section.motion.motion_concepts
    changes = {"data.index.seed": index.seed + seed, "bottleneck.concept_layers.seed": layers.seed + seed}
    # A seed that draws nothing would only have things made again.
    if clips.selection == "random":
        changes["motion.pose_clips.seed"] = clips.seed + seed
    if concepts.method == "kmeans":
        changes["motion.motion_concepts.seed"] = concepts.seed + seed
    return changed(section, changes)


def of_kind(section: Dataset, head: Head | str | None) -> Dataset:
    """The section with one model kind alone: that of the head, or the paper's."""
    kind = head.kind if isinstance(head, Head) else CONCEPTS.kind
    return changed(section, {"bottleneck.concept_layers.kinds": [kind]})


def section_of(section: Dataset, variant: Variant, seed: int) -> Dataset:
    """The configuration of one cell of a table: the variant's model kind and changes, the seed's draws."""
    return seeded(changed(of_kind(section, variant.head), variant.changes, f"variant `{variant.name}`"), seed)


def figures_of(cache: Cache, section: Dataset, variant: Variant) -> dict[str, float]:
    """Accuracies and sizes of a variant, made or looked up."""
    if isinstance(variant.head, str):
        (path,) = cache.paths(section, "baselines")["baselines"]
        own = read_arrays(path)[1]["kinds"][variant.head]["figures"]
        named = {
            name: value for name, value in own.items() if (name == "nnz" or name.endswith("top1")) and value is not None
        }
        return {"n_concepts": float(sum(own["n_concepts"].values())), **named}
    head = variant.head or CONCEPTS
    # The index has no digest of the lists it was made from, but the score's inputs have those of their content.
    settings = {
        **head.settings(section),
        "upstream": {name: graph.settings_digest(section, name) for name in head.reads},
    }
    inputs = {name: cache.paths(section, name)[name] for name in head.reads}
    path = cache.folder / "score" / digest_of(settings) / "score.parquet"
    module = "pipeline.methods.dance.comparisons.score"
    run_step(module, "score", cache.results.name, canonical(settings), inputs, {"score": path})
    table, _ = read_table(path)
    return dict(zip(table["figure"].to_pylist(), table["value"].to_pylist(), strict=True))


def tables(section: Dataset) -> dict[str, Table]:
    """All comparisons that make sense for a data set, those of its configuration included, by name."""
    found = [_baselines(section), _videos(section), *_motion(section), *_bottleneck(section), *_encoders()]
    result = {table.name: table for table in found if table is not None}
    for name, variants in section.ablations.items():
        own = [Variant(variant, changes) for variant, changes in variants.items()]
        if name in result:
            known = result[name]
            head = known.variants[0].head
            own = [Variant(variant.name, variant.changes, head) for variant in own]
            result[name] = Table(name, known.title, known.source, known.variants + own)
        else:
            result[name] = Table(name, name.replace("_", " "), "", [Variant("as configured"), *own])
    return {name: table for name, table in result.items() if len(table.variants) > 1}


def _baselines(section: Dataset) -> Table:
    paper = {
        "dance": {"kth": 91.1, "penn_action": 98.1, "haa100": 70.7, "ucf101": 87.5},
        "backbone": {"kth": 89.7, "penn_action": 97.8, "haa100": 73.5, "ucf101": 88.4},
        "lf-cbm-entangled": {"kth": 87.4, "penn_action": 96.3, "haa100": 66.5, "ucf101": 85.5},
        "lf-cbm-disentangled": {"kth": 89.9, "penn_action": 97.7, "haa100": 65.3, "ucf101": 83.7},
    }
    names = {
        "backbone": "backbone, dense head",
        "backbone-sparse": "backbone, sparse head",
        "attributes": "attribute CBM",
        "lf-cbm-entangled": "LF-CBM, entangled language",
        "lf-cbm-disentangled": "LF-CBM, disentangled language",
    }
    variants = [Variant("DANCE", paper=paper["dance"])]
    for kind in section.bottleneck.baselines.kinds:
        variants.append(Variant(names[kind], head=kind, paper=paper.get(kind, {})))
    return Table("baselines", "Models", "Table 1 of the paper", variants)


def _videos(section: Dataset) -> Table:
    """How many videos are enough: fewer of each class to train and choose with, the same to test."""
    limits: dict[str, dict[str, Any]] = {
        f"{count} of a class": {"data.index.train_per_class": count} for count in (3, 5, 8, 12, 20, 40)
    }
    variants = [Variant(name, changes) for name, changes in [*limits.items(), ("all", {})]]
    if "motion" in section.bottleneck.concept_layers.types:
        alone = Head(types=("motion",))
        variants += [Variant(f"{name}, motion alone", changes, head=alone) for name, changes in limits.items()]
        variants.append(Variant("all, motion alone", head=alone))
    return Table("videos", "Videos to train and validate with", "", variants)


def _motion(section: Dataset) -> list[Table]:
    """Comparisons of how motion concepts are found; none where they are imported, or not learned."""
    settings = section.motion.motion_concepts
    if settings.source != "discovered" or "motion" not in section.bottleneck.concept_layers.types:
        return []
    result = []
    if settings.n_concepts is not None:
        count = settings.n_concepts
        found = {"motion.motion_concepts.n_concepts": count, "motion.motion_concepts.partition": None}
        refined = {**found, "motion.motion_concepts.nearest": False, "motion.motion_concepts.method": "finch"}
        variants = [
            Variant("FINCH, its own partition"),
            Variant(f"FINCH, refined to {count}", refined, paper={UCF101: 87.5}),
            Variant(f"k-means, {count}", {**found, "motion.motion_concepts.method": "kmeans"}, paper={UCF101: 87.5}),
            Variant(
                f"self-organizing map, {som_side(count)} × {som_side(count)}",
                {**found, "motion.motion_concepts.method": "som"},
                paper={UCF101: 86.9},
            ),
        ]
        result.append(Table("clustering", "Clustering of key clips", "Table 2", variants))
    if section.motion.source == "poses":  # nothing else can be read
        result += [_reading("motion", ("motion",)), _reading("all", TYPES)]
    result.append(
        Table(
            "keyframes",
            "Key frames",
            "Table 3; the paper's third method is a network, CSTA, 87.0",
            [
                Variant("peaks of motion", paper={UCF101: 87.5}),
                Variant("random", {"motion.pose_clips.selection": "random"}, paper={UCF101: 86.9}),
                Variant("uniform", {"motion.pose_clips.selection": "uniform"}),
            ],
        )
    )
    paper = {5: (87.4, 86.4, 86.8), 10: (87.0, 87.5, 87.5), 20: (87.4, 86.6, 87.2)}
    result.append(
        Table(
            "clips",
            "Length L and number S of key clips",
            "Table 4",
            [
                Variant(
                    f"S = {count}, L = {length}",
                    {"motion.pose_clips.length": length, "motion.pose_clips.per_video": count},
                    paper={UCF101: figure},
                )
                for count, figures in paper.items()
                for length, figure in zip((10, 25, 50), figures, strict=True)
            ],
        )
    )
    partitions = {
        "kth": (91.9, 91.1, 90.2),
        "penn_action": (98.1, 98.1, 97.9),
        "haa100": (71.8, 70.7, 68.5),
        "ucf101": (87.9, 87.5, 87.0),
    }
    result.append(
        Table(
            "number",
            "Number of motion concepts, by partition of FINCH",
            "Table 6",
            [
                Variant(
                    f"partition {level + 1}",
                    {
                        "motion.motion_concepts.partition": level,
                        "motion.motion_concepts.n_concepts": None,
                        "motion.motion_concepts.method": "finch",
                    },
                    paper={name: figures[level] for name, figures in partitions.items() if level < len(figures)},
                )
                for level in range(4)
            ],
        )
    )
    no_cosine = {"motion.pose_clips.min_cosine": -1.0, "motion.pose_clips.max_step": None}
    no_confidence = {"motion.pose_clips.min_confidence": 0.0}
    result.append(
        Table(
            "pose_filters",
            "Filters of key clips",
            "Table 7",
            [
                Variant("cosine and confidence", paper={UCF101: 87.5}),
                Variant("cosine only", no_confidence),
                Variant("confidence only", no_cosine),
                Variant("none", {**no_cosine, **no_confidence}, paper={UCF101: 86.7}),
            ],
        )
    )
    return result


def _reading(what: str, types: tuple[str, ...]) -> Table:
    """Motion that is read in several ways, beside motion that is guessed."""
    ways: dict[str, dict[str, Any]] = {
        "postures, τ 0.01": {"temperature": 0.01, "movement_temperature": None, "among_concepts": False},
        "postures, τ 0.03": {"temperature": 0.03, "movement_temperature": None, "among_concepts": False},
        "postures, τ 0.1": {"temperature": 0.1, "movement_temperature": None, "among_concepts": False},
        "postures among concepts, τ 0.03": {
            "temperature": 0.03,
            "movement_temperature": None,
            "among_concepts": True,
        },
        "and movement, τ 0.03 and 1": {"temperature": 0.03, "movement_temperature": 1.0, "among_concepts": False},
        "both among concepts, τ 0.03 and 1": {
            "temperature": 0.03,
            "movement_temperature": 1.0,
            "among_concepts": True,
        },
        "both among concepts, τ 0.1 and 0.3": {
            "temperature": 0.1,
            "movement_temperature": 0.3,
            "among_concepts": True,
        },
    }
    read = [
        Variant(
            f"read: {name}",
            {f"bottleneck.reading.{key}": value for key, value in way.items()},
            head=Head(types=types, kind="read+dance"),
        )
        for name, way in ways.items()
    ]
    guessed = Variant("guessed from features", head=Head(types=types))
    return Table(f"reading_{what}", f"Motion read from poses, {what} concepts", "docs/motion.md", [guessed, *read])


def _bottleneck(section: Dataset) -> list[Table]:
    layers = [
        Variant("features, dense head", head=Head("features", sparse=False), paper={UCF101: 88.7}),
        Variant("features, sparse head", head=Head("features"), paper={UCF101: 86.8}),
        Variant("layer without meaning, dense head", head=Head("dump", sparse=False), paper={UCF101: 87.1}),
        Variant("layer without meaning, sparse head", head=Head("dump"), paper={UCF101: 86.5}),
        Variant("concepts, dense head", head=Head(sparse=False), paper={UCF101: 86.9}),
        Variant("concepts, sparse head", paper={UCF101: 87.5}),
    ]
    combinations = {
        ("motion",): 86.4,
        ("object",): None,
        ("scene",): None,
        ("motion", "object"): 86.7,
        ("motion", "scene"): 86.5,
        ("object", "scene"): 84.6,
        TYPES: 87.5,
    }
    types = [
        Variant(" + ".join(chosen), head=Head(types=chosen), paper={} if figure is None else {UCF101: figure})
        for chosen, figure in combinations.items()
        if set(chosen) <= set(section.bottleneck.concept_layers.types)
    ]
    sources = [Variant("as configured", head=Head(types=("object", "scene")), paper={UCF101: 84.6})]
    if "attributes" in section.bottleneck.baselines.kinds:
        sources.append(Variant("attributes", head="attributes", paper={UCF101: 81.8}))
    no_activation = {"context.concepts.activation_cutoff": -1.0}
    no_projection = {"bottleneck.concept_layers.projection_cutoff": -1.0}
    filters = [
        Variant("activation and projection", paper={UCF101: 87.5}),
        Variant("projection only", no_activation, paper={UCF101: 87.2}),
        Variant("activation only", no_projection, paper={UCF101: 86.9}),
        Variant("none", {**no_activation, **no_projection}, paper={UCF101: 87.2}),
    ]
    found = [
        Table("sparsity", "Layer and sparsity", "Table 8", layers),
        Table("types", "Types of concepts", "Table 9; its text says 86.8 for motion + object", types),
    ]
    if not section.bottleneck.concept_layers.words:
        return found
    return [
        Table(
            "sources",
            "Sources of objects and scenes, without motion concepts",
            "Table 5; there GPT-4o 84.6, LLaVa 82.9, names of ImageNet and Places 83.7, WordNet 84.2, attributes 81.8",
            sources,
        ),
        *found,
        Table("filters", "Filters of objects and scenes", "Table 12", filters),
    ]


def _encoders() -> list[Table]:
    """Which other encoders there are, only the configuration knows."""
    return [
        Table(
            "backbones",
            "Video encoders",
            "Table 10; there VideoMAE 87.5, CLIP 70.2, R3D 81.9",
            [Variant("as configured", paper={UCF101: 87.5})],
        ),
        Table(
            "dual_encoders",
            "Dual encoders",
            "Table 11; there ViCLIP 87.5, CLIP 86.8, LaViLa 87.4",
            [Variant("as configured", paper={UCF101: 87.5})],
        ),
    ]
