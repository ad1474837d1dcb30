"""Files that cannot be read to a real server, of every kind: an exact error, and a good request after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import spoilt
from bringing import MOVER, PAINTER, PLAYER, READER, SEER, TAKES, ask, check, contents
from makers.samples import content

#: Files that cannot be read, and who is asked to: tests/service/test_bad_media.py has them all.
BROKEN = [
    ("a cut JPEG", PAINTER),
    ("an image beyond all sizes", PAINTER),
    ("a cut PNG", SEER),
    ("a cut MP4", MOVER),
    ("no bytes as a video", MOVER),
    ("a cut FLAC", PLAYER),
    ("a silent video as an audio", PLAYER),
    ("a cut array", READER),
    ("an array with a NaN", READER),
]


#: Each of them in JSON, and one for each model in a form.
REQUESTS = [
    *((name, model, False) for name, model in BROKEN),
    *((name, model, True) for model, name in {model: name for name, model in BROKEN}.items()),
]


@pytest.mark.parametrize(
    ("name", "model", "form"),
    REQUESTS,
    ids=[f"{name} for {model} in {'a form' if form else 'JSON'}" for name, model, form in REQUESTS],
)
def test_a_file_that_cannot_be_read(
    takers: httpx.Client, before: dict[str, list[str]], name: str, model: str, form: bool
) -> None:
    """The error has the code of its kind, names the parameter, what is wrong and what to do; the model serves as before."""
    _, data, words = spoilt.unreadable()[name]
    parameter, code = TAKES[model]

    error = check(ask(takers, model, form, **{parameter: data}), code, parameter, words)

    assert error["hint"]
    assert before[model] == contents(ask(takers, model, form))


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
@pytest.mark.parametrize("make", [spoilt.pickled_array, spoilt.pickled])
def test_nothing_is_unpickled(takers: httpx.Client, tmp_path: Path, make: Callable[[str], bytes], form: bool) -> None:
    """Objects in an .npy file, and a bare pickle, are refused without being made."""
    trap = tmp_path / "sprung"

    check(ask(takers, READER, form, prompt_embeds=make(str(trap))), "invalid_array", "prompt_embeds", "numbers")

    assert not trap.exists()


def test_all_bad_files_are_named_at_once(takers: httpx.Client) -> None:
    """One answer tells what is wrong with each."""
    answer = ask(takers, PAINTER, image=spoilt.cut(content("image")), mask_image=b"text")
    told = answer.json()["error"]

    assert 400 == answer.status_code
    assert ["image", "mask_image"] == [problem["param"] for problem in told["problems"]]
    assert "is damaged" in told["message"]
    assert "is not an image" in told["message"]
