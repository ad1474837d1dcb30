"""Replace what a call begins from under a mask: the latents of its image, by noise or by nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch.nn import functional

from octabox.engine.replacement import replaced
from octabox.noise import LatentFill

#: The method of autoencoders that makes latents of an image.
ENCODE = "encode"

#: The logarithm of a variance of nothing.
NO_VARIANCE = -30.0

#: Added to the seed of a run for noise that differs from its initial noise.
OTHER_SEED = 1

#: Number of axes of a batch of images; one of videos has another one.
FRAMES = 4

#: Mean difference of two equal images in [-1, 1], in half precision and after other rounding.
TOLERANCE = 0.05

#: From this value on a pixel of a mask is white.
WHITE = 128


@contextmanager
def filled_latents(pipe: Any, arguments: Mapping[str, Any], fill: LatentFill, seed: int) -> Iterator[list[str]]:
    """Replace the masked part of the latents that a call encodes its image to within the context.

    Other images are encoded as they are: control images, and the image without its masked part, as some denoisers take it.

    Args:
        pipe: The pipeline.
        arguments: The arguments of the call, with the mask among them.
        fill: The content of the masked part, and the parameters for the image and the mask.
        seed: The seed of the run.

    Yields:
        The warnings, after the call: there is one if it has encoded no image.
    """
    warnings: list[str] = []
    filler = _Filler(arguments.get(fill.image), arguments.get(fill.mask), fill, seed)
    with ExitStack() as stack:
        for each in pipe.components.values():
            if isinstance(each, torch.nn.Module) and callable(getattr(each, ENCODE, None)):
                stack.enter_context(replaced(each, ENCODE, filler.wrapped(each)))
        yield warnings
    if not filler.images:
        warnings.append(
            "'workflow.inpaint.fill' has no effect: the call encodes no image to latents of the mask's shape."
        )


class _Filler:
    """Replaces latents under a mask.

    Args:
        image: The image; the first one of a list.
        mask: The mask, white where the latents are replaced; the first one of a list.
        fill: What replaces them.
        seed: The seed of the run.
    """

    def __init__(self, image: Any, mask: Any, fill: LatentFill, seed: int) -> None:
        self._image, self._mask = _first(image), _first(mask)
        self._content, self._seed = fill.content, seed + OTHER_SEED
        self.images = 0

    def wrapped(self, autoencoder: torch.nn.Module) -> Callable[..., Any]:
        """Return the method of an autoencoder whose latents are replaced under the mask."""
        encode = getattr(autoencoder, ENCODE)

        @functools.wraps(encode)
        def encode_and_fill(image: Any, *args: Any, **options: Any) -> Any:
            encoded = encode(image, *args, **options)
            mask = self._mask_of(image)
            if mask is None:
                return encoded
            found = encoded[0] if isinstance(encoded, tuple) else _latents_of(encoded)
            latents = getattr(found, "mean", None) if not isinstance(found, torch.Tensor) else found
            if not isinstance(latents, torch.Tensor) or latents.ndim != image.ndim:
                return encoded
            self.images += 1
            replacement = self._replacement(latents, autoencoder)
            weight = _resized(mask, latents)
            if not isinstance(found, torch.Tensor):
                _fill_distribution(found, replacement, weight)
                return encoded
            filled = latents * (1 - weight) + replacement * weight
            if isinstance(encoded, tuple):
                return (filled, *encoded[1:])
            encoded.latents = filled
            return encoded

        return encode_and_fill

    def _mask_of(self, encoded: Any) -> torch.Tensor | None:
        """Return the mask at the size of an encoded image, (1, 1, height, width); None for another image."""
        if self._image is None or self._mask is None or not isinstance(encoded, torch.Tensor) or encoded.ndim < FRAMES:
            return None
        frame = encoded[0][:, 0] if encoded.ndim > FRAMES else encoded[0]
        size = frame.shape[-1], frame.shape[-2]
        pixels = np.asarray(self._image.convert("RGB").resize(size), np.float32).transpose(2, 0, 1) / 127.5 - 1
        white = torch.from_numpy(np.asarray(self._mask.convert("L").resize(size, Resampling.NEAREST)) >= WHITE)
        if frame.shape != pixels.shape or not white.any():
            return None
        differences = (frame.float().cpu() - torch.from_numpy(pixels)).abs()
        is_source = max(differences.mean(), differences[:, white].mean()) < TOLERANCE
        # No pixel of eight bits is exactly 0 in this range.
        return white[None, None] if is_source and frame[:, white.to(frame.device)].any() else None

    def _replacement(self, latents: torch.Tensor, autoencoder: Any) -> torch.Tensor:
        """Return the new content, as it is before the pipeline scales it."""
        generator = torch.Generator("cpu").manual_seed(self._seed)
        made = torch.zeros(latents.shape)
        if self._content == "noise":
            made = torch.randn(latents.shape, generator=generator)
        config = autoencoder.config
        mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean and deviation and len(mean) == len(deviation) == latents.shape[1]:
            axes = (1, -1, *(1 for _ in latents.shape[2:]))
            return (made * torch.tensor(deviation).view(axes) + torch.tensor(mean).view(axes)).to(latents)
        scale, shift = (getattr(config, name, None) for name in ("scaling_factor", "shift_factor"))
        return (made / (scale or 1.0) + (shift or 0.0)).to(latents)


def _first(value: Any) -> Image | None:
    """Return an image, or the first one of a list; None for anything else."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return first if isinstance(first, Image) else None


def _latents_of(encoded: Any) -> Any:
    """Return the latents of an autoencoder's output, or their distribution."""
    return getattr(encoded, "latent_dist", None) or getattr(encoded, "latents", None)


def _fill_distribution(distribution: Any, replacement: torch.Tensor, weight: torch.Tensor) -> None:
    """Let a normal distribution give the replacement under a mask, without any variance."""
    distribution.mean = distribution.mean * (1 - weight) + replacement * weight
    for name, nothing in (("std", 0.0), ("var", 0.0), ("logvar", NO_VARIANCE)):
        value = getattr(distribution, name, None)
        if isinstance(value, torch.Tensor):
            setattr(distribution, name, value * (1 - weight) + nothing * weight)


def _resized(mask: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Return a mask at the size of latents, with their number of axes."""
    resized = functional.interpolate(mask.float(), size=latents.shape[-2:]).to(latents.device, latents.dtype)
    return resized if latents.ndim == resized.ndim else resized.unsqueeze(2)
