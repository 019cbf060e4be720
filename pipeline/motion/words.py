"""What a pose sequence does, in words: rules over bends, inclinations, heights and distances.

After PoseScript (Delmas et al., ECCV 2022), whose posecodes say how a body is, and MotionScript (Yazdian et al., 2023),
whose motioncodes say how that changes. Both have joints in space. A picture has two of three dimensions, so everything
is measured in a way that the person's turn about the vertical changes little: heights, and how much of a limb's length
is vertical.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.motion.skeleton import Skeleton

SIDES = ("left", "right")
# Parts of the stature (Winter 2009): a limb that always points at the camera looks shorter than it is.
PROPORTION = {"trunk": 0.288, "upper arm": 0.186, "forearm": 0.146, "thigh": 0.245, "shin": 0.246}
OTHER_NAMES = {"wrist": ("wrist", "hand"), "ankle": ("ankle", "foot", "heel")}


@dataclass(frozen=True)
class Kind:
    """A quantity that is followed over time.

    Attributes:
        noun, plural: of the part.
        measure: what is measured; unit: degrees, or lengths of the trunk.
        change: the least that counts as a movement.
        up, down: what the part does where the quantity grows and falls.
        held, hold: from this value on a part that does not move is worth these words.
    """

    noun: str
    plural: str
    measure: str
    unit: str
    change: float
    up: str
    down: str
    held: float = np.inf
    hold: str = ""


# PoseScript's categories of angles are about 30° wide, and relative positions count from 0.15 m, 0.3 trunks.
KINDS = {
    "knee": Kind("knee", "knees", "knee", "°", 35, "bend", "straighten", 50, "stay bent"),
    "foot": Kind("foot", "feet", "foot above the other", " trunks", 0.4, "rise", "sink", 0.6, "stay raised"),
    "feet": Kind("feet", "feet", "feet apart", " trunks", 0.5, "move apart", "come together", 1.4, "stay wide apart"),
    "trunk": Kind(
        "trunk", "trunks", "trunk from upright", "°", 25, "lean", "straighten up", 35, "stay far from upright"
    ),
    "hand": Kind("hand", "hands", "hand above shoulder", " trunks", 0.35, "rise", "sink"),
    "reach": Kind("hand", "hands", "hand beside shoulder", " trunks", 0.4, "move out", "move in"),
    "elbow": Kind("elbow", "elbows", "elbow", "°", 40, "bend", "straighten", 70, "stay bent"),
}
# Letters of two clauses that make a name.
SHORT = 60
ZONES = ("below the hips", "at hip height", "at chest height", "at head height", "above the head")


@dataclass(frozen=True)
class Code:
    """What one part does.

    Attributes:
        kind: a key of `KINDS`; side: left, right, or nothing.
        moves: the movements in order, ``up`` or ``down`` of the kind; none for a part that stays as it is.
        values: the quantity at the start and after each movement, or its mean.
        zones: of a hand, where it is then, positions in `ZONES`; else none.
    """

    kind: str
    side: str
    moves: tuple[str, ...]
    values: tuple[float, ...]
    zones: tuple[int, ...] = ()


def joints_of(poses: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """Joints that rules speak of, with y upwards: name → ``[L, 2]``.

    What the skeleton lacks, or less than half of the frames show, is absent; but one shoulder stands for both, and one
    hip, since who is seen from the side hides the other.
    """
    points = poses.astype(np.float64) * [1, -1]
    frames = np.arange(len(poses))
    places = {}
    for row, side in enumerate(SIDES):
        places |= {f"{side} shoulder": skeleton.shoulders[row], f"{side} hip": skeleton.hips[row]}
        for part in ("elbow", "wrist", "knee", "ankle"):
            names = [f"{side}_{name}" for name in OTHER_NAMES.get(part, (part,))]
            places |= {f"{side} {part}": skeleton.joints.index(name) for name in names[::-1] if name in skeleton.joints}
    # A missing joint lies in the middle of the picture, see `pipeline.motion.normalise`.
    seen = (poses != 0.5).any(2)  # [L, J]
    found = {}
    for name, place in places.items():
        known = seen[:, place]
        if known.mean() >= 0.5:
            found[name] = np.stack([np.interp(frames, frames[known], axis[known]) for axis in points[:, place].T], 1)
    for part in ("shoulder", "hip"):
        for one, other in (SIDES, SIDES[::-1]):
            if f"{other} {part}" in found:
                found.setdefault(f"{one} {part}", found[f"{other} {part}"])
    return found


def _length(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return np.linalg.norm(end - start, axis=-1)


def _inclination(start: np.ndarray, end: np.ndarray, length: float) -> np.ndarray:
    """Angle in degrees between a limb and straight down, from how much of its length is vertical."""
    return np.degrees(np.arccos(np.clip((start - end)[..., 1] / length, -1, 1)))


def _bend(first: np.ndarray, middle: np.ndarray, last: np.ndarray, lengths: tuple[float, float]) -> np.ndarray:
    """Degrees by which a limb is not straight: the largest that a picture proves."""
    upper, lower = middle - first, last - middle
    long = np.linalg.norm(upper, axis=-1), np.linalg.norm(lower, axis=-1)
    cosine = (upper * lower).sum(-1) / np.maximum(long[0] * long[1], 1e-9)
    flat = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    # Of what points at the camera the picture shows no direction.
    shown = np.minimum(long[0] / lengths[0], long[1] / lengths[1])
    flat = np.where(shown > 0.4, flat, 0)
    tilt = np.abs(_inclination(first, middle, lengths[0]) - _inclination(middle, last, lengths[1]))
    return np.maximum(flat, tilt)


def quantities(joints: dict[str, np.ndarray]) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, np.ndarray]]:
    """What is followed over time.

    Args:
        joints: see `joints_of`.

    Returns:
        (kind, side) → ``[L]``, of the parts that are there; and side → zone of the hand, int ``[L]``.
    """
    shoulder, hip = ((joints[f"left {part}"] + joints[f"right {part}"]) / 2 for part in ("shoulder", "hip"))
    limbs = {
        "upper arm": ("shoulder", "elbow"),
        "forearm": ("elbow", "wrist"),
        "thigh": ("hip", "knee"),
        "shin": ("knee", "ankle"),
    }
    seen = {"trunk": np.quantile(_length(shoulder, hip), 0.95)}
    for name, (start, end) in limbs.items():
        own = [
            _length(joints[f"{side} {start}"], joints[f"{side} {end}"])
            for side in SIDES
            if {f"{side} {start}", f"{side} {end}"} <= joints.keys()
        ]
        if own:
            seen[name] = np.quantile(own, 0.95)
    stature = np.median([value / PROPORTION[name] for name, value in seen.items()])
    length = {
        name: max(float(np.clip(value, 0.9 * PROPORTION[name] * stature, 1.2 * PROPORTION[name] * stature)), 1e-6)
        for name, value in seen.items()
    }
    trunk = length["trunk"]

    found = {("trunk", ""): _inclination(shoulder, hip, trunk)}
    zones = {}
    for side in SIDES:
        at = {part: joints.get(f"{side} {part}") for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")}
        other = joints.get(f"{'right' if side == 'left' else 'left'} ankle")
        if at["knee"] is not None and at["ankle"] is not None:
            bend = _bend(at["hip"], at["knee"], at["ankle"], (length["thigh"], length["shin"]))
            if other is not None:
                # A leg that stands is as bent as the hip is low; of a raised one that says nothing.
                stands = other[:, 1] - at["ankle"][:, 1] > -0.25 * trunk
                a, b = length["thigh"], length["shin"]
                reach = np.minimum(_length(at["hip"], at["ankle"]), a + b)
                inner = np.degrees(np.arccos(np.clip((a * a + b * b - reach**2) / (2 * a * b), -1, 1)))
                bend = np.maximum(bend, np.where(stands, 180 - inner - 25, 0))
            found["knee", side] = bend
        if at["ankle"] is not None and other is not None:
            found["foot", side] = np.maximum(at["ankle"][:, 1] - other[:, 1], 0) / trunk
        if at["wrist"] is not None:
            found["hand", side] = (at["wrist"] - at["shoulder"])[:, 1] / trunk
            found["reach", side] = np.abs(at["wrist"] - at["shoulder"])[:, 0] / trunk
            zones[side] = zone(found["hand", side], (at["wrist"] - at["hip"])[:, 1] / trunk)
        if at["elbow"] is not None and at["wrist"] is not None:
            found["elbow", side] = _bend(
                at["shoulder"], at["elbow"], at["wrist"], (length["upper arm"], length["forearm"])
            )
    if {"left ankle", "right ankle"} <= joints.keys():
        found["feet", ""] = np.abs(joints["left ankle"] - joints["right ankle"])[:, 0] / trunk
    return found, zones


def zone(above_shoulder: np.ndarray, above_hip: np.ndarray) -> np.ndarray:
    """Where a hand is, positions in `ZONES`, from its heights in lengths of the trunk."""
    high = 2 + np.digitize(above_shoulder, (0.15, 0.75))
    low = np.digitize(above_hip, (-0.4, 0.35))
    return np.where(above_shoulder > 0.15, high, np.minimum(low, 2))


def smooth(values: np.ndarray) -> np.ndarray:
    """Median, then mean, of three neighbours ``[L]``: estimated joints tremble."""
    for reduce in (np.median, np.mean):
        padded = np.pad(values, 1, mode="edge")
        values = reduce([padded[:-2], padded[1:-1], padded[2:]], axis=0)
    return values


def turns(values: np.ndarray, change: float) -> list[int]:
    """Frames at which a quantity has moved by ``change`` since the last of them, and turns: start, extremes, end.

    A start or end that is not ``change`` away from its neighbour is none.
    """
    found: list[int] = []
    low = high = best = 0
    direction = 0
    for frame, value in enumerate(values):
        if direction == 0:
            low = frame if value < values[low] else low
            high = frame if value > values[high] else high
            if values[high] - values[low] >= change:
                direction = 1 if high > low else -1
                found.append(min(low, high))
                best = frame
        elif (value - values[best]) * direction >= 0:
            best = frame
        elif (values[best] - value) * direction >= change:
            found.append(best)
            direction, best = -direction, frame
    return [*found, best] if direction else []


def codes(found: dict[tuple[str, str], np.ndarray], zones: dict[str, np.ndarray]) -> list[Code]:
    """What each part does, in the order of `KINDS`; of parts that only hang there is none.

    Args:
        found, zones: see `quantities`.
    """
    result = []
    for name, kind in KINDS.items():
        for (other, side), values in found.items():
            if other != name:
                continue
            values = smooth(values)
            frames = turns(values, kind.change)
            at = zones.get(side) if name == "hand" else None
            if frames:
                ends = values[frames]
                moves = tuple(kind.up if step > 0 else kind.down for step in np.diff(ends))
                where = () if at is None else tuple(int(at[frame]) for frame in frames)
                result.append(Code(name, side, moves, tuple(map(float, ends)), where))
            elif at is not None:
                (place,) = np.bincount(at).argsort(kind="stable")[-1:]
                if place > 1:
                    result.append(Code(name, side, (), (float(values.mean()),), (int(place),)))
            elif values.min() >= kind.held:
                result.append(Code(name, side, (), (float(values.mean()),)))
    # A hand that rises mostly moves out too.
    risen = {code.side for code in result if code.kind == "hand" and code.moves}
    return [code for code in result if code.kind != "reach" or code.side not in risen]


@dataclass(frozen=True)
class Description:
    """A pose sequence in words.

    Attributes:
        sentence: all that its parts do, what moves most first; short: its first clause, or two that are short.
        codes: what the sentence rests on.
    """

    sentence: str
    short: str
    codes: list[Code]

    def as_dict(self) -> dict[str, Any]:
        """For an artifact's attributes: each code with its values in words."""
        return {
            "sentence": self.sentence,
            "short": self.short,
            "codes": [{**asdict(code), "figures": figures(code)} for code in self.codes],
        }


def figures(code: Code) -> str:
    """The values of a code: ``left knee 12° → 95° → 20°``."""
    kind = KINDS[code.kind]
    values = " → ".join(f"{value:.{0 if kind.unit == '°' else 1}f}" for value in code.values)
    return f"{code.side} {kind.measure} {values}{kind.unit}".strip()


def _conjugated(verb: str, several: bool) -> str:
    if several:
        return verb
    first, blank, rest = verb.partition(" ")
    return f"{first}s{blank}{rest}"


def _place(zone: int) -> str:
    return ZONES[zone].removeprefix("at ")


def clause(code: Code, both: bool) -> str:
    """What a part does, or both sides together: ``both knees bend, then straighten``."""
    kind = KINDS[code.kind]
    several = both or code.kind == "feet"
    who = f"both {kind.plural}" if both else " ".join(["the", *code.side.split(), kind.noun])
    if not code.moves:
        if code.zones:
            return f"{who} {_conjugated('stay', several)} {ZONES[code.zones[0]]}"
        return f"{who} {_conjugated(kind.hold, several)}"
    if len(code.moves) > 3:
        first, second = (_conjugated(verb, several) for verb in code.moves[:2])
        done = f"{first} and {second} again and again"
    else:
        done = ", then ".join(_conjugated(verb, several) for verb in code.moves)
    if code.zones:
        low, high = min(code.zones), max(code.zones)
        if len(code.moves) == 1:
            low, high = code.zones
        if low == high:
            where = f" {ZONES[low]}"
        elif len(code.moves) == 1:
            where = f" from {_place(low)} to {_place(high)}"
        else:
            where = f" between {_place(low)} and {_place(high)}"
        done += where
    return f"{who} {done}"


def _salience(code: Code) -> float:
    """How much of the least change that counts a part moves; parts that stay come last."""
    if not code.moves:
        return 0.0
    return (max(code.values) - min(code.values)) / KINDS[code.kind].change


def describe(poses: np.ndarray, skeleton: Skeleton) -> Description | None:
    """What a pose sequence does.

    Args:
        poses: normalised ``[L, J, 2]`` with y downwards, see `pipeline.motion.normalise`.

    Returns:
        None where poses cannot tell: every frame is stretched to the same box (``frame_axis``), or the joints of
        shoulders and hips are missing.
    """
    extent = np.ptp(poses, axis=1)  # [L, 2]
    joints = joints_of(poses, skeleton)
    needed = {f"{side} {part}" for side in SIDES for part in ("shoulder", "hip")}
    if (extent > 0.999).all() or not needed <= joints.keys():
        return None
    found = codes(*quantities(joints))
    alike: dict[tuple, list[Code]] = {}
    for code in found:
        alike.setdefault((code.kind, code.moves, code.zones), []).append(code)
    spoken = sorted(alike.values(), key=lambda same: -max(map(_salience, same)))
    clauses = [clause(same[0], len(same) == 2) for same in spoken] or ["hardly anything moves"]
    short = clauses[0]
    if len(clauses) > 1 and len(f"{short}; {clauses[1]}") <= SHORT:
        short = f"{short}; {clauses[1]}"
    return Description("; ".join(clauses), short, found)
