"""Run several runs in one call of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from octabox.engine.protocol import Call, Run
from octabox.engine.worker.batches.outputs import divide_output
from octabox.engine.worker.inputs.joining import join_runs
from octabox.engine.worker.inputs.sizes import complete_size, size_of_image
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.outputs.parser import split_fields
from octabox.engine.worker.prompts.parsed import ParsedPrompt, parse_prompts
from octabox.engine.worker.runner import Runner, embedding_warnings
from octabox.engine.worker.steps import OnStep
from octabox.engine.worker.targets import Target
from octabox.errors import RequestError


class JoinedRunner:
    """Runs runs of a loaded model together.

    Args:
        runner: Runs single runs.
        model: The model.
    """

    def __init__(self, runner: Runner, model: LoadedModel) -> None:
        self._runner, self._model = runner, model

    def is_plain(self, target: Target, call: Call, run: Run) -> bool:
        """Return whether the pipeline encodes the prompts of a run itself, so that they do not affect those of others."""
        try:
            return self._runner.prompt_hooks(target, parse_prompts(run.params, call.prompt_syntax), run).is_plain
        except RequestError:
            return False  # Its own call reports it.

    def run(
        self, target: Target, call: Call, runs: Sequence[Run], on_step: OnStep, messages: Sequence[list[str]]
    ) -> list[dict[str, Any]]:
        """Run runs in one call of the pipeline, one run as a single one, and return the fields of the output of each.

        Args:
            target: The pipeline, which was reset for the call.
            call: One of their calls.
            runs: The runs.
            on_step: Called after each step.
            messages: Receive the warnings of each.
        """
        shared: list[str] = []
        if len(runs) == 1:
            output = self._runner.run_once(target, call, runs[0], on_step, messages[0])
            return [split_fields(output, target.entry)]
        parsed = [parse_prompts(run.params, call.prompt_syntax) for run in runs]
        texts = [{name: each.text for name, each in prompts.items()} for prompts in parsed]
        plain = [replace(run, params={**run.params, **own}) for run, own in zip(runs, texts, strict=True)]
        size = size_of_image(target.pipe, target.entry, runs[0].params, runs[0].inputs)
        joined = join_runs(target.entry, plain)
        joined = replace(joined, params={**joined.params, **size})
        hooks = self._runner.prompt_hooks(target, _all_prompts(parsed), joined)
        output = self._runner.run_prompted(target, joined, hooks, on_step, shared)
        for prompts, own_messages in zip(parsed, messages, strict=True):
            own_messages.extend(each for prompt in prompts.values() for each in prompt.warnings)
            own_messages.extend(embedding_warnings(self._model, [each.text for each in prompts.values()]))
            own_messages.extend(shared)
        return divide_output(split_fields(output, target.entry), len(runs))


def complete_run(target: Target, run: Run) -> Run:
    """Return a run with the side that its size lacks."""
    return replace(run, params=complete_size(target.pipe, target.entry, run.params, run.inputs))


def _all_prompts(parsed: Sequence[Mapping[str, ParsedPrompt]]) -> dict[str, ParsedPrompt]:
    """Return the prompts of all members, without the warnings, which concern each alone."""
    return {
        f"{index} {name}": replace(prompt, warnings=())
        for index, prompts in enumerate(parsed)
        for name, prompt in prompts.items()
    }
