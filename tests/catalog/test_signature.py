"""What a request may say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from octabox.catalog.entries import INTERNAL_KINDS, Parameter, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.ranges import Range
from octabox.catalog.signature import check_value, json_schema, settable_parameters, validate
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    MissingParameterError,
    RequestError,
    UnknownParameterError,
)

ENTRY = PipelineEntry(
    "ThingPipeline",
    "made.up",
    "made",
    parameters=(
        Parameter("prompt", "str | list[str]", "text", many=True, description="The words."),
        Parameter("prompt_embeds", "torch.Tensor | None", "array"),
        Parameter("image", "PipelineImageInput", "image", required=True, many=True),
        Parameter("steps", "int", "integer", default=50),
        Parameter("scale", "Optional[float]", "number", default=7.5),
        Parameter("sigmas", "List[float]", "number", many=True),
        Parameter("size", "tuple[int, int]", "integer", many=True, default=[0, 0]),
        Parameter("clean", "bool", "boolean", default=False),
        Parameter("mode", "Literal['a', 'b']", "choice", default="a", choices=("a", "b")),
        Parameter("extra", "dict[str, Any] | None", "mapping"),
        Parameter("free", "", "any"),
        Parameter("generator", "torch.Generator | None", "generator"),
        Parameter("callback_on_step_end", "Callable | None", "callback"),
        Parameter("output_type", "str", "internal", default="pil"),
        Parameter("return_dict", "bool", "internal", default=True),
    ),
    one_of=(("prompt", "prompt_embeds"),),
    swallows_kwargs=True,
)

GOOD = {"prompt": "a cat", "image": object()}


def refused(**params: object) -> RequestError:
    """Return the error for these parameters besides good ones."""
    with pytest.raises(RequestError) as caught:
        validate(ENTRY, {**GOOD, **params})
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "x"),
        ("prompt", ["x", "y"]),
        ("prompt", ""),
        ("steps", 8),
        ("scale", 8),
        ("scale", 0.0),
        ("scale", None),
        ("sigmas", [1, 0.5]),
        ("sigmas", None),
        ("size", [512, 256]),
        ("clean", True),
        ("mode", "b"),
        ("extra", {"scale": 1}),
        ("free", {"anything": [1]}),
        ("prompt_embeds", [[0.1, 0.2]]),
        ("image", b"bytes"),
    ],
)
def test_what_fits_stays_as_it_is(name: str, value: object) -> None:
    """A value of the right type goes through unchanged: 8 is not 8.0."""
    found = validate(ENTRY, {**GOOD, name: value})[name]

    assert (value, type(value)) == (found, type(found))


def test_null_is_passed_on() -> None:
    """None for an optional parameter goes to the pipeline, whatever its default; a required one must have a value."""
    assert {**validate(ENTRY, GOOD), "steps": None, "clean": None} == validate(
        ENTRY, {**GOOD, "steps": None, "clean": None}
    )
    assert isinstance(refused(image=None), InvalidRequestError)


def test_a_whole_float_is_an_integer() -> None:
    """JSON of some languages has no integers: 8.0 is one, 8.5 is not."""
    steps = validate(ENTRY, {**GOOD, "steps": 8.0})["steps"]

    assert (8, int) == (steps, type(steps))
    assert isinstance(refused(steps=8.5), InvalidParameterError)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", "8", "steps must be an integer, not '8'."),
        ("steps", True, "steps must be an integer, not True."),
        ("steps", [8], "steps must be an integer, not [8]."),
        ("scale", float("nan"), "scale must be a number, not nan."),
        ("scale", float("inf"), "scale must be a number, not inf."),
        ("sigmas", [1, float("inf")], "sigmas must be a list of numbers, not [1, inf]."),
        ("sigmas", 1.0, "sigmas must be a list of numbers, not 1.0."),
        ("clean", 1, "clean must be true or false, not 1."),
        ("mode", "c", "mode must be one of 'a', 'b', not 'c'."),
        ("prompt", 3, "prompt must be text or a list of text, not 3."),
        ("prompt", ["x", 3], "prompt must be text or a list of text, not ['x', 3]."),
        ("extra", "x", "extra must be an object, not 'x'."),
        ("free", float("nan"), "free must be something else, not nan."),
    ],
)
def test_what_does_not_fit_is_refused(name: str, value: object, message: str) -> None:
    """The error names the parameter, what it takes and what it got."""
    error = refused(**{name: value})

    assert isinstance(error, InvalidParameterError)
    assert (message, name) == (error.message, error.parameter)


def test_an_unknown_parameter_has_neighbours() -> None:
    """What `**kwargs` alone would swallow is unknown; the nearest name is offered."""
    error = refused(prompts="x")

    assert isinstance(error, UnknownParameterError)
    assert error.hint.startswith("Did you mean prompt")
    assert "generator" not in error.choices


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mask", "Did you mean mask_image (of inpainting)?"),
        ("mask_image", "It is a parameter of the task inpainting."),
        ("images", "Did you mean image or mask_image (of inpainting)?"),
        ("step", "Did you mean steps?"),
    ],
)
def test_parameters_of_other_tasks_are_suggested(name: str, hint: str) -> None:
    """With the task that has them; those of the class itself come without one."""
    parameters = (Parameter("mask_image", "PipelineImageInput", "image"), Parameter("steps", "int", "integer"))
    sibling = PipelineEntry("OtherPipeline", "made.up", "made", parameters=parameters, tasks=("inpainting",))
    with pytest.raises(UnknownParameterError) as caught:
        validate(ENTRY, {**GOOD, name: 1}, siblings=[ENTRY, sibling])

    assert hint == caught.value.hint


def test_a_hint_appears_once() -> None:
    """However many parameters it is for."""
    with pytest.raises(InvalidRequestError) as caught:
        validate(ENTRY, {**GOOD, "xyz": 1, "zyx": 1, "step": 1})

    assert (1, 1) == (caught.value.hint.count("It takes"), caught.value.hint.count("steps?"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("generator", "Set a seed."),
        ("callback_on_step_end", "Request progress or a stream."),
        ("output_type", "Set the output format."),
        ("return_dict", "Remove it."),
    ],
)
def test_what_octabox_sets_cannot_be_given(name: str, hint: str) -> None:
    """The error says what to use in its place."""
    error = refused(**{name: 1})

    assert isinstance(error, UnknownParameterError)
    assert (f"{name} is set by Octabox.", hint) == (error.message, error.hint)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"prompt": "x"}, "ThingPipeline needs image."),
        ({"prompt": "x", "image": None}, "image must be something else, not None. ThingPipeline needs image."),
        ({"image": b""}, "ThingPipeline needs prompt or prompt_embeds."),
    ],
)
def test_what_is_needed_must_be_there(params: dict[str, object], message: str) -> None:
    """A required parameter, and one of each group, must be given; None is not given."""
    with pytest.raises(RequestError) as caught:
        validate(ENTRY, params)

    assert message == caught.value.message


def test_one_of_a_group_is_enough() -> None:
    """Embeddings stand for the words that they were made from."""
    assert {"image", "prompt_embeds"} == validate(ENTRY, {"image": b"", "prompt_embeds": [1.0]}).keys()


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Several mistakes make one error that holds each of them."""
    with pytest.raises(InvalidRequestError) as caught:
        validate(ENTRY, {"stepz": 1, "scale": "big"})

    kinds = [type(problem) for problem in caught.value.problems]
    assert [UnknownParameterError, InvalidParameterError, MissingParameterError, MissingParameterError] == kinds


def test_a_type_may_be_known_by_kind_alone() -> None:
    """A parameter without an annotation is checked by its kind."""
    parameter = Parameter("steps", "", "integer", default=3)

    assert 4 == check_value(parameter, 4)
    with pytest.raises(InvalidParameterError):
        check_value(parameter, "x")


def test_the_schema_says_the_same() -> None:
    """Names, types, defaults and words stand in the schema; what Octabox sets does not."""
    schema = json_schema(ENTRY)
    properties = schema["properties"]

    assert ["image"] == schema["required"]
    assert schema["additionalProperties"] is False
    assert [{"anyOf": [{"required": ["prompt"]}, {"required": ["prompt_embeds"]}]}] == schema["allOf"]
    assert {"type": "integer", "default": 50} == properties["steps"]
    assert {"anyOf": [{"type": "number"}, {"type": "null"}], "default": 7.5} == properties["scale"]
    assert {"enum": ["a", "b"], "default": "a"} == properties["mode"]
    assert {"type": "array", "items": {"type": "number"}} == properties["sigmas"]
    assert "The words." == properties["prompt"]["description"]
    assert set() == {"generator", "callback_on_step_end", "output_type", "return_dict"} & properties.keys()


def test_media_are_addresses_or_base64() -> None:
    """An image may be given as a URL or in base64, and as a list where one is taken."""
    uri, base64, several = json_schema(ENTRY)["properties"]["image"]["anyOf"]

    assert {"type": "string", "format": "uri"} == uri
    assert {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"} == base64
    assert {"type": "array", "items": {"anyOf": [uri, base64]}} == several


def test_every_pipeline_has_a_schema_that_its_defaults_meet(catalog: Catalog) -> None:
    """Over the whole catalog, each literal default passes the check of its own parameter."""
    failed: list[Any] = []
    for entry in catalog.pipelines.values():
        json_schema(entry)
        for parameter in entry.parameters:
            if parameter.literal and not parameter.required and parameter.kind not in INTERNAL_KINDS:
                try:
                    check_value(parameter, parameter.default)
                except InvalidParameterError as error:
                    failed.append((entry.name, error.message))

    assert [] == failed


def test_paths_on_the_server(catalog: Catalog) -> None:
    """No parameter that is a path, by its name or its documentation, is one that a request may set."""
    settable = [(entry, each) for entry in catalog.pipelines.values() for each in settable_parameters(entry)]
    paths = [
        (entry.name, each.name)
        for entry, each in settable
        if each.kind in ("text", "any")
        and re.search("(file|path|dir|folder)$|on disk", f"{each.description} {each.name}")
    ]
    assert [] == paths
    with pytest.raises(UnknownParameterError, match="audio_file is a path on the server, which a request cannot set"):
        validate(catalog.pipeline("AudioDiffusionPipeline"), {"audio_file": "/etc/hostname"}, {"raw_audio": [b"bytes"]})


@pytest.mark.parametrize("range_", [Range(0, 1), Range(minimum=1), Range(exclusive_minimum=0, maximum=1), Range()])
def test_numbers_outside_the_range_are_refused(range_: Range) -> None:
    """A number that the class of a pipeline refuses is an error before anything is loaded, with the bounds in its words."""
    parameter = Parameter("strength", "number", range=range_)
    for number in (-1.0, 0, 0.5, 1, 2.5):
        if range_.contains(number):
            assert number == check_value(parameter, number)
        else:
            with pytest.raises(InvalidParameterError, match=re.escape(f"must be {range_.describe()}, not {number}")):
                check_value(parameter, number)


def test_every_derived_range_holds_for_the_default(catalog: Catalog) -> None:
    """No class refuses its own default, and each range is enforced as the schema states it, unless it is only described."""
    ranged = [
        (entry, each)
        for entry in catalog.pipelines.values()
        for each in settable_parameters(entry)
        if each.range != Range()
    ]
    assert len(ranged) > 100
    for entry, each in ranged:
        if each.literal and isinstance(each.default, int | float):
            check_value(each, each.default)
        for bound, beyond in ((each.range.minimum, -1), (each.range.maximum, 1)):
            if bound is not None and each.range.documented:
                assert int(bound) + beyond == check_value(each, int(bound) + beyond)
            elif bound is not None:
                with pytest.raises(InvalidParameterError) as caught:
                    check_value(each, int(bound) + beyond)
                assert (each.name, True) == (caught.value.parameter, each.range.describe() in caught.value.message), (
                    entry
                )
