"""Problems of a model's files are found before its weights are read; loading fails for each of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, T2IAdapter, UNet2DConditionModel
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import discover
from octabox.config.problems import Problem
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.cache_layout import CachedRepo
from octabox.service.bounds import Limits
from octabox.service.checks.checker import ModelChecker, entries_of
from octabox.service.checks.configuration import find_problems
from octabox.service.checks.devices import find_device_problems
from octabox.service.selection.resolver import resolve_current


def change_json(file: Path, **values: Any) -> None:
    """Set values of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    """Replace the tensors of the weight file of a component."""
    file = next(folder.glob("*.safetensors"))
    save_file(change(load_file(file)), file, {"format": "pt"})


def truncate(file: Path) -> None:
    """Cut the end off a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def shard(folder: Path) -> None:
    """Turn the weights of a component into two shards, of which one is missing."""
    file = next(folder.glob("*.safetensors"))
    names = list(load_file(file))
    first = file.with_name(f"{file.stem}-00001-of-00002.safetensors")
    file.rename(first)
    places = dict.fromkeys(names, first.name) | {names[-1]: f"{file.stem}-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    file.with_name(f"{file.name}.index.json").write_text(json.dumps(index))


def empty(folder: Path) -> None:
    """Delete the files of a folder."""
    for file in folder.iterdir():
        file.unlink()


def use_flux_transformer(model: Path) -> None:
    """Name another class for the denoiser, in the index and in its configuration."""
    change_json(model / "unet/config.json", _class_name="FluxTransformer2DModel")
    change_json(model / "model_index.json", unet=["diffusers", "FluxTransformer2DModel"])


def widen_text_features(model: Path) -> None:
    """Give the denoiser wider text features than the text encoder returns."""

    def widen(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        ends = ("attn2.to_k.weight", "attn2.to_v.weight")
        return {name: torch.ones(len(each), 77) if name.endswith(ends) else each for name, each in tensors.items()}

    change_json(model / "unet/config.json", cross_attention_dim=77)
    change_weights(model / "unet", widen)


def copy_configuration(models: Path) -> None:
    """Make a folder with the configuration of the VAE alone."""
    (models / "other").mkdir()
    shutil.copy(models / "tiny/vae/config.json", models / "other")


def add_tokens(file: Path) -> None:
    """Add tokens to the vocabulary of a tokenizer."""
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = vocabulary | {f"more{index}": len(vocabulary) + index for index in range(50)}
    file.write_text(json.dumps(content))


@dataclass(frozen=True)
class Case:
    """A model that cannot be loaded.

    Args:
        spoil: Changes the models folder, whose model is in its folder ``tiny``.
        words: Words of the problem.
        key: The key of the configuration that it belongs to.
        settings: The configuration of the model.
        severity: Whether the files alone show that it cannot work.
    """

    spoil: Callable[[Path], object]
    words: str
    key: str = "model"
    settings: Mapping[str, Any] = field(default_factory=dict)
    severity: str = "error"


def no_change(_: Path) -> None:
    """Leave the model as it is."""


def write_lora(models: Path) -> None:
    """Write a LoRA for a model with wider text features."""
    names = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {f"{names}.lora_A.weight": torch.ones(2, 768), f"{names}.lora_B.weight": torch.ones(32, 2)}
    save_file(tensors, models / "style.safetensors")


def write_controlnet(models: Path) -> None:
    """Write the configuration and the weights of a ControlNet for a model with wider text features."""
    ControlNetModel(
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=17,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        conditioning_embedding_out_channels=(4, 4),
    ).save_pretrained(models / "control")


def write_controlnet_file(models: Path) -> None:
    """Write the weights of a ControlNet for the model to a file, without its configuration."""
    net = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(models / "tiny/unet"))
    net.save_pretrained(models / "control")
    (models / "control/diffusion_pytorch_model.safetensors").rename(models / "control.safetensors")


def write_text_encoder_file(models: Path) -> None:
    """Write the weights of the text encoder to a file."""
    shutil.copy(next((models / "tiny/text_encoder").glob("*.safetensors")), models / "text.safetensors")


def write_t2i_adapter_file(models: Path) -> None:
    """Write a T2I-Adapter to a file, with its configuration next to it."""
    T2IAdapter(channels=[8, 8], num_res_blocks=1, downscale_factor=8).save_pretrained(models / "adapter")


def write_ip_adapter(models: Path) -> None:
    """Write an IP-Adapter for a model with wider text features."""
    tensors = {"image_proj.proj.weight": torch.ones(8, 8), "ip_adapter.1.to_k_ip.weight": torch.ones(8, 768)}
    save_file(tensors, models / "ip.safetensors")


def add_scale(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors with a scale for blocks of the first matrix."""
    name = next(name for name, tensor in tensors.items() if tensor.ndim > 1 and name.endswith(".weight"))
    return tensors | {f"{name}_scale": torch.ones(len(tensors[name]), 2)}


def write_scaled_file(models: Path) -> None:
    """Write an autoencoder to a file with scales for blocks of a weight."""
    save_file(add_scale(load_file(next((models / "tiny/vae").glob("*.safetensors")))), models / "vae.safetensors")


def replace_by_fifo(file: Path) -> None:
    """Put a FIFO in the place of a file."""
    file.unlink()
    os.mkfifo(file)


class Harmful:
    """An object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /nowhere/at/all",)


def pickle_weights(folder: Path) -> None:
    """Replace the weights of a component by a pickle with more than weights."""
    file = next(folder.glob("*.safetensors"))
    torch.save({**load_file(file), "x": Harmful()}, file.with_suffix(".bin"))
    file.unlink()


def add_code(model: Path) -> None:
    """Name a class in the folder of the model for the denoiser."""
    change_json(model / "model_index.json", unet=["my_unet", "MyUNet"])
    (model / "unet/my_unet.py").write_text("from diffusers import UNet2DConditionModel as MyUNet\n")


def use_scheduler(model: Path, name: str) -> None:
    """Name another class for the scheduler."""
    change_json(model / "model_index.json", scheduler=["diffusers", name])


def widen_latents(model: Path) -> None:
    """Give the model a VAE with latents of more channels."""
    shutil.rmtree(model / "vae")
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=16).save_pretrained(model / "vae")


def to_integers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of which one weight has no fractions."""
    name = next(name for name in tensors if name.endswith("to_q.weight"))
    return {**tensors, name: tensors[name].to(torch.int8)}


def encode(file: Path, encoding: str) -> None:
    """Write a text file in another encoding."""
    file.write_bytes(file.read_text("utf-8").encode(encoding))


CASES: dict[str, Case] = {
    "FIFO of a configuration": Case(
        lambda models: replace_by_fifo(models / "tiny/unet/config.json"), "config.json cannot be read. It is a FIFO"
    ),
    "FIFO of a vocabulary": Case(
        lambda models: replace_by_fifo(models / "tiny/tokenizer/tokenizer.json"), "tokenizer.json cannot be read."
    ),
    "link to nowhere": Case(
        lambda models: (models / "tiny/vae/diffusion_pytorch_model.bin").symlink_to("/nowhere/x"),
        "diffusion_pytorch_model.bin cannot be read. The link is broken.",
    ),
    "harmful pickle": Case(
        lambda models: pickle_weights(models / "tiny/unet"), "loading it would run code: it would call posix.system"
    ),
    "code": Case(lambda models: add_code(models / "tiny"), "names code for its components (unet/my_unet.py)"),
    "library without code": Case(
        lambda models: change_json(models / "tiny/model_index.json", unet=["os", "system"]),
        "names code for its components (unet/os.py)",
    ),
    "pipeline for a scheduler": Case(
        lambda models: use_scheduler(models / "tiny", "StableDiffusionPipeline"),
        "StableDiffusionPipeline, which model_index.json names for scheduler, is not a noise scheduler",
    ),
    "index in UTF-16": Case(lambda models: encode(models / "tiny/model_index.json", "utf-16"), "is not valid JSON"),
    "index with a byte order mark": Case(
        lambda models: encode(models / "tiny/model_index.json", "utf-8-sig"), "is not valid JSON"
    ),
    "latents of another VAE": Case(
        lambda models: widen_latents(models / "tiny"), "unet returns latents of 4 channels, but vae takes 16"
    ),
    "weights of integers": Case(
        lambda models: change_weights(models / "tiny/unet", to_integers), "has weights of integers, such as"
    ),
    "value of a scheduler": Case(
        lambda models: change_json(models / "tiny/scheduler/scheduler_config.json", prediction_type="nope"),
        "In the configuration of scheduler (DDIMScheduler), prediction_type must be",
        severity="warning",
    ),
    "no source": Case(no_change, "There is no 'nothere' in the models folder", settings={"model": "nothere"}),
    "no folder": Case(lambda models: shutil.rmtree(models / "tiny/vae"), "has no folder vae"),
    "empty folder": Case(lambda models: empty(models / "tiny/vae"), "vae is empty"),
    "no configuration": Case(lambda models: (models / "tiny/unet/config.json").unlink(), "unet has no config.json"),
    "no scheduler": Case(
        lambda models: (models / "tiny/scheduler/scheduler_config.json").rename(models / "tiny/scheduler/x.json"),
        "scheduler has no scheduler_config.json",
    ),
    "no weights": Case(
        lambda models: next((models / "tiny/unet").glob("*.safetensors")).unlink(),
        "unet has no weights: there is no diffusion_pytorch_model.safetensors",
    ),
    "no weights of transformers": Case(
        lambda models: next((models / "tiny/text_encoder").glob("*.safetensors")).unlink(),
        "text_encoder has no weights: there is no model.safetensors or pytorch_model.safetensors",
    ),
    "no shard": Case(lambda models: shard(models / "tiny/unet"), "00002-of-00002.safetensors, which"),
    "truncated": Case(
        lambda models: truncate(next((models / "tiny/unet").glob("*.safetensors"))), "not a valid safetensors file"
    ),
    "scales in a folder": Case(lambda models: change_weights(models / "tiny/unet", add_scale), "quantized with scales"),
    "scales for blocks": Case(
        write_scaled_file,
        "is quantized in a format that is not supported",
        "components.vae.model",
        {"components": {"vae": {"model": "vae.safetensors"}}},
    ),
    "no variant": Case(no_change, "of the variant 'fp16'", "variant", {"variant": "fp16"}),
    "left out": Case(no_change, "needs unet, which is left out", "components.unet", {"components": {"unet": None}}),
    "no class": Case(
        lambda models: change_json(models / "tiny/model_index.json", unet=["diffusers", "UNet2DConditionModell"]),
        "There is no class 'UNet2DConditionModell' in diffusers, which model_index.json names for unet. (did you mean",
    ),
    "another class": Case(
        lambda models: use_flux_transformer(models / "tiny"),
        "takes UNet2DConditionModel as its unet, and the model has FluxTransformer2DModel",
        severity="warning",
    ),
    "files of another class": Case(
        lambda models: change_json(models / "tiny/model_index.json", unet=["diffusers", "UNet2DModel"]),
        "holds a UNet2DConditionModel, and model_index.json names UNet2DModel",
    ),
    "no pipeline": Case(
        lambda models: change_json(models / "tiny/model_index.json", _class_name="StableDifusionPipeline"),
        "StableDifusionPipeline",
    ),
    "text encoder of another model": Case(
        lambda models: widen_text_features(models / "tiny"),
        "unet takes text features of width 77",
    ),
    "tokenizer of another model": Case(
        lambda models: add_tokens(models / "tiny/tokenizer/tokenizer.json"),
        "tokens, but its text encoder has embeddings for",
    ),
    "no IP-Adapter": Case(
        no_change, "There is no 'x' in the models folder", "ip_adapters.0.model", {"ip_adapters": [{"model": "x"}]}
    ),
    "no LoRA": Case(no_change, "There is no LoRA 'nothere'", "adapters.0.lora", {"adapters": [{"lora": "nothere"}]}),
    "not a LoRA": Case(
        lambda models: save_file({"a": torch.ones(1)}, models / "style.safetensors"),
        "is not a LoRA",
        "adapters.0.lora",
        {"adapters": [{"lora": "style.safetensors"}]},
    ),
    "LoRA of another family": Case(
        write_lora,
        "trained with text features of width 768",
        "adapters.0.lora",
        {"adapters": [{"lora": "style.safetensors"}]},
    ),
    "ControlNet of another family": Case(
        write_controlnet,
        "made for another model family: its cross_attention_dim is 17",
        "components.controlnet.model",
        {"components": {"controlnet": {"model": "control"}}},
    ),
    "text encoder in a file": Case(
        write_text_encoder_file,
        "the component 'text_encoder' cannot be loaded from a single file",
        "components.text_encoder.model",
        {"components": {"text_encoder": {"model": "text.safetensors"}}},
    ),
    "T2I-Adapter in a file": Case(
        write_t2i_adapter_file,
        "the component 'adapter' cannot be loaded from a single file",
        "components.adapter.model",
        {"components": {"adapter": {"model": "adapter/diffusion_pytorch_model.safetensors"}}},
    ),
    "no ControlNet": Case(
        no_change,
        "There is no 'control' in the models folder",
        "components.controlnet.model",
        {"components": {"controlnet": {"model": "control"}}},
    ),
    "component without weights": Case(
        copy_configuration,
        "has no weights",
        "components.vae.model",
        {"components": {"vae": {"model": "other"}}},
    ),
    "no subfolder": Case(
        no_change,
        "There is no folder",
        "components.vae.model",
        {"components": {"vae": {"model": "tiny", "subfolder": "x"}}},
    ),
    "not an IP-Adapter": Case(
        lambda models: save_file({"a": torch.ones(1)}, models / "ip.safetensors"),
        "is not an IP-Adapter",
        "ip_adapters.0.model",
        {"ip_adapters": [{"model": "ip.safetensors"}]},
    ),
    "IP-Adapter of another family": Case(
        write_ip_adapter,
        "trained with text features of width 768",
        "ip_adapters.0.model",
        {"ip_adapters": [{"model": "ip.safetensors", "image_encoder_folder": None}]},
    ),
    "size": Case(
        no_change, "'width' must be a multiple of 8", "defaults.width", {"defaults": {"width": 60, "height": 64}}
    ),
    "device": Case(no_change, "There is no device 'cuda:7' on this machine", "device", {"device": "cuda:7"}),
    "damaged file": Case(
        lambda models: (models / "x.safetensors").write_bytes(b"nothing"),
        "not a valid safetensors file",
        settings={"model": "x.safetensors"},
    ),
    "file of tensors": Case(
        lambda models: save_file({"a": torch.ones(1)}, models / "x.safetensors"),
        "family of",
        settings={"model": "x.safetensors"},
    ),
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a models folder with a model that can be loaded."""
    shutil.copytree(demo.FOLDER, tmp_path / "tiny")
    return tmp_path


def problems_of(models: Path) -> Iterator[Problem]:
    """Yield all problems of a models folder, as `octabox check` does on a machine without accelerators."""
    folder, catalog = discover(models), load_catalog()
    adapters = AdapterRegistry(models / "loras", models / "embeddings")
    yield from folder.problems
    yield from find_problems(folder.entries, catalog, Limits())
    yield from ModelChecker(adapters, resolve_current).problems(entries_of(folder), catalog)
    yield from find_device_problems(folder.entries, ())


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_loading_fails_with_is_found(models: Path, case: Case) -> None:
    """With the key of its configuration; and loading does fail."""
    settings = {"model": "tiny", **case.settings}
    (models / "m.yaml").write_text(json.dumps(settings))
    case.spoil(models)

    found = list(problems_of(models))

    assert [(case.key, case.severity)] == [(each.key, each.severity) for each in found], found
    assert case.words in str(found[0])
    assert found[0].hint
    with pytest.raises(Exception, match=r"\w"):
        load_and_call(models)


def load_and_call(models: Path) -> None:
    """Load the model as a worker does, and make an image."""
    config = discover(models).models["m"]
    pipeline = resolve_current(config, load_catalog()).pipeline.name
    loaded = load(config, pipeline, WorkerOptions())
    pipe: Any = loaded.pipeline
    sizes = {"height": 64, "width": 64, **config.defaults}
    pipe(prompt="a red circle", num_inference_steps=1, **sizes)


def test_a_model_that_loads_has_no_problems(models: Path) -> None:
    """With a configuration, and as a bare folder."""
    (models / "m.yaml").write_text('{"model": "tiny", "variant": null}')
    assert [] == list(problems_of(models))

    (models / "m.yaml").unlink()
    assert [] == list(problems_of(models))
    load_and_call_folder(models / "tiny")


def load_and_call_folder(folder: Path) -> None:
    """Load a folder without a configuration."""
    (folder.parent / "m.yaml").write_text('{"model": "tiny"}')
    load_and_call(folder.parent)


def test_a_component_in_a_file_with_its_configuration_has_no_problems(models: Path) -> None:
    """The configuration is next to the file, or in the folder of the model; both are loaded."""
    write_controlnet_file(models)
    (models / "vaes").mkdir()
    shutil.copy(next((models / "tiny/vae").glob("*.safetensors")), models / "vaes/vae.safetensors")
    (models / "control.safetensors").rename(models / "control/net.safetensors")
    settings = {"controlnet": {"model": "control/net.safetensors"}, "vae": {"model": "vaes/vae.safetensors"}}
    (models / "m.yaml").write_text(json.dumps({"model": "tiny", "components": settings}))

    assert [] == list(problems_of(models))
    load_and_call(models)


def test_a_controlnet_in_a_file_alone_has_no_problems(models: Path) -> None:
    """Its configuration follows from that of the denoiser."""
    write_controlnet_file(models)
    shutil.rmtree(models / "control")
    (models / "m.yaml").write_text('{"model": "tiny", "components": {"controlnet": {"model": "control.safetensors"}}}')

    assert [] == list(problems_of(models))
    load_and_call(models)


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("flow_euler", "does not fit this model"),
        ({"name": "unipc", "settings": {"use_flow_sigmas": True}}, "does not fit this model"),
        ("euler", ""),
        ({"name": "ddim", "settings": {"eta": 0.5}}, ""),
    ],
)
def test_a_scheduler_fits_the_model(models: Path, scheduler: Any, words: str) -> None:
    """The error of each request without another one is found; a model whose files are broken has that problem alone."""
    (models / "m.yaml").write_text(json.dumps({"model": "tiny", "scheduler": scheduler}))
    found = [(each.key, each.severity, words in each.message) for each in problems_of(models) if each.key != "model"]
    assert ([("scheduler", "error", True)] if words else []) == found

    (models / "tiny/scheduler/scheduler_config.json").unlink()
    assert {"model"} == {each.key for each in problems_of(models)}


def test_a_bare_folder_is_checked(models: Path) -> None:
    """Its problem names the folder."""
    shutil.rmtree(models / "tiny/vae")

    (problem,) = problems_of(models)

    assert models / "tiny" == problem.file


def test_files_are_looked_at_again(models: Path) -> None:
    """A problem goes away with its cause, without a change of the configuration."""
    checker, catalog = ModelChecker(AdapterRegistry(None, None), resolve_current), load_catalog()
    entries = entries_of(discover(models))
    shutil.move(models / "tiny/vae", models / "vae")
    assert checker.problems(entries, catalog)

    shutil.move(models / "vae", models / "tiny/vae")
    assert [] == checker.problems(entries, catalog)


def test_default_sizes_of_other_sources_are_checked(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a model of the Hub once it has been downloaded, and those of a single file by its family."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(models.parent / "hub"))
    shapes = {"input_blocks.0.0.weight": (320, 4, 3, 3), "label_emb.0.0.weight": (1280, 2816)}
    tensors = {f"model.diffusion_model.{name}": torch.zeros(shape, dtype=torch.uint8) for name, shape in shapes.items()}
    save_file(tensors, models / "xl.safetensors")
    (models / "hub.yaml").write_text(json.dumps({"model": "org/tiny", "defaults": {"width": 60}}))
    (models / "file.yaml").write_text(json.dumps({"model": "xl.safetensors", "defaults": {"width": 60}}))
    catalog, entries = load_catalog(), entries_of(discover(models))
    checker = ModelChecker(AdapterRegistry(models / "loras", models / "embeddings"), resolve_current)
    assert ["file"] == [
        each.file.stem for each in checker.problems(entries, catalog) if "multiple of 8" in each.message
    ]

    cached, commit = CachedRepo("org/tiny"), "a" * 40
    cached.set_revision(None, commit)
    shutil.copytree(demo.FOLDER, cached.snapshot(commit))

    found = [each.file.stem for each in checker.problems(entries, catalog) if "multiple of 8" in each.message]
    assert ["file", "hub"] == sorted(found)
