"""What looks wrong with an output is said in the answer's warnings, and the output comes all the same."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image

import makers
from octabox.media import audio, video
from octabox.media.limits import MediaLimits
from pipelines.requests import events

PATH = "/v1/generations"

#: What the names of the models begin with on the shared server.
PREFIX = "warned-"

CALLS: dict[str, dict[str, Any]] = {
    "StableDiffusionPipeline": {"prompt": "a red star", "num_inference_steps": 2, "height": 32, "width": 32},
    "WanPipeline": {"prompt": "a red star", "num_inference_steps": 2, "height": 16, "width": 16, "num_frames": 5},
    "StableAudioPipeline": {"prompt": "a drum", "num_inference_steps": 2, "audio_end_in_s": 0.1},
}


def strict(pipe: Any) -> None:
    """Let a safety checker find everything unsafe."""
    pipe.safety_checker.concept_embeds_weights.data.fill_(-10.0)


def unguarded(pipe: Any) -> None:
    """Take a safety checker away."""
    pipe.register_modules(safety_checker=None)
    pipe.register_to_config(requires_safety_checker=False)


def lenient(pipe: Any) -> None:
    """Let a safety checker find everything safe."""
    pipe.safety_checker.concept_embeds_weights.data.fill_(10.0)
    pipe.safety_checker.special_care_embeds_weights.data.fill_(10.0)


def poison(pipe: Any) -> None:
    """Let an autoencoder decode to numbers that are none, as one does in a dtype too small for it."""
    with torch.no_grad():
        for weights in pipe.vae.decoder.parameters():
            weights.fill_(torch.nan)


def blacken(pipe: Any) -> None:
    """Let an autoencoder decode everything to black."""
    unguarded(pipe)
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.zero_()
        pipe.vae.decoder.conv_out.bias.fill_(-9.0)


def poisoned_image(pipe: Any) -> None:
    """Let a painter without a safety checker decode to numbers that are none."""
    unguarded(pipe)
    poison(pipe)


#: Models by name: the class, what is done to it, and what is said of its outputs.
MODELS: dict[str, tuple[str, Callable[[Any], None], list[str]]] = {
    "fine": ("StableDiffusionPipeline", lenient, []),
    "strict": (
        "StableDiffusionPipeline",
        strict,
        ["Potential NSFW content", "flagged the image as unsafe"],
    ),
    "black": ("StableDiffusionPipeline", blacken, ["an image that is all black"]),
    "nan": (
        "StableDiffusionPipeline",
        poisoned_image,
        ["an image of NaN values", "an image that is all black"],
    ),
    "nan-clip": ("WanPipeline", poison, ["values are NaN or infinite", "an image that is all black"]),
    "nan-sound": ("StableAudioPipeline", poison, ["values are NaN or infinite"]),
}


@pytest.fixture(scope="module")
def http(registry: Path, shared: httpx.Client) -> httpx.Client:
    """Return a client of the shared server, which has the models."""
    for name, (kind, change, _) in MODELS.items():
        with warnings.catch_warnings():
            # What diffusers says to whoever makes and saves pipelines is no concern of a server.
            warnings.simplefilter("ignore")
            pipe = makers.pipelines()[kind].make()
            change(pipe)
            pipe.save_pretrained(str(registry / f"{PREFIX}{name}"))
    return shared


def body(name: str, **others: Any) -> dict[str, Any]:
    """Return a request for a model."""
    return {
        "model": f"{PREFIX}{name}",
        "params": CALLS[MODELS[name][0]],
        "seed": 1,
        "output": {"response": "b64_json"},
        **others,
    }


def check(said: list[str], wanted: list[str]) -> None:
    """Make sure that these things are said, each once and in this order, and nothing else."""
    assert len(wanted) == len(said), said
    for words, sentence in zip(wanted, said, strict=True):
        assert words in sentence


@pytest.mark.parametrize("name", list(MODELS))
def test_an_answer_says_what_looks_wrong(http: httpx.Client, name: str) -> None:
    """A fine image has no warning; black ones and damaged ones have, and come as whole files."""
    answer = http.post(PATH, json=body(name))
    assert answer.is_success, answer.text
    told = answer.json()
    (output,) = told["outputs"]
    data = base64.b64decode(output["b64_json"])

    check(told["warnings"], MODELS[name][2])
    if output["kind"] == "image":
        assert (name == "fine") == bool(Image.open(io.BytesIO(data)).convert("RGB").getbbox())
    elif output["kind"] == "video":
        assert not any(frame.getbbox() for frame in video.decode(data, parameter="x", limits=MediaLimits()).frames)
    else:
        assert not audio.decode(data, parameter="x", limits=MediaLimits()).samples.any()


def test_a_stream_says_it_too(http: httpx.Client) -> None:
    """The last event of a stream has the warnings."""
    with http.stream("POST", PATH, json=body("strict", stream=True)) as response:
        name, data = list(events(response))[-1]

    assert "done" == name
    check(data["warnings"], MODELS["strict"][2])


def test_openais_route_says_it_too(http: httpx.Client) -> None:
    """So does an answer in OpenAI's words."""
    request = {"model": f"{PREFIX}strict", **CALLS["StableDiffusionPipeline"], "seed": 1, "response_format": "b64_json"}
    answer = http.post("/v1/images/generations", json=request)

    assert answer.is_success, answer.text
    assert "flagged the image as unsafe" in json.dumps(answer.json())
