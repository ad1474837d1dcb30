"""The examples of LocalAI's documentation, run as they stand there against a real server, and its other routes beside them."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import av
import diffusers
import httpx
import pytest
from PIL import Image

import makers
from makers.parts import vaes

DOCUMENTED = Path(__file__).parents[1] / "config" / "localai" / "documented"

#: Where each documented configuration finds its model in the folder of models, and the tiny pipeline that stands there.
MODELS = {
    "animagine-xl": ("Linaqruf/animagine-xl", "StableDiffusionXLPipeline"),
    "stablediffusion-edit": ("nitrosocke/Ghibli-Diffusion", "StableDiffusionPipeline"),
    "stablediffusion-depth": ("stabilityai/stable-diffusion-2-depth", "StableDiffusionDepth2ImgPipeline"),
}

#: Models for the other routes.
OTHERS = {
    "localai-painter": "StableDiffusionInpaintPipeline",
    "localai-larger": "StableDiffusionUpscalePipeline",
    "localai-wan": "WanPipeline",
}

TEXT_TO_IMAGE = """
curl http://localhost:8080/v1/images/generations \\
    -H "Content-Type: application/json" \\
    -d '{
      "prompt": "<positive prompt>|<negative prompt>",
      "model": "animagine-xl",
      "step": 51,
      "size": "1024x1024"
    }'
"""

IMAGE_TO_IMAGE = """
(echo -n '{"image": "'; base64 $IMAGE_PATH; echo '", "prompt": "a sky background",\
"size": "512x512","model":"stablediffusion-edit"}') |
curl -H "Content-Type: application/json" -d @-  http://localhost:8080/v1/images/generations
"""

DEPTH_TO_IMAGE = """
(echo -n '{"image": "'; base64 $IMAGE_PATH; echo '", "prompt": "a sky background",\
"size": "512x512","model":"stablediffusion-depth"}') |
curl -H "Content-Type: application/json" -d @-  http://localhost:8080/v1/images/generations
"""


def save(name: str, place: Path, **parts: Any) -> None:
    """Save a tiny pipeline."""
    kind: Any = getattr(diffusers, name)
    kind(**(makers.pipelines()[name].parts() | parts)).save_pretrained(place)


@pytest.fixture(scope="module")
def http(registry: Path, shared: httpx.Client) -> httpx.Client:
    """Return a client of the shared server, which has the documented configurations; they run on the CPU here."""
    for name, (place, pipeline) in MODELS.items():
        # One that halves an image often keeps the documented size quick.
        parts = {"vae": vaes.kl(halvings=5, width=4)} if name == "animagine-xl" else {}
        save(pipeline, registry / place, **parts)
        text = (DOCUMENTED / f"{name}.yaml").read_text(encoding="utf-8")
        text = text.replace("cuda: true", "cuda: false").replace("f16: true", "f16: false")
        (registry / f"{name}.yaml").write_text(text, encoding="utf-8")
    for name, pipeline in OTHERS.items():
        save(
            pipeline,
            registry / name,
            **({"vae": vaes.kl(halvings=2, scaling_factor=0.08333)} if name == "localai-larger" else {}),
        )
    return shared


@pytest.fixture
def url(http: httpx.Client) -> str:
    """Return the address of the server."""
    return str(http.base_url).rstrip("/")


def picture(size: tuple[int, int] = (64, 32), form: str = "JPEG", colour: str = "red", mode: str = "RGB") -> bytes:
    """Return an image of one colour as a file."""
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, form)
    return file.getvalue()


def run(example: str, url: str, image: Path | None = None) -> dict[str, Any]:
    """Run an example of the documentation in a shell; only the server's address is another."""
    script = example.replace("http://localhost:8080", url)
    environment = {**os.environ, "IMAGE_PATH": str(image), "no_proxy": "*"}
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, env=environment)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def fetched(http: httpx.Client, answer: dict[str, Any]) -> Image.Image:
    """Return the image that an answer's link leads to."""
    (made,) = answer["data"]
    return Image.open(io.BytesIO(http.get(made["url"]).content))


def test_text_to_image(url: str, http: httpx.Client) -> None:
    """The documented size and steps are those of the image, and both prompts stand in it."""
    shown = fetched(http, run(TEXT_TO_IMAGE, url))
    facts = json.loads(shown.text["octabox"])  # type: ignore[attr-defined]

    assert (1024, 1024) == shown.size
    assert {"prompt": "<positive prompt>", "negative_prompt": "<negative prompt>", "num_inference_steps": 51} == {
        name: facts["params"][name] for name in ("prompt", "negative_prompt", "num_inference_steps")
    }
    assert "EulerAncestralDiscreteScheduler" == facts["scheduler"]["name"]


@pytest.mark.parametrize(
    ("example", "pipeline"),
    [
        (IMAGE_TO_IMAGE, "StableDiffusionImg2ImgPipeline"),
        (DEPTH_TO_IMAGE, "StableDiffusionDepth2ImgPipeline"),
    ],
    ids=["image-to-image", "depth-to-image"],
)
def test_from_an_image(url: str, http: httpx.Client, tmp_path: Path, example: str, pipeline: str) -> None:
    """The image is read from the JSON; a size without effect is said, and the result has that of the image (D3)."""
    image = tmp_path / "image.jpeg"
    image.write_bytes(picture())

    answer = run(example, url, image)

    assert (pipeline, "image-to-image") == (answer["pipeline"], answer["task"])
    assert (64, 32) == fetched(http, answer).size
    assert any("'size' has no effect" in warning for warning in answer["warnings"])


def test_inpainting(http: httpx.Client) -> None:
    """White of the mask is painted again, black is kept (G3)."""
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    file = io.BytesIO()
    mask.save(file, "PNG")
    files = {"image": ("i.png", picture((32, 32), "PNG")), "mask": ("m.png", file.getvalue())}
    data = {"model": "localai-painter", "prompt": "a star", "steps": "2", "size": "32x32", "padding_mask_crop": "1"}

    answer = http.post("/v1/images/inpainting", data=data, files=files).json()
    shown = fetched(http, answer).convert("RGB")

    assert "inpainting" == answer["task"]
    assert (255, 0, 0) == shown.getpixel((30, 16))
    assert (255, 0, 0) != shown.getpixel((4, 16))


@pytest.mark.parametrize(("scale", "side"), [("4", 64), ("2", 32)])
def test_upscaling(http: httpx.Client, scale: str, side: int) -> None:
    """The image is as many times as large as was asked for (G15)."""
    files = {"image": ("i.png", picture((16, 16), "PNG"))}
    data = {"model": "localai-larger", "scale": scale, "steps": "2"}

    assert (side, side) == fetched(http, http.post("/v1/images/upscale", data=data, files=files).json()).size


def test_a_video(http: httpx.Client) -> None:
    """It plays as it was asked for, by a codec that browsers know (G14), and comes in the answer."""
    body = {"model": "localai-wan", "prompt": "waves", "width": 16, "height": 16, "num_frames": 5, "fps": 8, "step": 2}
    asked = {**body, "cfg_scale": 2, "params": {"max_sequence_length": "16"}, "response_format": "b64_json"}

    (made,) = http.post("/video", json=asked).json()["data"]

    with av.open(io.BytesIO(base64.b64decode(made["b64_json"]))) as clip:
        stream = clip.streams.video[0]
        assert ("h264", "5 8") == (stream.codec_context.name, f"{stream.frames} {stream.average_rate}")


def test_errors(http: httpx.Client) -> None:
    """A client's mistake is no failure of the server (G1)."""
    unknown = http.post("/v1/images/generations", json={"model": "none", "prompt": "x"})
    silent = http.post("/v1/images/generations", json={"model": "stablediffusion-edit", "prompt": "x", "image": "!"})

    assert [404, 400] == [unknown.status_code, silent.status_code]
