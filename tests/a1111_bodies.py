"""Bodies of the A1111 API, and what the service is asked for by them."""

from __future__ import annotations

import base64
import json
from typing import Any

from fakes import Server, sample_image
from octabox.types import GenerationRequest

#: A small image.
IMAGE = base64.b64encode(sample_image(size=(16, 16))).decode()


async def sent(server: Server, route: str = "txt2img", **body: Any) -> tuple[GenerationRequest, list[str]]:
    """Return the request to the service for a body, and the warnings of the response."""
    answer = await server.http.post(f"/sdapi/v1/{route}", json=body)
    assert answer.is_success, answer.text
    warnings = [each for each in answer.json()["warnings"] if each != "served warning."]
    assert warnings == [each for each in json.loads(answer.json()["info"])["warnings"] if each != "served warning."]
    return server.asked, warnings
