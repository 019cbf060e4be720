from __future__ import annotations

import pytest
import torch

from pipeline.encoding import hardware
from pipeline.encoding.hardware import autocast, batch_size, device, precision
from pipeline.jobs.runtime import AUTO, Runtime
from pipeline.store.atomic import StageError

CPU = torch.device("cpu")


def test_batches_are_larger_on_a_gpu_and_as_the_run_says(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def sizes(**told) -> list[int]:
        return [batch_size(role, Runtime(**told)) for role in ("poses", "features")]

    assert sizes(device="cpu") == [64, 4]
    assert sizes(device="cuda:1") == sizes() == [256, 32]
    assert sizes(device="cuda", batch_size={"poses": 3}) == [3, 32]


def test_a_gpu_is_taken_where_there_is_one_and_missed_where_it_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device(AUTO) == device(Runtime(device="cpu")) == CPU
    with pytest.raises(StageError, match=r"runtime\.device is cuda:1, but torch .*, or set runtime\.device to cpu"):
        device(Runtime(device="cuda:1"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device(AUTO) == torch.device("cuda") and device(Runtime(device="cuda:1")).index == 1


@pytest.mark.parametrize(("named", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_is_that_of_the_run(named, expected):
    assert precision(CPU, Runtime(precision=named)) == expected  # auto keeps float32 on CPUs
    with autocast(CPU, expected):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize("has_it", [False, True])
def test_a_gpu_takes_bfloat16_by_itself_where_it_has_it(has_it, monkeypatch):
    monkeypatch.setattr(hardware.torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    found = precision(torch.device("cuda"), AUTO)
    assert found == (torch.bfloat16 if has_it else torch.float32)
    assert precision(torch.device("cuda"), Runtime(precision="float32")) == torch.float32
