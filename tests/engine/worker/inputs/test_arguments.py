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

import makers
from makers import samples
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


def call(
    name: str, params: Mapping[str, Any], *, vae: Mapping[str, Any] | None = None, **media: Any
) -> tuple[Any, Any]:
    """Return the arguments for a tiny pipeline, and what it returns for them; ``vae`` has more settings of its VAE."""
    tiny = makers.pipelines()[name]
    pipe, known = tiny.make(), load_catalog().pipelines[name]
    pipe.vae.register_to_config(**vae or {})
    own = {each: value for each, value in tiny.params.items() if not samples.is_marker(value) and known.parameter(each)}
    given = {**own, **params}
    found = call_arguments(pipe, known, Run(given, {each: (value,) for each, value in media.items()}, 0))
    return found, pipe(**found)


def test_a_mask_for_each_frame() -> None:
    """The mask of a video is its own video in one channel; a single mask is for all frames."""
    clip = samples.sample_video(16, 16)
    masks = replace(clip, frames=(samples.mask(16, 16).convert("RGB"),) * 9)
    size = {"width": 16, "height": 16}
    found, output = call("WanVACEPipeline", size, video=clip, mask=masks)
    one, _ = call("WanVACEPipeline", size, video=clip, mask=replace(masks, frames=masks.frames[:1]))

    assert ["L"] * 9 == [each.mode for each in found["mask"]] == [each.mode for each in one["mask"]]
    assert 9 == len(output.frames[0])


def test_a_mask_as_a_tensor_has_one_channel() -> None:
    """The pipeline repeats it for each colour, and fails with three."""
    clip = samples.sample_video(16, 16)
    # The pipeline reads a setting that the VAE of diffusers does not have.
    setting = {"cache_mag_vae": True}
    found, output = call("EasyAnimateInpaintPipeline", {}, vae=setting, video=clip, mask_video=clip)

    assert [1, 1, 9, 16, 16] == sorted(found["mask_video"].shape)
    assert len(output.frames)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_audio_without_a_batch() -> None:
    """A pipeline that documents channels and samples gets a tensor of these axes."""
    audio = Audio(samples.sample_audio().samples[:, :4000], 48_000)
    found, output = call("AceStepPipeline", {"audio_duration": 0.25}, reference_audio=audio)

    assert 2 == found["reference_audio"].ndim
    assert len(output.audios)
