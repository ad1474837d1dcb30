"""The parts of a workflow, and the settings of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from octabox.config.model import MAX_SEED
from octabox.config.problems import describe_expected
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    RequestError,
    UnknownParameterError,
    nearest,
)
from octabox.noise import MAX_SIDE
from octabox.service.workflows.parts import (
    FacesPart,
    NoisePart,
    RefinerPart,
    SeamlessPart,
    Side,
    StagePart,
    WorkflowPart,
)
from octabox.service.workflows.resize import FILTERS, LANCZOS, LATENT_FILTERS

#: Default scale of an image, and default strengths of a second pass.
DEFAULT_SCALE, DEFAULT_STRENGTH, LATENT_STRENGTH = 2.0, 0.5, 0.7

#: Default pixels around a mask that are cropped with it.
DEFAULT_PADDING = 32

#: Prefix of the names of a workflow's settings, in errors and in the native API.
PREFIX = "workflow"

#: Pixels added to a side.
Added = Annotated[int, Field(ge=0, le=MAX_SIDE)]

#: Factor of the sides of an image.
Scale = Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)]

#: Radius of a Gaussian blur, in pixels.
Blur = Annotated[int, Field(ge=0, le=512)]

#: Radii of a Gaussian blur, across and down.
Blurs = Annotated[list[Blur], Field(min_length=2, max_length=2)]

#: Content of masked pixels before they are painted.
Fill = Literal["original", "surroundings", "noise", "blank", "latent-noise", "latent-blank"]


class _ResizePart(WorkflowPart):
    """A part that enlarges an image."""

    upscaler: str = Field(LANCZOS, min_length=1, description="A filter, or the name of a model that enlarges images.")
    scale: Scale | None = Field(None, description="Factor of each side.")
    width: Side | None = Field(None, description="Width in pixels, in place of the scale.")
    height: Side | None = Field(None, description="Height in pixels, in place of the scale.")
    crop: bool | None = Field(
        None, description="Whether an image of another shape than width and height is cropped; stretched, if not given."
    )

    @classmethod
    def conditional_defaults(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a scale if no size is given, since a model that enlarges has its own; both sides are not cropped."""
        if {"width", "height"} <= set(settings):
            return {"crop": False}
        sized = {"scale", "width", "height"} & set(settings)
        by_filter = _is_in(settings.get("upscaler", LANCZOS), FILTERS) or cls is HiresPart
        return {} if sized or not by_filter else {"scale": DEFAULT_SCALE}

    @model_validator(mode="after")
    def _one_size(self) -> _ResizePart:
        """Raise if both a scale and a size are given."""
        if self.scale is not None and (self.width is not None or self.height is not None):
            raise ValueError("takes a scale, or a width and a height, not both")
        if self.crop and (self.width is None or self.height is None):
            raise ValueError("crops to a width and a height: give both, or leave crop out")
        return self


def _is_in(name: object, names: Mapping[str, Any]) -> bool:
    """Return whether a value that is not validated yet is one of these names."""
    return isinstance(name, str) and name in names


class VariationPart(WorkflowPart):
    """Noise of another seed, mixed into the request's own."""

    short = ("strength",)

    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="The other seed; at random, if not given.")
    strength: float = Field(
        0.2,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the other noise, from 0 to 1.",
    )


class InpaintPart(WorkflowPart):
    """Inpainting that does not change any pixel outside of the mask."""

    short = ("padding",)

    area: Literal["masked", "whole"] = Field(
        "masked", description="Whether only the masked region is painted, at the full size, or the whole image."
    )
    padding: int | None = Field(
        None,
        ge=0,
        le=MAX_SIDE,
        description="Pixels around the mask that are part of the painted region; 32, if not given.",
    )
    mask_blur: Blur | Blurs = Field(
        4, description="Radius in pixels over which old and new pixels blend; two are those across and down."
    )
    fill: Fill = Field(
        "original",
        description="Content of the mask: the original, the colours around it, noise or grey, or noisy or blank latents.",
    )
    invert: bool = Field(default=False, description="Whether to paint all but the mask.")

    @classmethod
    def conditional_defaults(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a padding if a region is cropped."""
        return {} if settings.get("area") == "whole" else {"padding": DEFAULT_PADDING}

    @model_validator(mode="after")
    def _padding_of_a_region(self) -> InpaintPart:
        """Raise if there is a padding and nothing is cropped."""
        if self.area == "whole" and self.padding is not None:
            raise ValueError("has a padding, which is for the area 'masked' alone")
        return self


class OutpaintPart(WorkflowPart):
    """Outpainting, which continues an image beyond its edges."""

    short = ("left", "top", "right", "bottom")

    left: Added = Field(0, description="Pixels to add on the left.")
    top: Added = Field(0, description="Pixels to add above.")
    right: Added = Field(0, description="Pixels to add on the right.")
    bottom: Added = Field(0, description="Pixels to add below.")
    mask_blur: Blur = Field(8, description="Pixels inside the old edges over which old and new pixels blend.")

    @model_validator(mode="after")
    def _some(self) -> OutpaintPart:
        """Raise if no side is given."""
        if not any((self.left, self.top, self.right, self.bottom)):
            raise ValueError("adds nothing: give left, top, right or bottom in pixels")
        return self


class HiresPart(_ResizePart):
    """A second pass over the image, at a larger size."""

    short = ("scale",)

    strength: float = Field(
        DEFAULT_STRENGTH,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Strength of the second pass: 0.5, or 0.7 for enlarged latents, if not given.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Denoising steps of the second pass; the steps of the first times the strength, if not given.",
    )
    model: str | None = Field(None, min_length=1, description="Another model for the second pass.")
    scheduler: str | dict[str, Any] | None = Field(None, description="Another noise scheduler for the second pass.")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the second pass that differ from the first's."
    )

    @classmethod
    def conditional_defaults(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a scale and a strength; enlarged latents need a higher one."""
        latent = _is_in(settings.get("upscaler"), LATENT_FILTERS)
        return {**super().conditional_defaults(settings), "strength": LATENT_STRENGTH if latent else DEFAULT_STRENGTH}


class UpscalePart(_ResizePart):
    """An enlargement of the image."""

    short = ("scale",)

    params: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the upscaler, if it is a model."
    )

    @model_validator(mode="after")
    def _params_of_a_model(self) -> UpscalePart:
        """Raise if there are call parameters for a filter."""
        if self.params and self.upscaler in FILTERS:
            raise ValueError(f"has params, which the filter '{self.upscaler}' does not take: name a model as upscaler")
        return self


class Workflow(BaseModel):
    """All parts of a workflow, in the order in which they run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: tuple[StagePart | None, ...] = Field((), description="Settings of each stage of a cascade, in order.")
    variation: VariationPart | None = Field(None, description="Mixes in the noise of another seed.")
    noise: NoisePart | None = Field(None, description="Changes the size or the scale of the initial noise.")
    seamless: SeamlessPart | None = Field(None, description="Lets opposite edges of the image continue each other.")
    inpaint: InpaintPart | None = Field(
        None, description="Paints only the masked region, and blends it into the image."
    )
    outpaint: OutpaintPart | None = Field(None, description="Continues an image beyond its edges.")
    refiner: RefinerPart | None = Field(None, description="Lets another model run the last steps.")
    hires: HiresPart | None = Field(None, description="Runs a second pass over the image at a larger size.")
    upscale: UpscalePart | None = Field(None, description="Enlarges the image.")
    faces: FacesPart | None = Field(None, description="Restores the faces in the image.")

    @model_validator(mode="after")
    def _one_canvas(self) -> Workflow:
        """Raise if there are both inpainting and outpainting."""
        if self.inpaint and self.outpaint:
            raise ValueError("takes inpaint or outpaint, not both")
        return self

    def to_metadata(self) -> dict[str, Any]:
        """Return the parts for the metadata, with all defaults, which may change later."""
        parts = self.model_dump(mode="json", exclude_none=True, exclude={"variation", "noise", "seamless", "stages"})
        return {name: {key: each for key, each in part.items() if each != {}} for name, part in parts.items()}


def parse_workflow(workflow: Mapping[str, Any]) -> Workflow:
    """Return the workflow of a request.

    Raises:
        RequestError: There is no such part or setting, or a value is invalid; all problems are reported together.
    """
    try:
        return Workflow.model_validate(workflow)
    except ValidationError as error:
        problems = list(_problems(error))
    if len(problems) == 1:
        raise problems[0]
    raise InvalidRequestError(problems)


def workflow_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a workflow; its definitions are in ``$defs``."""
    return Workflow.model_json_schema()


def _problems(error: ValidationError) -> Iterator[RequestError]:
    """Yield an error for each problem."""
    for details in error.errors():
        path = [str(each) for each in details["loc"]]
        name = ".".join([PREFIX, *path])
        if details["type"] != "extra_forbidden":
            yield InvalidParameterError(f"'{name}' {describe_expected(details)}.", parameter=name)
            continue
        known = [*_settings(path[:-1])]
        close = nearest(path[-1], known)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(known)}."
        yield UnknownParameterError(f"There is no '{name}'.", hint=hint, parameter=name, choices=close or known)


def _settings(path: list[str]) -> Mapping[str, Any]:
    """Return the fields of a part; of the workflow, if the path is empty."""
    if not path:
        return Workflow.model_fields
    kinds = get_args(Workflow.model_fields[path[0]].annotation)
    # A list of parts has their type among its own arguments.
    kinds = (*kinds, *(inner for kind in kinds for inner in get_args(kind)))
    return next(kind.model_fields for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
