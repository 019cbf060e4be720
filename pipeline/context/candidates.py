"""Stage `candidates`: concept candidates from a language model, from WordNet, or from the names of other data sets.

Where candidates are given as text files (``context.candidates.source: files``) this stage does not run.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pipeline.context.endpoint import Endpoint, EndpointError, ask_list
from pipeline.context.nouns import NounError, read_names, read_wordnet
from pipeline.context.settings import Candidates
from pipeline.context.texts import spoken
from pipeline.jobs import stage

# What DANCE asks (supplement 1.3.2), and for the language baselines (4.2), with a form of the answer that can be read.
PROMPTS = {
    "object": "Which tangible things does one usually see when somebody does the action '{action}'? Name no part of "
    "the body, no posture and no place. Answer with nothing but a JSON list of at most {count} short lower-case names.",
    "scene": "At which places, or before which backgrounds, does one usually see the action '{action}'? Name no thing "
    "and no equipment. Answer with nothing but a JSON list of at most {count} short lower-case names.",
    "temporal": "How does the action '{action}' usually go on over time? Write short simple sentences that name no "
    "thing, no place and no part of the body. Answer with nothing but a JSON list of at most {count} sentences.",
    "spatio_temporal": "What does one see in a video of the action '{action}'? Write short sentences with things, "
    "places and what is done. Answer with nothing but a JSON list of at most {count} sentences.",
}


def ask_for_classes(settings: Candidates, class_names: list[str], cache: Path, **client) -> list[tuple[str, str, str]]:
    """Rows of type, class and text, without repeats inside a class.

    Args:
        cache: folder of the answers; what is there is not asked again.
        client: further arguments of `Endpoint`.

    Raises:
        EndpointError: an answer cannot be had or used.
    """
    endpoint = Endpoint(settings.url, settings.model, settings.key_variable, settings.temperature, **client)
    rows = []
    for kind in settings.types:
        for name in stage.progress(class_names, f"candidates, {kind}"):
            prompt = PROMPTS[kind].format(action=spoken(name), count=settings.per_class)
            answers = [text for turn in range(settings.turns) for text in ask_list(endpoint, prompt, cache, turn)]
            rows += [(kind, name, text) for text in dict.fromkeys(text.lower().rstrip(".") for text in answers)]
    return rows


def collect(settings: Candidates, root: Path) -> list[tuple[str, str, str]]:
    """Rows of type, no class, and text, from files of the user.

    Raises:
        NounError: a file is missing or is something else.
    """
    if settings.source == "wordnet":
        names = read_wordnet(root / settings.wordnet)
    else:
        names = {kind: read_names(root / path) for kind, path in settings.names.items()}
    return [(kind, "", text) for kind in settings.types for text in names.get(kind, ())]


def build(job: stage.Job) -> None:
    """Write one row per candidate."""
    settings = Candidates.model_validate(job.settings)
    _, described = job.read_table("index")
    extra = {}
    try:
        if settings.source == "endpoint":
            rows = ask_for_classes(settings, described["class_names"], job.outputs["candidates"].parent / "answers")
            extra = {"model": settings.model}
        else:
            rows = collect(settings, job.root)
    except (EndpointError, NounError) as error:
        raise stage.StageError(f"candidates: {error}") from None
    empty = [kind for kind in settings.types if not any(row[0] == kind for row in rows)]
    if empty:
        raise stage.StageError(f"candidates: there are none of the type {empty[0]}; see context.candidates")
    columns = dict(zip(("type", "class_name", "text"), zip(*rows, strict=True), strict=True))
    job.write_table("candidates", pa.table({name: list(values) for name, values in columns.items()}), **extra)


if __name__ == "__main__":
    stage.run("candidates", build)
