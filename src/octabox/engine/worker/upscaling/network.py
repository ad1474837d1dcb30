"""A network that makes images larger, as its author published it in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from octabox.engine.worker.upscaling.importing import torchvision_or_stand_in
from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.tensors import listed, read_shapes
from octabox.hub.folder import PICKLE_SUFFIXES

with torchvision_or_stand_in():
    import spandrel

#: Colours of an image.
COLOURS = 3

#: What spandrel says a network is for, of those that this pipeline runs: larger images, or better ones of the same size.
PURPOSES = frozenset({"SR", "Restoration"})


class Upscaler(torch.nn.Module):
    """A network that makes of an image one that is a whole number of times larger.

    Args:
        descriptor: The network with what spandrel knows of it.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network = descriptor.model
        self._descriptor = descriptor
        self.requires_grad_(requires_grad=False).eval()

    @classmethod
    def from_file(cls, file: Path) -> Upscaler:
        """Load a network from a .safetensors file, or from a pickle for its weights alone, in float32 on the processor.

        Raises:
            IncompatibleWeightsError: The file is damaged, or holds nothing that makes an image of an image.
            RemoteCodeError: It is a pickle that would run code.
        """
        shapes = read_shapes(file)
        state = spandrel.canonicalize_state_dict(_tensors(file))
        try:
            descriptor = spandrel.ModelLoader().load_from_state_dict(state)
        except spandrel.UnsupportedModelError as error:
            raise IncompatibleWeightsError(
                f"{file} is of no architecture that spandrel {spandrel.__version__} knows: its tensors are {listed(shapes)}.",
                hint="Choose a model for super-resolution that spandrel lists, or update spandrel.",
            ) from error
        except Exception as error:  # each architecture reads its settings from the weights, and fails in its own way
            reason = " ".join(str(error).split()) or type(error).__name__
            raise IncompatibleWeightsError(
                f"{file} is like a network that spandrel {spandrel.__version__} knows, and does not fit it: {reason}",
                hint="Fetch the file again, or update spandrel.",
            ) from error
        _check(descriptor, file)
        return cls(descriptor.float())

    @property
    def architecture(self) -> str:
        """What the network's authors call its kind."""
        return str(self._descriptor.architecture.name)

    @property
    def scale(self) -> int:
        """How many times larger the image becomes."""
        return int(self._descriptor.scale)

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where its numbers are."""
        return next(self.parameters()).device

    @property
    def needs_context(self) -> bool:
        """Whether it makes each part of an image by looking at all of it, so that it makes another of tiles."""
        return bool(self._descriptor.tiling is not spandrel.ModelTiling.SUPPORTED)

    def computes_in(self, dtype: torch.dtype) -> bool:
        """Tell whether the network makes the same in this dtype as in float32, but for rounding."""
        halves = {torch.float16: "supports_half", torch.bfloat16: "supports_bfloat16"}
        return dtype not in halves or bool(getattr(self._descriptor, halves[dtype]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return a larger image, (1, 3, height times scale, width times scale), of one in [0, 1], (1, 3, height, width)."""
        made = self._descriptor(image)
        assert isinstance(made, torch.Tensor)  # noqa: S101 (spandrel promises it)
        return made


def _tensors(file: Path) -> dict[str, Any]:
    """Return what a file holds.

    Raises:
        IncompatibleWeightsError: Its numbers cannot be read.
    """
    try:
        if file.suffix.lower() not in PICKLE_SUFFIXES:
            return dict(load_file(file))
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file may raise anything
        raise IncompatibleWeightsError(
            f"{file} cannot be read as weights of torch.", hint="The file is damaged or was cut short; fetch it again."
        ) from error
    assert isinstance(content, dict)  # noqa: S101 (names were found in it before)
    return content


def _check(descriptor: Any, file: Path) -> None:
    """Make sure that a network makes an image of an image.

    Raises:
        IncompatibleWeightsError: It needs a mask too, is for faces that were cut out, or for other colours.
    """
    name, purpose = descriptor.architecture.name, descriptor.purpose
    colours = descriptor.input_channels, descriptor.output_channels
    if purpose not in PURPOSES:
        reason = {"FaceSR": "mends faces that were cut out of an image", "Inpainting": "fills holes"}
        raise IncompatibleWeightsError(
            f"{file} is a network of the architecture {name}, which {reason.get(purpose, f'is for {purpose}')}.",
            hint="Choose one that is made for super-resolution.",
        )
    if colours != (COLOURS, COLOURS):
        raise IncompatibleWeightsError(
            f"{file} is a network of the architecture {name} from {colours[0]} channels to {colours[1]}.",
            hint="Choose one that is made for images in RGB, from three channels to three.",
        )
