"""Each field of an output becomes the things that its values are, whatever class it is a field of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.deprecated.stable_diffusion_ldm3d.pipeline_stable_diffusion_ldm3d import LDM3DPipelineOutput
from diffusers.pipelines.deprecated.unidiffuser.pipeline_unidiffuser import ImageTextPipelineOutput
from diffusers.pipelines.marigold.pipeline_marigold_depth import MarigoldDepthOutput
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.pipelines.shap_e.pipeline_shap_e import ShapEPipelineOutput
from diffusers.pipelines.shap_e.renderer import MeshDecoderOutput
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from PIL import Image

from octabox.catalog.entries import Field
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.outputs.items import Mesh
from octabox.errors import GenerationError
from returned import BLACK, GREY, IMAGES, entry, kinds, read


@pytest.mark.parametrize(
    "value",
    [
        [GREY, GREY],
        [[GREY], [GREY]],
        np.full((2, 6, 8, 3), 0.5),
        torch.full((2, 3, 6, 8), 0.5, dtype=torch.bfloat16),
        [np.full((6, 8, 3), 0.5), np.full((6, 8, 3), 0.5)],
    ],
)
def test_images_in_every_form(value: Any) -> None:
    """Lists, nested lists, arrays and tensors of half precision are the same two images."""
    products, warnings = read(IMAGES, ImagePipelineOutput(images=value))

    assert [("images", "image")] * 2 == kinds(products)
    assert {(8, 6)} == {product.value.size for product in products if isinstance(product.value, Image.Image)}
    assert [] == warnings


@pytest.mark.parametrize("output", [[GREY], ([GREY],), {"images": [GREY]}])
def test_outputs_of_no_class(output: Any) -> None:
    """A bare value, a tuple and a mapping are outputs too."""
    products, _ = read(IMAGES, output)

    assert ["image"] == [product.kind for product in products]


def test_a_tuple_longer_than_what_is_known() -> None:
    """What the catalog knows no name of gets one."""
    products, _ = read(IMAGES, ([GREY], None, np.zeros(3)))

    assert [("images", "image"), ("output_2", "array")] == kinds(products)


@pytest.mark.parametrize(
    "flags", [[True], (True,), [[True]], np.array([True]), torch.tensor([True]), True, np.bool_(1)]
)
def test_a_safety_checkers_finding_is_told(flags: Any) -> None:
    """An image that a checker made black is one sentence that says so, whatever the flag is made of."""
    products, warnings = read(IMAGES, StableDiffusionPipelineOutput(images=[BLACK], nsfw_content_detected=flags))

    assert [("images", "image")] == kinds(products)
    assert ["The model's safety checker judged the image unsafe and made it black."] == warnings


@pytest.mark.parametrize("flags", [[False], None, [None], np.array([False]), False])
def test_nothing_unsafe_is_no_warning(flags: Any) -> None:
    """A checker that finds nothing says nothing."""
    products, warnings = read(IMAGES, StableDiffusionPipelineOutput(images=[GREY], nsfw_content_detected=flags))

    assert [("images", "image")] == kinds(products)
    assert [] == warnings


def test_another_finding_is_told_by_its_name() -> None:
    """A flag that is not of safety is told in its own words."""
    _, warnings = read(IMAGES, {"images": [GREY], "watermark_detected": [True]})

    assert ["Watermark detected."] == warnings


def test_an_image_that_is_all_black_is_told() -> None:
    """Black that no checker made is a surprise."""
    _, warnings = read(IMAGES, ImagePipelineOutput(images=[BLACK]))

    assert ["'images' has an image that is all black"] == [warning.partition(".")[0] for warning in warnings]


def test_numbers_that_are_none_are_told() -> None:
    """NaN in an array is counted."""
    value = np.full((1, 6, 8, 3), 0.5)
    value[0, 0, 0] = np.nan
    _, warnings = read(IMAGES, ImagePipelineOutput(images=value))

    assert ["'images' is damaged: 3 of its 144 numbers are none (NaN or infinite)"] == [
        warning.partition(".")[0] for warning in warnings
    ]


def test_depth_of_sixteen_bits_beside_an_image() -> None:
    """An image and its depth are two things, and the depth keeps its bits."""
    depth = Image.fromarray(np.full((6, 8), 40_000, np.uint16))
    known = load_catalog().pipeline("StableDiffusionLDM3DPipeline")
    products, _ = read(known, LDM3DPipelineOutput(rgb=[GREY], depth=[depth], nsfw_content_detected=None))

    assert [("rgb", "image"), ("depth", "image")] == kinds(products)
    assert isinstance(products[1].value, Image.Image)
    assert 40_000 == products[1].value.getpixel((0, 0))


def test_words_beside_images() -> None:
    """A list of words is one thing for each; what is of the chief kind stands first."""
    known = load_catalog().pipeline("UniDiffuserPipeline")
    products, _ = read(known, ImageTextPipelineOutput(images=[GREY], text=["a cat", "a dog"]))
    texts = [product for product in products if product.kind == "text"]

    assert ["a cat", "a dog"] == [product.value for product in texts]
    assert {"image", "text"} == {product.kind for product in products}
    assert known.output_kind == products[0].kind


@pytest.mark.parametrize("coloured", [True, False])
def test_meshes(coloured: bool) -> None:
    """An object with corners and triangles is a mesh, with the colours of its corners where it has them."""
    channels = {name: torch.tensor([1.0, 0.5, 0.0]) for name in "RGB"} if coloured else {}
    mesh = MeshDecoderOutput(torch.rand(3, 3).half(), torch.tensor([[0, 1, 2]]), channels)
    products, _ = read(load_catalog().pipeline("ShapEPipeline"), ShapEPipelineOutput(images=[mesh]))

    assert [("images", "mesh")] == kinds(products)
    made = products[0].value
    assert isinstance(made, Mesh)
    assert ((3, 3), (1, 3)) == (made.vertices.shape, made.faces.shape)
    assert ((3, 3) if coloured else None) == (made.colours.shape if made.colours is not None else None)


def test_maps_are_shown_and_given() -> None:
    """Each map of depth comes as an image and as its numbers; what another model reads comes as numbers alone."""
    known = load_catalog().pipeline("MarigoldDepthPipeline")
    output = MarigoldDepthOutput(np.random.default_rng(0).random((2, 6, 8, 1)), None, torch.zeros(2, 4, 3, 4))
    products, _ = read(known, output)
    maps = [product for product in products if product.name == "prediction"]

    assert ["array", "array", "image", "image"] == sorted(product.kind for product in maps)
    assert [("latent", "array")] == [pair for pair in kinds(products) if pair[0] != "prediction"]
    assert {True} == {product.apart for product in maps if product.kind == "array"}


@pytest.mark.parametrize("wanted", ["npz", "npy", "NPZ"])
def test_raw_numbers_where_they_are_asked_for(wanted: str) -> None:
    """Images are given as the numbers that they are made of."""
    products, _ = read(IMAGES, ImagePipelineOutput(images=np.full((2, 6, 8, 3), 0.5)), wanted)

    assert [("images", "array")] == kinds(products)
    assert isinstance(products[0].value, dict)
    assert (2, 6, 8, 3) == products[0].value["images"].shape


def test_numbers_of_several_fields_share_a_file() -> None:
    """Numbers, lists of them and lists of tensors stand side by side under their names."""
    known = entry("array", *(Field(name, kind="array") for name in ("sample", "scores", "states", "loss")))
    output = {"sample": torch.zeros(3), "scores": [1, 2.5], "states": [torch.zeros(1), torch.zeros(2)], "loss": 0.5}
    products, _ = read(known, output)

    assert [("arrays", "array")] == kinds(products)
    assert isinstance(products[0].value, dict)
    assert {"sample", "scores", "states_0", "states_1", "loss"} == set(products[0].value)


def test_what_is_of_no_kind_is_told() -> None:
    """An object that cannot be written is named; what can be written comes."""
    products, warnings = read(IMAGES, {"images": [GREY], "state": object()})

    assert [("images", "image")] == kinds(products)
    assert ["'state' of the output is a object, which cannot be written."] == warnings


def test_an_array_that_is_no_image_is_given_as_numbers() -> None:
    """Latents where images were expected are numbers, and a sentence says so."""
    products, warnings = read(IMAGES, ImagePipelineOutput(images=torch.zeros(1, 16, 6, 8)))

    assert [("images", "array")] == kinds(products)
    assert "written as numbers" in warnings[0]


@pytest.mark.parametrize("output", [None, [], {"images": None}, ImagePipelineOutput(images=[]), {}])
def test_nothing_is_an_error(output: Any) -> None:
    """A pipeline that returns nothing has failed."""
    with pytest.raises(GenerationError, match="OnePipeline returned"):
        read(IMAGES, output)


@dataclass
class Answer:
    """An output of a user's own pipeline, of a plain class."""

    image: Any
    remark: str


def test_an_output_of_a_plain_class() -> None:
    """A dataclass of no library is read as well."""
    known = entry("image", Field("picture", kind="image"), Field("remark", kind="text"))
    products, _ = read(known, Answer(GREY, "done"))

    assert [("picture", "image"), ("remark", "text")] == kinds(products)
