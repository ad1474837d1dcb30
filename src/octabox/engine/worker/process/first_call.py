"""Compile a model while it is loaded, by a call of few steps at the size that requests have by default."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.batches.probe import few_steps
from octabox.engine.worker.inputs.sizes import complete_size
from octabox.engine.worker.placement.device_errors import hardware_cause
from octabox.engine.worker.placement.recovery import clean_up, clear_frames
from octabox.engine.worker.trial import ReportingRunner
from octabox.types import Progress

logger = logging.getLogger("octabox.performance")

#: The text of the call: compiled code does not depend on it.
TEXT = "a photo"


def compile_by_call(runner: ReportingRunner, publish: Callable[[Progress], None]) -> None:
    """Compile a model by a short call of its class, if it is to be compiled.

    What fails is left to the first request, whose response has a warning.

    Args:
        runner: Runs the calls of the model.
        publish: Receives the progress, with the phase ``compiling``.

    Raises:
        Exception: The device has failed.
    """
    if runner.performance.compiles and (reason := _compile(runner, publish)):
        runner.performance.add_warning(f"The model is compiled in its first request: {reason}.")


def _compile(runner: ReportingRunner, publish: Callable[[Progress], None]) -> str:
    """Return why the model is compiled in its first request; empty where the call has ended."""
    start = runner.start
    entry = load_catalog().pipeline(start.pipeline)
    params = short_params(start.model.defaults, entry)
    if params is None:
        return "a request of this class needs inputs other than texts"
    call = Call("", start.model, entry.name, entry.name, next(iter(entry.tasks), ""), (Run(params),))
    publish(Progress("compiling"))
    try:
        runner.note_state()
        _run(runner, call, publish)
    except Exception as error:
        if (found := hardware_cause(error)) and found[0] == "device":
            raise
        logger.warning("%s: the call that compiles the model has failed: %s", start.model.name, error, exc_info=error)
        clear_frames(error)
    else:
        return ""
    # Only here, after the exception is deleted, nothing references the tensors of the failed call.
    clean_up(runner.pipelines, runner.device, runner.state)
    return "a short call has failed while the model was loaded, and the log has the reason"


def _run(trial: ReportingRunner, call: Call, publish: Callable[[Progress], None]) -> None:
    """Run a call for what it compiles, without its outputs and warnings."""
    runner, (run,) = trial.runner, call.runs
    target = runner.targets[call.runs_as]
    try:
        with trial.performance.running(target.pipe, publish):
            runner.apply_loras(call, run, [])
            runner.reset_pipeline(target, call)
            run = replace(run, params=complete_size(target.pipe, target.entry, run.params, run.inputs))
            runner.run_once(target, call, run, lambda *_: None, [])
    finally:
        runner.clear_prompt_cache()


def short_params(defaults: Mapping[str, Any], entry: PipelineEntry) -> dict[str, Any] | None:
    """Return the parameters of a call of few steps; None if the class requires inputs that are not texts.

    Args:
        defaults: The parameters of a model's configuration, of which plain values are used.
        entry: The class.
    """
    params = {
        name: value
        for name, value in defaults.items()
        if isinstance(value, int | float | str) and (known := entry.parameter(name)) and not known.is_file
    }
    required = [(each.name,) for each in entry.parameters if each.required]
    for names in (*required, *entry.one_of):
        if not any(name in params for name in names):
            texts = [name for name in names if (known := entry.parameter(name)) and known.kind == "text"]
            if not texts:
                return None
            params[texts[0]] = TEXT
    return {**params, **few_steps(params, entry)}
