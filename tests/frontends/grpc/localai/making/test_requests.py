"""LocalAI's messages as generation requests, for pipelines of the catalog."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from fakes import sample_image
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.errors import (
    InvalidParameterError,
    MediaError,
    MissingParameterError,
    TaskNotFoundError,
    UnknownParameterError,
)
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.making import audio, requests
from octabox.frontends.grpc.localai.making.requests import Context
from octabox.service.bounds import Limits
from octabox.service.planning import plan_request
from octabox.service.selection.inputs import bindings_for, source_parameter
from octabox.service.served_model import ServedModel
from octabox.types import GenerationRequest

#: Files by their paths.
RED, BLUE = sample_image("red"), sample_image("blue")
IN_BASE64 = {"image": base64.b64encode(RED).decode(), "mask_image": base64.b64encode(BLUE).decode()}
FILES = {
    "/red.png": RED,
    "/blue.png": BLUE,
    "/clip.mp4": b"\0\0\0\x20ftypisom",
    "/sound.wav": b"RIFF1234WAVE",
    "/inpaint.json": json.dumps(IN_BASE64).encode(),
    "/odd.json": b'{"image": 3}',
}


def context(pipeline: str, *, environ: dict[str, str] | None = None, **fields: Any) -> Context:
    """Return a context for a model of a class of diffusers."""
    catalog = load_catalog()
    config = ModelConfig.model_validate({"name": "m", "model": "org/m", **fields})
    bindings = bindings_for(ServedModel(config, catalog.pipeline(pipeline)), catalog)
    return Context(bindings, config.defaults, Environment.load(environ or {}), lambda path, _: FILES[path])


def image(pipeline: str, about: Context | None = None, **fields: Any) -> GenerationRequest:
    """Return what GenerateImage with these fields asks a model for."""
    return requests.image_request(contract.GenerateImageRequest(**fields), about or context(pipeline))


def video(pipeline: str, **fields: Any) -> GenerationRequest:
    """Return what GenerateVideo with these fields asks a model for."""
    return requests.video_request(contract.GenerateVideoRequest(**fields), context(pipeline))


def test_an_image_is_asked_for_by_names() -> None:
    """Every field goes to the parameter that it means; sizes, steps and clip_skip only where they apply."""
    asked = image(
        "StableDiffusionPipeline",
        positive_prompt="a dog",
        negative_prompt="a cat",
        width=64,
        height=32,
        step=5,
        seed=3,
        CLIPSkip=2,
        dst="/a.tmp",
    )

    assert {"negative_prompt": "a cat"} == asked.params
    assert asked.optional_params == {
        "prompt": "a dog",
        "width": 64,
        "height": 32,
        "num_inference_steps": 5,
        "clip_skip": 2,
    }
    assert (3, "png", {}) == (asked.seed, asked.output.format, asked.inputs)


def test_what_is_zero_is_the_models_own() -> None:
    """Fields that say nothing are not passed on; an empty prompt is one, and seed 0 is a seed."""
    asked = image("StableDiffusionPipeline")

    assert {"prompt": ""} == asked.optional_params
    assert ({}, 0) == (asked.params, asked.seed)
    assert image("StableDiffusionPipeline", seed=-1).seed is None
    assert {} == image("DDPMPipeline").optional_params
    assert "prompt" not in image("", context("StableDiffusionPipeline", defaults={"prompt": "mine"})).optional_params


def test_clip_skip_can_be_switched_off() -> None:
    """With CLIPSKIP=0 the field has no effect."""
    about = context("StableDiffusionPipeline", environ={"CLIPSKIP": "0"})

    assert "clip_skip" not in image("", about, CLIPSkip=2).optional_params


def test_enabled_parameters_are_a_list_of_what_may_pass() -> None:
    """A list that leaves a parameter out keeps it from the pipeline; prompt, size and media always pass."""
    fields: dict[str, Any] = {
        "positive_prompt": "p",
        "negative_prompt": "n",
        "step": 4,
        "CLIPSkip": 1,
        "width": 8,
        "height": 8,
        "src": "/red.png",
    }
    listed = image("StableDiffusionPipeline", EnableParameters="num_inference_steps, clip_skip", **fields)
    unlisted = image("StableDiffusionPipeline", EnableParameters="", **fields)

    assert ({}, {"negative_prompt": "n"}) == (listed.params, unlisted.params)
    assert {"prompt", "num_inference_steps", "clip_skip", "width", "height"} == set(listed.optional_params)
    assert ["image"] == list(listed.inputs)


def test_a_list_of_parameters_holds_for_the_defaults_of_the_model_too() -> None:
    """A default that may be null is switched off; the number of steps always is one, which stays the model's."""
    defaults = {"clip_skip": 2, "num_inference_steps": 7}
    model = ModelConfig(name="m", model="org/m", defaults=defaults)
    catalog = load_catalog()
    served = ServedModel(model, catalog.pipeline("StableDiffusionPipeline"))
    about = context("StableDiffusionPipeline", defaults=defaults)
    asked = image("", about, positive_prompt="p", EnableParameters="negative_prompt")

    (params, _), *_ = plan_request(asked, served, catalog, Limits()).runs

    assert (None, 7) == (params["clip_skip"], params["num_inference_steps"])
    assert {} == image("", about, EnableParameters="clip_skip").params
    assert {} == image("FluxPipeline", EnableParameters="negative_prompt").params


@pytest.mark.parametrize(
    ("pipeline", "fields", "inputs"),
    [
        ("StableDiffusionPipeline", {"src": "/red.png"}, {"image": (RED,)}),
        ("StableDiffusionDepth2ImgPipeline", {"src": "/red.png"}, {"image": (RED,)}),
        ("FluxKontextPipeline", {"src": "/red.png"}, {"image": (RED,)}),
        ("QwenImageEditPipeline", {"ref_images": ["/red.png"]}, {"image": (RED,)}),
        ("QwenImageEditPlusPipeline", {"ref_images": ["/red.png", "/blue.png"]}, {"image": (RED, BLUE)}),
        ("Flux2Pipeline", {"src": "/red.png", "ref_images": ["/blue.png", "/red.png"]}, {"image": (BLUE, RED)}),
        ("Flux2Pipeline", {"src": "/red.png", "ref_images": ["/blue.png"]}, {"image": (RED, BLUE)}),
        ("StableVideoDiffusionPipeline", {"src": "/red.png"}, {"image": (RED,)}),
        ("CogVideoXVideoToVideoPipeline", {"src": "/clip.mp4"}, {"video": (FILES["/clip.mp4"],)}),
    ],
)
def test_images_go_where_the_pipeline_takes_them(pipeline: str, fields: dict[str, Any], inputs: dict[str, Any]) -> None:
    """The source and all references reach the parameter for them, each file once."""
    assert inputs == image(pipeline, **fields).inputs


def test_inpainting_brings_an_image_and_its_mask() -> None:
    """The JSON file is read for its image and its mask; the references that come with it are the same once more."""
    asked = image("StableDiffusionInpaintPipeline", src="/inpaint.json", ref_images=["/red.png", "/blue.png"])

    assert {name: (text,) for name, text in IN_BASE64.items()} == dict(asked.inputs)
    with pytest.raises(MediaError, match="mask"):
        image("StableDiffusionInpaintPipeline", src="/odd.json")


def test_a_controlnet_gets_the_image() -> None:
    """With a ControlNet beside the model, the image goes to the parameter that steers."""
    beside = {"controlnet": ComponentConfig(model="org/canny")}

    assert ["image"] == list(image("", context("StableDiffusionPipeline", components=beside), src="/red.png").inputs)
    assert ["control_image"] == list(image("", context("FluxPipeline", components=beside), src="/red.png").inputs)


def test_an_image_that_nobody_takes_is_refused() -> None:
    """A model that takes no images says so, and does not make another in silence."""
    with pytest.raises(InvalidParameterError, match="image"):
        image("DDPMPipeline", src="/red.png")


@pytest.mark.parametrize(
    ("method", "pipeline"),
    [
        (requests.image_request, "StableAudioPipeline"),
        (requests.video_request, "StableDiffusionPipeline"),
        (audio.audio_request, "StableDiffusionPipeline"),
        (requests.upscale_request, "StableAudioPipeline"),
    ],
)
def test_a_model_of_another_kind_is_refused(method: Any, pipeline: str) -> None:
    """A method that the model cannot serve is an error that says what the model can do."""
    names = {"image": "GenerateImage", "video": "GenerateVideo", "audio": "SoundGeneration", "upscale": "UpscaleImage"}
    message = getattr(contract, f"{names[method.__name__.partition('_')[0]]}Request")()

    with pytest.raises(TaskNotFoundError) as caught:
        method(message, context(pipeline))

    assert caught.value.choices


def test_a_video_as_an_image_has_the_frames_of_its_variable() -> None:
    """FRAMES holds for videos from words, and FPS for all; the model's own configuration is stronger."""
    environ = {"FRAMES": "5", "FPS": "3"}
    asked = image("", context("WanPipeline", environ=environ), positive_prompt="waves")
    own = image("", context("WanPipeline", environ=environ, defaults={"num_frames": 9}), positive_prompt="waves")

    assert (5, 3, "png") == (asked.optional_params["num_frames"], asked.output.fps, asked.output.format)
    assert "num_frames" not in own.optional_params
    assert "num_frames" not in image("StableVideoDiffusionPipeline", src="/red.png").optional_params
    assert image("StableDiffusionPipeline").output.fps is None


def test_a_video_is_asked_for_by_names() -> None:
    """Each field of GenerateVideo reaches the parameter that it means, and the suffix decides the format."""
    asked = video(
        "LTXPipeline",
        prompt="waves",
        negative_prompt="wind",
        width=64,
        height=32,
        num_frames=9,
        fps=8,
        seed=4,
        cfg_scale=2.5,
        step=3,
        dst="/a.webm",
        params={"guidance_rescale": "0.5", "max_sequence_length": "16"},
    )

    assert asked.params == {
        "negative_prompt": "wind",
        "width": 64,
        "height": 32,
        "num_frames": 9,
        "guidance_rescale": 0.5,
        "max_sequence_length": 16,
    }
    assert asked.optional_params == {
        "prompt": "waves",
        "num_inference_steps": 3,
        "guidance_scale": 2.5,
        "frame_rate": 8,
    }
    assert (4, "webm", 8) == (asked.seed, asked.output.format, asked.output.fps)


def test_a_video_without_more_is_the_models_own() -> None:
    """Nothing but the prompt is passed on: no size, no length, no rate, and the seed is drawn at random."""
    asked = video("WanPipeline", prompt="waves", dst="/a.tmp")

    assert ({}, {"prompt": "waves"}, None) == (asked.params, asked.optional_params, asked.seed)
    assert (None, None) == (asked.output.format, asked.output.fps)


def test_a_video_may_begin_and_end_with_an_image() -> None:
    """The first and the last image go to their own parameters; a model without a last one says so."""
    asked = video("WanImageToVideoPipeline", prompt="p", start_image="/red.png", end_image="/blue.png")

    assert {"image": (RED,), "last_image": (BLUE,)} == asked.inputs
    with pytest.raises(InvalidParameterError, match="last image"):
        video("StableVideoDiffusionPipeline", start_image="/red.png", end_image="/blue.png")


def test_a_video_may_be_made_to_an_audio() -> None:
    """The audio goes to the pipeline that takes one; others say so."""
    with pytest.raises(InvalidParameterError) as caught:
        video("WanPipeline", prompt="p", audio="/sound.wav")

    assert "audio" == caught.value.parameter


def test_a_parameter_of_params_is_stronger_than_the_size_of_the_core() -> None:
    """LocalAI's core sends 512x512 where its client sets no size."""
    params = {"num_inference_steps": "3", "width": "32", "guidance_scale": "0.1"}
    asked = video("WanPipeline", prompt="p", step=3, cfg_scale=0.1, width=512, height=512, params=params)

    assert {"num_inference_steps": 3, "width": 32, "guidance_scale": 0.1} == asked.params
    assert {"prompt": "p", "height": 512} == asked.optional_params


@pytest.mark.parametrize("pipeline", ["HunyuanVideo15ImageToVideoPipeline", "VideoToVideoSDPipeline"])
def test_the_size_of_the_core_is_no_error_where_there_is_none(pipeline: str) -> None:
    """A pipeline that derives the size from its input is called without one; a size of the client stays an error."""
    start = "/clip.mp4" if pipeline == "VideoToVideoSDPipeline" else "/red.png"
    asked = video(pipeline, prompt="p", start_image=start, width=512, height=512)
    catalog = load_catalog()
    served = ServedModel(ModelConfig(name="m", model="org/m"), catalog.pipeline(pipeline))

    plan = plan_request(asked, served, catalog, Limits())

    assert 2 == sum("has no such parameter" in warning for warning in plan.warnings)
    with pytest.raises(UnknownParameterError, match="width"):
        plan_request(video(pipeline, prompt="p", start_image=start, width=640, height=512), served, catalog, Limits())


@pytest.mark.parametrize(
    ("fields", "params"),
    [
        ({"width": 640}, {"width": "320"}),
        ({"step": 30}, {"num_inference_steps": "4"}),
        ({"num_frames": 9}, {"num_frames": "5"}),
        ({"cfg_scale": 2.5}, {"guidance_scale": "2"}),
        ({"negative_prompt": "blurry"}, {"negative_prompt": "dark"}),
        ({"prompt": "waves"}, {"prompt": "wind"}),
    ],
)
def test_a_field_and_params_that_differ_are_refused(fields: dict[str, Any], params: dict[str, str]) -> None:
    """Neither is dropped in silence."""
    with pytest.raises(InvalidParameterError, match="different values") as caught:
        video("WanPipeline", **fields, params=params)

    assert next(iter(params)) == caught.value.parameter


@pytest.mark.parametrize("name", ["width", "num_frames", "step"])
def test_numbers_below_zero_are_refused(name: str) -> None:
    """A size, length or number of steps below zero is an error of the request."""
    with pytest.raises(InvalidParameterError):
        video("WanPipeline", prompt="p", **{name: -1})


def test_only_an_upscaler_upscales() -> None:
    """The model's own pipeline must take an image: that a sibling does is no promise of a larger one."""
    message = contract.UpscaleImageRequest(src="/red.png", dst="/a.png", scale=2)

    assert {"image": (RED,)} == requests.upscale_request(message, context("StableDiffusionUpscalePipeline")).inputs
    with pytest.raises(InvalidParameterError, match="image"):
        requests.upscale_request(message, context("StableDiffusionPipeline"))
    with pytest.raises(MissingParameterError):
        requests.upscale_request(contract.UpscaleImageRequest(), context("StableDiffusionUpscalePipeline"))


@pytest.mark.parametrize("entry", load_catalog().pipelines.values(), ids=lambda entry: entry.name)
def test_each_class_upscales_its_image_or_refuses(entry: PipelineEntry) -> None:
    """The image never goes to a parameter for control images, whatever the class calls its own."""
    message = contract.UpscaleImageRequest(src="/red.png", dst="/a.png", scale=2)
    try:
        asked = requests.upscale_request(message, context(entry.name))
    except (InvalidParameterError, TaskNotFoundError):
        assert entry.output_kind != "image" or source_parameter(entry) is None or entry.parameter("strength")
    else:
        ((name, files),) = asked.inputs.items()
        assert (RED,) == files
        assert name == getattr(source_parameter(entry), "name", None)
