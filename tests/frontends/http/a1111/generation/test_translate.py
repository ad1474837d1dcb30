"""What the fields of the web UI are as a request to the service."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from a1111_bodies import IMAGE, sent
from fakes import Server, sample_image
from octabox.config.settings import Settings
from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.generation.schema import ImageToImageBody, TextToImageBody
from octabox.frontends.http.a1111.generation.unsupported import UNSUPPORTED
from octabox.media.images import read_size
from octabox.noise import MAX_SIDE, InitialNoise


async def test_fields_are_call_parameters(server: Server) -> None:
    """Numbers may be text; fields that are not sent are the model's defaults."""
    request, warnings = await sent(
        server, prompt="(a:1.2)", negative_prompt="n", steps="8", cfg_scale="3.5", width="64", height=32, seed=5
    )
    bare, _ = await sent(server, prompt="x")

    assert {"prompt": "(a:1.2)"} == request.params
    assert {"negative_prompt": "n", "num_inference_steps": 8, "guidance_scale": 3.5, "width": 64, "height": 32} == {
        **request.optional_params
    }
    assert (5, "a1111", None) == (request.seed, request.prompt_syntax, request.scheduler)
    assert ({}, 0) == (dict(bare.optional_params), bare.partial_images)
    assert [] == warnings


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("DPM++ 2M", None, ("DPM++ 2M", {"schedule": "automatic"})),
        ("DPM++ 2M Karras", None, ("DPM++ 2M Karras", {})),
        ("DPM++ 2M", "Karras", ("DPM++ 2M", {"schedule": "Karras"})),
        ("k_euler", "automatic", ("euler", {"schedule": "automatic"})),
        ("Euler a", "SGM Uniform", ("Euler a", {"schedule": "SGM Uniform"})),
    ],
)
async def test_samplers(server: Server, sampler: str, schedule: str | None, expected: Any) -> None:
    """A sampler has its own schedule, that at the end of its name, or that of the request."""
    request, _ = await sent(server, prompt="x", sampler_name=sampler, scheduler=schedule)

    assert request.scheduler is not None
    assert expected == (request.scheduler.name, dict(request.scheduler.settings))


async def test_what_a_sampler_cannot_is_a_warning(server: Server) -> None:
    """A schedule that its class does not have, and the older field for the sampler."""
    request, warnings = await sent(server, prompt="x", sampler_index="Euler a", scheduler="Karras")

    assert request.scheduler is not None
    assert ("Euler a", {}) == (request.scheduler.name, dict(request.scheduler.settings))
    assert len(warnings) == 1
    assert "'scheduler' 'Karras' has no effect" in warnings[0]


async def test_seeds_of_batches(server: Server) -> None:
    """Each batch goes on where the one before has ended; variations keep the seed."""
    await sent(server, prompt="x", seed=7, batch_size=2, n_iter=2)
    plain = [each.seed for each in server.generations.requests[-2:]]
    await sent(server, prompt="x", seed=7, subseed=3, subseed_strength=0.5, batch_size=2, n_iter=2)
    varied = [(each.seed, each.variation and each.variation.seed) for each in server.generations.requests[-2:]]

    assert [7, 9] == plain
    assert [(7, 3), (7, 5)] == varied


async def test_an_error_of_the_second_seed_has_its_field(server: Server) -> None:
    """The service has another name for it."""
    message = "'workflow.variation.seed' must be from 0 to 9, not 10."
    server.generations.error = InvalidParameterError(message, parameter="workflow.variation.seed")
    body = {"prompt": "x", "subseed": 10, "subseed_strength": 0.5}
    answer = await server.http.post("/sdapi/v1/txt2img", json=body)

    assert (400, "subseed") == (answer.status_code, answer.json()["param"])
    assert "'subseed' must be from 0 to 9, not 10." in answer.json()["errors"]


async def test_hires(server: Server) -> None:
    """The second pass is a workflow, with the steps that the web UI runs."""
    body: dict[str, Any] = {
        "prompt": "x",
        "enable_hr": True,
        "hr_upscaler": "Latent (nearest-exact)",
        "steps": 8,
        "hr_scale": "1.5",
    }
    request, _ = await sent(server, **body, denoising_strength=0.6, hr_prompt="y", hr_cfg=2, hr_sampler_name="DDIM")
    sized, _ = await sent(server, prompt="x", enable_hr=True, hr_upscaler="None", hr_resize_x=64, hr_resize_y=32)
    older, _ = await sent(server, prompt="x", enable_hr=True, firstphase_width=32, firstphase_height=16, width=64)
    half, _ = await sent(server, prompt="x", enable_hr=True, firstphase_width=32)
    hires = request.workflow["hires"]

    assert ("latent-nearest", 1.5, 0.6, 8) == tuple(hires[name] for name in ("upscaler", "scale", "strength", "steps"))
    assert {"prompt": "y", "guidance_scale": 2} == hires["params"]
    assert {"name": "DDIM", "schedule": "automatic"} == hires["scheduler"]
    expected = {"upscaler": "lanczos", "width": 64, "height": 32, "crop": True, "strength": 0.75, "params": {}}
    assert expected == sized.workflow["hires"]
    assert {"width": 32, "height": 16} == older.optional_params
    assert {"width": 32, "height": 512} == half.optional_params
    assert (64, 512) == (older.workflow["hires"]["width"], older.workflow["hires"]["height"])


async def test_a_refiner(server: Server) -> None:
    """Another model runs the rest of the steps, also before a second pass over images; one over latents has none."""
    body: dict[str, Any] = {"prompt": "x", "refiner_checkpoint": "org/painter", "refiner_switch_at": 0.75}
    request, quiet = await sent(server, **body)
    both, none = await sent(server, **body, enable_hr=True, hr_upscaler="Lanczos")
    latent, warnings = await sent(server, **body, enable_hr=True)
    off, _ = await sent(server, **{**body, "refiner_switch_at": 1})

    assert {"refiner": {"model": "org/painter", "switch_at": 0.75}} == request.workflow
    assert {"refiner", "hires"} == set(both.workflow)
    assert {"hires"} == set(latent.workflow)
    assert 1 == len(warnings)
    assert "'refiner_checkpoint' has no effect with a second pass over latents" in warnings[0]
    assert {} == off.workflow
    assert [] == quiet == none


async def test_the_layer_of_the_text_encoder(server: Server) -> None:
    """The web UI counts from the end; SD.Next's field has the same meaning."""
    first, _ = await sent(server, prompt="x", override_settings={"CLIP_stop_at_last_layers": 2})
    second, _ = await sent(server, prompt="x", clip_skip=2)
    last, _ = await sent(server, prompt="x", clip_skip=1)

    assert 1 == first.params["clip_skip"] == second.params["clip_skip"]
    assert "clip_skip" not in last.params


async def test_forms_of_the_layer(server: Server) -> None:
    """It may be text; 0 asks for nothing; next to the option it is a warning, and another value an error."""
    for value in (2.0, "2"):
        request, quiet = await sent(server, prompt="x", clip_skip=value)

        assert (1, []) == (request.params["clip_skip"], quiet)
    none, quiet = await sent(server, prompt="x", clip_skip=0)
    both, warnings = await sent(server, prompt="x", clip_skip=3, override_settings={"CLIP_stop_at_last_layers": 2})
    answer = await server.http.post("/sdapi/v1/txt2img", json={"prompt": "x", "clip_skip": "abc"})

    assert ("clip_skip" in none.params, quiet) == (False, [])
    assert 1 == both.params["clip_skip"]
    assert ["'clip_skip' 3 has no effect: 'CLIP_stop_at_last_layers' is 2."] == warnings
    assert (400, "clip_skip") == (answer.status_code, answer.json()["param"])


@pytest.mark.parametrize("fields", [{}, {"mask": IMAGE}])
async def test_latents_are_not_resized(server: Server, fields: dict[str, str]) -> None:
    """The image is, with a warning, also where a mask is painted."""
    _, warnings = await sent(server, "img2img", prompt="x", init_images=[IMAGE], resize_mode=3, **fields)

    assert ["'resize_mode' 3 resizes the image, not its latents."] == warnings


async def test_another_family(server: Server) -> None:
    """Guidance is that of the model; what it lacks is a warning, and a sampler has its form for flows."""
    server.add("flow", "FluxPipeline")
    server.add("classes", "DiTPipeline")
    settings = {"sd_model_checkpoint": "flow"}
    body: dict[str, Any] = {"prompt": "x", "cfg_scale": 2, "distilled_cfg_scale": 3, "override_settings": settings}
    request, warnings = await sent(server, **body)
    classes, lacking = await sent(
        server, prompt="x", width=64, height=64, override_settings={"sd_model_checkpoint": "classes"}
    )

    assert {"true_cfg_scale": 2, "guidance_scale": 3} == request.optional_params
    assert [] == warnings
    assert {"prompt": "x", "width": 64, "height": 64} == classes.optional_params
    assert "prompt" not in classes.params
    assert [] == lacking


@pytest.mark.parametrize("name", UNSUPPORTED)
async def test_each_field_without_effect_is_a_warning(server: Server, name: str) -> None:
    """Not with its neutral values, which many clients always send."""
    route = "txt2img" if name in TextToImageBody.model_fields else "img2img"
    neutral, reason = UNSUPPORTED[name]
    samples: dict[type, Any] = {bool: True, int: 5, float: 5.0, dict: {"a": "b"}, str: IMAGE, list: ["other"]}
    images = {"init_images": [IMAGE]} if route == "img2img" else {}
    first = next((each for each in neutral if each != float("inf")), 0)
    _, quiet = await sent(server, route, prompt="x", **images, **{name: first})
    _, warnings = await sent(server, route, prompt="x", **images, **{name: samples[type(first)]})

    assert [] == quiet
    assert [f"'{name}' has no effect: {reason}."] == warnings


async def test_other_fields(server: Server) -> None:
    """A call parameter of the pipeline is one; another is a warning, but for those that clients send to other servers."""
    request, warnings = await sent(server, prompt="x", guidance_rescale=0.5, foo=1, url="y", auth="z")

    assert 0.5 == request.optional_params["guidance_rescale"]
    assert ["'foo' has no effect: there is no such field."] == warnings


async def test_options_of_a_request(server: Server) -> None:
    """Formats, and options without effect."""
    settings = {
        "samples_format": "jpg",
        "jpeg_quality": 50,
        "sd_vae": "other",
        "forge_additional_modules": [],
        "foo": 1,
    }
    request, warnings = await sent(server, prompt="x", override_settings=settings)

    assert ("jpeg", 50) == (request.output.format, request.output.quality)
    assert "The option 'foo' has no effect." in warnings
    assert [each for each in warnings if "'sd_vae' 'other' has no effect: no configuration of 'demo' has it." in each]
    assert 2 == len(warnings)


async def test_tags_styles_and_scripts(server: Server) -> None:
    """Tags can be turned off; styles are names; an unknown script that runs always is a warning."""
    request, _ = await sent(server, prompt="a <lora:x:1>", disable_extra_networks=True, styles=["", "s"])
    kept, warnings = await sent(server, prompt="a <lora:x:1>", alwayson_scripts={"ADetailer": {"args": [True]}})
    _, quiet = await sent(server, prompt="x", alwayson_scripts={"ADetailer": {"args": [False]}})

    assert ({"prompt": "a"}, ("s",)) == (request.params, request.styles)
    assert {"prompt": "a <lora:x:1>"} == kept.params
    assert ["The script 'ADetailer' has no effect: there is only ControlNet."] == warnings
    assert [] == quiet


async def test_images(server: Server) -> None:
    """Each source image makes one output; the size is that of the image, unless the request has one."""
    request, _ = await sent(server, "img2img", prompt="x", init_images=[IMAGE], denoising_strength=0.5)
    await sent(server, "img2img", prompt="x", seed=1, init_images=[IMAGE, IMAGE], n_iter=2)
    several = server.generations.requests[-4:]

    assert ("image-to-image", 0.5) == (request.task, request.optional_params["strength"])
    assert ["image"] == [*request.inputs]
    assert "width" not in request.optional_params
    assert [1, 2, 3, 4] == [each.seed for each in several]
    assert all(1 == each.num_outputs for each in several)


async def test_seeds_of_several_images(server: Server) -> None:
    """Image k has the seed that is k higher, also where the batch has as many images as are sent."""
    body = {"prompt": "x", "seed": 5, "init_images": [IMAGE, IMAGE], "batch_size": 2, "n_iter": 2}
    answer = (await server.http.post("/sdapi/v1/img2img", json=body)).json()
    info, requests = json.loads(answer["info"]), server.generations.requests

    assert [5, 6, 7, 8] == info["all_seeds"] == [each.seed for each in requests]
    assert (4, 2) == (len(answer["images"]), info["batch_size"])


@pytest.mark.parametrize("fields", [{}, {"steps": 49}, {"steps": 1}, {"num_inference_steps": 3}])
async def test_the_least_strength(server: Server, fields: dict[str, Any]) -> None:
    """A strength of 0 leaves one of the steps that run, as the pipelines of diffusers round it."""
    request, _ = await sent(server, "img2img", prompt="x", init_images=[IMAGE], denoising_strength=0, **fields)
    strength = request.optional_params["strength"]
    steps = next(iter(fields.values()), 50)

    assert 1 == int(steps * strength)
    assert strength <= 1


async def test_the_least_strength_of_a_second_pass(server: Server) -> None:
    """The pass has its steps within the limit of a request; without a number of them it has one."""
    body: dict[str, Any] = {"prompt": "x", "enable_hr": True, "hr_upscaler": "Lanczos", "denoising_strength": 0}
    cases: list[dict[str, Any]] = [{"steps": 20}, {"steps": 20, "hr_second_pass_steps": 33}]
    for fields in cases:
        request, _ = await sent(server, **body, **fields)
        hires = request.workflow["hires"]
        needed = math.ceil(round(hires["steps"] / hires["strength"], 6))

        assert hires["steps"] <= needed <= Settings().max_steps
    without, _ = await sent(server, **body)
    continued, answer = await sent(server, **body, firstpass_image=IMAGE, steps=100)
    _, raised = await sent(server, **{**body, "denoising_strength": 0.1}, steps=150)

    assert 1 == int(50 * without.workflow["hires"]["strength"])
    assert Settings().max_steps == continued.optional_params["num_inference_steps"]
    assert any("'denoising_strength' is 0.15" in each for each in raised)
    assert any("'steps' is" in each for each in answer)


async def test_another_model_of_a_second_pass(server: Server) -> None:
    """Its guidance and its sampler are its own, not those of the first model."""
    server.add("flow", "FluxPipeline")
    body: dict[str, Any] = {"prompt": "x", "enable_hr": True, "hr_upscaler": "Lanczos", "hr_cfg": 5}
    settings = {"sd_model_checkpoint": "flow"}
    same, _ = await sent(server, **body, override_settings=settings)
    other, warnings = await sent(
        server, **body, override_settings=settings, hr_checkpoint_name="demo", hr_sampler_name="DDIM"
    )

    assert {"true_cfg_scale": 5} == same.workflow["hires"]["params"]
    assert {"guidance_scale": 5} == other.workflow["hires"]["params"]
    assert {"name": "DDIM", "schedule": "automatic"} == other.workflow["hires"]["scheduler"]
    assert [] == warnings


async def test_styles_of_a_second_pass(tmp_path: Path) -> None:
    """They apply to the prompts of both passes; an unknown one is an error as before."""
    file = tmp_path / "styles.csv"
    file.write_text("name,prompt,negative_prompt\nink,{prompt} in ink,colours\n", encoding="utf-8")
    server = Server(styles=file)
    body: dict[str, Any] = {"prompt": "x", "enable_hr": True, "hr_upscaler": "Lanczos", "hr_prompt": "y"}
    request, warnings = await sent(server, **body, hr_negative_prompt="n", styles=["ink", ""])
    plain, _ = await sent(server, **body)
    answer = await server.http.post("/sdapi/v1/txt2img", json={**body, "styles": ["oil"]})

    assert {"prompt": "y in ink", "negative_prompt": "n, colours"} == request.workflow["hires"]["params"]
    assert ({"prompt": "x"}, ("ink",)) == (request.params, request.styles)
    assert {"prompt": "y"} == plain.workflow["hires"]["params"]
    assert [] == warnings
    assert (400, "styles") == (answer.status_code, answer.json()["param"])


@pytest.mark.parametrize(("fill", "name"), [*enumerate(["surroundings", "original", "latent-noise", "latent-blank"])])
async def test_inpainting(server: Server, fill: int, name: str) -> None:
    """It is a workflow; the complete image is painted without `inpaint_full_res`."""
    body: dict[str, Any] = {
        "prompt": "x",
        "init_images": [IMAGE],
        "mask": IMAGE,
        "inpainting_fill": fill,
        "mask_blur": 2,
    }
    request, _ = await sent(server, "img2img", **body, inpaint_full_res_padding=8, inpainting_mask_invert=1)
    complete, _ = await sent(server, "img2img", **body, inpaint_full_res=False, width=32, height=32)

    assert {"area": "masked", "padding": 8, "mask_blur": 2, "fill": name, "invert": True} == request.workflow["inpaint"]
    assert ("inpainting", {"image", "mask_image"}) == (request.task, set(request.inputs))
    assert ("whole", None) == tuple(complete.workflow["inpaint"][part] for part in ("area", "padding"))


def test_every_field_of_the_web_ui_is_known() -> None:
    """Those of its models for both routes."""
    shared = {
        *("prompt", "negative_prompt", "styles", "seed", "subseed", "subseed_strength", "seed_resize_from_h"),
        *("seed_resize_from_w", "sampler_name", "scheduler", "sampler_index", "eta", "s_min_uncond", "s_churn"),
        *("s_tmax", "s_tmin", "s_noise", "batch_size", "n_iter", "steps", "cfg_scale", "width", "height"),
        *("restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid", "disable_extra_networks"),
        *("denoising_strength", "override_settings", "override_settings_restore_afterwards", "refiner_checkpoint"),
        *("refiner_switch_at", "send_images", "save_images", "force_task_id", "infotext", "comments"),
        *("script_name", "script_args", "alwayson_scripts", "distilled_cfg_scale"),
    }
    first = {
        *("enable_hr", "firstphase_width", "firstphase_height", "hr_scale", "hr_upscaler", "hr_second_pass_steps"),
        *("hr_resize_x", "hr_resize_y", "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt"),
        *("hr_negative_prompt", "hr_cfg", "hr_distilled_cfg", "hr_additional_modules", "firstpass_image"),
    }
    second = {
        *("init_images", "resize_mode", "image_cfg_scale", "mask", "mask_blur", "mask_blur_x", "mask_blur_y"),
        *("mask_round", "inpainting_fill", "inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert"),
        *("initial_noise_multiplier", "latent_mask", "include_init_images"),
    }

    assert shared | first == set(TextToImageBody.model_fields)
    assert shared | second == set(ImageToImageBody.model_fields)


async def test_noise_and_edges(server: Server) -> None:
    """The size that noise is of, its scale in img2img, and closed axes; the options have defaults of two of them."""
    sized, _ = await sent(server, prompt="x", seed_resize_from_w=64, seed_resize_from_h="32", tiling=True)
    half, warnings = await sent(server, prompt="x", seed_resize_from_w=64, seed_resize_from_h=-1)
    images: dict[str, Any] = {"init_images": [IMAGE], "prompt": "x"}
    scaled, _ = await sent(server, "img2img", **images, initial_noise_multiplier=0.5)
    settings = {"initial_noise_multiplier": 0.7, "tiling": True}
    option, quiet = await sent(server, "img2img", **images, initial_noise_multiplier=0, override_settings=settings)
    both, scaled_half = await sent(server, "img2img", **images, initial_noise_multiplier=0.5, seed_resize_from_h=32)
    off, _ = await sent(server, prompt="x", tiling=False, override_settings=settings)

    assert (InitialNoise(64, 32), "xy") == (sized.noise, sized.seamless)
    assert (None, "") == (half.noise, half.seamless)
    assert ["'seed_resize_from_w' has no effect without the other side."] == warnings
    assert (InitialNoise(scale=0.5), "") == (scaled.noise, scaled.seamless)
    assert (InitialNoise(scale=0.7), "xy", []) == (option.noise, option.seamless, quiet)
    assert (None, "") == (off.noise, off.seamless)
    assert InitialNoise(scale=0.5) == both.noise
    assert ["'seed_resize_from_h' has no effect without the other side."] == scaled_half


@pytest.mark.parametrize("side", ["seed_resize_from_w", "seed_resize_from_h"])
@pytest.mark.parametrize("infotext", [False, True])
async def test_noise_has_a_maximum_size(server: Server, side: str, *, infotext: bool) -> None:
    """A side that no host has memory for is refused, also from an infotext; the largest side is accepted."""
    sides = {"seed_resize_from_w": 64, "seed_resize_from_h": 64, side: MAX_SIDE + 1}
    width, height = sides.values()
    text = f"x\nSteps: 9, Sampler: DDIM, Seed: 4, Seed resize from: {width}x{height}"
    body = {"infotext": text} if infotext else {"prompt": "x", **sides}
    answer = await server.http.post("/sdapi/v1/txt2img", json=body)
    accepted: dict[str, Any] = {**sides, side: MAX_SIDE}
    largest, _ = await sent(server, prompt="x", **accepted)

    assert 400 == answer.status_code
    assert side in answer.text
    assert largest.noise is not None
    assert MAX_SIDE == max(largest.noise.width or 0, largest.noise.height or 0)


@pytest.mark.parametrize("sides", [{"width": MAX_SIDE + 1}, {"height": MAX_SIDE + 1}, {"width": 0}])
def test_initial_noise_checks_its_size(sides: dict[str, int]) -> None:
    """So does the noise itself, whoever asks for it."""
    with pytest.raises(InvalidParameterError, match=next(iter(sides))):
        InitialNoise(**sides)


async def test_values_of_steps(server: Server) -> None:
    """They are settings of a sampler that takes them, else a warning with the name of each; neutral ones are neither."""
    values: dict[str, Any] = {"s_churn": 2, "s_tmin": 0.1, "s_noise": 1.1}
    taken, quiet = await sent(server, prompt="x", sampler_name="Euler", eta=0.2, **values)
    other, warnings = await sent(server, prompt="x", sampler_name="Euler a", **values)
    default, lacking = await sent(server, prompt="x", s_churn=2)
    neutral, none = await sent(server, prompt="x", sampler_name="Euler", s_churn=0, s_tmin=0, s_tmax=0, s_noise=1)

    assert taken.scheduler is not None
    assert other.scheduler is not None
    assert neutral.scheduler is not None
    assert {**values, "schedule": "automatic"} == dict(taken.scheduler.settings)
    assert 0.2 == taken.optional_params["eta"]
    assert {"schedule": "automatic"} == dict(other.scheduler.settings) == dict(neutral.scheduler.settings)
    reason = "the steps of EulerAncestralDiscreteScheduler do not take it"
    assert [f"'{name}' has no effect: {reason}." for name in values] == warnings
    assert default.scheduler is None
    assert ["'s_churn' has no effect: the steps of DDIMScheduler do not take it."] == lacking
    assert [] == quiet == none


async def test_the_blur_of_a_mask(server: Server) -> None:
    """One radius, or one for each direction."""
    body: dict[str, Any] = {"prompt": "x", "init_images": [IMAGE], "mask": IMAGE}
    for fields, expected in (
        ({"mask_blur": 3, "mask_blur_x": 9}, 3),
        ({"mask_blur_x": 2, "mask_blur_y": 2}, 2),
        ({"mask_blur_x": 8, "mask_blur_y": 0}, [8, 0]),
    ):
        request, warnings = await sent(server, "img2img", **body, **fields)

        assert expected == request.workflow["inpaint"]["mask_blur"]
        assert [] == warnings


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 5, "num_inference_steps": 9},
        {"cfg_scale": 2, "guidance_scale": 9.0},
        {"init_images": [IMAGE], "denoising_strength": 0.5, "strength": 0.25},
    ],
)
async def test_a_field_and_the_parameter_that_it_sets(server: Server, fields: dict[str, Any]) -> None:
    """A field of the web UI and the call parameter that it sets are an error: neither is dropped."""
    route = "img2img" if "init_images" in fields else "txt2img"
    answer = await server.http.post(f"/sdapi/v1/{route}", json={"prompt": "x", **fields})

    assert "are the same parameter" in answer.text
    assert (400, []) == (answer.status_code, server.generations.requests)


async def test_a_strength_by_its_own_name(server: Server) -> None:
    """A call parameter counts, also where the web UI has a default for it."""
    request, _ = await sent(server, "img2img", prompt="x", init_images=[IMAGE], strength=0.25)

    assert 0.25 == request.optional_params["strength"]


async def test_an_image_in_place_of_the_first_pass(server: Server) -> None:
    """It is enlarged and painted over with the fields of the second pass; without a second pass it is a warning."""
    second: dict[str, Any] = {
        "hr_sampler_name": "DDIM",
        "hr_checkpoint_name": "org/painter",
        "hr_prompt": "y",
        "hr_cfg": 2,
        "hr_second_pass_steps": 3,
    }
    body: dict[str, Any] = {"prompt": "x", "firstpass_image": IMAGE, "sampler_name": "Euler", "denoising_strength": 0.5}
    request, warnings = await sent(server, **body, **second, enable_hr=True, hr_upscaler="Nearest", hr_resize_x=64)
    _, named = await sent(server, **body, enable_hr=True, hr_upscaler="Latent (bicubic)")
    _, unused = await sent(server, **body)
    values = {name: request.optional_params[name] for name in ("num_inference_steps", "guidance_scale")}
    (source,) = request.inputs["image"]

    assert ("image-to-image", "org/painter", "y") == (request.task, request.model, request.params["prompt"])
    assert {"num_inference_steps": 6, "guidance_scale": 2} == values
    assert isinstance(source, bytes)
    assert (64, 64) == Image.open(io.BytesIO(source)).size
    assert request.scheduler is not None
    assert "DDIM" == request.scheduler.name
    assert [] == warnings
    assert ["'hr_upscaler' 'Latent (bicubic)' enlarges the pixels of 'firstpass_image', which has no latents."] == named
    assert ["'firstpass_image' has no effect without 'enable_hr'"] == [each.partition(":")[0] for each in unused]


async def test_a_grid(server: Server) -> None:
    """The option of the web UI puts one before several images, unless the request forbids it."""
    sizes = []
    for fields in ({"n_iter": 4}, {"n_iter": 4, "do_not_save_grid": True}, {"n_iter": 1}):
        body = {"prompt": "x", "width": 8, "height": 16, "override_settings": {"return_grid": True}, **fields}
        answer = (await server.http.post("/sdapi/v1/txt2img", json=body)).json()
        info = json.loads(answer["info"])
        images = [Image.open(io.BytesIO(base64.b64decode(each))) for each in answer["images"]]
        sizes.append([each.size for each in images])

        assert len(images) == len(info["infotexts"])
        assert len(images) - len(info["all_seeds"]) == info["index_of_first_image"]
        assert info["infotexts"][0] == images[0].info["parameters"]

    assert [[(16, 32), *[(8, 16)] * 4], [(8, 16)] * 4, [(8, 16)]] == sizes


@pytest.mark.parametrize("is_region", [False, True])
@pytest.mark.parametrize("size", [{}, {"width": 24, "height": 24}])
async def test_several_sources_have_one_mask(server: Server, size: dict[str, int], *, is_region: bool) -> None:
    """It has the size of each of them, as each is sent."""
    sources = [base64.b64encode(sample_image(size=each)).decode() for each in ((16, 16), (32, 16), (16, 16))]
    mask = base64.b64encode(sample_image("white", (16, 16), "L")).decode()
    await sent(server, "img2img", prompt="x", init_images=sources, mask=mask, inpaint_full_res=is_region, **size)
    sides = [
        [read_size(file) for file in (*each.inputs["image"], *each.inputs["mask_image"]) if isinstance(file, bytes)]
        for each in server.generations.requests
    ]

    assert 3 == len(sides)
    assert all(image == mask for image, mask in sides)
    assert (not size or is_region) == (len({image for image, _ in sides}) == 2)
