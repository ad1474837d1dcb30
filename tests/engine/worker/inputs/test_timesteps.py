"""The steps that a strength leaves, and those that a call takes."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.engine.worker.inputs.timesteps import checked_timesteps, schedule_warnings, step_warnings
from octabox.errors import InvalidParameterError


class Whole:
    """A pipeline that rounds the steps of a strength down, as most do."""

    def get_timesteps(self, num_inference_steps: int, strength: float, device: str) -> tuple[list[int], int]:
        """Return the timesteps, and their number."""
        taken = min(int(num_inference_steps * strength), num_inference_steps)
        return list(range(num_inference_steps))[num_inference_steps - taken :], taken


class Begun:
    """A pipeline that counts a step that has begun, as those of flows do."""

    def get_timesteps(self, num_inference_steps: int, strength: float) -> tuple[list[int], int]:
        """Return the timesteps, and their number."""
        begin = int(num_inference_steps - min(num_inference_steps * strength, num_inference_steps))
        return list(range(num_inference_steps))[begin:], num_inference_steps - begin


class Late:
    """A pipeline that may begin at a later step."""

    def get_timesteps(
        self, num_inference_steps: int, strength: float, denoising_start: float | None = None
    ) -> list[int]:
        """Return the timesteps."""
        return list(range(num_inference_steps))[int(num_inference_steps * (denoising_start or 0)) :]


@pytest.mark.parametrize(
    ("pipe", "args", "message", "hint"),
    [
        (
            Whole(),
            (4, 0.2, "cpu"),
            "'strength' 0.2 of 4 steps leaves none.",
            "Use at least 5 steps or a strength of at least 0.25.",
        ),
        (
            Whole(),
            (12, 0.05, "cpu"),
            "'strength' 0.05 of 12 steps leaves none.",
            "Use at least 20 steps or a strength of at least 0.09.",
        ),
        (Whole(), (3, 0, "cpu"), "'strength' 0 of 3 steps leaves none.", "Use a strength of at least 0.34."),
        (Begun(), (4, 0.0), "'strength' 0.0 of 4 steps leaves none.", "Use a strength of at least 0.01."),
        (
            Late(),
            (4, 1.0, 1.0),
            "No step is left of 'num_inference_steps' 4, 'denoising_start' 1.0.",
            "Use more steps.",
        ),
    ],
)
def test_no_step_is_left(pipe: Any, args: tuple[Any, ...], message: str, hint: str) -> None:
    """The error has the nearest values with which the pipeline's own computation leaves a step."""
    with pytest.raises(InvalidParameterError) as caught, checked_timesteps(pipe):
        pipe.get_timesteps(*args)

    assert (message, hint) == (caught.value.message, caught.value.hint)
    assert "get_timesteps" not in vars(pipe)


class Schedule:
    """A scheduler that takes two timesteps for a step."""

    def __init__(self) -> None:
        self.timesteps: list[int] = []

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Set the timesteps."""
        self.timesteps = list(range(2 * num_inference_steps))


class Cut:
    """A pipeline that leaves out three steps, of those of its scheduler."""

    def __init__(self) -> None:
        self.scheduler = Schedule()

    def get_timesteps(self, num_inference_steps: int, strength: float) -> list[int]:
        """Return the timesteps."""
        return self.scheduler.timesteps[int(6 / strength) :] if num_inference_steps else []


def test_enough_steps_by_the_schedule_of_the_pipeline() -> None:
    """They are counted by the pipeline, with timesteps for each number of steps; its scheduler is left as it was."""
    pipe = Cut()
    scheduler = pipe.scheduler
    with pytest.raises(InvalidParameterError) as caught, checked_timesteps(pipe):
        pipe.get_timesteps(2, 1.0)

    assert "Use at least 4 steps." == caught.value.hint
    assert scheduler is pipe.scheduler
    assert [] == scheduler.timesteps


@pytest.mark.parametrize(("pipe", "args"), [(Whole(), (5, 0.2, "cpu")), (Begun(), (4, 0.05)), (Late(), (4, 0.0, 0.5))])
def test_a_step_is_left(pipe: Any, args: tuple[Any, ...]) -> None:
    """The result is the pipeline's, which has other rules than another."""
    expected = pipe.get_timesteps(*args)
    with checked_timesteps(pipe), checked_timesteps(object()):
        assert expected == pipe.get_timesteps(*args)


@pytest.mark.parametrize(
    ("params", "taken", "words"),
    [
        ({"num_inference_steps": 4}, 4, []),
        ({"num_inference_steps": 4}, 7, []),
        ({}, 0, []),
        ({"num_inference_steps": 4}, 3, ["'num_inference_steps' 4 was requested, and the pipeline took 3 steps."]),
        ({"num_inference_steps": 4}, 1, ["'num_inference_steps' 4 was requested, and the pipeline took 1 step."]),
        ({"num_inference_steps": 4, "strength": 0.5}, 2, []),
        ({"num_inference_steps": 4, "denoising_end": 0.5}, 2, []),
        (
            {"num_inference_steps": 4, "strength": 0.5},
            0,
            ["'num_inference_steps' 4 was requested, and the pipeline took no steps."],
        ),
    ],
)
def test_fewer_steps_than_requested(params: dict[str, Any], taken: int, words: list[str]) -> None:
    """They are reported, unless a parameter is the reason."""
    assert words == step_warnings(params, taken)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"num_inference_steps": 3, "timesteps": [999, 500, 1]}, []),
        ({"timesteps": [999, 500, 1]}, []),
        ({"num_inference_steps": 20, "timesteps": None, "sigmas": []}, []),
        (
            {"num_inference_steps": 20, "timesteps": [999, 500, 1]},
            ["'num_inference_steps' 20 has no effect with 'timesteps', which has 3."],
        ),
        (
            {"num_inference_steps": 20, "prior_num_inference_steps": 5, "prior_timesteps": [1.0, 0.0]},
            ["'prior_num_inference_steps' 5 has no effect with 'prior_timesteps', which has 2."],
        ),
    ],
)
def test_numbers_that_a_list_of_steps_replaces(params: dict[str, Any], words: list[str]) -> None:
    """A list of steps of another length than the number of the same stage is reported, whether the pipeline counts or not."""
    assert words == schedule_warnings(params)
