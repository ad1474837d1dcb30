"""Images that are their own masks."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from fakes import Server, sample_image
from octabox.errors import ForbiddenUrlError
from octabox.frontends.http.openai.images.masks import OWN_MASK
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.types import Source

OPAQUE = sample_image(mode="RGBA")


def with_alpha(alpha: int, mode: str = "RGBA") -> bytes:
    """Return an image with one pixel of this alpha."""
    image = Image.new("RGBA", (16, 8), "red")
    image.putpixel((3, 3), (255, 0, 0, alpha))
    file = io.BytesIO()
    image.convert(mode).save(file, "PNG")
    return file.getvalue()


HOLE = with_alpha(0)


async def edit(server: Server, image: bytes, **fields: Any) -> list[str]:
    """Request an edit, and return the warnings of its response."""
    files = {"image": ("a.png", image), **fields.pop("files", {})}
    answer = await server.http.post("/v1/images/edits", data={"prompt": "x", "model": "demo", **fields}, files=files)
    assert answer.is_success, answer.text
    warnings: list[str] = answer.json()["warnings"]
    return warnings


@pytest.mark.parametrize("image", [HOLE, with_alpha(0, "LA")])
async def test_a_transparent_image_is_its_mask(image: bytes) -> None:
    """Its transparent part is inpainted, as in OpenAI's API, and a warning says so."""
    server = Server()

    assert OWN_MASK in await edit(server, image)
    assert {"image": (image,), "mask_image": (image,)} == server.asked.inputs
    assert "inpainting" == server.asked.task


@pytest.mark.parametrize("image", [OPAQUE, sample_image(), with_alpha(100), b"no image"])
async def test_an_image_without_a_hole(image: bytes) -> None:
    """The whole image is edited; one that cannot be decoded is left to the validation of the request."""
    server = Server()

    assert OWN_MASK not in await edit(server, image)
    assert ({"image": (image,)}, "image-to-image") == (server.asked.inputs, server.asked.task)


async def test_other_requests_have_no_own_mask() -> None:
    """A mask, another task, several images and a model that does not inpaint have precedence."""
    server = Server()
    server.add("pix2pix", "StableDiffusionInstructPix2PixPipeline")
    await edit(server, HOLE, files={"mask": ("b.png", OPAQUE)})
    await edit(server, HOLE, task="image-to-image")
    await edit(server, HOLE, model="pix2pix")
    several = [("image[]", ("a.png", HOLE)), ("image[]", ("b.png", HOLE))]
    await server.http.post("/v1/images/edits", data={"prompt": "x", "model": "demo"}, files=several)
    masks = [request.inputs.get("mask_image") for request in server.generations.requests]

    assert [(OPAQUE,), None, None, None] == masks


async def test_an_image_in_json() -> None:
    """An image as a data URI is its mask too."""
    server = Server()
    hole = f"data:image/png;base64,{base64.b64encode(HOLE).decode()}"
    await server.http.post("/v1/images/edits", json={"prompt": "x", "images": [{"image_url": hole}]})

    assert ("inpainting", {"image": (HOLE,), "mask_image": (HOLE,)}) == (server.asked.task, server.asked.inputs)


class Web(Fetcher):
    """A fetcher of a web with two files, which counts what it fetches."""

    def __init__(self) -> None:
        super().__init__(MediaLimits())
        self.fetched: list[str] = []

    async def fetch(self, source: Source, *, parameter: str) -> bytes:
        """Return a file, or refuse its address."""
        if isinstance(source, bytes):
            return source
        self.fetched.append(source)
        if "private" in source:
            raise ForbiddenUrlError("The address is private.", parameter=parameter)
        return HOLE if "hole" in source else OPAQUE


@pytest.mark.parametrize(
    ("name", "task", "inputs"),
    [
        ("hole", "inpainting", {"image": (HOLE,), "mask_image": (HOLE,)}),
        ("opaque", "image-to-image", {"image": (OPAQUE,)}),
        ("private", "image-to-image", {"image": ("https://example.org/private.png",)}),
    ],
)
async def test_an_image_by_url(name: str, task: str, inputs: dict[str, tuple[Source, ...]]) -> None:
    """It is fetched once, under the rules for URLs, and is its mask as an uploaded one is; a refused one is left as it is."""
    server, web = Server(), Web()
    object.__setattr__(server.ctx, "fetcher", web)
    url = f"https://example.org/{name}.png"
    answer = await server.http.post("/v1/images/edits", json={"prompt": "x", "images": [{"image_url": url}]})

    assert (task, inputs, [url]) == (server.asked.task, server.asked.inputs, web.fetched)
    assert (task == "inpainting") == (OWN_MASK in answer.json().get("warnings", []))
