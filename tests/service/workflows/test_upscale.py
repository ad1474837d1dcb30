"""Images that a model enlarges to an exact scale."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from fakes import FakeGenerations, sample_image
from in_process_decoder import InProcessDecoder
from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError
from octabox.media.limits import MediaLimits
from octabox.service.protocols import Models
from octabox.service.workflows.upscale import check_enlarges, upscale_image
from octabox.types import Artifact, Generation, GenerationRequest, OutputFormat


async def upscaled(generations: FakeGenerations, scale: int | None, limit: int, name: str = "image") -> Generation:
    """Return what a model makes of an image of 16x8, which is 64x32."""
    generations.made = Artifact("image", "image/png", sample_image("red", (64, 32)), 1)
    request = GenerationRequest("demo", inputs={name: (sample_image(),)}, output=OutputFormat("png"))
    return await upscale_image(generations, request, scale, InProcessDecoder(MediaLimits()), limit)


def size_of(generation: Generation) -> tuple[int, int]:
    """Return the size of the image."""
    with Image.open(io.BytesIO(generation.artifacts[0].content)) as image:
        width, height = image.size
        return width, height


@pytest.mark.parametrize("scale", [5, 200, 2**31 - 1])
async def test_a_scale_beyond_the_limit_is_refused_before_the_model_runs(scale: int) -> None:
    """The scaled image is made in the process of the server, which a large one would fill."""
    generations = FakeGenerations()
    with pytest.raises(InvalidParameterError, match=f"An image of {16 * scale}x{8 * scale} exceeds") as caught:
        await upscaled(generations, scale, 64 * 32)

    assert "scale" == caught.value.parameter
    assert [] == generations.requests


@pytest.mark.parametrize(("scale", "size"), [(None, (64, 32)), (3, (48, 24)), (4, (64, 32))])
async def test_a_scale_within_the_limit_is_exact(scale: int | None, size: tuple[int, int]) -> None:
    """It may have as many pixels as the limit."""
    assert size == size_of(await upscaled(FakeGenerations(), scale, 64 * 32))


async def test_the_image_may_have_any_name() -> None:
    """The second call gets the first result by the name of the image."""
    generations, sizes = FakeGenerations(), iter([(32, 16), (64, 32)])
    generate = generations.generate

    async def growing(request: GenerationRequest, models: Models | None = None) -> Generation:
        made = await generate(request, models)
        return replace(made, artifacts=(Artifact("image", "image/png", sample_image("red", next(sizes)), 1),))

    generations.generate = growing  # type: ignore[method-assign]

    assert (64, 32) == size_of(await upscaled(generations, 4, 64 * 32, "input_images"))
    assert [["input_images"]] * 2 == [list(each.inputs) for each in generations.requests]


@pytest.mark.parametrize(
    ("pipeline", "enlarges"),
    [
        ("StableDiffusionUpscalePipeline", True),
        ("OmniGenPipeline", True),
        ("FluxControlPipeline", False),
        ("SanaControlNetPipeline", False),
        ("StableDiffusionImg2ImgPipeline", False),
        ("StableDiffusionPipeline", False),
    ],
)
def test_which_pipelines_may_enlarge(pipeline: str, enlarges: bool) -> None:
    """Those that transform an image: control images alone are none to enlarge, and a strength keeps the size."""
    entry = load_catalog().pipeline(pipeline)
    if enlarges:
        check_enlarges(entry, "m")
    else:
        with pytest.raises(InvalidParameterError, match="does not make images larger"):
            check_enlarges(entry, "m")
