"""The reference pages name every key and every setting."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from octabox.config.model import ComponentConfig, IPAdapterConfig, LoraConfig, ModelConfig, RemoteCode
from octabox.config.performance import CacheConfig, PerformanceConfig
from octabox.config.sections.parallel import ParallelConfig
from octabox.config.sections.scheduler import SchedulerConfig
from octabox.config.settings import Settings, flag, variable

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def default(field: Any) -> str:
    """Return a field's default as the pages write it."""
    value = field.default
    if field.default_factory is not None or value is None or value == ():
        return ""
    return "required" if value is PydanticUndefined else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def setting_row(name: str) -> str:
    """Return the line of the table for a setting."""
    field = Settings.model_fields[name]
    return f"| `{name}` | `{variable(name)}` | `{flag(name)}` | {default(field)} | {field.description} |".replace(
        "  ", " "
    )


def key_row(model: type[BaseModel], name: str) -> str:
    """Return the line of the table for a key."""
    field = model.model_fields[name]
    return f"| `{name}` | {default(field)} | {field.description} |".replace("  ", " ")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_reference(name: str) -> None:
    """With its variable, its flag, its default and its meaning."""
    assert setting_row(name) in (PAGES / "settings.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("model", [CacheConfig, PerformanceConfig])
def test_every_performance_setting_is_in_the_reference(model: type[BaseModel]) -> None:
    """The page on performance has each of them with its default and its meaning."""
    lines = (PAGES / "performance.md").read_text(encoding="utf-8").splitlines()

    assert [] == [name for name in model.model_fields if key_row(model, name) not in lines]


@pytest.mark.parametrize(
    "model", [ModelConfig, ParallelConfig, SchedulerConfig, ComponentConfig, LoraConfig, IPAdapterConfig, RemoteCode]
)
def test_every_key_of_a_configuration_is_in_the_reference(model: type[BaseModel]) -> None:
    """With its default and its meaning."""
    lines = (PAGES / "model-configuration.md").read_text(encoding="utf-8").splitlines()

    assert [] == [name for name in model.model_fields if name != "path" and key_row(model, name) not in lines]
