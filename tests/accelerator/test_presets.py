"""What presets set, on an accelerator."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

import makers
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load


def test_a_preset_lets_a_model_leave_the_accelerator(tmp_path: Path) -> None:
    """The parts of a video model wait on the host until they are at work, as LocalAI has them."""
    name = "StableVideoDiffusionPipeline"
    with warnings.catch_warnings():
        # What diffusers says to whoever makes and saves pipelines is no concern here.
        warnings.simplefilter("ignore")
        makers.pipelines()[name].make().save_pretrained(str(tmp_path / name))
        placed = load(
            ModelConfig(name="video", model=str(tmp_path / name)).with_class_presets(name), name, WorkerOptions()
        )
    parts = [part for part in placed.pipeline.components.values() if isinstance(part, torch.nn.Module)]

    assert ("fake:0", "model_cpu_offload") == (placed.device, placed.placement.mode)
    assert {"cpu"} == {weight.device.type for part in parts for weight in part.parameters()}
