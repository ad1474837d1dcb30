"""The pipeline for image upscaling."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typing_extensions import Self

import upscalers
from octabox.engine.worker.third_party_logs import capture_warnings
from octabox.engine.worker.upscaling import pipeline
from octabox.engine.worker.upscaling.network import Upscaler
from octabox.engine.worker.upscaling.pipeline import ImageUpscalingPipeline
from octabox.errors import InvalidParameterError


@pytest.fixture
def twice(tmp_path: Path) -> ImageUpscalingPipeline:
    """Return a pipeline whose network repeats each pixel."""
    return loaded(upscalers.save(upscalers.nearest(2), tmp_path / "x.pth"))


def loaded(file: Path, dtype: torch.dtype = torch.float32) -> ImageUpscalingPipeline:
    """Return a pipeline of a file, without progress bars."""
    pipe = ImageUpscalingPipeline.from_single_file(str(file), dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def upscaled(pipe: Any, given: Any, **settings: Any) -> Any:
    """Return the upscaled image."""
    (made,) = pipe(given, **settings).images
    return made


def image(width: int = 40, height: int = 30) -> Image.Image:
    """Return an image of random colours."""
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8))


def repeated(given: Image.Image, scale: int) -> np.ndarray:
    """Return the pixels of an image, each repeated in both directions."""
    return np.asarray(given.convert("RGB")).repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("settings", [{}, {"tile": 0}, {"tile": 16, "tile_overlap": 4}, {"tile": 7, "tile_overlap": 0}])
def test_pixels_are_those_of_the_network(scale: int, settings: dict[str, int], tmp_path: Path) -> None:
    """A network that repeats pixels gives exactly repeated pixels, with tiles of any size and without."""
    pipe = loaded(upscalers.save(upscalers.nearest(scale), tmp_path / "x.safetensors"))
    made = upscaled(pipe, image(), **settings)

    assert (40 * scale, 30 * scale) == made.size
    assert np.array_equal(repeated(image(), scale), np.asarray(made))


def test_tiles_give_the_image_without_tiles(tmp_path: Path) -> None:
    """That holds, up to rounding, if the discarded edges cover the receptive field of the network, and only then."""
    pipe = loaded(upscalers.save(upscalers.esrgan(2), tmp_path / "x.pth"))
    whole, tiled, narrow = (
        np.asarray(upscaled(pipe, image(300, 40), tile=tile, tile_overlap=overlap)).astype(int)
        for tile, overlap in ((0, 0), (200, 88), (8, 0))
    )

    assert 1 >= np.abs(whole - tiled).max()
    assert 1 < np.abs(whole - narrow).max()
    assert whole.std() > 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_an_image_may_be_of_any_mode(mode: str, twice: ImageUpscalingPipeline) -> None:
    """Images of any mode are converted to RGB."""
    given = image().convert(mode)
    made = upscaled(twice, given)

    assert "RGB" == made.mode
    assert np.array_equal(repeated(given, 2), np.asarray(made))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_small_images(size: tuple[int, int], twice: ImageUpscalingPipeline) -> None:
    """A single pixel is upscaled to four."""
    made = upscaled(twice, image(*size))

    assert np.array_equal(repeated(image(*size), 2), np.asarray(made))


def test_several_images(twice: ImageUpscalingPipeline) -> None:
    """Images of several sizes are returned in their order."""
    made = twice([image(4, 5), image(9, 3)], output_type="np", return_dict=False)[0]

    assert [(10, 8, 3), (6, 18, 3)] == [each.shape for each in made]
    assert np.allclose(repeated(image(9, 3), 2) / 255, made[1])
    assert np.float32 == made[1].dtype


def test_progress_by_tiles(twice: ImageUpscalingPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a step for each tile, and an exception of a step ends the call."""
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
def test_networks_that_need_context(settings: dict[str, int], told: int, twice: ImageUpscalingPipeline) -> None:
    """Tiles give one warning if spandrel discourages them."""
    with capture_warnings("octabox") as said:
        upscaled(twice, image(), **settings)
    assert not said
    descriptor = twice.upscaler._descriptor
    descriptor.tiling = type(descriptor.tiling).DISCOURAGED
    with capture_warnings("octabox") as said:
        upscaled(twice, image(), **settings)

    assert [
        "Networks of the architecture RealESRGAN Compact use the complete image: `tile` 0 may give a better result."
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
def test_invalid_tiles(settings: dict[str, int], parameter: str, twice: ImageUpscalingPipeline) -> None:
    """The error names the parameter."""
    with pytest.raises(InvalidParameterError, match=f"'{parameter}' must be") as caught:
        upscaled(twice, image(), **settings)
    assert parameter == caught.value.parameter


def test_images_that_are_too_large(twice: ImageUpscalingPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit applies to the upscaled size, before anything is computed."""
    monkeypatch.setattr(pipeline, "MAX_PIXELS", 40 * 30 * 4)

    assert (80, 60) == upscaled(twice, image()).size
    with pytest.raises(InvalidParameterError, match="41x30, upscaled 2 times by RealESRGAN Compact") as caught:
        twice(image(41))
    assert "image" == caught.value.parameter


def test_dtypes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision gives almost the same image if the network supports it; else float32 is kept."""
    file = upscalers.save(upscalers.nearest(2), tmp_path / "x.pth")
    half = loaded(file, torch.float16)
    made = upscaled(half, image())
    monkeypatch.setattr(Upscaler, "supports_dtype", lambda self, dtype: False)

    assert torch.float16 == half.dtype
    assert np.array_equal(repeated(image(), 2), np.asarray(made))
    assert torch.float32 == loaded(file, torch.float16).dtype
