"""What may be configured about the embedded demo."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.settings import Section


class Generate(Section):
    media: Literal["videos", "images"] = Field(
        "videos", description="images: single pictures with their own classes, objects in scenes"
    )
    seed: int = 0
    train_per_class: int = Field(20, ge=1)
    test_per_class: int = Field(10, ge=1)
    shifted_per_class: int = Field(6, ge=0)
    size: int = Field(128, ge=112, description="side of the frames in pixels")


class Graphs(Section):
    seed: int = 0
    objects: int = Field(4, ge=2, le=8, description="kinds of objects; each has three verbs, and each pair is a class")
    frames: int = Field(12, ge=9, description="frames per video")
    features: int = Field(16, ge=4, description="length of a node's feature vector")
    train: int = Field(1024, ge=8)
    test: int = Field(400, ge=8)
    shifted: int = Field(400, ge=0, description="videos in which no object has its usual verb")
    actions: list[float] = Field(
        default=[0.3, 0.4, 0.3], description="probabilities that a video has 1, 2, 3 … actions"
    )
    habit: float = Field(0.6, ge=0, le=1, description="probability that an object has its usual verb")
    noise: float = Field(0.3, ge=0, description="standard deviation, per object and per frame")
    verb_strength: float = Field(0.7, ge=0, description="strength of the verb in the person's features")
    near: float = Field(0.35, ge=0, le=1, description="probability of `near` outside of actions")
    contact: float = Field(0.03, ge=0, le=1, description="probability of `contact` outside of actions")
    flips: float = Field(0.03, ge=0, le=1, description="fraction of wrong relations")
    distractors: float = Field(0.5, ge=0, le=1, description="probability that an uninvolved object is present")
    missing: float = Field(0.1, ge=0, lt=1, description="fraction of frames in which an object is not seen")
    only_involved: bool = Field(False, description="show only objects of actions, as in Action Genome")


class Synta(Section):
    seed: int = Field(0, ge=0)
    size: int = Field(224, ge=32, multiple_of=2, description="side of the frames in pixels; H.264 needs an even number")
    frames: tuple[int, int] = Field((60, 140), description="fewest and most frames per clip, at 24 fps")
    distance: float = Field(
        30, ge=12, description="between the camera and the bodies in front of the wall; nearer bodies look larger"
    )

    @field_validator("frames")
    @classmethod
    def _is_a_range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 8 <= value[0] <= value[1]:
            raise ValueError("must be two frame counts of at least 8, the smaller first: a motion needs 8 frames")
        return value


class Demo(Section):
    generate: Generate = Generate()
    graphs: Graphs = Graphs()
    synta: Synta = Synta()
