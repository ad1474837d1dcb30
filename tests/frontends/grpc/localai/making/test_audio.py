"""LocalAI's message for audio as a generation request, for pipelines of the catalog."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.making import audio
from octabox.frontends.grpc.localai.making.requests import Context
from octabox.service.bounds import Limits
from octabox.service.planning import plan_request
from octabox.service.selection.inputs import bindings_for
from octabox.service.served_model import ServedModel
from octabox.types import GenerationRequest

SONGS, SOUNDS = "AceStepPipeline", "AudioLDMPipeline"


def model(pipeline: str) -> ServedModel:
    """Return a model of a class of diffusers."""
    return ServedModel(ModelConfig(name="m", model="org/m"), load_catalog().pipeline(pipeline))


def asked(pipeline: str, **fields: Any) -> GenerationRequest:
    """Return what SoundGeneration with these fields asks a model for."""
    bindings = bindings_for(model(pipeline), load_catalog())
    message = contract.SoundGenerationRequest(**fields)
    return audio.audio_request(message, Context(bindings, {}, Environment.load({}), lambda path, _: path.encode()))


def warnings(pipeline: str, **fields: Any) -> list[str]:
    """Return the warnings about fields without effect, by the names in them."""
    request = asked(pipeline, **fields)
    plan = plan_request(request, model(pipeline), load_catalog(), Limits())
    return [warning.split("'")[1] for warning in plan.warnings]


def test_an_audio_is_asked_for_by_names() -> None:
    """The text is the prompt, the duration has the pipeline's own name, and the suffix decides the format."""
    found = asked(SOUNDS, text="rain", duration=1.5, dst="/a.flac")

    assert ({"audio_length_in_s": 1.5}, {"prompt": "rain"}) == (found.params, found.optional_params)
    assert "flac" == found.output.format


def test_a_song_has_words_and_a_measure() -> None:
    """Each field of a song reaches the parameter that it means, and the caption is the prompt."""
    fields = {"lyrics": "[verse] la", "bpm": 90, "keyscale": "C major", "timesignature": "3"}
    found = asked(SONGS, caption="a waltz", language="ja", **fields)

    assert {"prompt": "a waltz", "vocal_language": "ja", **fields} == found.optional_params
    assert [] == warnings(SONGS, caption="a waltz", language="ja", **fields)


def test_a_field_that_says_nothing_is_the_models_own() -> None:
    """Empty texts, 0 and false are what a client does not set."""
    fields: dict[str, Any] = {"lyrics": "", "bpm": 0, "keyscale": "", "think": False, "instrumental": False}

    assert {"prompt": "a waltz"} == asked(SONGS, text="a waltz", language="", **fields).optional_params


def test_a_field_that_nothing_takes_is_told() -> None:
    """No field vanishes: each that the pipeline has no parameter for is a warning."""
    fields: dict[str, Any] = {"lyrics": "la", "bpm": 90, "language": "ja", "think": True, "src_divisor": 2}

    assert {*fields, "instrumental"} == {
        *warnings(SOUNDS, text="rain", **fields),
        *warnings(SOUNDS, text="rain", instrumental=True),
    }
    assert ["think"] == warnings(SONGS, text="a waltz", think=True)


def test_a_caption_beside_a_text_is_told() -> None:
    """There is one prompt, which is the text."""
    assert {"prompt": "rain", "caption": "wind"} == asked(SONGS, text="rain", caption="wind").optional_params
    assert ["caption"] == warnings(SONGS, text="rain", caption="wind")


@pytest.mark.parametrize("pipeline", [SONGS, "MiniMaxMusic3ModularPipeline"])
def test_a_song_may_be_without_a_voice(pipeline: str) -> None:
    """Where a model takes lyrics, they say so; with other lyrics that is a contradiction."""
    assert "[Instrumental]" == asked(pipeline, text="a waltz", instrumental=True).optional_params["lyrics"]
    with pytest.raises(InvalidParameterError, match="lyrics"):
        asked(pipeline, text="a waltz", instrumental=True, lyrics="la")


def test_a_number_below_zero_is_refused() -> None:
    """It is a mistake, and not the default."""
    with pytest.raises(InvalidParameterError, match="bpm"):
        asked(SONGS, text="a waltz", bpm=-1)
