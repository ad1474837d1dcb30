"""Files that do not fit the call that they are brought for, to a real server: an exact error, and a good request after it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

import spoilt
from bringing import MOVER, PAINTER, PATH, PLAYER, READER, SEER, ask, check, contents
from makers.samples import content
from spoilt import EMBEDS

#: Requests whose files are no files, too many, too few or at odds: the model, what is changed, the code, the parameter,
#: and what is said.
ODD: dict[str, tuple[str, dict[str, Any], str, str | None, str]] = {
    "a number as an image": (PAINTER, {"image": 5}, "invalid_value", "image", "must be an image, not 5"),
    "an object as an image": (PAINTER, {"image": {"url": "x"}}, "invalid_value", "image", "must be an image"),
    "numbers as an image": (PAINTER, {"image": [[1, 2], [3, 4]]}, "invalid_value", "image", "must be an image"),
    "numbers as a video": (MOVER, {"video": [[1, 2], [3, 4]]}, "invalid_value", "video", "must be a video"),
    "truth as an audio": (
        PLAYER,
        {"initial_audio_waveforms": True},
        "invalid_value",
        "initial_audio_waveforms",
        "must be audio",
    ),
    "no images": (PAINTER, {"image": []}, "invalid_value", "image", "must be an image, not []"),
    "no videos": (MOVER, {"video": []}, "invalid_value", "video", "must be a video, not []"),
    "no numbers": (READER, {"prompt_embeds": []}, "invalid_value", "prompt_embeds", "has no values"),
    "two videos": (MOVER, {"video": [content("video")] * 2}, "invalid_value", "video", "takes one video, not 2"),
    "two audio": (
        PLAYER,
        {"initial_audio_waveforms": [spoilt.wav(9)] * 2},
        "invalid_value",
        "initial_audio_waveforms",
        "takes one audio, not 2",
    ),
    "two arrays": (READER, {"prompt_embeds": [spoilt.npy(EMBEDS)] * 2}, "invalid_value", "prompt_embeds", "not 2"),
    "two images for one mask": (PAINTER, {"image": [content("image")] * 2}, "invalid_value", "image", "2 files"),
    "no image": (PAINTER, {"image": None}, "missing_required_parameter", "image", "needs image"),
    "no mask": (PAINTER, {"mask_image": None}, "missing_required_parameter", "mask_image", "needs mask_image"),
    "no image for depth": (SEER, {"image": None}, "missing_required_parameter", "image", "needs image"),
    "neither words nor numbers": (
        READER,
        {"prompt_embeds": None},
        "missing_required_parameter",
        "prompt",
        "needs prompt",
    ),
    "a small mask": (
        PAINTER,
        {"mask_image": content("mask", 32, 64)},
        "invalid_image",
        "mask_image",
        "is 32x64, and its image 64x64. Send a mask of the image's size",
    ),
    "lists of several lengths": (
        READER,
        {"prompt_embeds": [[[1], [1, 2]]]},
        "invalid_value",
        "prompt_embeds",
        "different lengths",
    ),
    "lists of words": (READER, {"prompt_embeds": [[["a", 1]]]}, "invalid_value", "prompt_embeds", "only numbers"),
    "an array of one axis": (
        READER,
        {"prompt_embeds": spoilt.npy(EMBEDS[0, 0])},
        "invalid_value",
        "prompt_embeds",
        "[32]",
    ),
    "an array of four axes": (
        READER,
        {"prompt_embeds": spoilt.npy(EMBEDS[None])},
        "invalid_value",
        "prompt_embeds",
        "[1, 1, 16, 32]",
    ),
    "an array too narrow": (
        READER,
        {"prompt_embeds": spoilt.npy(EMBEDS[..., :31])},
        "invalid_value",
        "prompt_embeds",
        "[1, 16, 31]",
    ),
    "noise of one axis": (READER, {"latents": spoilt.npy(EMBEDS[0, 0])}, "invalid_value", None, "latents [32]"),
    "an image where none is taken": (
        READER,
        {"control_image": content("image")},
        "unknown_parameter",
        "control_image",
        "control_image",
    ),
    "a video for a painter": (
        PAINTER,
        {"video": content("video")},
        "unknown_parameter",
        "video",
        "no parameter 'video'",
    ),
    "text for a number": (PAINTER, {"strength": content("image")}, "invalid_value", "strength", "must be a number"),
    "a misspelt image": (SEER, {"imagee": content("image")}, "unknown_parameter", "imagee", "Did you mean image?"),
}


@pytest.mark.parametrize("model", sorted({model for model, *_ in ODD.values()}))
def test_files_that_do_not_fit_the_call(takers: httpx.Client, before: dict[str, list[str]], model: str) -> None:
    """Each is told by its own code and words, and behind all of them the model serves as before."""
    for change, code, parameter, words in (row[1:] for row in ODD.values() if row[0] == model):
        check(ask(takers, model, **change), code, parameter, words)

    assert before[model] == contents(ask(takers, model))


@pytest.mark.parametrize(
    "name", ["two videos", "two images for one mask", "a small mask", "an array of one axis", "a misspelt image"]
)
def test_files_of_a_form_that_do_not_fit_the_call(takers: httpx.Client, name: str) -> None:
    """A form says the same as JSON."""
    model, change, code, parameter, words = ODD[name]

    check(ask(takers, model, form=True, **change), code, parameter, words)


def test_a_file_for_a_number(takers: httpx.Client) -> None:
    """A part of a form that has a file name is a file, whatever it holds."""
    check(ask(takers, PAINTER, form=True, strength=b"0.5"), "invalid_value", "strength", "takes no file")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_has_no_numbers_that_are_none(takers: httpx.Client, number: str) -> None:
    """What other programs write for them is no JSON."""
    body = f'{{"model": "{READER}", "params": {{"prompt": "x", "guidance_scale": {number}}}}}'
    answer = takers.post(PATH, content=body, headers={"content-type": "application/json"})

    check(answer, "invalid_request", None, number)


@pytest.mark.parametrize(("name", "value"), [("guidance_scale", "1e999"), ("latents", "[[1e999]]")])
def test_a_number_too_large_is_refused(takers: httpx.Client, name: str, value: str) -> None:
    """It would be infinite."""
    body = f'{{"model": "{READER}", "params": {{"prompt": "x", "{name}": {value}}}}}'
    answer = takers.post(PATH, content=body, headers={"content-type": "application/json"})

    check(answer, "invalid_value", name, "finite")
