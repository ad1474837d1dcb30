"""The noise of a call: drawn on the host, so that a seed means the same on every device, and mixed of two seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from octabox.errors import InvalidParameterError
from octabox.types import Variation

#: Below this sine two draws point the same way, or opposite ways, and an arc between them is not defined.
SMALLEST_SINE = 1e-6


@contextmanager
def varied(arguments: Mapping[str, Any], variation: Variation | None) -> Iterator[None]:
    """Mix the noise of a variation into all that a call draws from its generator.

    Args:
        arguments: The call's arguments.
        variation: What to mix in; None changes nothing.

    Raises:
        InvalidParameterError: The call has drawn nothing from a generator.
    """
    if variation is None:
        yield
        return
    own = next((each for each in arguments.values() if isinstance(each, torch.Generator)), None)
    mode = _Mixing(own, variation)
    with mode:
        yield
    if not mode.draws:
        raise InvalidParameterError(
            "There is nothing to vary: this pipeline draws no noise from a seed's generator.",
            hint="Leave the variation out, and take another seed.",
            parameter="variation",
        )


class HostDraws:
    """Lets pipelines draw numbers for a device from a generator of the host, where torch would refuse that.

    Most pipelines draw by diffusers' `randn_tensor`, which does so by itself. For those that call torch, a call that is
    refused is made again with the numbers drawn on the host and moved; later calls of the class are made so at once.
    """

    def __init__(self) -> None:
        self._classes: set[str] = set()

    def of(self, name: str, call: Callable[[], Any], warnings: list[str]) -> Any:
        """Make a call of a pipeline.

        Args:
            name: Class of the pipeline.
            call: Makes it, with a generator in the state of its seed each time.
            warnings: What libraries have said so far; of a call that is made again nothing is kept.
        """
        if name not in self._classes:
            said = len(warnings)
            try:
                return call()
            except RuntimeError as error:
                if not _REFUSED_GENERATOR.search(str(error)):
                    raise
                self._classes.add(name)
                del warnings[said:]
        with _DrawingOnHost():
            return call()


#: What torch says of a generator that is not of the device that numbers are drawn for.
_REFUSED_GENERATOR = re.compile(r"Expected an? '[\w:]+' (?:device type for generator|generator device) but found 'cpu")


class _DrawingOnHost(TorchFunctionMode):
    """While it is entered, numbers for a device are drawn where their generator is, and moved."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        generator, device = given.get("generator"), given.get("device")
        if generator is None or device is None or torch.device(device).type == generator.device.type:
            return function(*args, **given)
        return function(*args, **{**given, "device": generator.device}).to(device)


class _Mixing(TorchFunctionMode):
    """While it is entered, what is drawn from one generator is mixed with the same draw from another."""

    def __init__(self, own: torch.Generator | None, variation: Variation) -> None:
        super().__init__()
        self._own, self._strength = own, variation.strength
        self._other = torch.Generator("cpu").manual_seed(variation.seed)
        self.draws = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        drawn = function(*args, **given)
        if function is not torch.randn or self._own is None or given.get("generator") is not self._own:
            return drawn
        self.draws += 1
        return between(drawn, function(*args, **{**given, "generator": self._other}), self._strength)


def between(first: torch.Tensor, second: torch.Tensor, strength: float) -> torch.Tensor:
    """Return noise on the arc between two draws, which unlike their mean is as loud as they are.

    That is spherical linear interpolation (Shoemake, Animating Rotation with Quaternion Curves, 1985).

    Args:
        first: Noise of any shape.
        second: Noise of the same shape.
        strength: How far along: 0 is the first, 1 the second.
    """
    # Some devices have no double precision.
    one, other = (each.to("cpu", torch.float64).flatten() for each in (first, second))
    angle = torch.arccos((torch.dot(one, other) / (one.norm() * other.norm())).clamp(-1, 1))
    if not torch.isfinite(angle) or angle.sin() < SMALLEST_SINE:
        return first + strength * (second - first)
    shares = torch.sin((1 - strength) * angle) / angle.sin(), torch.sin(strength * angle) / angle.sin()
    return (shares[0] * one + shares[1] * other).reshape(first.shape).to(first)
