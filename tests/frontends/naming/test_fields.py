"""Fields that no schema declares, in every protocol that takes call parameters among its own fields."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import Server
from octabox.frontends.naming.fields import ExtraFields
from octabox.types import Artifact


def test_fields_that_are_not_declared() -> None:
    """Values are call parameters; nulls are optional ones, except those of short names."""
    body = ExtraFields.model_validate({"eta": 0.5, "sigmas": None, "steps": None, "cfg": 2})

    assert ({"eta": 0.5, "cfg": 2}, {"sigmas": None}) == (body.extra_fields, body.null_fields)


@pytest.mark.parametrize(
    ("path", "body", "made"),
    [
        ("/v1/images/generations", {"model": "demo", "prompt": "x"}, None),
        ("/v1/videos", {"model": "ltx", "prompt": "x"}, Artifact("video", "video/mp4", b"clip")),
        ("/video", {"model": "ltx", "prompt": "x"}, Artifact("video", "video/mp4", b"clip")),
        ("/v1/audio/speech", {"model": "sound", "input": "x"}, Artifact("audio", "audio/mpeg", b"sound")),
        ("/models/demo", {"inputs": "x"}, None),
    ],
)
async def test_a_null_is_passed_on(path: str, body: dict[str, Any], made: Artifact | None) -> None:
    """It may differ from the default of the pipeline, which is not known here."""
    server = Server()
    server.add("ltx", "LTXPipeline")
    server.add("sound", "AudioLDM2Pipeline")
    server.generations.made = made
    nulls = {"complex_human_instruction": None, "num_inference_steps": None, "steps": None}
    body |= {"parameters": nulls} if path.startswith("/models") else nulls
    answer = await server.http.post(path, json=body)

    assert answer.is_success, answer.text
    assert {"complex_human_instruction": None, "num_inference_steps": None} == server.asked.optional_params
    assert server.asked.params == {"prompt": "x"}
