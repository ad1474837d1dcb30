"""The fields that OpenAI's client can send, by its own types."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from openai.types import image_create_variation_params, image_edit_params, image_generate_params, video_create_params
from openai.types.audio import speech_create_params
from pydantic import BaseModel

from fakes import Server
from octabox.frontends.http.openai.images.schema import ImageRequest
from octabox.frontends.http.openai.speech.schema import SpeechRequest
from octabox.frontends.http.openai.videos.schema import VideoRequest

#: Fields that are read as files.
FILES = {"image", "mask"}

#: Fields that are refused: they set what is made in a format that no image can have here, or an image that no pipeline takes.
REFUSED = {"frame_count", "frame_duration_ms", "svg", "markup"}


@pytest.mark.parametrize(
    ("params", "schema"),
    [
        (image_generate_params.ImageGenerateParams, ImageRequest),
        (image_edit_params.ImageEditParams, ImageRequest),
        (image_create_variation_params.ImageCreateVariationParams, ImageRequest),
        (video_create_params.VideoCreateParams, VideoRequest),
        (speech_create_params.SpeechCreateParams, SpeechRequest),
    ],
    ids=["generate", "edit", "variation", "video", "speech"],
)
def test_each_field_of_the_client_is_known(params: Any, schema: type[BaseModel]) -> None:
    """Each field of the client is declared, or it is one of those that are refused on purpose."""
    fields = {name for each in get_args(params) or (params,) for name in each.__annotations__}

    assert set() == fields - schema.model_fields.keys() - FILES - REFUSED


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_a_field_that_is_refused(name: str) -> None:
    """It reaches the check of the call parameters by its own name, which refuses it; nothing drops it in silence."""
    server = Server()
    await server.generate(prompt="x", **{name: 5})

    assert 5 == server.asked.params[name]
