"""Inpainting of a region and outpainting, on the embedded model: what is to stay stays to the pixel."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo_pictures import border_colour, centre_colour
from octabox.errors import InvalidParameterError, MissingParameterError, OctaboxError, RequestError
from octabox.service.workflows import canvas
from workflow_images import Drawing, opened, png

pytestmark = pytest.mark.slow

GREEN = "a green circle on a white background"


def mask(box: tuple[int, int, int, int] = (48, 48, 80, 80), size: tuple[int, int] = (128, 128)) -> bytes:
    """Return a mask that is white in a box."""
    made = Image.new("L", size)
    made.paste(255, box)
    return png(made)


def changed(first: Image.Image, second: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the box of all pixels that differ."""
    differing = np.abs(np.asarray(first, int) - np.asarray(second, int)).max(axis=2) > 0
    return Image.fromarray(differing).getbbox()


@pytest.mark.parametrize("area", ["masked", "whole"])
async def test_only_the_mask_is_painted(draw: Drawing, plain: bytes, area: str) -> None:
    """The middle becomes what the words say, and no pixel further than the blur from the mask changes."""
    inputs = {"image": (plain,), "mask_image": (mask(),)}
    settings = {"area": area, "mask_blur": 2}
    made = await draw.image({"inpaint": settings}, inputs=inputs, prompt=GREEN, strength=1.0)
    box = changed(opened(plain), made)

    assert ("green", "white") == (centre_colour(made), border_colour(made))
    assert box is not None
    assert box[0] >= 48 - 8
    assert box[1] >= 48 - 8
    assert box[2] <= 80 + 8
    assert box[3] <= 80 + 8


async def test_a_small_region_is_painted_at_full_size(draw: Drawing, plain: bytes) -> None:
    """The model sees the region at the size that is asked for, and the result is as large as the image."""
    large = opened(plain).resize((400, 300), Image.Resampling.LANCZOS)
    inputs = {"image": (png(large),), "mask_image": (mask((180, 130, 220, 170), large.size),)}
    generation = await draw({"inpaint": 40}, inputs=inputs, prompt=GREEN, strength=1.0, width=128, height=128)
    made = opened(generation.artifacts[0].content)

    assert (400, 300) == made.size
    assert "green" == centre_colour(made.crop((180, 130, 220, 170)))
    assert (128, 128) == tuple(generation.artifacts[0].metadata["params"][side] for side in ("width", "height"))


async def test_an_inverted_mask_keeps_the_middle(draw: Drawing, plain: bytes) -> None:
    """All but the mask is painted."""
    inputs = {"image": (plain,), "mask_image": (mask((24, 24, 104, 104)),)}
    settings = {"invert": True, "mask_blur": 2, "area": "whole"}
    made = await draw.image(
        {"inpaint": settings}, inputs=inputs, prompt="a red circle on a blue background", strength=1.0
    )
    kept = (40, 40, 88, 88)

    assert made.crop(kept).tobytes() == opened(plain).crop(kept).tobytes()
    assert made.tobytes() != opened(plain).tobytes()


async def test_colours_around_are_what_the_model_begins_from(draw: Drawing, plain: bytes) -> None:
    """With little strength a masked circle goes, since the white around it is filled in; else it stays."""
    everything = {"image": (plain,), "mask_image": (mask((16, 16, 112, 112)),)}
    colours = {}
    for fill in ("original", "surroundings"):
        settings = {"fill": fill, "area": "whole"}
        made = await draw.image({"inpaint": settings}, inputs=everything, strength=0.15)
        colours[fill] = centre_colour(made)

    assert {"original": "red", "surroundings": "white"} == colours


async def test_an_image_is_continued(draw: Drawing, plain: bytes) -> None:
    """The new room has the old background, and the old image stays but for the seam."""
    made = await draw.image({"outpaint": {"left": 40, "bottom": 21, "mask_blur": 6}}, inputs={"image": (plain,)})
    inside = (40 + 12, 0, 168, 128 - 12)

    assert (168, 149) == made.size
    assert made.crop(inside).tobytes() == opened(plain).crop((12, 0, 128, 116)).tobytes()
    assert "white" == border_colour(made)


async def test_a_continued_image_tells_how(draw: Drawing, plain: bytes) -> None:
    """Its size follows from the rest and stands in no parameter, so that it can be made again."""
    generation = await draw({"outpaint": 16}, inputs={"image": (plain,)})
    facts = generation.artifacts[0].metadata
    again = await draw(
        facts["workflow"], inputs={"image": (plain,)}, task=facts["task"], seed=facts["seed"], **facts["params"]
    )

    assert {"left": 16, "top": 16, "right": 16, "bottom": 16, "mask_blur": 8} == facts["workflow"]["outpaint"]
    assert {"width": 160, "height": 160} == facts["size"]
    assert again.artifacts[0].content == generation.artifacts[0].content


@pytest.mark.parametrize("workflow", [{"inpaint": {"padding": 4}}, {"outpaint": 16}])
async def test_every_control_image_is_changed_as_the_image_is(
    draw: Drawing, plain: bytes, workflow: dict[str, Any]
) -> None:
    """Those of several ControlNets, and those in a list; one of another size stays as it is, and none is lost."""
    small, text = png(opened(plain).resize((64, 64))), base64.b64encode(plain).decode()
    inputs = {"image": (plain,)} | ({"mask_image": (mask(),)} if "inpaint" in workflow else {})

    async def controls(model: str, control: list[str], *files: bytes) -> list[Image.Image]:
        given = inputs | ({"control_image": files} if files else {})
        options = {"control_image": control} if control else {}
        request = draw.request(workflow, model=model, inputs=given, **options)
        made = (await draw.parts.generation.prepare(request)).runs[0].inputs["control_image"]
        return list(made) if files else list(made[0])  # type: ignore[arg-type] # a list of images

    first, second = await controls("twofold", [], plain, plain)
    same, other = await controls("twofold", [], plain, small)
    (listed,) = await controls("outlined", [text])

    assert opened(plain).tobytes() != first.tobytes() == second.tobytes() == same.tobytes() == listed.tobytes()
    assert opened(small).tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("workflow", "inputs", "parameter", "error"),
    [
        (
            {"inpaint": {}},
            {"image": True, "mask_image": Image.new("L", (128, 128))},
            "mask_image",
            InvalidParameterError,
        ),
        ({"inpaint": {}}, {"image": True, "mask_image": Image.new("L", (64, 64))}, "mask_image", RequestError),
        ({"inpaint": {}}, {"image": True}, "mask_image", MissingParameterError),
        ({"inpaint": {}}, {}, "image", MissingParameterError),
        ({"outpaint": 8}, {}, "image", MissingParameterError),
        ({"outpaint": 8}, {"image": True, "mask_image": True}, "mask_image", InvalidParameterError),
    ],
)
async def test_what_cannot_be_laid_out(
    draw: Drawing,
    plain: bytes,
    workflow: dict[str, object],
    inputs: dict[str, object],
    parameter: str,
    error: type[OctaboxError],
) -> None:
    """The error names the image that is wrong or missing, and nothing runs."""
    files = {name: (plain if each is True else png(each),) for name, each in inputs.items()}  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        await draw.parts.generation.prepare(draw.request(workflow, inputs=files))

    assert parameter == caught.value.parameter


async def test_a_size_beside_outpainting_is_refused(draw: Drawing, plain: bytes) -> None:
    """It would have no effect."""
    with pytest.raises(InvalidParameterError, match="follows from") as caught:
        await draw.parts.generation.prepare(draw.request({"outpaint": 8}, inputs={"image": (plain,)}, width=64))

    assert "width" == caught.value.parameter


async def test_a_side_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, draw: Drawing, plain: bytes) -> None:
    """Before the server has made an image of that size, which may need more memory than it has."""
    monkeypatch.setattr(canvas, "expand", pytest.fail)
    with pytest.raises(InvalidParameterError, match="16512x128 exceeds the limit") as caught:
        await draw.parts.generation.prepare(draw.request({"outpaint": {"left": 16384}}, inputs={"image": (plain,)}))

    assert "workflow.outpaint" == caught.value.parameter


@pytest.mark.parametrize("model", ["clips", "alone", "larger"])
async def test_models_that_paint_no_part(draw: Drawing, plain: bytes, model: str) -> None:
    """A model without a pipeline that inpaints is named."""
    with pytest.raises(RequestError, match="cannot paint a part"):
        await draw.parts.generation.prepare(draw.request({"outpaint": 8}, model=model, inputs={"image": (plain,)}))
