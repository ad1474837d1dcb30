"""Sample the noise of a call on the host, so that a seed gives the same noise on every device, and mix that of two seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from octabox.errors import InvalidParameterError
from octabox.types import Variation

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
    generator = next((each for each in arguments.values() if isinstance(each, torch.Generator)), None)
    mode = _MixedNoise(generator, variation)
    with mode:
        yield
    if not mode.samples:
        raise InvalidParameterError(
            "There is nothing to vary: this pipeline samples no noise from a seed's generator.",
            hint="Leave the variation out, and use another seed.",
            parameter="variation",
        )


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
        if generator is None or device is None or torch.device(device).type == generator.device.type:
            return function(*args, **options)
        return function(*args, **{**options, "device": generator.device}).to(device)


class _MixedNoise(TorchFunctionMode):
    """A mode in which noise from one generator is mixed with noise from another."""

    def __init__(self, generator: torch.Generator | None, variation: Variation) -> None:
        super().__init__()
        self._generator, self._strength = generator, variation.strength
        self._other = torch.Generator("cpu").manual_seed(variation.seed)
        self.samples = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        noise = function(*args, **options)
        if function is not torch.randn or self._generator is None or options.get("generator") is not self._generator:
            return noise
        self.samples += 1
        return slerp(noise, function(*args, **{**options, "generator": self._other}), self._strength)


def slerp(first: torch.Tensor, second: torch.Tensor, strength: float) -> torch.Tensor:
    """Return the spherical linear interpolation of two samples of noise, whose variance unlike that of their mean is theirs.

    Shoemake, Animating Rotation with Quaternion Curves, 1985.

    Args:
        first: Noise of any shape.
        second: Noise of the same shape.
        strength: The position between them: 0 is the first, 1 the second.
    """
    # Some devices have no double precision.
    one, other = (each.to("cpu", torch.float64).flatten() for each in (first, second))
    angle = torch.arccos((torch.dot(one, other) / (one.norm() * other.norm())).clamp(-1, 1))
    if not torch.isfinite(angle) or angle.sin() < MIN_SINE:
        return first + strength * (second - first)
    shares = torch.sin((1 - strength) * angle) / angle.sin(), torch.sin(strength * angle) / angle.sin()
    return (shares[0] * one + shares[1] * other).reshape(first.shape).to(first)
