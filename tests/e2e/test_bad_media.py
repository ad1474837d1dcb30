"""Files that cannot be read to a real server, of every kind: an exact error, and a good request after it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import httpx
import numpy as np
import pytest

import spoilt
from bringing import EMBEDS, MOVER, PAINTER, PLAYER, READER, SEER, TAKES, ask, check, contents
from makers.samples import content


@cache
def broken() -> dict[str, tuple[str, bytes, str]]:
    """Return files that cannot be read, by name: the model, the file, and what is said of it."""
    return {
        "text as a picture": (PAINTER, b"a picture, believe me", "is no picture"),
        "a cut PNG": (PAINTER, spoilt.cut(content("image")), "Send the whole file."),
        "a cut JPEG": (PAINTER, spoilt.cut(spoilt.jpeg()), "Send the whole file."),
        "a picture too large": (PAINTER, spoilt.bomb(20_000, 20_000), "Send a smaller one."),
        "a picture beyond all sizes": (PAINTER, spoilt.bomb(2**31 - 1, 2**31 - 1), "Send a smaller one."),
        "no bytes as a picture": (PAINTER, b"", "is empty"),
        "a sound as a picture": (PAINTER, spoilt.wav(100), "is no picture"),
        "a clip as a picture": (PAINTER, content("video"), "is no picture"),
        "an array as a picture": (PAINTER, spoilt.npy(EMBEDS), "is no picture"),
        "text for depth": (SEER, b"a picture, believe me", "is no picture"),
        "a cut PNG for depth": (SEER, spoilt.cut(content("image")), "is damaged"),
        "text as MP4": (MOVER, b"\0\0\0\x20ftypisom but no more", "of a kind that is not read"),
        "a cut MP4": (MOVER, spoilt.cut(content("video")), "Send the whole file."),
        "an MP4 without its end": (MOVER, content("video")[:-100], "Send the whole file."),
        "no bytes as a clip": (MOVER, b"", "is empty"),
        "a sound as a clip": (MOVER, spoilt.wav(100), "holds no video"),
        "an array as a clip": (MOVER, spoilt.npy(EMBEDS), "Send a clip as MP4"),
        "a cut picture as a clip": (MOVER, spoilt.cut(content("image")), "is damaged"),
        "a WAV of no samples": (PLAYER, spoilt.wav(0), "holds a sound of no length"),
        "a cut WAV": (PLAYER, spoilt.wav(1600)[:100], "is damaged"),
        "a cut FLAC": (PLAYER, spoilt.cut(spoilt.flac()), "is damaged"),
        "no bytes as a sound": (PLAYER, b"", "is empty"),
        "text as a sound": (PLAYER, b"la la la", "Send a sound as WAV"),
        "a picture as a sound": (PLAYER, content("image"), "Send a sound as WAV"),
        "a silent clip as a sound": (PLAYER, content("video"), "holds no sound"),
        "text as an array": (READER, b"1 2 3", "is no .npy file"),
        "a picture as an array": (READER, content("image"), "is no .npy file"),
        "no bytes as an array": (READER, b"", "is empty"),
        "a cut array": (READER, spoilt.npy(EMBEDS)[:-4], "claims 1x16x32 values of 4 bytes"),
        "an array of words": (READER, spoilt.npy(np.array(["a"])), "no real numbers"),
        "an array of complex numbers": (READER, spoilt.npy(EMBEDS * 1j), "no real numbers"),
        "an array of no numbers": (READER, spoilt.npy(EMBEDS[:, :0]), "holds no numbers"),
        "an array with a NaN": (READER, spoilt.npy(np.where(EMBEDS == 1, np.nan, EMBEDS)), "1 of 512"),
        "an array with infinity": (READER, spoilt.npy(np.where(EMBEDS == 1, np.inf, EMBEDS)), "infinite: 1 of 512"),
    }


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
@pytest.mark.parametrize("name", list(broken()))
def test_a_file_that_cannot_be_read(takers: httpx.Client, before: dict[str, list[str]], name: str, form: bool) -> None:
    """The error has the code of its kind, names the parameter, what is wrong and what to do; the model serves as before."""
    model, data, words = broken()[name]
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
    assert "is no picture" in told["message"]
