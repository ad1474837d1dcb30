"""Settings of single components, on the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import makers
from embedded import Calls, finish
from octabox.config.model import ComponentConfig, LoraConfig, ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.components import component_dtypes
from octabox.engine.worker.loading.models import load
from octabox.errors import LoadError
from octabox.hub.folder import folder_index

#: A class with a default for its scheduler, which is none of its optional components.
MAKES_SCHEDULER = "LongCatAudioDiTPipeline"


def changed(embedded: ModelConfig, name: str, **fields: Any) -> ModelConfig:
    """Return the embedded model's configuration under another name, with changes."""
    return embedded.model_copy(update={"name": name, **fields})


async def image(engine: LocalEngine, config: ModelConfig) -> bytes:
    """Return the image of a configuration, without the metadata that names it, and unload it."""
    generation = await finish(engine, Calls(config)())
    await engine.unload(config.name)
    chunks = generation.artifacts[0].content.split(b"IDAT", 1)
    return chunks[1]


@pytest.mark.parametrize("suffix", ["", "/diffusion_pytorch_model.safetensors"])
async def test_a_component_comes_from_its_own_source(engine: LocalEngine, embedded: ModelConfig, suffix: str) -> None:
    """A component from another folder, or from a file with its weights alone, is the same component."""
    part = ComponentConfig(model=f"{embedded.model}/unet{suffix}")
    config = changed(embedded, "composed", components={"unet": part})

    assert await image(engine, embedded) == await image(engine, config)


def test_a_component_has_its_own_type_of_numbers(embedded: ModelConfig) -> None:
    """Dtypes are passed to diffusers by component, or a single one for all."""
    config = changed(embedded, "mixed", components={"vae": ComponentConfig(dtype="float32")})

    assert {"default": torch.bfloat16, "vae": torch.float32} == component_dtypes(config, torch.bfloat16)
    assert torch.bfloat16 == component_dtypes(embedded, torch.bfloat16)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"components": {"engine": ComponentConfig(model="somewhere/else")}}, "has a component 'engine'"),
        (
            {"components": {"unet": ComponentConfig(quantization={"quant_backend": "magic"})}},
            "no quantization backend 'magic'",
        ),
        ({"components": {"unet": ComponentConfig(model="/nowhere/unet")}}, "/nowhere/unet does not exist"),
        ({"adapters": (LoraConfig(lora="/nowhere/lora.safetensors"),)}, "missing"),
    ],
)
async def test_what_cannot_be_loaded_is_said(
    engine: LocalEngine, embedded: ModelConfig, fields: dict[str, Any], words: str
) -> None:
    """A component or an adapter that cannot be loaded is a typed error that names the model, and leaves no worker."""
    config = changed(embedded, "impossible", **fields)

    with pytest.raises(LoadError, match=words) as caught:
        await engine.load(config, "StableDiffusionPipeline")
    assert "impossible" == caught.value.model
    assert [] == [status for status in engine.status() if status.model == "impossible"]


async def test_a_memory_mode_without_effect_is_a_warning(engine: LocalEngine, embedded: ModelConfig) -> None:
    """Offloading on the CPU has no effect, with a warning."""
    config = changed(embedded, "offloaded", memory="model_cpu_offload", device="cpu")
    generation = await finish(engine, Calls(config)())
    await engine.unload("offloaded")

    assert any("memory: model_cpu_offload" in warning for warning in generation.warnings)


async def test_a_missing_file_of_a_folder_is_named(engine: LocalEngine, embedded: ModelConfig, tmp_path: Path) -> None:
    """The error names the component whose weights are missing."""
    for file in Path(embedded.model).rglob("*"):
        if file.is_file() and file.parent.name != "vae":
            copy = tmp_path / file.relative_to(embedded.model)
            copy.parent.mkdir(exist_ok=True)
            copy.symlink_to(file)

    with pytest.raises(LoadError, match="vae"):
        await engine.load(changed(embedded, "broken", model=str(tmp_path)), "StableDiffusionPipeline")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_component_that_the_class_makes_itself_needs_no_folder(tmp_path: Path) -> None:
    """Diffusers neither saves nor loads a component that has a default in the constructor, though the index names it."""
    makers.pipelines()[MAKES_SCHEDULER].make().save_pretrained(tmp_path)
    config = ModelConfig(name="x", model=str(tmp_path))

    assert "scheduler" in folder_index(tmp_path)
    assert not (tmp_path / "scheduler").exists()
    assert load(config, MAKES_SCHEDULER, WorkerOptions(device="cpu")).pipeline.scheduler
