"""Errors and warnings in a client's words."""

from __future__ import annotations

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import validate
from octabox.errors import InvalidParameterError, InvalidRequestError, MissingParameterError
from octabox.frontends.naming.parameters import ALIASES
from octabox.frontends.naming.renaming import rename_error, rename_error_params, rename_warnings
from octabox.service.bounds import Limits, check_amounts


def test_warnings_by_the_clients_names() -> None:
    """A warning of two parameters that are one field of the client's is one warning."""
    warnings = ["'width' has no effect: it is fixed.", "'height' has no effect: it is fixed.", "Another 'width'.", "x"]
    expected = ["'size' has no effect: it is fixed.", "Another 'width'.", "x"]

    assert expected == rename_warnings(warnings, {"width": "size", "height": "size"})
    assert warnings == rename_warnings(warnings, {})


def test_reasons_by_the_clients_names() -> None:
    """The parameters that a warning gives as its reason have the client's names too; values and other texts are kept."""
    names = {"guidance_scale": "cfg_scale", "num_inference_steps": "steps"}
    warnings = [
        "'negative_prompt' has no effect with 'guidance_scale' 1.",
        "'eta' has no effect without 'guidance_scale' and with this 'num_inference_steps'.",
        "'eta' has no effect with this model's 'guidance_scale'.",
        "A call with 'guidance_scale'.",
    ]

    assert rename_warnings(warnings, names) == [
        "'negative_prompt' has no effect with 'cfg_scale' 1.",
        "'eta' has no effect without 'cfg_scale' and with this 'steps'.",
        *warnings[2:],
    ]


def test_each_of_several_problems_is_in_the_clients_words() -> None:
    """The parameter and the message of each problem have the client's names, and so has the whole."""
    entry = load_catalog().pipeline("StableDiffusionPipeline")
    names = {"guidance_scale": "cfg", "num_inference_steps": "steps"}
    with pytest.raises(InvalidRequestError) as caught, rename_error_params(names):
        validate(entry, {"prompt": "x", "guidance_scale": "guidance_scale", "num_inference_steps": "b"})

    assert ["cfg", "steps"] == [problem.parameter for problem in caught.value.problems]
    assert "cfg must be a number, not 'guidance_scale'. steps must be an integer, not 'b'." == caught.value.message
    assert "cfg" == caught.value.parameter


@pytest.mark.parametrize("alias", sorted({*ALIASES, "quality"}))
def test_a_message_of_a_limit_has_the_clients_name(alias: str) -> None:
    """Whatever a client calls a parameter, a message about it says so."""
    name = ALIASES.get(alias, "num_inference_steps")
    error = InvalidParameterError(f"'{name}' must be from 1 to 9, not '{name}'.", parameter=name)
    rename_error(error, {name: alias})

    assert (f"'{alias}' must be from 1 to 9, not '{name}'.", alias) == (error.message, error.parameter)


@pytest.mark.parametrize(
    ("field", "params", "names", "message"),
    [
        (
            "size",
            {"width": 0, "height": 0},
            {"width": "size", "height": "size"},
            "'width' of 'size' must be at least 1",
        ),
        (
            "seconds",
            {"num_frames": 9000},
            {"num_frames": "seconds"},
            "'num_frames' of 'seconds' must be from 1 to 2048",
        ),
    ],
)
def test_a_field_of_several_parameters_names_the_one(
    field: str, params: dict[str, int], names: dict[str, str], message: str
) -> None:
    """What a size or a length in seconds sets is named too: the number in the message is that of the parameter."""
    with pytest.raises(InvalidParameterError) as caught, rename_error_params(names):
        check_amounts(params, Limits())

    assert caught.value.message.startswith(message)
    assert field == caught.value.parameter


def test_what_is_missing_has_the_clients_name() -> None:
    """The message and the hint name the field that the client must send."""
    error = MissingParameterError("AudioLDM2Pipeline needs prompt.", hint="Set prompt.", parameter="prompt")
    rename_error(error, {"prompt": "input"})

    assert "AudioLDM2Pipeline needs input. Set input." == str(error)


def test_other_names_stay() -> None:
    """A word that is the name of a parameter elsewhere in a sentence is no name of a parameter."""
    error = InvalidParameterError("Model 'm' takes no prompt.", hint="A prompt is text.", parameter="prompt")
    rename_error(error, {"prompt": "inputs"})

    assert ("Model 'm' takes no prompt. A prompt is text.", "inputs") == (str(error), error.parameter)
