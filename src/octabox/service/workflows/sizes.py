"""The sizes of a workflow's images: what is known of them before it runs, and those that its parts give them."""

from __future__ import annotations

from collections.abc import Iterator

from octabox.catalog.entries import PipelineEntry, SizeRule
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call
from octabox.errors import InvalidParameterError
from octabox.media.limits import check_output_size
from octabox.media.regions import Size
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.workflows.parts import MIN_SIDE
from octabox.service.workflows.resize import scaled
from octabox.service.workflows.settings import DEFAULT_SCALE, HiresPart, UpscalePart

#: The call parameters for the size of an image.
SIDES = ("width", "height")

#: The sides of a second pass are multiples of this, which nearly all pipelines require: so many pixels have their latents.
MULTIPLE = 8

#: The pixels across and down of an element of latents, by the expression of pipelines.
LATENT_FACTOR = SizeRule((), expression="vae_scale_factor")


def first_size(call: Call, entry: PipelineEntry, *, has_files: bool) -> Size | None:
    """Return the size of the images of a first call; None if it depends on its input images, or on a model elsewhere.

    Args:
        call: The call.
        entry: Its pipeline.
        has_files: Whether it has input files.
    """
    params = call.runs[0].params
    requested = tuple(side for name in SIDES if isinstance(side := params.get(name), int))
    if len(requested) == len(SIDES):
        return requested[0], requested[1]
    default = None if requested or has_files else ModelSizes(entry, call.model).default_side()
    return None if default is None else (default, default)


def reduced(size: Size, side: int) -> Size:
    """Return a size of the same shape whose longer side has so many pixels at most."""
    factor = min(side / max(size), 1)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def latent_factor(entry: PipelineEntry, model: ModelConfig) -> int:
    """Return how many pixels across and down an element of a model's latents has."""
    return ModelSizes(entry, model).multiple(LATENT_FACTOR) or MULTIPLE


def latent_scales(settings: HiresPart, call: Call) -> tuple[float, float]:
    """Return the scales of latents, across and down; a size in pixels is divided by that of the first pass.

    Raises:
        InvalidParameterError: A size is given, and that of the first pass is not.
    """
    scales: list[float | None] = []
    for name, side in zip(SIDES, (settings.width, settings.height), strict=True):
        first = call.runs[0].params.get(name)
        if side is not None and not isinstance(first, int):
            raise InvalidParameterError(
                "Latents are enlarged by a scale, since their size in pixels is not known.",
                hint="Give width and height of the request too, or a scale.",
                parameter=f"workflow.hires.{name}",
            )
        scales.append(side / first if side is not None and isinstance(first, int) else None)
    other = next((each for each in scales if each is not None), settings.scale or DEFAULT_SCALE)
    across, down = (other if each is None else each for each in scales)
    return across, down


class TargetSizes:
    """The sizes that a part gives to images.

    Args:
        settings: The settings of the part.
        part: Name of the part.
        limit: Maximum number of pixels of an image.
    """

    def __init__(self, settings: HiresPart | UpscalePart, part: str, limit: int) -> None:
        self._settings, self._limit = settings, limit
        self._parameter = f"workflow.{part}." + ("scale" if settings.width is settings.height is None else "width")

    def check(self, size: Size | None) -> None:
        """Check what becomes of an image of a size, as far as that is known.

        Raises:
            InvalidParameterError: It would be too large, or too small for a pipeline.
        """
        if size is None:
            return
        target = self.target(size, 1)
        if min(target) < MIN_SIDE:
            raise InvalidParameterError(
                f"An image of {target[0]}x{target[1]} is too small: each side has at least {MIN_SIDE} pixels.",
                hint="Give a larger scale, or a width and a height.",
                parameter=self._parameter,
            )

    def target(self, size: Size, multiple: int) -> Size:
        """Return the target size of an image, whose sides are multiples of a number.

        Raises:
            InvalidParameterError: It exceeds the limit.
        """
        width, height = (max(round(side / multiple) * multiple, multiple) for side in self._exact(size))
        check_output_size((width, height), self._limit, self._parameter)
        return width, height

    def check_latents(self, shape: tuple[int, ...], scales: tuple[float, float], factor: int) -> None:
        """Check that the image of latents of a shape is not too large once they are scaled.

        Raises:
            InvalidParameterError: It is.
        """
        width, height = scaled(shape, scales)
        check_output_size((width * factor, height * factor), self._limit, self._parameter)

    def _exact(self, size: Size) -> Iterator[float]:
        """Yield width and height of an image after the part, not rounded."""
        sides = (self._settings.width, self._settings.height)
        scale = self._settings.scale or DEFAULT_SCALE
        scales = [target / side for target, side in zip(sides, size, strict=True) if target] or [scale]
        for target, side in zip(sides, size, strict=True):
            yield target or side * scales[0]
