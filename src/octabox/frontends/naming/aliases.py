"""Request fields for schedulers, LoRAs, prompts and workflows, the same in every protocol that takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, Field, field_validator

from octabox.config.memory.durations import Duration
from octabox.config.model import LoraConfig
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.prompts.names import Syntax
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.workflows import settings as workflows
from octabox.types import AdapterChoice, GenerationRequest

#: Maximum number of LoRAs in a request.
MAX_ADAPTERS = 32

#: Fields with a structured value; a form sends it as JSON, or as a name.
STRUCTURED = ("scheduler", "adapters", "styles", "workflow")


class ControlAliases(BaseModel):
    """Fields for schedulers, LoRAs, prompts and workflows."""

    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')
    adapters: list[LoraConfig] = Field(
        default_factory=list,
        max_length=MAX_ADAPTERS,
        description='LoRAs: names, or {"lora": name, "weight": 0.8, "weights": {"unet": 1, "text_encoder": 0}}.',
    )
    prompt_syntax: Syntax | None = Field(
        None,
        description="How prompts are parsed: plain, or with weights and wildcards as a1111 or compel; default: the model's.",
    )
    styles: list[str] = Field(default_factory=list, description="Names of styles to apply to the prompts.")
    workflow: dict[str, Any] = Field(
        default_factory=dict,
        description='Steps before and after the generation, such as {"hires": {"scale": 2}} or {"upscale": 4}.',
    )

    deterministic: bool = Field(
        default=False, description="Whether outputs must not depend on what else the server runs: no batch is shared."
    )
    keep_alive: Duration | None = Field(
        None,
        description="How long the model stays in memory without requests: seconds, a duration such as 5m, or never.",
    )

    @field_validator("adapters", mode="before")
    @classmethod
    def _adapters_by_name(cls, value: Any) -> Any:
        """Convert names to LoRAs with a weight of 1."""
        if not isinstance(value, list):
            return value
        return [{"lora": each} if isinstance(each, str) else each for each in value]

    @field_validator("adapters", "styles", "workflow", mode="before")
    @classmethod
    def _null_or_text(cls, value: Any, info: Any) -> Any:
        """Replace null by the default, and parse the text of a form as JSON or as one name."""
        if value is None:
            return cls.model_fields[info.field_name].get_default(call_default_factory=True)
        parsed = parse_json_or_text(value) if isinstance(value, str) else value
        return [parsed] if isinstance(parsed, str) and info.field_name != "workflow" else parsed

    def control_from_aliases(self, request: GenerationRequest) -> GenerationRequest:
        """Return a request with the values of these fields.

        Raises:
            RequestError: The scheduler object has no name.
        """
        return replace(
            request,
            scheduler=parse_scheduler_choice(self.scheduler) if self.scheduler else None,
            adapters=tuple(AdapterChoice(each.lora, each.weight, each.weights) for each in self.adapters),
            prompt_syntax=self.prompt_syntax,
            styles=tuple(self.styles),
            workflow=self.workflow,
            deterministic=self.deterministic,
            keep_alive=self.keep_alive,
        )


def inline_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a model with these fields, with their definitions inlined."""
    definitions = schema.pop("$defs")
    properties = schema["properties"]
    properties["adapters"]["items"] = {"anyOf": [{"type": "string"}, definitions.pop("LoraConfig")]}
    properties["workflow"] |= _workflow_schema()
    return {**schema, "$defs": definitions} if definitions else schema


def _workflow_schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow; a number sets the primary setting of a part."""
    schema = workflows.workflow_schema()
    definitions = schema["$defs"]

    def inlined(part: dict[str, Any], other: str) -> dict[str, Any]:
        return {"anyOf": [definitions[part["anyOf"][0]["$ref"].rpartition("/")[2]], {"type": other}]}

    properties = {
        name: {"type": "array", "items": inlined(each["items"], "null")} if "items" in each else inlined(each, "number")
        for name, each in schema["properties"].items()
    }
    return {"properties": properties, "additionalProperties": False}
