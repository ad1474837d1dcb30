"""Images of the A1111 API of a real server and the embedded model."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
from PIL import Image

from demo_pictures import Scene, draw

BASE: dict[str, Any] = {"prompt": "a red circle on a white background", "steps": 8, "cfg_scale": 3, "seed": 0}

#: The same fields without values, so that those of an infotext have an effect.
UNSET: dict[str, Any] = dict.fromkeys(BASE)

STAR = draw(Scene("star", "red", "white"))


def encoded(image: Image.Image) -> str:
    """Return an image as a request has it."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ask(http: httpx.Client, route: str = "txt2img", **body: Any) -> httpx.Response:
    """Ask for images of the embedded model."""
    settings = {"sd_model_checkpoint": "demo", **body.pop("override_settings", {})}
    answer = http.post(f"/sdapi/v1/{route}", json={**BASE, **body, "override_settings": settings})
    assert answer.is_success, answer.text
    return answer


def decoded(text: str) -> Image.Image:
    """Return an image of a text in base64."""
    return Image.open(io.BytesIO(base64.b64decode(text)))


def image(answer: httpx.Response, index: int = 0) -> Image.Image:
    """Return an image of an answer."""
    assert answer.is_success, answer.text
    return decoded(answer.json()["images"][index])


def info(answer: httpx.Response) -> dict[str, Any]:
    """Return the description of the images of an answer."""
    found: dict[str, Any] = json.loads(answer.json()["info"])
    return found


def mask() -> Image.Image:
    """Return a mask of the middle."""
    made = Image.new("L", STAR.size)
    made.paste("white", (44, 44, 84, 84))
    return made


def difference(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two images, 0 to 255."""
    pixels = [np.asarray(each.convert("RGB"), float) for each in (first, second)]
    return float(np.abs(pixels[0] - pixels[1]).mean())
