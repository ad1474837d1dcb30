"""Networks for super-resolution, loaded from single files."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import upscalers
from octabox.engine.worker.upscaling.network import Upscaler, _check
from octabox.errors import IncompatibleWeightsError, ModelNotFoundError, RemoteCodeError


class Code:
    """Something that a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_scale_is_that_of_the_file(scale: int, suffix: str, tmp_path: Path) -> None:
    """A network makes as many pixels of one as its own shape says."""
    for network in (upscalers.nearest(scale), upscalers.esrgan(scale)):
        loaded = Upscaler.from_file(upscalers.save(network, tmp_path / f"x{suffix}"))

        assert scale == loaded.scale
        assert (1, 3, 6 * scale, 8 * scale) == loaded(torch.rand(1, 3, 6, 8)).shape


@pytest.mark.parametrize("wrapped", ["", "params", "params_ema", "state_dict"])
def test_weights_may_be_wrapped(wrapped: str, tmp_path: Path) -> None:
    """A file makes the same whatever its trainer put the weights into."""
    network = upscalers.esrgan(2)
    loaded = Upscaler.from_file(upscalers.save(network, tmp_path / "x.pth", wrapped))
    image = torch.rand(1, 3, 5, 5)

    assert torch.equal(network.eval()(image).clamp(0, 1), loaded(image))


def test_the_better_of_two_is_taken(tmp_path: Path) -> None:
    """Of the weights and their average over the training, the average counts."""
    average, last = upscalers.esrgan(2, seed=1), upscalers.esrgan(2, seed=2)
    torch.save({"params": last.state_dict(), "params_ema": average.state_dict()}, tmp_path / "x.pth")
    image = torch.rand(1, 3, 5, 5)

    assert torch.equal(average.eval()(image).clamp(0, 1), Upscaler.from_file(tmp_path / "x.pth")(image))


def test_half_precision_becomes_full(tmp_path: Path) -> None:
    """A file of half precision is computed in float32 until another type is asked for."""
    loaded = Upscaler.from_file(upscalers.save(upscalers.esrgan(2).half(), tmp_path / "x.safetensors"))

    assert torch.float32 == loaded.dtype
    assert torch.device("cpu") == loaded.device
    assert loaded.computes_in(torch.float16)
    assert loaded.computes_in(torch.float32)
    assert not any(weights.requires_grad for weights in loaded.parameters())


def test_it_is_told_which_types_it_computes_in(tmp_path: Path) -> None:
    """What spandrel says of half precision holds."""
    loaded = Upscaler.from_file(upscalers.save(upscalers.esrgan(2), tmp_path / "x.pth"))
    loaded._descriptor.supports_half = False

    assert not loaded.computes_in(torch.float16)
    assert loaded.computes_in(torch.bfloat16)


def test_code_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle that holds more than weights is refused before anything of it runs."""
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"body.0.weight": Code()}))

    with pytest.raises(RemoteCodeError, match="would run code"):
        Upscaler.from_file(tmp_path / "x.pth")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", ["x.pth", "old.pth", "x.safetensors"])
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_file_that_was_cut_short_is_refused(name: str, share: float, tmp_path: Path) -> None:
    """A download that broke off is named as one, also of a pickle from before zip archives."""
    file = upscalers.save(upscalers.esrgan(4), tmp_path / name)
    if name == "old.pth":
        torch.save(upscalers.esrgan(4).state_dict(), file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])

    with pytest.raises(IncompatibleWeightsError) as caught:
        Upscaler.from_file(file)
    assert str(file) in caught.value.message
    assert "fetch it again" in caught.value.hint


def test_another_network_is_refused(tmp_path: Path) -> None:
    """Weights of no architecture that spandrel knows are named by their tensors."""
    save_file({"some.weight": torch.zeros(2), "some.bias": torch.zeros(2)}, tmp_path / "x.safetensors")

    with pytest.raises(
        IncompatibleWeightsError, match=r"no architecture that spandrel .* knows.* some\.bias, some\.weight"
    ):
        Upscaler.from_file(tmp_path / "x.safetensors")


def test_a_network_that_lacks_layers_is_refused(tmp_path: Path) -> None:
    """What is like a network that is known, and is not whole, is no model."""
    weights = upscalers.esrgan(2).state_dict()
    del weights["model.1.sub.0.RDB2.conv1.0.weight"]
    save_file(weights, tmp_path / "x.safetensors")

    with pytest.raises(IncompatibleWeightsError, match=r"does not fit it: .*RDB2\.conv1\.0\.weight"):
        Upscaler.from_file(tmp_path / "x.safetensors")


def test_a_file_that_is_not_there_is_named() -> None:
    """No file is no model."""
    with pytest.raises(ModelNotFoundError, match=r"no/such\.pth"):
        Upscaler.from_file(Path("no/such.pth"))


def test_other_colours_are_refused(tmp_path: Path) -> None:
    """A network for grey images is none for those in colour."""
    with pytest.raises(IncompatibleWeightsError, match="RealESRGAN Compact from 1 channels to 1"):
        Upscaler.from_file(upscalers.save(upscalers.nearest(2, channels=1), tmp_path / "x.pth"))


@pytest.mark.parametrize(("purpose", "words"), [("FaceSR", "mends faces"), ("Inpainting", "fills holes")])
def test_what_is_for_something_else_is_refused(purpose: str, words: str) -> None:
    """The error names the architecture, and what it is for."""
    architecture = SimpleNamespace(name="GFPGAN")
    descriptor = SimpleNamespace(architecture=architecture, purpose=purpose, input_channels=3, output_channels=3)

    with pytest.raises(IncompatibleWeightsError, match=f"the architecture GFPGAN, which {words}"):
        _check(descriptor, Path("x.pth"))
