"""Quantization in a configuration file, as the libraries take it."""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

import makers
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading import quantization as module
from octabox.engine.worker.loading.components import check_packed_weights
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.loading.quantization import build_quantization_config
from octabox.errors import LoadError, MissingDependencyError


class BaseConfig:
    """Stands for the base of torchao's types."""


class Int8WeightOnlyConfig(BaseConfig):
    """Stands for a type of torchao with its arguments."""

    def __init__(self, group_size: int | None = None, weight_dtype: torch.dtype | None = None) -> None:
        self.group_size, self.weight_dtype = group_size, weight_dtype


def made(dtype: str | None = None, **arguments: Any) -> Any:
    """Return the quantization of a UNet whose model computes in bfloat16."""
    part = {"quantization": arguments, "dtype": dtype}
    config = ModelConfig.model_validate({"name": "x", "model": "owner/name", "components": {"unet": part}})
    return build_quantization_config(config, "unet", UNet2DConditionModel, torch.bfloat16)


@pytest.fixture
def torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchao's names be there, and diffusers take its types as they are."""
    offered, core = ModuleType("torchao.quantization"), ModuleType("torchao.core.config")
    offered.Int8WeightOnlyConfig = Int8WeightOnlyConfig  # type: ignore[attr-defined]
    core.AOBaseConfig = BaseConfig  # type: ignore[attr-defined]
    for each in (offered, core):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setitem(AUTO_QUANTIZATION_CONFIG_MAPPING, "torchao", lambda quant_type: quant_type)


@pytest.mark.parametrize("name", ["Int8WeightOnlyConfig", "int8_weight_only", "Int8WeightOnly"])
def test_a_name_stands_for_an_object_of_torchao(name: str, torchao: None) -> None:
    """A torchao type is given by its name in snake case or as the class, with or without the suffix."""
    assert isinstance(made(quant_backend="torchao", quant_type=name), Int8WeightOnlyConfig)


def test_a_type_of_torchao_has_arguments(torchao: None) -> None:
    """A mapping has arguments in addition to the name; names of dtypes become dtypes."""
    found = made(
        quant_backend="torchao", quant_type={"name": "int8_weight_only", "group_size": 32, "weight_dtype": "int8"}
    )

    assert (32, torch.int8) == (found.group_size, found.weight_dtype)


@pytest.mark.parametrize(
    ("given", "words"), [("int9", "no quantization type 'int9'"), ({"name": "int8_weight_only", "size": 1}, "size")]
)
def test_a_type_that_is_not_there_is_refused(given: object, words: str, torchao: None) -> None:
    """Another name, or an argument that the type does not have, is an error that names the component."""
    with pytest.raises(LoadError, match=words) as caught:
        made(quant_backend="torchao", quant_type=given)

    assert "component 'unet'" in caught.value.message


def test_a_missing_package_is_named() -> None:
    """Without torchao the error names the package to install."""
    if find_spec("torchao"):
        pytest.skip("torchao is installed")
    with pytest.raises(MissingDependencyError, match="torchao"):
        made(quant_backend="torchao", quant_type="int8_weight_only")


def test_torchao_itself_takes_what_is_made() -> None:
    """With torchao installed, diffusers gets a torchao object."""
    pytest.importorskip("torchao")
    found = made(quant_backend="torchao", quant_type="int8_weight_only").quant_type

    assert "Int8WeightOnlyConfig" == type(found).__name__


@pytest.mark.parametrize(
    ("dtype", "given", "expected"),
    [
        (None, {}, torch.bfloat16),
        ("float16", {}, torch.float16),
        (None, {"bnb_4bit_compute_dtype": "float32"}, torch.float32),
    ],
)
def test_weights_of_4_bits_are_computed_with_in_the_models_dtype(
    dtype: str | None, given: dict[str, str], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bitsandbytes computes in the component's dtype, unless the quantization sets another."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    found = made(dtype, quant_backend="bitsandbytes_4bit", load_in_4bit=True, **given)

    assert expected == found.bnb_4bit_compute_dtype


def test_arguments_that_a_backend_does_not_take_are_refused() -> None:
    """The error names the component and has the library's message."""
    with pytest.raises(
        LoadError, match=r"component 'unet': the quantization configuration is not valid: .*load_in_4bit"
    ):
        made(quant_backend="bitsandbytes_4bit", load_in_4bit="yes")


@pytest.mark.parametrize("where", ["model", "component"])
def test_packed_weights_are_not_offloaded_tensor_by_tensor(where: str) -> None:
    """A GGUF file with sequential offloading is an error; with other modes, and on the CPU, it is not."""
    components = {"unet": {"model": "unet.gguf"}} if where == "component" else {}
    model = "unet.gguf" if where == "model" else "owner/name"
    config = ModelConfig.model_validate({"name": "x", "model": model, "components": components})
    sequential = config.model_copy(update={"memory": "sequential_cpu_offload"})

    check_packed_weights(config, "cuda")
    check_packed_weights(sequential, "cpu")
    with pytest.raises(LoadError, match="GGUF") as caught:
        check_packed_weights(sequential, "cuda")

    assert "model_cpu_offload" in caught.value.hint


@pytest.mark.slow
def test_a_component_that_the_model_does_not_have_is_not_quantized(tmp_path: Path) -> None:
    """Wan 2.1 has one transformer where its class has two, which LocalAI's word for a quantization means both."""
    name = "WanImageToVideoPipeline"
    makers.pipelines()[name].make().save_pretrained(tmp_path)
    part = ComponentConfig(quantization={"quant_backend": "gguf"})
    config = ModelConfig(name="x", model=str(tmp_path), components={"transformer_2": part})

    pipe = load(config, name, WorkerOptions(device="cpu"))

    assert pipe.pipeline.transformer_2 is None
    assert torch.is_floating_point(pipe.pipeline.transformer.patch_embedding.weight)


def test_a_backend_that_is_no_word_is_refused() -> None:
    """As any other one that there is not."""
    with pytest.raises(LoadError, match="no quantization backend"):
        made(quant_backend=["quanto"])
