"""What a pipeline cannot do with its arguments is stated in words about the request; torch's own are for the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from embedded import Calls
from octabox import errors
from octabox.config.model import ModelConfig
from octabox.engine.worker.failures import to_generation_error
from octabox.engine.worker.inputs.argument_errors import is_for_caller


def refuse() -> None:
    """Raise what a pipeline would."""
    message = "`strength` has to be below 1"
    raise ValueError(message)


def insist() -> None:
    """Fail in an assertion, as some pipelines do."""
    message: dict[str, str] = {}
    assert message, "`strength` is needed"


#: Failures of torch's operators, of torch's own Python code, and of Python.
INTERNAL: list[Callable[[], Any]] = [
    lambda: torch.zeros(2) + torch.zeros(3),
    lambda: torch.zeros(2, 3) @ torch.zeros(2, 3),
    lambda: torch.stack([]),
    lambda: torch.zeros(2)[5],
    lambda: torch.nn.functional.interpolate(torch.zeros(1, 1, 2), size=(3, 3)),
    lambda: torch.nn.Linear(2, 2)(torch.zeros(3)),
    lambda: torch.nn.Embedding(2, 2)(torch.tensor(9)),
    lambda: torch.tensor("a"),
    lambda: None + 1,  # type: ignore[operator]
    [].pop,
    lambda: dict[str, str]()["key"],
    lambda: int("many"),
    lambda: sorted(unknown=1),  # type: ignore[call-overload]
]


def raised_by(failing: Callable[[], Any]) -> Exception:
    """Return what a function raises, with its origin."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of any kind)
        failing()
    return caught.value


@pytest.mark.parametrize("failing", [refuse, insist])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_pipelines_words_are_for_the_caller(embedded: ModelConfig, failing: Callable[[], None], steps: int) -> None:
    """What a class states itself is passed on."""
    error = raised_by(failing)

    assert is_for_caller(error)
    assert "strength" in to_generation_error(error, Calls(embedded)(), steps).message


@pytest.mark.parametrize("failing", INTERNAL)
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("params", [{}, {"eta": 0.5}, {"eta": 0.5, "guidance_rescale": 0.7}])
def test_words_about_tensors_are_for_the_log(
    embedded: ModelConfig,
    caplog: pytest.LogCaptureFixture,
    failing: Callable[[], Any],
    steps: int,
    params: dict[str, Any],
) -> None:
    """The client is told the model or the parameters and what to do, whether the request is wrong or the server fails."""
    raised = raised_by(failing)
    with caplog.at_level(logging.WARNING):
        error = to_generation_error(raised, Calls(embedded)(**params), steps)

    words = " ".join(str(raised).split())
    assert not is_for_caller(raised)
    assert words not in str(error)
    assert type(raised).__name__ not in str(error)
    assert words in caplog.text
    assert error.hint
    assert all(repr(name) in str(error) for name in params)
    kinds = (errors.InvalidParameterError, errors.GenerationError)
    assert isinstance(error, kinds[1:] if steps else kinds)
    assert embedded.name in str(error)


def test_one_parameter_that_differs_is_that_of_the_error(embedded: ModelConfig) -> None:
    """Where the caller has set one parameter alone, it is the one to change."""
    call = Calls(embedded)(eta=0.5)
    run = call.runs[0]
    object.__setattr__(run, "params", {"prompt": "a star", "eta": 0.5})
    error = to_generation_error(raised_by([].pop), call, 0)

    assert ("eta", "StableDiffusionPipeline cannot use this value of 'eta'.") == (error.parameter, error.message)
