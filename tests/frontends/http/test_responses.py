"""Parts of responses: the format of images that are not requested in one, and headers of files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import Server
from octabox.config.model import ResponseFormat
from octabox.frontends.http.responses import header_text, media_headers
from octabox.types import Artifact

URL, B64 = "url", "b64_json"


async def response_format(server: Server, model: str, requested: str | None = None) -> str:
    """Return the format of an image that a model makes."""
    body = {} if requested is None else {"response_format": requested}
    item = (await server.generate(model=model, prompt="x", **body)).json()["data"][0]
    return next(name for name in (URL, B64) if name in item)


@pytest.mark.parametrize(
    ("model", "requested", "expected"),
    [
        ("gpt-image-1", None, B64),
        ("gpt-image-1-mini", "", B64),
        ("chatgpt-image-latest", None, B64),
        ("GPT-Image-1", None, B64),
        ("gpt-image-1", URL, URL),
        ("dall-e-3", None, URL),
        ("my-gpt-image", None, URL),
        ("demo", B64, B64),
    ],
)
async def test_the_response_format_of_openais_models(model: str, requested: str | None, expected: str) -> None:
    """A model with the name of one of OpenAI's that have no URLs responds as that does, unless a format is requested."""
    server = Server()
    server.add(model, "StableDiffusionPipeline")

    assert expected == await response_format(server, model, requested)


@pytest.mark.parametrize(
    ("of_server", "of_model", "expected"), [(None, None, URL), (B64, None, B64), (B64, URL, URL), (None, B64, B64)]
)
async def test_the_configured_response_format(
    of_server: ResponseFormat | None, of_model: ResponseFormat | None, expected: str
) -> None:
    """The format of the model precedes that of the server, and both precede the model's name."""
    server = Server(response_format=of_server)
    server.models.infos[0] = replace(server.models.infos[0], response_format=of_model)

    assert expected == await response_format(server, "demo")


async def test_a_server_without_base64() -> None:
    """The server's format precedes the model's name."""
    server = Server(response_format=URL)
    server.add("gpt-image-1", "StableDiffusionPipeline")

    assert URL == await response_format(server, "gpt-image-1")


def test_headers_of_a_file() -> None:
    """The warnings are one line of ASCII; a header without content is left out."""
    seeded = Artifact("audio", "audio/wav", b"", seed=3)

    assert {"x-octabox-seed": "3", "x-octabox-warnings": "One. Two ?."} == media_headers(seeded, ["One.", "Two\n\xff."])
    assert {} == media_headers(replace(seeded, seed=None), [])
    assert "a b" == header_text(" a \r\n b")
