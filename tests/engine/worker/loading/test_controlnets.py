"""Several components of one kind: which are loaded, how a pipeline takes them, and which is to blame for an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import makers
from makers.parts import unets
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.component_types import accepts_multiple, group_components, unpack_components
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.errors import IncompatibleWeightsError, LoadError

PLAIN, GUIDED = "StableDiffusionPipeline", "StableDiffusionControlNetPipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, two ControlNets, and a truncated one."""
    place = tmp_path_factory.mktemp("models")
    makers.pipelines()["StableDiffusionImg2ImgPipeline"].make().save_pretrained(place / "plain")
    for name in ("first", "second", "short"):
        unets.controlnet().save_pretrained(place / name)
    (file,) = (place / "short").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    return place


def loaded(folder: Path, *nets: str, runs_as: str = PLAIN, name: str = "controlnet", **fields: Any) -> LoadedModel:
    """Return the plain model with these ControlNets in a list."""
    parts = [{"model": str(folder / net), **fields} for net in nets]
    config = {"name": "plain", "model": str(folder / "plain"), "components": {name: parts}}
    return load(ModelConfig.model_validate(config), runs_as, WorkerOptions(device="cpu"))


def test_beside_a_plain_model_they_wait_for_a_sibling(folder: Path) -> None:
    """Each is loaded from its source, and equal entries are loaded once."""
    nets = loaded(folder, "first", "second", "first").extra_components["controlnet"]

    assert 3 == len(nets)
    assert nets[0] is nets[2] is not nets[1]


def test_a_class_of_its_own_takes_them_as_its_constructor_says(folder: Path) -> None:
    """Where the configuration names the guided class, they are one of its components."""
    pipe: Any = loaded(folder, "first", "second", runs_as=GUIDED).pipeline

    assert isinstance(pipe.controlnet, diffusers.MultiControlNetModel)
    assert 2 == len(unpack_components(pipe.controlnet))


def test_each_has_its_own_storage(folder: Path) -> None:
    """The storage dtype of a list entry holds for its weights."""
    nets = loaded(folder, "first", "second", storage="float8_e4m3fn").extra_components["controlnet"]

    assert [{torch.float32, torch.float8_e4m3fn}] * 2 == [{each.dtype for each in net.parameters()} for net in nets]


@pytest.mark.parametrize(
    ("net", "kind", "said"),
    [("nowhere", LoadError, "does not exist"), ("short", IncompatibleWeightsError, "or truncated")],
)
def test_the_one_that_cannot_be_read_is_named(folder: Path, net: str, kind: type[LoadError], said: str) -> None:
    """The error names the position in the list and the file."""
    with pytest.raises(kind) as caught:
        loaded(folder, "first", net)

    assert caught.value.message.startswith("controlnet 2 of 2: ")
    assert f"/{net}" in caught.value.message
    assert said in str(to_load_error(caught.value, ModelConfig(name="plain", model="plain")))
    assert "plain" == caught.value.model


def test_a_component_that_stands_alone_takes_no_list(folder: Path) -> None:
    """The error shows how to write a single component."""
    with pytest.raises(LoadError, match="takes one component 'vae', not a list") as caught:
        loaded(folder, "first", "second", name="vae")

    assert "components: {vae: {model:" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "name", "several"),
    [
        (diffusers.StableDiffusionControlNetPipeline, "controlnet", True),
        (diffusers.StableDiffusionXLAdapterPipeline, "adapter", True),
        (diffusers.QwenImageControlNetPipeline, "controlnet", True),
        (diffusers.StableDiffusionControlNetPipeline, "unet", False),
        (diffusers.StableDiffusionControlNetXSPipeline, "controlnet", False),
        (diffusers.PixArtAlphaPipeline, "scheduler", False),
    ],
)
def test_which_take_several_is_told_from_annotations(kind: Any, name: str, *, several: bool) -> None:
    """A component accepts a list if its annotation is a list or a class made of one."""
    assert several == accepts_multiple(kind, name)


def test_a_group_where_the_constructor_makes_none() -> None:
    """A list that a pipeline would only keep becomes the class that its annotation has for it."""
    adapters = [diffusers.T2IAdapter(channels=[8, 8], num_res_blocks=1) for _ in range(2)]
    group = group_components(diffusers.StableDiffusionXLAdapterPipeline, "adapter", adapters)

    assert isinstance(group, diffusers.MultiAdapter)
    assert adapters == unpack_components(group)
    assert adapters[0] is group_components(diffusers.StableDiffusionXLAdapterPipeline, "adapter", adapters[:1])
    assert adapters[0] is group_components(diffusers.StableDiffusionXLAdapterPipeline, "adapter", adapters[0])
