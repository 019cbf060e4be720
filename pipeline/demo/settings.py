"""What may be configured about the embedded demo."""

from typing import Literal

from pydantic import Field

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


class Demo(Section):
    generate: Generate = Generate()
