"""Components in the configuration that only sibling pipelines take."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import constants
from PIL import Image

import makers
from calling import call, run
from ldm_layout import save_single_file
from makers.parts import unets
from makers.samples import sample_image
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.extra_components import split_extra_components
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner
from octabox.errors import LoadError

PLAIN, GUIDED = "StableDiffusionPipeline", "StableDiffusionControlNetPipeline"

OPTIONS = WorkerOptions(device="cpu")

PARAMS = {"prompt": "a red star", "num_inference_steps": 2, "height": 32, "width": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, and the ControlNet of another one."""
    place = tmp_path_factory.mktemp("models")
    pipe = makers.pipelines()["StableDiffusionImg2ImgPipeline"].make()
    pipe.save_pretrained(place / "plain")
    torch.manual_seed(1)
    net = unets.controlnet()
    # As it is made, its last layers are zero, and it changes nothing.
    for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(layer.weight)
    net.save_pretrained(place / "net")
    return place


def config(folder: Path, **components: ComponentConfig) -> ModelConfig:
    """Return the configuration of the plain model with these components."""
    return ModelConfig(name="plain", model=str(folder / "plain"), pipeline=PLAIN, components={**components})


def net(folder: Path, **fields: str) -> ComponentConfig:
    """Return the configuration of the ControlNet."""
    return ComponentConfig(model=str(folder / "net"), **fields)  # type: ignore[arg-type]


def test_a_controlnet_beside_a_plain_model_guides_it(folder: Path) -> None:
    """The model's own class runs as ever; the sibling that needs a ControlNet runs on the same weights, led by an image."""
    loaded = load(config(folder, controlnet=net(folder)), PLAIN, OPTIONS)
    runner = Runner(loaded)
    plain = run(runner, call(PLAIN, PARAMS))
    guided = [
        run(runner, call(GUIDED, PARAMS, inputs={"image": (sample_image(32, 32, shift=shift),)})).outputs[0][0].value
        for shift in (0, 8)
    ]

    assert "ControlNetModel" == type(loaded.extra_components["controlnet"]).__name__
    assert [PLAIN, GUIDED] == [type(pipe).__name__ for pipe in runner.pipelines]
    assert runner.pipelines[0].unet is runner.pipelines[1].unet
    assert isinstance(plain.outputs[0][0].value, Image.Image)
    assert not np.array_equal(np.asarray(guided[0]), np.asarray(guided[1]))


def test_a_component_beside_has_its_own_type_of_numbers(folder: Path) -> None:
    """It has the model's dtype, or the configured one."""
    same = load(config(folder, controlnet=net(folder)), PLAIN, OPTIONS)
    other = load(config(folder, controlnet=net(folder, dtype="bfloat16")), PLAIN, OPTIONS)

    assert torch.float32 == same.extra_components["controlnet"].dtype
    assert torch.bfloat16 == other.extra_components["controlnet"].dtype


def test_what_is_of_the_class_and_what_is_beside_it(folder: Path) -> None:
    """Extra components are separated, and those of the class stay in its configuration."""
    whole, beside = split_extra_components(
        config(folder, unet=ComponentConfig(dtype="bfloat16"), controlnet=net(folder)), PLAIN
    )

    assert ("controlnet",) == beside
    assert {"unet"} == set(whole.components)


def test_without_anything_beside_the_configuration_stays(folder: Path) -> None:
    """A configuration of the class's own components is the same object."""
    own = config(folder, vae=ComponentConfig(dtype="bfloat16"))
    whole, beside = split_extra_components(own, PLAIN)

    assert whole is own
    assert () == beside


def test_a_class_that_needs_it_takes_it_as_its_own(folder: Path) -> None:
    """With the ControlNet pipeline as its class, the ControlNet is an ordinary component."""
    own = config(folder, controlnet=net(folder)).model_copy(update={"pipeline": GUIDED})
    loaded = load(own, GUIDED, OPTIONS)

    assert GUIDED == type(loaded.pipeline).__name__
    assert {} == loaded.extra_components


def test_a_wrong_name_is_refused_with_the_right_ones(folder: Path) -> None:
    """A component that neither the class nor a sibling has is an error that names those that there are."""
    with pytest.raises(LoadError, match="has a component 'engine'") as caught:
        load(config(folder, engine=net(folder)), PLAIN, OPTIONS)

    assert "plain" == caught.value.model
    assert "unet" in caught.value.hint
    assert "vae" in caught.value.hint


def test_a_component_that_is_needed_and_missing_is_named(folder: Path) -> None:
    """The error names the missing component and how to set it."""
    with pytest.raises(LoadError, match="StableDiffusionControlNetPipeline needs controlnet") as caught:
        load(config(folder), GUIDED, OPTIONS)

    assert "components: {controlnet: {model:" in caught.value.hint


def test_a_folder_that_is_not_there_is_an_error(folder: Path) -> None:
    """A component whose folder is missing fails the load."""
    with pytest.raises(LoadError, match="nowhere does not exist"):
        load(config(folder, controlnet=ComponentConfig(model=str(folder / "nowhere"))), PLAIN, OPTIONS)


def test_a_component_beside_needs_a_source(folder: Path) -> None:
    """A component that the model has not must come from somewhere."""
    with pytest.raises(LoadError, match="controlnet") as caught:
        load(config(folder, controlnet=ComponentConfig(dtype="float32")), PLAIN, OPTIONS)

    assert "model:" in caught.value.hint


@pytest.fixture(scope="module")
def single_file(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """Return a model in a single file."""
    place = tmp_path_factory.mktemp("files")
    save_single_file(StableDiffusionPipeline.from_pretrained(folder / "plain"), place / "plain.safetensors")
    return place / "plain.safetensors"


@pytest.mark.parametrize("with_config", [True, False])
def test_a_controlnet_in_a_file_beside_a_model_in_a_file(folder: Path, single_file: Path, with_config: bool) -> None:
    """Its configuration is next to it, or that of the model that completes the file; the file of the model has none."""
    file = net_file(folder, single_file.parent / f"{with_config}" / "net.safetensors", with_config=with_config)
    if not with_config:
        shutil.copytree(folder / "net", folder / "plain" / "controlnet", dirs_exist_ok=True)
    fields = {"model": str(single_file), "config": str(folder / "plain")}
    controlnet = ComponentConfig(model=str(file))
    loaded = load(config(folder, controlnet=controlnet).model_copy(update=fields), PLAIN, OPTIONS)

    assert "ControlNetModel" == type(loaded.extra_components["controlnet"]).__name__


@pytest.mark.parametrize("in_file", [True, False])
def test_no_foreign_configuration_is_used(
    folder: Path, single_file: Path, tmp_path: Path, in_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of the Hub nor of its cache, whatever is in there: it is derived from that of the denoiser."""
    repo = tmp_path / "cache/models--lllyasviel--control_v11p_sd15_canny"  # What diffusers guesses by the tensors.
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text("0" * 40)
    foreign = shutil.copytree(folder / "net", repo / "snapshots" / ("0" * 40)) / "config.json"
    own = json.loads(foreign.read_text())
    foreign.write_text(json.dumps({**own, "conditioning_embedding_out_channels": [2, 2], "cross_attention_dim": 5}))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    shutil.copytree(folder / "plain", tmp_path / "plain", ignore=shutil.ignore_patterns("controlnet"))
    controlnet = ComponentConfig(model=str(net_file(folder, tmp_path / "net.safetensors", with_config=False)))
    update = {"model": str(single_file if in_file else tmp_path / "plain")}
    update |= {"config": str(tmp_path / "plain")} if in_file else {}

    loaded = load(config(folder, controlnet=controlnet).model_copy(update=update), PLAIN, OPTIONS)
    found = loaded.extra_components["controlnet"].config

    for name in ("conditioning_embedding_out_channels", "cross_attention_dim", "block_out_channels"):
        assert own[name] == json.loads(json.dumps(found[name]))


def net_file(folder: Path, file: Path, *, with_config: bool) -> Path:
    """Write the weights of the ControlNet to a file, and its configuration next to it."""
    file.parent.mkdir(exist_ok=True)
    shutil.copy(folder / "net" / "diffusion_pytorch_model.safetensors", file)
    if with_config:
        shutil.copy(folder / "net" / "config.json", file.parent)
    return file
