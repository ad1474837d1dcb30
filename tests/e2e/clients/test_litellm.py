"""LiteLLM's client against a real server; it is not installed by default, since it has many dependencies."""

from __future__ import annotations

import base64
from types import ModuleType

import pytest


@pytest.fixture
def litellm() -> ModuleType:
    """Return the package."""
    missing = "litellm is not installed, so its client is not tested: pip install litellm"
    package: ModuleType = pytest.importorskip("litellm", reason=missing, exc_type=ImportError)
    return package


@pytest.mark.slow
def test_an_image(litellm: ModuleType, base: str) -> None:
    """An image comes in base64, which is all that clients of this model name read."""
    response = litellm.image_generation(
        model="openai/gpt-image-1", prompt="a star", api_base=f"{base}/v1", api_key="none"
    )

    assert base64.b64decode(response.data[0].b64_json).startswith(b"\x89PNG")
