from __future__ import annotations

import os
import random
from collections import defaultdict

import pytest

from pipeline.data.entries import Entry, ListError, by_shard, members_digest, read_class_list, shard_of, video_id
from pipeline.data.lists import carve_validation, read_entries, read_listing
from pipeline.data.settings import Index


def make(root, **files):
    """Files below root: a string is a list, None an empty video."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or "")


def lists(**changes) -> Index:
    return Index(
        **{
            "lists": {"train": "train.csv", "test": "test.csv"},
            "class_list": "classes.txt",
            "validation_by": "video",
            **changes,
        }
    )


@pytest.fixture
def root(tmp_path):
    train = "".join(f"{name}/{name}{i}.avi,{label}\n" for label, name in enumerate("ab") for i in range(5))
    make(tmp_path, **{"train.csv": train, "test.csv": "a/a9.avi,0\nb/b9.avi,1\n", "classes.txt": "a\nb\n"})
    make(tmp_path, **{f"{name}/{name}{i}.avi": None for name in "ab" for i in (*range(5), 9)})
    return tmp_path


def test_reads_lists_and_carves_validation(root):
    entries = read_entries(lists(), root)
    assert len(entries) == 12
    assert not any(entry.problem for entry in entries)
    by_split = {split: [e for e in entries if e.split == split] for split in ("train", "val", "test")}
    assert [len(by_split[split]) for split in ("train", "val", "test")] == [8, 2, 2]
    assert {entry.labels for entry in by_split["val"]} == {(0,), (1,)}
    assert all(entry.listed == "train" for entry in by_split["val"])
    assert entries[0].path == "a/a0.avi" and entries[0].class_names == ("a",)


@pytest.mark.parametrize(
    "text",
    [
        "a/a0.avi,0\r\na/a1.avi,0\r\nb/b0.avi,1\r\nb/b1.avi,1\r\n",  # Windows line ends
        "a/a0.avi 0\na/a1.avi 0\nb/b0.avi 1\nb/b1.avi 1\n",  # blanks, as mmaction2 writes
        "\ufeffa/a0.avi,a\na/a1.avi,a\n\nb/b0.avi,b\nb/b1.avi,b\n",  # byte order mark, names, blank line
        "a/a0.avi 1\na/a1.avi 1\nb/b0.avi 2\nb/b1.avi 2\n",  # counted from 1, as UCF-101 does
        "a/a0.avi\na/a1.avi\nb/b0.avi\nb/b1.avi\n",  # no label: the folder is the class
    ],
)
def test_forms_of_lists(root, text):
    (root / "train.csv").write_text(text, newline="")
    (root / "test.csv").unlink()
    entries = read_entries(lists(lists={"train": "train.csv"}), root)
    assert [entry.labels for entry in entries] == [(0,), (0,), (1,), (1,)]
    assert [entry.path for entry in entries] == ["a/a0.avi", "a/a1.avi", "b/b0.avi", "b/b1.avi"]


def test_names_with_commas_blanks_and_brackets(root):
    names = ["a/x, y.avi", "a/clap d1 (1).avi", "b/[z].avi"]
    make(root, **{name: None for name in names})
    (root / "train.csv").write_text("".join(f"{name},{label}\n" for name, label in zip(names, (0, 0, 1), strict=True)))
    entries = read_entries(lists(), root)
    assert [entry.path for entry in entries[:3]] == names
    assert not any(entry.problem for entry in entries)


def test_single_mistakes_become_problems(root):
    (root / "train.csv").write_text(
        "a/a0.avi,0\na/a1.avi,0\nb/b0.avi,1\nb/b1.avi,1\n"
        "a/gone.avi,0\na/a2.avi,7\na/a0.avi,0\n../../etc/passwd.avi,0\n/etc/passwd.avi,0\na/a3.avi,zebra\n"
    )
    problems = {entry.path + entry.split: entry.problem for entry in read_entries(lists(), root) if entry.problem}
    assert len(problems) == 6
    text = " | ".join(problems.values())
    for words in (
        "missing: a/gone.avi",
        "label 7 is not among the 2 classes",
        "duplicate",
        "leaves the folder",
        "`zebra`",
    ):
        assert words in text


@pytest.mark.parametrize("line", ["train,v.mp4", "train,v.mp4,x,run,p", "train,v.mp4,0,run,p,q"])
def test_a_damaged_list_of_the_demo_stops(root, line):
    make(root, **{"lists.csv": f"split,path,label,class,actor\n{line}\n"})
    with pytest.raises(ListError, match=r"lists.csv, line 2: expected split,path,label,class,actor"):
        read_entries(lists(source="generated"), root)


def test_whole_list_mistakes_stop(root):
    with pytest.raises(ListError, match=r"none\.csv does not exist"):
        read_entries(lists(lists={"train": "none.csv"}), root)
    with pytest.raises(ListError, match="name the file with the class names"):
        read_entries(lists(class_list=""), root)
    with pytest.raises(ListError, match="no list for `train`"):
        read_entries(lists(lists={"test": "test.csv"}), root)
    (root / "classes.txt").write_text("a\na\n")
    with pytest.raises(ListError, match="more than once"):
        read_entries(lists(), root)


def test_a_video_in_two_splits_stops(root):
    (root / "test.csv").write_text("a/a0.avi,0\n")
    with pytest.raises(ListError, match=r"a__a0.*test and train"):
        read_entries(lists(), root)


def test_folders_split_by_group(tmp_path):
    for name in ("bend", "walk"):
        make(tmp_path, **{f"{name}/{actor}_{name}.avi": None for actor in ("ido", "eli", "lena", "moshe")})
    (tmp_path / "walk" / "notes.txt").write_text("no video")
    settings = Index(
        source="folders", group_pattern="^(?P<group>[a-z]+)_", test_groups=["ido"], validation_fraction=0.3
    )
    entries = read_entries(settings, tmp_path)
    assert len(entries) == 8
    assert {entry.group for entry in entries if entry.split == "test"} == {"ido"}
    groups = {split: {entry.group for entry in entries if entry.split == split} for split in ("train", "val")}
    assert len(groups["val"]) == 1 and not groups["train"] & groups["val"]
    with pytest.raises(ListError, match="test_groups"):
        read_entries(Index(source="folders"), tmp_path)


def test_validation_keeps_a_training_video_per_class(root):
    (root / "train.csv").write_text("a/a0.avi,0\nb/b0.avi,1\nb/b1.avi,1\nb/b2.avi,1\n")
    entries = read_entries(lists(validation_fraction=0.5), root)
    assert [entry.split for entry in entries if entry.labels == (0,) and entry.listed == "train"] == ["train"]
    train = [entry for entry in entries if entry.listed == "train"]
    assert carve_validation(train, 0.5, "video", 0) == carve_validation(train, 0.5, "video", 0)


def test_class_list_forms(tmp_path):
    (tmp_path / "numbered.txt").write_text("2 Archery\n1 ApplyLipstick\n")
    assert read_class_list(tmp_path / "numbered.txt") == ["ApplyLipstick", "Archery"]
    (tmp_path / "plain.txt").write_text("wave 1\nwave 2\n")
    assert read_class_list(tmp_path / "plain.txt") == ["wave 1", "wave 2"]


def test_an_unknown_class_in_another_script_is_no_known_one(root):
    """Spelling is forgiven by comparing letters and digits, and those of every script count."""
    (root / "classes.txt").write_text("走る\n歩く\n", encoding="utf-8")
    (root / "train.csv").write_text("a/a0.avi,走る\na/a1.avi,歩 く\nb/b0.avi,跳ぶ\n", encoding="utf-8")
    entries = read_entries(lists(lists={"train": "train.csv"}), root)
    assert [entry.class_names for entry in entries] == [("走る",), ("歩く",), ()]
    assert entries[2].problem == "class `跳ぶ` is not in the class list"


def test_video_ids_are_safe_and_injective():
    paths = [
        "a/b.avi",
        "a__b.avi",
        "a_/b.avi",
        "a/_b.avi",
        "a b.avi",
        "a%20b.avi",
        "ü.avi",
        "a/b (1).avi",
        "A/b.avi",
        "a___b.avi",
        "a/__b.avi",
        "a.b/c.avi",
        "2324.mp4",
        "x_y_z.avi",
    ]
    ids = [video_id(path) for path in paths]
    assert len(set(ids)) == len(ids)
    assert all("/" not in key and " " not in key for key in ids)
    assert video_id("2324.mp4") == "2324"
    assert video_id("Archery/v_Archery_g01_c01.avi") == "Archery__v_Archery_g01_c01"


def test_shards_are_stable_and_even():
    assert [shard_of(key, 4) for key in ("a", "b", "c", "d")] == [shard_of(key, 4) for key in ("a", "b", "c", "d")]
    counts = [0] * 8
    for i in range(4000):
        counts[shard_of(f"video {i}", 8)] += 1
    assert min(counts) > 400 and max(counts) < 600


def digests(root, count) -> dict[int, str]:
    parts = by_shard(read_entries(lists(), root), count)
    return {k: members_digest(part, root) for k, part in enumerate(parts)}


def test_members_digest_tells_changes_in_its_own_shard_only(root):
    count = 4
    before = digests(root, count)
    make(root, **{"a/new.avi": None})
    with open(root / "train.csv", "a") as file:
        file.write("a/new.avi,0\n")
    after = digests(root, count)
    assert [k for k in before if before[k] != after[k]] == [shard_of("a__new", count)]
    (root / "a" / "new.avi").write_text("longer now")
    replaced = digests(root, count)
    assert [k for k in after if after[k] != replaced[k]] == [shard_of("a__new", count)]


def test_members_digest_tells_frames_that_were_overwritten(root):
    """The folder of a video keeps its time of change when a frame in it gets another content."""
    (root / "a" / "frames").mkdir()
    (root / "a" / "frames" / "1.png").write_bytes(b"one")
    with open(root / "train.csv", "a") as file:
        file.write("a/frames,0\n")
    before = digests(root, 4)
    times = os.stat(root / "a" / "frames").st_mtime_ns
    (root / "a" / "frames" / "1.png").write_bytes(b"two")
    os.utime(root / "a" / "frames" / "1.png", (1, 1))
    assert os.stat(root / "a" / "frames").st_mtime_ns == times
    after = digests(root, 4)
    assert [k for k in before if before[k] != after[k]] == [shard_of("a__frames", 4)]


def test_ucf101_official_lists(real_data):
    official = real_data / "ucf101" / "official"
    settings = Index(
        lists={"train": "trainlist01.txt", "test": "testlist01.txt"},
        class_list="classInd.txt",
        check_files=False,
        group_pattern="_(?P<group>g[0-9]+)_",
    )
    entries = read_entries(settings, official)
    counts = {split: sum(entry.listed == split for entry in entries) for split in ("train", "test")}
    assert counts == {"train": 9537, "test": 3783}
    assert not any(entry.problem for entry in entries)
    assert len({entry.labels for entry in entries}) == 101
    groups = {split: {(e.group) for e in entries if e.split == split} for split in ("train", "val", "test")}
    assert not groups["val"] & groups["train"] and not groups["test"] & groups["train"]
    val = sum(entry.split == "val" for entry in entries)
    assert 0.1 < val / 9537 < 0.3


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a/run, jump.avi 1", "a/run, jump.avi", 1),  # a comma in the name, a blank before the label
        ("a/clap d1 (1).avi,1", "a/clap d1 (1).avi", 1),
        ("a/x.avi brushing hair", "a/x.avi", 1),  # a class name with a blank
        ("a/x.avi,brushing hair", "a/x.avi", 1),
        ('"a/x, y.avi",1', "a/x, y.avi", 1),  # quoted by a CSV writer
        ("a/frames of x 240 1", "a/frames of x", 1),  # mmaction2: folder, number of frames, label
        ("a/x 240.avi 1", "a/x 240.avi", 1),
        ("a\\x.avi\t1", "a/x.avi", 1),
        ("a/take 2, 1.avi", "a/take 2, 1.avi", 0),  # no label: the folder
    ],
)
def test_what_is_path_and_what_is_label(tmp_path, line, path, label):
    make(tmp_path, **{"train.csv": f"{line}\na/0.avi,0\n", "classes.txt": "a\nbrushing hair\n"})
    entry = read_entries(lists(lists={"train": "train.csv"}, check_files=False), tmp_path)[0]
    assert (entry.path, entry.labels, entry.problem) == (path, (label,), None)


def test_no_line_makes_the_reader_fail(tmp_path):
    text = '/,1\n.,1\n..,0\n,\n,1\n"\n""\n\0,1\na/b/,1\n1\n-1,-1\nx.avi,1,\n,,,\n'
    make(tmp_path, **{"train.csv": text, "classes.txt": "a\nb\n"})
    for check_files in (False, True):
        entries = read_entries(lists(lists={"train": "train.csv"}, check_files=check_files), tmp_path)
        assert len(entries) == 13 and sum(entry.problem is None for entry in entries) == 0
        assert all(members_digest(part, tmp_path) for part in by_shard(entries, 2))


def test_classes_from_labels_or_folders_where_no_list_names_them(root):
    (root / "train.csv").write_text("a/a0.avi,walk\nb/b0.avi,run\n")
    (root / "test.csv").write_text("a/a9.avi walk\n")
    assert read_listing(lists(class_list=""), root).class_names == ["run", "walk"]
    (root / "train.csv").write_text("b/b0.avi\na/a0.avi\n")
    entries = read_entries(lists(class_list="", lists={"train": "train.csv"}), root)
    assert [entry.labels for entry in entries] == [(1,), (0,)]
    (root / "train.csv").write_text("b0.avi\n")
    with pytest.raises(ListError, match="name no class"):
        read_entries(lists(class_list="", lists={"train": "train.csv"}), root)


def test_numbers_in_class_names_are_no_numbering(tmp_path):
    make(tmp_path, **{"classes.txt": "100 m run\n200 m run\n110 m hurdles\n"})
    assert read_class_list(tmp_path / "classes.txt") == ["100 m run", "200 m run", "110 m hurdles"]


def test_group_patterns_and_test_groups_that_fit_nothing_stop(root):
    with pytest.raises(ListError, match="no regular expression"):
        read_entries(lists(group_pattern="(?P<group>["), root)
    with pytest.raises(ListError, match="needs a part named group"):
        read_entries(lists(group_pattern="a"), root)
    with pytest.raises(ListError, match=r"fits no file name, for example not `a0\.avi`"):
        read_entries(lists(group_pattern="(?P<group>zz)"), root)
    folders = {"source": "folders", "group_pattern": "(?P<group>[0-9])"}
    assert {entry.group for entry in read_entries(Index(**folders, test_groups=["9"]), root)} == set("012349")
    with pytest.raises(ListError, match="no file is of the group 8; there are 0, 1"):
        read_entries(Index(**folders, test_groups=["8", "9"]), root)


def test_folders_hold_leftovers(root):
    make(root, **{"a/._a0.avi": None, "notes/readme.txt": None, ".cache/x.avi": None})
    open(os.fsencode(root) + b"/a/caf\xe9_7.avi", "w").close()
    settings = Index(source="folders", group_pattern="(?P<group>[0-9])", test_groups=["9"])
    assert read_listing(settings, root).class_names == ["a", "b"]
    entries = read_entries(settings, root)
    assert len(entries) == 13
    assert [(entry.video_id, entry.path) for entry in entries if entry.problem] == [("a__caf%E9_7", "a/caf\\xe9_7.avi")]
    (root / "names.txt").write_text("a\nb\nc\n")
    with pytest.raises(ListError, match=r"c holds no video; the class list names the class `c`"):
        read_entries(settings.model_copy(update={"class_list": "names.txt"}), root)


def test_a_folder_of_pictures_stands_for_the_video(root):
    make(root, **{"a/a7/000001.jpg": None})
    with open(root / "train.csv", "a") as file:
        file.write("a/a7.mp4,0\n")
    (entry,) = [entry for entry in read_entries(lists(), root) if entry.video_id == "a__a7"]
    assert (entry.path, entry.problem) == ("a/a7", None)


def some_entries(seed):
    """Random classes and groups, some of them tiny."""
    chance = random.Random(seed)
    n_classes, n_groups = chance.randint(2, 8), chance.randint(1, 8)
    rows = [(chance.randrange(n_classes), chance.randrange(n_groups)) for _ in range(chance.randint(5, 150))]
    return [
        Entry(f"v{row}", f"v{row}.avi", (label,), (str(label),), "train", "train", f"g{group}")
        for row, (label, group) in enumerate(rows)
    ]


@pytest.mark.parametrize("by", ["group", "video"])
def test_every_class_keeps_train_and_gets_validation(by):
    for seed in range(60):
        entries = carve_validation(some_entries(seed), 0.2, by, seed)
        units, splits = defaultdict(set), defaultdict(set)
        for entry in entries:
            units[entry.labels].add(entry.group if by == "group" else entry.video_id)
            splits[entry.labels].add(entry.split)
        for label, own in units.items():
            assert splits[label] == ({"train", "val"} if len(own) > 1 else {"train"})


def test_groups_that_all_classes_share_move_as_one():
    def of(actors):
        return [
            Entry(f"{actor}{label}", "", (label,), (str(label),), "train", "train", str(actor))
            for actor in range(actors)
            for label in range(10)
        ]

    for actors, expected in ((2, 1), (3, 1), (6, 1), (10, 2), (25, 5)):
        entries = carve_validation(of(actors), 0.2, "group", 0)
        groups = {split: {entry.group for entry in entries if entry.split == split} for split in ("train", "val")}
        assert not groups["train"] & groups["val"]
        assert len(groups["val"]) == expected


def test_a_new_video_changes_few_validation_videos():
    before = some_entries(7)
    new = Entry("new", "new.avi", (0,), ("0",), "train", "train", "g0")
    old = {entry.video_id: entry.split for entry in carve_validation(before, 0.2, "video", 0)}
    changed = [e for e in carve_validation([*before, new], 0.2, "video", 0) if old.get(e.video_id, e.split) != e.split]
    assert len(changed) <= 1
