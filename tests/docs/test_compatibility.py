"""The pages on protocols name everything that there is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi.routing import APIRoute

from octabox.config.settings import Settings
from octabox.frontends.http.a1111 import routes as a1111
from octabox.frontends.http.a1111.controlnet.units import Unit
from octabox.frontends.http.a1111.extras.schema import BatchBody, InterrogateBody, PngBody, SingleBody
from octabox.frontends.http.a1111.generation.schema import GenerationBody, ImageToImageBody, TextToImageBody
from octabox.frontends.http.a1111.options import Options
from octabox.frontends.http.huggingface.schema import InferenceParameters, InferenceRequest
from octabox.frontends.http.native.generations.schema import ALIASES as NATIVE_ALIASES
from octabox.frontends.http.native.generations.schema import NativeRequest, Output
from octabox.frontends.http.openai.images.schema import ImageRequest
from octabox.frontends.http.openai.speech.schema import SpeechRequest
from octabox.frontends.http.openai.videos.schema import VideoRequest
from octabox.frontends.naming.parameters import ALIASES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "compatibility" / "openai.md").read_text(encoding="utf-8")
HUGGING_FACE = (DOCS / "compatibility" / "huggingface.md").read_text(encoding="utf-8")
A1111 = (DOCS / "compatibility" / "a1111.md").read_text(encoding="utf-8")
NATIVE = (DOCS / "reference" / "native-api.md").read_text(encoding="utf-8")


def test_every_field_is_on_the_page() -> None:
    """Each field that is understood, and each of LocalAI's words, has a row."""
    images, videos, speech = (section(name) for name in ("images", "a video", "speech"))

    assert [] == missing((*ImageRequest.model_fields, *ALIASES), images)
    assert [] == missing(VideoRequest.model_fields, videos)
    assert [] == missing(SpeechRequest.model_fields, speech)


def test_every_field_of_our_own_api_is_on_its_page() -> None:
    """The same holds for the native API."""
    fields = [*NativeRequest.model_fields, *NATIVE_ALIASES, *(f"output.{name}" for name in Output.model_fields)]

    assert [] == missing([name for name in fields if name != "output"], NATIVE)


def test_every_field_of_the_inference_api_is_on_its_page() -> None:
    """And for that of the Hub."""
    assert [] == missing([*InferenceRequest.model_fields, *InferenceParameters.model_fields], HUGGING_FACE)


def test_every_field_of_the_web_ui_is_on_its_page() -> None:
    """Each field of its bodies, options and units has a row, and is not there without being one."""
    parts = {
        "txt2img and img2img": set(GenerationBody.model_fields) | {"clip_skip"},
        "txt2img alone": set(TextToImageBody.model_fields) - set(GenerationBody.model_fields),
        "img2img alone": set(ImageToImageBody.model_fields) - set(GenerationBody.model_fields),
        "a unit of ControlNet": set(Unit.model_fields),
        "the routes without a prompt": {
            name for body in (SingleBody, BatchBody, PngBody, InterrogateBody) for name in body.model_fields
        },
    }
    rows = {name: rows_of(f"## Fields of {name}\n") for name in parts}

    assert parts == rows
    assert set(Options.model_fields) == rows_of("## Options\n")


def test_every_route_of_the_web_ui_is_on_its_page() -> None:
    """Each route has a row, and each row a route."""
    context: Any = SimpleNamespace(settings=Settings())
    routes = [route for part in a1111.build_parts(context) for route in part.routes if isinstance(route, APIRoute)]
    found = {f"{method} {route.path}" for route in routes for method in route.methods or ()}

    assert found == rows_of("## Routes\n")


def rows_of(heading: str) -> set[str]:
    """Return the names in the first column of the table after a heading."""
    text = A1111.partition(heading)[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` ", text, re.MULTILINE))


def section(name: str) -> str:
    """Return the page's part on the fields of a request."""
    return PAGE.partition(f"## Fields of a request for {name}\n")[2].partition("\n## ")[0]


def missing(names: Iterable[str], text: str) -> list[str]:
    """Return the names that a text does not hold."""
    return [name for name in names if f"`{name}`" not in text]
