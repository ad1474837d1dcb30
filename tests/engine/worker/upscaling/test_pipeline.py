"""The pipeline that makes images larger."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typing_extensions import Self

import upscalers
from octabox.engine.worker.failures import library_warnings
from octabox.engine.worker.upscaling import pipeline
from octabox.engine.worker.upscaling.network import Upscaler
from octabox.engine.worker.upscaling.pipeline import ImageUpscalingPipeline
from octabox.errors import InvalidParameterError


@pytest.fixture
def twice(tmp_path: Path) -> ImageUpscalingPipeline:
    """Return a pipeline whose network repeats each pixel."""
    return loaded(upscalers.save(upscalers.nearest(2), tmp_path / "x.pth"))


def loaded(file: Path, dtype: torch.dtype = torch.float32) -> ImageUpscalingPipeline:
    """Return a pipeline of a file that draws no progress bar."""
    pipe = ImageUpscalingPipeline.from_single_file(str(file), dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def larger(pipe: Any, given: Any, **settings: Any) -> Any:
    """Return what a pipeline makes of one image."""
    (made,) = pipe(given, **settings).images
    return made


def image(width: int = 40, height: int = 30) -> Image.Image:
    """Return an image of random colours."""
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8))


def repeated(given: Image.Image, scale: int) -> np.ndarray:
    """Return the pixels of an image, each of them so many times in both directions."""
    return np.asarray(given.convert("RGB")).repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("settings", [{}, {"tile": 0}, {"tile": 16, "tile_overlap": 4}, {"tile": 7, "tile_overlap": 0}])
def test_pixels_are_those_that_the_network_makes(scale: int, settings: dict[str, int], tmp_path: Path) -> None:
    """By a network that repeats pixels, each pixel is repeated exactly, in tiles of any size and without."""
    pipe = loaded(upscalers.save(upscalers.nearest(scale), tmp_path / "x.safetensors"))
    made = larger(pipe, image(), **settings)

    assert (40 * scale, 30 * scale) == made.size
    assert np.array_equal(repeated(image(), scale), np.asarray(made))


def test_tiles_make_what_is_made_at_once(tmp_path: Path) -> None:
    """Tiles whose unused edges are as wide as the network sees make the same, but for rounding; narrower ones do not."""
    pipe = loaded(upscalers.save(upscalers.esrgan(2), tmp_path / "x.pth"))
    whole, tiled, narrow = (
        np.asarray(larger(pipe, image(300, 40), tile=tile, tile_overlap=overlap)).astype(int)
        for tile, overlap in ((0, 0), (200, 88), (8, 0))
    )

    assert 1 >= np.abs(whole - tiled).max()
    assert 1 < np.abs(whole - narrow).max()
    assert whole.std() > 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_an_image_may_be_of_any_mode(mode: str, twice: ImageUpscalingPipeline) -> None:
    """Whatever comes is worked on in RGB."""
    given = image().convert(mode)
    made = larger(twice, given)

    assert "RGB" == made.mode
    assert np.array_equal(repeated(given, 2), np.asarray(made))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_small_images_are_made_larger(size: tuple[int, int], twice: ImageUpscalingPipeline) -> None:
    """A single pixel becomes four."""
    made = larger(twice, image(*size))

    assert np.array_equal(repeated(image(*size), 2), np.asarray(made))


def test_several_images_are_made_larger(twice: ImageUpscalingPipeline) -> None:
    """Images of several sizes may come at once, and come back in their order."""
    made = twice([image(4, 5), image(9, 3)], output_type="np", return_dict=False)[0]

    assert [(10, 8, 3), (6, 18, 3)] == [each.shape for each in made]
    assert np.allclose(repeated(image(9, 3), 2) / 255, made[1])
    assert np.float32 == made[1].dtype


def test_progress_is_told_by_tiles(twice: ImageUpscalingPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a step for each tile, and what a step raises ends the call."""
    taken: list[int] = []

    class Bar:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def update(self) -> None:
            taken.append(1)
            if len(taken) == 12:
                raise InterruptedError

    totals: list[int] = []

    def bar(*, total: int) -> Bar:
        totals.append(total)
        return Bar()

    monkeypatch.setattr(twice, "progress_bar", bar)
    twice(image(), tile=16, tile_overlap=4)
    with pytest.raises(InterruptedError):
        twice(image(), tile=16, tile_overlap=4)

    assert [9, 9] == totals
    assert 12 == len(taken)


@pytest.mark.parametrize(("settings", "told"), [({}, 0), ({"tile": 0}, 0), ({"tile": 16, "tile_overlap": 4}, 1)])
def test_a_network_that_looks_far_is_better_without_tiles(
    settings: dict[str, int], told: int, twice: ImageUpscalingPipeline
) -> None:
    """Where spandrel discourages tiles, those who use some hear of it, once."""
    with library_warnings("octabox") as said:
        larger(twice, image(), **settings)
    assert not said
    descriptor = twice.upscaler._descriptor
    descriptor.tiling = type(descriptor.tiling).DISCOURAGED
    with library_warnings("octabox") as said:
        larger(twice, image(), **settings)

    assert [
        "Networks of the architecture RealESRGAN Compact look at a whole image: `tile` 0 may make a better one."
    ] * told == said


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"tile": -1}, "tile"),
        ({"tile": 16, "tile_overlap": 9}, "tile_overlap"),
        ({"tile": 0, "tile_overlap": -1}, "tile_overlap"),
        ({"tile": 1}, "tile_overlap"),
    ],
)
def test_tiles_that_cannot_be_laid_are_refused(
    settings: dict[str, int], parameter: str, twice: ImageUpscalingPipeline
) -> None:
    """The error names the parameter, and nothing is made."""
    with pytest.raises(InvalidParameterError, match=f"'{parameter}' must be") as caught:
        larger(twice, image(), **settings)
    assert parameter == caught.value.parameter


def test_images_that_would_be_too_large_are_refused(
    twice: ImageUpscalingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is on what is made, before anything is."""
    monkeypatch.setattr(pipeline, "MOST_PIXELS", 40 * 30 * 4)

    assert (80, 60) == larger(twice, image()).size
    with pytest.raises(
        InvalidParameterError, match="41x30 becomes 2 times as wide and as high by RealESRGAN Compact"
    ) as caught:
        twice(image(41))
    assert "image" == caught.value.parameter


def test_the_type_of_numbers_is_the_one_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision is used where the network allows it, and makes nearly the same image; else float32 stays."""
    file = upscalers.save(upscalers.nearest(2), tmp_path / "x.pth")
    half = loaded(file, torch.float16)
    made = larger(half, image())
    monkeypatch.setattr(Upscaler, "computes_in", lambda self, dtype: False)

    assert torch.float16 == half.dtype
    assert np.array_equal(repeated(image(), 2), np.asarray(made))
    assert torch.float32 == loaded(file, torch.float16).dtype
