"""Second passes, masked latents, VAEs and grids of the A1111 API, on a real server and the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from a1111_images import STAR, UNSET, ask, difference, encoded, image, info, mask
from control import SCENE, drawn, outline
from demo_pictures import border_colour, centre_colour
from octabox import demo
from trained import EDGES, overlap

#: What the VAE of another model adds to each pixel, of -1 to 1.
DARKER = -0.5


@pytest.fixture(scope="module")
def http(registry: Path, shared: httpx.Client) -> httpx.Client:
    """Return a client of a server of the embedded model, of one with a ControlNet, and of one with another VAE."""
    vae = AutoencoderKL.from_pretrained(demo.FOLDER, subfolder="vae")
    with torch.no_grad():
        vae.decoder.conv_out.bias += DARKER
    vae.save_pretrained(registry / "vaes" / "dark")
    (registry / "traced.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {{controlnet: {{model: {EDGES}}}}}\n")
    (registry / "dark.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {{vae: {{model: vaes/dark}}}}\n")
    return shared


def test_another_vae(http: httpx.Client) -> None:
    """It is in the list, decodes the same latents, and is in the infotext, which makes the same image again."""
    listed = http.get("/sdapi/v1/sd-vae").json()
    plain, dark = ask(http), ask(http, override_settings={"sd_vae": "dark"})
    missing = ask(http, override_settings={"sd_vae": "nothere"})
    again = ask(http, infotext=info(dark)["infotexts"][0])
    step = np.asarray(image(dark).convert("RGB"), float) - np.asarray(image(plain).convert("RGB"), float)

    assert "dark" in [each["model_name"] for each in listed]
    assert -127 * 0.6 < step[step.nonzero()].mean() < -127 * 0.2
    assert [] == dark.json()["warnings"]
    assert ("dark", "VAE: dark" in info(dark)["infotexts"][0]) == (info(dark)["sd_vae_name"], True)
    assert image(again).tobytes() == image(dark).tobytes()
    assert image(missing).tobytes() == image(plain).tobytes()
    assert [each for each in missing.json()["warnings"] if "There are dark." in each]


@pytest.mark.slow
@pytest.mark.parametrize("upscaler", ["Lanczos", "Latent"])
def test_a_second_pass_of_another_shape(http: httpx.Client, upscaler: str) -> None:
    """The image is cropped to it, and not stretched: what it shows keeps its proportions."""
    body: dict[str, Any] = {"enable_hr": True, "hr_upscaler": upscaler, "hr_resize_x": 256, "hr_resize_y": 160}
    body |= {"width": 128, "height": 128}
    made = image(ask(http, **body, denoising_strength=0.4)).convert("RGB")
    rows, columns = np.nonzero(np.asarray(made)[..., 1] < 128)

    assert (256, 160) == made.size
    assert ("red", "white") == (centre_colour(made), border_colour(made.crop((0, 40, 256, 120))))
    assert 0.8 < np.ptp(columns) / np.ptp(rows) < 1.25


@pytest.mark.slow
def test_an_image_in_place_of_the_first_pass(http: httpx.Client) -> None:
    """The result is as large as a second pass over it, and shows the same."""
    body: dict[str, Any] = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.4, "hr_upscaler": "Lanczos"}
    plain = ask(http)
    both = image(ask(http, **body))
    continued = ask(http, **body, firstpass_image=plain.json()["images"][0])

    assert (192, 192) == image(continued).size
    assert difference(both, image(continued)) < 5 < difference(both, image(plain).resize((192, 192)).rotate(90))
    assert [] == continued.json()["warnings"]


@pytest.mark.slow
def test_a_control_of_one_pass(http: httpx.Client) -> None:
    """A second pass that paints everything anew follows the edges only where it has the control."""
    shown = {}
    for option in ("Both", "Low res only", "High res only"):
        unit = {"image": encoded(outline()), "model": "edges", "hr_option": option}
        body: dict[str, Any] = {"prompt": "a red shape on a white background", "enable_hr": True, "hr_scale": 1}
        body |= {"hr_upscaler": "Lanczos", "denoising_strength": 1}
        answer = ask(http, **body, alwayson_scripts={"ControlNet": {"args": [unit]}})
        shown[option] = overlap(image(answer), drawn(SCENE))

        assert not [each for each in answer.json()["warnings"] if "controlnet" in each]
    assert shown["Low res only"] < 0.5
    assert min(shown["Both"], shown["High res only"]) > 0.7


@pytest.mark.slow
def test_masked_latents(http: httpx.Client) -> None:
    """A weak request keeps what is there: the original, or what the latents were replaced by; nothing else changes."""
    body = {"prompt": "", "init_images": [encoded(STAR)], "mask": encoded(mask()), "mask_blur": 0}
    box = (48, 48, 80, 80)
    shares = []
    for fill in (1, 2, 3):
        answer = ask(http, "img2img", **body, inpainting_fill=fill, denoising_strength=0.13, inpaint_full_res=False)
        made = image(answer).convert("RGB")
        shares.append(difference(made.crop(box), STAR.crop(box)))

        assert STAR.convert("RGB").crop((0, 0, 128, 40)).tobytes() == made.crop((0, 0, 128, 40)).tobytes()
        assert [] == answer.json()["warnings"]
    texts = [info(ask(http, "img2img", **body, inpainting_fill=fill))["infotexts"][0] for fill in (1, 3)]

    assert 3 * shares[0] < min(shares[1:])
    assert abs(shares[1] - shares[2]) > 1
    assert ["Masked content" in each for each in texts] == [False, True]
    assert "Masked content: latent nothing" in texts[1]


def test_batches_and_a_grid(http: httpx.Client) -> None:
    """Batches one after the other have the seeds that follow; the grid is before them where the options have one."""
    answer = ask(http, n_iter=2, batch_size=2, override_settings={"return_grid": True})
    alone = [image(ask(http, seed=seed)) for seed in (1, 3)]
    grid = image(answer).convert("RGB")

    assert (256, 256) == grid.size
    assert ([0, 1, 2, 3], 1) == (info(answer)["all_seeds"], info(answer)["index_of_first_image"])
    # Several images may share a call of the pipeline, by which they differ in rounding.
    assert difference(alone[0], image(answer, 2)) < 1
    assert difference(alone[1], image(answer, 4)) < 1
    assert grid.crop((128, 128, 256, 256)).tobytes() == image(answer, 4).convert("RGB").tobytes()


def test_layers_of_the_text_encoder(http: httpx.Client) -> None:
    """An earlier layer makes another image; 1 is the last one, which is the default."""
    plain, last = ask(http), ask(http, override_settings={"CLIP_stop_at_last_layers": 1})
    earlier = ask(http, override_settings={"CLIP_stop_at_last_layers": 2})
    again = ask(http, **UNSET, infotext=info(earlier)["infotexts"][0])

    assert image(plain).tobytes() == image(last).tobytes()
    assert image(plain).tobytes() != image(earlier).tobytes()
    assert image(again).tobytes() == image(earlier).tobytes()
    assert 2 == info(earlier)["clip_skip"]


def test_a_masked_part_of_a_wide_image(http: httpx.Client) -> None:
    """Painted at its own size, the result has that of the source image, and nothing but the mask has changed."""
    wide = Image.new("RGB", (320, 160), "white")
    wide.paste(STAR.resize((160, 160)), (160, 0))
    place = Image.new("L", wide.size)
    place.paste(255, (30, 50, 90, 110))
    body = {"init_images": [encoded(wide)], "mask": encoded(place), "mask_blur": 0, "denoising_strength": 1}
    answer = ask(http, "img2img", **body, prompt="a green circle on a green background", inpaint_full_res_padding=16)
    made = image(answer).convert("RGB")

    assert wide.size == made.size
    assert "green" == centre_colour(made.crop((30, 50, 90, 110)))
    assert wide.crop((100, 0, 320, 160)).tobytes() == made.crop((100, 0, 320, 160)).tobytes()
