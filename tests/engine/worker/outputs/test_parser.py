"""Outputs of pipelines are parsed by the types of their values, whatever their class."""

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
def test_images(value: Any) -> None:
    """Lists, nested lists, arrays and tensors of half precision give the same two images."""
    outputs, warnings = read(IMAGES, ImagePipelineOutput(images=value))

    assert [("images", "image")] * 2 == kinds(outputs)
    assert {(8, 6)} == {item.value.size for item in outputs if isinstance(item.value, Image.Image)}
    assert [] == warnings


@pytest.mark.parametrize("output", [[GREY], ([GREY],), {"images": [GREY]}])
def test_outputs_without_a_class(output: Any) -> None:
    """A bare value, a tuple and a mapping are outputs too."""
    outputs, _ = read(IMAGES, output)

    assert ["image"] == [item.kind for item in outputs]


def test_a_tuple_longer_than_the_known_fields() -> None:
    """A field that the catalog does not know gets a name."""
    outputs, _ = read(IMAGES, ([GREY], None, np.zeros(3)))

    assert [("images", "image"), ("output_2", "array")] == kinds(outputs)


@pytest.mark.parametrize(
    "flags", [[True], (True,), [[True]], np.array([True]), torch.tensor([True]), True, np.bool_(1)]
)
def test_a_flag_of_a_safety_checker(flags: Any) -> None:
    """An image that a checker has replaced gives one warning, whatever the type of the flag."""
    outputs, warnings = read(IMAGES, StableDiffusionPipelineOutput(images=[BLACK], nsfw_content_detected=flags))

    assert [("images", "image")] == kinds(outputs)
    assert ["The model's safety checker flagged the image as unsafe and replaced it by a black one."] == warnings


@pytest.mark.parametrize("flags", [[False], None, [None], np.array([False]), False])
def test_nothing_unsafe_is_no_warning(flags: Any) -> None:
    """A checker that flags nothing gives no warning."""
    outputs, warnings = read(IMAGES, StableDiffusionPipelineOutput(images=[GREY], nsfw_content_detected=flags))

    assert [("images", "image")] == kinds(outputs)
    assert [] == warnings


def test_other_flags() -> None:
    """Another flag gives a warning with the name of its field."""
    _, warnings = read(IMAGES, {"images": [GREY], "watermark_detected": [True]})

    assert ["Watermark detected."] == warnings


def test_black_images() -> None:
    """A black image without a flag gives a warning."""
    _, warnings = read(IMAGES, ImagePipelineOutput(images=[BLACK]))

    assert ["'images' has an image that is all black"] == [warning.partition(".")[0] for warning in warnings]


def test_nan() -> None:
    """The NaN values of an array are counted in a warning."""
    value = np.full((1, 6, 8, 3), 0.5)
    value[0, 0, 0] = np.nan
    _, warnings = read(IMAGES, ImagePipelineOutput(images=value))

    assert ["'images' is damaged: 3 of its 144 values are NaN or infinite"] == [
        warning.partition(".")[0] for warning in warnings
    ]


def test_depth_of_sixteen_bits() -> None:
    """An image and its depth are two outputs, and the depth keeps 16 bits."""
    depth = Image.fromarray(np.full((6, 8), 40_000, np.uint16))
    known = load_catalog().pipeline("StableDiffusionLDM3DPipeline")
    outputs, _ = read(known, LDM3DPipelineOutput(rgb=[GREY], depth=[depth], nsfw_content_detected=None))

    assert [("rgb", "image"), ("depth", "image")] == kinds(outputs)
    assert isinstance(outputs[1].value, Image.Image)
    assert 40_000 == outputs[1].value.getpixel((0, 0))


def test_texts_and_images() -> None:
    """Each text of a list is an output; outputs of the primary kind are first."""
    known = load_catalog().pipeline("UniDiffuserPipeline")
    outputs, _ = read(known, ImageTextPipelineOutput(images=[GREY], text=["a cat", "a dog"]))
    texts = [item for item in outputs if item.kind == "text"]

    assert ["a cat", "a dog"] == [item.value for item in texts]
    assert {"image", "text"} == {item.kind for item in outputs}
    assert known.output_kind == outputs[0].kind


@pytest.mark.parametrize("coloured", [True, False])
def test_meshes(coloured: bool) -> None:
    """An object with vertices and faces is a mesh, with colours if it has them."""
    channels = {name: torch.tensor([1.0, 0.5, 0.0]) for name in "RGB"} if coloured else {}
    mesh = MeshDecoderOutput(torch.rand(3, 3).half(), torch.tensor([[0, 1, 2]]), channels)
    outputs, _ = read(load_catalog().pipeline("ShapEPipeline"), ShapEPipelineOutput(images=[mesh]))

    assert [("images", "mesh")] == kinds(outputs)
    made = outputs[0].value
    assert isinstance(made, Mesh)
    assert ((3, 3), (1, 3)) == (made.vertices.shape, made.faces.shape)
    assert ((3, 3) if coloured else None) == (made.colours.shape if made.colours is not None else None)


def test_maps() -> None:
    """Each depth map is returned as an image and as an array, latents as an array only."""
    known = load_catalog().pipeline("MarigoldDepthPipeline")
    output = MarigoldDepthOutput(np.random.default_rng(0).random((2, 6, 8, 1)), None, torch.zeros(2, 4, 3, 4))
    outputs, _ = read(known, output)
    maps = [item for item in outputs if item.name == "prediction"]

    assert ["array", "array", "image", "image"] == sorted(item.kind for item in maps)
    assert [("latent", "array")] == [pair for pair in kinds(outputs) if pair[0] != "prediction"]
    assert {True} == {item.is_separate for item in maps if item.kind == "array"}


@pytest.mark.parametrize("wanted", ["npz", "npy", "NPZ"])
def test_requested_arrays(wanted: str) -> None:
    """Images are returned as arrays if a format for arrays is requested."""
    outputs, _ = read(IMAGES, ImagePipelineOutput(images=np.full((2, 6, 8, 3), 0.5)), wanted)

    assert [("images", "array")] == kinds(outputs)
    assert isinstance(outputs[0].value, dict)
    assert (2, 6, 8, 3) == outputs[0].value["images"].shape


def test_arrays_of_several_fields_share_a_file() -> None:
    """Arrays, numbers and lists of them are joined by the names of their fields."""
    known = entry("array", *(Field(name, kind="array") for name in ("sample", "scores", "states", "loss")))
    output = {"sample": torch.zeros(3), "scores": [1, 2.5], "states": [torch.zeros(1), torch.zeros(2)], "loss": 0.5}
    outputs, _ = read(known, output)

    assert [("arrays", "array")] == kinds(outputs)
    assert isinstance(outputs[0].value, dict)
    assert {"sample", "scores", "states_0", "states_1", "loss"} == set(outputs[0].value)


def test_unknown_types() -> None:
    """An object that cannot be encoded gives a warning; other fields are returned."""
    outputs, warnings = read(IMAGES, {"images": [GREY], "state": object()})

    assert [("images", "image")] == kinds(outputs)
    assert ["'state' of the output is a object, which cannot be encoded."] == warnings


def test_an_array_that_is_not_an_image() -> None:
    """Latents in a field of images are returned as an array, with a warning."""
    outputs, warnings = read(IMAGES, ImagePipelineOutput(images=torch.zeros(1, 16, 6, 8)))

    assert [("images", "array")] == kinds(outputs)
    assert "returned as an array" in warnings[0]


@pytest.mark.parametrize("output", [None, [], {"images": None}, ImagePipelineOutput(images=[]), {}])
def test_empty_outputs(output: Any) -> None:
    """A pipeline that returns nothing raises an error."""
    with pytest.raises(GenerationError, match="OnePipeline returned an empty"):
        read(IMAGES, output)


@dataclass
class Answer:
    """An output of a custom pipeline."""

    image: Any
    remark: str


def test_a_dataclass() -> None:
    """A dataclass of a user is parsed too."""
    known = entry("image", Field("image", kind="image"), Field("remark", kind="text"))
    outputs, _ = read(known, Answer(GREY, "done"))

    assert [("image", "image"), ("remark", "text")] == kinds(outputs)
