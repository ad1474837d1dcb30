"""The settings of a noise scheduler as a JSON Schema for a form: those that fit a model, with the values that it has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from octabox.catalog.entries import Parameter, SchedulerEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.values.schemas import property_schema
from octabox.errors import OctaboxError
from octabox.schedulers.compatibility import (
    ModelTraits,
    check_settings,
    incompatibility,
    schedule_timesteps,
    scheduler_config,
)
from octabox.schedulers.listing import supported_schedules
from octabox.schedulers.names import SCHEDULE, load_table, resolve_scheduler, schedules
from octabox.service.forms.hints import KEYWORD, control_of
from octabox.service.model_schedulers import traits_of
from octabox.service.served_model import ServedModel

#: Kinds of settings that a form has a control for.
KINDS = frozenset({"integer", "number", "boolean", "choice", "text"})

#: Order of the controls: choices first.
CONTROLS = ("choice", "switch", "slider", "number", "text")


def settings_schema(name: str, catalog: Catalog, model: ServedModel | None = None) -> dict[str, Any]:
    """Return the JSON Schema of the settings of a scheduler; of a model, those that fit it.

    A default is the value that the scheduler has without the setting: that of its name, its class or the model's configuration.
    Values that the checks of a request refuse are left out, and so is a setting without another value.

    Args:
        name: A name of the scheduler.
        catalog: All pipelines and schedulers.
        model: The model; None if it is not known.

    Raises:
        SchedulerNotFoundError: No scheduler has this name.
        LoadError: The files of the model are broken or cannot be fetched.
    """
    form = _SettingsForm(name, catalog, traits_of(model, catalog) if model else None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": form.entry.name,
        "type": "object",
        "properties": dict(form.properties()),
        "additionalProperties": False,
    }


class _SettingsForm:
    """The form of a scheduler.

    Args:
        name: A name of the scheduler.
        catalog: All pipelines and schedulers.
        traits: The traits of a model, if it is known.
    """

    def __init__(self, name: str, catalog: Catalog, traits: ModelTraits | None) -> None:
        self._name, self._catalog, self._traits = name, catalog, traits
        self._resolved = resolve_scheduler(name, {}, catalog.schedulers)
        self.entry: SchedulerEntry = catalog.schedulers[self._resolved.kind]
        self._values = self._start()
        table = load_table()
        self._trained = {*table["noise"], *table["flow"], *table["trained"]}

    def properties(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the properties: the schedule, and the settings in the order of a form."""
        offered = [each for each in supported_schedules(self.entry) if self._accepts({SCHEDULE: each})]
        if offered:
            selected = self._selected(offered)
            default = {"default": selected} if selected else {}
            hints = {"group": "sampling", "order": 0, "control": "choice", "many": False, "advanced": False}
            yield SCHEDULE, {"enum": offered, **default, KEYWORD: hints}
        # The switches of schedules are set by the choice of one.
        switches = {name for each in offered for name, value in schedules()[each].settings.items() if value is True}
        settings = [each for each in (*self.entry.settings, *self.entry.step_settings) if self._is_settable(each)]
        for index, each in enumerate(each for each in settings if each.name not in switches):
            schema = self._property(each)
            if schema is not None:
                yield each.name, {**schema, KEYWORD: self._hints(each, schema, index)}

    def _selected(self, offered: list[str]) -> str | None:
        """Return the schedule of the name, or the one that the model's configuration switches on; None without any."""
        if self._resolved.schedule:
            return self._resolved.schedule.name
        for each in offered:
            if any(value is True and self._values.get(name) for name, value in schedules()[each].settings.items()):
                return each
        return None

    def _is_settable(self, setting: Parameter) -> bool:
        """Return whether a form can have a setting: it has an effect, and is one value."""
        return setting.kind in KINDS and not setting.many and setting.name not in self.entry.unread

    def _property(self, setting: Parameter) -> dict[str, Any] | None:
        """Return the schema of a setting; None if the model accepts no other value than the present one."""
        schema = {**property_schema(setting), **setting.range.to_json_schema()}
        schema.pop("default", None)
        value = self._values.get(setting.name)
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            schema["default"] = value
        if setting.choices:
            choices = [each for each in setting.choices if each == value or self._accepts({setting.name: each})]
            schema.pop("anyOf", None)
            return {**schema, "enum": choices} if len(choices) > 1 else None
        if setting.kind == "boolean":
            return schema if self._accepts({setting.name: not value}) else None
        return schema

    def _hints(self, setting: Parameter, schema: Mapping[str, Any], index: int) -> dict[str, Any]:
        """Return the control of a setting, its place, and whether few requests set it."""
        control = control_of(setting, schema)
        order = (CONTROLS.index(control) + 1) * 1000 + index if control in CONTROLS else 9999
        advanced = setting.name in self._trained or (control != "choice" and "default" not in schema)
        return {"group": "sampling", "order": order, "control": control, "many": False, "advanced": advanced}

    def _start(self) -> dict[str, Any]:
        """Return the value of each setting of a request that sets none."""
        settings = (*self.entry.settings, *self.entry.step_settings)
        values = {each.name: each.default for each in settings if each.literal and not each.required}
        if self._traits is None:
            return {**values, **self._resolved.settings}
        config = scheduler_config(self.entry, self._traits, self._resolved.settings)
        return {**values, **config.inherited, **config.overrides, **self._resolved.settings}

    def _accepts(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a request with these settings is accepted."""
        traits = self._traits
        family = traits.pipeline.family if traits and traits.pipeline else ""
        try:
            resolved = resolve_scheduler(self._name, settings, self._catalog.schedulers)
            check_settings(self._name, resolved, self.entry, settings)
            if traits is not None:
                schedule_timesteps(self._name, resolved, self.entry, family)
        except OctaboxError:
            return False
        pipelines = self._catalog.pipelines.values()
        return traits is None or incompatibility(self.entry, traits, resolved.settings, pipelines) is None
