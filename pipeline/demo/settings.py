"""What may be configured about the embedded demo."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.settings import Section


class Generate(Section):
    media: Literal["videos", "images"] = Field(
        "videos", description="images: single pictures of other classes, objects in scenes"
    )
    seed: int = 0
    train_per_class: int = Field(20, ge=1)
    test_per_class: int = Field(10, ge=1)
    shifted_per_class: int = Field(6, ge=0)
    size: int = Field(128, ge=112, description="side of the frames in pixels")


class Synta(Section):
    seed: int = Field(0, ge=0)
    size: int = Field(224, ge=32, multiple_of=2, description="side of the frames in pixels; H.264 wants it even")
    frames: tuple[int, int] = Field((60, 140), description="fewest and most frames of a clip; 24 a second")
    distance: float = Field(
        30, ge=12, description="of the camera from the bodies before the wall; what is nearer is larger"
    )

    @field_validator("frames")
    @classmethod
    def _is_a_range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 8 <= value[0] <= value[1]:
            raise ValueError("must be two numbers of frames from 8 up, the smaller first: a motion wants 8 frames")
        return value


class Demo(Section):
    generate: Generate = Generate()
    synta: Synta = Synta()
