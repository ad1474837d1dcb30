"""Request bodies of routes without a prompt."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from octabox.frontends.http.a1111.fields import Count, LenientModel, Number


class ExtrasBody(LenientModel):
    """Fields of both routes that enlarge images."""

    resize_mode: Count = Field(0, ge=0, le=1, description="0 by a factor, 1 to a size.")
    show_extras_results: bool = Field(default=True, description="Accepted for compatibility; the images are returned.")
    gfpgan_visibility: Number = Field(0.0, ge=0, le=1, description="Share of the faces that a model restores.")
    codeformer_visibility: Number = Field(0.0, ge=0, le=1, description="Likewise, by another model.")
    codeformer_weight: Number = Field(0.0, ge=0, le=1, description="No effect.")
    upscaling_resize: Number = Field(2.0, gt=0, le=16, description="Factor of each side.")
    upscaling_resize_w: Count = Field(512, ge=1, description="Width, if `resize_mode` is 1.")
    upscaling_resize_h: Count = Field(512, ge=1, description="Height, if `resize_mode` is 1.")
    upscaling_crop: bool = Field(default=True, description="Whether what exceeds the size is cut off.")
    upscaler_1: str = Field("None", description="Filter or model that enlarges.")
    upscaler_2: str = Field("None", description="Another one, whose result is blended in.")
    extras_upscaler_2_visibility: Number = Field(0.0, ge=0, le=1, description="Share of its result.")
    upscale_first: bool = Field(default=False, description="Whether faces are restored after that.")


class SingleBody(ExtrasBody):
    """Body of ``extra-single-image``."""

    image: str = Field("", description="The image in base64.")


class NamedImage(BaseModel):
    """An image with a name."""

    data: str = Field(description="The image in base64.")
    name: str = Field("", description="Its name.")


class BatchBody(ExtrasBody):
    """Body of ``extra-batch-images``."""

    imageList: list[NamedImage] = Field(default_factory=list, max_length=64, description="The images.")  # noqa: N815 (the client's name)


def batch_schema() -> dict[str, Any]:
    """Return the JSON Schema of the body of ``extra-batch-images``, without references."""
    schema = BatchBody.model_json_schema()
    schema["properties"]["imageList"]["items"] = schema.pop("$defs")[NamedImage.__name__]
    return schema


class PngBody(LenientModel):
    """Body of ``png-info``."""

    image: str = Field("", description="The image in base64.")


class InterrogateBody(LenientModel):
    """Body of ``interrogate``."""

    image: str = Field("", description="The image in base64.")
    model: str = Field("clip", description="A model that describes images; `clip` is the first one.")
