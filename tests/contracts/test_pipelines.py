"""What must hold for every pipeline of the installed diffusers: those that have no task stand in a data file, with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import diffusers
import pytest
import yaml

from octabox.catalog.entries import PipelineEntry, ProgressBy
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import json_schema, settable_parameters
from octabox.catalog.tasks import vocabulary

Count = Callable[..., None]

EXCEPTIONS: dict[str, dict[str, str]] = yaml.safe_load(
    (Path(__file__).parent / "exceptions.yaml").read_text(encoding="utf-8")
)

#: JSON's own types.
TYPES = {"string", "integer", "number", "boolean", "object", "array", "null"}

#: Words that our schemas are made of.
WORDS = {
    "anyOf", "type", "enum", "items", "format", "contentEncoding", "contentMediaType", "description", "default",
    "properties", "required", "additionalProperties",
}  # fmt: skip


def check_value(schema: dict[str, Any]) -> None:
    """Check that the schema of a value is one."""
    assert set(schema) <= WORDS
    assert schema.get("type", "null") in TYPES
    assert schema.get("enum", ["one"])
    assert "" == schema.get("description", "") or isinstance(schema["description"], str)
    assert {*schema.get("required", [])} <= {*schema.get("properties", {})}
    for inner in (*schema.get("anyOf", []), *schema.get("properties", {}).values()):
        check_value(inner)
    check_value(schema.get("items", {})) if "items" in schema else None


def check_schema(entry: PipelineEntry) -> None:
    """Check that the schema of a call is one, and says what the call takes."""
    schema = json_schema(entry)
    names = {parameter.name for parameter in settable_parameters(entry)}

    assert schema == json.loads(json.dumps(schema))
    assert ("https://json-schema.org/draft/2020-12/schema", "object") == (schema["$schema"], schema["type"])
    assert (entry.name, False) == (schema["title"], schema["additionalProperties"])
    assert names == schema["properties"].keys()
    assert set(schema["required"]) <= names
    for group in schema.get("allOf", []):
        assert all(set(way["required"]) <= names for way in group["anyOf"])
    for value in schema["properties"].values():
        check_value(value)


def test_every_class_of_diffusers_is_known(catalog: Catalog, count: Count) -> None:
    """Each pipeline class that diffusers itself offers is in the catalog."""
    names = [name for name in dir(diffusers) if name.endswith("Pipeline")]
    bases = {"DiffusionPipeline", "ModularPipeline"}
    offered = {name for name in names if name not in bases and not name.startswith("Auto")}
    modular = sum(entry.modular for entry in catalog.pipelines.values())

    assert set() == {name for name in offered if name not in catalog.pipelines and "Flax" not in name}
    assert len(catalog.pipelines) - modular >= 300
    count("pipelines that can be called", len(catalog.pipelines) - modular)
    count("modular pipelines", modular)


def test_every_class_has_a_schema(catalog: Catalog, count: Count) -> None:
    """What each class takes is a valid JSON Schema with a property for each parameter."""
    for entry in catalog.pipelines.values():
        check_schema(entry)
    count("a schema", len(catalog.pipelines))


@pytest.mark.parametrize("field", ["tasks", "output_kind", "outputs", "parameters"])
def test_every_class_has_a_purpose(field: str, catalog: Catalog, count: Count) -> None:
    """Each class has tasks, an output and parameters, or stands in the catalog's data file with a reason."""
    lacking = {name for name, entry in catalog.pipelines.items() if not getattr(entry, field)}
    excused = {name: said["reason"] for name, said in vocabulary().exceptions.items()}

    assert set() == lacking - excused.keys()
    count(field.replace("_", " "), len(catalog.pipelines) - len(lacking), len(lacking))


def test_every_task_is_named(catalog: Catalog) -> None:
    """Each task that a class serves can be asked for by name."""
    assert [] == [task for task in catalog.tasks() if catalog.task(task) != task]


def test_every_class_can_be_stopped(catalog: Catalog, count: Count) -> None:
    """Each class tells its steps by a callback or a bar; those that are watched at a part stand in the file, with a reason."""
    ways = {name: entry.progress for name, entry in catalog.pipelines.items()}
    at_a_part = {name for name, way in ways.items() if way == "denoiser"}

    assert set(ways.values()) <= set(get_args(ProgressBy))
    assert at_a_part == EXCEPTIONS["progress"].keys()
    assert all(EXCEPTIONS["progress"].values())
    for way in get_args(ProgressBy):
        count(f"stopped by {way}", sum(each == way for each in ways.values()))
