"""A decision's reasons as files: medoids of motion concepts, heatmaps of located ones, and all figures as JSON."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.methods.dance.bottleneck.recogniser import ConceptModel
from pipeline.methods.dance.bottleneck.words import words_of
from pipeline.methods.dance.explain.overlay import write_animation, write_strip
from pipeline.methods.dance.explain.seen import Seen, medoid_of, picture_of, scale_of, where
from pipeline.store.atomic import StageError, replace_when_done
from pipeline.store.plain import write_json


def _pictures(core: ConceptModel, kind: str, items: list[Any], seen: Seen | None, out: Path) -> list[dict[str, Any]]:
    """Write what some concepts look like; one record each, which says why where there is nothing to look at."""
    found = []
    for rank, item in enumerate(items, 1):
        maps, why_not = {}, ""
        if kind == "located" and seen is not None and seen.maps is not None:
            concept_map = seen.maps[..., item.index - core.n_whole]
            maps, why_not = {"map": concept_map.round(4).tolist()}, where(core, item, concept_map)
        picture = picture_of(core, item, seen)
        written = []
        if picture is not None:
            stem = f"{kind}_{rank:02d}_{re.sub('[^A-Za-z0-9]+', '_', item.concept)}"
            with replace_when_done(out / f"{stem}.png") as temporary:
                write_strip(temporary, picture.strip())
            written.append(f"{stem}.png")
            if len(picture.pictures) > 1:
                with replace_when_done(out / f"{stem}.gif") as temporary:
                    write_animation(temporary, picture.frames())
                written.append(f"{stem}.gif")
        if written or maps:
            scale = scale_of(core, item.index)
            heat = {"heat": None if scale is None else asdict(scale)} if kind == "located" else {}
            words = {"words": words_of(core.types, core.about, item.index)} if kind == "motion" else {}
            found.append({**asdict(item), **words, **maps, **heat, "not_shown": why_not, "files": written})
    return found


def write_explanation(core: ConceptModel, decision: Any, out: Path, top: int) -> list[str]:
    """Write PNG, GIF and ``explanation.json`` of a decision.

    Args:
        decision: a `pipeline.methods.dance.explain.api.Decision`.
        top: concepts of each kind that are drawn.

    Returns:
        the decision in words, and where each picture lies.

    Raises:
        StageError: the folder is a file.
    """
    if out.exists() and not out.is_dir():
        raise StageError(f"{out} is a file; --out names a folder")
    seen = decision.look()
    everything = decision.explain(top_k=len(core.concepts))
    moving = [item for item in everything if medoid_of(core, item.index) is not None][:top]
    located = [item for item in everything if core.has_maps and item.index >= core.n_whole][:top]
    out.mkdir(parents=True, exist_ok=True)
    answer: dict[str, Any] = {
        "input": decision.source,
        "class": decision.class_name,
        "probability": decision.probability,
        "unseen": decision.unseen,
        "contributions": [asdict(item) for item in everything],
        "motion": _pictures(core, "motion", moving, seen, out),
        "located": _pictures(core, "located", located, seen, out),
    }
    if seen is not None:
        answer["seconds"] = seen.times.tolist()
    if seen is not None and seen.view is not None:
        top_edge, left, side = seen.view.square
        answer["square"] = {"left": left, "top": top_edge, "side": side}
        answer["places"] = {"rows": seen.view.rows.tolist(), "columns": seen.view.columns.tolist()}
    write_json(out / "explanation.json", answer)
    lines = decision.lines(top)
    for kind, word in (("motion", "what"), ("located", "where")):
        lines += [
            f"{word:<9} {out / item['files'][-1] if item['files'] else item['not_shown']}" for item in answer[kind]
        ]
    if core.has_maps and not answer["located"]:
        lines.append("where     no located concept contributes to this decision, or the run keeps no clips")
    return [*lines, f"all       {out / 'explanation.json'}"]
