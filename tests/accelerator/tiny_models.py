"""Load tiny models on the pretended accelerator and run short calls of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from calling import Watcher, call
from octabox.config.model import ModelConfig
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.trial import TrialRunner

STABLE_DIFFUSION, DDPM = "StableDiffusionPipeline", "DDPMPipeline"

MEMORY_MODES = ("full", "model_cpu_offload", "sequential_cpu_offload", "group_offload")

PARAMS = {"prompt": "a cat", "num_inference_steps": 2, "width": 16, "height": 16}


def load_model(
    folder: Path, name: str, pipeline: str = STABLE_DIFFUSION, device: str = "fake", **fields: Any
) -> TrialRunner:
    """Load a model of a folder on a device and return its runner."""
    config = ModelConfig.model_validate({"name": "x", "model": str(folder / name), **fields})
    start = Start(config, pipeline, WorkerOptions(device=device))
    return TrialRunner(load(config, pipeline, start.options), start)


def run_call(runner: TrialRunner, pipeline: str = STABLE_DIFFUSION, params: Any = None, **inputs: Any) -> RawOutput:
    """Run a short call and return its output."""
    watcher = Watcher()
    runner.note_state()
    return runner.run(call(pipeline, params or PARAMS, inputs=inputs), watcher.tell, watcher.check)


def pixels(output: RawOutput) -> Any:
    """Return the pixels of an output's image."""
    return np.asarray(output.outputs[0][0].value, np.float32)
