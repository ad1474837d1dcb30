"""No route decodes a client's image in the server's process: a small file may have pixels for all of its memory."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from fakes import Server
from octabox.media.decoding import pool
from octabox.media.decoding.pool import DecoderPool
from octabox.media.limits import MediaLimits

#: A size that no image but the client's has.
SIZE = (61, 67)


class PretendedDecoder:
    """A decoder in another process, as the server sees it: it returns other images, and opens no file."""

    async def decode(self, kind: str, data: bytes, *, parameter: str) -> Image.Image | npt.NDArray[Any]:
        """Return an image, or the texts in its file."""
        if kind == "texts":
            return np.frombuffer(json.dumps({"parameters": "a star"}).encode(), np.uint8)
        return Image.new("L" if kind in ("mask", "transparency") else "RGB", (8, 8))


def image(size: tuple[int, int] = SIZE) -> str:
    """Return an image in base64, without an EXIF block, which Pillow reads the pixels of a PNG for."""
    file, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("a", "b")
    Image.new("1", size).save(file, "PNG", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode()


DATA_URI = f"data:image/png;base64,{image()}"

#: Bodies with images, by route.
BODIES: dict[str, dict[str, Any]] = {
    "/sdapi/v1/png-info": {"image": image()},
    "/sdapi/v1/interrogate": {"image": image()},
    "/sdapi/v1/extra-single-image": {"image": image(), "upscaler_1": "Lanczos"},
    "/sdapi/v1/extra-batch-images": {"imageList": [{"data": image(), "name": "a"}], "upscaler_1": "Lanczos"},
    "/sdapi/v1/img2img": {"prompt": "a", "init_images": [image()], "mask": image(), "inpaint_full_res": True},
    "/controlnet/detect": {"controlnet_module": "canny", "controlnet_input_images": [image()]},
    "/v1/images/edits": {"prompt": "a", "images": [{"image_url": DATA_URI}]},
    "/v1/images/variations": {"images": [{"image_url": DATA_URI}], "mask": DATA_URI},
    "/v1/images/generations": {"prompt": "a", "image": image()},
    "/v1/images/upscale": {"image": image(), "model": "demo"},
    "/video": {"model": "demo", "prompt": "a", "start_image": image()},
    "/models/demo": {"inputs": image(), "parameters": {"prompt": "a"}},
    "/api/generations": {"model": "demo", "params": {"prompt": "a", "image": DATA_URI, "mask_image": DATA_URI}},
}


@pytest.mark.parametrize("route", BODIES)
async def test_routes_leave_the_pixels_to_the_decoder(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a route makes of an image, Pillow loads the pixels of the file nowhere but in a decoder."""
    server, loaded, load = Server(), list[tuple[int, int]](), ImageFile.ImageFile.load

    def recorded(self: ImageFile.ImageFile) -> Any:
        loaded.append(self.size)
        return load(self)

    object.__setattr__(server.ctx, "decoder", PretendedDecoder())
    monkeypatch.setattr(ImageFile.ImageFile, "load", recorded)
    answer = await server.http.post(route, json=BODIES[route])

    assert answer.status_code not in (405, 500)
    assert SIZE not in loaded


async def test_the_infotext_of_a_large_image_takes_no_memory() -> None:
    """An image above the limit of pixels is refused by its header, and so are its texts."""
    decoder = DecoderPool(MediaLimits(max_pixels=1024), size=1)
    server = Server()
    object.__setattr__(server.ctx, "decoder", decoder)
    body = {"image": image((4000, 4000))}
    tracemalloc.start()
    try:
        answer = await server.http.post("/sdapi/v1/png-info", json=body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        decoder.close()

    assert 400 == answer.status_code
    assert "4000x4000, more than the limit of 1024 pixels" in answer.text
    assert peak < pool.OVERHEAD / 16


async def test_the_texts_of_an_image_come_from_the_decoder() -> None:
    """The decoder's process returns the texts in the file, also those behind the pixels."""
    decoder = DecoderPool(MediaLimits(), size=1)
    server = Server()
    object.__setattr__(server.ctx, "decoder", decoder)
    try:
        answer = await server.http.post("/sdapi/v1/png-info", json={"image": image()})
    finally:
        decoder.close()

    assert {"info": "", "items": {"a": "b"}, "parameters": {}} == answer.json()
