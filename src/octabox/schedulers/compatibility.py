"""Check from configurations whether a noise scheduler is compatible with a model, and derive its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from octabox.catalog.entries import Parameter, PipelineEntry, SchedulerEntry
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.signature import check_value
from octabox.errors import InvalidParameterError, UnknownParameterError, nearest
from octabox.schedulers.names import ResolvedAlias, load_table

#: Default prediction type: the noise.
PREDICTS_NOISE = "epsilon"

#: Prediction type of flow matching models.
PREDICTS_FLOW = "flow_prediction"

#: Setting of solvers that can run to a final sigma of zero.
FINAL_SIGMAS = "final_sigmas_type"

#: Name of the scheduler component of a pipeline.
COMPONENT = "scheduler"

#: Largest integer of a setting, so that tables of this many steps fit in memory.
MAX_INTEGER = 100_000


@dataclass(frozen=True)
class ModelTraits:
    """The traits of a model that decide which schedulers are compatible.

    Args:
        default_class: Class of its default scheduler.
        config: Configuration of its default scheduler.
        pipeline: Class of its pipeline, if known.
    """

    default_class: str
    config: Mapping[str, Any]
    pipeline: PipelineEntry | None = None

    @property
    def matches_flows(self) -> bool:
        """Whether the model was trained with flow matching."""
        is_flow = self.config.get("prediction_type") == PREDICTS_FLOW or bool(self.config.get("use_flow_sigmas"))
        return is_flow or (self.config.get("shift") is not None and self.config.get("beta_schedule") is None)

    @property
    def prediction(self) -> str:
        """Prediction type of the model."""
        return str(self.config.get("prediction_type") or PREDICTS_NOISE)


def check_settings(name: str, scheduler: ResolvedAlias, entry: SchedulerEntry, settings: Mapping[str, Any]) -> None:
    """Check settings against the constructor and the step of a scheduler.

    Args:
        name: Requested name of the scheduler.
        scheduler: The resolved scheduler.
        entry: Its class.
        settings: Settings of the request.

    Raises:
        UnknownParameterError: The class has no such setting, or does not support the schedule.
        InvalidParameterError: A value has the wrong type.
    """
    settable = {setting.name: setting for setting in (*entry.step_settings, *entry.settings)}
    known = [each.name for each in (*entry.settings, *entry.step_settings)]
    available = f"It has {', '.join(known)}." if known else "It has no settings."
    for key, value in scheduler.settings.items():
        setting = settable.get(key)
        if setting is None and key in settings:
            like = nearest(key, known)
            hint = f"Did you mean {' or '.join(like)}? {available}" if like else available
            message = f"{entry.name} has no setting {key!r}."
            raise UnknownParameterError(message, hint=hint, parameter="scheduler", choices=known)
        if setting is None:
            message = f"Scheduler {name!r} requires {key!r}, a setting that {entry.name} does not have."
            hint = f"Omit this part of the name, or choose another scheduler. {available}"
            raise UnknownParameterError(message, hint=hint, parameter="scheduler", choices=known)
        try:
            check_value(setting, value)
        except InvalidParameterError as error:
            message = f"{entry.name}: {error.message}"
            raise InvalidParameterError(message, parameter="scheduler", choices=error.choices) from None
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            message = f"{entry.name}: {key} must be from -{MAX_INTEGER} to {MAX_INTEGER}, not {value}."
            raise InvalidParameterError(message, parameter="scheduler")


def schedule_timesteps(name: str, scheduler: ResolvedAlias, entry: SchedulerEntry, family: str) -> tuple[int, ...]:
    """Return the custom timesteps of a schedule for a model family; empty if the schedule has none.

    Raises:
        InvalidParameterError: It has none for this family, or the class does not accept custom timesteps.
    """
    if scheduler.schedule is None or not scheduler.schedule.timesteps:
        return ()
    prefix = f"Scheduler {name!r} uses the schedule {scheduler.schedule.name!r}"
    if not entry.timesteps:
        message = f"{prefix}, which {entry.name} does not support: it accepts no custom timesteps."
        raise InvalidParameterError(message, hint="Choose another scheduler or schedule.", parameter="scheduler")
    if family not in scheduler.schedule.timesteps:
        families = ", ".join(scheduler.schedule.timesteps)
        message = f"{prefix}, which exists for {families}, not for {family or 'this model'}."
        raise InvalidParameterError(message, hint="Choose another schedule.", parameter="scheduler")
    return scheduler.schedule.timesteps[family]


@dataclass(frozen=True)
class SchedulerConfig:
    """The configuration of a new scheduler.

    Args:
        inherited: Settings from the configuration of the default scheduler.
        overrides: Settings that replace inherited ones.
        extra: Inherited settings that its constructor does not accept, but a pipeline may read.
    """

    inherited: Mapping[str, Any]
    overrides: Mapping[str, Any]
    extra: Mapping[str, Any]


def scheduler_config(entry: SchedulerEntry, traits: ModelTraits, settings: Mapping[str, Any]) -> SchedulerConfig:
    """Return the configuration of a new scheduler for a model.

    Args:
        entry: The scheduler class.
        traits: Traits of the model.
        settings: Settings of the request.
    """
    known = {setting.name: setting for setting in entry.settings}
    inherited: dict[str, Any] = {}
    for name, value in traits.config.items():
        # Choices that only the default class has, such as its `solver_type`, are not inherited.
        choices = known[name].choices if name in known else ()
        if (name in known or name.startswith("_")) and (value is None or not choices or value in choices):
            inherited[name] = value
    extra = {name: value for name, value in traits.config.items() if name not in known and not name.startswith("_")}
    overrides: dict[str, Any] = {}
    if traits.matches_flows and entry.name != traits.default_class:
        overrides = _flow_settings(entry, traits)
    exclusive = load_table()["exclusive"]
    if any(settings.get(flag) for flag in exclusive) or "timestep_spacing" in settings:
        # A requested schedule replaces that of the model.
        overrides |= {flag: False for flag in exclusive if inherited.get(flag) and entry.setting(flag)}
    own = {name: value for name, value in settings.items() if name not in step_values(entry, settings)}
    return SchedulerConfig(inherited, {**overrides, **own}, extra)


def step_values(entry: SchedulerEntry, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that each step takes, not the constructor."""
    return {each.name: settings[each.name] for each in entry.step_settings if each.name in settings}


def _flow_settings(entry: SchedulerEntry, traits: ModelTraits) -> dict[str, Any]:
    """Return the settings for flow matching, with the shift of the model."""
    shift = traits.config.get("shift", traits.config.get("flow_shift"))
    flow = {"use_flow_sigmas": True, "prediction_type": PREDICTS_FLOW, "flow_shift": shift, "shift": shift}
    return {name: value for name, value in flow.items() if entry.setting(name) and value is not None}


class IncompatibilityCause(Enum):
    """What about a scheduler is incompatible with a model."""

    SETTINGS = "settings"
    DIRECTION = "direction"
    STEP = "step"
    FLOW_MATCHING = "flow matching"
    NOISE = "noise"
    PIPELINE = "pipeline"


@dataclass(frozen=True)
class Incompatibility:
    """Why a scheduler cannot work with a model.

    Args:
        cause: What is incompatible.
        reason: The reason, as the end of a sentence about the scheduler.
    """

    cause: IncompatibilityCause
    reason: str

    def error(self, scheduler: str, traits: ModelTraits) -> InvalidParameterError:
        """Return the error for a request of this scheduler."""
        return InvalidParameterError(
            f"Scheduler {scheduler} does not fit this model: {self.reason}.",
            hint=f"The default scheduler of the model is {traits.default_class}.",
            parameter="scheduler",
        )


def incompatibility(
    entry: SchedulerEntry, traits: ModelTraits, settings: Mapping[str, Any], pipelines: Iterable[PipelineEntry] = ()
) -> Incompatibility | None:
    """Return why a scheduler cannot work with a model; None if it can.

    Args:
        entry: The class of the scheduler.
        traits: The model.
        settings: The requested settings.
        pipelines: All pipelines, which declare the schedulers that they are made for.
    """
    conflicts = _conflicts(entry, traits, settings, pipelines)
    return next((Incompatibility(cause, reason) for cause, reason in conflicts if reason is not None), None)


def _conflicts(
    entry: SchedulerEntry, traits: ModelTraits, settings: Mapping[str, Any], pipelines: Iterable[PipelineEntry]
) -> Iterator[tuple[IncompatibilityCause, str | None]]:
    """Yield the reasons of all checks, in order; None for those that pass."""
    yield IncompatibilityCause.SETTINGS, _settings_conflict(entry, traits, settings)
    if entry.name == traits.default_class:
        return
    yield IncompatibilityCause.DIRECTION, "it inverts an image into noise" if entry.reverses else None
    made_for_it = traits.pipeline is not None and entry.name in _annotated_schedulers(traits.pipeline)
    yield IncompatibilityCause.STEP, _step_conflict(entry, made_for_it=made_for_it)
    if traits.matches_flows:
        yield IncompatibilityCause.FLOW_MATCHING, _flow_conflict(entry, traits)
    else:
        yield IncompatibilityCause.NOISE, _noise_conflict(entry, traits)
    if not (made_for_it or entry.setting("beta_schedule") or entry.setting("sigma_schedule")):
        others = [each.name for each in pipelines if entry.name in _annotated_schedulers(each)]
        yield IncompatibilityCause.PIPELINE, f"it is made for {others[0]}" if others else None


def _step_conflict(entry: SchedulerEntry, *, made_for_it: bool) -> str | None:
    """Return why the pipeline of a model cannot call the steps of a scheduler."""
    if entry.step_needs == ("step",):
        return "it has no method 'step'"
    if entry.step_needs and not made_for_it:
        needs = ", ".join(f"'{name}'" for name in entry.step_needs)
        return f"its step requires {needs}, which only the pipelines for this scheduler pass"
    return None


def _settings_conflict(entry: SchedulerEntry, traits: ModelTraits, settings: Mapping[str, Any]) -> str | None:
    """Return which requested setting contradicts the training of the model."""
    flags = [flag for flag in (*load_table()["exclusive"], "timestep_spacing") if settings.get(flag)]
    if traits.matches_flows and flags and entry.setting("use_flow_sigmas"):
        return f"'{flags[0]}' is for models that predict noise, and this one was trained by flow matching"
    if settings.get("use_flow_sigmas") and not traits.matches_flows:
        return "'use_flow_sigmas' is for models that were trained by flow matching, and this one predicts noise"
    return None


def _flow_conflict(entry: SchedulerEntry, traits: ModelTraits) -> str | None:
    """Return why a scheduler cannot work with a model that was trained by flow matching."""
    if not entry.setting("shift") and not (entry.setting("use_flow_sigmas") and entry.setting("prediction_type")):
        return "the model was trained by flow matching, which it does not support"
    if not entry.setting("shift") and not entry.setting(FINAL_SIGMAS):
        # The last noise level of the others is the one before, which is close to zero only for models that predict noise.
        return f"it does not reach a sigma of zero: it has no setting '{FINAL_SIGMAS}'"
    if traits.pipeline is not None and traits.pipeline.sigmas and not entry.sigmas:
        return f"{traits.pipeline.name} passes custom sigmas, which it does not accept"
    missing = [name for name in load_table()["flow"] if traits.config.get(name) and not entry.setting(name)]
    return f"it has no setting '{missing[0]}', which the model requires" if missing else None


def _noise_conflict(entry: SchedulerEntry, traits: ModelTraits) -> str | None:
    """Return why a scheduler cannot remove the noise that a model was trained on."""
    noise = {name: traits.config.get(name) for name in load_table()["noise"]}
    for name, value in noise.items():
        reason = None if value in (None, False) else _value_conflict(entry.setting(name), name, value)
        if reason is not None:
            return reason
    foreign = [name for name in load_table()["kinds"] if entry.setting(name) and traits.config.get(name) is None]
    if foreign:
        return f"it has a setting '{foreign[0]}', which the default scheduler of the model does not have"
    known = entry.setting("prediction_type")
    if known is None and traits.prediction != PREDICTS_NOISE:
        return f"the model predicts '{traits.prediction}', and it has no setting 'prediction_type'"
    if known is not None and known.choices and traits.prediction not in known.choices:
        return f"the model predicts '{traits.prediction}', and it supports only {', '.join(map(repr, known.choices))}"
    return None


def _value_conflict(setting: Parameter | None, name: str, value: object) -> str | None:
    """Return why a scheduler cannot have the value of a setting that a model was trained with."""
    if setting is None:
        return f"it has no setting '{name}', which the model was trained with"
    if setting.choices and value not in setting.choices:
        return f"its '{name}' cannot be {value!r}, which the model was trained with"
    if name in load_table()["alike"] and setting.default != value:
        return f"its '{name}' is {setting.default}, and the model was trained with {value}"
    return None


def _annotated_schedulers(pipeline: PipelineEntry) -> frozenset[str]:
    """Return the schedulers in the annotations of the constructor of a pipeline."""
    found = (part.annotation for part in pipeline.components if part.name == COMPONENT)
    return frozenset(leaf for annotation in found for leaf in parse_annotation(annotation).leaves)
