"""The network, its losses and its protocols, against loops, known answers and a learner that cheats."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from pipeline.demo.graphs import class_names, draw_graphs
from pipeline.demo.settings import Graphs as Generated
from pipeline.graphs.scene import Scenes, star
from pipeline.methods.proda import baselines, protocols, state
from pipeline.methods.proda.answers import answer, groups, prompt_share
from pipeline.methods.proda.batches import batch, sizes_of
from pipeline.methods.proda.evaluate import Figure, prompt_rows, warnings_of
from pipeline.methods.proda.fit import Rows, encoded, first_loss, fit
from pipeline.methods.proda.losses import correlation, draw_prompt, injected, reconstruction, specify, targets
from pipeline.methods.proda.network import Graphs, OtherNorm, ProDA, VGNorm
from pipeline.methods.proda.predict import check_fits, predictions
from pipeline.methods.proda.settings import Loss, Network
from pipeline.methods.proda.settings import ProDA as Settings
from pipeline.store.atomic import ArtifactError, StageError

TRAINING = {
    "batch_size": 8,
    "first": {"epochs": 1, "recipes": ["mixed"]},
    "second": {"epochs": 1, "recipes": ["paper"]},
}


def settings(**network) -> Settings:
    own = {"width": 8, "heads": 2, **network}
    return Settings.model_validate({"frames": 12, "asked": 4, "network": own, "training": TRAINING})


@pytest.fixture(scope="module")
def drawn() -> tuple[Scenes, np.ndarray]:
    """48 scenes and truth."""
    own = Generated(train=32, test=16, shifted=0)
    found = list(draw_graphs(own))
    truth = np.zeros((len(found), len(class_names(own))), bool)
    for row, (planned, _) in enumerate(found):
        truth[row, list(planned.labels())] = True
    n, edges = len(found), np.array(star(5), np.int16)
    scenes = Scenes(
        [planned.video_id for planned, _ in found],
        np.arange(n + 1) * own.frames,
        np.tile(np.arange(own.frames, dtype=np.float32), n),
        np.stack([each.node_class for _, each in found]),
        np.concatenate([each.present for _, each in found]),
        np.concatenate([each.box for _, each in found]),
        np.repeat(edges[None], n, 0),
        np.concatenate([np.concatenate([each.relations] * 2, 1) for _, each in found]),
        np.concatenate([each.features for _, each in found]).astype(np.float16),
    )
    return scenes, truth


def network_of(scenes: Scenes, own: Settings) -> ProDA:
    torch.manual_seed(0)
    return ProDA(sizes_of(scenes, 12, 5, own.frames), own.network).eval()


def outputs(network: ProDA, graphs: Graphs, prompt: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        graph = network.encode(graphs)
        found = network.disentangle(graph, prompt)
        s, t = network.read_s(found.specified, graph.present), network.read_t(found.fused, graph.present)
        return [s.logits, t.logits, s.frames, network.read_m(graph.nodes, graph.present).logits]


# --------------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("mean", ["batch", "running"])
@pytest.mark.parametrize("training", [True, False])
def test_vgnorm_is_its_loops(mean, training):
    draw = torch.Generator().manual_seed(0)
    x, present = torch.randn(3, 4, 5, 6, generator=draw), torch.rand(3, 4, 5, generator=draw) > 0.3
    present[:, :, 0] = True
    norm = VGNorm(4, 0.9, mean).train(training)
    with torch.no_grad():
        for part in (norm.alpha, norm.scale, norm.shift):
            part.copy_(torch.rand(4, generator=draw) + 0.5)
        norm.mean.copy_(torch.rand(4, generator=draw))
    running = norm.mean.numpy().copy()
    found = norm(x, present).detach().numpy()
    values, there = x.numpy().astype(np.float64), present.numpy()
    for n in range(4):
        own = np.mean([values[b, n, m, d] for b in range(3) for m in range(5) if there[b, n, m] for d in range(6)])
        if training:
            running[n] = 0.9 * running[n] + 0.1 * own
        used = own if training and mean == "batch" else running[n]
        for b in range(3):
            centred = {m: values[b, n, m] - norm.alpha[n].item() * used for m in range(5) if there[b, n, m]}
            deviation = np.sqrt(sum((own**2).sum() for own in centred.values()) / (len(centred) * 6 - 1) + 1e-5)
            for m in range(5):
                wanted = np.zeros(6)
                if m in centred:
                    wanted = norm.scale[n].item() * centred[m] / deviation + norm.shift[n].item()
                assert np.allclose(found[b, n, m], wanted, atol=1e-5)
    assert np.allclose(norm.mean.numpy(), running, atol=1e-6)


def test_the_authors_variance_counts_nodes_and_width_once():
    x, present = torch.randn(2, 3, 4, 5), torch.ones(2, 3, 4, dtype=torch.bool)
    ours, theirs = (VGNorm(3, variance=kind).eval()(x, present) for kind in ("valid", "authors"))
    assert torch.allclose(ours * np.sqrt((4 + 5 - 1) / (4 * 5 - 1)), theirs, atol=1e-4)


@pytest.mark.parametrize("norm", ["vgnorm", "layer", "graph"])
@pytest.mark.parametrize("prompt", ["dynamic", "simple"])
def test_padding_changes_nothing(drawn, norm, prompt):
    scenes, truth = drawn
    network = network_of(scenes, settings(norm=norm, prompt=prompt))
    graphs, asked = batch(scenes, np.arange(6), 12), torch.from_numpy(truth[:6].astype(np.float32))
    more, far = 3, 7
    padded = Graphs(
        torch.cat([graphs.features, torch.randn(6, 12, more, 16) * far], 2),
        torch.cat([graphs.box, torch.rand(6, 12, more, 4)], 2),
        torch.cat([graphs.present, torch.zeros(6, 12, more, dtype=torch.bool)], 2),
        torch.cat([graphs.node_class, torch.full((6, more), 2)], 1),
        torch.cat([graphs.edges, torch.tensor([[0, 6], [1, 2]]).expand(6, 2, 2)], 1),
        torch.cat([graphs.listed, torch.zeros(6, 2, dtype=torch.bool)], 1),
        torch.cat([graphs.relations, torch.ones(6, 12, 2, 4)], 2),
    )
    for found, wanted in zip(outputs(network, padded, asked), outputs(network, graphs, asked), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)
    unseen = graphs._replace(features=graphs.features.clone(), box=graphs.box.clone())
    unseen.features[:, :, 1:][~graphs.present] = 9.0
    unseen.box[~graphs.present] = 0.5
    for found, wanted in zip(outputs(network, unseen, asked), outputs(network, graphs, asked), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


def test_without_masks_padding_takes_part(drawn):
    scenes, _ = drawn
    network = network_of(scenes, settings(mask_padding=False))
    graphs = batch(scenes, np.arange(4), 12)
    changed = graphs._replace(box=graphs.box.clone())
    changed.box[~graphs.present] = 0.5
    prompt = torch.zeros(4, 12)
    assert not torch.allclose(outputs(network, graphs, prompt)[1], outputs(network, changed, prompt)[1], atol=1e-4)


def test_objects_permuted(drawn):
    scenes, truth = drawn
    network = network_of(scenes, settings())
    graphs, asked = batch(scenes, np.arange(6), 12), torch.from_numpy(truth[:6].astype(np.float32))
    order = torch.tensor([0, 3, 1, 4, 2])  # the person stays
    place = torch.argsort(order)
    permuted = graphs._replace(
        features=graphs.features[:, :, torch.cat([torch.zeros(1, dtype=torch.long), order + 1])],
        box=graphs.box[:, :, order],
        present=graphs.present[:, :, order],
        node_class=graphs.node_class[:, order],
        edges=place[graphs.edges],
    )
    for found, wanted in zip(outputs(network, permuted, asked), outputs(network, graphs, asked), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


def test_other_norms_give_finite_values_where_nothing_is():
    x, present = torch.randn(2, 3, 4, 8), torch.zeros(2, 3, 4, dtype=torch.bool)
    for kind in ("layer", "batch", "graph"):
        found = OtherNorm(kind, 8, 3)(x, present)
        assert torch.isfinite(found).all() and (found == 0).all()


# ---------------------------------------------------------------------------------------------------------- the losses


def test_correlation_is_that_of_numpy_over_what_is_present():
    draw = torch.Generator().manual_seed(1)
    a, b = torch.randn(3, 4, 5, 6, generator=draw), torch.randn(3, 4, 5, 6, generator=draw)
    b[0] = 2 * a[0] + 1
    b[1] = -a[1]
    present = torch.rand(3, 4, 5, generator=draw) > 0.4
    found = correlation(a, b, present)
    wanted = [np.corrcoef(a[i][present[i]].ravel(), b[i][present[i]].ravel())[0, 1] for i in range(3)]
    assert np.allclose(found, wanted, atol=1e-5) and np.allclose(found[:2], [1, -1], atol=1e-5)
    batch_wise = correlation(a, b, present, "batch")
    assert np.allclose(batch_wise, np.corrcoef(a[present].ravel(), b[present].ravel())[0, 1], atol=1e-5)


def test_reconstruction_counts_what_is_present_and_spares_the_margin():
    present = torch.zeros(2, 1, 3, dtype=torch.bool)
    present[0, 0, 0] = present[1, 0, :2] = True
    target, found = torch.zeros(2, 1, 3, 4), torch.full((2, 1, 3, 4), 2.0)
    found[1] = 0.1
    assert reconstruction(target, found, present, Loss()).item() == pytest.approx((4 - 0.3) / 2)


def test_specifications_of_the_paper():
    """(13) to (16): L true alone, 0 … L true among K; the rest is the UAP; empty halves say "no action"."""
    labels, actions = np.array([77, 79, 80, 76, 75]), 157
    seen = set()
    for seed in range(300):
        chosen = draw_prompt(labels, actions, 16, "paper", np.random.default_rng(seed))
        true = int(np.isin(chosen, labels).sum())
        assert len(set(chosen.tolist())) == len(chosen) and (len(chosen) == 16 or len(chosen) == true)
        seen.add((len(chosen) == 16, true))
    assert seen == {(False, i) for i in range(1, 6)} | {(True, i) for i in range(6)}
    truth = np.zeros((3, actions), bool)
    truth[:2, labels] = True
    prompt = np.zeros((3, actions), bool)
    prompt[0, labels] = prompt[1, [0, 77]] = prompt[2, :16] = True
    own = targets(truth, prompt)
    uap = 1 - own.prompt
    assert ((own.prompt + uap) == 1).all() and uap[0].sum() == 152
    assert own.specified[:, :-1].sum(1).tolist() == [5, 1, 0] and own.unspecified[:, :-1].sum(1).tolist() == [0, 4, 0]
    assert own.specified[:, -1].tolist() == [0, 0, 1] and own.unspecified[:, -1].tolist() == [1, 0, 1]
    none = draw_prompt(np.array([], int), actions, 16, "paper", np.random.default_rng(0))
    assert len(none) == 16
    assert len(injected(np.arange(20), 18, actions, 16, np.random.default_rng(0))) == 16


def test_independent_prompts_read_no_label(drawn):
    _, truth = drawn
    ids = [str(row) for row in range(len(truth))]
    first = specify(truth, ids, 4, "independent", 0, 3).prompt
    second = specify(~truth, ids, 4, "independent", 0, 3).prompt
    assert torch.equal(first, second) and (first.sum(1) == 4).all()
    assert not torch.equal(first, specify(truth, ids, 4, "independent", 0, 4).prompt)


@pytest.mark.parametrize(
    "loss",
    [{"unspecified": "adaptive"}, {"margins": "annealed"}, {"correlation": "batch", "reconstruction": "batch"}],
)
def test_every_decision_of_the_losses_gives_gradients(drawn, loss):
    scenes, truth = drawn
    own = settings(auxiliary=True).model_copy(update={"loss": Loss.model_validate(loss)})
    network = network_of(scenes, own).train()
    rows = np.arange(8)
    wanted = specify(truth[rows], [scenes.video_id[row] for row in rows], 4, "paper", 0, 0)
    value = first_loss(network, batch(scenes, rows, 12), torch.from_numpy(truth[rows]).float(), wanted, own, 0.5)
    value.backward()
    assert torch.isfinite(value)
    silent = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert all(name.startswith("read_m.") for name in silent)


def test_the_prompts_part_of_an_answer(drawn):
    """A network that sees no video is at 1, one that sees no prompt at 0."""
    own = settings(prompt="simple")
    network, prompts = network_of(drawn[0], own), groups(12, 4, 1)
    graph = encoded(network, drawn[0], own.frames)
    assert 0 < prompt_share(network, graph, prompts) < 1
    with torch.no_grad():
        alike = graph._replace(nodes=graph.nodes[:1].expand_as(graph.nodes), edges=torch.zeros_like(graph.edges))
        same = graph._replace(present=graph.present[:1].expand_as(graph.present))
        alike = alike._replace(present=same.present, shown=graph.shown[:1].expand_as(graph.shown))
        assert prompt_share(network, alike, prompts) == pytest.approx(1)
        for part in (network.prompt_s, network.prompt_u):
            part.project.weight.zero_()
        assert prompt_share(network, graph, prompts) == pytest.approx(0, abs=1e-6)


# ------------------------------------------------------------------------------------------------ training, prediction


def test_test_labels_changed_or_deleted_leave_predictions_as_they_are(drawn):
    """To the bit: neither training nor prediction opens them."""
    scenes, truth = drawn
    own = settings()
    train, val, test = np.arange(24), np.arange(24, 32), np.arange(32, 48)

    def predicted(labels: np.ndarray) -> dict[str, np.ndarray]:
        parts = [Rows(scenes.take(rows), labels[rows]) for rows in (train, val)]
        fitted = fit(*parts, sizes_of(scenes, 12, 5, 12), own)
        return predictions(fitted.network, scenes.take(test), own)

    plain = predicted(truth)
    for changed in (np.concatenate([truth[:32], ~truth[32:]]), np.concatenate([truth[:32], np.zeros_like(truth[32:])])):
        found = predicted(changed)
        assert all(np.array_equal(found[name], plain[name]) for name in plain)
    other = predicted(np.concatenate([~truth[:24], truth[24:]]))
    assert not np.array_equal(other["headline"], plain["headline"])


def test_phase_two_changes_two_readouts_alone(drawn):
    scenes, truth = drawn
    rows = Rows(scenes.take(np.arange(32)), truth[:32])
    without = settings().model_copy(deep=True)
    fitted = fit(rows, rows, sizes_of(scenes, 12, 5, 12), without)
    assert [line["phase"] for line in fitted.curve] == [1, 2] and fitted.chosen["second"]["recipe"] == "paper"
    first = fitted.chosen["first"]["validation"]
    assert fitted.chosen["second"]["readout_t"] == (
        "second" if fitted.chosen["second"]["validation"] > first else "first"
    )


def test_prompts_of_the_headline_ask_every_action_in_every_shuffle():
    prompts = groups(10, 4, 3)
    assert prompts.shape == (9, 10) and (prompts.sum(1) == 4).all()
    for start in range(0, 9, 3):
        assert (prompts[start : start + 3].sum(0) >= 1).all()
    assert groups(157, 16, 3).shape == (30, 157)


def test_asked_is_read_in_the_actions_own_groups(drawn):
    scenes, _ = drawn
    network = network_of(scenes, settings())
    graph = encoded(network, scenes, 12)
    prompts = groups(12, 4, 2)
    found = answer(network, graph, prompts)
    own = [prompt for prompt in prompts if prompt[5]]
    with torch.no_grad():
        wanted = torch.stack(
            [
                torch.sigmoid(
                    network.read_s(network.disentangle(graph, prompt.expand(48, -1)).specified, graph.present).logits[
                        :, 5
                    ]
                )
                for prompt in own
            ]
        ).mean(0)
    assert torch.allclose(found.asked[:, 5], wanted, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- the protocols


def test_map_is_that_of_sklearn_without_ties():
    draw = np.random.default_rng(0)
    scores, truth = draw.random((60, 5)), draw.random((60, 5)) < 0.3
    truth[:, 4] = False
    truth[~truth.any(1), 0] = True
    value, empty = protocols.charades_map(scores, truth)
    wanted = [average_precision_score(truth[:, c], scores[:, c]) for c in range(4)]
    assert value == pytest.approx(np.mean(wanted)) and empty == 1


def test_ties_keep_the_order_of_the_list_and_unlabelled_videos_come_last():
    truth = np.array([[0, 1], [1, 0], [0, 0]], bool)
    assert protocols.charades_map(np.zeros((3, 2)), truth)[0] == pytest.approx((1 / 2 + 1) / 2)
    assert protocols.charades_map(np.array([[0, 0.5], [0.5, 0], [9, 9]]), truth)[0] == 1


def test_25_points_by_hand():
    assert protocols.points(np.array([50.0]))[0, [0, 1, 24]].tolist() == [0, 2, 48]
    truth = protocols.point_truth([[(0, 2.0, 6.0), (1, 47.0, 50.0)]], np.array([50.0]), 3)
    assert np.flatnonzero(truth[0, :, 0]).tolist() == [1, 2, 3]  # both ends belong to a segment
    assert np.flatnonzero(truth[0, :, 1]).tolist() == [24] and not truth[0, :, 2].any()
    frames, times = np.array([[[0.1, 0.9], [0.5, 0.5], [0, 0]]]), np.array([[0.0, 50.0]])
    scores = protocols.at_points(np.array([[1.0, 0.5, 1.0]]), frames, times, np.array([50.0]))
    assert scores[0, 12, 0] == pytest.approx(0.1) and scores[0, 13, 0] == pytest.approx(0.9)
    assert scores[0, 0, 1] == pytest.approx(0.25)
    perfect = truth.astype(float)
    assert protocols.localisation_map(perfect, truth) == 1


def test_tables_8_and_9_by_hand():
    frames = np.array([[1.0, 0.8, 0.1, 0.0], [0.2, 0.2, 0.2, 0.2]])
    shown = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool)
    grid = protocols.grid(frames, shown, np.array([0, 2]), 4)
    # The first row is right at every θ up to .5, at .7 it keeps one frame (.64 < .7): IoU .5 exceeds .2 alone. The
    # second keeps all frames: IoU .25. Two of the four classes are absent and count as 0.
    assert grid[0].tolist() == [0.5, 0.25, 0.25] and grid[2].tolist() == [0.5, 0, 0]


def test_parts_that_are_found():
    shown = np.ones((4, 3), bool)
    owned = np.zeros((4, 3), bool)
    owned[1:3, 1] = True
    edges = np.where(owned, 0.9, 0.2)
    edges[[0, 3], 0] = 1.0  # outside of the action another node has more weight
    found = protocols.found_parts(np.array([0.1, 0.9, 0.8, 0.1]), edges, shown, owned)
    assert found["frame_auroc"] == 1 and found["node_hit"] == 1 and found["node_hit_w_alone"] == 0
    assert found["edge_auroc"] == 1 and found["edge_auroc_w_alone"] < 1
    assert found["node_hit_chance"] == pytest.approx(1 / 3)


def test_a_learner_of_prompt_and_presence_is_exposed():
    """It looks at no relation, and the published tables praise it; both warnings fire."""
    draw = np.random.default_rng(0)
    truth = draw.random((300, 12)) < 0.15
    truth[~truth.any(1), 0] = True
    presence = np.clip(truth.reshape(300, 4, 3).any(2).repeat(3, 1) * 0.3, 1e-3, 1)
    cells = protocols.by_label_count(truth, 4, False, draw, 16)
    values = protocols.table_6_7(cells, [prompt * presence[rows] for _, _, rows, prompt in cells], truth)
    assert min(mean for mean, _ in values.values()) >= 0.99
    rows, prompts = prompt_rows(truth, 4)
    assert len(rows) == (2 * truth.sum(1) + 1).sum()
    told = protocols.charades_map(prompts + presence[rows], truth[rows])[0]
    headline = protocols.charades_map(presence, truth)[0]
    said = warnings_of(
        [
            Figure("test", "label_free", "headline", headline),
            Figure("test", "label_free", "presence_lr", headline, True),
            Figure("test", "oracle", "a_t", told),
        ]
    )
    assert len(said) == 2 and "gives labels away" in said[0] and "learned little more" in said[1]
    assert not warnings_of(
        [Figure("t", "label_free", "headline", 0.9), Figure("t", "label_free", "presence_lr", 0.5, True)]
    )


def test_regressions_see_what_is_there_and_how_it_is_related(drawn):
    scenes, truth = drawn
    objects = baselines.presence(scenes, 5)
    assert objects.shape == (48, 4)
    used = truth.reshape(48, 4, 3).any(2)
    assert (objects[used] == 1).mean() > 0.95  # an object may be missing in every frame
    related = baselines.relations(scenes, 5)
    assert related.shape == (48, 5 * 5) and (related.reshape(48, 5, 5)[:, 1:] <= 1).all()
    (scores,) = baselines.regression(related, truth, [related])
    assert protocols.charades_map(scores, truth)[0] > protocols.charades_map(np.zeros_like(scores), truth)[0]
    constant = np.zeros((48, 1), bool)
    assert (baselines.regression(objects, constant, [objects])[0] == 0).all()


def test_heads_must_fit_the_width():
    with pytest.raises(ValueError, match="multiple of `heads`"):
        Network(width=10, heads=4)


def test_leak_table_of_charades(real_data):
    from pipeline.methods.proda.leak import measure

    found = measure(real_data / "charades")
    assert (found["videos"], found["without_label"], found["more_labels"]) == (1863, 49, 70)
    for name, published in (("chance", 0.059), ("presence", 0.539), ("presence_and_prompt", 0.735), ("table_6", 0.997)):
        assert found[name] == pytest.approx(published, abs=0.01), name


@pytest.mark.parametrize("size", ["frames", "actions", "relations", "features", "node_classes"])
def test_weights_of_other_graphs_are_refused(drawn, size):
    """A model whose weights are for other N, C or R is one line, whatever its sizes claim."""
    own = settings()
    network = network_of(drawn[0], own)
    sizes = {**network.sizes._asdict(), size: getattr(network.sizes, size) + 1}
    with pytest.raises(ArtifactError, match="do not fit the network of ProDA"):
        state.network_of(sizes, own.model_dump(mode="json"), network.state_dict())


def test_graphs_of_another_kind_are_refused(drawn):
    scenes, network = drawn[0], network_of(drawn[0], settings())
    described = {"node_classes": ["person", "cup"], "relation_names": ["near", "contact"], "topology": "star"}
    trained = {**described, "nodes": int(scenes.node_class.shape[1])}
    check_fits(network, scenes, described, trained)
    with pytest.raises(StageError, match=r"relation_names \['near', 'contact'\]; these have \['near'\]"):
        check_fits(network, scenes, {**described, "relation_names": ["near"]}, trained)
    wide = dataclasses.replace(scenes, features=np.repeat(scenes.features, 2, 2))
    with pytest.raises(StageError, match="features of 16 numbers; these have 32"):
        check_fits(network, wide, described, trained)
