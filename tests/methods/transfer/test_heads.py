"""Heads learn what they may see, and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from pipeline.data.sets.synta import read
from pipeline.data.settings import Index, Rendered
from pipeline.data.table import VideoTable, objects
from pipeline.jobs.stage import StageError
from pipeline.methods.transfer import networks as nets
from pipeline.methods.transfer.concepts import of_key_clips, sparse_head
from pipeline.methods.transfer.contexts import Contexts, contexts_of
from pipeline.methods.transfer.measure import Predictions, bars, gains, measured
from pipeline.methods.transfer.settings import Transfer
from pipeline.methods.transfer.tables import table
from pipeline.methods.transfer.train import Judge, linear, networks, of_poses, of_tracks, train_sets_of, zero_shot
from pipeline.motion.motion_concepts import KeyClips
from pipeline.motion.settings import Tracks
from pipeline.store.atomic import StageError as NotMeasured

RENDERED = Rendered(
    classes=["rising", "falling", "arriving"],
    fine_per_set=2,
    views=["front"],
    backgrounds=["realistic", "plain"],
    ids=8,
    train_ids=6,
    factor_ids=1,
)
WINDOWS = Tracks(length=5, stride=2)


def videos_of(index: Index) -> VideoTable:
    listing = read(index, None)
    entries = [(e, "val" if e.split == "train" and e.group == "id_6" else e.split) for e in listing.entries]
    columns = {
        "video_id": [e.video_id for e, _ in entries],
        "path": [f"videos/{e.path}" for e, _ in entries],
        "frames": [None] * len(entries),
        "labels": [np.array(e.labels, np.int32) for e, _ in entries],
        "segments": [()] * len(entries),
        "split": [s for _, s in entries],
        "group": [e.group for e, _ in entries],
    }
    return VideoTable(**{name: objects(values) for name, values in columns.items()}, class_names=listing.class_names)


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    index = Index(source="synta", rendered=RENDERED)
    return contexts_of(videos_of(index), index, None)


@pytest.fixture(scope="module")
def features(contexts) -> np.ndarray:
    """The class is in the first columns, the set in the last, and noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.6, (len(contexts.label), 8))
    x[np.arange(len(x)), contexts.label] += 3
    x[:, 7] += contexts.set
    return x.astype(np.float32)


def rows(judge: Judge, **wanted) -> list[dict]:
    return [row for row in judge.rows if all(row[key] == value for key, value in wanted.items())]


def right(found: list[dict]) -> float:
    return float(np.mean([row["label"] == row["predicted"] for row in found]))


def test_roles_are_disjoint_and_of_the_right_set(contexts):
    for s in (1, 2):
        for plain in (False, True):
            seen, known, unknown = (
                contexts.trained(s, plain),
                contexts.role("known", s, plain),
                contexts.role("unknown", s, plain),
            )
            assert not (seen & (known | unknown)).any() and not (known & unknown).any()
            assert (contexts.set[seen] == s).all() and (contexts.set[unknown] != s).all() and known.any()
            assert (seen & contexts.validation).any() and (contexts.plain[seen | known | unknown] == plain).all()
        assert (contexts.set[contexts.role("unknown_motion", s)] != s).all()
        assert (contexts.set[contexts.role("unknown_scene", s)] == s).all()
    assert contexts.partner.tolist() == [-1, 2, 1]


def test_poisoned_unknown_train_clips_change_nothing(contexts, features):
    """Nor do poisoned clips to judge by: of those alone the answers change."""
    poisoned = features.copy()
    hidden = contexts.development & (contexts.set == 2)
    poisoned[hidden] = np.random.default_rng(1).normal(0, 100, (hidden.sum(), features.shape[1]))
    answers = []
    for x in (features, poisoned):
        judge = Judge(contexts, 3)
        head = linear(judge, x, 1)
        answers.append((judge.rows, head))
    assert answers[0][0] == answers[1][0] and np.array_equal(answers[0][1].weight, answers[1][1].weight)


def test_linear_heads_learn_classes_and_shuffled_labels_are_chance(contexts, features):
    judge = Judge(contexts, 3)
    linear(judge, features, 1)
    assert right(rows(judge, role="known", background="realistic")) > 0.9
    assert {row["role"] for row in judge.rows} == {
        "known",
        "unknown",
        "unknown_motion",
        "unknown_shape",
        "unknown_scene",
    }
    chance = []
    for seed in range(4):
        mixed = np.random.default_rng(seed).permutation(contexts.label)
        lost = Judge(Contexts(**{**vars(contexts), "label": mixed}), 3)
        linear(lost, features, 1)
        chance.append(right(rows(lost, role="known")))
    assert np.mean(chance) == pytest.approx(1 / 3, abs=0.15)


@pytest.fixture(scope="module")
def tracks(contexts) -> np.ndarray:
    """One thing that goes up, down or in from the side, by class; from elsewhere in each clip."""
    rng, t = np.random.default_rng(0), np.linspace(0, 1, 12)
    found = np.zeros((len(contexts.label), 12, 4, 6), np.float32)
    for row, k in enumerate(contexts.label):
        x, y = rng.uniform(0.4, 0.6, 2)
        way = {0: (0.9 * (t - 1), 0 * t), 1: (0 * t, 0.4 * (t - 0.5)), 2: (0 * t, -0.4 * (t - 0.5))}[int(k)]
        found[row, :, 0] = np.stack([x + way[0], y + way[1], 0 * t + 0.08, 0 * t + 1, 0 * t, 0 * t + 1], 1)
    return found


def test_concepts_of_tracks_tell_motions_and_see_train_alone(contexts, tracks):
    settings = Transfer(n_concepts=8)
    judge = Judge(contexts, 3)
    concepts, head = of_tracks(judge, "concepts", tracks, 1, settings, WINDOWS)
    assert right(rows(judge, role="unknown", background="realistic")) > 0.95
    assert len(concepts.centres) == 8 and concepts.shown.shape == (8, 5, 4, 6) and len(concepts.names) == 16
    poisoned = tracks.copy()
    poisoned[contexts.development & (contexts.set == 2)] = 0.3
    again, _ = of_tracks(Judge(contexts, 3), "concepts", poisoned, 1, settings, WINDOWS)
    assert np.array_equal(concepts.centres, again.centres)
    z = concepts.activations(tracks)
    assert z.min() >= 0 and z.max() <= 1 and z.shape == (len(tracks), 16)
    assert head.weight.shape == (3, 16)


def key_clips(contexts: Contexts) -> KeyClips:
    """Of every video one at the start and one at the end: an arm that goes up, down, or first up and then down."""
    rng = np.random.default_rng(0)
    row = np.repeat(np.arange(len(contexts.label)), 2)
    late = np.tile([False, True], len(contexts.label))
    up = np.array([[1, 1], [-1, -1], [1, -1]])[contexts.label[row], late.astype(int)]
    poses = rng.normal(0, 0.02, (len(row), 5, 2, 2))
    poses[:, :, 1, 1] += up[:, None] * np.linspace(0, 1, 5)
    flat = poses.reshape(len(row), -1).astype(np.float32)
    return KeyClips(poses, flat, row, np.where(late, 20, 2), {}, Counter(), "coco")


def test_concepts_of_poses_tell_early_from_late(contexts):
    clips = key_clips(contexts)
    judge = Judge(contexts, 3)
    of_poses(judge, clips, 1, Transfer(n_concepts=4))
    assert right(rows(judge, model="concepts (poses)", role="unknown")) == 1
    seen = contexts.trained(1)
    poisoned = clips.flat.copy()
    poisoned[~seen[clips.row]] += 7
    whole, other = (of_key_clips(flat, clips.row, clips.start, seen, 4) for flat in (clips.flat, poisoned))
    assert np.array_equal(whole[seen], other[seen]) and whole.shape == (len(seen), 8)
    one = clips.row != 0  # a video without a key clip
    assert not of_key_clips(clips.flat[one], clips.row[one], clips.start[one], seen, 4)[0].any()
    with pytest.raises(NotMeasured, match="too few for concepts"):
        of_key_clips(clips.flat, clips.row, clips.start, np.zeros(len(seen), bool), 4)


def test_a_sparse_head_leaves_out_what_does_not_help():
    rng = np.random.default_rng(0)
    label = np.arange(120) % 3
    z = rng.normal(size=(120, 20))
    z[:, :3] += 4 * np.eye(3)[label]
    train = np.arange(120) < 80
    head = sparse_head(z, label, train, ~train, 3)
    assert (head.logits(z).argmax(1) == label).mean() > 0.95
    assert np.count_nonzero(head.weight[:, 3:]) < 40 and np.count_nonzero(head.weight[:, :3]) >= 3


@pytest.fixture(scope="module")
def maps(contexts) -> np.ndarray:
    """A bright place that goes up or down a 3 × 3 grid, or comes; on a background of the set that stands still."""
    rng = np.random.default_rng(0)
    found = rng.normal(0, 0.1, (len(contexts.label), 4, 3, 3, 6)).astype(np.float16)
    found += 3 * rng.normal(0, 1, (2, 1, 3, 3, 6)).astype(np.float16)[contexts.set - 1]
    for row, k in enumerate(contexts.label):
        for t in range(4):
            if k == 0 and t < 2:
                continue
            found[row, t, {0: 1, 1: (t + 1) // 2, 2: 2 - (t + 1) // 2}[int(k)], 1, 0] += 6
    return found


def test_networks_read_the_order_of_frames(contexts, maps):
    torch.set_num_threads(1)
    settings = Transfer(models=["moving", "disentangled"], seeds=1, epochs=25, batch_size=8, channels=6)
    judge = Judge(contexts, 3)
    controls = {"row": np.flatnonzero(contexts.role("known", 1))}
    controls["backward"] = maps[controls["row"]][:, ::-1]
    controls["shuffled"] = maps[controls["row"]][:, [2, 0, 3, 1]]
    looks = networks(judge, maps, controls, 1, settings)
    assert looks.values.shape == (6, 4, 3, 3) and looks.role == ["known"] * 3 + ["unknown"] * 3
    assert contexts.label[looks.row].tolist() == [0, 1, 2] * 2 and set(looks.model) == {"moving"}
    assert right(rows(judge, model="moving", role="known", background="realistic")) > 0.9
    pairs = [row for row in rows(judge, model="moving", role="backward") if contexts.partner[row["label"]] >= 0]
    assert np.mean([row["predicted"] == contexts.partner[row["label"]] for row in pairs]) > 0.9
    assert {row["model"] for row in judge.rows} == {"moving", *(f"disentangled: {v}" for v in nets.VARIANTS[1:])}
    again = Judge(contexts, 3)
    networks(again, maps, controls, 1, settings)
    assert judge.rows == again.rows


def test_networks_need_no_clips_of_single_factors(contexts, maps):
    """Real videos have none."""
    rows = ~np.isin(contexts.split, [name for name in set(contexts.split) if name.startswith("unknown_")])
    judge = Judge(contexts.take(rows), 3)
    settings = Transfer(models=["temporal"], seeds=1, epochs=1, batch_size=8, channels=6)
    networks(judge, maps[rows], {}, 1, settings)
    assert {row["role"] for row in judge.rows} == {"known", "unknown"}


def test_a_network_looks_where_it_is_told_the_class():
    """One place alone says the class."""
    torch.manual_seed(0)
    rng, label = np.random.default_rng(0), np.arange(60) % 2
    maps = rng.normal(0, 0.3, (60, 4, 9, 6)).astype(np.float32)
    maps[np.arange(60), 2, 4, 0] += np.where(label, 4, -4)
    recipe = nets.Recipe(15, 10, 3e-3, 0.1, 0.5, 1)
    x, y = torch.from_numpy(maps), torch.from_numpy(label)
    net = nets.train("base", x, y, torch.zeros_like(y), 2, recipe, 0)
    said, where = nets.attention(net, x[:8])
    assert (said == label[:8]).all() and where.shape == (8, 4, 9) and where.sum((1, 2)) == pytest.approx(1)
    assert (where.reshape(8, -1).argmax(1) == 2 * 9 + 4).all()


def test_what_stands_still_is_taken_away():
    maps = np.random.default_rng(0).normal(size=(5, 4, 2, 2, 3)).astype(np.float32)
    still = maps + np.random.default_rng(1).normal(size=(5, 1, 2, 2, 3)).astype(np.float32) * 9
    reduction = nets.reduction_of(maps, 3, True)
    assert reduction(maps, True).numpy() == pytest.approx(reduction(still, True).numpy(), abs=1e-4)
    assert np.abs(reduction(maps, False).numpy() - reduction(still, False).numpy()).max() > 1


def test_correlation_by_hand():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    assert nets.correlation(x[:, :1], x[:, 1:]).item() == pytest.approx(0, abs=1e-6)
    assert nets.correlation(x[:, :1], -x[:, :1]).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("variant", nets.VARIANTS)
def test_only_some_variants_teach_the_fine_branch_the_coarse_class(variant):
    torch.manual_seed(0)
    net = nets.Network(variant, (4, 9, 6), 3, 5)
    coarse, fine, penalty = net(torch.randn(6, 4, 9, 6))
    assert coarse.shape == (6, 3) and (fine is None) == (variant == "base")
    assert (penalty.item() > 0) == (variant in ("separation", "fusion", "through"))
    coarse.sum().backward()
    taught = hasattr(net, "fine") and any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.fine.parameters())
    assert taught == (variant == "through")


def test_texts_name_the_classes_of_the_other_set(contexts):
    table = {}

    def encode(words):
        return np.stack([table.setdefault(w, np.eye(40)[len(table) % 40]) for w in words])

    judge = Judge(contexts, 3)
    coarse = ["arriving", "rising", "falling"]
    embeddings = np.zeros((len(contexts.label), 40))
    encode([f"a video of {name}" for name in coarse])
    for row, (s, k) in enumerate(zip(contexts.set, contexts.fine, strict=True)):
        embeddings[row] += 2 * encode([contexts.fine_names[s][k]])[0]
    zero_shot(judge, embeddings, coarse, encode, [1, 2])
    assert right(rows(judge, level="fine", role="unknown", train_set=1)) == 1
    assert right(rows(judge, level="fine", role="known", train_set=2)) == 1


def test_a_set_that_cannot_be_learned_from_is_told(contexts):
    index = Index(source="synta", rendered=RENDERED)
    assert train_sets_of(contexts, index) == [1, 2]
    without = {**vars(contexts), "validation": np.zeros(len(contexts.label), bool)}
    with pytest.raises(StageError, match="set 1 has no validation video"):
        train_sets_of(Contexts(**without), index)
    seen = contexts.development & ~((contexts.set == 2) & (contexts.label == 1))
    with pytest.raises(StageError, match="set 2 has no train video of 1 coarse classes"):
        train_sets_of(Contexts(**{**vars(contexts), "development": seen}), index)
    with pytest.raises(StageError, match="compares two sets of contexts"):
        contexts_of(videos_of(index), index.model_copy(update={"source": "kth"}), None)


# ------------------------------------------------------------------------------------------------------------- figures


def predictions(rows: list[tuple]) -> Predictions:
    names = ("model", "level", "background", "role", "train_set", "seed", "label", "predicted")
    columns = {name: np.array([row[k] for row in rows]) for k, name in enumerate(names)}
    columns["video_id"] = np.array([f"v{k}" for k in range(len(rows))])
    columns["fine"] = np.zeros(len(rows), int)
    return Predictions(columns, np.array([1, 0]), {"class_names": ["a", "b"], "partner": [1, 0]})


def judged(model: str, seed: int, known: list[int], unknown: list[int], s: int = 1) -> list[tuple]:
    found = []
    for role, answers in (("known", known), ("unknown", unknown)):
        found += [(model, "coarse", "realistic", role, s, seed, 0, answer) for answer in answers]
    return found


def test_gains_are_paired_by_set_and_seed():
    rows = []
    for seed in (0, 1):
        rows += judged("moving", seed, [0, 0], [0, 1]) + judged("disentangled: fusion", seed, [0, 0], [0, 0])
    found = gains(predictions(rows))["fusion"]
    assert found["pairs"] == 2 and found["gain"] == pytest.approx(100 - 200 / 3) and found["p"] == 0.25
    lines = table(5, [predictions(rows)])
    assert lines[-1] == "| disentangled: fusion | 100.00 | – | +33.33 | 2 | 0.250 |"


def test_gains_of_tuned_runs_of_one_set_each_are_tested_together():
    runs = []
    for s in (1, 2):
        rows = judged("moving", 0, [0, 0], [0, 1], s) + judged("disentangled: fusion", 0, [0, 0], [0, 0], s)
        item = predictions(rows)
        runs.append(Predictions(item.columns, item.partner, {**item.about, "tuned": True}))
    lines = table(5, runs)
    assert lines[-1] == "| disentangled: fusion, tuned | 100.00 | 100.00 | +33.33 | 2 | 0.250 |"


def test_runs_of_one_set_each_are_put_together_and_no_set_counts_twice():
    first, second = (predictions(judged("linear", 0, [0, 0], [0, 1], s)) for s in (1, 2))
    lines = table(2, [first, second])
    assert lines[-1] == "| linear | 100.00 | 50.00 | 50.00 | 50.00 | 66.67 | [1, 2] |"
    with pytest.raises(NotMeasured, match="two of these runs judge linear on the same training set"):
        table(2, [first, first])
    for number in (3, 4, 5):
        with pytest.raises(NotMeasured):
            table(number, [first])


def test_bars_are_as_good_as_their_figures():
    base = {"d_abs": 4.0, "hm": 50.0, "inside_pairs": {"shuffled": 0.6}}
    found = bars({"temporal": base, "temporal, plain": {"hm": 70.0}, "concepts (found)": {"hm": 54.0}})
    assert [own["reached"] for own in found.values()] == [False, True, True, False]


def test_classes_without_a_reverse_have_no_pairs():
    own = predictions(
        [*judged("temporal", 0, [0, 1], [0, 0]), ("temporal", "coarse", "realistic", "shuffled", 1, 0, 0, 0)]
    )
    found = measured(Predictions(own.columns, np.array([-1, -1]), own.about))
    assert "inside_pairs" not in found["models"]["temporal"] and not any("shuffled" in bar for bar in found["bars"])
    assert np.isfinite([bar["value"] for bar in found["bars"].values()]).all()


def test_the_headline_is_of_the_best_that_is_there():
    found = measured(predictions(judged("linear", 0, [0, 1], [0, 0]) + judged("temporal", 0, [0, 0], [0, 0])))
    assert found["headline"]["value"] == 1 and "temporal" in found["headline"]["name"] and found["chance"] == 50
