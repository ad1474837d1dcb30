"""Load a super-resolution network from a single file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from octabox.engine.worker.single_files.pickled_weights import load_pickled
from octabox.engine.worker.upscaling.torchvision_stub import torchvision_or_stub
from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.tensors import read_shapes, summarize_names
from octabox.hub.folder import PICKLE_SUFFIXES

with torchvision_or_stub():
    import spandrel

#: Number of channels of an RGB image.
RGB_CHANNELS = 3

#: Purposes of networks, by spandrel, that the pipeline supports: super-resolution, and restoration at the same size.
PURPOSES = frozenset({"SR", "Restoration"})

#: Purpose of networks for cropped faces.
FACES = frozenset({"FaceSR"})


class Upscaler(torch.nn.Module):
    """A network that upscales an image by an integer factor.

    Args:
        descriptor: The network and its properties, as spandrel returns them.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network = descriptor.model
        self._descriptor = descriptor
        # The descriptor limits values to [0, 1], which hides those of a network for [-1, 1].
        self._unlimited = getattr(descriptor, "_call_fn", None)
        self.requires_grad_(requires_grad=False).eval()

    @classmethod
    def from_file(cls, file: Path, purposes: frozenset[str] = PURPOSES, dtype: torch.dtype = torch.float32) -> Upscaler:
        """Load a network on the CPU, from a .safetensors file or a pickle of weights.

        Args:
            file: The file.
            purposes: Purposes of networks, by spandrel, that are accepted.
            dtype: The dtype; the network stays in float32 if it does not support it.

        Raises:
            IncompatibleWeightsError: The file is damaged, or is not a network that transforms images.
            RemoteCodeError: The file is a pickle that would run code.
        """
        shapes = read_shapes(file)
        state = spandrel.canonicalize_state_dict(_load_tensors(file))
        try:
            descriptor = spandrel.ModelLoader().load_from_state_dict(state)
        except spandrel.UnsupportedModelError as error:
            raise IncompatibleWeightsError(
                f"The architecture of {file} is not supported by spandrel {spandrel.__version__}. "
                f"Its tensors are {summarize_names(shapes)}.",
                hint="Use a super-resolution model that spandrel supports, or update spandrel.",
            ) from error
        except Exception as error:  # each architecture infers its settings from the weights, and may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise IncompatibleWeightsError(
                f"{file} does not match the architecture that spandrel {spandrel.__version__} detected: {reason}",
                hint="Download the file again, or update spandrel.",
            ) from error
        _check_descriptor(descriptor, file, purposes)
        network = cls(descriptor.float())
        return network.to(dtype) if network.supports_dtype(dtype) else network

    @property
    def architecture(self) -> str:
        """The name of the architecture."""
        return str(self._descriptor.architecture.name)

    @property
    def scale(self) -> int:
        """The upscaling factor."""
        return int(self._descriptor.scale)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of its weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.parameters()).device

    @property
    def needs_context(self) -> bool:
        """Whether each part of its output depends on the complete image, so that tiles give another result."""
        return bool(self._descriptor.tiling is not spandrel.ModelTiling.SUPPORTED)

    @property
    def is_raw(self) -> bool:
        """Whether spandrel passes a network for faces the values in [0, 1], though it is trained on [-1, 1]."""
        names = getattr(getattr(self._unlimited, "__code__", None), "co_names", ())
        return self._descriptor.purpose in FACES and not any("normalize" in name for name in names)

    def supports_dtype(self, dtype: torch.dtype) -> bool:
        """Return whether the output in a dtype equals that in float32 up to rounding."""
        halves = {torch.float16: "supports_half", torch.bfloat16: "supports_bfloat16"}
        return dtype not in halves or bool(getattr(self._descriptor, halves[dtype]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the upscaled image, (1, 3, height * scale, width * scale), of one in [0, 1], (1, 3, height, width)."""
        if self._unlimited is None or not self.is_raw:
            upscaled = self._descriptor(image)
        else:
            upscaled = (self._unlimited(self.network, (image - 0.5) / 0.5) + 1) / 2
        assert isinstance(upscaled, torch.Tensor)  # noqa: S101 (by the interface of spandrel)
        return upscaled


def _load_tensors(file: Path) -> dict[str, Any]:
    """Return the tensors of a file.

    Raises:
        IncompatibleWeightsError: The file cannot be read.
    """
    try:
        if file.suffix.lower() not in PICKLE_SUFFIXES:
            return dict(load_file(file))
        content = load_pickled(file)
    except Exception as error:  # a damaged file may raise anything
        raise IncompatibleWeightsError(
            f"{file} cannot be read as weights of torch.", hint="The file is damaged or incomplete; download it again."
        ) from error
    assert isinstance(content, dict)  # noqa: S101 (`read_shapes` has found names in it)
    return content


def _check_descriptor(descriptor: Any, file: Path, purposes: frozenset[str] = PURPOSES) -> None:
    """Check that a network transforms an RGB image to another.

    Raises:
        IncompatibleWeightsError: It is for another purpose, or for other channels.
    """
    name, purpose = descriptor.architecture.name, descriptor.purpose
    channels = descriptor.input_channels, descriptor.output_channels
    if purpose not in purposes:
        uses = {"FaceSR": "restores cropped faces", "Inpainting": "is for inpainting"}
        raise IncompatibleWeightsError(
            f"{file} is a network of the architecture {name}, which {uses.get(purpose, f'is for {purpose}')}.",
            hint=f"Use a network for {'cropped faces' if purposes == FACES else 'super-resolution'}.",
        )
    if channels != (RGB_CHANNELS, RGB_CHANNELS):
        raise IncompatibleWeightsError(
            f"{file} is a network of the architecture {name} with {channels[0]} input and {channels[1]} output channels.",
            hint="Use a network for RGB images, with three input and output channels.",
        )
