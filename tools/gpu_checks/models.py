"""Write models with random weights from their architectures alone: full size, or tiny with the same parts."""

from __future__ import annotations

import gc
import importlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from octabox.engine.worker.placement.process_memory import release_memory
from octabox.hub.checkpoints import bundles

#: Facts of the models.
MODELS = Path(__file__).with_name("models.yaml")

#: What every request asks for.
PROMPT = "a photograph of a lighthouse on a rock at dusk, waves and clouds"

#: Most bytes of one weights file, as the published models have them.
SHARD = "10GB"


@dataclass(frozen=True)
class Architecture:
    """How a model is built, and what is asked of it.

    Args:
        name: What it is called here.
        bundle: Name of the architecture among Octabox's own.
        pipeline: Class of the pipeline.
        dtype: Name of the dtype of the weights in the files.
        params: Parameters of a usual request.
        large: Parameters that differ in a request that needs much more memory.
        short: Parameters that differ in a request by which memory modes, dtypes and profiles are compared.
        changes: What differs from the bundle, by component.
    """

    name: str
    bundle: str
    pipeline: str
    dtype: str
    params: Mapping[str, Any]
    large: Mapping[str, Any] = field(default_factory=dict)
    short: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def architectures(*, tiny: bool) -> dict[str, Architecture]:
    """Return all architectures by name, those of full size or tiny ones."""
    found = {}
    for name, facts in yaml.safe_load(MODELS.read_text(encoding="utf-8")).items():
        smaller = facts.pop("tiny")
        facts.setdefault("changes", {})
        if tiny:
            facts["params"] |= smaller.pop("params")
            facts["large"], facts["short"] = smaller.pop("large", {}), smaller.pop("short", {})
            for component, settings in smaller.items():
                facts["changes"][component] = facts["changes"].get(component, {}) | settings
        params = {"prompt": PROMPT, **facts.pop("params")}
        found[name] = Architecture(name=name, params=params, **facts)
    return found


def build(architecture: Architecture, folder: Path, device: str) -> int:
    """Write a model with random weights into a folder, component by component, and return the number of its weights.

    Args:
        architecture: What is built.
        folder: Where to; it must not exist.
        device: Where the weights are drawn: an accelerator is much faster than a processor.
    """
    weights = 0
    with bundles.bundle_folder(architecture.bundle, architecture.pipeline) as described:
        index = json.loads((described / "model_index.json").read_text(encoding="utf-8"))
        shutil.copytree(described, folder)
    components = {name: part for name, part in index.items() if isinstance(part, list) and part[0]}
    for name, (library, class_name) in components.items():
        if (folder / name / "config.json").is_file():
            kind = getattr(importlib.import_module(library), class_name)
            weights += _write(kind, folder / name, architecture, device)
        elif not any((folder / name).iterdir()):
            index[name] = ["transformers", _write_t5_tokenizer(folder / name)]
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return weights


def _write(kind: Any, folder: Path, architecture: Architecture, device: str) -> int:
    """Write one component's weights, and return their number."""
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings |= architecture.changes.get(folder.name, {})
    with drawn_on(device, getattr(torch, architecture.dtype)):
        configuration = getattr(kind, "config_class", None)
        component = kind.from_config(settings) if configuration is None else kind(configuration(**settings))
    component.save_pretrained(folder, max_shard_size=SHARD)
    count = int(sum(weight.numel() for weight in component.parameters()))
    del component
    gc.collect()
    if device != "cpu":
        release_memory(device)
    return count


def _write_t5_tokenizer(folder: Path) -> str:
    """Write a tokenizer for T5, whose own vocabulary is not shipped; return its class."""
    tests = str(Path(__file__).parents[2] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    from makers.parts import tokenizers  # noqa: PLC0415 (imports all of transformers; needed by this alone)

    tokenizer = tokenizers.t5(length=512)
    tokenizer.save_pretrained(folder)
    return type(tokenizer).__name__


@contextmanager
def drawn_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Make new modules on a device, in a dtype, within the context."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)
