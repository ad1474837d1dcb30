"""The verb schedulers."""

from __future__ import annotations

import json

from click.testing import CliRunner

from octabox.cli.main import cli
from octabox.errors import SchedulerNotFoundError


def printed(*arguments: str) -> str:
    """Return what the verb prints."""
    return CliRunner().invoke(cli, ["schedulers", *arguments], catch_exceptions=False).output


def test_all_schedulers_are_listed() -> None:
    """Each scheduler is a line with the number of its settings, and the count stands at the end."""
    lines = printed().splitlines()

    assert any(line.startswith("EulerDiscreteScheduler ") for line in lines)
    assert f"{len(lines) - 3} schedulers." == lines[-1]


def test_one_scheduler_is_described() -> None:
    """With a name, each setting is shown with type, default and words."""
    row = next(
        line for line in printed("EulerDiscreteScheduler").splitlines() if line.startswith("num_train_timesteps")
    )

    assert ["num_train_timesteps", "int", "1000"] == row.split()[:3]


def test_json_is_for_programs() -> None:
    """JSON is a list of all, or the one that is named."""
    one = json.loads(printed("EulerDiscreteScheduler", "--json"))

    assert one in json.loads(printed("--json"))
    assert "num_train_timesteps" == one["settings"][0]["name"]


def test_an_unknown_scheduler_is_a_typed_error() -> None:
    """What is not there is an error of ours."""
    assert isinstance(CliRunner().invoke(cli, ["schedulers", "Eul"]).exception, SchedulerNotFoundError)
