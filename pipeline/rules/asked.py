"""What runs in a folder were asked for, so that tidying up by one configuration spares what another one has made.

A run leaves one file for each data set that it looks at, ``.conceptreel/asked/<data set>/<digest>.json``, with the
whole configuration. The digest is of what the command line gave: the next run with the same takes its place.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import Dataset, opened
from pipeline.settings import ConfigError
from pipeline.store.plain import as_json, write_json
from pipeline.store.provenance import digest_of

logger = logging.getLogger("conceptreel")

ASKED = Path(".conceptreel/asked")


def note(
    run_folder: Path, name: str, config: Mapping[str, Any], files: Iterable[Any], values: Mapping[str, Any]
) -> None:
    """Keep with what configuration a run was asked for a data set.

    Args:
        config: raw, as Snakemake has merged it.
        files, values: of ``--configfile`` and ``--config``.
    """
    given = json.loads(as_json({"files": [str(Path(file).absolute()) for file in files], "values": values}, None, str))
    path = run_folder / ASKED / name / f"{digest_of(given)}.json"
    try:
        write_json(path, {**given, "config": json.loads(as_json(config, None, str))})
    except OSError as error:
        logger.warning(f"{path} cannot be written ({error.strerror}); `conceptreel prune` will not know of this run")


def asked_of(run_folder: Path, name: str) -> list[Dataset]:
    """A data set's section in every configuration that a run in a folder was given when it was asked for it.

    Raises:
        ConfigError: a note cannot be read, or its configuration is of another release.
    """
    found = []
    for path in sorted((run_folder / ASKED / name).glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            found.append(opened(told["config"], str(path)).datasets[name])
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}, the note of an earlier run, cannot be used ({error}); remove it, or give --everything"
            ) from None
    return found
