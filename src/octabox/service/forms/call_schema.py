"""The JSON Schema of the call parameters of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from octabox import demo
from octabox.catalog.conditions.ip_adapter import add_scale_parameter
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.signature import json_schema
from octabox.media.formats import formats_of
from octabox.service.bounds import Limits
from octabox.service.forms.hints import add_form_hints
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.outputs import output_kinds
from octabox.service.served_model import ServedModel


def call_schema(
    model: ServedModel, entry: PipelineEntry, task: str, tasks: Sequence[str], limits: Limits
) -> dict[str, Any]:
    """Return the JSON Schema of the call parameters of a pipeline, with the defaults of a model."""
    schema = json_schema(add_scale_parameter(entry, tuple(each.scale for each in model.config.ip_adapters)))
    properties = schema["properties"]
    defaults = {name: value for name, value in model.config.defaults.items() if name in properties}
    properties |= {name: {**properties[name], "default": value} for name, value in defaults.items()}
    if model.config.model == str(demo.FOLDER) and "prompt" in properties:
        properties["prompt"] = {**properties["prompt"], "examples": list(demo.PROMPTS)}
    # What the model's configuration gives, a request need not.
    schema["required"] = [name for name in schema["required"] if defaults.get(name) is None]
    schema = add_form_hints(schema, entry, ModelSizes(entry, model.config), limits)
    return {
        **schema,
        "x-pipeline": entry.name,
        "x-task": task,
        "x-tasks": list(tasks),
        "x-formats": formats_of(output_kinds(entry)),
    }
