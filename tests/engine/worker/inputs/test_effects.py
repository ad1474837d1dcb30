"""Parameters without effect are found; none with an effect is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ModularPipeline

import makers
from calling import call, run
from makers import Tiny
from makers.verify import arguments
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import settable_parameters
from octabox.engine.worker.inputs.effects import effect_warnings
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.runner import Runner
from octabox.types import SchedulerChoice

STABLE = "StableDiffusionPipeline"
FLOW = "FluxPipeline"
PARAMS = {"prompt": "a red star", "num_inference_steps": 1, "height": 32, "width": 32}
SCALE = {"cross_attention_kwargs": {"scale": 0.2}}


@pytest.fixture(scope="module")
def runners() -> dict[str, Runner]:
    """Return runners of two tiny models."""
    found = {}
    for name in (STABLE, FLOW):
        pipe = makers.pipelines()[name].make()
        pipe.set_progress_bar_config(disable=True)
        found[name] = Runner(LoadedModel(pipe, "cpu"))
    return found


# The scheduler reads a tensor in a way that numpy has deprecated.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "params", "scheduler", "expected"),
    [
        (
            STABLE,
            {"guidance_scale": 1, "negative_prompt": "red"},
            "",
            ["'negative_prompt' has no effect with 'guidance_scale' 1."],
        ),
        (STABLE, {"guidance_scale": 2, "negative_prompt": "red"}, "", []),
        (STABLE, {"guidance_scale": 1, "negative_prompt": ""}, "", []),
        (STABLE, {"eta": 0.7}, "EulerDiscreteScheduler", ["'eta' has no effect with EulerDiscreteScheduler."]),
        (STABLE, {"eta": 0.7}, "DDIMScheduler", []),
        (
            STABLE,
            {"guidance_scale": 1, "guidance_rescale": 0.7},
            "",
            ["'guidance_rescale' has no effect with 'guidance_scale' 1."],
        ),
        (STABLE, {"guidance_rescale": 0.7}, "", []),
        (STABLE, SCALE, "", ["'cross_attention_kwargs' has no effect without a LoRA: it only scales LoRAs."]),
        (FLOW, {"negative_prompt": "red"}, "", ["'negative_prompt' has no effect with 'true_cfg_scale' 1.0."]),
        (FLOW, {"true_cfg_scale": 3.0}, "", ["'true_cfg_scale' has no effect without 'negative_prompt'."]),
        (FLOW, {"negative_prompt": "red", "true_cfg_scale": 3.0}, "", []),
    ],
)
def test_warnings(
    runners: dict[str, Runner], name: str, params: dict[str, Any], scheduler: str, expected: list[str]
) -> None:
    """The warning names the parameter, and what it has no effect with."""
    choice = SchedulerChoice(scheduler) if scheduler else None
    done = run(runners[name], call(name, {**PARAMS, **params}, scheduler=choice))

    assert expected == [each for each in done.warnings if "has no effect" in each]


def changed(parameter: Parameter, value: Any) -> Any:
    """Return another value of a parameter; None if there is no simple one."""
    current = parameter.default if value is None else value
    if parameter.kind == "text":
        return "another thing of many words"
    if parameter.kind == "boolean":
        return not current
    if parameter.kind == "integer" and isinstance(current, int):
        return current + 1
    return 1.5 * current + 0.3 if parameter.kind == "number" and isinstance(current, int | float) else None


def outputs(pipe: Any, params: dict[str, Any]) -> list[np.ndarray]:
    """Return all arrays of a call with one seed."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (the generator that pipelines use)
    seeded = {**params, "generator": torch.Generator().manual_seed(0)} if "generator" in params else params
    return list(arrays(pipe(**seeded)))


def arrays(value: Any) -> list[np.ndarray]:
    """Return the arrays in an output, whatever it is."""
    if hasattr(value, "items"):
        return [array for each in value.values() for array in arrays(each)]
    if isinstance(value, list | tuple):
        return [array for each in value for array in arrays(each)]
    if isinstance(value, torch.Tensor):
        return [value.float().numpy()]
    return [] if value is None or isinstance(value, str | bool) else [np.asarray(value)]


def without_effect(pipe: Any, entry: PipelineEntry, params: dict[str, Any]) -> dict[str, Any]:
    """Return the changed parameters that are said to have no effect, one by one."""
    found = {}
    for parameter in settable_parameters(entry):
        value = None if parameter.required else changed(parameter, params.get(parameter.name))
        if value is not None and effect_warnings(pipe, {**params, parameter.name: value}, {parameter.name: value}):
            found[parameter.name] = value
    return found


@pytest.mark.slow
# Warnings of the pipelines' own code and of weights that are random are no subject here.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tiny", makers.pipelines().values(), ids=makers.pipelines())
def test_no_parameter_with_an_effect_is_found(tiny: Tiny) -> None:
    """What is changed and said to have no effect leaves the outputs as they were, with guidance and without."""
    if tiny.missing or tiny.unsteady:
        pytest.skip(tiny.unsteady or f"needs {', '.join(tiny.missing)}")
    entry = load_catalog().pipelines.get(tiny.name)
    pipe = tiny.make()
    if entry is None or isinstance(pipe, ModularPipeline):
        pytest.skip("its source is not in the catalog, or it is made of blocks")
    pipe.set_progress_bar_config(disable=True)
    checked = 0
    for more in ({}, {"guidance_scale": 1.0} if entry.parameter("guidance_scale") else {}):
        params = {**arguments(entry, tiny.params), **more}
        found = without_effect(pipe, entry, params)
        before = attempt(pipe, params) if found else None
        for name, value in found.items():
            after = attempt(pipe, {**params, name: value})
            checked += 1
            # A value that the pipeline refuses is no silent one.
            assert before is None or after is None or same(before, after), name
    if not checked:
        pytest.skip("all its parameters have an effect")


def attempt(pipe: Any, params: dict[str, Any]) -> list[np.ndarray] | None:
    """Return all arrays of a call; None if the pipeline cannot be called like this, such as without guidance."""
    try:
        return outputs(pipe, params)
    except (RuntimeError, ValueError):
        return None


def same(before: list[np.ndarray], after: list[np.ndarray]) -> bool:
    """Return whether two calls have made the same."""
    pairs = zip(before, after, strict=True)
    return all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)
