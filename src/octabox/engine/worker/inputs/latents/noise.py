"""Sample the noise of a call on the host, so that a seed gives the same noise on every device, and change it as requested."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from octabox.errors import InvalidParameterError
from octabox.noise import InitialNoise, Variation

#: Below this sine two samples are parallel, and there is no arc between them.
MIN_SINE = 1e-6


@contextmanager
def apply_variation(arguments: Mapping[str, Any], variation: Variation) -> Iterator[None]:
    """Mix the noise of a variation into all noise that a call samples from its generator.

    Args:
        arguments: The call's arguments.
        variation: The noise to mix in.

    Raises:
        InvalidParameterError: The call has sampled nothing from a generator.
    """
    mode = _MixedNoise(_generator_of(arguments), variation)
    with mode:
        yield
    if not mode.samples:
        raise InvalidParameterError(
            "There is nothing to vary: this pipeline samples no noise from a seed's generator.",
            hint="Leave the variation out, and use another seed.",
            parameter="variation",
        )


@contextmanager
def apply_initial_noise(
    arguments: Mapping[str, Any],
    noise: InitialNoise,
    variation: Variation | None,
    size: tuple[int, int] | None,
    is_initial: Callable[[], bool],
) -> Iterator[list[str]]:
    """Change the size and the scale of the noise that a call samples from its generator before its first step.

    The noise of the other size is what the seed gives there. Its centre is placed in the centre of the noise of this size, so
    that what it makes stays there, and the seed's noise of this size surrounds it.

    Args:
        arguments: The call's arguments.
        noise: The size and the scale.
        variation: The noise that is mixed in, also into that of the other size.
        size: Height and width of the image in pixels; None if they are not known.
        is_initial: Returns whether no step has begun.

    Yields:
        The warnings, after the call: there is one if it has sampled no noise of the shape of the image.
    """
    warnings: list[str] = []
    mode = _PlacedNoise(_generator_of(arguments), noise, variation, size, is_initial)
    with mode:
        yield warnings
    if not mode.samples:
        reason = "the pipeline samples no noise in the shape of the image from a seed's generator"
        warnings.append(f"'workflow.noise' has no effect: {reason}.")


def _generator_of(arguments: Mapping[str, Any]) -> torch.Generator | None:
    """Return the generator among the arguments of a call."""
    return next((each for each in arguments.values() if isinstance(each, torch.Generator)), None)


class HostNoise:
    """Samples noise for a device from a generator on the host, in pipelines where torch would raise for that.

    Most pipelines sample by diffusers' `randn_tensor`, which does so itself. A pipeline for which torch raises is called again,
    with noise that is sampled on the host and moved to the device; later calls of its class use that immediately.
    """

    def __init__(self) -> None:
        self._classes: set[str] = set()

    def run(self, name: str, call: Callable[[], Any], warnings: list[str]) -> Any:
        """Call a pipeline.

        Args:
            name: The class of the pipeline.
            call: Calls it, each time with a generator in the state of its seed.
            warnings: The warnings so far; those of a call that is repeated are removed.
        """
        if name not in self._classes:
            count = len(warnings)
            try:
                return call()
            except RuntimeError as error:
                if not _REFUSED_GENERATOR.search(str(error)):
                    raise
                self._classes.add(name)
                del warnings[count:]
        with _HostSampling():
            return call()


#: The message of torch where a generator is not on the device of the sampled tensor.
_REFUSED_GENERATOR = re.compile(r"Expected an? '[\w:]+' (?:device type for generator|generator device) but found 'cpu")


class _HostSampling(TorchFunctionMode):
    """A mode in which noise is sampled on the device of its generator, and moved."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        generator, device = options.get("generator"), options.get("device")
        if generator is None:
            return function(*args, **options)
        if device is None:
            return self._of_tensors(function, args, options)
        if torch.device(device).type == generator.device.type:
            return function(*args, **options)
        return function(*args, **{**options, "device": generator.device}).to(device)

    @staticmethod
    def _of_tensors(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Sample by tensors, such as probabilities, on the device of the generator, and return the samples on theirs."""
        host = options["generator"].device
        tensors = [each for each in (*args, *options.values()) if isinstance(each, torch.Tensor)]
        if not tensors or tensors[0].device.type == host.type:
            return function(*args, **options)

        def moved(value: Any) -> Any:
            return value.to(host) if isinstance(value, torch.Tensor) else value

        samples = function(*map(moved, args), **{name: moved(each) for name, each in options.items()})
        is_in_place = getattr(function, "__name__", "").endswith("_")
        return tensors[0].copy_(samples) if is_in_place else samples.to(tensors[0].device)


class _ChangedNoise(TorchFunctionMode):
    """A mode in which the noise from one generator is changed."""

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        self._generator = generator
        self.samples = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if function is not torch.randn or self._generator is None or options.get("generator") is not self._generator:
            return function(*args, **options)
        return self.change(args, options)

    def change(self, args: tuple[Any, ...], options: dict[str, Any]) -> torch.Tensor:
        """Return the changed noise of a call of `torch.randn`."""
        raise NotImplementedError


class _MixedNoise(_ChangedNoise):
    """A mode in which noise from one generator is mixed with noise from another."""

    def __init__(self, generator: torch.Generator | None, variation: Variation) -> None:
        super().__init__(generator)
        self._strength = variation.strength
        self._other = torch.Generator("cpu").manual_seed(variation.seed)

    def change(self, args: tuple[Any, ...], options: dict[str, Any]) -> torch.Tensor:
        """Return the noise of both generators, mixed."""
        self.samples += 1
        noise = torch.randn(*args, **options)
        return slerp(noise, torch.randn(*args, **{**options, "generator": self._other}), self._strength)


class _PlacedNoise(_ChangedNoise):
    """A mode in which the initial noise from one generator has that of another size in its centre, and another scale."""

    def __init__(
        self,
        generator: torch.Generator | None,
        noise: InitialNoise,
        variation: Variation | None,
        size: tuple[int, int] | None,
        is_initial: Callable[[], bool],
    ) -> None:
        super().__init__(generator)
        self._variation = variation and (torch.Generator("cpu").manual_seed(variation.seed), variation.strength)
        self._noise, self._size, self._is_initial = noise, size, is_initial
        # Both sizes sample in the same order, so that the second sample of a call is that of the other size too.
        self._other = None if generator is None else generator.clone_state()

    def change(self, args: tuple[Any, ...], options: dict[str, Any]) -> torch.Tensor:
        """Return the noise with that of the other size in its centre, scaled."""
        noise = torch.randn(*args, **options)
        other = self._other_shape(noise.shape) if self._is_initial() else None
        if other is None:
            return noise
        self.samples += 1
        if other != tuple(noise.shape):
            placed = torch.randn(other, **{**options, "generator": self._other})
            if self._variation:
                generator, strength = self._variation
                placed = slerp(placed, torch.randn(other, **{**options, "generator": generator}), strength)
            noise = place_in_centre(noise, placed)
        return noise * self._noise.scale

    def _other_shape(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """Return the shape of noise at the other size; None for noise that has not the shape of the image."""
        if len(shape) < 3:  # noqa: PLR2004 (channels, height and width)
            return None
        if self._size is None:
            return None if self._noise.width or self._noise.height else tuple(shape)
        factors = [pixels / side for pixels, side in zip(self._size, shape[-2:], strict=True)]
        if min(factors) < 1 or abs(factors[0] - factors[1]) > max(factors) / min(shape[-2:]):
            return None
        sides = (self._noise.height or self._size[0], self._noise.width or self._size[1])
        return (*shape[:-2], *(max(int(side / factor), 1) for side, factor in zip(sides, factors, strict=True)))


def place_in_centre(noise: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return noise with other noise in its centre; what does not fit there is cut off.

    Args:
        noise: Noise of any shape, of which the last two axes are height and width.
        other: Noise that differs in height and width.
    """
    result = noise.clone()
    source, target = [], []
    for axis in (-2, -1):
        offset = (noise.shape[axis] - other.shape[axis]) // 2
        length = other.shape[axis] if offset >= 0 else other.shape[axis] + 2 * offset
        target.append(slice(max(offset, 0), max(offset, 0) + length))
        source.append(slice(max(-offset, 0), max(-offset, 0) + length))
    result[..., target[0], target[1]] = other[..., source[0], source[1]]
    return result


def slerp(first: torch.Tensor, second: torch.Tensor, strength: float) -> torch.Tensor:
    """Return the spherical linear interpolation of two samples of noise, whose variance unlike that of their mean is theirs.

    Shoemake, Animating Rotation with Quaternion Curves, 1985.

    Args:
        first: Noise of any shape.
        second: Noise of the same shape.
        strength: The position between them: 0 is the first, 1 the second.
    """
    # Some devices have no double precision.
    one, other = (each.cpu().double().flatten() for each in (first, second))
    angle = torch.arccos((torch.dot(one, other) / (one.norm() * other.norm())).clamp(-1, 1))
    if not torch.isfinite(angle) or angle.sin() < MIN_SINE:
        return first + strength * (second - first)
    shares = torch.sin((1 - strength) * angle) / angle.sin(), torch.sin(strength * angle) / angle.sin()
    return (shares[0] * one + shares[1] * other).reshape(first.shape).to(first)
