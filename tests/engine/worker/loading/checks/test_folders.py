"""What is wrong with the files of a model is said before it is loaded: the component, the file and what to do.

The same words are those of `octabox check`.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import discover
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.config.problems import Problem
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.loading.models import load
from octabox.errors import LoadError, OctaboxError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.checks.checker import ModelChecker, entries_of
from octabox.service.selection.resolver import resolve_current

PIPELINE = json.loads((demo.FOLDER / "model_index.json").read_text())["_class_name"]

#: The configuration of each component of the embedded model.
CONFIGS = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
}

#: Files of the weights of each component that has any.
WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}

#: Contents that are not those of a configuration, and what is said of them.
CONTENTS = {
    b"[]": "must hold a JSON object, not list",
    b"null": "must hold a JSON object, not NoneType",
    b'"text"': "must hold a JSON object, not str",
    b"12": "must hold a JSON object, not int",
    b"": "is not valid JSON",
    b'{"a": 1': "is not valid JSON",
    b"\xff\xfe{}": "is not valid JSON",
    b'{"a":' * 100 + b"1" + b"}" * 100: "is nested more than",
}

Damage = Callable[[Path], object]


def changed(file: Path, **values: Any) -> None:
    """Set values of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def emptied(folder: Path, keep: str = "") -> None:
    """Delete the files of a folder, but one."""
    for file in folder.iterdir():
        if file.name != keep:
            file.unlink()


def pickled(file: Path, content: bytes) -> None:
    """Replace weights by pickled ones with a content."""
    file.unlink()
    stem = "pytorch_model" if file.name.startswith("model") else file.stem
    file.with_name(f"{stem}.bin").write_bytes(content)


def sharded(file: Path, index: object, *, keep: bool = True) -> None:
    """Turn weights into a shard with an index."""
    shard = file.with_name(f"{file.stem}-00001-of-00001.safetensors")
    file.rename(shard)
    if not keep:
        shard.unlink()
    file.with_name(f"{file.name}.index.json").write_text(json.dumps(index))


def half_a_vocabulary(folder: Path) -> None:
    """Leave one of two files of a vocabulary."""
    emptied(folder, CONFIGS["tokenizer"])
    (folder / "vocab.json").write_text("{}")


def unwritten(file: Path) -> None:
    """Cut the end off a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - 100])


def cut_archive(file: Path) -> None:
    """Replace weights by a pickled file without its end."""
    with zipfile.ZipFile(file.with_name("whole.zip"), "w") as archive:
        archive.writestr("data.pkl", b"0" * 999)
    content = file.with_name("whole.zip").read_bytes()
    file.with_name("whole.zip").unlink()
    pickled(file, content[:500])


def names_of_index(name: str, library: str, cls: str) -> Damage:
    """Return what names another class for a component."""
    return lambda model: changed(model / "model_index.json", **{name: [library, cls]})


#: By name: the component, the damage, and words of the error.
CASES: dict[str, tuple[str, Any, str]] = {
    **{
        f"{name} is {content[:9]!r}": (name, lambda m, n=name, c=content: (m / n / CONFIGS[n]).write_bytes(c), words)
        for name in CONFIGS
        for content, words in CONTENTS.items()
    },
    **{f"{name} is empty": (name, lambda m, n=name: emptied(m / n), f"{name} is empty") for name in CONFIGS},
    **{f"{name} is not there": (name, lambda m, n=name: shutil.rmtree(m / n), f"no folder {name}") for name in CONFIGS},
    **{
        f"{name} has no configuration": (
            name,
            lambda m, n=name: (m / n / CONFIGS[n]).rename(m / n / "old.txt"),
            f"has no {CONFIGS[name]}",
        )
        for name in CONFIGS
        if name != "tokenizer"
    },
    **{
        f"{name} is of a class that does not exist": (
            name,
            lambda m, n=name: changed(m / n / CONFIGS[n], _class_name="Nope"),
            "There is no class 'Nope' in diffusers",
        )
        for name in ("unet", "vae", "scheduler")
    },
    "a class that is a number": (
        "unet",
        lambda model: changed(model / "unet/config.json", _class_name=3),
        "There is no class 3 in diffusers",
    ),
    "a class in a list": (
        "vae",
        lambda model: changed(model / "vae/config.json", _class_name=["a", "b"]),
        "There is no class ['a', 'b'] in diffusers",
    ),
    "unet is a VAE": (
        "unet",
        lambda model: changed(model / "unet/config.json", _class_name="AutoencoderKL"),
        "holds a AutoencoderKL, and model_index.json names UNet2DConditionModel for unet",
    ),
    **{
        f"{library} has no {cls}": (name, names_of_index(name, library, cls), f"There is no class '{cls}' in ")
        for name, library, cls in (
            ("unet", "diffusers", "UNet2DConditionModell"),
            ("scheduler", "diffusers", "DDIMSchedulerr"),
            ("text_encoder", "transformers", "CLIPTextModell"),
            ("tokenizer", "transformers", "CLIPTokenizerr"),
            ("tokenizer", "transformers", "NopeTokenizerFast"),
            ("vae", "stable_diffusion", "Nope"),
        )
    },
    "no library": ("vae", names_of_index("vae", "nope", "AutoencoderKL2"), "There is no library 'nope'"),
    **{
        f"{name} has no weights": (name, lambda m, n=name, f=file: (m / n / f).unlink(), "has no weights")
        for name, file in WEIGHTS.items()
    },
    **{
        f"{name} is truncated": (name, lambda m, n=name, f=file: unwritten(m / n / f), "not a valid safetensors file")
        for name, file in WEIGHTS.items()
    },
    **{
        f"{name} has weights of {len(content)} bytes": (
            name,
            lambda m, n=name, f=file, c=content: (m / n / f).write_bytes(c),
            "not a valid safetensors file",
        )
        for name, file in WEIGHTS.items()
        for content in (b"", b"\x08", b"<html>Log in</html>")
    },
    **{
        f"{name} has a pickle of no bytes": (name, lambda m, n=name, f=file: pickled(m / n / f, b""), "is damaged")
        for name, file in WEIGHTS.items()
    },
    **{
        f"{name} has half a pickle": (name, lambda m, n=name, f=file: cut_archive(m / n / f), "is damaged or truncated")
        for name, file in WEIGHTS.items()
    },
    "shards of nothing": ("unet", lambda m: sharded(m / "unet" / WEIGHTS["unet"], {}), "lists no tensors"),
    "shards in a list": ("unet", lambda m: sharded(m / "unet" / WEIGHTS["unet"], []), "must hold a JSON object"),
    "shards that are not there": (
        "vae",
        lambda m: sharded(m / "vae" / WEIGHTS["vae"], {"weight_map": {"a": "b.safetensors"}}),
        "has no b.safetensors, which",
    ),
    "a tokenizer without vocabulary": (
        "tokenizer",
        lambda model: emptied(model / "tokenizer", CONFIGS["tokenizer"]),
        "tokenizer has no merges.txt and no vocab.json, and no tokenizer.json",
    ),
    "a tokenizer with half a vocabulary": (
        "tokenizer",
        lambda m: half_a_vocabulary(m / "tokenizer"),
        "tokenizer has no merges.txt, and no tokenizer.json",
    ),
    "half a tokenizer": (
        "tokenizer",
        lambda model: unwritten(model / "tokenizer/tokenizer.json"),
        "tokenizer.json is not valid JSON",
    ),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a model that can be loaded."""
    shutil.copytree(demo.FOLDER, tmp_path / "models" / "tiny")
    return tmp_path / "models" / "tiny"


def config(folder: Path, **fields: Any) -> ModelConfig:
    """Return the configuration of a folder."""
    return ModelConfig(name="tiny", model=str(folder), **fields)


def failure(wanted: ModelConfig) -> OctaboxError:
    """Return the error that loading ends with, as a worker sends it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 (its text is compared)
        load(wanted, PIPELINE, WorkerOptions(device="cpu"))
    return to_load_error(caught.value, wanted)


def problems(models: Path) -> list[Problem]:
    """Return what `octabox check` finds."""
    checker = ModelChecker(AdapterRegistry(None, None), resolve_current)
    return checker.problems(entries_of(discover(models)), load_catalog())


@pytest.mark.parametrize(("component", "damage", "words"), CASES.values(), ids=list(CASES))
def test_what_is_wrong_is_said_before_it_is_loaded(model: Path, component: str, damage: Damage, words: str) -> None:
    """By loading and by the check, in the same sentence, with the component, its path, and what to do."""
    damage(model)

    error = failure(config(model))
    found = problems(model.parent)

    assert isinstance(error, LoadError)
    assert words in error.message
    assert component in error.message
    assert str(model) in error.message or "which model_index.json names" in error.message
    assert error.hint
    assert "huggingface.co" not in str(error)
    assert [each.message for each in found if each.message in error.message], (found, error)


#: Faults that only loading finds, by the component.
LATER: dict[str, tuple[str, Damage]] = {
    "a setting of another type": (
        "unet",
        lambda model: changed(model / "unet/config.json", block_out_channels="wide"),
    ),
    "a setting that is impossible": ("vae", lambda model: changed(model / "vae/config.json", norm_num_groups=7)),
    "a tokenizer without a model": (
        "tokenizer",
        lambda model: (model / "tokenizer/tokenizer.json").write_text('{"version": "1.0"}'),
    ),
    "layers of another number": (
        "text_encoder",
        lambda model: changed(model / "text_encoder/config.json", num_hidden_layers=9),
    ),
    "settings of a scheduler": (
        "scheduler",
        lambda model: changed(model / "scheduler/scheduler_config.json", num_train_timesteps="many"),
    ),
}


@pytest.mark.parametrize(("component", "damage"), LATER.values(), ids=list(LATER))
def test_what_only_loading_finds_names_the_component(model: Path, component: str, damage: Damage) -> None:
    """And its folder, whichever library raises it."""
    damage(model)

    error = failure(config(model))

    assert isinstance(error, LoadError)
    assert f"{model}/{component}" in error.message
    assert error.hint
    assert "huggingface.co" not in str(error)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").write_text("[]"), "must hold a JSON object, not list"),
        (lambda folder: changed(folder / "config.json", _class_name="Nope"), "There is no class 'Nope' in diffusers"),
        (emptied, "is empty"),
        (lambda folder: (folder / WEIGHTS["vae"]).unlink(), "has no weights"),
        (lambda folder: unwritten(folder / WEIGHTS["vae"]), "not a valid safetensors file"),
    ],
)
def test_a_component_of_another_source_is_checked_likewise(model: Path, damage: Damage, words: str) -> None:
    """Its class is that of its own configuration, never another one instead."""
    other = shutil.copytree(model / "vae", model.parent / "other")
    (model.parent / "mine.yaml").write_text("model: tiny\ncomponents: {vae: {model: other}}\n")
    damage(other)

    error = failure(config(model, components={"vae": ComponentConfig(model=str(other))}))
    found = problems(model.parent)

    assert words in error.message
    assert "vae" in error.message
    assert str(other) in error.message
    assert [(words in each.message, each.key) for each in found] == [(True, "components.vae.model")]


def test_what_is_right_is_loaded(model: Path) -> None:
    """Also with files that nothing reads, and with what older versions wrote."""
    (model / "unet/notes.json").write_text("[1, 2")
    (model / "unet/README.md").write_text("x")
    (model / "tokenizer/special_tokens_map.json").write_text("{}")
    changed(model / "scheduler/scheduler_config.json", _diffusers_version="0.1.0")

    assert [] == problems(model.parent)
    assert "cpu" == load(config(model), PIPELINE, WorkerOptions(device="cpu")).device
