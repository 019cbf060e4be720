"""Breakfast and COIN as their own files have them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest

from pipeline.data.entries import ListError, Segment
from pipeline.data.sets import READERS, breakfast, coin
from pipeline.data.settings import Index

FRAMES = {
    "P03_cam01_P03_tea": ["SIL"] * 30 + ["pour_water"] * 15,
    "P16_webcam01_P16_milk": ["pour_milk"] * 15,
    "P47_stereo01_P47_tea": ["pour_water"] * 15 + ["SIL"] * 15 + ["pour_water"] * 15,
}
MAPPING = "0 SIL\n1 pour_milk\n2 pour_water\n"


def kitchen(root, packed=True, frames=FRAMES):
    (root / "mapping_bf.txt").write_text(MAPPING)
    texts = {f"groundTruth/{name}.txt": "\n".join(labels) + "\n" for name, labels in frames.items()}
    if packed:
        with tarfile.open(root / "groundTruth.tar.gz", "w:gz") as archive:
            for name, text in texts.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
    else:
        (root / "groundTruth").mkdir()
        for name, text in texts.items():
            (root / name).write_text(text)
    return root


def read(source, root):
    return READERS[source](Index(source=source), root)


@pytest.mark.parametrize("packed", [True, False])
def test_breakfast(tmp_path, packed):
    listing = read("breakfast", kitchen(tmp_path, packed))
    assert listing.class_names == ["SIL", "pour_milk", "pour_water"]
    by_id = {entry.video_id: entry for entry in listing.entries}
    stereo = by_id["P47_stereo01_P47_tea"]
    assert stereo.path == "P47/stereo/P47_tea_ch0.avi" and stereo.split == "test" and stereo.group == "P47"
    assert stereo.labels == (0, 2) and stereo.segments == (Segment(0, 1, 2), Segment(1, 2, 0), Segment(2, 3, 2))
    assert by_id["P03_cam01_P03_tea"].path == "P03/cam01/P03_tea.avi"
    assert by_id["P16_webcam01_P16_milk"].split == "train"
    assert breakfast.activity_of("P47_stereo01_P47_tea") == "tea"


def test_activities_of_breakfast(tmp_path):
    listing = read("breakfast_activities", kitchen(tmp_path))
    assert listing.class_names == ["milk", "tea"]
    assert [entry.labels for entry in listing.entries] == [(1,), (0,), (1,)]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ({"P03_cam01_P03_tea": ["SIL", "dance"]}, "P03_cam01_P03_tea.txt, line 2: the label `dance` is not in"),
        ({"../../etc": ["SIL"]}, "etc.txt is not a label file of Breakfast"),
        ({}, "holds no label file"),
    ],
)
def test_bad_labels_of_breakfast_are_told(tmp_path, frames, words):
    with pytest.raises(ListError, match=words):
        read("breakfast", kitchen(tmp_path, frames=frames))


def test_a_damaged_archive_is_told(tmp_path):
    archive = kitchen(tmp_path) / "groundTruth.tar.gz"
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(ListError, match="cannot be read"):
        read("breakfast", tmp_path)


def video(task="Braid", number=4, steps=(("7", 1, 3), ("9", 3, 99)), subset="training", duration=20.0):
    parts = [{"id": key, "segment": [start, end], "label": f"step {key}"} for key, start, end in steps]
    return {"class": task, "recipe_type": number, "subset": subset, "duration": duration, "annotation": parts}


IDS = ("abcdefghijk", "ABC-_fghijk")


@pytest.mark.parametrize("official", [True, False])
def test_coin(tmp_path, official):
    late = video("Weave", 5, (("11", 5, 4), ("7", 0, 2)), "testing")
    late["annotation"][0]["label"] = "step 7"  # a text with two ids
    entries = dict(zip(IDS, (video(), late), strict=True))
    content = {"database": entries} if official else [{key: entry} for key, entry in entries.items()]
    (tmp_path / ("COIN.json" if official else "coin_train_70.json")).write_text(json.dumps(content))
    listing = read("coin", tmp_path)
    assert listing.class_names == ["step 7 (7)", "step 9", "step 7 (11)"]
    first, second = listing.entries
    assert first.path == "4/abcdefghijk.mp4" and coin.task_of(first.path) == "4" and first.split == "train"
    assert first.segments == (Segment(1, 3, 0), Segment(3, 20, 1))  # clipped to the video
    assert second.labels == (0,) and second.split == "test"  # ends before it begins
    assert [note.split(" ")[0] for note in listing.notes] == ["1", "1"]
    assert [entry.labels for entry in read("coin_tasks", tmp_path).entries] == [(0,), (1,)]


def sheet(rows):
    cells = "".join("<row>" + "".join(f'<c t="s"><v>{value}</v></c>' for value in row) + "</row>" for row in rows)
    return f'<worksheet xmlns="{coin._SHEET[1:-1]}"><sheetData>{cells}</sheetData></worksheet>'


def taxonomy(path, head="", texts=("Braid", "7", "step 7", "12", "rare step")):
    shared = "".join(f"<si><t>{text}</t></si>" for text in texts)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/sharedStrings.xml", f'{head}<sst xmlns="{coin._SHEET[1:-1]}">{shared}</sst>')
        archive.writestr("xl/worksheets/sheet1.xml", sheet([]))
        archive.writestr("xl/worksheets/sheet2.xml", sheet([(0, 1, 2), (0, 3, 4)]))


def test_steps_that_no_video_has_come_from_the_taxonomy(tmp_path):
    (tmp_path / "COIN.json").write_text(json.dumps({"database": {IDS[0]: video()}}))
    taxonomy(tmp_path / "taxonomy.xlsx")
    assert read("coin", tmp_path).class_names == ["step 7", "step 9", "rare step"]


def test_a_spreadsheet_with_entities_is_refused(tmp_path):
    taxonomy(tmp_path / "taxonomy.xlsx", head='<!DOCTYPE s [<!ENTITY a "aaaa">]>')
    with pytest.raises(ListError, match="defines entities"):
        coin.steps_of(tmp_path / "taxonomy.xlsx")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("3", "expected `database`"),
        ('{"database": {"abcdefghijk": {"class": "x"}}}', "does not have COIN's form"),
        ('{"database": {"abcdefghijk": 3}}', "does not have COIN's form"),
    ],
)
def test_bad_annotations_of_coin_are_told(tmp_path, text, words):
    (tmp_path / "COIN.json").write_text(text)
    with pytest.raises(ListError, match=words):
        read("coin", tmp_path)
    with pytest.raises(ListError, match=r"COIN.json is not in"):
        read("coin", tmp_path / "nowhere")


def test_hostile_ids_are_a_problem_of_the_video(tmp_path):
    (tmp_path / "COIN.json").write_text(json.dumps({"database": {"../../passwd": video()}}))
    assert read("coin", tmp_path).entries[0].problem == "the id is none of YouTube's"
