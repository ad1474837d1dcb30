"""The API of the AUTOMATIC1111 web UI on a real server and the embedded model: what images show."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from a1111_images import BASE, STAR, ask, decoded, difference, encoded, image, mask
from control import OTHER, SCENE, drawn, outline
from demo_pictures import border_colour, centre_colour
from makers import pipelines
from octabox import demo
from trained import EDGES, HEARTS, overlap


@pytest.fixture(scope="module")
def http(registry: Path, shared: httpx.Client) -> httpx.Client:
    """Return a client of a server of the embedded model, and of one with a ControlNet, with a LoRA."""
    (registry / "loras").mkdir(exist_ok=True)
    shutil.copy(HEARTS, registry / "loras" / "drawn-hearts.safetensors")
    (registry / "edged.yaml").write_text(f"model: {demo.FOLDER}\ncomponents: {{controlnet: {{model: {EDGES}}}}}\n")
    return shared


def test_text_to_image(http: httpx.Client) -> None:
    """The image shows its prompt; its infotext is that of the response, and makes the same image again."""
    answer = ask(http, sampler_name="DPM++ 2M", scheduler="Karras", batch_size=2)
    info = json.loads(answer.json()["info"])
    png = http.post("/sdapi/v1/png-info", json={"image": answer.json()["images"][1]}).json()
    again = ask(http, prompt=None, steps=None, cfg_scale=None, seed=None, infotext=png["info"])

    assert ("red", "white") == (centre_colour(image(answer)), border_colour(image(answer)))
    assert ([0, 1], "DPM++ 2M") == (info["all_seeds"], info["sampler_name"])
    assert info["infotexts"][1] == png["info"] == image(answer, 1).info["parameters"]
    assert {"Sampler": "DPM++ 2M", "Schedule type": "Karras", "Seed": "1"}.items() <= png["parameters"].items()
    # Two images may share a call of the pipeline, by which they differ in rounding.
    assert difference(image(answer, 1), image(again)) < 1


@pytest.mark.slow
def test_hires(http: httpx.Client) -> None:
    """The result is larger and shows the same, enlarged as an image or as latents."""
    plain = image(ask(http)).convert("RGB")
    for upscaler in ("Lanczos", "Latent (bicubic)"):
        made = image(ask(http, enable_hr=True, hr_scale=1.5, hr_upscaler=upscaler, denoising_strength=0.5))

        assert (192, 192) == made.size
        assert ("red", "white") == (centre_colour(made), border_colour(made))
        assert difference(plain, made.convert("RGB").resize(plain.size)) < 60


@pytest.mark.slow
def test_inpainting(http: httpx.Client) -> None:
    """Only the mask is painted; the four contents of it make four images."""
    body = {"prompt": "a green circle on a white background", "init_images": [encoded(STAR)], "mask": encoded(mask())}
    kept = (0, 0, 128, 36)
    results = set()
    for fill in range(4):
        options = {"inpainting_fill": fill, "inpaint_full_res_padding": 8, "mask_blur": 2, "denoising_strength": 0.95}
        made = image(ask(http, "img2img", **body, **options)).convert("RGB")
        results.add(made.tobytes())

        assert "green" == centre_colour(made)
        assert STAR.convert("RGB").crop(kept).tobytes() == made.crop(kept).tobytes()
    inverted = image(ask(http, "img2img", **body, inpainting_mask_invert=1, mask_blur=0, inpaint_full_res=False))

    assert 4 == len(results)
    assert (
        STAR.convert("RGB").crop((50, 50, 78, 78)).tobytes() == inverted.convert("RGB").crop((50, 50, 78, 78)).tobytes()
    )


def test_resize_modes(http: httpx.Client) -> None:
    """Stretching changes the shape's proportions; cropping and filling keep them, and what is cropped is larger."""
    widths, areas = [], []
    for mode in range(3):
        body = {"init_images": [encoded(STAR)], "resize_mode": mode, "width": 192, "height": 128, "prompt": ""}
        made = image(ask(http, "img2img", **body, denoising_strength=0.13)).convert("RGB")
        red = np.asarray(made, float)[..., 1] < 128
        widths.append(np.ptp(np.nonzero(red)[1]) / np.ptp(np.nonzero(red)[0]))
        areas.append(red.sum())

        assert (192, 128) == made.size
    assert widths[0] > 1.25 * widths[2]
    assert 0.85 < widths[1] / widths[2] < 1.15
    # Each side of what is cropped is 192 / 128 of what is filled.
    assert 1.8 < areas[1] / areas[2] < 2.7
    assert "white" == border_colour(made)


def test_subseeds(http: httpx.Client) -> None:
    """A strength of 0 is the seed's image, of 1 the other seed's."""
    first, second = image(ask(http, seed=1)).tobytes(), image(ask(http, seed=2)).tobytes()
    made = [image(ask(http, seed=1, subseed=2, subseed_strength=share)).tobytes() for share in (0, 0.3, 1)]

    assert (first, second) == (made[0], made[2])
    assert made[1] not in (first, second)


def test_controlnet(http: httpx.Client) -> None:
    """Edges are followed, sent, found or drawn; the model with the ControlNet is found by the checkpoint's source."""
    prompt = "a red shape on a white background"
    sent = {"image": encoded(outline()), "model": "edges [123456]"}
    found = {"image": encoded(drawn()), "model": "edges", "module": "canny"}
    # Lines on a mask take the place of the image, as they are.
    lines = {"image": encoded(drawn(OTHER)), "mask": encoded(outline()), "model": "edges", "module": "canny"}
    for unit in (sent, found, lines):
        made = image(ask(http, prompt=prompt, alwayson_scripts={"ControlNet": {"args": [unit]}}))

        assert overlap(made, drawn(SCENE)) > 0.7 > overlap(made, drawn(OTHER))
    off = ask(http, prompt=prompt, alwayson_scripts={"ControlNet": {"args": [{**sent, "enabled": False}]}})
    weightless = ask(http, prompt=prompt, alwayson_scripts={"ControlNet": {"args": [{**sent, "weight": 0}]}})
    model = {"sd_model_checkpoint": "demo"}
    older = http.post(
        "/controlnet/txt2img",
        json={**BASE, "prompt": prompt, "controlnet_units": [sent], "override_settings": model},
    )

    assert image(off).tobytes() == image(weightless).tobytes()
    assert overlap(image(older), drawn(SCENE)) > 0.7
    assert "edges" in http.get("/controlnet/model_list").json()["model_list"]


def test_controlnet_on_an_image(http: httpx.Client) -> None:
    """The source image is the default of a unit."""
    unit = {"module": "canny", "model": "edges"}
    body = {"init_images": [encoded(drawn())], "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    made = image(ask(http, "img2img", prompt="a red shape on a white background", denoising_strength=0.9, **body))

    assert overlap(made, drawn(SCENE)) > 0.7


@pytest.mark.slow
def test_a_plot(http: httpx.Client) -> None:
    """The grid has the images of all values; each is that of its own request."""
    args = ["Seed", "1,2", [], "Prompt S/R", "red,green", [], "Nothing", "", [], False]
    answer = ask(http, script_name="X/Y/Z plot", script_args=args)
    grid = image(answer).convert("RGB")
    single = (
        image(ask(http, seed=2, prompt=BASE["prompt"].replace("red", "green")))
        if isinstance(BASE["prompt"], str)
        else grid
    )

    assert (256, 256) == grid.size
    assert single.convert("RGB").tobytes() == grid.crop((128, 128, 256, 256)).tobytes()
    assert "green" == centre_colour(grid.crop((0, 128, 128, 256)))


@pytest.mark.slow
def test_two_clients(http: httpx.Client) -> None:
    """Each sees its own progress and preview; the interrupted one has its images so far, the other all."""
    clients = [httpx.Client(base_url=http.base_url, timeout=240, trust_env=False) for _ in range(2)]
    asked = [
        {"steps": 900, "force_task_id": "first"},
        {"steps": 300, "force_task_id": "second", "prompt": BASE["prompt"].replace("red", "blue")},
    ]
    answers: dict[int, httpx.Response] = {}

    def generate(index: int) -> None:
        answers[index] = ask(clients[index], override_settings={"live_previews_enable": True}, **asked[index])

    for client in clients:
        client.get("/sdapi/v1/scripts")
    threads = [threading.Thread(target=generate, args=[index]) for index in range(2)]
    threads[0].start()
    first = wait_for(clients[0], "current_image")
    threads[1].start()
    # Both run or wait now: whoever asks sees its own.
    both = [wait_for(client, "id_task") for client in clients]
    clients[0].post("/sdapi/v1/interrupt")
    second = list(previews_of(clients[1], threads[1]))
    for thread in threads:
        thread.join(240)
    idle = [client.get("/sdapi/v1/progress").json() for client in clients]
    for client in clients:
        client.close()

    assert ["first", "second"] == [each["id_task"] for each in both]
    assert (1, 900) == (first["state"]["job_count"], first["state"]["sampling_steps"])
    assert {("second", 1, 300)} == {
        (each["id_task"], each["state"]["job_count"], each["state"]["sampling_steps"]) for each in second
    }
    assert sorted(each["progress"] for each in second) == [each["progress"] for each in second]
    assert "blue" == centre_colour(decoded(second[-1]["current_image"]))
    assert not {first["current_image"]} & {each["current_image"] for each in second}
    assert 1 == len(answers[0].json()["images"])
    assert "blue" == centre_colour(image(answers[1]))
    for each in idle:
        assert (0, 0, None) == (each["progress"], each["state"]["job_count"], each["id_task"])


def wait_for(client: httpx.Client, name: str) -> dict[str, Any]:
    """Return the progress once a field of it has a value; the model may have to be loaded first."""
    end = time.monotonic() + 200
    while time.monotonic() < end:
        seen: dict[str, Any] = client.get("/sdapi/v1/progress").json()
        if seen[name]:
            return seen
        time.sleep(0.01)
    raise AssertionError(f"there is no {name}")


def previews_of(client: httpx.Client, thread: threading.Thread) -> Iterator[dict[str, Any]]:
    """Yield the progress with a preview while a request runs."""
    while thread.is_alive():
        seen: dict[str, Any] = client.get("/sdapi/v1/progress").json()
        if seen["current_image"]:
            yield seen


def test_tiling(http: httpx.Client) -> None:
    """The opposite edges of an image continue each other as its inner pixels do; without it they are far apart."""
    ramp = np.linspace(20, 235, 128).astype(np.uint8)
    slope = Image.fromarray(np.stack([np.broadcast_to(ramp, (128, 128))] * 3, -1))
    body = {"init_images": [encoded(slope)], "prompt": "", "denoising_strength": 0.75}
    before = ask(http, "img2img", **body)
    closed = ask(http, "img2img", **body, tiling=True)
    again = ask(http, "img2img", **body, override_settings={"tiling": True})
    after = ask(http, "img2img", **body)
    seams = [seam(image(each)) for each in (before, closed)]

    assert seams[0] > 3 * seams[1]
    assert image(closed).tobytes() == image(again).tobytes()
    assert image(before).tobytes() == image(after).tobytes()
    assert "Tiling: True" in json.loads(closed.json()["info"])["infotexts"][0]
    assert [] == closed.json()["warnings"]


def seam(made: Image.Image) -> float:
    """Return the mean difference of the left and the right edge of an image."""
    pixels = np.asarray(made.convert("RGB"), float)
    return float(np.abs(pixels[:, 0] - pixels[:, -1]).mean())


def test_seeds_of_another_size(http: httpx.Client) -> None:
    """A wider image shows in its centre what the seed shows at the smaller size, unlike without."""
    # Without a prompt the noise alone decides what there is.
    free: dict[str, Any] = {"prompt": "", "cfg_scale": 1, "seed": 1, "height": 128}
    plain = image(ask(http, **free, width=128)).convert("RGB")
    resized = ask(http, **free, width=160, seed_resize_from_w=128, seed_resize_from_h=128)
    bare = image(ask(http, **free, width=160)).convert("RGB")
    info = json.loads(resized.json()["info"])
    distances = [difference(plain, each.convert("RGB").crop((16, 0, 144, 128))) for each in (image(resized), bare)]

    assert 5 * distances[0] < distances[1]
    assert (128, 128) == (info["seed_resize_from_w"], info["seed_resize_from_h"])
    assert "Seed resize from: 128x128" in info["infotexts"][0]


def test_noise_of_steps_and_of_an_image(http: httpx.Client) -> None:
    """Churn changes the image of Euler and is a warning for a sampler without; less initial noise changes an image less."""
    euler = {"sampler_name": "Euler"}
    plain, churned = ask(http, **euler), ask(http, **euler, s_churn=20, s_noise=1.01)
    other = ask(http, sampler_name="Euler a", s_churn=20)
    source = {"init_images": [encoded(STAR)], "denoising_strength": 0.6}
    distances = []
    for multiplier in (0.2, 1):
        made = image(ask(http, "img2img", **source, initial_noise_multiplier=multiplier))
        distances.append(difference(made.convert("RGB"), STAR.convert("RGB")))

    assert image(plain).tobytes() != image(churned).tobytes()
    assert [] == churned.json()["warnings"]
    assert ["'s_churn' has no effect"] == [each[:23] for each in other.json()["warnings"]]
    assert distances[0] != distances[1]


def test_a_mask_with_two_radii(http: httpx.Client) -> None:
    """The edge is soft across and sharp down."""
    body = {"prompt": "a green circle on a green background", "init_images": [encoded(STAR)], "mask": encoded(mask())}
    made = image(
        ask(http, "img2img", **body, inpaint_full_res=False, mask_blur_x=8, mask_blur_y=0, denoising_strength=1)
    )
    changed = np.abs(np.asarray(made.convert("RGB"), float) - np.asarray(STAR.convert("RGB"), float)).sum(-1) > 0

    assert changed[44:84, 36:44].any()
    assert not changed[:44].any()
    assert not changed[84:].any()


def test_a_refiner(http: httpx.Client) -> None:
    """Of models that cannot hand over latents it paints over the image, with a warning under the client's name."""
    plain = image(ask(http))
    answer = ask(http, refiner_checkpoint="edged", refiner_switch_at=0.75)

    assert ("red", "white") == (centre_colour(image(answer)), border_colour(image(answer)))
    assert image(answer).tobytes() != plain.tobytes()
    assert ["The refiner paints over the finished image"] == [each[:42] for each in answer.json()["warnings"]]
    assert "Refiner: edged, Refiner switch at: 0.75" in json.loads(answer.json()["info"])["infotexts"][0]


def test_composed_prompts_are_a_warning(http: httpx.Client) -> None:
    """`AND` is used as a word."""
    answer = ask(http, prompt="a red circle AND a white background")

    assert [each for each in answer.json()["warnings"] if "'AND' in 'prompt' is used as a word" in each]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_interrogate(registry: Path, http: httpx.Client) -> None:
    """A model that makes text of images describes one; its words are random, and the same for the same image."""
    missing = http.post("/sdapi/v1/interrogate", json={"image": encoded(STAR), "model": "demo"})
    tiny = pipelines()["UniDiffuserPipeline"]
    tiny.make().save_pretrained(str(registry / "describer-weights"))
    known = {"name": "describer", "model": "describer-weights", "defaults": {"num_inference_steps": 2}}
    (registry / "describer.yaml").write_text(json.dumps(known), encoding="utf-8")
    # The model takes images of its own size alone.
    small = encoded(STAR.resize((32, 32)))
    captions = [
        http.post("/sdapi/v1/interrogate", json={"image": small, "model": name}) for name in ("clip", "describer")
    ]

    assert (400, True) == (missing.status_code, "error" in missing.json())
    assert [200, 200] == [each.status_code for each in captions], captions[0].text
    assert all(isinstance(each.json()["caption"], str) and each.json()["caption"] for each in captions)
