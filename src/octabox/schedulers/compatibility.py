"""Tell from configurations alone whether a noise scheduler can undo what a model was trained with, and by which settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
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
            hint=f"The model's own is {traits.default_class}.",
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
    yield IncompatibilityCause.DIRECTION, "it runs from the image to the noise" if entry.reverses else None
    made_for_it = traits.pipeline is not None and entry.name in _made_for(traits.pipeline)
    yield IncompatibilityCause.STEP, _step_conflict(entry, made_for_it=made_for_it)
    if traits.matches_flows:
        yield IncompatibilityCause.FLOW_MATCHING, _flow_conflict(entry, traits)
    else:
        yield IncompatibilityCause.NOISE, _noise_conflict(entry, traits)
    if not (made_for_it or entry.setting("beta_schedule") or entry.setting("sigma_schedule")):
        others = [each.name for each in pipelines if entry.name in _made_for(each)]
        yield IncompatibilityCause.PIPELINE, f"it is made for {others[0]}" if others else None


def _step_conflict(entry: SchedulerEntry, *, made_for_it: bool) -> str | None:
    """Return why the pipeline of a model cannot call the steps of a scheduler."""
    if entry.step_needs == ("step",):
        return "it has no method 'step'"
    if entry.step_needs and not made_for_it:
        needs = ", ".join(f"'{name}'" for name in entry.step_needs)
        return f"each step of it needs {needs}, which only the pipelines that are made for it have"
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
    if not entry.setting("shift") and not entry.setting(LAST):
        # The last noise level of the others is the one before, which is close to zero only for models that predict noise.
        return f"it stops short of the end of a flow: it has no setting '{LAST}'"
    if traits.pipeline is not None and traits.pipeline.sigmas and not entry.sigmas:
        return f"{traits.pipeline.name} passes its own sigmas, which it does not take"
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
        return f"it has a setting '{foreign[0]}', which the model's own scheduler does not have"
    known = entry.setting("prediction_type")
    if known is None and traits.prediction != PREDICTS_NOISE:
        return f"the model predicts '{traits.prediction}', and it has no setting 'prediction_type'"
    if known is not None and known.choices and traits.prediction not in known.choices:
        return f"the model predicts '{traits.prediction}', and it knows {', '.join(map(repr, known.choices))} only"
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


def _made_for(pipeline: PipelineEntry) -> frozenset[str]:
    """Return the schedulers that a pipeline's constructor names."""
    found = (part.annotation for part in pipeline.components if part.name == COMPONENT)
    return frozenset(leaf for annotation in found for leaf in parse_annotation(annotation).leaves)
