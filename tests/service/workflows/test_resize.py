"""Images and latents, enlarged without a model."""

import io

import numpy as np
import pytest
from PIL import Image

from octabox.errors import GenerationError
from octabox.service.workflows.resize import FILTERS, LATENT_FILTERS, resize_image, resize_latents


def png(image: Image.Image) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", FILTERS)
def test_an_image_becomes_larger(name: str) -> None:
    """Its corners keep their colours, whatever the filter."""
    small = Image.new("RGB", (8, 8), "red")
    small.paste("blue", (4, 0, 8, 8))
    with Image.open(io.BytesIO(resize_image(png(small), (32, 24), name))) as large:
        assert (32, 24) == large.size
        assert ((255, 0, 0), (0, 0, 255)) == (large.getpixel((0, 0)), large.getpixel((31, 23)))


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    """Not a byte is touched."""
    content = png(Image.new("RGB", (8, 8), "red"))

    assert content is resize_image(content, (8, 8))


@pytest.mark.parametrize("name", LATENT_FILTERS)
def test_latents_become_larger(name: str) -> None:
    """Every plane for itself, whatever its values."""
    latents = np.zeros((2, 4, 6, 8), np.float32)
    latents[1, 3] = -7.5
    large = resize_latents(latents, (1.5, 1.5), name)

    assert (2, 4, 9, 12) == large.shape
    assert np.float32 == large.dtype
    assert np.allclose(-7.5, large[1, 3])
    assert np.allclose(0, large[0])


def test_nearest_latents_are_copies() -> None:
    """Each number stands in four places."""
    latents = np.arange(4, dtype=np.float16).reshape(1, 1, 2, 2)

    assert np.array_equal(
        np.kron(latents[0, 0], np.ones((2, 2))), resize_latents(latents, (2, 2), "latent-nearest")[0, 0]
    )


@pytest.mark.parametrize("crop", [True, False])
def test_latents_have_one_element_at_least(crop: bool) -> None:
    """However small the scale is."""
    assert (1, 4, 1, 1) == resize_latents(np.zeros((1, 4, 16, 8), np.float32), (0.02, 0.001), "latent", crop=crop).shape


def test_packed_latents_are_refused() -> None:
    """They have no sides that could be enlarged."""
    with pytest.raises(GenerationError, match="lanczos"):
        resize_latents(np.zeros((1, 64, 16), np.float32), (2, 2), "latent")


def test_another_shape_is_cropped_or_stretched() -> None:
    """What is cropped keeps its proportions and loses its edges; what is stretched keeps its edges."""
    stripes = Image.new("RGB", (16, 8), "red")
    stripes.paste("blue", (4, 0, 12, 8))
    shown = []
    for crop in (True, False):
        with Image.open(io.BytesIO(resize_image(png(stripes), (16, 16), "nearest", crop=crop))) as made:
            shown.append((made.size, made.getpixel((0, 0)), made.getpixel((8, 8))))

    assert [((16, 16), (0, 0, 255), (0, 0, 255)), ((16, 16), (255, 0, 0), (0, 0, 255))] == shown


def test_latents_of_another_shape_are_cropped_or_stretched() -> None:
    """Both sides have their own factor; what is cropped has the larger one on both."""
    latents = np.zeros((1, 1, 4, 8), np.float32)
    latents[..., 2:6] = 1
    cropped = resize_latents(latents, (1, 2), "latent-nearest", crop=True)
    stretched = resize_latents(latents, (1, 2), "latent-nearest")

    assert (1, 1, 8, 8) == cropped.shape == stretched.shape
    assert cropped.all()
    assert np.array_equal(np.repeat(latents, 2, axis=2), stretched)


def test_long_latents_are_cropped_before_they_are_enlarged() -> None:
    """At the factor of the short side, the whole of them would not fit into memory."""
    latents = np.full((1, 1, 1, 100_000), 3.0, np.float32)

    assert np.allclose(3, resize_latents(latents, (0.02, 2000), "latent", crop=True))
