"""What a converted model is made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig as PeftConfig
from peft.utils import get_peft_model_state_dict

from ldm_layout import save_single_file, tiny_sd
from makers.parts import unets
from octabox.config.model import LoraConfig, ModelConfig
from octabox.engine.conversions import Conversion, Converted
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.conversion import _convert
from octabox.engine.worker.loading.models import load

KIND = "StableDiffusionPipeline"
OPTIONS = WorkerOptions(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model, the same in a single file, and a LoRA for it."""
    place = tmp_path_factory.mktemp("conversion")
    pipe = tiny_sd()
    pipe.save_pretrained(place / "whole")
    save_single_file(pipe, place / "all.safetensors")
    torch.manual_seed(1)
    pipe.unet.add_adapter(PeftConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    StableDiffusionPipeline.save_lora_weights(place / "lora", get_peft_model_state_dict(pipe.unet))
    return place


def image(pipe: Any) -> Any:
    """Return what a pipeline makes of one seed."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return pipe("a cat", num_inference_steps=2, width=16, height=16, generator=generator, output_type="np").images


def converted(config: ModelConfig, place: Path) -> Converted:
    """Convert a model."""
    place.mkdir()
    return _convert(Conversion(config, KIND, place, OPTIONS), place)


def test_a_single_file_becomes_a_folder(folder: Path, tmp_path: Path) -> None:
    """The folder gives the same image by plain diffusers, and has the tokenizer."""
    config = ModelConfig(name="x", model=str(folder / "all.safetensors"), config=str(folder / "whole"))
    answer = converted(config, tmp_path / "out")

    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "out")
    assert () == answer.warnings
    assert np.array_equal(image(StableDiffusionPipeline.from_pretrained(folder / "whole")), image(pipe))
    assert not [*(tmp_path / "out").rglob("*.bin")]


def test_adapters_become_part_of_the_weights(folder: Path, tmp_path: Path) -> None:
    """With the strength that the configuration gives them."""
    lora = LoraConfig(lora=str(folder / "lora"), weight=0.5)
    config = ModelConfig(name="x", model=str(folder / "whole"), adapters=(lora,))
    converted(config, tmp_path / "out")

    made = image(StableDiffusionPipeline.from_pretrained(tmp_path / "out"))
    assert np.allclose(image(load(config, KIND, OPTIONS).pipeline), made, atol=1e-4)
    assert not np.allclose(image(StableDiffusionPipeline.from_pretrained(folder / "whole")), made, atol=1e-3)


def test_what_a_folder_cannot_hold_is_told(folder: Path, tmp_path: Path) -> None:
    """Scheduler, defaults, IP-Adapters and extra components stay in the configuration, with a note."""
    unets.controlnet().save_pretrained(tmp_path / "net")
    fields = {
        "scheduler": "EulerDiscreteScheduler",
        "defaults": {"guidance_scale": 3},
        "ip_adapters": {"model": "owner/adapter"},
        "components": {"controlnet": {"model": str(tmp_path / "net")}},
    }
    config = ModelConfig.model_validate({"name": "x", "model": str(folder / "whole"), **fields})

    assert ["`scheduler`", "`defaults`", "`ip_adapters`", "`components.controlnet`"] == [
        each.partition(" ")[0] for each in converted(config, tmp_path / "out").warnings
    ]
