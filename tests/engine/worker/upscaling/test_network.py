"""Super-resolution networks are loaded from single files."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import upscalers
from octabox.engine.worker.upscaling.network import Upscaler, _check_descriptor
from octabox.errors import IncompatibleWeightsError, ModelNotFoundError, RemoteCodeError


class Code:
    """A class whose unpickling runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_scale_is_that_of_the_file(scale: int, suffix: str, tmp_path: Path) -> None:
    """The upscaling factor follows from the shapes of the weights."""
    for network in (upscalers.nearest(scale), upscalers.esrgan(scale)):
        loaded = Upscaler.from_file(upscalers.save(network, tmp_path / f"x{suffix}"))

        assert scale == loaded.scale
        assert (1, 3, 6 * scale, 8 * scale) == loaded(torch.rand(1, 3, 6, 8)).shape


@pytest.mark.parametrize("wrapped", ["", "params", "params_ema", "state_dict"])
def test_weights_may_be_wrapped(wrapped: str, tmp_path: Path) -> None:
    """Weights that are nested in the dictionary of a training program are found."""
    network = upscalers.esrgan(2)
    loaded = Upscaler.from_file(upscalers.save(network, tmp_path / "x.pth", wrapped))
    image = torch.rand(1, 3, 5, 5)

    assert torch.equal(network.eval()(image).clamp(0, 1), loaded(image))


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    """Of the weights and their moving average, the average is loaded."""
    average, last = upscalers.esrgan(2, seed=1), upscalers.esrgan(2, seed=2)
    torch.save({"params": last.state_dict(), "params_ema": average.state_dict()}, tmp_path / "x.pth")
    image = torch.rand(1, 3, 5, 5)

    assert torch.equal(average.eval()(image).clamp(0, 1), Upscaler.from_file(tmp_path / "x.pth")(image))


def test_half_precision_becomes_full(tmp_path: Path) -> None:
    """A file in half precision is loaded in float32."""
    loaded = Upscaler.from_file(upscalers.save(upscalers.esrgan(2).half(), tmp_path / "x.safetensors"))

    assert torch.float32 == loaded.dtype
    assert torch.device("cpu") == loaded.device
    assert loaded.supports_dtype(torch.float16)
    assert loaded.supports_dtype(torch.float32)
    assert not any(weights.requires_grad for weights in loaded.parameters())


def test_supported_dtypes(tmp_path: Path) -> None:
    """They are those that spandrel states."""
    loaded = Upscaler.from_file(upscalers.save(upscalers.esrgan(2), tmp_path / "x.pth"))
    loaded._descriptor.supports_half = False

    assert not loaded.supports_dtype(torch.float16)
    assert loaded.supports_dtype(torch.bfloat16)


def test_code_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle with more than weights is rejected before any of its code runs."""
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"body.0.weight": Code()}))

    with pytest.raises(RemoteCodeError, match="would run code"):
        Upscaler.from_file(tmp_path / "x.pth")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", ["x.pth", "old.pth", "x.safetensors"])
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_truncated_files(name: str, share: float, tmp_path: Path) -> None:
    """An incomplete file is rejected, also in the legacy format of pickles."""
    file = upscalers.save(upscalers.esrgan(4), tmp_path / name)
    if name == "old.pth":
        torch.save(upscalers.esrgan(4).state_dict(), file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])

    with pytest.raises(IncompatibleWeightsError) as caught:
        Upscaler.from_file(file)
    assert str(file) in caught.value.message
    assert "it again" in caught.value.hint


def test_unknown_architectures(tmp_path: Path) -> None:
    """The error for an unknown architecture names the tensors."""
    save_file({"some.weight": torch.zeros(2), "some.bias": torch.zeros(2)}, tmp_path / "x.safetensors")

    with pytest.raises(IncompatibleWeightsError, match=r"is not supported by spandrel .* some\.bias, some\.weight"):
        Upscaler.from_file(tmp_path / "x.safetensors")


def test_missing_layers(tmp_path: Path) -> None:
    """An incomplete network of a known architecture is rejected."""
    weights = upscalers.esrgan(2).state_dict()
    del weights["model.1.sub.0.RDB2.conv1.0.weight"]
    save_file(weights, tmp_path / "x.safetensors")

    with pytest.raises(IncompatibleWeightsError, match=r"does not match the architecture .*RDB2\.conv1\.0\.weight"):
        Upscaler.from_file(tmp_path / "x.safetensors")


def test_missing_files() -> None:
    """The error for a missing file names it."""
    with pytest.raises(ModelNotFoundError, match=r"no/such\.pth"):
        Upscaler.from_file(Path("no/such.pth"))


def test_other_channels(tmp_path: Path) -> None:
    """A network for grey images is rejected."""
    with pytest.raises(IncompatibleWeightsError, match="RealESRGAN Compact with 1 input and 1 output channels"):
        Upscaler.from_file(upscalers.save(upscalers.nearest(2, channels=1), tmp_path / "x.pth"))


@pytest.mark.parametrize(
    ("purpose", "words"), [("FaceSR", "restores cropped faces"), ("Inpainting", "is for inpainting")]
)
def test_other_purposes(purpose: str, words: str) -> None:
    """The error names the architecture and its purpose."""
    architecture = SimpleNamespace(name="GFPGAN")
    descriptor = SimpleNamespace(architecture=architecture, purpose=purpose, input_channels=3, output_channels=3)

    with pytest.raises(IncompatibleWeightsError, match=f"the architecture GFPGAN, which {words}"):
        _check_descriptor(descriptor, Path("x.pth"))
