"""Requests that bring files of every kind to tiny models, good ones and bad ones."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx

import spoilt
from makers.samples import content
from pipelines.requests import in_base64

PATH = "/v1/generations"

#: Models that are served, one for each kind of file.
PAINTER, MOVER, PLAYER = "StableDiffusionInpaintPipeline", "WanVideoToVideoPipeline", "StableAudioPipeline"
READER, SEER = "StableDiffusionPipeline", "MarigoldDepthPipeline"

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
        READER: {**size, "num_inference_steps": 2, "guidance_scale": 1.0, "prompt_embeds": spoilt.npy(spoilt.EMBEDS)},
        SEER: {"num_inference_steps": 2, "image": content("image", 32, 32)},
    }[model]


def ask(http: httpx.Client, model: str, form: bool = False, **change: Any) -> httpx.Response:
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


def check(answer: httpx.Response, code: str, parameter: str | None, words: str) -> dict[str, Any]:
    """Make sure that an answer is a client's error of this code, about this parameter, and says these words."""
    assert 400 == answer.status_code, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert (code, parameter) == (error["code"], error["param"]), error["message"]
    assert words in error["message"]
    return error
