"""The unmodified client webuiapi against a real server and the embedded model; it is not installed by default."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from control import SCENE, drawn, outline
from demo_pictures import Scene, border_colour, centre_colour, draw
from octabox import demo
from trained import EDGES, overlap

BASE = {
    "prompt": "a red circle on a white background",
    "steps": 8,
    "cfg_scale": 3,
    "seed": 0,
    "width": 128,
    "height": 128,
}
MODEL = "webui"


@pytest.fixture
def webuiapi() -> ModuleType:
    """Return the package."""
    missing = "webuiapi is not installed, so its client is not tested: pip install webuiapi"
    package: ModuleType = pytest.importorskip("webuiapi", reason=missing, exc_type=ImportError)
    return package


@pytest.fixture
def api(webuiapi: ModuleType, registry: Path, base: str) -> Iterator[Any]:
    """Return a client of a model with a ControlNet."""
    (registry / f"{MODEL}.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {{controlnet: {{model: {EDGES}}}}}\n")
    client = webuiapi.WebUIApi(baseurl=f"{base}/sdapi/v1", sampler="DPM++ 2M", scheduler="karras")
    client.util_set_model(MODEL)
    yield client
    client.session.close()


@pytest.mark.slow
def test_images(api: Any) -> None:
    """Text to image with a second pass, image to image, and inpainting; the infotext is read back."""
    hires = api.txt2img(**BASE, enable_hr=True, hr_scale=1.5, denoising_strength=0.6)
    star = draw(Scene("star", "red", "white"))
    changed = api.img2img(
        images=[star], **{**BASE, "prompt": "a red star on a white background"}, denoising_strength=0.4
    )
    mask = Image.new("L", star.size)
    mask.paste("white", (44, 44, 84, 84))
    painted = api.img2img(
        images=[star],
        mask_image=mask,
        **{**BASE, "prompt": "a green circle"},
        inpainting_fill=1,
        denoising_strength=1.0,
    )
    info = api.png_info(hires.image)

    assert (192, 192) == hires.image.size
    assert ("red", "white") == (centre_colour(hires.image), border_colour(changed.image))
    assert "green" == centre_colour(painted.image)
    assert "Hires upscaler: Latent" in info.info
    assert MODEL in hires.info["sd_model_name"]


@pytest.mark.slow
def test_controlnet(api: Any, webuiapi: ModuleType) -> None:
    """A unit of the client's own class."""
    unit = webuiapi.ControlNetUnit(image=outline(), module="none", model=api.controlnet_model_list()[0])
    made = api.txt2img(**{**BASE, "prompt": "a red shape on a white background"}, controlnet_units=[unit])
    edges = api.controlnet_detect([drawn()], module="canny")

    assert overlap(made.image, drawn(SCENE)) > 0.7
    assert edges.images
    assert api.has_controlnet


@pytest.mark.slow
def test_progress_and_interrupt(api: Any) -> None:
    """Another thread sees the progress of the client's request, and ends it."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(api.txt2img(**{**BASE, "steps": 900})))
    thread.start()
    seen = 0.0
    for _ in range(600):
        found = api.get_progress()
        seen = max(seen, found["progress"])
        if found["state"]["sampling_step"] > 3:
            break
        time.sleep(0.05)
    assert {} == api.interrupt()
    thread.join(120)
    api.util_wait_for_ready(check_interval=0.1)

    assert 0 < seen < 1
    assert len(results) == 1


@pytest.mark.slow
def test_lists_and_options(api: Any) -> None:
    """Each list has the shape that the client reads; the model is set by its title."""
    names = (
        *("samplers", "schedulers", "upscalers", "latent_upscale_modes", "loras", "sd_models", "sd_vae"),
        *("hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles", "embeddings", "memory"),
        *("cmd_flags", "scripts", "options"),
    )
    found = {name: getattr(api, f"get_{name}")() for name in names}
    options = {
        **found["options"],
        "sd_model_checkpoint": next(each for each in api.util_get_model_names() if "demo" in each),
    }
    api.set_options(options)

    assert "DPM++ 2M" in api.util_get_sampler_names()
    assert all(each is not None for each in found.values())
    assert "demo" in api.util_get_current_model()
    assert {} == api.skip() == api.refresh_checkpoints()
    assert (256, 256) == api.extra_single_image(drawn(), upscaler_1="Lanczos", upscaling_resize=2).image.size
