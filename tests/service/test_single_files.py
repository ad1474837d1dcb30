"""Single files on the shelves."""

from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save_file

from octabox.config.discovery import ModelRegistry
from octabox.engine.protocol import Engine
from octabox.errors import IncompatibleWeightsError
from octabox.service.models.service import ServerModels

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
WORDS = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture
def models(tmp_path: Path) -> ServerModels:
    """Return models: one told by its tensors, two with a configuration, and one that is unknown."""
    save_file({FIRST: torch.zeros(1, 4, 1, 1), WORDS: torch.zeros(1, 768)}, tmp_path / "dreams.safetensors")
    save_file({FIRST: torch.zeros(1, 9, 1, 1), WORDS: torch.zeros(1, 768)}, tmp_path / "sdxl.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "strange.safetensors")
    (tmp_path / "a.yaml").write_text("name: by task\nmodel: dreams.safetensors\npipeline: image-to-image")
    (tmp_path / "b.yaml").write_text("name: by class\nmodel: strange.safetensors\npipeline: FluxPipeline")
    (tmp_path / "other.ckpt").write_bytes(b"nothing")
    (tmp_path / "again.safetensors").symlink_to(tmp_path / "nowhere.safetensors")
    return ServerModels(ModelRegistry(tmp_path), cast("Engine", None))


@pytest.mark.parametrize(
    ("name", "pipeline"),
    [
        ("sdxl", "StableDiffusionInpaintPipeline"),
        ("by task", "StableDiffusionImg2ImgPipeline"),
        ("by class", "FluxPipeline"),
    ],
)
async def test_the_pipeline_is_told_by_tensors_task_or_class(models: ServerModels, name: str, pipeline: str) -> None:
    """The name of a file says nothing; a class that is named decides."""
    served = await models.served(name)

    assert pipeline == served.pipeline.name
    assert models.snapshot().get(name).tasks


async def test_a_file_that_cannot_be_told_is_listed_and_not_served(models: ServerModels) -> None:
    """The list holds it without a class; who asks for it hears why."""
    assert models.snapshot().get("other").pipeline is None

    with pytest.raises(IncompatibleWeightsError, match=r"other\.ckpt"):
        await models.served("other")
