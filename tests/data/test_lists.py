from __future__ import annotations

import os
import random
import unicodedata
from collections import Counter, defaultdict

import pytest

from pipeline.data.entries import (
    MAX_ID,
    Entry,
    ListError,
    by_shard,
    members_digest,
    read_class_list,
    shard_of,
    video_id,
)
from pipeline.data.index import check_splits, few_videos
from pipeline.data.lists import carve_validation, read_entries, read_listing
from pipeline.data.settings import Index
from pipeline.jobs.stage import StageError


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


def test_a_limit_leaves_as_many_videos_of_each_class_and_spares_the_others(root):
    everything = {entry.video_id: entry.split for entry in read_entries(lists(), root)}
    limited = {entry.video_id: entry.split for entry in read_entries(lists(train_per_class=3), root)}
    assert limited.keys() == everything.keys()
    for name in "ab":
        own = Counter(split for video_id, split in limited.items() if video_id.startswith(name))
        assert own == {"train": 2, "val": 1, "spare": 2, "test": 1}
    # Another seed trains on others; a limit that nobody reaches changes nothing.
    again = {entry.video_id: entry.split for entry in read_entries(lists(train_per_class=3, seed=1), root)}
    assert again != limited
    assert {e.video_id: e.split for e in read_entries(lists(train_per_class=5), root)} == everything


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
    with pytest.raises(ListError, match="not a regular expression"):
        read_entries(lists(group_pattern="(?P<group>["), root)
    with pytest.raises(ListError, match="needs a group named `group`"):
        read_entries(lists(group_pattern="a"), root)
    with pytest.raises(ListError, match=r"matches no file name, for example not `a0\.avi`"):
        read_entries(lists(group_pattern="(?P<group>zz)"), root)
    folders = {"source": "folders", "group_pattern": "(?P<group>[0-9])"}
    assert {entry.group for entry in read_entries(Index(**folders, test_groups=["9"]), root)} == set("012349")
    with pytest.raises(ListError, match="no file belongs to the group 8; there are 0, 1"):
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


# ------------------------------------------------------------------------------------------------- text as it was meant


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ('"a/a0.avi","walk"\n"b/b0.avi","run, then stop"\n', '"a/a9.avi","walk"\n'),
        ("'a/a0.avi','walk'\n'b/b0.avi','run, then stop'\n", "'a/a9.avi','walk'\n"),
        ('path,label\na/a0.avi,walk\nb/b0.avi,"run, then stop"\n', "Path,Label\na/a9.avi,walk\n"),
        ("a/a0.avi;walk\nb/b0.avi;run, then stop\n", "video;class\na/a9.avi;walk\n"),
        ("video\tlabel\na/a0.avi\twalk\nb/b0.avi\trun, then stop\n", "a/a9.avi\twalk\n"),
        ('label,path\nwalk,a/a0.avi\n"run, then stop",b/b0.avi\n', "label,path\nwalk,a/a9.avi\n"),
        (',file,fps,tag\n0,a/a0.avi,25,walk\n1,b/b0.avi,25,"run, then stop"\n', "tag;x;file\nwalk;;a/a9.avi\n"),
        ("path label\na/a0.avi walk\nb/b0.avi 'run, then stop'\n", "a/a9.avi walk\n"),
        ('path,label\na/a0.avi,[walk]\nb/b0.avi,"[run, then stop]"\n', 'x,path,label\n,a/a9.avi,"[walk]"\n'),
    ],
)
def test_tables_are_read_as_their_writers_meant_them(root, train, test):
    (root / "train.csv").write_text(train)
    (root / "test.csv").write_text(test)
    listing = read_listing(lists(class_list=""), root)
    assert listing.class_names == ["run, then stop", "walk"]
    found = [(entry.path, entry.class_names, entry.problem) for entry in listing.entries]
    assert found == [
        ("a/a0.avi", ("walk",), None),
        ("b/b0.avi", ("run, then stop",), None),
        ("a/a9.avi", ("walk",), None),
    ]


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8"], ids=lambda name: name
)
def test_encodings_of_lists(root, encoding):
    for name, text in {"train.csv": "a/a0.avi,0\r\na/a1.avi,0\rb/b0.avi,1\n", "classes.txt": "a\r\nb"}.items():
        (root / name).write_bytes(text.encode(encoding))
    entries = read_entries(lists(), root)
    assert [(entry.path, entry.labels) for entry in entries[:3]] == [
        ("a/a0.avi", (0,)),
        ("a/a1.avi", (0,)),
        ("b/b0.avi", (1,)),
    ]
    (root / "train.csv").write_bytes("a/a0.avi,Läufer\n".encode("latin-1"))
    with pytest.raises(ListError, match=r"train\.csv cannot be read as UTF-8 text"):
        read_entries(lists(), root)


def test_a_header_that_is_none_that_is_known_stops(root):
    (root / "train.csv").write_text("Pfad,Klasse\na/a0.avi,0\nb/b0.avi,1\n")
    with pytest.raises(ListError, match=r"line 1: `Pfad,Klasse` seems to be a header; remove it, or name its columns"):
        read_entries(lists(), root)
    (root / "train.csv").write_text("path,fps,label\na/a0.avi,25\n")
    with pytest.raises(ListError, match=r"train\.csv, line 2: expected 3 columns, found 2"):
        read_entries(lists(), root)


def test_numbers_of_a_table_with_gaps(root):
    (root / "train.csv").write_text("a/a0.avi,0.0\nb/b0.avi,1.0\na/a1.avi,-1.0\na/a2.avi 0.0\n")
    entries = read_entries(lists(), root)
    assert [entry.labels for entry in entries[:4]] == [(0,), (1,), (), (0,)]
    assert entries[2].problem == "label -1.0 is not among the 2 classes"
    with pytest.raises(ListError, match="labels are numbers there"):
        read_entries(lists(class_list=""), root)


@pytest.mark.parametrize(
    "text",
    [
        'id,name\n0,walk\n1,"run, stop"\n',
        '0,walk\n1,"run, stop"\n',
        'name;id\n"run, stop";2\nwalk;1\n',
        '"walk"\n"run, stop"\n',
        "class\nwalk\nrun, stop\n",
        "1 walk\n2 run, stop\n",
    ],
)
def test_class_lists_with_quotes_headers_and_numbers(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    assert read_class_list(tmp_path / "classes.txt") == ["walk", "run, stop"]


def test_class_lists_whose_numbers_do_not_count_stop(tmp_path):
    (tmp_path / "classes.txt").write_text("id,name\n3,walk\n7,run\n")
    with pytest.raises(ListError, match="must count from 0 or 1 without gaps or repeats"):
        read_class_list(tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_text("no label\nlabel 1\nclasses we like\n")  # names, no header
    assert read_class_list(tmp_path / "classes.txt") == ["no label", "label 1", "classes we like"]


@pytest.mark.parametrize(("on_disk", "in_list"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_accents_that_are_written_in_two_ways_are_the_same(tmp_path, on_disk, in_list):
    names = ["été/café.avi", "été/ü.avi", "läufer/ñ.avi"]
    disk, listed = ([unicodedata.normalize(form, name) for name in names] for form in (on_disk, in_list))
    make(tmp_path, **{name: None for name in disk})
    (tmp_path / "train.csv").write_text("".join(f"{name}\n" for name in listed))
    (tmp_path / "classes.txt").write_text(unicodedata.normalize(on_disk, "läufer\nété\n"))
    entries = read_entries(lists(lists={"train": "train.csv"}), tmp_path)
    assert [(entry.path, entry.labels, entry.problem) for entry in entries] == [
        (path, (int("t" in path[:4]),), None) for path in disk
    ]
    assert [entry.video_id for entry in entries] == [video_id(name) for name in names]
    folders = read_listing(Index(source="folders", test_fraction=0.2, validation_by="video"), tmp_path)
    assert folders.class_names == sorted(["läufer", "été"]) and not any(entry.problem for entry in folders.entries)
    assert {entry.path for entry in folders.entries} == set(disk)


def test_ids_fit_into_names_of_files(tmp_path):
    long = ["跳" * 60 + f"{k}.mp4" for k in range(3)] + [f"{'x' * 100}/{'y' * 120}.mp4", f"{'x' * 100}/{'y' * 121}.mp4"]
    ids = [video_id(name) for name in long]
    assert len(set(ids)) == 5 and all(len(key) <= MAX_ID and "~" in key for key in ids)
    assert video_id("x" * MAX_ID) == "x" * MAX_ID and "~" not in video_id("a~b.mp4")
    for key in ids:
        (tmp_path / f".12345678.{key}.zarr.zip").write_text("")


# -------------------------------------------------------------------------------------------------------------- counts

HUNDRED = [f"class {k:03d}" for k in range(100)]


def counted(root, train, test, **changes):
    """Lists of 100 folders of six videos whose labels count from these numbers."""
    make(root, **{"classes.txt": "\n".join(HUNDRED)})
    for name, first, numbers in (("train.csv", train, range(4)), ("test.csv", test, (4, 5))):
        (root / name).write_text("".join(f"{c}/{i}.mp4 {k + first}\n" for k, c in enumerate(HUNDRED) for i in numbers))
    return read_entries(lists(check_files=False, **changes), root)


def test_lists_that_count_differently_stop_with_both_counts(tmp_path):
    for first in (0, 1):
        assert all(entry.class_names == (entry.path.split("/")[0],) for entry in counted(tmp_path, first, first))
    with pytest.raises(ListError, match=r"from 0 in .*train\.csv \(0 to 99\) and from 1 in .*test\.csv \(1 to 100\)"):
        counted(tmp_path, 0, 1)


def test_labels_beside_the_class_in_the_path_stop(tmp_path):
    """Where the last class has no video in the list, its numbers alone do not tell that they count from 1."""
    counted(tmp_path, 0, 0)
    lines = [f"{c}/{i}.mp4 {k + 1}\n" for k, c in enumerate(HUNDRED[:99]) for i in (4, 5)]
    (tmp_path / "test.csv").write_text("".join(lines))
    with pytest.raises(
        ListError, match=r"198 of 198 labels are not the class in the path, .*`class 001` \(1 from 0\), "
    ):
        read_entries(lists(check_files=False), tmp_path)
    (tmp_path / "test.csv").write_text("".join(line.replace("/", "_").replace("class", "v_class") for line in lines))
    with pytest.raises(ListError, match="198 of 198 labels are not the class in the path"):
        read_entries(lists(check_files=False), tmp_path)
    # A few are another matter, and so are folders that are no class.
    (tmp_path / "test.csv").write_text("class 000/4.mp4 1\nclass 001/4.mp4 1\nclass 002/4.mp4 2\n")
    assert [entry.labels for entry in read_entries(lists(check_files=False), tmp_path)[-3:]] == [(1,), (1,), (2,)]


def test_ucf101_lists_that_count_from_0_stop(tmp_path):
    make(tmp_path, **{"trainlist01.txt": "Archery/v_Archery_g08_c01.avi 2\nApplyEyeMakeup/v_x_g08_c01.avi 0\n"})
    make(tmp_path, **{"testlist01.txt": "Archery/v_Archery_g01_c01.avi\n"})
    with pytest.raises(ListError, match=r"from 0 in .*trainlist01\.txt \(0 to 2\) and from 1 in the data set"):
        read_entries(Index(source="ucf101", check_files=False), tmp_path)


# -------------------------------------------------------------------------------------------------------------- groups


def persons(root, spelled=("Person", "person"), n=8):
    make(root, **{f"{c}/{spelled[p % 2]}{p:02d}_{c}{i}.mp4": None for c in "AB" for p in range(n) for i in range(3)})


def test_a_pattern_that_fits_half_of_the_names_stops(tmp_path):
    persons(tmp_path)
    settings = Index(source="folders", test_fraction=0.3, group_pattern=r"^(?P<group>person\d+)_")
    with pytest.raises(
        ListError, match=r"matches 24 of 48 file names, not `Person00_A0\.mp4`, .* and 14 more; correct it"
    ):
        read_listing(settings, tmp_path)
    listing = read_listing(settings.model_copy(update={"ungrouped": "one_group"}), tmp_path)
    assert listing.notes[0].startswith(
        "24 videos that group_pattern does not match form one group: `Person00_A0.mp4`, "
    )
    splits = defaultdict(set)
    for entry in listing.entries:
        splits[entry.group].add(entry.split)
    assert len(splits) == 5 and all(len(found) == 1 for found in splits.values())


def test_groups_that_differ_in_capitals_are_one(tmp_path):
    make(tmp_path, **{f"A/{p}{k}_A.mp4": None for p in ("Ann", "ann") for k in range(4)})
    make(tmp_path, **{f"B/{p}{k}_B.mp4": None for p in ("Ann", "ANN") for k in range(4)})
    pattern = r"^(?P<group>[A-Za-z]+\d)_"
    settings = Index(source="folders", test_groups=["Ann1"], group_pattern=pattern, validation_groups=["ANN2"])
    splits = defaultdict(set)
    for entry in read_listing(settings, tmp_path).entries:
        splits[entry.group].add(entry.split)
    assert splits == {"ann0": {"train"}, "ann1": {"test"}, "ann2": {"val"}, "ann3": {"train"}}


def test_groups_that_lists_part_are_told(root):
    (root / "test.csv").write_text("a/a9.avi,0\nb/b9.avi,1\n")
    notes = read_listing(lists(group_pattern="^(?P<group>[ab])"), root).notes
    assert notes == [
        "2 of 2 groups are in more than one split, for example `a` in test and train: figures measure memory too"
    ]


# -------------------------------------------------------------------------------------------------------- empty splits


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        (  # one group
            {f"{c}/p_{k}.mp4" for c in "AB" for k in range(9)},
            {"test_fraction": 0.2, "group_pattern": "(?P<group>p)_", "validation_by": "group"},
            "`val` has no video: data.index.validation_fraction moves whole groups, and 1 groups of 18 videos",
        ),
        (  # two groups: one is the test split
            {f"{c}/{p}_{k}.mp4" for c in "AB" for p in "pq" for k in range(4)},
            {"test_fraction": 0.2, "group_pattern": "(?P<group>[pq])_", "validation_by": "group"},
            "`val` has no video: data.index.validation_fraction moves whole groups, and 1 groups of 8 videos",
        ),
        (  # one group per class
            {f"{c}/{c}_{k}.mp4" for c in "ABC" for k in range(6)},
            {"test_fraction": 0.2, "group_pattern": "(?P<group>[A-Z])_", "validation_by": "group"},
            "`val` has no video: data.index.validation_fraction moves whole groups, and 3 groups of 18 videos",
        ),
        (
            {f"{c}/{k}.mp4" for c in "AB" for k in range(2)},
            {"test_fraction": 0.2},
            "`val` has no video: .* a class needs one",
        ),
        (
            {f"train/{c}/{k}.mp4" for c in "AB" for k in range(6)},
            {},
            r"`test` has no video: .*data\.index\.test_fraction$",
        ),
        (
            {f"A/{k}.mp4" for k in range(9)},
            {"test_fraction": 0.2},
            "there is only one class, `A`; add videos",
        ),
    ],
)
def test_splits_that_are_empty_stop_with_what_to_change(tmp_path, names, changes, words):
    make(tmp_path, **dict.fromkeys(names))
    settings = Index(**{"source": "folders", "validation_by": "video", **changes})
    with pytest.raises(StageError, match=words):
        check_splits(read_listing(settings, tmp_path), settings)


def test_listed_splits_without_a_usable_video_stop(root):
    (root / "val.csv").write_text("a/gone.avi,0\n")
    settings = lists(lists={"train": "train.csv", "val": "val.csv", "test": "test.csv"})
    with pytest.raises(
        StageError, match="`val` has no video: none of its 1 listed videos can be used, for example a/gone"
    ):
        check_splits(read_listing(settings, root), settings)
    (root / "val.csv").write_text("\n")
    with pytest.raises(StageError, match="`val` has no video: its list names none"):
        check_splits(read_listing(settings, root), settings)
    settings = lists(lists={"train": "train.csv"})  # who names no list of test videos wants none
    check_splits(read_listing(settings, root), settings)


def test_three_videos_of_a_class_fill_three_splits_and_are_told_to_be_few(tmp_path):
    make(tmp_path, **{f"{c}/{k}.mp4": None for c in "AB" for k in range(3)})
    settings = Index(source="folders", test_fraction=0.2, validation_by="video")
    listing = read_listing(settings, tmp_path)
    check_splits(listing, settings)
    assert few_videos(listing)[0] == "A: 3 videos are few; a class with fewer than 5 is hardly learned"


@pytest.mark.parametrize("name", ["valid", "Validation", "training", "testing"])
def test_lists_of_splits_by_other_names_are_refused(name):
    with pytest.raises(ValueError, match=f"`lists.{name}`: call it `(train|val|test)`"):
        Index(lists={"train": "train.csv", name: "other.csv"})
    Index(lists={"train": "a", "test": "b", "test_at_night": "c", "testing": "d"})
