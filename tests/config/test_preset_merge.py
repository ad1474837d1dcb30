"""Presets: default values of a kind of model."""

from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import resolve_sources
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry, read_models
from octabox.config.preset_merge import Preset, deep_merge, preset_of_alias, presets

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "model-configuration.md"


def given(**fields: Any) -> ModelConfig:
    """Return a configuration."""
    return ModelConfig(name="given", model="owner/name", **fields)


@pytest.mark.parametrize("preset", presets().values(), ids=presets())
def test_every_preset_is_part_of_a_configuration(preset: Preset) -> None:
    """Its keys are those of a configuration, its classes are there, and something makes it hold."""
    config = given(preset=preset.name)

    assert preset.settings.keys() <= ModelConfig.model_fields.keys()
    assert config.model_dump(exclude_unset=True)["preset"] == preset.name
    assert set(preset.pipelines) <= load_catalog().pipelines.keys()
    assert preset.pipelines or preset.aliases


@pytest.mark.parametrize("preset", presets().values(), ids=presets())
def test_every_preset_is_in_the_reference(preset: Preset) -> None:
    """With what it holds for, and what it does."""
    classes = [f"`{name}`" for name in preset.pipelines] + [
        f"`pipeline_type: {name}` of LocalAI" for name in preset.aliases
    ]
    row = f"| `{preset.name}` | {', '.join(classes)} | {preset.description} |"

    assert row in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", ["FluxTransformer2DModel", "VideoDiffusionPipeline"])
def test_names_of_localai_lead_to_presets(name: str) -> None:
    """A class of diffusers does not, though a preset may hold for it."""
    assert preset_of_alias(name) is not None
    assert preset_of_alias("WanPipeline") is None


@pytest.mark.parametrize("name", ["WanPipeline", "WanImageToVideoPipeline"])
def test_a_class_has_its_preset(name: str) -> None:
    """The autoencoder computes in float32, whatever the model's dtype is."""
    config = given(dtype="float16").with_class_presets(name)

    assert ("float16", "float32") == (config.dtype, config.part("vae").dtype)


def test_what_the_author_says_is_stronger() -> None:
    """Value by value: of a component too."""
    config = given(
        components={"vae": {"dtype": "float16"}, "transformer": {"storage": "float8_e5m2"}}
    ).with_class_presets("WanPipeline")
    video = given(memory="full", defaults={"decode_chunk_size": 2}).with_class_presets("StableVideoDiffusionPipeline")
    sana = given(components={"vae": {"model": "owner/vae"}}).with_class_presets("SanaPipeline")

    assert ("float16", "float8_e5m2") == (config.part("vae").dtype, config.part("transformer").storage)
    assert ("full", {"decode_chunk_size": 2, "fps": 7}) == (video.memory, video.defaults)
    assert ("owner/vae", "bfloat16") == (sana.part("vae").model, sana.part("vae").dtype)


def test_a_class_without_a_preset_changes_nothing() -> None:
    """The configuration stays the very one."""
    config = given()

    assert config is config.with_class_presets("StableDiffusionPipeline")


def test_a_preset_holds_after_paths_have_been_placed(tmp_path: Path) -> None:
    """Filled-in values do not take precedence over it."""
    entry, _ = resolve_sources(Entry(given(path=tmp_path / "given.yaml"), tmp_path / "given.yaml"), tmp_path)
    config = entry.config.with_class_presets("StableVideoDiffusionPipeline")

    assert ("model_cpu_offload", entry.config.model, entry.config.path) == (config.memory, config.model, config.path)


def test_a_preset_by_its_name(tmp_path: Path) -> None:
    """It sets the class and the complete model; values of the file are kept."""
    file = tmp_path / "mine.yaml"
    file.write_text("model: a.safetensors\npreset: flux-transformer\nconfig: owner/flux\n", encoding="utf-8")
    (config,) = read_models(file).models

    assert ("FluxPipeline", "owner/flux") == (config.pipeline, config.config)
    assert "float8_e4m3fn" == config.part("text_encoder_2").storage


def test_a_name_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    """With the most similar name and the location."""
    file = tmp_path / "mine.yaml"
    file.write_text("model: owner/name\npreset: wam\n", encoding="utf-8")
    (problem,) = read_models(file).problems

    assert (2, "did you mean wan?") == (problem.line, problem.hint)
    assert "`preset` must be one of" in problem.message


def test_mappings_are_merged_and_nothing_else() -> None:
    """A null value is replaced by that of the preset."""
    preset = {"a": {"b": 1, "c": [1, 2]}, "d": 5, "e": 6}

    assert {"a": {"b": 2, "c": [3], "x": None}, "d": 5, "e": 0} == deep_merge(
        {"a": {"b": 2, "c": [3], "x": None}, "d": None, "e": 0}, preset
    )
    assert {"a": {"b": 1, "c": [1, 2]}, "d": 5, "e": 6} == preset
