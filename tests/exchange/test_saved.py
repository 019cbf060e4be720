"""Files of `torch.save` without torch; the oracle is torch's own restricted reader."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.exchange.errors import ForeignFileError
from pipeline.exchange.saved import STORAGES, load_saved

KINDS = [getattr(torch, kind) for kind in STORAGES.values()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_number(tmp_path, kind):
    tensor = torch.arange(-3, 9).reshape(3, 4).to(kind)
    torch.save({"tensors": {"a": tensor}}, tmp_path / "x.pt")
    found = load_saved(tmp_path / "x.pt")["tensors"]["a"]
    assert found.dtype == tensor.numpy().dtype and np.array_equal(found, tensor.numpy())
    assert not found.flags.writeable


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    order=st.randoms(use_true_random=False),
    first=st.integers(0, 2),
    step=st.integers(1, 2),
)
def test_views_of_storages(tmp_path_factory, shape, order, first, step):
    """Transposed, cut and strided tensors share storages; 0 dimensions and 0 elements too."""
    path = tmp_path_factory.getbasetemp() / "views.pt"
    whole = torch.arange(int(np.prod(shape)), dtype=torch.float64).reshape(shape)
    axes = list(range(len(shape)))
    order.shuffle(axes)
    turned = whole.permute(axes)
    cut = turned[first::step] if shape else turned
    value = {"whole": whole, "turned": turned, "cut": cut, "text": "é", "numbers": [1, 2.5, None, True]}
    torch.save(value, path)
    found, expected = load_saved(path), torch.load(path, weights_only=True)
    for name in ("whole", "turned", "cut"):
        assert found[name].shape == tuple(expected[name].shape)
        assert np.array_equal(found[name], expected[name].numpy())
    assert found["text"] == value["text"] and found["numbers"] == value["numbers"]


class Runs:
    def __reduce__(self):
        return eval, ("1 + 1",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"x": Runs()}, "would have to be executed"),
        ({"x": torch.zeros(2, dtype=torch.bfloat16)}, "BFloat16Storage"),
        ({"x": torch.nn.Linear(2, 2)}, "would have to be executed"),
        ({"x": torch.zeros(2).to_sparse()}, "would have to be executed"),
    ],
)
def test_what_is_refused(tmp_path, value, words):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(ForeignFileError, match=words):
        load_saved(tmp_path / "x.pt")


def rewritten(path, change, packed=False) -> None:
    """Write the zip again with changed entries."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(name, change(name, content))


def test_hostile_files(tmp_path):
    path = tmp_path / "x.pt"

    def fresh():
        torch.save({"a": torch.arange(6.0).reshape(2, 3)}, path)

    fresh()
    rewritten(path, lambda name, content: content)
    assert load_saved(path)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    fresh()
    rewritten(path, lambda name, content: content, packed=True)
    with pytest.raises(ForeignFileError, match="are packed"):
        load_saved(path)
    fresh()
    rewritten(path, lambda name, content: content[:-4] if "/data/" in name else content)
    with pytest.raises(ForeignFileError, match="larger than its storage"):
        load_saved(path)
    fresh()
    rewritten(path, lambda name, content: b"big" if name.endswith("byteorder") else content)
    assert load_saved(path)["a"][0, 1] == np.frombuffer(np.float32(1).tobytes()[::-1], "<f4")[0]
    for content in (b"", b"PK\x03\x04", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(ForeignFileError, match="damaged"):
            load_saved(path)


def test_a_dictionary_with_an_order_of_its_own_is_not_ours(tmp_path):
    """Hooks of tensors are empty OrderedDicts; one with items is refused or read as what it holds, never executed."""
    buffer = io.BytesIO()
    torch.save(OrderedDict(a=torch.ones(1)), buffer)
    (tmp_path / "x.pt").write_bytes(buffer.getvalue())
    assert load_saved(tmp_path / "x.pt")["a"].tolist() == [1.0]
