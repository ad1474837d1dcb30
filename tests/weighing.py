"""Weigh a model in a process of its own: what it holds before and after its siblings have run.

``python -m weighing FOLDER NET CLASS...`` loads the model in FOLDER (with the ControlNet in NET, unless that is ``-``), makes
a call of its own class, weighs itself, makes a call of each other class, weighs itself again, and prints what it found as JSON.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch

from calling import call, run
from makers.samples import mask, sample_image
from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner

OWN = "StableDiffusionPipeline"

#: Side of an image, small so that a call is over soon.
SIDE = 16

MEDIA = {"image": sample_image, "mask": mask}

#: Parameters that are given wherever they are taken; others are for adapters that the model has not.
BROUGHT = ("image", "mask_image", "control_image")


def tensors() -> list[torch.Tensor]:
    """Return all tensors in this process."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]


def held() -> int:
    """Return the bytes of all tensors in this process, those that share memory once."""
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors()}
    return sum(storages.values())


def resident() -> int:
    """Return the bytes of this process that are in memory, after all that can be given back was."""
    for each in tensors():
        # Weights are read from their file when they are first looked at, which may be by a sibling.
        each.sum()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def ask(name: str) -> Any:
    """Return a short call of a class, with the media that it needs."""
    entry = load_catalog().pipeline(name)
    params = {"prompt": "a red star", "num_inference_steps": 2, "guidance_scale": 1.0, "height": SIDE, "width": SIDE}
    inputs = {each.name: (MEDIA[each.kind](SIDE, SIDE),) for each in entry.media() if each.name in BROUGHT}
    params |= {"strength": 1.0} if entry.parameter("strength") else {}
    return call(name, {key: value for key, value in params.items() if entry.parameter(key)}, inputs=inputs)


def main(folder: str, net: str, *siblings: str) -> None:
    """Load, call and weigh."""
    components = {} if net == "-" else {"controlnet": ComponentConfig(model=net)}
    config = ModelConfig(name="large", model=folder, pipeline=OWN, components={**components})
    runner = Runner(load(config, OWN, WorkerOptions(device="cpu", threads=1)))
    for name in siblings:
        # Their code is no weight, and is read once whatever the model's size.
        import_class(name)
    run(runner, ask(OWN))
    before = held(), resident()
    for name in siblings:
        run(runner, ask(name))
    after = held(), resident()
    found = {"tensors": [before[0], after[0]], "resident": [before[1], after[1]], "made": len(runner.pipelines)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
