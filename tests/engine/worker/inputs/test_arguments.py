"""Media are converted to tensors on the device and in the dtype of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from octabox.catalog.entries import Parameter
from octabox.catalog.pipelines import load_catalog
from octabox.engine.protocol import Run
from octabox.engine.worker.inputs.arguments import call_arguments
from octabox.media.audio import Audio
from octabox.media.video import Video

#: One medium of each kind that becomes a tensor.
MEDIA = {
    "audio": Audio(np.zeros((2, 16), np.float32), 16000),
    "video": Video((Image.new("RGB", (4, 4)),) * 2, 8.0),
    "array": np.zeros((1, 4), np.float32),
}


class Pipe:
    """A pipeline on another device than the CPU."""

    _execution_device, dtype = torch.device("meta"), torch.bfloat16
    components: Mapping[str, object] = MappingProxyType({})


def tensor(kind: Any, medium: Any) -> torch.Tensor:
    """Return the argument for a parameter that takes only tensors."""
    entry = load_catalog().pipeline("StableDiffusionPipeline")
    known = entry.parameter("prompt_embeds")
    assert isinstance(known, Parameter)
    entry = replace(entry, parameters=(replace(known, name="medium", kind=kind, annotation="torch.Tensor"),))
    found = call_arguments(Pipe(), entry, Run({}, {"medium": (medium,)}, 0))["medium"]
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("kind", MEDIA)
def test_device_and_dtype(kind: str) -> None:
    """The tensor of any medium is on the device of the pipeline, in its dtype."""
    found = tensor(kind, MEDIA[kind])

    assert ("meta", torch.bfloat16) == (found.device.type, found.dtype)


def test_integers() -> None:
    """An array of integers keeps its dtype, and a scalar its shape."""
    assert torch.int64 == tensor("array", np.zeros((2, 2), np.int64)).dtype
    assert () == tuple(tensor("array", np.array(1.0)).shape)


@pytest.mark.parametrize(("annotation", "passed"), [("int", 7), ("int | None", None), ("Optional[int]", None)])
def test_the_own_seed_of_a_pipeline(annotation: str, passed: int | None) -> None:
    """It is that of the run, or None if the pipeline then draws from its generator: its default would never vary."""
    entry = load_catalog().pipeline("StableDiffusionPipeline")
    own = Parameter(name="seed", annotation=annotation, kind="integer", required=False, default=0)
    entry = replace(entry, parameters=(*entry.parameters, own))

    assert passed == call_arguments(Pipe(), entry, Run({}, {}, 7))["seed"]
    assert 3 == call_arguments(Pipe(), entry, Run({"seed": 3}, {}, 7))["seed"]


@pytest.mark.parametrize(
    ("name", "annotation", "is_list"),
    [
        ("image", "PIL.Image.Image | list[PIL.Image.Image]", False),
        ("images", "PIL.Image.Image | list[PIL.Image.Image]", True),
        ("images", "PIL.Image.Image", False),
        ("image", "list[PIL.Image.Image]", True),
    ],
)
def test_one_image_is_a_list_where_the_class_means_several(name: str, annotation: str, is_list: bool) -> None:
    """The annotation requires a list, or it allows one and the name is in the plural."""
    entry = load_catalog().pipeline("StableDiffusionImg2ImgPipeline")
    known = entry.parameter("image")
    assert isinstance(known, Parameter)
    entry = replace(entry, parameters=(replace(known, name=name, annotation=annotation),))
    found = call_arguments(Pipe(), entry, Run({}, {name: (Image.new("RGB", (4, 4)),)}, 0))[name]

    assert is_list == isinstance(found, list)
