from __future__ import annotations

import os

from pipeline.config import Dataset
from pipeline.data.lists import Entry
from pipeline.inspection.stale import (
    Answer,
    Cause,
    Rerun,
    changed_rows,
    changed_settings,
    changed_videos,
    lines,
)
from pipeline.rules.graph import STAGES
from pipeline.store.provenance import fingerprint


def entry(name: str, **changes) -> Entry:
    values = {"labels": (0,), "class_names": ("run",), "split": "train", "listed": "train", "group": None} | changes
    return Entry(name, f"{name}.mp4", **values)


def test_every_setting_of_every_stage_has_a_key_of_the_configuration():
    section = Dataset()
    for stage in STAGES.values():
        for head, value in stage.own_settings(section).items():
            for key in [f"{head}.{name}" for name in value] if isinstance(value, dict) and value else [head]:
                found = section
                for step in stage.config_key(key).split("."):
                    found = found[step] if isinstance(found, dict) else getattr(found, step)


def test_borrowed_settings_are_named_where_they_stand():
    assert STAGES["maps"].config_key("grid") == "context.prompts.grid"
    assert STAGES["model"].config_key("maps.model") == "backbone.features.model"
    assert STAGES["finetune"].config_key("model") == "backbone.features.model"
    assert STAGES["localise"].config_key("localise.tolerance") == "explain.localise.tolerance"
    assert STAGES["evaluate"].config_key("texts.prompt") == "context.texts.prompt"
    assert STAGES["texts"].config_key("path.object") == "context.texts.path.object"


def test_changed_settings_leave_out_those_of_other_stages():
    then = {"length": 20, "per_video": 8, "gone": 1, "upstream": {"poses": "a"}}
    now = {"length": 15, "per_video": 8, "upstream": {"poses": "b"}}
    assert changed_settings("pose_clips", then, now) == [
        Cause("setting", "motion.pose_clips.gone", "1 → absent"),
        Cause("setting", "motion.pose_clips.length", "20 → 15"),
    ]


def test_videos_that_came_went_and_changed(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.mp4").write_bytes(b"1")
    then = {name: fingerprint(tmp_path / f"{name}.mp4") for name in "abc"}
    os.utime(tmp_path / "b.mp4", (0, 0))
    today = [entry("a"), entry("b"), entry("d"), entry("broken", problem="listed twice"), entry("nowhere")]
    assert changed_videos(then, today, tmp_path) == [
        Cause("video", "d.mp4", "added"),
        Cause("video", "c", "removed"),
        Cause("video", "b.mp4", "replaced"),
    ]


def test_a_frame_that_was_overwritten_replaces_its_video(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"1")
    then = {name: fingerprint(tmp_path / f"{name}.mp4") for name in "ab"}
    os.utime(tmp_path / "b.mp4" / "1.png", (0, 0))
    assert changed_videos(then, [entry("a"), entry("b")], tmp_path) == [Cause("video", "b.mp4", "replaced")]


def test_rows_of_the_index_that_changed(cache):
    today = [
        entry("run_1"),
        entry("run_2", split="val"),
        entry("wave_1", class_names=("jump",)),
        entry("new"),
    ]
    assert changed_rows(cache.path("index"), today) == [
        Cause("video", "new.mp4", "added to the data set"),
        Cause("video", "wave_2.mp4", "removed from the data set"),
        Cause("video", "run_2.mp4", "its split changed"),
        Cause("video", "wave_1.mp4", "its class_names changed"),
    ]


def test_the_answer_in_words():
    key = Cause("setting", "motion.keyframes.threshold", "0.3 → 0.4")
    shards = [f"{k:03d}-of-003" for k in range(3)]
    reruns = [Rerun("keyframes", shard, (f"k/{shard}",), [key], [], 2.0) for shard in shards]
    reruns.append(Rerun("decode", shards[1], ("d",), [Cause("video", f"{k}.mp4", "added") for k in range(7)], [], None))
    reruns.append(Rerun("motion_concepts", "", ("m",), [], ["pose_clips"], 50.0))
    told = lines(Answer("results/x/model.pt", 9, reruns, {"a": "its settings have changed"}, ["lost"], ["half"]))
    assert told[0] == (
        "results/x/model.pt: 5 of 9 jobs would run again, about 56 s of computing, from recorded times, "
        "not counting decode, whose time is unknown"
    )
    text = "\n".join(told)
    assert "  motion.keyframes.threshold: 0.3 → 0.4  [keyframes (3 shards)]" in told
    assert "  0.mp4: added  [decode (001-of-003)]" in told and "… and 2 more of the kind `video`" in text
    assert "decode 001-of-003" in text and "motion_concepts" in text and "  lost" in told and "  half" in told
    assert "  a: its settings have changed" in told
    assert told[told.index("  lost") + 1] == "to make it again: snakemake --cores all lost"
    never = [Rerun("index", "", ("i",), [Cause("missing", "i", "is not there")], [], None)]
    assert lines(Answer("t", 9, never, {}, [], []))[0] == (
        "t: 1 of 9 jobs would run again, for an unknown time: no stage of these has run yet"
    )
    assert lines(Answer("t", 9, [], {}, [], [])) == ["t: none of 9 jobs would run; it is up to date"]
    assert lines(Answer("t", 9, [], {"a": "b"}, [], []))[0].endswith("but it is stale")
