"""Set up the scheduler of a model as its single file states."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from octabox.catalog.loading import import_class
from octabox.config.model import ModelConfig
from octabox.errors import LoadError
from octabox.hub.checkpoints.predictions import SchedulerStatement, stated_scheduler
from octabox.schedulers.compatibility import COMPONENT


def apply_stated_scheduler(pipe: Any, config: ModelConfig) -> SchedulerStatement:
    """Change the scheduler of a pipeline to what its single file states; the configuration of the model takes precedence.

    Args:
        pipe: The loaded pipeline.
        config: The model's configuration.
    """
    scheduler = getattr(pipe, COMPONENT, None)
    if scheduler is None or COMPONENT in config.components:
        return SchedulerStatement()
    current = dict(scheduler.config)
    known = inspect.signature(type(scheduler).__init__).parameters
    stated = stated_scheduler(Path(config.model), current, known, config.scheduler_settings)
    settings = dict(stated.settings)
    name = settings.pop("_class_name", None)
    if name or any(current.get(key) != value for key, value in settings.items()):
        cls: Any = import_class(name) if name else type(scheduler)
        pipe.register_modules(scheduler=cls.from_config(current, **settings))
    return stated


def apply_configured_settings(pipe: Any, config: ModelConfig) -> None:
    """Change the scheduler of a pipeline by the settings in the configuration of the model.

    Args:
        pipe: The loaded pipeline.
        config: The model's configuration.

    Raises:
        LoadError: The pipeline has no noise scheduler, or the scheduler lacks a setting.
    """
    settings = config.own_scheduler_settings
    scheduler = getattr(pipe, COMPONENT, None)
    if not settings:
        return
    known = inspect.signature(type(scheduler).__init__).parameters if scheduler is not None else {}
    lacking = sorted(settings.keys() - set(known))
    if lacking or scheduler is None:
        subject = (
            f"{type(scheduler).__name__} has no setting"
            if scheduler is not None
            else f"{type(pipe).__name__} has no scheduler for"
        )
        raise LoadError(
            f"Model '{config.name}': {subject} `{lacking[0]}`.", hint=f"Remove `{lacking[0]}`.", model=config.name
        )
    cls: Any = type(scheduler)
    pipe.scheduler = cls.from_config(dict(scheduler.config), **settings)


def stated_notes(stated: SchedulerStatement) -> tuple[str, ...]:
    """Return a note about what a file states; none if it states nothing."""
    if not stated.sources:
        return ()
    settings = ", ".join(f"{name}: {value}" for name, value in stated.settings.items() if name != "_class_name")
    return (
        f"The scheduler follows the file, by {' and '.join(stated.sources)}: {settings}. Set `scheduler` to change it.",
    )
