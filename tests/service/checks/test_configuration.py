"""Problems of configurations that need the catalog: the same for `octabox check`, the start and the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import ModelRegistry, discover
from octabox.engine.protocol import Engine
from octabox.errors import ModelNotFoundError
from octabox.service.bounds import Limits
from octabox.service.checks.configuration import find_problems
from octabox.service.models.service import ServerModels
from octabox.types import ModelStatus

SD = {
    "_class_name": "StableDiffusionPipeline",
    **{name: ["diffusers", "X"] for name in ("unet", "vae", "scheduler")},
    **{name: ["transformers", "X"] for name in ("text_encoder", "tokenizer")},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a models folder with a model."""
    (tmp_path / "sd").mkdir()
    (tmp_path / "sd" / "model_index.json").write_text(json.dumps(SD))
    return tmp_path


def problems(folder: Path, text: str) -> list[tuple[int, str, str]]:
    """Return the line, the severity and the message of the problems of a configuration."""
    (folder / "m.yaml").write_text(f"model: sd\n{text}")
    found = discover(folder)
    assert () == found.problems
    return [
        (each.line, each.severity, f"{each.message} ({each.hint})")
        for each in find_problems(found.entries, load_catalog(), Limits())
    ]


@pytest.mark.parametrize(
    ("text", "severity", "words"),
    [
        ("components: {vea: {dtype: float16}}", "error", "no component 'vea'. (did you mean vae?)"),
        (
            "pipeline: StableDiffusionXLPipeline",
            "warning",
            "may not fit the model: it also has text_encoder_2, tokenizer_2",
        ),
        (
            "pipeline: StableDiffusionControlNetPipeline",
            "error",
            "needs controlnet, which the model folder does not have",
        ),
        ("defaults: {num_inference_steps: -3}", "error", "'num_inference_steps' must be from 1 to 1000, not -3."),
        ("defaults: {num_inference_steps: 1001}", "error", "'num_inference_steps' must be from 1 to 1000, not 1001."),
        ("defaults: {num_inference_steps: many}", "error", "num_inference_steps must be an integer, not 'many'."),
        ("defaults: {width: 0}", "error", "'width' must be at least 1, not 0."),
        ("defaults: {num_inference_step: 3}", "error", "no parameter 'num_inference_step'."),
        ("scheduler: {name: ddim, settings: {num_train_timesteps: many}}", "error", "num_train_timesteps must be"),
    ],
)
def test_what_cannot_be_served_is_a_problem(folder: Path, text: str, severity: str, words: str) -> None:
    """With its line, before anything is loaded; what may still appear is a warning."""
    ((line, found, message),) = problems(folder, text)

    assert (2, severity) == (line, found)
    assert words in message


@pytest.mark.parametrize("options", ["['strength:0.5', 'strength.x:1']", "['strength.x:1', 'strength:0.5']"])
def test_an_option_with_a_dot_is_one_problem(folder: Path, options: str) -> None:
    """In LocalAI's form of a file too, an unknown parameter is named at its line, and the other models are served."""
    (folder / "m.yaml").write_text(f"backend: diffusers\nparameters: {{model: sd}}\noptions: {options}\n")
    (folder / "other.yaml").write_text("model: sd\n")

    found = discover(folder)
    (problem,) = find_problems(found.entries, load_catalog(), Limits())

    assert (3, "error", True) == (problem.line, problem.severity, "no parameter 'strength.x'" in problem.message)
    assert {"m", "other"} <= found.models.keys()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pipeline: StableDiffusionImg2ImgPipeline\ndefaults: {strength: 0.5}",
        "defaults: {strength: 0.5, num_inference_steps: 4, guidance_scale: 3, width: 64, negative_prompt: x}",
        "components: {vae: {dtype: float32}, controlnet: {model: owner/name}}",
        "components: {controlnet: [{model: owner/a}, {model: owner/b}]}",
        "adapters: [{lora: owner/name}]\nip_adapters: {model: owner/name}\ndefaults: {ip_adapter_scale: 0.5}",
        "pipeline: image-to-image",
    ],
)
def test_what_can_be_served_is_none(folder: Path, text: str) -> None:
    """Parameters and components of the other pipelines of the weights too."""
    assert [] == problems(folder, text)


def test_the_server_has_the_same_verdict(folder: Path) -> None:
    """A model with an error is neither listed nor served, and the error tells why; the embedded one is listed last."""
    (folder / "models.yaml").write_text(
        "- {name: bad, model: sd, defaults: {num_inference_steps: -3}}\n- {name: good, model: sd}\n"
        "- {name: odd, model: sd, pipeline: StableDiffusionXLPipeline}"
    )
    models = ServerModels(ModelRegistry(folder), cast("Engine", None))

    assert ["good", "odd", "demo"] == [info.name for info in models.snapshot().list()]
    assert ["error", "warning"] == [problem.severity for problem in models.snapshot().folder.problems]
    with pytest.raises(ModelNotFoundError, match=r"models\.yaml:1:.*'num_inference_steps' must be from 1 to 1000"):
        models.snapshot().resolve("bad")


async def test_a_name_of_the_same_model_is_no_second_model(folder: Path) -> None:
    """It is listed last, resolves to the model's configuration, and unloads that model; the error of a model is its too."""
    (folder / "models.yaml").write_text(
        "- {name: good, model: sd, aliases: [better]}\n- {name: best, alias: good, description: Words.}\n"
        "- {name: bad, model: sd, defaults: {num_inference_steps: -3}}\n- {name: worse, alias: bad}"
    )
    engine = Unloads()
    models = ServerModels(ModelRegistry(folder), cast("Engine", engine))
    names = ["best", "better"]

    assert ["good", "demo", *names] == [info.name for info in models.snapshot().list()]
    found = [models.snapshot().get(name) for name in names]
    assert [(name, "good") for name in names] == [(each.name, each.alias_of) for each in found]
    assert "Words." == models.snapshot().get("best").description
    assert {"good"} == {models.snapshot().resolve(name).config.name for name in names}
    assert await models.unload("best")
    assert ["good"] == engine.unloaded
    with pytest.raises(ModelNotFoundError, match=r"models\.yaml:3:.*'num_inference_steps' must be from 1 to 1000"):
        models.snapshot().resolve("worse")


def test_what_replaces_a_model_has_its_names(folder: Path) -> None:
    """A changed configuration of the model applies under each of its names; a model that takes a name is that model."""
    (folder / "models.yaml").write_text("{name: good, model: sd, aliases: [better, best]}")
    models = ServerModels(ModelRegistry(folder), cast("Engine", None))
    models.add(models.snapshot().config("better").model_copy(update={"seed": 5}))
    models.add(models.snapshot().config("better").model_copy(update={"name": "best", "seed": 6}))

    assert [5, 6] == [models.snapshot().config(name).seed for name in ("better", "best")]
    assert ["best", "good", "demo", "better"] == [info.name for info in models.snapshot().list()]


class Unloads:
    """An engine that notes what is unloaded."""

    def __init__(self) -> None:
        self.unloaded: list[str] = []

    async def unload(self, name: str) -> bool:
        """Note the model."""
        self.unloaded.append(name)
        return True

    def status(self) -> list[ModelStatus]:
        """Return that nothing is in memory."""
        return []
