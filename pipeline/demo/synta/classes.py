"""Classes of Syn-TA, and which clips of them there are: standard library only, the Snakefile asks while it is parsed.

A coarse class is a motion; a fine class is that motion in a context, and a prompt of text models, so that its words
stay as published (`infront`, `orbitting`). Source: `labels/synta_naming_scheme.csv` of raiyaan-abdullah/Motion-Transfer
(MIT), the release of "Punching Bag vs. Punching Person: Motion Transferability in Videos" (arXiv 2508.00085).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SETS = (1, 2)
SHAPES = {1: ("cube", "cone", "pyramid", "prism"), 2: ("sphere", "cylinder", "torus", "capsule")}


class Fine(NamedTuple):
    """A fine class: its set and its words."""

    set: int
    words: str


FINE: dict[str, dict[int, Fine]] = {
    "appearing": {
        1: Fine(1, "Single object appearing by increasing opacity"),
        2: Fine(1, "Multiple objects all appearing simultaneously by increasing opacity"),
        3: Fine(2, "Multiple objects all appearing one by one by increasing opacity"),
        4: Fine(2, "Two objects appearing among two other objects"),
    },
    "arriving": {
        1: Fine(1, "Single object arriving"),
        2: Fine(1, "Multiple objects arriving simultaneously"),
        3: Fine(2, "Multiple objects arriving one by one"),
        4: Fine(2, "Single object arriving among many objects"),
        5: Fine(1, "Single object arriving beside another single object"),
        6: Fine(2, "Single object arriving beside another single object, pausing then going away"),
    },
    "bouncing": {
        1: Fine(1, "Single object bouncing on a plain surface eventually stops"),
        2: Fine(2, "Multiple objects bouncing on plain surface at almost similar heights eventually stop"),
        3: Fine(1, "Multiple objects bouncing on plain surface at very different heights eventually stop"),
        4: Fine(2, "Single object imitating the motion of bouncing against a wall"),
        5: Fine(1, "Single object bouncing and going forward"),
        6: Fine(2, "Single object bouncing on a plain surface perpetually"),
        7: Fine(1, "Single object imitating the motion of bouncing and going down stairs"),
        8: Fine(2, "Single object imitating the motion of bouncing and going up stairs"),
    },
    "changing color": {
        1: Fine(1, "Single object keeps changing colors"),
        2: Fine(1, "Two objects changing colors by switching with each other"),
        3: Fine(1, "Single object changing from bright to dark color"),
        4: Fine(2, "Single object changing from dark to bright color"),
        5: Fine(2, "Single object changing color then returning to previous one"),
    },
    "changing shape": {
        1: Fine(1, "Single object of other shape changes into pyramid"),
        2: Fine(1, "Single object of other shape changes into cube"),
        3: Fine(2, "Single object of other shape changes into sphere"),
        4: Fine(2, "Single object of other shape changes into cylinder"),
        5: Fine(1, "Two objects changing shapes by switching with each other"),
        6: Fine(2, "Single object changing into another shape then turning back to original shape"),
    },
    "cloning": {
        1: Fine(1, "Single object cloning into two identical objects both going in same direction"),
        2: Fine(2, "Single object cloning into two identical objects both going in different directions"),
        3: Fine(1, "Single object cloning into multiple identical objects one by one"),
        4: Fine(2, "Single object cloning into multiple identical objects at once"),
        5: Fine(1, "Single object cloning into one identical object and another object with different colour"),
    },
    "departing": {
        1: Fine(1, "Single object departing"),
        2: Fine(1, "Multiple objects departing simultaneously"),
        3: Fine(2, "Multiple objects departing one by one"),
        4: Fine(2, "Single object departing among many objects"),
        5: Fine(1, "Single object departing beside another single object"),
        6: Fine(2, "Single object departing beside another single object, then coming back shortly"),
    },
    "disappearing": {
        1: Fine(1, "Single object disappearing by decreasing opacity"),
        2: Fine(1, "Multiple objects all disappearing simultaneously by decreasing opacity"),
        3: Fine(2, "Multiple objects all disappearing one by one by decreasing opacity"),
        4: Fine(2, "Multiple objects some disappearing and some remaining"),
    },
    "expanding": {
        1: Fine(1, "Small single object expanding into medium object"),
        2: Fine(2, "Small single object expanding into large object"),
        3: Fine(1, "Two different small objects expanding into similar larger size"),
        4: Fine(2, "Two same small objects expanding into different bigger sizes"),
    },
    "falling": {
        1: Fine(1, "Single object falling straight down without changing direction"),
        2: Fine(1, "Single object falling down in a zigzag pattern"),
        3: Fine(2, "Single object falling at an angle"),
        4: Fine(2, "Single object falling at a curved path"),
    },
    "following": {
        1: Fine(1, "Single object following another object all the time while moving in a straight line"),
        2: Fine(
            1,
            "Single object following another object for some time while moving in straight line then "
            "follows another path",
        ),
        3: Fine(1, "Multiple objects following one object all the time in a straight line"),
        4: Fine(2, "Single object following another object all the time in a complex path"),
        5: Fine(2, "Single object not following another object at first but later starts following"),
    },
    "merging": {
        1: Fine(1, "Two objects merging into one similar sized object while moving towards each other"),
        2: Fine(
            2,
            "Faster object merging with slower object into one similar sized object while moving in same direction",
        ),
        3: Fine(1, "Multiple objects merging into one big object"),
        4: Fine(2, "Multiple objects merging into multiple big objects"),
    },
    "moving in a path": {
        1: Fine(1, "Single object moving slowly from one position to another and stopping"),
        2: Fine(2, "Single object moving quickly from one position to another and stopping"),
        3: Fine(1, "Single object moving slowly from one position to another and coming back to original position"),
        4: Fine(2, "Two objects moving and switching their positions"),
        5: Fine(1, "Single object moving from left to right"),
        6: Fine(2, "Single object moving from right to left"),
    },
    "not colliding": {
        1: Fine(1, "Two objects moving towards each other but not colliding"),
        2: Fine(1, "Single object moving towards single stationary object but not colliding with it"),
        3: Fine(1, "Multiple objects moving towards each other but not colliding among themselves"),
        4: Fine(2, "Two objects moving in opposite directions in circular path but not colliding later"),
        5: Fine(2, "One object moving towards multiple stationary objects but not colliding"),
    },
    "occlusion": {
        1: Fine(1, "Small object coming infront of big object barely occluding it"),
        2: Fine(2, "Big object coming infront of small object mostly or fully occluding it"),
        3: Fine(1, "Object which is occluding another object switches places and goes behind it"),
        4: Fine(
            2,
            "Two objects partially occluding two other objects switch positions with the latter two and go behind them",
        ),
    },
    "orbiting": {
        1: Fine(1, "Single object orbiting another object in the center in clockwise direction on horizontal plane"),
        2: Fine(
            2,
            "Single object orbiting another object in the center in counter clockwise direction on horizontal plane",
        ),
        3: Fine(
            1,
            "Single object orbiting another object in the center in clockwise direction first and then "
            "counter clockwise direction on horizontal plane",
        ),
        4: Fine(
            2,
            "Single object orbiting another object in clockwise direction then second object orbitting "
            "first object in clockwise direction on horizontal plane",
        ),
        5: Fine(1, "Single object orbiting another object in the center in clockwise direction on vertical plane"),
        6: Fine(
            2,
            "Single object orbiting another object in the center in counter clockwise direction on vertical plane",
        ),
    },
    "rising": {
        1: Fine(1, "Single object rising straight up without changing direction"),
        2: Fine(1, "Single object rising in a zigzag pattern"),
        3: Fine(2, "Single object rising at an angle"),
        4: Fine(2, "Single object rising at a curved path"),
    },
    "shooting projectile": {
        1: Fine(1, "Shooting projectile from one corner to opposite corner"),
        2: Fine(1, "Shooting projectile from right corner to left corner"),
        3: Fine(2, "Shooting projectile from left corner to right corner"),
        4: Fine(1, "Shooting two projectiles from same position to opposite corner"),
        5: Fine(2, "Shooting two projectiles from opposite corners switching their positions"),
    },
    "shrinking": {
        1: Fine(1, "Large single object shrinking into medium sized object"),
        2: Fine(2, "Large single object shrinking into very small object"),
        3: Fine(1, "Two different large objects shrinking into same smaller size"),
        4: Fine(2, "Two different large objects shrinking into different smaller sizes"),
    },
    "teleporting": {
        1: Fine(1, "Single object teleporting from one corner to another"),
        2: Fine(1, "Single object teleporting from one corner to another while another object is in the center"),
        3: Fine(1, "Two objects in opposite corners switch places by teleporting"),
        4: Fine(2, "Four objects in four corners switch places by teleporting"),
        5: Fine(2, "Two objects together in one corner then one teleports to other corner"),
    },
}
COARSE: tuple[str, ...] = tuple(FINE)

# Played backward, a clip of one is a clip of the other.
PARTNER = {
    "appearing": "disappearing",
    "arriving": "departing",
    "expanding": "shrinking",
    "merging": "cloning",
    "rising": "falling",
}
PARTNER |= {second: first for first, second in PARTNER.items()}

# Fine classes that are another one played backward, by its code and with its draws.
REVERSED: dict[tuple[str, int], tuple[str, int]] = {
    **{("disappearing", n): ("appearing", n) for n in (1, 2, 3, 4)},
    **{("departing", n): ("arriving", n) for n in (1, 2, 3, 4, 5)},
    **{("falling", n): ("rising", n) for n in (1, 2, 3, 4)},
    ("cloning", 2): ("merging", 1),
    ("cloning", 1): ("merging", 2),
    ("changing color", 4): ("changing color", 3),
    ("moving in a path", 6): ("moving in a path", 5),
}

VIEWS = ("ground", "front")
BACKGROUNDS = ("realistic", "plain")
FACTORS = ("unknown_motion", "unknown_shape", "unknown_scene")
_NAME = re.compile(
    r"(?:(?P<folder>[a-z_]+)/)?(?P<coarse>[a-z_]+)/(?P<stem>[a-z_]+?)(?P<n>\d)(?P<front>_front)?_id_(?P<id>\d+)\.mp4"
)


class UnknownClip(ValueError):
    """A path that names no clip of Syn-TA."""


@dataclass(frozen=True)
class Clip:
    """One clip of Syn-TA. All else follows from it and the generator's seed.

    Attributes:
        coarse: its motion; n: number of the fine class inside it.
        id: identity, from 1.
        view: ground or front.
        background: realistic or plain.
        factor: empty where motion, shapes and scene are of one set; ``unknown_shape`` and ``unknown_scene`` take that
            factor from the other set, and ``unknown_motion`` both of them: to who was trained on the other set, the
            motion alone is unknown.
    """

    coarse: str
    n: int
    id: int
    view: str = "front"
    background: str = "realistic"
    factor: str = ""

    def __post_init__(self) -> None:
        if self.coarse not in FINE:
            raise UnknownClip(f"`{self.coarse}` is not a coarse class of Syn-TA; choose from {', '.join(COARSE)}")
        if self.n not in FINE[self.coarse]:
            raise UnknownClip(
                f"{self.coarse} has no fine class {self.n}; it has {', '.join(map(str, FINE[self.coarse]))} (earlier "
                f"label files number them differently)"
            )

    @property
    def set(self) -> int:
        """Of the fine class."""
        return FINE[self.coarse][self.n].set

    @property
    def words(self) -> str:
        return FINE[self.coarse][self.n].words

    def _other(self, *factors: str) -> int:
        return 3 - self.set if self.factor in factors else self.set

    @property
    def shape_set(self) -> int:
        return self._other("unknown_shape", "unknown_motion")

    @property
    def scene_set(self) -> int:
        return self._other("unknown_scene", "unknown_motion")

    @property
    def path(self) -> str:
        """As the release names it; what it has not is in a folder of its own."""
        folder = self.factor or ("plain" if self.background == "plain" else "")
        name = self.coarse.replace(" ", "_")
        return f"{folder and folder + '/'}{name}/{name}{self.n}{'_front' * (self.view == 'front')}_id_{self.id}.mp4"


def clip_of(path: str) -> Clip:
    """The clip that a path names.

    Raises:
        UnknownClip: none.
    """
    match = _NAME.fullmatch(path)
    if match is None or match["stem"] != match["coarse"] or match["folder"] not in (None, "plain", *FACTORS):
        raise UnknownClip(f"`{path}` is not a clip of Syn-TA; clips are called <class>/<class><n>[_front]_id_<i>.mp4")
    factor = match["folder"] if match["folder"] in FACTORS else ""
    return Clip(
        match["coarse"].replace("_", " "),
        int(match["n"]),
        int(match["id"]),
        "front" if match["front"] else "ground",
        "plain" if match["folder"] == "plain" else "realistic",
        factor,
    )


def planned(settings) -> Iterator[Clip]:
    """All clips of a configuration, `pipeline.data.settings.Rendered`.

    Raises:
        UnknownClip: a class that there is not.
    """
    for coarse in settings.classes or COARSE:
        if coarse not in FINE:
            raise UnknownClip(f"`{coarse}` is not a coarse class of Syn-TA; choose from {', '.join(COARSE)}")
        chosen = list(FINE[coarse])
        if settings.fine_per_set:
            chosen = [n for s in SETS for n in [n for n in chosen if FINE[coarse][n].set == s][: settings.fine_per_set]]
        for n in chosen:
            for view in settings.views:
                for background in settings.backgrounds:
                    for number in range(1, settings.ids + 1):
                        yield Clip(coarse, n, number, view, background)
                for factor in FACTORS if settings.factor_ids else ():
                    for number in range(settings.train_ids + 1, settings.train_ids + settings.factor_ids + 1):
                        yield Clip(coarse, n, number, view, "realistic", factor)
