"""The pages on protocols name everything that there is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

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


def section(name: str) -> str:
    """Return the page's part on the fields of a request."""
    return PAGE.partition(f"## Fields of a request for {name}\n")[2].partition("\n## ")[0]


def missing(names: Iterable[str], text: str) -> list[str]:
    """Return the names that a text does not hold."""
    return [name for name in names if f"`{name}`" not in text]
