"""Models in a folder."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from octabox import demo
from octabox.config.discovery import ModelRegistry, demo_model, discover
from octabox.errors import ModelNotFoundError

INDEX = json.dumps({"_class_name": "StableDiffusionPipeline"})


def save(path: Path, text: str = "") -> Path:
    """Write a file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_folders_and_checkpoints_are_models(tmp_path: Path) -> None:
    """Each under its own name; what is neither is left alone."""
    save(tmp_path / "a.yaml", "model: owner/a")
    save(tmp_path / "b.yml", "- {name: b1, model: owner/b}\n- {name: b2, model: owner/b}")
    save(tmp_path / "c" / "model_index.json", INDEX)
    save(tmp_path / "d" / "modular_model_index.json", INDEX)
    for name in ("e.safetensors", "f.ckpt", "g.GGUF", "README.md", ".hidden.yaml", "h/i.yaml", "images/j.png"):
        save(tmp_path / name)

    registry = discover(tmp_path)

    assert ["a", "b1", "b2", "c", "d", "e", "f", "g"] == sorted(registry.models)
    assert (str(tmp_path / "c"), str(tmp_path / "g.GGUF")) == (registry.models["c"].model, registry.models["g"].model)
    assert () == registry.problems


def test_a_training_configuration_is_not_a_model(tmp_path: Path) -> None:
    """One next to a single file belongs to it; without a file it is a problem."""
    training = "model: {target: ldm.LatentDiffusion, params: {parameterization: v}}"
    save(tmp_path / "a.safetensors")
    save(tmp_path / "a.yaml", training)

    assert (["a"], ()) == (list(discover(tmp_path).models), discover(tmp_path).problems)

    save(tmp_path / "b.yaml", training)
    assert ["b.yaml"] == [problem.file.name for problem in discover(tmp_path).problems]


def test_a_bad_file_keeps_nothing_back(tmp_path: Path) -> None:
    """Its problems are reported, the others are served."""
    save(tmp_path / "a.yaml", "model: [")
    save(tmp_path / "b.yaml", "model: owner/b")
    save(tmp_path / "c" / "model_index.json", "{")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "d.yaml").symlink_to("nowhere")

    registry = discover(tmp_path)

    assert ["b"] == list(registry.models)
    assert ["a.yaml", "c", "d.yaml", "loop"] == sorted(problem.file.name for problem in registry.problems)


def test_what_is_no_file_keeps_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO, a folder with the suffix of a file and a folder without permission are named; none of them is opened."""
    save(tmp_path / "a.yaml", "model: owner/a")
    for name in ("fifo.yaml", "fifo.safetensors", "pipe"):
        os.mkfifo(tmp_path / name)
    save(tmp_path / "model" / "unet" / "config.json")
    os.mkfifo(tmp_path / "model" / "model_index.json")
    for name in ("folder.yaml", "folder.gguf", "lost+found"):
        (tmp_path / name).mkdir()
    save(tmp_path / "model.v2.safetensors" / "model_index.json", INDEX)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "lost+found" and access(path, mode))

    registry = discover(tmp_path)

    assert ["a", "model.v2.safetensors"] == sorted(registry.models)
    assert {
        "fifo.safetensors": ("error", "It is a FIFO, not a file."),
        "fifo.yaml": ("error", "It is a FIFO, not a file."),
        "folder.gguf": ("error", "It is a folder, not a file."),
        "folder.yaml": ("error", "It is a folder, not a file."),
        "lost+found": ("warning", "It cannot be read: Permission denied."),
        "model": ("error", f"{tmp_path / 'model' / 'model_index.json'} cannot be read: it is a FIFO, not a file."),
        "pipe": ("warning", "It is a FIFO, not a file."),
    } == {problem.file.name: (problem.severity, problem.message) for problem in registry.problems}


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    """It is a problem; the embedded model is served."""
    registry = discover(save(tmp_path / "models"))

    assert ["It is a file, not a folder."] == [problem.message for problem in registry.problems]
    assert [demo.NAME] == list(registry.models)


def test_a_path_in_the_folder_is_stronger_than_a_hub_id(tmp_path: Path) -> None:
    """Model, components and adapters alike; what is not there stays a Hub id."""
    for name in ("owner/here/model_index.json", "style.safetensors", "vae/config.json"):
        save(tmp_path / name, INDEX)
    text = (
        "model: {}\ncomponents: {{vae: {{model: vae}}, controlnet: [{{model: vae}}, {{model: owner/net}}]}}\n"
        "adapters: [{{lora: style.safetensors}}, {{lora: owner/lora}}]\nip_adapters: {{model: style.safetensors}}"
    )
    save(tmp_path / "a.yaml", text.format("owner/here"))
    save(tmp_path / "b.yaml", text.format("owner/there"))

    models = discover(tmp_path).models

    assert (str(tmp_path / "owner/here"), "owner/there") == (models["a"].model, models["b"].model)
    assert str(tmp_path / "vae") == models["a"].part("vae").model
    assert [str(tmp_path / "vae"), "owner/net"] == [part.model for _, part in models["a"].parts()][1:]
    assert [str(tmp_path / "style.safetensors")] == [each.model for each in models["a"].ip_adapters]
    assert [str(tmp_path / "style.safetensors"), "owner/lora"] == [lora.lora for lora in models["a"].adapters]


def test_what_a_configuration_refers_to_is_not_listed_again(tmp_path: Path) -> None:
    """Neither the checkpoint nor the LoRA nor a linked folder is listed as another model."""
    for name in ("weights.safetensors", "style.safetensors", "other.safetensors"):
        save(tmp_path / name)
    save(tmp_path / "a.yaml", "model: ./weights.safetensors\nadapters: [{lora: style.safetensors}]")

    assert ["a", "other"] == sorted(discover(tmp_path).models)


def test_weights_that_are_not_there_yet_are_an_error(tmp_path: Path) -> None:
    """The model is listed all the same, and its path is where they belong."""
    save(tmp_path / "toonyou_beta5.safetensors")
    save(tmp_path / "a.yaml", "name: a\nmodel: toonyou_beta6.safetensors\n")

    registry = discover(tmp_path)

    assert str(tmp_path / "toonyou_beta6.safetensors") == registry.models["a"].model
    assert [
        (
            f"{tmp_path}/a.yaml:2:1: error: There is no 'toonyou_beta6.safetensors' in the models folder."
            " (did you mean toonyou_beta5.safetensors?)"
        )
    ] == [str(problem) for problem in registry.problems]


def test_of_two_configurations_with_one_name_the_first_holds(tmp_path: Path) -> None:
    """Both are reported."""
    save(tmp_path / "a.yaml", "name: x\nmodel: owner/a")
    save(tmp_path / "b.yaml", "name: x\nmodel: owner/b")

    registry = discover(tmp_path)

    assert "owner/a" == registry.models["x"].model
    assert [("a.yaml", "warning"), ("b.yaml", "error")] == sorted(
        (found.file.name, found.severity) for found in registry.problems
    )


def test_a_configuration_is_stronger_than_weights_of_its_name(tmp_path: Path) -> None:
    """They are reported as not served."""
    save(tmp_path / "x.yaml", "model: owner/a")
    save(tmp_path / "x.safetensors")

    registry = discover(tmp_path)

    assert "owner/a" == registry.models["x"].model
    assert ["The name 'x' is used by another model; this one is not served."] == [
        found.message for found in registry.problems
    ]


def test_weights_with_an_odd_name_are_a_problem(tmp_path: Path) -> None:
    """A model must be called by something."""
    save(tmp_path / " .ckpt")

    assert ["' ' cannot be the name of a model."] == [problem.message for problem in discover(tmp_path).problems]


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_without_models_there_is_the_embedded_one(tmp_path: Path, name: str) -> None:
    """A folder that does not exist is as good as an empty one."""
    (tmp_path / "empty").mkdir()

    registry = discover(tmp_path / name)

    assert ([demo.NAME], ()) == (list(registry.models), registry.problems)
    assert str(demo.FOLDER) == registry.models[demo.NAME].model


def test_the_embedded_model_can_always_be_called(tmp_path: Path) -> None:
    """It is not listed with other models, and a model of its name replaces it."""
    save(tmp_path / "a.yaml", "model: owner/a")
    beside = discover(tmp_path)
    save(tmp_path / f"{demo.NAME}.yaml", "model: owner/own")

    assert (["a"], demo_model()) == (list(beside.models), beside.find(demo.NAME))
    assert "owner/own" == discover(tmp_path).find(demo.NAME).model


def test_a_name_that_leads_nowhere_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    """All names are among the choices; a file that is wrong is named."""
    save(tmp_path / "sdxl.yaml", "model: owner/a")
    save(tmp_path / "flux.yaml", "modl: owner/a\nname: flux")
    registry = discover(tmp_path)

    with pytest.raises(ModelNotFoundError) as mistyped:
        registry.find("sdx")
    with pytest.raises(ModelNotFoundError) as broken:
        registry.find("flux")

    assert ("Did you mean sdxl?", ("demo", "sdxl")) == (mistyped.value.hint, mistyped.value.choices)
    assert f"Its configuration is invalid: {tmp_path}/flux.yaml:1:1" in broken.value.hint


def test_a_change_is_seen_without_a_restart(tmp_path: Path) -> None:
    """New, changed and removed models, and an index that is put into a folder later."""
    registry = ModelRegistry(tmp_path / "models")
    seen = [sorted(registry.current().models)]
    steps: list[Callable[[Path], object]] = [
        lambda folder: save(folder / "a.yaml", "model: owner/a"),
        lambda folder: save(folder / "a.yaml", "{name: b, model: owner/a}"),
        lambda folder: save(folder / "c" / "unet.txt"),
        lambda folder: save(folder / "c" / "model_index.json", INDEX),
        lambda folder: (folder / "a.yaml").unlink(),
    ]

    for step in steps:
        step(tmp_path / "models")
        seen.append(sorted(registry.current().models))

    assert [["demo"], ["a"], ["b"], ["b"], ["b", "c"], ["c"]] == seen


def test_a_folder_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    """Every request asks, so it must cost next to nothing; threads see one and the same."""
    save(tmp_path / "a.yaml", "model: owner/a")
    registry = ModelRegistry(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        seen = {id(models) for models in pool.map(lambda _: registry.current(), range(64))}

    assert 1 == len(seen)


def test_another_default_may_be_given(tmp_path: Path) -> None:
    """Then it is what an empty folder serves."""
    other = demo_model().model_copy(update={"name": "other"})

    assert ["other"] == list(ModelRegistry(tmp_path, other).current().models)
