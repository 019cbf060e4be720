from __future__ import annotations

import json

from pipeline.backbone.features import warnings_of
from pipeline.store.code import PROJECT


def test_a_backbone_that_was_never_told_what_a_video_shows_is_warned_of():
    (sentence,) = warnings_of("some/videomae", {"architectures": ["VideoMAEForPreTraining"]})
    assert sentence.startswith("`some/videomae` was pre-trained without labels and is not fine-tuned here")
    assert warnings_of("some/videomae", {"architectures": ["VideoMAEForVideoClassification"]}) == []
    demo = json.loads((PROJECT / "pipeline/demo/encoders/backbone/config.json").read_text())
    assert warnings_of("demo", demo) == []
