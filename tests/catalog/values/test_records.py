"""Values that are instances of a dataclass are objects of a request, with fields that are read from its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from octabox.catalog.cache import load_metadata, save_metadata
from octabox.catalog.entries import PackageMetadata, Parameter, PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.reading.package import read_package
from octabox.catalog.serialization import entry_to_json
from octabox.catalog.signature import json_schema, validate
from octabox.catalog.values.records import records_of, shorten
from octabox.errors import InvalidRequestError, RequestError

#: A pipeline whose parameter is a dataclass of another module, with a documented field.
STROKES = '''
from ..pipeline_utils import DiffusionPipeline
from .stroke_types import Stroke, Palette

class StrokePipeline(DiffusionPipeline):
    """Paints strokes."""

    def __init__(self, palette: Palette):
        super().__init__()

    def __call__(self, prompt: str, strokes: "Stroke | list[Stroke] | None" = None, palette: Palette = None):
        """Paint."""
'''
TYPES = '''
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Stroke:
    """A stroke.

    Attributes:
        image (`PIL.Image.Image`): What to paint.
        width (`int`, defaults to 3): How wide.
    """

    image: PIL.Image.Image
    width: int = 3
    mood: Literal["calm", "wild"] = "calm"
    points: list[float] = field(default_factory=list)

class Palette:
    colours: int = 3
'''


def ltx() -> PipelineEntry:
    """Return a pipeline of diffusers with frame conditions."""
    return load_catalog().pipelines["LTX2ConditionPipeline"]


def problems(params: dict[str, Any], **files: Any) -> list[str]:
    """Return the messages for a request."""
    named = {name.replace("__", "."): each for name, each in files.items()}
    try:
        validate(ltx(), {"prompt": "a bird", **params}, named)
    except InvalidRequestError as error:
        return [each.message for each in error.problems]
    except RequestError as error:
        return [error.message]
    return []


def described(entry: PipelineEntry, name: str) -> dict[str, tuple[str, bool]]:
    """Return kind and need of each field of a parameter."""
    parameter = entry.parameter(name)
    assert parameter is not None
    return {each.name: (each.kind, each.required) for each in parameter.fields}


def test_fields_of_diffusers() -> None:
    """Their kinds are those of parameters with such annotations, and a default makes them optional."""
    conditions = {"frames": ("video", True), "index": ("integer", False), "strength": ("number", False)}
    action = described(load_catalog().pipelines["Cosmos3OmniPipeline"], "action")

    assert {**conditions, "crf": ("integer", False)} == described(ltx(), "conditions")
    assert {
        "image": ("image", False),
        "video": ("video", False),
        "raw_actions": ("array", False),
    }.items() <= action.items()
    assert [("choice", True), ("integer", True)] == [action[name] for name in ("mode", "chunk_size")]


def test_fields_of_a_made_up_package(made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataclass of another module is found, with its descriptions; other classes and constructors are left as they are."""
    for name, text in (("strokes", STROKES), ("stroke_types", TYPES)):
        (made_up / "pipelines" / "brush" / f"{name}.py").write_text(text)
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))
    found = {each.name: each for each in read_package("brushes", made_up).pipelines}["StrokePipeline"]
    save_metadata(made_up, "one", PackageMetadata(pipelines=(found,)))
    restored = load_metadata(made_up, "one")
    strokes = found.parameter("strokes")

    assert strokes is not None
    assert ("mapping", True, "brushes.pipelines.brush.stroke_types.Stroke") == (
        strokes.kind,
        strokes.many,
        strokes.record,
    )
    image, width, mood, points = strokes.fields
    assert ("image", "What to paint.", True) == (image.kind, image.description, image.required)
    assert (3, "How wide.", False) == (width.default, width.description, width.required)
    assert (("calm", "wild"), False) == (mood.choices, points.literal)
    assert () == found.parameters[-1].fields
    assert ["palette"] == [each.name for each in found.components]
    assert restored is not None
    assert found == restored.pipelines[0]
    assert ["image", "width"] == [each["name"] for each in entry_to_json(found)["parameters"][1]["fields"]][:2]


def test_names_of_fields() -> None:
    """A field is found under the name of its input; what does not exist is not."""
    field = ltx().parameter("conditions.0.frames")

    assert field is not None
    assert ("conditions.0.frames", "video") == (field.name, field.kind)
    assert ltx().parameter("conditions.0.sound") is None
    assert ltx().parameter("prompt.0.frames") is None
    assert "conditions" in ltx().files(required=False)


def test_the_schema_of_objects() -> None:
    """One object or a list of them is valid; a field that is unknown, wrong or missing is not."""
    schema = json_schema(ltx())

    for value in ({"frames": "data:"}, [{"frames": "data:", "index": 8, "strength": 0.5}, {"frames": ["data:"]}]):
        jsonschema.validate({"prompt": "a bird", "conditions": value}, schema)
    wrong: tuple[Any, ...] = ({}, {"frames": "data:", "index": "last"}, {"frames": "data:", "sound": 1}, "data:")
    for invalid in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"prompt": "a bird", "conditions": invalid}, schema)


def test_objects_are_validated() -> None:
    """Each problem names the field, and files of fields count."""
    file = {"conditions__0__frames": (b"",), "conditions__1__frames": (b"",)}

    assert [] == problems({"conditions": {"index": 8}}, conditions__0__frames=(b"",))
    assert [] == problems({"conditions": [{"index": 8.0}, {}]}, **file)
    assert [] == problems({}, **file)
    assert ["conditions needs the field frames."] == problems({"conditions": [{}, {}]}, conditions__0__frames=(b"",))
    assert ["conditions.1.index must be an integer, not 'last'."] == problems(
        {"conditions": [{}, {"index": "last"}]}, **file
    )
    assert ["conditions has no field 'stren'."] == problems({"conditions": [{"stren": 1}, {}]}, **file)
    assert ["conditions must be an object or a list of objects, not 3."] == problems({"conditions": 3})
    assert "LTX2ConditionPipeline has no parameter 'conditions.0.sound'." in problems({}, conditions__0__sound=(b"",))


def test_files_make_objects() -> None:
    """There are as many as the greatest position, up to a limit."""
    parameter = Parameter("strokes", kind="mapping", many=True)

    assert [{}, {}] == records_of(parameter, {}, ["strokes.1.image", "strokes.x.image", "other.9.image"])
    assert [{"width": 1}] == records_of(parameter, {"strokes": [{"width": 1}, 3]})
    assert 100 == len(records_of(parameter, {}, ["strokes.999999.image"]))


def test_long_values_are_shortened() -> None:
    """A message stays on one line."""
    assert ("'a'", 60) == (shorten("a"), len(shorten("a" * 99)))
