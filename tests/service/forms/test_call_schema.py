"""The JSON Schema of a model's call parameters: those of its class, with what its configuration gives."""

from __future__ import annotations

from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.service.bounds import Limits
from octabox.service.forms.call_schema import call_schema
from octabox.service.served_model import ServedModel


def schema_of(model: str, **defaults: object) -> dict[str, object]:
    """Return the schema of a model of Stable Diffusion."""
    entry = load_catalog().pipelines["StableDiffusionPipeline"]
    served = ServedModel(ModelConfig.model_validate({"name": "m", "model": model, "defaults": defaults}), entry)
    return call_schema(served, entry, "text-to-image", ["text-to-image", "image-to-image"], Limits())


def test_what_a_configuration_gives_is_a_default() -> None:
    """A request need not give it, and a form shows it; what the class does not have is left out."""
    plain, configured = schema_of("org/m"), schema_of("org/m", num_inference_steps=7, prompt="a star", odd=1)

    def default(schema: dict[str, object], name: str) -> object:
        properties = schema["properties"]
        assert isinstance(properties, dict)
        return properties.get(name, {}).get("default")

    assert [50, 7] == [default(each, "num_inference_steps") for each in (plain, configured)]
    assert "a star" == default(configured, "prompt")
    assert default(configured, "odd") is None
    assert "prompt" not in str(configured["required"])


def test_a_schema_names_its_pipeline_and_its_tasks() -> None:
    """With them, clients know which formats they may ask for; the embedded model has examples of prompts."""
    schema = schema_of(str(demo.FOLDER))
    properties = schema["properties"]

    assert ("StableDiffusionPipeline", "text-to-image") == (schema["x-pipeline"], schema["x-task"])
    assert ["text-to-image", "image-to-image"] == schema["x-tasks"]
    assert "png" in str(schema["x-formats"])
    assert isinstance(properties, dict)
    assert [*demo.PROMPTS] == properties["prompt"]["examples"]
