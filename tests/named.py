"""Whether what the documentation names in code font exists: commands, routes, fields, files, functions and classes."""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError

from code_blocks import ROOT, commands_of, unknown_options
from fakes import Server
from octabox import errors
from octabox.catalog.pipelines import load_catalog
from octabox.compat import diffusers_dynamic_loader
from octabox.config.model import ModelConfig
from octabox.config.performance import PerformanceConfig
from octabox.config.preset_merge import presets
from octabox.config.settings import Settings
from octabox.engine.worker.performance.attention import available_backends
from octabox.errors import SchedulerNotFoundError
from octabox.schedulers.names import resolve_scheduler

#: Forms of a name, each with the function that looks for what has this form; a form stands before those that it is part of.
FORMS: dict[str, Callable[..., bool]] = {}

_Find = TypeVar("_Find", bound=Callable[..., bool])


def form(pattern: str) -> Callable[[_Find], _Find]:
    """Add a function that looks for what has a form."""

    def add(find: _Find) -> _Find:
        FORMS[pattern] = find
        return find

    return add


def is_there(name: str) -> bool:
    """Return whether what a name means exists; a name of no known form does not."""
    for pattern, find in FORMS.items():
        if found := re.fullmatch(pattern, name):
            return find(*found.groups())
    return False


@cache
def _api() -> dict[str, Any]:
    """Return the OpenAPI document of a server with all routes."""
    document: dict[str, Any] = Server(a1111=True).app.openapi()
    return document


@form(r"octabox( [a-z].*)?")
def is_command(words: str | None) -> bool:
    """Return whether a command has the verb and the options; words in capitals stand for values."""
    try:
        return not words or all(not unknown_options(command) for command in commands_of(words))
    except (AssertionError, KeyError):
        return False


@form(r"([A-Z]+) (/[^?]*)(?:\?(.*))?")
def is_route(method: str, path: str, query: str | None) -> bool:
    """Return whether the server has the route, with the method and the parameters of the query."""
    route: dict[str, Any] | None = _api()["paths"].get(path, {}).get(method.lower())
    given = {name for name, _ in parse_qsl(query or "", keep_blank_values=True)}
    return route is not None and given <= {
        each["name"] for each in route.get("parameters", ()) if each["in"] == "query"
    }


@form(r"(octabox(?:\.\w+)+)")
def is_in_package(name: str) -> bool:
    """Return whether the package has the module, or the module the object."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return True


@form(r"(\w+)\((?:(\w+)=)?\)")
def is_function(name: str, parameter: str | None) -> bool:
    """Return whether the loader has the function, with the parameter."""
    function = getattr(diffusers_dynamic_loader, name, None)
    return callable(function) and (parameter is None or parameter in inspect.signature(function).parameters)


@form(r"(\.?\w+(?:/[\w.]+)+|\w+\.txt)")
def is_file(path: str) -> bool:
    """Return whether the repository has the file or folder, or it is the default of a setting."""
    return (ROOT / path).exists() or path == Settings().pipeline_folder.as_posix()


@form(r"([A-Z]\w*[a-z]\w*)")
def is_class(name: str) -> bool:
    """Return whether a name is that of a pipeline or an error."""
    return name in load_catalog().pipelines or any(hasattr(module, name) for module in (errors, builtins))


@form(r"([A-Z]+_[A-Z]+)")
def is_variable(name: str) -> bool:
    """Return whether the source has a variable of the environment."""
    sources = (ROOT / "src" / "octabox").rglob("*.py")
    return any(f'"{name}"' in file.read_text(encoding="utf-8") for file in sources)


#: What the value of a field must be in addition, where the model's configuration takes any text.
NAMES: dict[str, Any] = {
    "attention": lambda name: PerformanceConfig(attention=name).attention in available_backends(),
    "preset": lambda name: name in presets(),
    "scheduler": lambda name: resolve_scheduler(name, {}, load_catalog().schedulers),
}


@form(r"(\w+): ([\w-]+)")
def is_setting(field: str, value: str) -> bool:
    """Return whether a model's configuration takes the value."""
    own = {field: value} if field in ModelConfig.model_fields else {"performance": {field: value}}
    try:
        ModelConfig.model_validate({"name": "m", "model": "x", **own})
        return bool(NAMES.get(field, bool)(value))
    except (ValidationError, SchedulerNotFoundError):
        return False


@form(r"([a-z]\w*(?:\[\])?(?:\.\w+(?:\[\])?)*)")
def is_field(path: str) -> bool:
    """Return whether a model's configuration, a setting or the body of a request has a field."""
    return any(_has(schema, schema, path.split(".")) for schema in _schemas())


@cache
def _schemas() -> tuple[Mapping[str, Any], ...]:
    """Return the schemas whose fields can be named."""
    bodies = [
        content["schema"]
        for methods in _api()["paths"].values()
        for route in methods.values()
        for content in route.get("requestBody", {}).get("content", {}).values()
        if "schema" in content
    ]
    return (*(each.model_json_schema() for each in (ModelConfig, PerformanceConfig, Settings)), *bodies)


def _has(root: Mapping[str, Any], schema: Mapping[str, Any], path: list[str]) -> bool:
    """Return whether a schema has the field that a path leads to."""
    if not path:
        return True
    name, many = path[0].removesuffix("[]"), path[0].endswith("[]")
    found = [each["properties"][name] for each in _choices(root, schema) if name in each.get("properties", ())]
    if many:
        found = [choice["items"] for each in found for choice in _choices(root, each) if "items" in choice]
    return any(_has(root, each, path[1:]) for each in found)


def _choices(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas of which one holds."""
    if "$ref" in schema:
        target: Any = root
        for key in schema["$ref"].removeprefix("#/").split("/"):
            target = target.get(key, {})
        yield from _choices(root, target)
        return
    yield schema
    for key in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(key, ()):
            yield from _choices(root, each)
