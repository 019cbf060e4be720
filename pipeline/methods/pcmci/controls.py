"""Networks beside the configured one, as changes of the section ``pcmci``: what is each part of it worth?"""

from __future__ import annotations

from typing import Any

from pipeline.methods.pcmci.settings import PCMCI

OWN = "own"
PLAIN = "plain"
ORACLE = "oracle"
SHUFFLED = "shuffled"
# Of these a data set of videos knows nothing.
OF_THE_WORLD = (SHUFFLED, ORACLE)
# Section → what differs.
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    OWN: {},
    PLAIN: {"network": {"stages": []}, "training": {"explain_codependency": False}},
    "keys": {"network": {"stages": [], "frames_as_tokens": True}},
    "ICH": {"network": {"stages": ["ICH"]}},
    "ICH, no OT": {"network": {"stages": ["ICH"], "refine": "similarity"}},
    "ICH, no OT, as sharp": {"network": {"stages": ["ICH"], "refine": "sharpened"}},
    "ICI": {"network": {"stages": ["ICI"]}},
    "IVC": {"network": {"stages": ["IVC"]}},
    "explained": {"training": {"explain_codependency": True}},
    "plain, explained": {"network": {"stages": []}, "training": {"explain_codependency": True}},
    SHUFFLED: {},
    ORACLE: {},
}


def changed(settings: PCMCI, control: str) -> PCMCI:
    """The section as a control has it."""
    update = {name: getattr(settings, name).model_copy(update=values) for name, values in CHANGES[control].items()}
    return settings.model_copy(update=update)
