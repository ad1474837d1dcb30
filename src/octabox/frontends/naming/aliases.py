"""What steers a request besides its call parameters, in the same words on every wire that takes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, Field, field_validator

from octabox.config.model import LoraConfig
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.prompts.names import Syntax
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.workflows import settings as workflows
from octabox.types import AdapterChoice, GenerationRequest

#: LoRAs that one request may name.
MOST_ADAPTERS = 32

#: Fields that hold something with a shape; in a form their text is JSON, or a name alone.
STRUCTURED = ("scheduler", "adapters", "styles", "workflow")


class ControlAliases(BaseModel):
    """Fields for schedulers, LoRAs, prompts and workflows."""

    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')
    adapters: list[LoraConfig] = Field(
        default_factory=list,
        max_length=MOST_ADAPTERS,
        description='LoRAs: names, or {"lora": name, "weight": 0.8, "weights": {"unet": 1, "text_encoder": 0}}.',
    )
    prompt_syntax: Syntax | None = Field(
        None,
        description="How prompts are read: plain, or with weights and wildcards as a1111 or compel; the model's own else.",
    )
    styles: list[str] = Field(default_factory=list, description="Names of styles that are laid over the prompts.")
    workflow: dict[str, Any] = Field(
        default_factory=dict,
        description='What is done before and after, such as {"hires": {"scale": 2}} or {"upscale": 4}.',
    )

    @field_validator("adapters", mode="before")
    @classmethod
    def _adapters_by_name(cls, value: Any) -> Any:
        """Take a name for a LoRA of full strength."""
        if not isinstance(value, list):
            return value
        return [{"lora": each} if isinstance(each, str) else each for each in value]

    @field_validator("adapters", "styles", "workflow", mode="before")
    @classmethod
    def _null_or_text(cls, value: Any, info: Any) -> Any:
        """Take null for not given, and the text of a form for the JSON that it is, or for one name; before all others."""
        if value is None:
            return cls.model_fields[info.field_name].get_default(call_default_factory=True)
        meant = parse_json_or_text(value) if isinstance(value, str) else value
        return [meant] if isinstance(meant, str) and info.field_name != "workflow" else meant

    def control_from_aliases(self, request: GenerationRequest) -> GenerationRequest:
        """Return a request with what these fields say.

        Raises:
            RequestError: The scheduler has no name.
        """
        return replace(
            request,
            scheduler=parse_scheduler_choice(self.scheduler),
            adapters=tuple(AdapterChoice(each.lora, each.weight, each.weights) for each in self.adapters),
            prompt_syntax=self.prompt_syntax,
            styles=tuple(self.styles),
            workflow=self.workflow,
        )


def documented(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a shape with these fields, in which the parts of all of them stand in their places."""
    parts = schema.pop("$defs")
    properties = schema["properties"]
    properties["adapters"]["items"] = {"anyOf": [{"type": "string"}, parts.pop("LoraConfig")]}
    properties["workflow"] |= _workflow_schema()
    return {**schema, "$defs": parts} if parts else schema


def _workflow_schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow; a number stands for the chief setting of a part."""
    whole = workflows.workflow_schema()
    parts = whole["$defs"]
    names = {name: each["anyOf"][0]["$ref"].rpartition("/")[2] for name, each in whole["properties"].items()}
    properties = {name: {"anyOf": [parts[part], {"type": "number"}]} for name, part in names.items()}
    return {"properties": properties, "additionalProperties": False}
