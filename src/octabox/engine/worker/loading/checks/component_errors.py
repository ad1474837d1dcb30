"""Name the component in the errors of the libraries, most of which name neither it nor its folder, and limit its size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers.pipelines import pipeline_utils

from octabox.config.model import ModelConfig
from octabox.engine.replacement import replaced
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.loading.checks.parameter_limit import limit_parameters


@contextmanager
def named_component(config: ModelConfig, component: str, place: str | Path) -> Iterator[None]:
    """Within the context, raise exceptions of the libraries as errors that name a component.

    Args:
        config: The model's configuration.
        component: Name of the component.
        place: Its folder or file.

    Raises:
        OctaboxError: It cannot be loaded.
    """
    try:
        with limit_parameters(config.name, component, Path(place)):
            yield
    except Exception as error:
        raise to_load_error(error, config, f"{component} in {place}") from error


@contextmanager
def named_components(config: ModelConfig) -> Iterator[None]:
    """Within the context, do the same for each component that diffusers loads from the folder of a model."""
    original: Callable[..., Any] = pipeline_utils.load_sub_model

    def load_sub_model(*args: Any, **options: Any) -> Any:
        name = str(options["name"])
        with named_component(config, name, Path(str(options["cached_folder"])) / name):
            return original(*args, **options)

    with replaced(pipeline_utils, load_sub_model.__name__, load_sub_model):
        yield
