"""Tell from configurations alone whether a noise scheduler can undo what a model was trained with, and by which settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from octabox.catalog.entries import Parameter, PipelineEntry, SchedulerEntry
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.signature import check_value
from octabox.errors import InvalidParameterError, UnknownParameterError, nearest
from octabox.schedulers.names import ResolvedScheduler, load_table

#: What a model was trained to predict where its scheduler's configuration does not say: the noise.
PREDICTS_NOISE = "epsilon"

#: What a model that matches flows predicts.
PREDICTS_FLOW = "flow_prediction"

#: The setting of solvers that can go on until no noise is left.
LAST = "final_sigmas_type"

#: The component of a pipeline that is meant.
COMPONENT = "scheduler"

#: Largest whole number of a setting: a table of so many steps still fits in memory.
LARGEST = 100_000


@dataclass(frozen=True)
class ModelTraits:
    """A model, as far as schedulers are concerned.

    Args:
        own: Class of its own scheduler.
        config: That one's configuration, as the model came with it.
        pipeline: Class of its pipeline, where that is known.
    """

    default_class: str
    config: Mapping[str, Any]
    pipeline: PipelineEntry | None = None

    @property
    def matches_flows(self) -> bool:
        """Whether the model was trained by flow matching."""
        told = self.config.get("prediction_type") == PREDICTS_FLOW or bool(self.config.get("use_flow_sigmas"))
        return told or (self.config.get("shift") is not None and self.config.get("beta_schedule") is None)

    @property
    def prediction(self) -> str:
        """What the model was trained to predict."""
        return str(self.config.get("prediction_type") or PREDICTS_NOISE)


def check_settings(name: str, meant: ResolvedScheduler, entry: SchedulerEntry, given: Mapping[str, Any]) -> None:
    """Check settings against the constructor that they are for.

    Args:
        name: What the scheduler was called.
        meant: What that means.
        entry: Its class.
        given: Settings that stood beside the name.

    Raises:
        UnknownParameterError: The class has no such setting, or cannot follow the schedule.
        InvalidParameterError: A value is of the wrong type.
    """
    known = [setting.name for setting in entry.settings]
    having = f"It has {', '.join(known)}." if known else "It has none."
    for key, value in meant.settings.items():
        setting = entry.setting(key)
        if setting is None and key in given:
            like = nearest(key, known)
            hint = f"Did you mean {' or '.join(like)}? {having}" if like else having
            message = f"{entry.name} has no setting {key!r}."
            raise UnknownParameterError(message, hint=hint, parameter="scheduler", choices=known)
        if setting is None:
            message = f"Scheduler {name!r} asks for {key!r}, a setting that {entry.name} does not have."
            hint = f"Choose it without that, or another scheduler. {having}"
            raise UnknownParameterError(message, hint=hint, parameter="scheduler", choices=known)
        try:
            check_value(setting, value)
        except InvalidParameterError as error:
            message = f"{entry.name}: {error.message}"
            raise InvalidParameterError(message, parameter="scheduler", choices=error.choices) from None
        if isinstance(value, int) and abs(value) > LARGEST:
            message = f"{entry.name}: {key} must be from -{LARGEST} to {LARGEST}, not {value}."
            raise InvalidParameterError(message, parameter="scheduler")


def schedule_timesteps(name: str, meant: ResolvedScheduler, entry: SchedulerEntry, family: str) -> tuple[int, ...]:
    """Return the timesteps that a schedule writes out for a family of models; none where it writes none.

    Raises:
        InvalidParameterError: It has none for this family, or the class cannot follow them.
    """
    if meant.schedule is None or not meant.schedule.timesteps:
        return ()
    title = f"Scheduler {name!r} follows the schedule {meant.schedule.name!r}"
    if not entry.timesteps:
        message = f"{title}, which {entry.name} cannot: it chooses its own timesteps."
        raise InvalidParameterError(message, hint="Choose another scheduler or schedule.", parameter="scheduler")
    if family not in meant.schedule.timesteps:
        families = ", ".join(meant.schedule.timesteps)
        message = f"{title}, which is known for {families}, not for {family or 'this model'}."
        raise InvalidParameterError(message, hint="Choose another schedule.", parameter="scheduler")
    return meant.schedule.timesteps[family]


@dataclass(frozen=True)
class SchedulerConfig:
    """What a scheduler is built of.

    Args:
        kept: What it takes over from the model's configuration.
        above: Settings that stand above that.
        beside: What its constructor does not know, but a pipeline may look up in its configuration.
    """

    inherited: Mapping[str, Any]
    overrides: Mapping[str, Any]
    extra: Mapping[str, Any]


def scheduler_config(entry: SchedulerEntry, subject: ModelTraits, settings: Mapping[str, Any]) -> SchedulerConfig:
    """Return what a scheduler is built of.

    Args:
        entry: The class.
        subject: The model.
        settings: What was asked for.
    """
    known = {setting.name: setting for setting in entry.settings}
    kept: dict[str, Any] = {}
    for name, value in subject.config.items():
        # Words that only the model's own class knows are of its own way of solving, such as its `solver_type`.
        choices = known[name].choices if name in known else ()
        if (name in known or name.startswith("_")) and (value is None or not choices or value in choices):
            kept[name] = value
    beside = {name: value for name, value in subject.config.items() if name not in known and not name.startswith("_")}
    above: dict[str, Any] = {}
    if subject.matches_flows and entry.name != subject.default_class:
        above = _flow_form(entry, subject)
    exclusive = load_table()["exclusive"]
    if any(settings.get(flag) for flag in exclusive) or "timestep_spacing" in settings:
        # A schedule that is asked for takes the place of the model's.
        above |= {flag: False for flag in exclusive if kept.get(flag) and entry.setting(flag)}
    return SchedulerConfig(kept, {**above, **settings}, beside)


def _flow_form(entry: SchedulerEntry, subject: ModelTraits) -> dict[str, Any]:
    """Return the settings that make a scheduler match flows, with the model's own shift."""
    shift = subject.config.get("shift", subject.config.get("flow_shift"))
    form = {"use_flow_sigmas": True, "prediction_type": PREDICTS_FLOW, "flow_shift": shift, "shift": shift}
    return {name: value for name, value in form.items() if entry.setting(name) and value is not None}


def incompatibility(
    entry: SchedulerEntry, subject: ModelTraits, settings: Mapping[str, Any], pipelines: Iterable[PipelineEntry] = ()
) -> str:
    """Return why a scheduler cannot work with a model; nothing where it can.

    Args:
        entry: The class.
        subject: The model.
        settings: What was asked for.
        pipelines: All pipelines, which tell what schedulers they are made for.
    """
    reason = _misfit_of_settings(entry, subject, settings)
    if reason or entry.name == subject.default_class:
        return reason
    if entry.reverses:
        return "it runs from the image to the noise"
    is_for_it = subject.pipeline is not None and entry.name in _made_for(subject.pipeline)
    if entry.step_needs == ("step",):
        return "it has no method 'step'"
    if entry.step_needs and not is_for_it:
        needs = ", ".join(f"'{name}'" for name in entry.step_needs)
        return f"each step of it needs {needs}, which only the pipelines that are made for it have"
    reason = _misfit_of_flows(entry, subject) if subject.matches_flows else _misfit_of_noise(entry, subject)
    if reason or is_for_it or entry.setting("beta_schedule") or entry.setting("sigma_schedule"):
        return reason
    others = [each.name for each in pipelines if entry.name in _made_for(each)]
    return f"it is made for {others[0]} and its kin" if others else ""


def _misfit_of_settings(entry: SchedulerEntry, subject: ModelTraits, settings: Mapping[str, Any]) -> str:
    """Return what was asked for that contradicts how the model was trained."""
    flags = [flag for flag in (*load_table()["exclusive"], "timestep_spacing") if settings.get(flag)]
    if subject.matches_flows and flags and entry.setting("use_flow_sigmas"):
        return f"'{flags[0]}' is for models that undo noise, and this one matches flows"
    if settings.get("use_flow_sigmas") and not subject.matches_flows:
        return "'use_flow_sigmas' is for models that match flows, and this one undoes noise"
    return ""


def _misfit_of_flows(entry: SchedulerEntry, subject: ModelTraits) -> str:
    """Return why a scheduler cannot work with a model that matches flows."""
    if not entry.setting("shift") and not (entry.setting("use_flow_sigmas") and entry.setting("prediction_type")):
        return "the model matches flows, and it cannot"
    if not entry.setting("shift") and not entry.setting(LAST):
        # The last noise level of the others is the one before, which is next to nothing only where noise is undone.
        return f"it stops short of the end of a flow: it has no setting '{LAST}'"
    if subject.pipeline is not None and subject.pipeline.sigmas and not entry.sigmas:
        return f"{subject.pipeline.name} hands it noise levels of its own, which it does not take"
    missing = [name for name in load_table()["flow"] if subject.config.get(name) and not entry.setting(name)]
    return f"it has no setting '{missing[0]}', which the model asks for" if missing else ""


def _misfit_of_noise(entry: SchedulerEntry, subject: ModelTraits) -> str:
    """Return why a scheduler cannot undo the noise that a model was trained on."""
    noise = {name: subject.config.get(name) for name in load_table()["noise"]}
    for name, value in noise.items():
        reason = "" if value in (None, False) else _misfit_of_value(entry.setting(name), name, value)
        if reason:
            return reason
    foreign = [name for name in load_table()["kinds"] if entry.setting(name) and subject.config.get(name) is None]
    if foreign:
        return f"it has a setting '{foreign[0]}', of which the model's own scheduler says nothing"
    known = entry.setting("prediction_type")
    if known is None and subject.prediction != PREDICTS_NOISE:
        return f"the model predicts '{subject.prediction}', and it has no setting 'prediction_type'"
    if known is not None and known.choices and subject.prediction not in known.choices:
        return f"the model predicts '{subject.prediction}', and it knows {', '.join(map(repr, known.choices))} only"
    return ""


def _misfit_of_value(setting: Parameter | None, name: str, value: object) -> str:
    """Return why a scheduler cannot be told what a model was trained with."""
    if setting is None:
        return f"it has no setting '{name}', which the model was trained with"
    if setting.choices and value not in setting.choices:
        return f"its '{name}' cannot be {value!r}, which the model was trained with"
    if name in load_table()["alike"] and setting.default != value:
        return f"its '{name}' is {setting.default}, and the model was trained with {value}"
    return ""


def _made_for(pipeline: PipelineEntry) -> frozenset[str]:
    """Return the schedulers that a pipeline's constructor names."""
    found = (part.annotation for part in pipeline.components if part.name == COMPONENT)
    return frozenset(leaf for annotation in found for leaf in parse_annotation(annotation).leaves)
