"""Tensors of the pretended accelerator: supported operations, and errors like those of CUDA."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch

from pretended_accelerator import Control


def ones(*size: int, device: str = "fake") -> torch.Tensor:
    """Return a tensor of ones."""
    return torch.ones(*size, device=device)


def test_numbers_are_those_of_the_host() -> None:
    """Operators on the device return what they return on the host."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.GroupNorm(2, 4), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    image = torch.randn(1, 3, 8, 8)
    expected = module(image)

    found = copy.deepcopy(module).to("fake")(image.to("fake"))

    assert "fake" == found.device.type
    assert torch.equal(expected, found.cpu())


def test_views_share_memory(accelerator: Control) -> None:
    """A view, a slice and a transposed tensor are the same bytes, and write through."""
    tensor = ones(4, 6)
    held = accelerator.allocated()

    tensor.t()[1:3].view(2, 2, 2)[0].mul_(3)

    assert held == accelerator.allocated()
    assert [1, 3, 1, 1, 1, 1] == tensor[0].tolist()
    assert (1, 6) == tensor.t().stride()


def test_tensors_are_copied_saved_and_differentiated() -> None:
    """Deep copies, files and gradients work."""
    linear = torch.nn.Linear(3, 2).to("fake")
    linear(ones(1, 3)).sum().backward()
    file = io.BytesIO()
    torch.save(linear.state_dict(), file)
    file.seek(0)

    assert linear.weight.grad is not None
    assert [1, 1, 1] == linear.weight.grad[0].tolist()
    assert torch.equal(linear.weight.cpu(), copy.deepcopy(linear).weight.cpu())
    assert "fake" == torch.load(file)["weight"].device.type


def test_a_parameter_stays_itself_when_it_moves() -> None:
    """As with CUDA, a module that moves keeps its parameters, so that ties between them hold."""
    linear = torch.nn.Linear(2, 2)
    weight = linear.weight

    assert linear.to("fake").weight is weight
    assert linear.cpu().weight is weight
    assert "cpu" == weight.device.type


def test_complex_numbers_may_be_conjugate() -> None:
    """What torch only marks as conjugate is copied and computed as such."""
    number = torch.tensor([1 + 2j], device="fake").conj()

    assert [1 - 2j] == number.tolist()
    assert [2 - 4j] == (number * 2).tolist()


@pytest.mark.parametrize(
    "use",
    [
        lambda: ones(2) + torch.ones(2),
        lambda: torch.cat([ones(2), torch.ones(2)]),
        lambda: torch.nn.functional.embedding(torch.tensor([0]), ones(2, 2)),
        lambda: torch.nn.functional.linear(torch.ones(2), ones(2, 2)),
        lambda: torch.ones(2)[ones(1).long()],
        lambda: torch.where(ones(2) > 0, torch.ones(2), ones(2)),
        lambda: torch.nn.functional.conv2d(torch.ones(1, 1, 2, 2), ones(1, 1, 1, 1)),
    ],
)
def test_two_devices_are_refused(use: Callable[[], torch.Tensor]) -> None:
    """Tensors of the host and of the device cannot meet in an operator."""
    with pytest.raises(RuntimeError, match="same device"):
        use()


def test_what_cuda_takes_is_taken() -> None:
    """A number of the host may meet tensors of the device, indices may be of the host, and copies go everywhere."""
    assert [2, 2] == (ones(2) + torch.tensor(1.0)).tolist()
    assert [1] == ones(3)[torch.tensor([2])].tolist()
    assert [1, 1] == torch.zeros(2).copy_(ones(2)).tolist()


def test_numpy_is_refused() -> None:
    """A tensor must be copied to the host first."""
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
        ones(2).numpy()


def test_generators_belong_to_a_device() -> None:
    """One of the host is refused by the device; its own draws the host's numbers."""
    own, hosts = torch.Generator("fake").manual_seed(3), torch.Generator().manual_seed(3)

    assert torch.device("fake", 0) == own.device
    assert torch.randn(2, generator=hosts).tolist() == torch.randn(2, device="fake", generator=own).tolist()
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(2, device="fake", generator=hosts)
    assert isinstance(torch.default_generator, torch.Generator)


def test_half_precision_runs_where_the_host_has_no_kernel() -> None:
    """A GPU has kernels for half precision that the CPU lacks."""
    image = torch.ones(1, 1, 2, 2, device="fake", dtype=torch.float16)

    assert torch.float16 == torch.nn.functional.interpolate(image, scale_factor=2, mode="bicubic").dtype


def test_devices_are_told_apart(accelerator: Control) -> None:
    """Each of several has its own memory, operators and tensors, and those do not meet."""
    accelerator.settings.devices = 2
    before = accelerator.allocated(1)
    second = ones(4, device="fake:1")

    assert 2 == torch.accelerator.device_count()
    assert torch.device("fake:1") == (second * 2).device
    assert 16 == accelerator.allocated(1) - before
    assert 2 == accelerator.operators_on[1]
    with pytest.raises(RuntimeError, match="fake:0 and fake:1"):
        ones(4) + second
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        ones(1, device="fake:2")


def test_one_device_is_meant_where_none_is_named(accelerator: Control) -> None:
    """It can be set, for good or for a while."""
    accelerator.settings.devices = 3
    torch.accelerator.set_device_index(1)

    assert torch.device("fake:1") == ones(1).device
    with torch.accelerator.device_index(2):
        assert 2 == torch.accelerator.current_device_index()
    assert 1 == torch.accelerator.current_device_index()


def test_dtypes_may_be_missing_or_emulated(accelerator: Control) -> None:
    """A device without bfloat16 refuses such tensors; one that emulates it reports the emulation."""
    accelerator.settings.emulates = ("bfloat16",)
    module = torch.get_device_module("fake")

    assert module.is_bf16_supported()
    assert not module.is_bf16_supported(including_emulation=False)
    accelerator.settings.lacks = ("bfloat16",)
    assert not module.is_bf16_supported()
    with pytest.raises(TypeError, match="bfloat16 is not supported"):
        ones(2).to(torch.bfloat16)


def test_an_output_lies_as_the_kernel_lays_it() -> None:
    """A kernel that keeps its input's layout, channels last, gives the same numbers as on the host."""
    host = torch.rand(1, 4, 4, 3).permute(0, 3, 1, 2)

    for pad in ("replicate", "reflect", "constant"):
        expected = torch.nn.functional.pad(host, (1, 1, 1, 1), mode=pad)
        assert torch.equal(expected, torch.nn.functional.pad(host.to("fake"), (1, 1, 1, 1), mode=pad).cpu())


def test_empty_tensors_keep_their_shape() -> None:
    """What has no numbers has a shape all the same, in every operator."""
    empty, weight = torch.zeros(1, 0, 8, device="fake"), torch.ones(8, device="fake")

    assert (1, 0, 8) == torch.nn.functional.rms_norm(empty, (8,), weight).shape
    assert (1, 0, 4) == torch.nn.functional.linear(empty, torch.ones(4, 8, device="fake")).shape


def test_an_output_of_half_precision_is_written_where_the_host_has_no_kernel() -> None:
    """What the host computes in float32 instead ends in the output that was given, and is that of float32, rounded."""
    host = torch.rand(1, 3, 8, 8)
    expected = torch.nn.functional.interpolate(host, (5, 5), mode="bilinear", antialias=True)
    half = torch.nn.functional.interpolate(host.to("fake", torch.bfloat16), (5, 5), mode="bilinear", antialias=True)

    assert torch.allclose(expected, half.cpu().float(), atol=0.02)
