"""Make tiny pipelines, call them, save them, load them again and call those: `python tests/makers/verify.py [NAME ...]`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image

from makers import Tiny, pipelines
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog

#: Most seconds that a call may take.
SLOW = 3.0


def sample(marker: str) -> Any:
    """Return the media that a marker such as ``sample:image:64x64`` stands for."""
    _, kind, *size = marker.split(":")
    width, height = map(int, (size[0] if size else "64x64").split("x"))
    rng = np.random.default_rng(0)
    if kind == "video":
        return [sample(f"sample:image:{width}x{height}") for _ in range(9)]
    if kind == "audio":
        return rng.uniform(-1, 1, 16000).astype(np.float32)
    if kind == "mask":
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : height // 2, width // 4 : width // 2] = 255
        return Image.fromarray(mask)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))


def value(given: Any, kind: str) -> Any:
    """Return a value of a request as the pipeline takes it: markers as media, lists of numbers as arrays."""
    if isinstance(given, str) and given.startswith("sample:"):
        return sample(given)
    if kind == "array" and isinstance(given, list):
        with suppress(ValueError, TypeError):
            return torch.tensor(given)
    if isinstance(given, list):
        return [value(each, "any") for each in given]
    if isinstance(given, Mapping):
        return {name: value(each, "any") for name, each in given.items()}
    return given


def arguments(entry: PipelineEntry | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a pipeline is called with: what its class takes of the parameters, and the media it cannot do without."""
    if entry is None:
        return {name: value(given, "any") for name, given in params.items()}
    kinds = {parameter.name: parameter.kind for parameter in entry.parameters}
    call = {name: value(given, kinds[name]) for name, given in params.items() if name in kinds}
    for parameter in entry.media(required=True):
        call.setdefault(parameter.name, sample(f"sample:{parameter.kind}"))
    for parameter in entry.media():
        audio = call.get(parameter.name)
        if isinstance(audio, np.ndarray) and "Tensor" in parameter.annotation:
            call[parameter.name] = torch.from_numpy(np.stack([audio, audio]))[None]
    if "generator" in kinds:
        call.setdefault("generator", torch.Generator().manual_seed(0))
    return call


def described(output: Any) -> str:
    """Return in a few words what a call gave back."""
    if isinstance(output, Mapping):
        return ", ".join(f"{name}={described(each)}" for name, each in output.items())
    if isinstance(output, (list, tuple)):
        return f"{type(output).__name__}[{len(output)} x {described(output[0]) if output else ''}]"
    if isinstance(output, Image.Image):
        return f"{output.mode}{output.size}"
    shape = getattr(output, "shape", None)
    if shape is None:
        return type(output).__name__ if output is None or not isinstance(output, str) else repr(output[:30])
    finite = bool(torch.isfinite(torch.as_tensor(output)).all())
    return f"{type(output).__name__}{tuple(shape)}{'' if finite else ' NOT FINITE'}"


def called(pipe: Any, entry: PipelineEntry | None, params: Mapping[str, Any]) -> tuple[float, str]:
    """Call a pipeline and return the seconds it took and what came back."""
    pipe.set_progress_bar_config(disable=True)
    call = arguments(entry, params)
    torch.manual_seed(0)
    start = time.perf_counter()
    output = pipe(**call)
    output = getattr(output, "values", output) if isinstance(pipe, diffusers.ModularPipeline) else output
    return time.perf_counter() - start, described(output)


def verify(tiny: Tiny) -> None:
    """Print what a tiny pipeline does; raise where it does not do what a real one does."""
    entry = load_catalog().pipelines.get(tiny.name)
    pipe = tiny.make()
    size = sum(
        number.numel()
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for number in part.parameters()
    )
    seconds, first = called(pipe, entry, tiny.params)
    with tempfile.TemporaryDirectory() as folder:
        pipe.save_pretrained(folder)
        again = loaded(pipe, folder, own=tiny.own is not None)
        if type(again) is not type(pipe):
            raise AssertionError(f"It was loaded as {type(again).__name__}.")
        _, second = called(again, entry, tiny.params)
    say(f"{tiny.name}: {size / 1000:.0f}k numbers, {seconds:.2f} s{' SLOW' if seconds > SLOW else ''}: {first}")
    if second != first:
        raise AssertionError(f"It gave {second} when it was loaded.")


def loaded(pipe: Any, folder: str, *, own: bool) -> Any:
    """Return what was saved to a folder, as its index says; only classes that are not of diffusers are named."""
    if not own:
        import_class(type(pipe).__name__)
    if not isinstance(pipe, diffusers.ModularPipeline):
        return (type(pipe) if own else diffusers.DiffusionPipeline).from_pretrained(folder)
    again = diffusers.ModularPipeline.from_pretrained(folder)
    again.load_components()
    return again


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(names: list[str]) -> int:
    """Verify the named pipelines, or all whose name starts like that, or every one; return how many failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()
    failed = 0
    for name, tiny in pipelines().items():
        if names and not any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in names):
            continue
        missing = [package for package in tiny.needs if find_spec(package) is None]
        if missing:
            say(f"{name}: left out, needs {', '.join(missing)}")
            continue
        try:
            verify(tiny)
        except Exception:  # noqa: BLE001
            failed += 1
            say(f"{name}: FAILED\n{traceback.format_exc()}")
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
