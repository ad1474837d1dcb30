"""The pages on protocols name everything that there is."""

from __future__ import annotations

from pathlib import Path

from octabox.frontends.openai.schema import ImageRequest
from octabox.frontends.openai.translate import SPELLINGS

PAGE = (Path(__file__).parents[2] / "docs" / "compatibility" / "openai.md").read_text(encoding="utf-8")


def test_every_field_is_on_the_page() -> None:
    """Each field that is understood, and each of LocalAI's words, has a row."""
    assert [] == [name for name in (*ImageRequest.model_fields, *SPELLINGS) if f"`{name}`" not in PAGE]
