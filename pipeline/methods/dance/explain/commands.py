"""Commands that question and edit a concept bottleneck: ``contrast``, ``failures``, ``ask``, ``edit`` and others."""

from __future__ import annotations

import argparse
import math
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.methods.commands import INPUT, add_model, check_file, decide, number_above_zero, open_model
from pipeline.store.atomic import StageError
from pipeline.store.plain import as_json

# Checks of `sanity`, in words.
CHECKS = {
    "backwards": "the clip played backwards",
    "frozen": "its middle frame in place of every frame",
    "scene_swapped": "the same clip rendered in another scene",
    "labels_shuffled": "trained again with the concept labels of other videos",
}


def _open(call: argparse.Namespace, *sources: str) -> Any:
    model = open_model(call, *sources)
    from pipeline.methods.models import able

    return able(model, call.verb, "core")


def _located(call: argparse.Namespace) -> tuple[Any, Any, Any]:
    """A model with maps, its decision on the input, and what it sees there.

    Raises:
        StageError: the model has no maps, or the run keeps no clips.
    """
    if call.mask:
        check_file(call.mask)
    model = _open(call, call.input)
    if not model.core.has_maps:
        raise StageError(
            f"{call.model} has no maps: its concepts see the whole clip. A model with maps is made with "
            f"bottleneck.concept_layers.kinds: [dance+salf] or [salf]"
        )
    decision = decide(call, model, call.input)
    seen = decision.look()
    if seen is None:
        raise StageError(f"the run of {call.model} keeps no clip of {call.input}; name a video file")
    return model, decision, seen


def _map_of(core: Any, name: str) -> int:
    """Position of a concept's map among the maps.

    Raises:
        NameUnknown: there is no such concept. StageError: it has no map.
    """
    m = core.find_concept(name)
    if m < core.n_whole:
        raise StageError(f"`{name}` is a {core.types[m]} concept and has no map")
    return m - core.n_whole


def _region(call: argparse.Namespace, view: Any, radius: int) -> Any:
    """The mask that --box, --point or --mask name, bool ``[height, width]``."""
    from pipeline.methods.dance.explain.regions import box_mask, point_mask, read_mask

    if call.box:
        return box_mask(view.height, view.width, tuple(call.box))
    if call.point:
        return point_mask(view.height, view.width, tuple(call.point), radius)
    return read_mask(call.mask)


def _described(decision: Any, explanation: Any) -> dict[str, Any]:
    return {
        "video": decision.source,
        "class": decision.class_name,
        "probability": decision.probability,
        "unseen": decision.unseen,
        "deactivated": list(decision.deactivated),
        "probabilities": dict(zip(decision.core.class_names, map(float, decision.probabilities), strict=True)),
        "reasons": [asdict(row) for row in explanation],
    }


def _say(call: argparse.Namespace, found: Any, text: str) -> int:
    print(as_json(found) if call.json else text)
    return 0


def contrast(call: argparse.Namespace) -> int:
    """``conceptreel contrast MODEL INPUT A B``: why A and not B."""
    decision = decide(call, _open(call, call.input), call.input)
    explanation = decision.explain(call.for_class, against=call.against, top_k=call.top)
    return _say(call, _described(decision, explanation), str(explanation))


def failures(call: argparse.Namespace) -> int:
    """``conceptreel failures MODEL``: wrong decisions of a split, the surest mistake first, and what misled each."""
    model = _open(call)
    cached = model.cached
    split = call.split or ("test" if "test" in cached.split else "val")
    label = dict(zip(cached.video_id, cached.label, strict=True))
    wrong = model.failures(split)
    found, lines = [], []
    for decision in wrong[: call.top]:
        true = model.core.class_names[label[decision.source]]
        explanation = decision.explain(decision.class_name, against=true, top_k=call.reasons)
        margin = float(decision.logits[label[decision.source]] - decision.logits[decision.label])
        found.append({"split": split, "true": true, "margin": margin, **_described(decision, explanation)})
        lines.append(f"margin {margin:+.3f} of the logit: {explanation}")
    total = int((cached.split == split).sum())
    lines.append(f"{split}: top-1 {model.accuracy(split):.3f}, {len(wrong)} of {total} wrong")
    return _say(call, found, "\n".join(lines))


def ask(call: argparse.Namespace) -> int:
    """``conceptreel ask MODEL INPUT --box …``: the concepts that are strongest in a region (Explain Anything)."""
    model, decision, seen = _located(call)
    from pipeline.methods.dance.explain.regions import RegionError, region_activations

    core = model.core
    try:
        mask = _region(call, seen.view, core.about["maps"]["radius"])
        values = region_activations(seen.maps, seen.view, mask, call.reduce)
    except RegionError as error:
        raise StageError(str(error)) from None
    order = sorted(range(len(values)), key=lambda m: -values[m])[: call.top]
    found = []
    for m in order:
        reason = decision.reason(core.n_whole + m)
        own = {name: getattr(reason, name) for name in ("concept", "type", "present", "said", "doubt")}
        found.append({**own, "activation": values[m]})
    over = "summed over the pixels" if call.reduce == "sum" else "mean"
    lines = [f"  activation  type    concept; the activation of its map in standard deviations, {over} of the region"]
    lines += [
        f"  {item['activation']:+10.3f}  {item['type']:<6}  {item['said']}"
        + (f"   DOUBTFUL: {item['doubt']}" if item["doubt"] else "")
        for item in found
    ]
    return _say(call, found, "\n".join(lines))


def _check_edit(call: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before a model is opened.

    Raises:
        StageError: with what would be right.
    """
    region = call.box or call.point or call.mask
    if not (call.concept or call.without or call.weight):
        raise StageError(
            "nothing to edit; give --weight CLASS CONCEPT WEIGHT, --without CONCEPT, or --concept with a region"
        )
    if bool(call.concept) != bool(region) or bool(call.concept) != (call.beta is not None):
        raise StageError("an edit in a region needs --concept, --beta, and one of --box, --point and --mask")
    if call.beta is not None and not math.isfinite(call.beta):
        raise StageError(f"--beta {call.beta} is not a number that can be added")
    if (call.concept or call.without) and not call.input:
        raise StageError("--concept and --without change what is seen in one video; name it: edit MODEL INPUT …")
    if call.save and not call.weight:
        raise StageError("--save keeps changed weights; what is changed in one video is no part of a model")
    if call.save and call.save.exists():
        raise StageError(f"{call.save} exists and stays as it is; --save names a new file")


def _ids(model: Any, split: str, effect: Any) -> dict[str, list[str]]:
    """The videos whose decision becomes right, and those whose becomes wrong."""
    rows, ids = model.cached.rows(split), model.cached.video_id
    return {name: [ids[rows[i]] for i in found] for name, found in vars(effect).items()}


def _edited_model(call: argparse.Namespace, model: Any, found: dict[str, Any], lines: list[str]) -> Any:
    """The model with all ``--weight`` of a call, and what they do to every split of the run."""
    from pipeline.methods.dance.bottleneck.cross_domain import typed_weight

    edited = model
    for class_name, concept, weight in call.weight or []:
        edited = edited.reweight(class_name, concept, typed_weight(weight))
    for change in edited.edits[len(model.edits) :]:
        found["edits"].append(change)
        lines.append(
            f"{change['concept']} → {change['class']}: weight {change['before']:+.3f} becomes {change['after']:+.3f}"
        )
    if model.results is not None and call.weight:
        for split in dict.fromkeys(model.cached.split):
            effect = model.effect(edited, split)
            before, after = model.accuracy(split), edited.accuracy(split)
            found["splits"][split] = {
                "before": before,
                "after": after,
                **_ids(model, split, effect),
            }
            lines.append(
                f"  {split:<8} {before:.3f} → {after:.3f}   {len(effect.fixed)} fixed, {len(effect.broken)} broken"
            )
    return edited


def edit(call: argparse.Namespace) -> int:
    """``conceptreel edit MODEL [INPUT] …``: the decision if a weight, a concept or a part of a picture were different.

    Nothing is written but what ``--save`` names.
    """
    _check_edit(call)
    from pipeline.methods.dance.explain.regions import RegionError, edited
    from pipeline.methods.dance.explain.seen import in_words

    model = _located(call)[0] if call.concept else _open(call, *filter(None, [call.input]))
    found: dict[str, Any] = {"edits": [], "splits": {}}
    lines: list[str] = []
    changed = _edited_model(call, model, found, lines)
    if call.input:
        before = decide(call, model, call.input)
        after = replace(before, core=changed.core)
        if call.concept:
            core, seen = model.core, after.look()
            concept = _map_of(core, call.concept)
            try:
                mask = _region(call, seen.view, core.about["maps"]["radius"])
                maps = edited(seen.maps, seen.view, mask, concept, call.beta)
            except RegionError as error:
                raise StageError(str(error)) from None
            after = replace(after, z=core.activations(seen.feature, maps[None], seen.read)[0])
        after = after.without(*call.without, level=call.level)
        names = model.core.class_names
        found |= {
            "before": dict(zip(names, map(float, before.probabilities), strict=True)),
            "after": dict(zip(names, map(float, after.probabilities), strict=True)),
            "unseen": before.unseen,
            "class_before": before.class_name,
            "class_after": after.class_name,
            "reasons_before": [asdict(row) for row in before.explain(top_k=call.top)],
            "reasons_after": [asdict(row) for row in after.explain(top_k=call.top)],
        }
        lines.append(f"before: {before.class_name}, after: {after.class_name}")
        lines += [in_words(before.unseen)] * bool(before.unseen)
        shown = sorted(range(len(names)), key=lambda k: -max(before.probabilities[k], after.probabilities[k]))
        lines += [
            f"  {before.probabilities[k]:6.1%} → {after.probabilities[k]:6.1%}  {names[k]}" for k in shown[: call.top]
        ]
    if call.save:
        changed.save(call.save)
        found["saved"] = str(call.save)
        lines.append(f"saved     {call.save}, with a log of {len(changed.edits)} edit{'s' * (len(changed.edits) > 1)}")
    elif call.weight:
        lines.append("nothing was written; --save NEW.pt keeps the edited model")
    return _say(call, found, "\n".join(lines))


def animate(call: argparse.Namespace) -> int:
    """``conceptreel animate MODEL VIDEO --out FILE.gif``: a decision as a moving picture."""
    from pipeline.methods.dance.explain.overlay import write_animation
    from pipeline.store.atomic import replace_when_done

    if call.out.suffix.lower() != ".gif":
        raise StageError(f"{call.out} is no GIF; --out names a file that ends in .gif")
    pictures, milliseconds = _open(call).animation(call.video, not call.skeletons, call.top)
    with replace_when_done(call.out) as temporary:
        write_animation(temporary, pictures, milliseconds)
    return _say(call, {"animation": str(call.out)}, f"animation {call.out}")


def suggest_edits(call: argparse.Namespace) -> int:
    """``conceptreel suggest-edits MODEL``: weights that are zero and would win confused videos back."""
    model = _open(call)
    cached, names, types = model.cached, model.core.concepts, model.core.types
    found, lines = [], []
    suggestions = model.suggest_edits(call.true, call.decided, call.split)
    others = [split for split in dict.fromkeys(cached.split) if split not in (call.split, "train")]
    for (true, decided), edits in suggestions.items():
        lines.append(f"{true} taken for {decided}:")
        for edit in edits[: call.top]:
            edited = model.reweight(true, f"{types[edit.concept]}:{names[edit.concept]}", edit.weight)
            elsewhere = {split: model.effect(edited, split) for split in others}
            found.append(
                {
                    "true": true,
                    "decided": decided,
                    "concept": names[edit.concept],
                    "type": types[edit.concept],
                    "weight": edit.weight,
                    "activation": edit.activation,
                    **_ids(model, call.split, edit.effect),
                    "elsewhere": {
                        split: {"fixed": len(item.fixed), "broken": len(item.broken)}
                        for split, item in elsewhere.items()
                    },
                }
            )
            besides = "".join(f"; {split} +{len(item.fixed)} −{len(item.broken)}" for split, item in elsewhere.items())
            lines.append(
                f"  --weight {shlex.join([true, names[edit.concept]])} {edit.weight:.3f}   "
                f"activation {edit.activation:+.2f}, {call.split} {len(edit.effect.fixed)} fixed, "
                f"{len(edit.effect.broken)} broken{besides}"
            )
        if not edits:
            lines.append("  no concept that they show and the class does not use would help")
    if not suggestions:
        pair = f"{call.true or 'anything'} taken for {call.decided or 'anything'}"
        elsewhere = "".join(f", {model.accuracy(split):.3f} on `{split}`" for split in others)
        lines.append(
            f"no video of `{call.split}` is {pair if call.true or call.decided else 'confused'}; top-1 is "
            f"{model.accuracy(call.split):.3f}{elsewhere}"
        )
    return _say(call, found, "\n".join(lines))


def sanity(call: argparse.Namespace) -> int:
    """``conceptreel sanity MODEL``: figures over a split for clips and labels that cannot be what they were."""
    model = _open(call)
    from pipeline.methods.dance.explain.summary import in_words
    from pipeline.store.arrays import Arrays
    from pipeline.store.tables import read_table

    if model.results is None:
        raise StageError(f"{call.model} stands alone; --results names the folder of its run")

    def accept(path: Path, made_for: str | None) -> None:
        if made_for != model.core.about.get("activations"):
            raise StageError(f"{path} is of another model; `snakemake --cores all {path}` makes it again")

    def rows_of(path: Path) -> list[dict[str, Any]]:
        if not path.is_file():
            return []
        table, about = read_table(path)
        accept(path, about["activations"])
        return table.to_pylist()

    perturbed, retrained = (model.results / "explain" / f"{name}.parquet" for name in ("sanity", "retrained"))
    faithful = model.results / "demo" / "faithfulness.zarr.zip"
    if not any(path.is_file() for path in (perturbed, retrained, faithful)):
        raise StageError(
            f"{model.results} holds no sanity checks; `snakemake --cores all {perturbed} {retrained}` makes them"
        )
    found: dict[str, dict[str, float]] = {}
    splits = set()
    for row in rows_of(perturbed):
        splits.add(row["split"])
        if row["split"] == call.split:
            found.setdefault(row["check"], {})[row["figure"]] = row["value"]
    if splits and call.split not in splits:
        raise StageError(f"explain.sanity.splits of the run has {', '.join(sorted(splits))}, not `{call.split}`")
    if faithful.is_file():
        with Arrays(faithful) as artifact:
            accept(faithful, artifact.attributes["activations"])
            found["scene_swapped"] = artifact.attributes["figures"]["decisions"]["scene"]
    values: dict[str, list[float]] = {}
    for row in rows_of(retrained):
        if row["run"] == "shuffled":
            values.setdefault(row["figure"], []).append(row["value"])
    if values:
        found["labels_shuffled"] = {name: sum(items) / len(items) for name, items in values.items()}
    if call.check and call.check not in found:
        raise StageError(f"{model.results} has no check `{call.check}`, only {', '.join(found)}")
    shown = {call.check: found[call.check]} if call.check else found
    lines = []
    for check, figures in shown.items():
        lines.append(CHECKS[check])
        lines += [f"  {in_words(name, value)}" for name, value in figures.items() if value is not None]
    return _say(call, shown, "\n".join(lines))


def add_commands(commands: Any) -> None:
    """Register the commands of this floor."""

    def add(name: str, run: Any, text: str, example: str, of: str = "rows that are shown") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, example=f"{name} results/demo/model.pt {example}".strip())
        add_model(command, 5, of)
        command.add_argument("--json", action="store_true", help="print JSON, for programs")
        command.set_defaults(run=run, verb=name, mask=None)
        return command

    def add_region(command: argparse.ArgumentParser, required: bool) -> None:
        region = command.add_mutually_exclusive_group(required=required)
        region.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="pixels of the input")
        region.add_argument(
            "--point", type=float, nargs=2, metavar=("X", "Y"), help="pixels; the region is a circle around it"
        )
        region.add_argument(
            "--mask",
            type=Path,
            metavar="FILE",
            help="a picture of the input's size; everything not black is the region",
        )

    command = add("contrast", contrast, "why one class and not another", "ball_lift_test_000 ball_lift ball_squat")
    command.add_argument("input", metavar="INPUT", help=INPUT)
    command.add_argument("for_class", metavar="CLASS", help="the class to explain")
    command.add_argument("against", metavar="OTHER", help="the class to compare it with")

    command = add(
        "failures",
        failures,
        "wrong decisions, most confident first, and what misled each",
        "--split shifted",
        "failures to show",
    )
    command.add_argument(
        "--split", metavar="NAME", help="split of the run; default: test, or val if there is no test video"
    )
    command.add_argument("--reasons", type=number_above_zero, default=3, metavar="N", help="concepts per failure")

    command = add("ask", ask, "the strongest concepts in a region", "ball_lift_test_000 --box 0 0 60 60", "concepts")
    command.add_argument("input", metavar="INPUT", help=INPUT)
    add_region(command, required=True)
    command.add_argument(
        "--reduce", choices=("sum", "mean"), default="sum", help="over the pixels; sum grows with the region"
    )

    command = add(
        "edit",
        edit,
        "decide again with another weight, concept or region",
        "ball_lift_test_000 --without 'round ball'",
        "classes to show",
    )
    command.add_argument("input", metavar="INPUT", nargs="?", help=INPUT)
    command.add_argument(
        "--weight",
        nargs=3,
        action="append",
        metavar=("CLASS", "CONCEPT", "WEIGHT"),
        help="new weight of a concept for a class; may be repeated",
    )
    command.add_argument(
        "--without", action="append", default=[], metavar="CONCEPT", help="take it out of INPUT; may be repeated"
    )
    command.add_argument(
        "--level",
        choices=("absent", "mean", "zero"),
        default="absent",
        help="what --without means: as in training videos that do not show it, the mean of all, or an output of 0",
    )
    add_region(command, required=False)
    command.add_argument("--concept", metavar="CONCEPT", help="a located concept, changed in a region of INPUT")
    command.add_argument("--beta", type=float, help="added to its map there, in standard deviations of the map")
    command.add_argument("--save", type=Path, metavar="NEW.pt", help="write the model with its weights and edit log")

    command = add("sanity", sanity, "how decisions and activations respond to altered clips", "")
    command.add_argument("--split", default="test", metavar="NAME", help="split of the run")
    command.add_argument("--check", choices=tuple(CHECKS), help="run only this check")

    command = add(
        "animate",
        animate,
        "a decision as a moving picture: the person, the recognised motion, the reasons",
        "ball_lift_test_000 --out decision.gif",
        "reasons to draw",
    )
    command.add_argument("video", metavar="VIDEO", help="the id of a video of the run")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.gif", help="the picture to write")
    command.add_argument("--skeletons", action="store_true", help="no pixels of the video: nobody can be recognised")

    command = add(
        "suggest-edits",
        suggest_edits,
        "weights that would correct confused videos, with gain and loss",
        "",
        "edits per pair of classes",
    )
    command.add_argument("--true", metavar="CLASS", help="class of the videos; default: every class")
    command.add_argument("--decided", metavar="CLASS", help="class they are confused with; default: every class")
    command.add_argument(
        "--split", default="val", metavar="NAME", help="where to look for confusions; never choose on test"
    )
