"""Defaults of fields from an infotext, over HTTP."""

from __future__ import annotations

from a1111_bodies import IMAGE, sent
from fakes import Server
from octabox.frontends.http.a1111.generation.defaults import FIELDS, infotext_warnings
from octabox.frontends.http.a1111.generation.schema import ImageToImageBody, TextToImageBody
from octabox.media.metadata.infotext import format_infotext, split_infotext

SIDES = {"width": 64, "height": 64}


async def test_infotext_is_a_default(server: Server) -> None:
    """The fields of the request take precedence."""
    text = "a star\nNegative prompt: n\nSteps: 9, Sampler: DDIM, CFG scale: 2, Seed: 4, Size: 64x32, Clip skip: 2"
    request, _ = await sent(server, infotext=text, steps=5)

    assert {"prompt": "a star", "clip_skip": 1} == request.params
    assert {"num_inference_steps": 5, "width": 64, "height": 32} == {
        name: request.optional_params[name] for name in ("num_inference_steps", "width", "height")
    }
    assert 4 == request.seed


async def test_an_infotext_has_a_refiner_and_a_size_of_the_second_pass(server: Server) -> None:
    """They are as if the request had sent them."""
    pairs = "Steps: 9, Sampler: DDIM, Seed: 4, Refiner: demo, Refiner switch at: 0.75, Hires resize: 64x32"
    request, warnings = await sent(server, infotext=f"x\n{pairs}, Hires upscaler: Lanczos")

    assert {"model": "demo", "switch_at": 0.75} == request.workflow["refiner"]
    assert (64, 32) == tuple(request.workflow["hires"][side] for side in ("width", "height"))
    assert [] == warnings


async def test_a_second_pass_with_one_side_is_read_back(server: Server) -> None:
    """The infotext of such an image makes another one of its size."""
    hires = {"upscaler": "lanczos", "width": 96, "strength": 0.5}
    params = {"prompt": "x", "num_inference_steps": 3}
    text = format_infotext({"params": params, "seed": 1, "scheduler": {"name": "DDIM"}, "workflow": {"hires": hires}})
    request, warnings = await sent(server, infotext=text)

    assert 96 == request.workflow["hires"]["width"]
    assert request.workflow["hires"].get("height") is None
    assert [] == warnings


async def test_an_infotext_has_an_area_and_a_blur(server: Server) -> None:
    """Those of inpainting too; the radii of the blur may differ."""
    pairs = "Steps: 9, Sampler: DDIM, Seed: 4, Inpaint area: Only masked, Masked area padding: 8"
    images = {"init_images": [IMAGE], "mask": IMAGE}
    request, _ = await sent(server, "img2img", infotext=f"x\n{pairs}, Mask blur x: 2, Mask blur y: 6", **images)
    whole, _ = await sent(server, "img2img", infotext=f"x\n{pairs}".replace("Only masked", "Whole picture"), **images)

    found = {name: request.workflow["inpaint"][name] for name in ("area", "padding", "mask_blur")}
    assert {"area": "masked", "padding": 8, "mask_blur": [2, 6]} == found
    assert "whole" == whole.workflow["inpaint"]["area"]


async def test_nothing_of_an_infotext_is_dropped_in_silence(server: Server) -> None:
    """Each pair that the server writes for any image is a field, describes what made the image, or is a warning."""
    hires = {"scale": 2, "width": 8, "height": 8, "steps": 3, "strength": 0.5, "upscaler": "lanczos"}
    inpaint = {"area": "masked", "padding": 4, "mask_blur": [2, 6], "fill": "latent-noise", "invert": True}
    refiner = {"model": "demo", "switch_at": 0.75}
    metadata = {
        "params": {"prompt": "x", "num_inference_steps": 3, "guidance_scale": 2.0, "strength": 0.5, **SIDES},
        "scheduler": {"name": "Euler", "schedule": "Karras"},
        "workflow": {"hires": hires, "refiner": refiner, "inpaint": inpaint, "faces": {"model": "f"}},
        "variation": {"seed": 2, "strength": 0.5},
        "noise": {**SIDES, "scale": 0.5},
        "seamless": {"axes": "x"},
        "seed": 1,
        "model": "demo",
        "pipeline": "P",
        "version": "1",
        "clip_layer": 2,
    }
    texts = [
        format_infotext(metadata, {"Model hash": "a", "VAE": "v"}),
        format_infotext({**metadata, "seamless": {"axes": "xy"}, "workflow": {"inpaint": {**inpaint, "mask_blur": 3}}}),
    ]
    written = {name for text in texts for name in split_infotext(text)[2]}
    _, warnings = await sent(server, infotext="x\nSteps: 9, Sampler: DDIM, Seed: 4, Tiling axes: x, RNG: CPU")

    assert written >= {"Tiling", "Tiling axes", "Refiner", "Hires resize", "Mask blur", "Mask blur x", "Model hash"}
    assert written >= {"Masked content", "Mask mode", "Face restoration", "VAE"}
    assert ["In 'infotext', 'Tiling axes' has no effect."] == [
        each for text in texts for each in infotext_warnings(text)
    ]
    assert set(FIELDS.values()) <= {*TextToImageBody.model_fields, *ImageToImageBody.model_fields}
    assert ["In 'infotext', 'Tiling axes', 'RNG' have no effect."] == warnings


async def test_an_infotext_has_options(server: Server) -> None:
    """Those of the request take precedence, one by one; the names of Forge and SD.Next are known too."""
    pairs = "Steps: 9, Sampler: DDIM, Seed: 4, CLiP-skip: 2, VAE: a, Module 1: b, Face restoration: c"
    request, warnings = await sent(server, infotext=f"x\n{pairs}", override_settings={"samples_format": "webp"})
    own, _ = await sent(server, infotext=f"x\n{pairs}", override_settings={"CLIP_stop_at_last_layers": 3})

    assert (1, 2, "webp") == (request.params["clip_skip"], own.params["clip_skip"], request.output.format)
    assert {"'restore_faces'", "'sd_vae' 'a'", "'forge_additional_modules' 'b'"} == {
        each.partition(" has no effect")[0] for each in warnings
    }


async def test_an_infotext_has_what_is_under_a_mask(server: Server) -> None:
    """Its content, and whether all but the mask is painted."""
    images = {"init_images": [IMAGE], "mask": IMAGE}
    text = "x\nSteps: 9, Sampler: DDIM, Seed: 4, Masked content: {}, Mask mode: Inpaint not masked"
    request, quiet = await sent(server, "img2img", infotext=text.format("latent nothing"), **images)
    _, warnings = await sent(server, "img2img", infotext=text.format("noise"), **images)

    assert ("latent-blank", True) == tuple(request.workflow["inpaint"][name] for name in ("fill", "invert"))
    assert [] == quiet
    assert ["In 'infotext', 'Masked content' has no effect."] == warnings
