"""Files that cannot be read, of every kind, where they are decoded: each is an error that says what is wrong and what to do."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

import spoilt
from in_process_decoder import InProcessDecoder
from octabox.catalog.entries import Parameter, ParameterKind, PipelineEntry
from octabox.errors import MediaError
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.service.inputs import decode_inputs
from octabox.types import Source

#: A parameter for each kind of file; a mask is read as an image is, in its own way.
TAKERS: dict[str, ParameterKind] = {
    "image": "image",
    "mask_image": "mask",
    "video": "video",
    "audio": "audio",
    "latents": "array",
}

#: A call that takes them.
ENTRY = PipelineEntry(
    "Everything", "made.up", "made", parameters=tuple(Parameter(name, "", kind) for name, kind in TAKERS.items())
)

#: Each file with the parameters that it is given for.
GIVEN = [
    (name, parameter)
    for name, (kind, _, _) in spoilt.unreadable().items()
    for parameter, taken in TAKERS.items()
    if kind == ("image" if taken == "mask" else taken)
]


@pytest.mark.parametrize("sent", [bytes, lambda data: base64.b64encode(data).decode()], ids=["bytes", "text"])
@pytest.mark.parametrize(("name", "parameter"), GIVEN, ids=[f"{name} for {parameter}" for name, parameter in GIVEN])
async def test_a_file_that_cannot_be_read(name: str, parameter: str, sent: Callable[[bytes], Source]) -> None:
    """The error is of the file's kind, and names the parameter, what is wrong and what to do."""
    kind, data, words = spoilt.unreadable()[name]
    limits = MediaLimits()
    with pytest.raises(MediaError) as caught:
        await decode_inputs({parameter: (sent(data),)}, ENTRY, Fetcher(limits), InProcessDecoder(limits))

    assert (kind, parameter) == (caught.value.media_kind, caught.value.parameter)
    assert words in str(caught.value)
    assert caught.value.hint
