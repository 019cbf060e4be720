"""Joining rows for the bottleneck."""

from __future__ import annotations

import numpy as np

from pipeline.methods.dance.bottleneck.activations import kept_motion_concepts


def test_medoids_follow_the_concepts_that_the_layers_kept():
    layers = {"names": ["motion 002", "motion 000", "ball"], "types": ["motion", "motion", "object"]}
    discovered = {"names": ["motion 000", "motion 001", "motion 002"]}
    assert kept_motion_concepts(layers, discovered).tolist() == [2, 0]
    assert kept_motion_concepts({"names": ["ball"], "types": ["object"]}, discovered).dtype == np.int64
