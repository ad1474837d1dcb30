"""Bad files of each kind to a real server of tiny models: an exact error, and a good request after it."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import makers
import spoilt
from makers.samples import content
from pipelines.requests import in_base64
from serving import running_server

PATH = "/v1/generations"

#: Models that are served, one for each kind of file.
PAINTER, MOVER, PLAYER = "StableDiffusionInpaintPipeline", "WanVideoToVideoPipeline", "StableAudioPipeline"
READER, SEER = "StableDiffusionPipeline", "MarigoldDepthPipeline"

#: Numbers that stand for a text of 16 tokens.
EMBEDS = np.linspace(-1, 1, 16 * 32, dtype=np.float32).reshape(1, 16, 32)

#: The parameter whose file is bad, and the code of a file that cannot be read, by model.
TAKES = {
    PAINTER: ("image", "invalid_image"),
    MOVER: ("video", "invalid_video"),
    PLAYER: ("initial_audio_waveforms", "invalid_audio"),
    READER: ("prompt_embeds", "invalid_array"),
    SEER: ("image", "invalid_image"),
}


@cache
def good(model: str) -> dict[str, Any]:
    """Return the parameters of a good request; files are bytes."""
    size = {"height": 32, "width": 32}
    words: dict[str, Any] = {"prompt": "a red star", "num_inference_steps": 2}
    return {
        PAINTER: {**words, **size, "image": content("image"), "mask_image": content("mask")},
        MOVER: {**words, "height": 16, "width": 16, "num_inference_steps": 3, "video": content("video")},
        PLAYER: {**words, "audio_end_in_s": 0.1, "initial_audio_waveforms": spoilt.wav(1600)},
        READER: {**size, "num_inference_steps": 2, "guidance_scale": 1.0, "prompt_embeds": spoilt.npy(EMBEDS)},
        SEER: {"num_inference_steps": 2, "image": content("image", 32, 32)},
    }[model]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a server of the models."""
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        # What diffusers says to whoever makes and saves pipelines is no concern of a server.
        warnings.simplefilter("ignore")
        for name in TAKES:
            makers.pipelines()[name].make().save_pretrained(str(folder / name))
    with running_server(folder) as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        yield client


def ask(http: httpx.Client, model: str, form: bool = False, **change: Any) -> httpx.Response:  # noqa: FBT001, FBT002 (a test's row)
    """Send the good request with a change, as JSON or as a form with files."""
    params = {**good(model), **change}
    body = {"model": model, "seed": 1, "output": {"response": "b64_json"}}
    if not form:
        return http.post(PATH, json={**body, "params": {name: in_text(value) for name, value in params.items()}})
    files = [(name, one) for name, value in params.items() for one in listed(value)]
    sent = {name for name, _ in files}
    plain = {name: value for name, value in params.items() if name not in sent}
    parts = [(name, ("file", data)) for name, data in files]
    return http.post(PATH, data={"request": json.dumps({**body, "params": plain})}, files=parts)


def in_text(value: Any) -> Any:
    """Return a parameter as JSON takes it: files as base64."""
    is_files = isinstance(value, bytes) or (isinstance(value, list) and all(isinstance(each, bytes) for each in value))
    return in_base64(value) if is_files else value


def listed(value: Any) -> list[bytes]:
    """Return the files of a parameter."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, bytes)]


def contents(answer: httpx.Response) -> list[str]:
    """Return the files of a good answer."""
    assert answer.is_success, answer.text
    return [output["b64_json"] for output in answer.json()["outputs"]]


@pytest.fixture(scope="module")
def before(http: httpx.Client) -> dict[str, list[str]]:
    """Return what each model makes of the good request."""
    return {model: contents(ask(http, model)) for model in TAKES}


def check(answer: httpx.Response, code: str, parameter: str | None, words: str) -> dict[str, Any]:
    """Make sure that an answer is a client's error of this code, about this parameter, and says these words."""
    assert 400 == answer.status_code, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert (code, parameter) == (error["code"], error["param"]), error["message"]
    assert words in error["message"]
    return error


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
def test_a_file_that_cannot_be_read(http: httpx.Client, before: dict[str, list[str]], name: str, form: bool) -> None:  # noqa: FBT001 (a test's row)
    """The error has the code of its kind, names the parameter, what is wrong and what to do; the model serves as before."""
    model, data, words = broken()[name]
    parameter, code = TAKES[model]

    error = check(ask(http, model, form, **{parameter: data}), code, parameter, words)

    assert error["hint"]
    assert before[model] == contents(ask(http, model, form))


#: Requests whose files are no files, too many, too few or at odds: the model, what is changed, the code, the parameter,
#: and what is said.
ODD: dict[str, tuple[str, dict[str, Any], str, str | None, str]] = {
    "a number as a picture": (PAINTER, {"image": 5}, "invalid_value", "image", "must be a picture, not 5"),
    "an object as a picture": (PAINTER, {"image": {"url": "x"}}, "invalid_value", "image", "must be a picture"),
    "numbers as a picture": (PAINTER, {"image": [[1, 2], [3, 4]]}, "invalid_value", "image", "must be a picture"),
    "numbers as a clip": (MOVER, {"video": [[1, 2], [3, 4]]}, "invalid_value", "video", "must be a clip"),
    "truth as a sound": (
        PLAYER,
        {"initial_audio_waveforms": True},
        "invalid_value",
        "initial_audio_waveforms",
        "a sound",
    ),
    "no pictures": (PAINTER, {"image": []}, "invalid_value", "image", "must be a picture, not []"),
    "no clips": (MOVER, {"video": []}, "invalid_value", "video", "must be a clip, not []"),
    "no numbers": (READER, {"prompt_embeds": []}, "invalid_value", "prompt_embeds", "holds no numbers"),
    "two clips": (MOVER, {"video": [content("video")] * 2}, "invalid_value", "video", "takes one video, not 2"),
    "two sounds": (
        PLAYER,
        {"initial_audio_waveforms": [spoilt.wav(9)] * 2},
        "invalid_value",
        "initial_audio_waveforms",
        "takes one audio, not 2",
    ),
    "two arrays": (READER, {"prompt_embeds": [spoilt.npy(EMBEDS)] * 2}, "invalid_value", "prompt_embeds", "not 2"),
    "two pictures for one mask": (PAINTER, {"image": [content("image")] * 2}, "invalid_value", None, "64x64"),
    "no picture": (PAINTER, {"image": None}, "missing_required_parameter", "image", "needs image"),
    "no mask": (PAINTER, {"mask_image": None}, "missing_required_parameter", "mask_image", "needs mask_image"),
    "no picture for depth": (SEER, {"image": None}, "missing_required_parameter", "image", "needs image"),
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
        "is 32x64, and its picture 64x64. Send a mask of the picture's size",
    ),
    "lists of several lengths": (
        READER,
        {"prompt_embeds": [[[1], [1, 2]]]},
        "invalid_value",
        "prompt_embeds",
        "several lengths",
    ),
    "lists of words": (READER, {"prompt_embeds": [[["a", 1]]]}, "invalid_value", "prompt_embeds", "numbers only"),
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
    "a picture where none is taken": (
        READER,
        {"control_image": content("image")},
        "unknown_parameter",
        "control_image",
        "control_image",
    ),
    "a clip for a painter": (
        PAINTER,
        {"video": content("video")},
        "unknown_parameter",
        "video",
        "no parameter 'video'",
    ),
    "text for a number": (PAINTER, {"strength": content("image")}, "invalid_value", "strength", "must be a number"),
    "a misspelt picture": (SEER, {"imagee": content("image")}, "unknown_parameter", "imagee", "Did you mean image?"),
}


@pytest.mark.parametrize("name", list(ODD))
def test_files_that_do_not_fit_the_call(http: httpx.Client, before: dict[str, list[str]], name: str) -> None:
    """Each is told by its own code and words, and the model serves as before."""
    model, change, code, parameter, words = ODD[name]

    check(ask(http, model, **change), code, parameter, words)

    assert before[model] == contents(ask(http, model))


@pytest.mark.parametrize(
    "name", ["two clips", "two pictures for one mask", "a small mask", "an array of one axis", "a misspelt picture"]
)
def test_files_of_a_form_that_do_not_fit_the_call(http: httpx.Client, name: str) -> None:
    """A form says the same as JSON."""
    model, change, code, parameter, words = ODD[name]

    check(ask(http, model, form=True, **change), code, parameter, words)


def test_a_file_for_a_number(http: httpx.Client) -> None:
    """A part of a form that has a file name is a file, whatever it holds."""
    check(ask(http, PAINTER, form=True, strength=b"0.5"), "invalid_value", "strength", "takes no file")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_has_no_numbers_that_are_none(http: httpx.Client, number: str) -> None:
    """What other programs write for them is no JSON."""
    body = f'{{"model": "{READER}", "params": {{"prompt": "x", "guidance_scale": {number}}}}}'
    answer = http.post(PATH, content=body, headers={"content-type": "application/json"})

    check(answer, "invalid_request", None, number)


@pytest.mark.parametrize(("name", "value"), [("guidance_scale", "1e999"), ("latents", "[[1e999]]")])
def test_a_number_too_large_is_refused(http: httpx.Client, name: str, value: str) -> None:
    """It would be infinite."""
    body = f'{{"model": "{READER}", "params": {{"prompt": "x", "{name}": {value}}}}}'
    answer = http.post(PATH, content=body, headers={"content-type": "application/json"})

    check(answer, "invalid_value", name, "inf")


@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
@pytest.mark.parametrize("make", [spoilt.pickled_array, spoilt.pickled])
def test_nothing_is_unpickled(http: httpx.Client, tmp_path: Path, make: Callable[[str], bytes], form: bool) -> None:  # noqa: FBT001 (a test's row)
    """Objects in an .npy file, and a bare pickle, are refused without being made."""
    trap = tmp_path / "sprung"

    check(ask(http, READER, form, prompt_embeds=make(str(trap))), "invalid_array", "prompt_embeds", "numbers")

    assert not trap.exists()


def test_all_bad_files_are_named_at_once(http: httpx.Client) -> None:
    """One answer tells what is wrong with each."""
    answer = ask(http, PAINTER, image=spoilt.cut(content("image")), mask_image=b"text")
    told = answer.json()["error"]

    assert 400 == answer.status_code
    assert ["image", "mask_image"] == [problem["param"] for problem in told["problems"]]
    assert "is damaged" in told["message"]
    assert "is no picture" in told["message"]
