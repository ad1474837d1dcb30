"""What a client may say of a workflow: its parts, and the settings of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from octabox.config.problems import expectation
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    RequestError,
    UnknownParameterError,
    nearest,
)
from octabox.service.workflows.resize import FILTERS, LANCZOS, LATENT_FILTERS
from octabox.types import MAX_SEED

#: How many times larger an image becomes, and how much a second pass changes, where nothing says.
USUAL_SCALE, USUAL_STRENGTH, LATENT_STRENGTH = 2.0, 0.5, 0.7

#: Pixels around a mask that are cut out with it where nothing says.
USUAL_PADDING = 32

#: Pixels of the longest side that can be asked for, or added.
MOST_SIDE = 16_384

#: What a workflow's parameters begin with in errors, and in the native API.
PREFIX = "workflow"

#: A side of an image, in pixels.
Side = Annotated[int, Field(ge=8, le=MOST_SIDE)]

#: How far an image is widened on one side, in pixels.
Added = Annotated[int, Field(ge=0, le=MOST_SIDE)]

#: How many times larger an image becomes.
Scale = Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)]

#: Radius of a Gaussian blur, in pixels.
Blur = Annotated[int, Field(ge=0, le=512)]

#: What masked pixels show before they are painted.
Fill = Literal["original", "surroundings"]


class _Part(BaseModel):
    """One part of a workflow; a single number stands for the one setting of it that matters most."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    #: The settings that a single number stands for.
    short: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_one(cls, value: Any) -> Any:
        """Take a single number for the settings that it stands for, and an empty text or yes for none."""
        value = {} if value is True or value is None else value
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = dict.fromkeys(cls.short, value)
        if not isinstance(value, Mapping):
            return value
        given = {name: each for name, each in value.items() if each is not None}
        return {**cls.usual(given), **given}

    @classmethod
    def usual(cls, given: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003 (for those that look)
        """Return what holds where a setting is not given, but for what stands at the settings themselves."""
        return {}


class _Larger(_Part):
    """A part that makes an image larger."""

    upscaler: str = Field(LANCZOS, min_length=1, description="A filter, or a model that enlarges images, by its name.")
    scale: Scale | None = Field(None, description="How many times larger each side becomes.")
    width: Side | None = Field(None, description="Width in pixels, in place of the scale.")
    height: Side | None = Field(None, description="Height in pixels, in place of the scale.")

    @classmethod
    def usual(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a scale where no size is given; a model that enlarges has one of its own."""
        sized = {"scale", "width", "height"} & set(given)
        by_filter = given.get("upscaler", LANCZOS) in FILTERS or cls is HiresPart
        return {} if sized or not by_filter else {"scale": USUAL_SCALE}

    @model_validator(mode="after")
    def _one_size(self) -> _Larger:
        """Refuse two sizes."""
        if self.scale is not None and (self.width is not None or self.height is not None):
            raise ValueError("takes a scale, or a width and a height, not both")
        return self


class VariationPart(_Part):
    """Noise of another seed, mixed into the request's own."""

    short = ("strength",)

    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="The other seed; at random, if not given.")
    strength: float = Field(
        0.2,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="How much of it: 0 changes nothing, 1 is the other seed alone.",
    )


class InpaintPart(_Part):
    """Inpainting in which all that is not masked stays as it is, to the pixel."""

    short = ("padding",)

    area: Literal["masked", "whole"] = Field(
        "masked", description="Whether only the masked region is painted, at the full size, or the whole image."
    )
    padding: int | None = Field(
        None,
        ge=0,
        le=MOST_SIDE,
        description="Pixels around the mask that the model is to see with the region; 32, if not given.",
    )
    mask_blur: Blur = Field(4, description="Radius in pixels over which old and new run into each other.")
    fill: Fill = Field(
        "original", description="What the model finds under the mask: what is there, or colours around it."
    )
    invert: bool = Field(default=False, description="Whether to paint all but the mask.")

    @classmethod
    def usual(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a padding where a region is cut out."""
        return {} if given.get("area") == "whole" else {"padding": USUAL_PADDING}

    @model_validator(mode="after")
    def _padding_of_a_region(self) -> InpaintPart:
        """Refuse a padding where nothing is cut out."""
        if self.area == "whole" and self.padding is not None:
            raise ValueError("has a padding, which is for the area 'masked' alone")
        return self


class OutpaintPart(_Part):
    """An image that is continued beyond its edges."""

    short = ("left", "top", "right", "bottom")

    left: Added = Field(0, description="Pixels to add on the left.")
    top: Added = Field(0, description="Pixels to add above.")
    right: Added = Field(0, description="Pixels to add on the right.")
    bottom: Added = Field(0, description="Pixels to add below.")
    mask_blur: Blur = Field(8, description="Pixels inside the old edges over which old and new run into each other.")

    @model_validator(mode="after")
    def _some(self) -> OutpaintPart:
        """Refuse to add nothing."""
        if not any((self.left, self.top, self.right, self.bottom)):
            raise ValueError("adds nothing: give left, top, right or bottom in pixels")
        return self


class HiresPart(_Larger):
    """A second pass over the finished image, at a larger size."""

    short = ("scale",)

    strength: float = Field(
        USUAL_STRENGTH,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="How much the second pass may change: 0.5, or 0.7 over enlarged latents, if not given.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Denoising steps of the second pass; its strength's part of the first's, if not given.",
    )
    model: str | None = Field(None, min_length=1, description="Another model for the second pass.")
    scheduler: str | dict[str, Any] | None = Field(None, description="Another noise scheduler for the second pass.")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the second pass that differ from the first's."
    )

    @classmethod
    def usual(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a scale and a strength; enlarged latents show nothing good before they are painted over."""
        latent = given.get("upscaler") in LATENT_FILTERS
        return {**super().usual(given), "strength": LATENT_STRENGTH if latent else USUAL_STRENGTH}


class UpscalePart(_Larger):
    """An enlargement of the finished image."""

    short = ("scale",)

    params: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the upscaler, where it is a model."
    )

    @model_validator(mode="after")
    def _params_of_a_model(self) -> UpscalePart:
        """Refuse call parameters for a filter, which is not called with any."""
        if self.params and self.upscaler in FILTERS:
            raise ValueError(f"has params, which the filter '{self.upscaler}' does not take: name a model as upscaler")
        return self


class Workflow(BaseModel):
    """All parts of a workflow, in the order in which they are done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variation: VariationPart | None = Field(None, description="Mixes in the noise of another seed.")
    inpaint: InpaintPart | None = Field(None, description="Paints the masked region alone, and lays it back softly.")
    outpaint: OutpaintPart | None = Field(None, description="Continues an image beyond its edges.")
    hires: HiresPart | None = Field(None, description="Paints the finished image over at a larger size.")
    upscale: UpscalePart | None = Field(None, description="Enlarges the finished image.")

    @model_validator(mode="after")
    def _one_canvas(self) -> Workflow:
        """Refuse two parts that lay the image out."""
        if self.inpaint and self.outpaint:
            raise ValueError("takes inpaint or outpaint, not both")
        return self

    def told(self) -> dict[str, Any]:
        """Return its parts as metadata tell them, so that they mean the same where a default has changed since."""
        told = self.model_dump(mode="json", exclude_none=True, exclude={"variation"})
        return {name: {key: each for key, each in part.items() if each != {}} for name, part in told.items()}


def read(given: Mapping[str, Any]) -> Workflow:
    """Return the workflow that a request asks for; all that is wrong is named at once.

    Raises:
        RequestError: There is no such part or setting, or a value is wrong.
    """
    try:
        return Workflow.model_validate(given)
    except ValidationError as error:
        problems = list(_problems(error))
    if len(problems) == 1:
        raise problems[0]
    raise InvalidRequestError(problems)


def schema() -> dict[str, Any]:
    """Return what `read` takes, as JSON Schema (2020-12); its definitions stand in ``$defs``."""
    return Workflow.model_json_schema()


def _problems(error: ValidationError) -> Iterator[RequestError]:
    """Yield an error for each thing that is wrong, by the name that the client gave it."""
    for details in error.errors():
        path = [str(each) for each in details["loc"]]
        name = ".".join([PREFIX, *path])
        if details["type"] != "extra_forbidden":
            yield InvalidParameterError(f"'{name}' {expectation(details)}.", parameter=name)
            continue
        known = [*_settings(path[:-1])]
        like = nearest(path[-1], known)
        hint = f"Did you mean {' or '.join(like)}?" if like else f"There are {', '.join(known)}."
        yield UnknownParameterError(f"There is no '{name}'.", hint=hint, parameter=name, choices=like or known)


def _settings(path: list[str]) -> Mapping[str, Any]:
    """Return the fields of a part, or of the whole workflow where the path is empty."""
    if not path:
        return Workflow.model_fields
    part = Workflow.model_fields[path[0]].annotation
    return next(kind.model_fields for kind in get_args(part) if kind is not type(None))
