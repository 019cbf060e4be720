"""Published data sets in the layout that their authors give them; the files are made here, the counts are theirs."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import scipy.io

from pipeline.data.decode import decode_video
from pipeline.data.entries import Entry, ListError, members_digest
from pipeline.data.index import check_classes
from pipeline.data.lists import read_listing
from pipeline.data.readers import open_video
from pipeline.data.sets.listing import Listing
from pipeline.data.settings import Decode, Index
from pipeline.jobs.stage import StageError


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def splits(listing, attribute="split"):
    return dict(Counter(getattr(entry, attribute) for entry in listing.entries))


# ----------------------------------------------------------------------------------------------------------------- KTH

SEQUENCES = (
    "Video sequences\r\n\r\nTraining:   person11, 12\r\n"
    "person11_boxing_d1\t\tframes\t1-95, 96-185, 186-245, 246-360\r\n"
    "person12_boxing_d1\t\tframes\t1-100, 101-200\r\n"
    "person12_walking_d4\t\tframes\t5-50,\r\n"
    "person22_boxing_d1\t\tframes\t1-40, 41-80\r\n"
)


@pytest.fixture
def kth(tmp_path):
    (tmp_path / "00sequences.txt").write_text(SEQUENCES, newline="")
    make(tmp_path, "boxing/person11_boxing_d1_uncomp.avi", "boxing/person22_boxing_d1_uncomp.avi")
    make(tmp_path, "person12_walking_d4_uncomp.mp4", "boxing/person11_boxing_d1_uncomp (1).avi")
    return tmp_path


def test_kth_is_cut_by_its_sequence_list_and_split_by_person(kth):
    listing = read_listing(Index(source="kth"), kth)
    found = {entry.video_id: entry for entry in listing.entries}
    assert len(found) == 9
    first = found["person11_boxing_d1_0"]
    assert (first.path, first.frames, first.group) == ("boxing/person11_boxing_d1_uncomp.avi", (0, 95), "person11")
    assert found["person11_boxing_d1_3"].frames == (245, 360)
    assert found["person12_walking_d4_0"].path == "person12_walking_d4_uncomp.mp4"  # not in a folder of its class
    assert {entry.group for entry in listing.entries if entry.split == "test"} == {"person22"}
    assert found["person12_boxing_d1_1"].problem == "missing: boxing/person12_boxing_d1_uncomp.avi is not on disk"
    assert listing.missing == [
        "train: 7 videos are listed, 1,528 are published",
        "test: 2 videos are listed, 863 are published",
        "2 of 9 videos are not on disk: 2 of boxing",
    ]


def test_kth_with_other_persons_and_broken_lists(kth):
    listing = read_listing(Index(source="kth", test_groups=["person12"]), kth)
    assert {entry.group for entry in listing.entries if entry.split == "test"} == {"person12"}
    with pytest.raises(
        ListError, match=r"no file belongs to the group person99; there are person11, person12, person22"
    ):
        read_listing(Index(source="kth", test_groups=["person99"]), kth)
    for ranges, words in (("1 to 95", "expected frames such as"), ("95-1", "end after they begin"), ("0-9", "from 1")):
        (kth / "00sequences.txt").write_text(f"person11_boxing_d1 frames {ranges}\n")
        with pytest.raises(ListError, match=rf"00sequences.txt, line 1: .*{words}"):
            read_listing(Index(source="kth"), kth)
    (kth / "00sequences.txt").write_text("<html>moved</html>\n")
    with pytest.raises(ListError, match="names no sequence"):
        read_listing(Index(source="kth"), kth)
    (kth / "00sequences.txt").unlink()
    with pytest.raises(ListError, match=r"00sequences\.txt is not in .*it comes with the data set"):
        read_listing(Index(source="kth"), kth)


def test_excerpts_change_the_digest_of_their_shard(kth):
    before = members_digest(read_listing(Index(source="kth"), kth).entries, kth)
    (kth / "00sequences.txt").write_text(SEQUENCES.replace("1-95, 96", "1-90, 91"))
    assert members_digest(read_listing(Index(source="kth"), kth).entries, kth) != before


def test_real_kth_films_are_cut(real_data, tmp_path):
    """An excerpt is exactly the frames that a reading of the whole film gives."""
    film = real_data / "kth/videos/person01_boxing_d2_uncomp.mp4"
    if not film.is_file():
        pytest.skip("no KTH film")
    (tmp_path / "boxing").mkdir()
    shutil.copy(film, tmp_path / "boxing" / film.name)
    (tmp_path / "00sequences.txt").write_text("person01_boxing_d2 frames 1-106, 107-195, 380-900\n")
    entries = read_listing(Index(source="kth", test_groups=["person01"]), tmp_path).entries
    with open_video(film) as whole:
        frames = whole.frames(range(390))
    assert np.ptp(frames.astype(int), axis=3).max() <= 2  # grey, but for the rounding of the codec
    for entry, (first, end) in zip(entries, ((0, 106), (106, 195), (379, 390)), strict=True):
        with open_video(tmp_path / entry.path, frames=entry.frames) as excerpt:
            assert excerpt.n_frames == end - first and excerpt.timestamps[0] == 0
            assert excerpt.timestamps[-1] == pytest.approx((end - first - 1) / 25, abs=0.05)
            cut = np.concatenate([batch.copy() for _, batch in excerpt.batches()])
            assert (cut == frames[first:end]).all()
            assert (excerpt.frames([3, 0]) == frames[[first + 3, first]]).all()
    clip = decode_video(film, Decode(size=64), lambda path, backend: open_video(path, backend, frames=(106, 195)))
    assert len(clip["diff_sum"]) == 89 and clip["frame_index"].max() < 89


# --------------------------------------------------------------------------------------------------------- Penn Action


def test_penn_action_reads_frames_and_annotations(tmp_path):
    (tmp_path / "labels").mkdir()
    for k, (action, train) in enumerate([("squat", 1), ("squat", 1), ("bowl", 1), ("bowl", -1), ("yoga", 1)], 1):
        scipy.io.savemat(tmp_path / f"labels/{k:04d}.mat", {"action": action, "train": train, "nframes": 9})
        make(tmp_path, f"frames/{k:04d}/000001.jpg")
    listing = read_listing(Index(source="penn_action", validation_by="video"), tmp_path)
    assert splits(listing, "listed") == {"train": 4, "test": 1}
    assert listing.entries[0].path == "frames/0001" and listing.class_names[listing.entries[0].labels[0]] == "squat"
    assert listing.entries[4].problem == "class `yoga` is not in the class list"
    assert "train: 4 videos are listed, 1,258 are published" in listing.missing
    (tmp_path / "labels/0002.mat").write_bytes(b"no matrix")
    with pytest.raises(ListError, match=r"0002\.mat is not an annotation of Penn Action"):
        read_listing(Index(source="penn_action"), tmp_path)
    shutil.rmtree(tmp_path / "labels")
    with pytest.raises(ListError, match="they come with the data set"):
        read_listing(Index(source="penn_action"), tmp_path)


def test_real_penn_action_annotations(real_data):
    listing = read_listing(Index(source="penn_action", check_files=False), real_data / "penn_action")
    assert splits(listing, "listed") == {"train": 1258, "test": 1068}
    assert not any(entry.problem for entry in listing.entries) and listing.missing == []
    assert len({entry.labels for entry in listing.entries}) == 15


# ----------------------------------------------------------------------------------------------------------------- HAA


def test_haa_names_what_is_missing(tmp_path):
    (tmp_path / "names.txt").write_text("jump rope\narm_wave\n")
    make(tmp_path, *[f"video/{name}/{name}_{k:03d}.mp4" for name in ("jump rope", "arm_wave") for k in range(20)])
    (tmp_path / "video/jump rope/jump rope_013.mp4").unlink()
    listing = read_listing(Index(source="haa500", class_list="names.txt"), tmp_path)
    assert splits(listing, "listed") == {"train": 32, "test": 8}
    problems = [entry.problem for entry in listing.entries if entry.problem]
    assert problems == ["missing: jump rope/jump rope_013.mp4 is not on disk"]
    assert listing.missing == ["1 of 40 videos are not on disk: 1 of jump rope"]
    assert listing.entries[0].path == "video/jump rope/jump rope_000.mp4"
    whole = read_listing(Index(source="haa500"), tmp_path)
    assert "train: 32 videos are listed, 8,000 are published" in whole.missing


def test_haa100_equals_the_published_lists(real_data, project):
    settings = Index(source="haa500", class_list="pipeline/data/classes/haa100.txt", check_files=False)
    listing = read_listing(settings, project)
    assert listing.missing == []
    for split, file in (("train", "train.csv"), ("test", "val.csv")):
        published = (real_data / "haa100" / file).read_text().split("\n")
        ours = [f"{entry.path},{entry.labels[0]}" for entry in listing.entries if entry.listed == split]
        assert sorted(ours) == sorted(line.strip() for line in published if line.strip())


# -------------------------------------------------------------------------------------------------------------- UCF-101


@pytest.mark.parametrize(("number", "folder"), [(1, "ucfTrainTestlist"), (2, "")])
def test_ucf101_takes_the_split_that_is_asked_for(tmp_path, number, folder):
    lists = tmp_path / folder
    lists.mkdir(exist_ok=True)
    for split in (1, 2, 3):
        train, test = (f"Archery/v_Archery_g{group:02d}_c01.avi" for group in (split, split + 10))
        (lists / f"trainlist0{split}.txt").write_text(f"{train} 3\r\n", newline="")
        (lists / f"testlist0{split}.txt").write_text(f"{test}\r\n", newline="")
    listing = read_listing(Index(source="ucf101", official_split=number, check_files=False), tmp_path)
    assert [(entry.group, entry.listed) for entry in listing.entries] == [
        (f"g{number:02d}", "train"),
        (f"g{number + 10}", "test"),
    ]
    assert {entry.class_names for entry in listing.entries} == {("Archery",)}
    count = {1: "9,537", 2: "9,586"}[number]
    assert f"train: 1 videos are listed, {count} are published" in listing.missing


def test_official_ucf101_lists_and_real_clips(real_data, tmp_path):
    shutil.copytree(real_data / "ucf101/official", tmp_path / "ucfTrainTestlist")
    (tmp_path / "UCF-101").symlink_to(real_data / "ucf101/videos")
    listing = read_listing(Index(source="ucf101"), tmp_path)
    assert splits(listing, "listed") == {"train": 9537, "test": 3783}
    ok = [entry for entry in listing.entries if not entry.problem]
    assert len(ok) == 24 and len({entry.class_names for entry in ok}) == 3
    (note,) = listing.missing
    assert note.startswith("13,296 of 13,320 videos are not on disk: ") and note.endswith("and 96 further classes")
    entry = ok[0]
    clip = decode_video(tmp_path / entry.path, Decode(size=64, sampling="dense"))
    assert clip["frames"].shape == (16, 64, 64, 3) and (clip["height"], clip["width"]) == (240, 320)
    whole = read_listing(Index(source="ucf101", check_files=False), tmp_path)
    assert whole.missing == []
    groups = {split: {entry.group for entry in whole.entries if entry.split == split} for split in ("train", "val")}
    assert not groups["train"] & groups["val"]
    assert {entry.labels[0] for entry in whole.entries if entry.split == "val"} == set(range(101))


def test_lists_of_ucf101_that_are_not_there(tmp_path):
    with pytest.raises(ListError, match=r"trainlist03\.txt is not in .*ucfTrainTestlist"):
        read_listing(Index(source="ucf101", official_split=3), tmp_path)


# ----------------------------------------------------------------------------------------------------- test-only sets


def test_scuba_is_test_only_and_its_labels_agree_with_the_names(tmp_path):
    (tmp_path / "val.csv").write_text(
        "v_WalkingWithDog_g02_c04__0 240 97\nv_Archery_g01_c02__1 31 2\nv_Archery_g01_c02__2 31 3\nnoise 31 3\n"
    )
    make(tmp_path, *[f"videos/{name}/1.jpg" for name in ("v_WalkingWithDog_g02_c04__0", "v_Archery_g01_c02__1")])
    listing = read_listing(Index(source="ucf101_scuba", lists={"test": "val.csv"}), tmp_path)
    assert splits(listing) == {"test": 4} and listing.test_only and len(listing.class_names) == 101
    assert [entry.problem for entry in listing.entries] == [
        None,
        None,
        "the list says BabyCrawling, the name says Archery",
        "the name is none of UCF-101, such as v_Archery_g01_c01__0",
    ]
    assert listing.entries[0].path == "videos/v_WalkingWithDog_g02_c04__0"
    with pytest.raises(ListError, match="one list, of the split `test`"):
        read_listing(Index(source="ucf101_scuba", lists={"train": "val.csv"}), tmp_path)


def test_real_scuba_list(real_data):
    settings = Index(source="ucf101_scuba", lists={"test": "val.csv"}, check_files=False)
    listing = read_listing(settings, real_data / "ucf101_scuba")
    assert splits(listing) == {"test": 4550} and listing.missing == []
    assert not any(entry.problem for entry in listing.entries)
    assert len({entry.labels for entry in listing.entries}) == 24


def test_mimetics_is_mapped_onto_trained_classes(tmp_path):
    make(tmp_path, "videos/archery/a_1_2.mp4", "videos/smoking/b_1_2.mp4", "videos/golf driving/c_1_2.mp4")
    own = read_listing(Index(source="mimetics"), tmp_path)
    assert len(own.class_names) == 50 and [entry.class_names[0] for entry in own.entries] == [
        "archery",
        "golf driving",
        "smoking",
    ]
    mapped = Index(source="mimetics", class_map="pipeline/data/classes/mimetics_to_ucf101.csv")
    listing = read_listing(mapped, tmp_path)
    assert [(e.class_names[0], listing.class_names[e.labels[0]]) for e in listing.entries] == [
        ("Archery", "Archery"),
        ("GolfSwing", "GolfSwing"),
    ]
    assert listing.missing == ["test: 3 videos are listed, 713 are published"]
    (note,) = listing.notes
    assert note.startswith("1 videos of 20 classes without a counterpart are left out: ") and "smoking" in note
    (tmp_path / "map.csv").write_text("archery,Archery\ngolf,GolfSwing\n")
    with pytest.raises(ListError, match=r"map\.csv, line 2: `golf` is not a class of this set"):
        read_listing(mapped.model_copy(update={"class_map": "map.csv"}), tmp_path)
    (tmp_path / "map.csv").write_text("archery,Bow\n")
    with pytest.raises(ListError, match=r"line 1: `Bow` is not a class of the class list"):
        read_listing(mapped.model_copy(update={"class_map": "map.csv"}), tmp_path)
    (tmp_path / "map.csv").write_text("archery\n")
    with pytest.raises(ListError, match=r"expected `class of this set,class of the model`"):
        read_listing(mapped.model_copy(update={"class_map": "map.csv"}), tmp_path)


def test_real_mimetics_list(real_data):
    settings = Index(source="mimetics", lists={"test": "val.csv"}, check_files=False)
    listing = read_listing(settings, real_data / "mimetics")
    assert len(listing.entries) == 613 and not any(entry.problem for entry in listing.entries)
    for entry in listing.entries:
        assert (entry.path.split("/")[0],) == entry.class_names


# ------------------------------------------------------------------------------------------------------------ Weizmann


def test_weizmann_leaves_an_actor_out(tmp_path):
    actors = ["daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar"]
    actions = ["bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2"]
    make(tmp_path, *[f"{action}/{actor}_{action}.avi" for action in actions for actor in actors])
    (tmp_path / "walk/lena_walk.avi").rename(tmp_path / "walk/lena_walk1.avi")
    for take in ("walk/lena_walk2.avi", "run/lena_run2.avi", "skip/lena_skip2.avi"):
        make(tmp_path, take)
    listing = read_listing(Index(source="weizmann", test_groups=["lena"]), tmp_path)
    assert listing.missing == []
    assert {entry.group for entry in listing.entries if entry.split == "test"} == {"lena"}
    assert splits(listing, "listed") == {"train": 80, "test": 13}
    (tmp_path / "bend/ido_bend.avi").unlink()
    listing = read_listing(Index(source="weizmann", test_groups=["lena"]), tmp_path)
    assert listing.missing == ["1 of 93 videos are not on disk: 1 of bend"]
    with pytest.raises(ListError, match=r"test_groups must name the actors to test on, of daria, "):
        read_listing(Index(source="weizmann"), tmp_path)
    with pytest.raises(ListError, match="no file belongs to the group leni"):
        read_listing(Index(source="weizmann", test_groups=["leni"]), tmp_path)


def test_real_weizmann_clips(real_data):
    listing = read_listing(Index(source="weizmann", test_groups=["ido"]), real_data / "weizmann")
    assert splits(listing, "listed") == {"train": 80, "test": 10} and listing.missing == []
    entry = next(entry for entry in listing.entries if entry.split == "test")
    clip = decode_video(real_data / "weizmann" / entry.path, Decode(size=64))
    assert (clip["height"], clip["width"]) == (144, 180)


# ------------------------------------------------------------------------------------------------------------- folders


@pytest.fixture
def own(tmp_path):
    make(tmp_path, *[f"{name}/{actor}_{k}.mp4" for name in ("fall", "sit down") for actor in "abcd" for k in range(5)])
    return tmp_path


def test_own_videos_are_split_by_fraction(own):
    listing = read_listing(Index(source="folders", test_fraction=0.2, validation_by="video"), own)
    assert splits(listing) == {"train": 26, "val": 6, "test": 8}
    assert all(entry.listed == entry.split for entry in listing.entries if entry.split == "test")
    by_actor = Index(source="folders", test_fraction=0.25, group_pattern="^(?P<group>[a-z])_")
    groups = {split: set() for split in ("train", "val", "test")}
    for entry in read_listing(by_actor, own).entries:
        groups[entry.split].add(entry.group)
    assert [len(groups[split]) for split in groups] == [2, 1, 1] and len(set().union(*groups.values())) == 4


def test_videos_in_split_folders(tmp_path):
    make(tmp_path, *[f"train/{name}/{k}.mp4" for name in "ab" for k in range(5)], "test/a/0.mp4", "val/b/0.mp4")
    listing = read_listing(Index(source="folders"), tmp_path)
    assert splits(listing) == {"train": 10, "val": 1, "test": 1}


def test_a_class_list_that_disagrees_with_the_folders_stops(own):
    (own / "classes.txt").write_text("fall\n")
    settings = Index(source="folders", test_fraction=0.2, class_list="classes.txt")
    with pytest.raises(ListError, match=r"1 folders that the class list does not name, for example `sit down`"):
        read_listing(settings, own)
    (own / "classes.txt").write_text("fall\nsit down\nstand up\n")
    with pytest.raises(ListError, match="stand up holds no video; the class list names the class `stand up`"):
        read_listing(settings, own)


def test_validation_groups_are_taken_as_named(own):
    settings = Index(source="folders", test_groups=["a"], validation_groups=["b"], group_pattern="^(?P<group>[a-z])_")
    listing = read_listing(settings, own)
    assert {entry.group for entry in listing.entries if entry.split == "val"} == {"b"}
    with pytest.raises(ListError, match="validation_groups: no train video belongs to the group a"):
        read_listing(settings.model_copy(update={"validation_groups": ["a"]}), own)


def test_classes_that_cannot_be_learned_stop():
    def listing(*rows, **more):
        names = ["fall", "sit"]
        return Listing(
            names, [Entry("v", "v.mp4", (0,), (name,), split, split, None, why) for name, split, why in rows], **more
        )

    good = ("fall", "train", None)
    check_classes(listing(good, ("sit", "train", None)))
    check_classes(listing(good, test_only=True))
    with pytest.raises(StageError, match="the class `sit` has no train video: no video is listed; add videos"):
        check_classes(listing(good))
    with pytest.raises(StageError, match="`sit` has no train video: none of its 2 listed videos can be used"):
        check_classes(listing(good, ("sit", "train", "missing"), ("sit", "train", "empty")))
    with pytest.raises(StageError, match="`sit` has no train video: all 1 are in other splits"):
        check_classes(listing(good, ("sit", "test", None)))
    with pytest.raises(StageError, match=r"`fall` has no train video: no video is listed \(and 1 more classes\)"):
        check_classes(listing(("other", "train", None)))
