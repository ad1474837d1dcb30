"""The shared server, with a model that has the name of one of OpenAI's."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from octabox import demo

#: Name by which clients expect base64.
MODEL = "gpt-image-1"


@pytest.fixture(scope="session")
def base(registry: Path, shared: httpx.Client) -> str:
    """Return the address of a server of the embedded model under that name."""
    (registry / f"{MODEL}.yaml").write_text(
        f"name: {MODEL}\nmodel: {demo.FOLDER}\ndefaults: {{num_inference_steps: 4}}\n", encoding="utf-8"
    )
    return str(shared.base_url).rstrip("/")
