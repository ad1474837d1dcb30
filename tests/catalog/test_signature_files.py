"""What a request may bring as files."""

from __future__ import annotations

import pytest

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.signature import json_schema, validate
from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError, UnknownParameterError

BRINGING = PipelineEntry(
    "BringingPipeline",
    "made.up",
    "made",
    parameters=(
        Parameter("image", "PIL.Image.Image", "image", required=True),
        Parameter("references", "list[PIL.Image.Image]", "image", many=True),
        Parameter("video", "list[PIL.Image.Image]", "video"),
        Parameter("latents", "torch.Tensor | None", "array"),
        Parameter("prompt", "str | None", "text"),
        Parameter("callback", "Callable | None", "callback"),
    ),
    one_of=(("prompt", "latents"),),
)


def brought(**files: int) -> list[tuple[type[RequestError], str | None, str]]:
    """Return the errors for so many files for each parameter: class, parameter and message."""
    given = {name: tuple(b"file" for _ in range(count)) for name, count in files.items()}
    try:
        validate(BRINGING, {}, given)
    except InvalidRequestError as error:
        return [(type(each), each.parameter, each.message) for each in error.problems]
    except RequestError as error:
        return [(type(error), error.parameter, error.message)]
    return []


def test_files_count_as_given() -> None:
    """What came as a file is there, and stands for the others of its group; it is not among the checked values."""
    assert [] == brought(image=1, latents=1)
    assert {} == validate(BRINGING, {}, {"image": (b"",), "latents": (b"",)})


@pytest.mark.parametrize(
    ("files", "parameter", "message"),
    [
        ({"image": 2}, "image", "image takes one image, not 2."),
        ({"image": 1, "latents": 3}, "latents", "latents takes one array, not 3."),
    ],
)
def test_several_files_where_one_is_taken_are_refused(files: dict[str, int], parameter: str, message: str) -> None:
    """The error names the parameter and says how many came."""
    assert (InvalidParameterError, parameter, message) == brought(**{"latents": 1, **files})[0]


def test_several_files_for_a_video_may_be_its_frames() -> None:
    """What they are is known once they are decoded."""
    assert [] == brought(image=1, video=8, latents=1)


def test_a_list_takes_many_files() -> None:
    """As many as are sent."""
    assert [] == brought(image=1, references=5, latents=1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("img", "BringingPipeline has no parameter 'img'."),
        ("callback", "callback is set by Octabox."),
    ],
)
def test_a_file_that_nothing_takes_is_unknown(name: str, message: str) -> None:
    """A file for something that Octabox sets, or for nothing at all."""
    assert [(UnknownParameterError, name, message)] == brought(image=1, latents=1, **{name: 1})


def test_a_file_for_words_is_refused() -> None:
    """The parameter is there, and the error says what it takes."""
    assert [(InvalidParameterError, "prompt", "prompt must be text, not a file.")] == brought(
        image=1, latents=1, prompt=1
    )


def test_missing_and_wrong_files_are_named_together() -> None:
    """The files' mistakes stand beside those of the values."""
    with pytest.raises(InvalidRequestError) as caught:
        validate(BRINGING, {"prompt": 3}, {"latents": (b"", b"")})

    assert {"prompt", "latents", "image"} == {problem.parameter for problem in caught.value.problems}


def test_arrays_are_files_or_lists() -> None:
    """The schema of an array takes nested lists, a URL and an .npy file in base64."""
    options = json_schema(BRINGING)["properties"]["latents"]["anyOf"]

    assert {"type": "string", "format": "uri"} in options
    assert {"type": "string", "contentEncoding": "base64", "contentMediaType": "application/x-npy"} in options
    assert "array" in {option.get("type") for option in options}
