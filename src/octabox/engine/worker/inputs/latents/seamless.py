"""Make the convolutions of a pipeline continue at the opposite edge, so that its images can be laid next to each other."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from octabox.engine.replacement import replaced
from octabox.engine.worker.steps import find_denoisers

#: The method of `torch.nn.Conv2d` that pads and convolves.
FORWARD = "_conv_forward"

#: Methods of autoencoders that split an image into tiles.
TILED = re.compile(r"_?tiled_(encode|decode)")


@contextmanager
def seamless_convolutions(pipe: Any, axes: str) -> Iterator[list[str]]:
    """Pad the convolutions of a pipeline's models with the opposite edge instead of zeros within the context.

    Those of text and image encoders are left as they are, since they see no image that is generated. A tile of an image has
    no opposite edge: an autoencoder that splits an image into tiles pads with zeros.

    Args:
        pipe: The pipeline.
        axes: The axes that are closed: ``x``, ``y`` or ``xy``.

    Yields:
        Warnings, after the call also those about tiles: where a pipeline has no such convolutions, or only in a part of it.
    """
    modules = [each for each in _models(pipe.components.values()) if not isinstance(each, PreTrainedModel)]
    closed = [_ClosedModel(each, axes) for each in modules]
    warnings = list(_warnings(pipe, closed))
    with ExitStack() as stack:
        for each in closed:
            stack.enter_context(each.installed())
        yield warnings
    tiled = [type(each.module).__name__ for each in closed if each.tiled]
    if tiled:
        warnings.append(
            f"'workflow.seamless' has no effect on {', '.join(tiled)}, which has split the image into tiles."
        )


class _ClosedModel:
    """A model whose convolutions pad with the opposite edge.

    Args:
        module: The model.
        axes: The axes that are closed.
    """

    def __init__(self, module: torch.nn.Module, axes: str) -> None:
        self.module, self._axes = module, axes
        self.layers = list(_padded(module))
        self.tiled = 0
        self._in_tiles = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the method of each convolution within the context."""
        with ExitStack() as stack:
            for layer in self.layers:
                stack.enter_context(replaced(layer, FORWARD, functools.partial(self._convolve, layer)))
            for name in dir(type(self.module)) if self.layers else ():
                if TILED.fullmatch(name):
                    stack.enter_context(replaced(self.module, name, self._open_in(getattr(self.module, name))))
            yield

    def _convolve(
        self, layer: torch.nn.Conv2d, tensor: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return a convolution of a tensor whose axes are closed, unless it is a tile."""
        left, right, top, bottom = _widths(layer)
        for axis, widths in (("x", (left, right, 0, 0)), ("y", (0, 0, top, bottom))):
            if any(widths):
                is_closed = axis in self._axes and not self._in_tiles
                tensor = functional.pad(tensor, widths, mode="circular" if is_closed else "constant")
        return functional.conv2d(tensor, weight, bias, layer.stride, 0, layer.dilation, layer.groups)

    def _open_in(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method within which the convolutions pad with zeros."""

        @functools.wraps(method)
        def opened(*args: Any, **options: Any) -> Any:
            self.tiled += 1
            self._in_tiles = True
            try:
                return method(*args, **options)
            finally:
                self._in_tiles = False

        return opened


def _models(components: Iterable[Any]) -> Iterator[torch.nn.Module]:
    """Yield the models among components, which may be lists of them."""
    for each in components:
        if isinstance(each, list | tuple):
            yield from _models(each)
        elif isinstance(each, torch.nn.Module):
            yield each


def _padded(module: torch.nn.Module) -> Iterator[torch.nn.Conv2d]:
    """Yield the convolutions of a model that pad with zeros; those of LoRAs are among them."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.padding_mode == "zeros" and any(_widths(layer)):
            yield layer


def _widths(layer: torch.nn.Conv2d) -> tuple[int, ...]:
    """Return the padding of a convolution in the order of `torch.nn.functional.pad`: left, right, top, bottom."""
    return tuple(layer._reversed_padding_repeated_twice)  # noqa: SLF001 (also where the padding is "same")


def _warnings(pipe: Any, closed: list[_ClosedModel]) -> Iterator[str]:
    """Yield what of a pipeline has no convolutions to close."""
    if not any(each.layers for each in closed):
        yield f"'workflow.seamless' has no effect: {type(pipe).__name__} has no convolutions with padding."
        return
    opened = [type(each).__name__ for each in find_denoisers(pipe) if not any(_padded(each))]
    if opened:
        yield (
            f"'workflow.seamless' affects only a part of {type(pipe).__name__}: {', '.join(opened)} has no convolutions with"
            " padding, so that opposite edges need not match."
        )
