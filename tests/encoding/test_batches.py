from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from pipeline.encoding.batches import (
    Collector,
    Shrinking,
    Stopwatch,
    ToDevice,
    ahead,
    encode_rows,
    in_batches,
    seen_frames,
)
from pipeline.store.atomic import StageError

CPU = torch.device("cpu")


FULL = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


class SmallMemory:
    """A network on a GPU that holds so many rows at once; raises as torch does when there are more."""

    def __init__(self, holds: int, error: Exception = FULL):
        self.holds, self.seen, self.error = holds, [], error

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) > self.holds:
            raise self.error
        self.seen.append(len(rows))
        return rows * 2.0


@pytest.mark.parametrize(
    "error", [FULL, RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")]
)
def test_a_batch_that_does_not_fit_is_halved_and_the_run_goes_on(error):
    network = SmallMemory(3, error)
    rows = np.arange(40, dtype=np.uint8).reshape(20, 2)
    result = encode_rows(rows, network, 16, CPU, "rows")
    np.testing.assert_array_equal(result, rows * 2.0)
    # 16 → 8 → 4 → 2 at the first batch, and never more after it.
    assert network.seen == [2] * 10


def test_other_errors_of_the_network_are_not_taken_for_lack_of_memory():
    network = SmallMemory(3, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        encode_rows(np.zeros((8, 2), np.uint8), network, 8, CPU, "rows")


def test_only_the_frames_that_are_wanted_go_to_the_device():
    source, seen = np.arange(24, dtype=np.uint8).reshape(4, 6), []

    def run(rows):
        seen.append(tuple(rows.shape))
        return rows.float()

    for rows in (source, iter([source[:1], source[1:]])):
        result = encode_rows(seen_frames(rows, lambda n: np.array([0, n - 1])), run, 3, CPU, "rows")
        np.testing.assert_array_equal(result, source[:, [0, 5]])
    assert seen == [(3, 2), (1, 2)] * 2


def test_shrinking_stays_small_for_what_comes_later():
    network = SmallMemory(3)
    shrinking = Shrinking(network, 8)
    for count in (8, 8, 5):
        np.testing.assert_array_equal(shrinking(torch.ones(count, 1)), np.full((count, 1), 2.0))
    assert shrinking.size == 2 and max(network.seen) == 2


def test_a_single_row_that_does_not_fit_is_told():
    with pytest.raises(StageError, match=r"memory cannot hold the network and a single item; .* runtime\.device"):
        encode_rows(np.zeros((4, 2), np.uint8), SmallMemory(0), 4, CPU, "rows")


def test_rows_are_read_ahead_of_their_encoding():
    """While one batch is encoded, the next ones have been read: the reader is at least one batch ahead."""
    read, reading = [], threading.Event()

    def blocks():
        for start in (0, 2, 4):
            read.append(start)
            if start >= 2:
                reading.set()
            yield np.full((2, 1), start, np.uint8)

    def run(rows):
        if int(rows[0, 0]) == 0:
            assert reading.wait(10), "nothing was read while the first batch was encoded"
        return rows.float()

    result = encode_rows(blocks(), run, 2, CPU, "rows")
    assert result[:, 0].tolist() == [0, 0, 2, 2, 4, 4] and read == [0, 2, 4]


@pytest.mark.parametrize("sizes", [(7,), (1,) * 7, (3, 0, 4), (5, 2), (2, 2, 2, 1), ()])
@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_batches_are_full_however_rows_are_read(sizes, size):
    rows = np.arange(2 * sum(sizes)).reshape(-1, 2)
    blocks = np.split(rows, np.cumsum(sizes)[:-1]) if sizes else []
    batches = list(in_batches(iter(blocks), size))
    assert [len(batch) for batch in batches] == [len(rows[k : k + size]) for k in range(0, len(rows), size)]
    np.testing.assert_array_equal(np.concatenate([rows[:0], *batches]), rows)
    for one, other in zip(batches, in_batches(rows, size), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_error_of_the_reader_reaches_the_caller():
    def blocks():
        yield np.zeros((4, 1), np.uint8)
        raise StageError("the file was changed")

    with pytest.raises(StageError, match="the file was changed"):
        encode_rows(blocks(), SmallMemory(4), 4, CPU, "rows")


def test_half_precision_results_stay_half():
    assert encode_rows(np.ones((3, 2), np.uint8), lambda rows: rows.half(), 2, CPU, "rows").dtype == np.float16
    assert encode_rows(np.ones((3, 2), np.uint8), lambda rows: rows.bfloat16(), 2, CPU, "rows").dtype == np.float32


def test_no_rows_give_nothing():
    assert encode_rows(np.zeros((0, 2), np.uint8), SmallMemory(1), 4, CPU, "rows") is None


def test_what_is_made_ahead_comes_in_order_and_so_does_its_error():
    def make():
        yield from range(5)
        raise ValueError("no sixth")

    taken = []
    with pytest.raises(ValueError, match="no sixth"):
        for item in ahead(make()):
            taken.append(item)
    assert taken == [0, 1, 2, 3, 4]


def test_leaving_early_ends_the_maker():
    made = []

    def make():
        for item in range(1000):
            made.append(item)
            yield item

    before = threading.active_count()
    for item in ahead(make()):
        if item == 3:
            break
    # The generator is closed when it is collected; its thread ends within the join of its `finally`.
    assert threading.active_count() <= before and len(made) < 20


def test_rows_of_many_callers_share_a_batch():
    sizes = []

    def run(rows):
        sizes.append(len(rows))
        return rows * 10

    collector, got = Collector(run, 4), {}
    for name, count in (("a", 3), ("b", 2), ("c", 0), ("d", 5), ("e", 1)):
        collector.add(torch.full((count, 1), float(count)), lambda rows, name=name: got.__setitem__(name, rows))
    # One batch runs while callers are told of the one before.
    assert sizes == [4, 4] and list(got) == ["a"]
    collector.flush()
    collector.flush()  # nothing waits any more
    assert sizes == [4, 4, 3]
    assert {name: rows[:, 0].tolist() for name, rows in got.items()} == {
        "a": [30.0] * 3,
        "b": [20.0] * 2,
        "d": [50.0] * 5,
        "e": [10.0],
    }


def test_results_are_dealt_with_while_the_next_batch_runs():
    events = []

    def run(rows):
        events.append(f"run {int(rows[0, 0])}")
        return rows

    collector = Collector(run, 2)
    for name in range(3):
        collector.add(torch.full((2, 1), float(name)), lambda rows, name=name: events.append(f"done {name}"))
    assert events == ["run 0", "run 1", "done 0", "run 2", "done 1"]
    collector.flush()
    assert events[5:] == ["done 2"]


def test_who_gets_results_may_hand_in_more():
    got = []
    collector = Collector(lambda rows: rows + 1, 2)

    def again(rows):
        got.append(rows[:, 0].tolist())
        if rows[0, 0] < 3:
            collector.add(torch.from_numpy(rows), again)

    for _ in range(2):
        collector.add(torch.zeros(3, 1), again)
    collector.flush()
    assert sorted(got) == [[1.0] * 3] * 2 + [[2.0] * 3] * 2 + [[3.0] * 3] * 2


def test_several_tensors_are_divided_alike():
    def run(left, right):
        if len(left) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return left + right

    rows = torch.arange(10.0).reshape(5, 2)
    torch.testing.assert_close(Shrinking(run, 4)(rows, rows * 10), rows * 11)


def test_what_finds_no_room_on_the_device_waits_on_the_host(monkeypatch):
    def full(stream):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "stream", full)
    copier = ToDevice(CPU)
    copier._stream = object()
    rows = np.arange(6, dtype=np.uint8).reshape(3, 2)
    np.testing.assert_array_equal(copier.receive(copier.send(rows)), rows)


def test_matrices_are_multiplied_in_the_precision_that_is_asked_for():
    seen = []

    def run(rows):
        seen.append((rows.float() @ torch.ones(2, 2)).dtype)
        return rows

    for dtype in (torch.float32, torch.bfloat16):
        encode_rows(np.ones((1, 2), np.uint8), run, 1, CPU, "rows", dtype=dtype)
    assert seen == [torch.float32, torch.bfloat16]


def test_stopwatch_sums_by_name():
    watch = Stopwatch()
    for _ in range(2):
        with watch("reading"):
            pass
    assert list(watch.seconds) == ["reading"] and watch.words() == "reading 0.0 s"
