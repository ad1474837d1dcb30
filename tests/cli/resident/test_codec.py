"""What a client and its server in the background send each other."""

from __future__ import annotations

import pytest

from octabox.cli.errors import exit_code
from octabox.cli.requests.events import DownloadProgress, Message, Prepared, RunEvent
from octabox.cli.requests.run_options import RunOptions
from octabox.cli.resident.codec import decode_event, decode_options, encode_error, encode_event, encode_options
from octabox.errors import InvalidParameterError, InvalidRequestError, ModelNotFoundError, OctaboxError, RequestError
from octabox.types import AdapterReport, Artifact, Generation, Progress

ARTIFACT = Artifact("image", "image/png", b"\x00\xff", 7, {"params": {"prompt": "ü"}}, "images")


def test_options_arrive_as_they_were() -> None:
    """With the bytes of files, and pairs of which a name repeats."""
    options = RunOptions(
        "demo",
        prompts=("a", "b"),
        params=(("steps", "2"), ("cfg", "1")),
        inputs={"image": (b"\x89PNG", "https://a/b.png")},
        source=b"\x00",
        styles=("dark",),
        workflow={"hires": {"scale": 2}},
    )

    assert options == decode_options(encode_options(options))


@pytest.mark.parametrize(
    "event",
    [
        Message("Warning: odd", is_warning=True),
        DownloadProgress("some/model", 1, 2, "1 of 2 files"),
        Prepared(2, {"num_inference_steps": "steps"}),
        Prepared(1, {}, {"runs": [{"seed": 1}]}),
        Progress("running", 1, 4),
        Progress("running", 1, 4, preview=ARTIFACT),
        Generation("id", "demo", "A", "b", (ARTIFACT,), ("Odd.",), {"run": 1.5}, (AdapterReport("l", 1.0, {}, 2, 2),)),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_arrive_as_they_were(event: RunEvent) -> None:
    """In one line each."""
    line = encode_event(event)

    assert 1 == line.count("\n")
    assert event == decode_event(line.encode())


class _SpecialError(ModelNotFoundError):
    """An error of another module, which a client does not have."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidParameterError("No.", hint="Write it.", parameter="steps", choices=("a",)), InvalidParameterError),
        (InvalidRequestError([InvalidParameterError("A."), InvalidParameterError("B.")]), InvalidRequestError),
        (_SpecialError("No.", model="x"), ModelNotFoundError),
    ],
)
def test_errors_keep_their_exit_code(error: OctaboxError, expected: type[OctaboxError]) -> None:
    """And their message, hint and choices; one of another module is its class in `octabox.errors`."""
    with pytest.raises(expected) as caught:
        decode_event(encode_error(error).encode())

    names = ("message", "hint", "model", "parameter", "choices")
    assert [getattr(error, name) for name in names] == [getattr(caught.value, name) for name in names]
    assert exit_code(error) == exit_code(caught.value)
    assert isinstance(error, RequestError) == isinstance(caught.value, RequestError)
