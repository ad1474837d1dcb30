"""The route that reads the request in a file."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fakes import Server

TEXT = "a cat\nSteps: 25, Sampler: Euler a, Seed: 42, Size: 640x512, Clip skip: 2"


async def post(
    query: str = "", content: bytes = TEXT.encode(), media_type: str = "application/octet-stream"
) -> httpx.Response:
    """Send a file."""
    headers = {"content-type": media_type}
    return await Server().http.post(f"/v1/metadata{query}", content=content, headers=headers)


async def test_an_infotext() -> None:
    """Its fields are those of a request; the layers that are skipped depend on the pipeline, which may not be known."""
    found: dict[str, Any] = (await post()).json()
    assert "metadata" == found["object"]
    assert {"name": "Euler a", "settings": {}} == found["metadata"]["scheduler"]
    assert {"prompt": "a cat", "num_inference_steps": 25, "width": 640, "height": 512} == found["metadata"]["params"]
    assert ["Clip skip"] == found["unused"]

    found = (await post("?model=demo")).json()
    assert (1, []) == (found["metadata"]["params"]["clip_skip"], found["unused"])
    assert "clip_layer" not in found["metadata"]
    assert ["Clip skip"] == (await post("?model=someone/else")).json()["unused"]


async def test_what_is_refused() -> None:
    """A file without metadata, and content types that pages of other sites may send."""
    nothing = await post(content=b"a cat")
    assert (400, "file") == (nothing.status_code, nothing.json()["error"]["param"])
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert 415 == (await post(media_type=media_type)).status_code


@pytest.mark.parametrize("media_type", ["image/png", "video/mp4", "Application/Octet-Stream"])
async def test_content_types_of_files(media_type: str) -> None:
    """What the file is, its content says."""
    assert 200 == (await post(media_type=media_type)).status_code
