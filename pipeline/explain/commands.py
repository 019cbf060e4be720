"""Commands that explain and edit: ``contrast``, ``without``, ``reweight``, ``suggest-edits``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.stage import StageError


def _open(call: argparse.Namespace) -> Any:
    from pipeline.explain.api import load

    return load(call.model, call.results)


def _decide(model: Any, source: str) -> Any:
    from pipeline.data.readers import VideoError

    try:
        return model.predict(source)
    except VideoError as error:
        raise StageError(f"{source} cannot be read: {error}") from None


def _described(decision: Any, explanation: Any) -> dict[str, Any]:
    return {
        "video": decision.source,
        "class": decision.class_name,
        "probability": decision.probability,
        "deactivated": list(decision.deactivated),
        "probabilities": dict(zip(decision.core.class_names, map(float, decision.probabilities), strict=True)),
        "reasons": [asdict(row) for row in explanation],
    }


def _say(call: argparse.Namespace, found: Any, text: str) -> int:
    print(json.dumps(found, indent=2, ensure_ascii=False) if call.json else text)
    return 0


def contrast(call: argparse.Namespace) -> int:
    """``conceptreel contrast MODEL INPUT A B``: why A and not B."""
    decision = _decide(_open(call), call.input)
    explanation = decision.explain(call.for_class, against=call.against, top_k=call.top)
    return _say(call, _described(decision, explanation), str(explanation))


def without(call: argparse.Namespace) -> int:
    """``conceptreel without MODEL INPUT CONCEPT…``: the decision if a video did not show these concepts."""
    before = _decide(_open(call), call.input)
    after = before.without(*call.concepts)
    found = {name: _described(item, item.explain(top_k=call.top)) for name, item in (("before", before), ("after", after))}
    return _say(call, found, "\n".join(str(item.explain(top_k=call.top)) for item in (before, after)))


def reweight(call: argparse.Namespace) -> int:
    """``conceptreel reweight MODEL CLASS CONCEPT WEIGHT``: what another weight would do; kept only with ``--save``."""
    model = _open(call)
    if call.save and call.save.exists() and call.save.resolve() == call.model.resolve():
        raise StageError(f"{call.save} is the model itself; --save writes the edited one beside it, under another name")
    edited = model.reweight(call.for_class, call.concept, call.weight)
    change = edited.edits[-1]
    found: dict[str, Any] = {"edit": change, "splits": {}}
    lines = [f"{change['concept']} → {change['class']}: weight {change['before']:+.3f} becomes {change['after']:+.3f}"]
    if model.results is not None:
        for split in dict.fromkeys(["train", "val", "test", *model.cached.split]):
            rows = model.cached.rows(split) if split in model.cached.split else []
            if not len(rows):
                continue
            effect = model.effect(edited, split)
            ids = {name: [model.cached.video_id[rows[i]] for i in getattr(effect, name)] for name in ("fixed", "broken")}
            found["splits"][split] = {"before": model.accuracy(split), "after": edited.accuracy(split), **ids}
            lines.append(
                f"  {split:<8} {model.accuracy(split):.3f} → {edited.accuracy(split):.3f}   "
                f"{len(ids['fixed'])} fixed, {len(ids['broken'])} broken"
            )
    if call.input:
        for name, item in (("before", _decide(model, call.input)), ("after", _decide(edited, call.input))):
            found[name] = _described(item, item.explain(top_k=call.top))
            lines.append(f"{name}: {item.explain(top_k=call.top)}")
    if call.save:
        edited.save(call.save)
        found["saved"] = str(call.save)
        lines.append(f"saved     {call.save}, with a log of {len(edited.edits)} edit{'s' * (len(edited.edits) > 1)}")
    else:
        lines.append("nothing was written; --save NEW.pt keeps the edited model")
    return _say(call, found, "\n".join(lines))


def suggest_edits(call: argparse.Namespace) -> int:
    """``conceptreel suggest-edits MODEL``: weights that are zero and would win confused videos back."""
    model = _open(call)
    names = model.core.concepts
    found, lines = [], []
    suggestions = model.suggest_edits(call.true, call.decided, call.split)
    others = [split for split in dict.fromkeys(model.cached.split) if split != call.split and split != "train"]
    for (true, decided), edits in suggestions.items():
        rows = model.cached.rows(call.split)
        lines.append(f"{true} taken for {decided}:")
        for edit in edits[: call.top]:
            edited = model.reweight(true, f"{model.core.types[edit.concept]}:{names[edit.concept]}", edit.weight)
            elsewhere = {split: model.effect(edited, split) for split in others}
            found.append(
                {
                    "true": true,
                    "decided": decided,
                    "concept": names[edit.concept],
                    "type": model.core.types[edit.concept],
                    "weight": edit.weight,
                    "activation": edit.activation,
                    "fixed": [model.cached.video_id[rows[i]] for i in edit.effect.fixed],
                    "broken": [model.cached.video_id[rows[i]] for i in edit.effect.broken],
                    "elsewhere": {
                        split: {"fixed": len(item.fixed), "broken": len(item.broken)}
                        for split, item in elsewhere.items()
                    },
                }
            )
            besides = "".join(f"; {split} +{len(item.fixed)} −{len(item.broken)}" for split, item in elsewhere.items())
            lines.append(
                f"  weight {edit.weight:+.3f} on {names[edit.concept]} (activation {edit.activation:+.2f}): "
                f"{call.split} {len(edit.effect.fixed)} fixed, {len(edit.effect.broken)} broken{besides}"
            )
        if not edits:
            lines.append("  no concept that it shows and does not use would help")
    if not suggestions:
        asked = f" as {call.true or 'anything'} taken for {call.decided or 'anything'}" if call.true or call.decided else ""
        lines.append(
            f"no video of `{call.split}` is confused{asked}; top-1 is {model.accuracy(call.split):.3f} there"
            + (f", and { ', '.join(f'{model.accuracy(s):.3f} on `{s}`' for s in others)}" if others else "")
        )
    return _say(call, found, "\n".join(lines))


def add_commands(commands: Any) -> None:
    """Register the commands of this floor."""

    def add(name: str, run: Any, text: str, with_input: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.add_argument("model", type=Path)
        if with_input:
            command.add_argument("input", metavar="INPUT", help="a video file, or the id of a video of the run")
        command.add_argument("--results", type=Path, help="folder of the run; by default the folder of the model")
        command.add_argument("--top", type=int, default=5, help="rows that are shown")
        command.add_argument("--json", action="store_true", help="for programs")
        command.set_defaults(run=run)
        return command

    command = add("contrast", contrast, "why one class and not another", with_input=True)
    command.add_argument("for_class", metavar="CLASS")
    command.add_argument("against", metavar="OTHER")
    command = add("without", without, "the decision on a video without some of its concepts", with_input=True)
    command.add_argument("concepts", nargs="+", metavar="CONCEPT")
    command = add("reweight", reweight, "what another concept-to-class weight would do")
    command.add_argument("for_class", metavar="CLASS")
    command.add_argument("concept", metavar="CONCEPT", help="its name; type:name where two types share it")
    command.add_argument("weight", metavar="WEIGHT", type=float)
    command.add_argument("--input", help="a video whose decision is shown before and after")
    command.add_argument("--save", type=Path, metavar="NEW.pt", help="write the edited model, its edit log inside")
    command = add("suggest-edits", suggest_edits, "weights that would win confused videos back, with gain and loss")
    command.add_argument("--true", metavar="CLASS", help="class of the videos")
    command.add_argument("--decided", metavar="CLASS", help="class that they are taken for")
    command.add_argument("--split", default="val", help="where confusions are looked for (never choose on test)")
