"""Pipelines of blocks are loaded from where they lie now, and what they cannot load is an error."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import makers
from calling import Watcher, call, run
from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import discover
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner
from octabox.errors import GenerationCancelledError, LoadError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.checks.checker import ModelChecker, entries_of
from octabox.service.selection.resolver import resolve_current

NAME = "ZImageModularPipeline"

OPTIONS = WorkerOptions(device="cpu")

STEPS = 3


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that a pipeline was moved to after it was saved: what its index names is gone."""
    place = tmp_path_factory.mktemp("models")
    makers.pipelines()[NAME].make().save_pretrained(str(place / "before"), overwrite_modular_index=True)
    return (place / "before").rename(place / "moved")


def config(folder: Path, **fields: Any) -> ModelConfig:
    """Return the configuration of the model in a folder."""
    return ModelConfig(name="blocks", model=str(folder), **fields)


def params() -> dict[str, Any]:
    """Return the parameters of a call."""
    return {**makers.pipelines()[NAME].params, "num_inference_steps": STEPS}


def test_a_moved_folder_is_loaded_and_run(saved: Path) -> None:
    """All components come from the folder where it is now, and make the image of the pipeline that was saved."""
    loaded = load(config(saved), NAME, OPTIONS)
    own = Runner(type(loaded)(makers.pipelines()[NAME].make(), "cpu"))
    made, expected = [run(runner, call(NAME, params())).outputs[0][0].value for runner in (Runner(loaded), own)]

    assert NAME == type(loaded.pipeline).__name__
    assert all(getattr(loaded.pipeline, name) is not None for name in ("transformer", "vae", "text_encoder"))
    assert np.array_equal(np.asarray(made), np.asarray(expected))


def test_its_steps_are_counted_and_it_stops(saved: Path) -> None:
    """A call is watched and cancelled as that of any other pipeline, and the next one is clean."""
    runner = Runner(load(config(saved), NAME, OPTIONS))
    watcher, stopped = Watcher(), Watcher(GenerationCancelledError("enough"), 1)
    with pytest.raises(GenerationCancelledError):
        run(runner, call(NAME, params()), stopped)
    run(runner, call(NAME, params()), watcher)

    assert 1 == len(stopped.told)
    assert [(step, STEPS) for step in range(1, STEPS + 1)] == [(each.step, each.steps) for each in watcher.told]


def test_a_type_of_numbers_and_a_component_of_another_source(saved: Path, tmp_path: Path) -> None:
    """The model's type holds for all; a component may have its own, and may come from elsewhere."""
    shutil.copytree(saved / "vae", tmp_path / "vae")
    components = {"vae": ComponentConfig(model=str(tmp_path / "vae"), dtype="float32")}
    loaded = load(config(saved, dtype="bfloat16", components=components), NAME, OPTIONS)

    assert torch.bfloat16 == loaded.pipeline.transformer.dtype
    assert torch.float32 == loaded.pipeline.vae.dtype


def test_a_wrong_name_is_refused_with_the_right_ones(saved: Path) -> None:
    """A component that the pipeline has not is an error that names those that it has."""
    with pytest.raises(LoadError, match="'engine'") as caught:
        load(config(saved, components={"engine": ComponentConfig(model=str(saved / "vae"))}), NAME, OPTIONS)

    assert "transformer" in caught.value.hint


def test_a_component_that_is_not_there_is_named(saved: Path, tmp_path: Path) -> None:
    """Diffusers only logs a component that fails to load; here it is an error, which says what to do."""
    folder = tmp_path / "half"
    shutil.copytree(saved, folder)
    shutil.rmtree(folder / "vae")

    with pytest.raises(
        LoadError, match=r"'blocks': vae: There is no folder .*/vae, which modular_model_index.json names"
    ) as caught:
        load(config(folder), NAME, OPTIONS)
    assert "blocks" == caught.value.model
    assert f"Put a folder vae into {folder}" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("vae/config.json", b"[]", "vae: .*vae/config.json must hold a JSON object, not list"),
        ("vae/config.json", b'{"a":' * 100 + b"1" + b"}" * 100, "vae/config.json is refused: it is nested more than"),
        ("transformer/config.json", b'{"_class_name": "Nope"}', "transformer: There is no class 'Nope' in diffusers"),
        ("transformer/diffusion_pytorch_model.safetensors", b"", "transformer: .*not a valid safetensors file"),
        ("tokenizer/tokenizer.json", None, "tokenizer: .*would have no vocabulary"),
        ("modular_model_index.json", b"[]", "modular_model_index.json must hold a JSON object, not list"),
        ("modular_model_index.json", b"[" * 100 + b"]" * 100, "modular_model_index.json is refused: it is nested"),
    ],
)
def test_damaged_files_are_named(saved: Path, tmp_path: Path, file: str, content: bytes | None, words: str) -> None:
    """With the component, before anything is loaded; `octabox check` finds the same."""
    folder = tmp_path / "models" / "damaged"
    shutil.copytree(saved, folder)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)

    with pytest.raises(LoadError, match=words) as caught:
        load(config(folder), NAME, OPTIONS)
    registry, catalog = discover(folder.parent), load_catalog()
    checker = ModelChecker(AdapterRegistry(None, None), resolve_current)
    problems = [*registry.problems, *checker.problems(entries_of(registry), catalog)]

    assert caught.value.hint
    assert re.search(words.rpartition(": ")[2], " ".join(each.message for each in problems)), problems
