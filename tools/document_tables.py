"""Generate the tables of settings and configuration keys in the reference pages.

Run it as `make docs`. A comment `<!-- generated: NAME -->` stands before each table; NAME is a key of `MODELS`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from octabox.config.model import ComponentConfig, IPAdapterConfig, LoraConfig, ModelConfig, RemoteCode
from octabox.config.performance import CacheConfig, PerformanceConfig
from octabox.config.sections.parallel import ParallelConfig
from octabox.config.sections.scheduler import SchedulerConfig
from octabox.config.settings import Settings, flag, variable

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"

#: Models with a table, by name.
MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (
        Settings,
        ModelConfig,
        ParallelConfig,
        SchedulerConfig,
        ComponentConfig,
        LoraConfig,
        IPAdapterConfig,
        RemoteCode,
        PerformanceConfig,
        CacheConfig,
    )
}

#: A marker with the table that follows it.
MARKED = re.compile(r"(?P<marker><!-- generated: (?P<name>\w+) -->\n\n)(?:\|.*\n)*")


def table(model: type[BaseModel]) -> str:
    """Return the table of a model's fields."""
    fields = {name: field for name, field in model.model_fields.items() if name != "path" or model is not ModelConfig}
    if model is not Settings:
        head = "| Key | Default | Meaning |\n| --- | --- | --- |\n"
        return head + "".join(_row(f"`{name}`", default(field), field.description) for name, field in fields.items())
    head = "| Name | Variable | Flag | Default | Meaning |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(
        _row(f"`{name}`", f"`{variable(name)}`", f"`{flag(name)}`", default(field), field.description)
        for name, field in fields.items()
    )


def default(field: Any) -> str:
    """Return a field's default as a cell."""
    value = field.default
    if field.default_factory is not None or value is None or value == ():
        return ""
    return "required" if value is PydanticUndefined else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _row(*cells: str | None) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|\n"


def generated(text: str) -> str:
    """Return a page with its marked tables generated again."""
    return MARKED.sub(lambda found: found["marker"] + table(MODELS[found["name"]]), text)


if __name__ == "__main__":
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if MARKED.search(text):
            page.write_text(generated(text), encoding="utf-8")
            print(page.relative_to(ROOT))
