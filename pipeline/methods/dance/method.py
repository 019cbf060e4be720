"""DANCE joined with SALF-CBM, as the project knows it."""

from pipeline.context.stages import collects_candidates
from pipeline.methods.dance.settings import Bottleneck, Explain
from pipeline.methods.dance.stages import STAGES
from pipeline.methods.registry import Method

LANGUAGE = {"lf-cbm-entangled": "spatio_temporal", "lf-cbm-disentangled": "temporal"}


def check(section) -> None:
    """Raises: ValueError: sections that do not fit each other."""
    layers = section.bottleneck.concept_layers
    kinds = layers.kinds
    if layers.has_maps and not layers.words:
        raise ValueError(
            f"the kind {next(kind for kind in kinds if kind.endswith('salf'))} locates objects and scenes, and "
            f"bottleneck.concept_layers.types has none of them; for motion alone, kinds: [dance]"
        )
    collected, texts = collects_candidates(section), section.context.texts
    offered = section.context.candidates.types if collected else list(texts.candidates)
    lacking = [kind for kind in layers.words if offered and kind not in offered]
    if lacking:
        raise ValueError(
            f"bottleneck.concept_layers.types has {lacking[0]}, but "
            f"context.{'candidates.types' if collected else 'texts.candidates'} has not; name them there, or take "
            f"{lacking[0]} off the types"
        )
    imported = section.backbone.features.source != "computed"
    if imported and layers.has_maps:
        raise ValueError(
            "imported features have no places, so bottleneck.concept_layers.kinds can only be [dance], [read] or "
            "[read+dance], or several of them"
        )
    asked = [kind for kind in kinds if kind.startswith("read") and (kind != "read" or kind == kinds[0])]
    if asked and "motion" in layers.types and section.motion.motion_concepts.source != "discovered":
        raise ValueError(
            f"the kind {asked[0]} compares poses with medoids, which imported motion labels do not have; set "
            f"motion.motion_concepts.source: discovered, or take it off bottleneck.concept_layers.kinds"
        )
    if asked and "motion" in layers.types and section.motion.source == "tracks":
        raise ValueError(
            f"the kind {asked[0]} compares poses with medoids, and motion.source: tracks has no poses; take the kind "
            f"dance, which learns motions from the feature"
        )
    if imported and section.backbone.finetune.enabled:
        raise ValueError("backbone.finetune.enabled has no use where the features are imported; set it to false")
    for kind in section.bottleneck.baselines.kinds:
        if kind in LANGUAGE and LANGUAGE[kind] not in section.context.sentences.files:
            raise ValueError(f"the kind {kind} needs {LANGUAGE[kind]} in context.sentences.files")


METHOD = Method(
    name="dance",
    title="DANCE joined with SALF-CBM: motion, objects and scenes, decided by a sparse layer",
    sections={"bottleneck": Bottleneck, "explain": Explain},
    stages=STAGES,
    goal="named",
    load="pipeline.methods.dance.explain.api:open_model",
    summary="pipeline.methods.dance.explain.summary:lines",
    comparisons="pipeline.methods.dance.comparisons.tables",
    explore="pipeline.methods.dance.explore.run:open_run",
    check=check,
    folder="",
)
