"""The network against a plain one that is written apart, and what its stages keep."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.methods.pcmci.network import Network
from pipeline.methods.pcmci.settings import Network as Settings

SMALL = {"width": 16, "heads": 4, "feedforward": 24, "temperature": 0.07}


def network(seed=0, n_labels=6, **settings):
    texts = torch.randn(n_labels, 16, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(seed)
    return Network(texts, 12, Settings(**{**SMALL, **settings})).eval()


def videos(n=3, frames=7, tokens=5, seed=1):
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, frames, 16, generator=random)
    return torch.randn(n, tokens, 12, generator=random), functional.normalize(rows, dim=2)


class Plain(nn.Module):
    """Label queries over tokens, one layer of a decoder, a classifier per label: written without a look at ours."""

    def __init__(self, texts):
        super().__init__()
        self.texts = texts
        self.tokens = nn.Linear(12, 16)
        self.ask = nn.Linear(16, 16)
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.n1, self.n2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.f1, self.f2 = nn.Linear(16, 24), nn.Linear(24, 16)
        self.w = nn.Parameter(torch.randn(len(texts), 16) / 4)
        self.b = nn.Parameter(torch.full((len(texts),), -1.0))

    def forward(self, tokens):
        keys = self.tokens(tokens)
        asked = self.ask(self.texts[None]).expand(len(keys), -1, -1)
        heads = [rows.unflatten(2, (4, 4)).transpose(1, 2) for rows in (self.q(asked), self.k(keys), self.v(keys))]
        found = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        z = self.n1(asked + self.o(found))
        z = self.n2(z + self.f2(functional.relu(self.f1(z))))
        return (z * self.w).sum(2) + self.b


def test_without_stages_it_is_bit_equal_to_a_plain_network():
    own = network(stages=[])
    torch.manual_seed(0)
    plain = Plain(own.texts)
    tokens, frames = videos()
    assert torch.equal(own(tokens, frames), plain(tokens))
    for loss in (own(tokens, frames).square().sum(), plain(tokens).square().sum()):
        loss.backward()
    assert torch.equal(own.tokens.weight.grad, plain.tokens.weight.grad)


def test_ich_begins_as_the_plain_network():
    tokens, frames = videos()
    assert torch.equal(network(stages=["ICH"])(tokens, frames), network(stages=[])(tokens, frames))


def test_stages_leave_the_plain_weights_alone():
    plain = network(stages=[]).state_dict()
    for stages in itertools.permutations(["ICH", "ICI", "IVC"]):
        own = network(stages=list(stages)).state_dict()
        assert all(torch.equal(own[name], value) for name, value in plain.items())


def test_ici_alone_sees_no_video():
    own = network(stages=["ICI"])
    texts = [own.steps(*videos(seed=seed))[0] for seed in (1, 2)]
    assert texts[0].shape[0] == 1 and torch.equal(*texts)
    after = network(stages=["ICH", "ICI"])
    nn.init.normal_(after.stages["ICH"].join.weight)
    assert not torch.allclose(after.steps(*videos(seed=1))[0], after.steps(*videos(seed=2))[0])


@pytest.mark.parametrize("stages", [list(order) for order in itertools.permutations(["ICH", "ICI", "IVC"])])
def test_every_order_is_a_network(stages):
    own = network(stages=stages)
    tokens, frames = videos()
    logits = own(tokens, frames)
    assert logits.shape == (3, 6)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in own.parameters())


def test_order_matters():
    tokens, frames = videos()
    torch.manual_seed(3)
    first, second = network(stages=["ICH", "ICI"]), network(stages=["ICI", "ICH"])
    weights = {name: torch.randn_like(value) for name, value in first.stages.state_dict().items()}
    first.stages.load_state_dict(weights)
    second.stages.load_state_dict(weights)
    assert not torch.allclose(first(tokens, frames), second(tokens, frames))


def test_permuted_frames_change_nothing_and_padding_neither():
    own = network(stages=["ICH", "ICI", "IVC"])
    nn.init.normal_(own.stages["ICH"].join.weight)
    tokens, frames = videos()
    expected = own(tokens, frames)
    assert torch.allclose(own(tokens, frames[:, torch.randperm(7)]), expected, atol=1e-4)
    padded = torch.cat([frames, frames[:, :2]], 1)
    mask = torch.tensor([True] * 7 + [False] * 2).expand(3, -1)
    assert torch.allclose(own(tokens, padded, mask), expected, atol=1e-4)
    assert not torch.allclose(own(tokens, padded), expected, atol=1e-4)


def test_evidence_is_the_frames_that_match():
    own = network(stages=["ICH"], temperature=0.01)
    frames = own.texts[None, [3, 0, 5]]
    assert torch.allclose(own.evidence(frames)[0, [0, 3, 5]], own.texts[[0, 3, 5]], atol=1e-3)


def test_population_evidence_is_the_same_for_all_videos():
    own = network(stages=["ICH"], marginal="population")
    nn.init.normal_(own.stages["ICH"].join.weight)
    own.set_population(torch.randn(6, 16))
    tokens, _ = videos()
    assert torch.equal(own(tokens, videos(seed=1)[1]), own(tokens, videos(seed=2)[1]))


def test_another_width_is_projected():
    torch.manual_seed(0)
    own = Network(torch.randn(6, 20), 12, Settings(**SMALL))
    frames = functional.normalize(torch.randn(3, 7, 20), dim=2)
    assert own(videos()[0], frames).shape == (3, 6)


@pytest.mark.parametrize(
    "change",
    [{"mix": "features"}, {"label_attention": True}, {"frames_as_tokens": True}, {"heads": 2}, {"refine": "mean"}],
)
def test_every_form_is_another_network(change):
    tokens, frames = videos()
    own, usual = network(**change), network()
    assert own(tokens, frames).shape == (3, 6)
    for each in (own, usual):
        nn.init.constant_(each.stages["ICH"].join.weight, 0.3)
    assert not torch.allclose(own(tokens, frames), usual(tokens, frames))


def test_intervening_on_a_label_replaces_it_by_the_mean():
    own = network(stages=["ICH", "ICI"])
    tokens, frames = videos(n=1)
    none = torch.zeros(1, 6, dtype=torch.bool)
    assert torch.equal(own(tokens, frames, replaced=none), own(tokens, frames))
    changed = own(tokens, frames, replaced=none.index_fill(1, torch.tensor(2), True))
    assert (changed - own(tokens, frames)).abs().min() > 0  # labels mix in ICI
    plain = network(stages=[])
    alone = plain(tokens, frames, replaced=none.index_fill(1, torch.tensor(2), True)) - plain(tokens, frames)
    assert alone[0, 2] != 0 and torch.equal(alone[0, [0, 1, 3, 4, 5]], torch.zeros(5))


def test_tuning_text_trains_text_alone():
    own = network()
    text, visual = own.tuned("text"), own.tuned("visual")
    named = {id(weight): name for name, weight in own.named_parameters()}
    trained = {named[id(weight)] for weight in text}
    assert all(name.startswith(("stages.ICH", "stages.ICI", "decoder.weight", "decoder.bias")) for name in trained)
    assert len(text) < len(visual) == len(list(own.parameters()))


def test_bad_networks_are_told():
    for labels, settings, words in (
        (1, {}, "name at least two"),
        (6, {"stages": ["ICH", "ICH"]}, "names a stage twice"),
        (6, {"heads": 5}, "no multiple of the 5 heads"),
    ):
        with pytest.raises(ValueError, match=words):
            network(n_labels=labels, **settings)
