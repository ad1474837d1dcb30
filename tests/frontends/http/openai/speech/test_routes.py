"""Speech by OpenAI's client, over fakes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fakes import Server
from octabox.errors import InvalidParameterError, InvalidRequestError, MissingParameterError
from octabox.types import Artifact

PATH = "/v1/audio/speech"


@pytest.fixture
def server() -> Server:
    """Return a server that makes audio, over fakes."""
    server = Server()
    server.add("picasso", "StableDiffusionPipeline")
    server.add("audioldm", "AudioLDM2Pipeline")
    server.add("spectrograms", "SpectrogramDiffusionPipeline")
    server.generations.made = Artifact("audio", "audio/mpeg", b"sound", name="audios")
    return server


async def post(server: Server, **body: Any) -> httpx.Response:
    """Ask for audio."""
    return await server.http.post(PATH, json={"model": "audioldm", "input": "rain", **body})


async def test_the_client_gets_the_file(server: Server) -> None:
    """The unmodified client gets the bytes; a voice that it must send is a warning."""
    async with server.client() as client:
        answer = await client.audio.speech.create(model="audioldm", input="rain", voice="alloy")

    assert b"sound" == answer.content
    assert "audio/mpeg" == answer.response.headers["content-type"]
    assert "'voice' has no effect" in answer.response.headers["x-octabox-warnings"]
    assert "served warning." in answer.response.headers["x-octabox-warnings"]
    assert ({"prompt": "rain"}, "mp3") == (server.asked.params, server.asked.output.format)


async def test_other_fields_are_call_parameters(server: Server) -> None:
    """Everything that the pipeline takes can be said; the seed comes back."""
    answer = await post(server, audio_length_in_s=2.5, seed=4, response_format="wav", speed=1.0)

    assert {"prompt": "rain", "audio_length_in_s": 2.5} == server.asked.params
    assert "wav" == server.asked.output.format
    assert "4" == answer.headers["x-octabox-seed"]


async def test_the_client_is_told_of_what_it_does_not_get(server: Server) -> None:
    """A response is one file; warnings have the client's names."""
    server.generations.copies, server.generations.warnings = 3, ("'prompt' has no effect.",)
    told = (await post(server)).headers["x-octabox-warnings"]

    assert "'input' has no effect. The response has the first of 3 outputs." == told


async def test_the_first_model_that_makes_audio(server: Server) -> None:
    """Without a model the first of the list that makes audio is asked."""
    await post(server, model=None)

    assert "audioldm" == server.asked.model


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"prompt": "wind"}, "prompt"),
        ({"voice": "nova"}, "voice"),
        ({"voice": {"id": "mine"}}, "voice"),
        ({"speed": 2}, "speed"),
        ({"speed": 9}, "speed"),
        ({"instructions": "whisper"}, "instructions"),
        ({"response_format": "opus"}, "response_format"),
        ({"stream_format": "sse"}, "stream_format"),
        ({"model": "picasso"}, "model"),
        ({"model": "spectrograms"}, "input"),
    ],
)
async def test_bad_input(server: Server, fields: dict[str, Any], parameter: str) -> None:
    """What cannot be honoured is an error that names the field."""
    answer = await post(server, **fields)

    assert (400, parameter) == (answer.status_code, answer.json()["error"]["param"])
    assert [] == server.generations.requests


async def test_a_model_without_audio_says_what_it_makes(server: Server) -> None:
    """The error names what the model makes."""
    error = (await post(server, model="picasso")).json()["error"]

    assert "Model 'picasso' makes images, not audio." in error["message"]


async def test_errors_are_in_the_clients_words(server: Server) -> None:
    """What the service calls prompt is the client's input."""
    server.generations.error = MissingParameterError("Missing.", parameter="prompt")

    assert "input" == (await post(server)).json()["error"]["param"]


async def test_several_problems_are_in_the_clients_words(server: Server) -> None:
    """Each problem of a response has the client's name of its parameter, and its message too."""
    problems = [InvalidParameterError(f"{name} must be text, not 1.", parameter=name) for name in ("prompt", "other")]
    server.generations.error = InvalidRequestError(problems)
    error = (await post(server)).json()["error"]

    assert ["input", "other"] == [each["param"] for each in error["problems"]]
    assert "input must be text, not 1. other must be text, not 1." == error["message"]


async def test_a_pipeline_that_made_something_else(server: Server) -> None:
    """An answer without audio is an error, no image."""
    server.generations.made = Artifact("image", "image/png", b"picture")

    assert 500 == (await post(server)).status_code
