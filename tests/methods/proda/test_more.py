"""SportsHHI's metric, comparisons, and scenes of Charades."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.config import Config
from pipeline.data.sets import charades
from pipeline.data.settings import Index
from pipeline.jobs.stage import StageError
from pipeline.methods.proda import sportshhi
from pipeline.methods.proda.comparisons import tables
from pipeline.methods.proda.sportshhi import Interaction

A, B, C = (0.0, 0.0, 0.2, 0.4), (0.5, 0.5, 0.7, 0.9), (0.3, 0.1, 0.5, 0.3)


def row(first=A, second=B, action=2, frame=10, score=1.0) -> Interaction:
    return Interaction("v", frame, first, second, action, (1, 2), score)


def test_sportshhi_by_hand():
    truth = [row(), row(B, A), row(action=3), row(frame=20)]
    predicted = [
        row(score=0.9),
        row(score=0.8),  # the same again hits nothing
        row(B, A, score=0.7),
        row(A, C, action=3, score=0.6),  # one box is another's
        row(action=5, score=0.5),  # a class that does not occur
    ]
    found = sportshhi.evaluate(predicted, truth)
    assert found["mAP"] == pytest.approx(((1 + 2 / 3) / 3 + 0) / 2)
    assert found["R@20"] == pytest.approx(2 / 4)
    assert sportshhi.evaluate(truth, truth) == dict.fromkeys(found, 1.0)
    assert len(sportshhi.classes()) == 28


def test_sportshhi_reads_its_rows(tmp_path):
    line = ["v", 10, *A, *B, 2, 7, 8]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(",".join(map(str, own)) for own in (line, [*line[:10], 4, 7, 8], [*line, 0.25])) + "\n")
    assert sportshhi.read(path) == [row()._replace(ids=(7, 8)), row(score=0.25)._replace(ids=(7, 8))]
    for wrong in (line[:5], ["v", 1, *A, *B, 99, 1, 2], ["v", "x", *A, *B, 2, 1, 2], ["v", 1, *A, *A[::-1], 2, 1, 2]):
        path.write_text(",".join(map(str, wrong)) + "\n")
        with pytest.raises(StageError, match="line 1"):
            sportshhi.read(path)


def test_comparisons_are_possible():
    section = Config().datasets["graphs_demo"]
    found = tables.tables(section)
    assert set(found) == {"prompt", "norm", "losses", "recipes", "cures"} and len(found["losses"].variants) == 6
    seen = set()
    for table in found.values():
        for variant in table.variants:
            own = tables.section_of(section, variant, 2)
            assert own.proda.training.seed == 2 and own.data.index.seed == 2
            seen.add((table.name, str(own.proda)))
    assert len(seen) == sum(len(table.variants) for table in found.values())


def test_scenes_of_table_10(real_data):
    wanted = {1: (4826, 5022), 2: (3099, 6749), 3: (4286, 5562), 4: (6018, 3830), 5: (5151, 4697)}
    rows, _ = charades.annotations(real_data / "charades")
    for number, (train, test) in wanted.items():
        assert Counter(charades.in_scenario(own.scene, number) for own in rows) == {"train": train, "test": test}


def test_real_charades(real_data):
    listing = charades.read(Index(source="charades", check_files=False), real_data / "charades")
    assert Counter(entry.split for entry in listing.entries) == {"train": 7985, "test": 1863}
    assert len(listing.class_names) == 157
    counts = Counter(len(entry.labels) for entry in listing.entries if entry.split == "test")
    assert counts[0] == 49 and sum(count for labels, count in counts.items() if labels > 16) == 70
    pooled = charades.read(Index(source="charades_scenes", official_split=2, check_files=False), real_data / "charades")
    assert Counter(entry.split for entry in pooled.entries) == {"train": 3099, "test": 6749}
