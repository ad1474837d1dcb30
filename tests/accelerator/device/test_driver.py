"""The pretended accelerator's counts, memory and faults."""

from __future__ import annotations

import pytest
import torch

from pretended_accelerator import Control

#: Bytes of what these tests allocate at once.
MANY = 1_000_000


def test_operators_and_bytes_are_counted(accelerator: Control) -> None:
    """Operators and copied bytes in both directions are counted."""
    tensor = torch.ones(10).to("fake")
    (tensor + tensor).cpu()

    assert 1 == accelerator.operators["aten::add"]
    assert (40, 40) == (accelerator.bytes_to_device, accelerator.bytes_to_host)


def test_memory_is_counted_until_it_is_given_back(accelerator: Control) -> None:
    """A tensor's bytes are allocated while anything refers to them, and then reserved until the cache is emptied."""
    before = accelerator.allocated()
    tensor = torch.empty(MANY, dtype=torch.uint8, device="fake")
    part = tensor[:10]
    del tensor

    assert MANY == accelerator.allocated() - before == torch.accelerator.memory_allocated() - before
    del part
    assert before == torch.accelerator.memory_allocated()
    assert MANY <= torch.accelerator.memory_reserved() - before
    assert MANY <= torch.accelerator.max_memory_allocated() - before
    torch.accelerator.empty_cache()
    torch.accelerator.reset_peak_memory_stats()
    assert before == torch.accelerator.memory_reserved() == torch.accelerator.max_memory_allocated()


def test_memory_runs_out(accelerator: Control) -> None:
    """Beyond the limit allocation fails; freed memory can be allocated again."""
    held = accelerator.allocated()
    accelerator.settings.memory = held + 2 * MANY
    free, total = torch.accelerator.get_memory_info()
    first = torch.empty(3 * MANY // 2, dtype=torch.uint8, device="fake")

    assert (2 * MANY, held + 2 * MANY) == (free, total)
    with pytest.raises(torch.OutOfMemoryError, match=r"CUDA out of memory\. Tried to allocate"):
        torch.empty(MANY, dtype=torch.uint8, device="fake")
    del first
    assert torch.empty(MANY, dtype=torch.uint8, device="fake").numel()


def test_a_fault_comes_when_it_is_asked_for(accelerator: Control) -> None:
    """The second addition fails, and only that."""
    tensor = torch.ones(2, device="fake")
    accelerator.fail("out of memory", after=2, operator="aten::add")

    assert [2, 2] == (tensor + 1).tolist()
    with pytest.raises(torch.OutOfMemoryError):
        tensor + 1
    assert [2, 2] == (tensor + 1).tolist()
    assert not accelerator.poisoned


@pytest.mark.parametrize("kind", ["device-side assert", "illegal memory access", "ecc"])
def test_a_poisoned_context_stays_so(kind: str, accelerator: Control) -> None:
    """After such an error every use of the device raises it again."""
    tensor = torch.ones(2, device="fake")
    accelerator.fail(kind)

    for use in (
        lambda: tensor + 1,
        tensor.cpu,
        lambda: torch.zeros(1, device="fake"),
        torch.accelerator.empty_cache,
    ):
        with pytest.raises(torch.AcceleratorError, match="CUDA error: "):
            use()
    assert accelerator.poisoned


def test_each_fault_has_the_words_of_the_real_one(accelerator: Control) -> None:
    """What runs out of memory in another way is no `torch.OutOfMemoryError`."""
    for kind, words in {
        "cublas": "CUBLAS_STATUS_ALLOC_FAILED",
        "mps out of memory": "MPS backend",
        "cudnn": "CUDNN_STATUS",
    }.items():
        accelerator.fail(kind)
        with pytest.raises(RuntimeError, match=words) as caught:
            torch.ones(1, device="fake")
        assert not isinstance(caught.value, torch.OutOfMemoryError)


def test_a_bad_fork_cannot_use_the_device(accelerator: Control) -> None:
    """Every use raises CUDA's error, and torch's query for a bad fork is true."""
    accelerator.bad_fork = True

    assert torch.get_device_module("fake")._is_in_bad_fork()
    with pytest.raises(RuntimeError, match="Cannot re-initialize CUDA in forked subprocess"):
        torch.ones(1, device="fake")
