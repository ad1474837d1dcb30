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
    """Each scheduler is a line with its aliases and schedules, and the last line has the count."""
    lines = printed().splitlines()
    row = next(line for line in lines if line.startswith("DPMSolverMultistepScheduler "))

    assert f"{len(lines) - 3} schedulers." == lines[-1]
    assert "dpmpp_2m" in row
    assert "align_your_steps" in row


def test_one_scheduler_is_described() -> None:
    """With a name, each setting is shown with type, default and words."""
    row = next(
        line for line in printed("EulerDiscreteScheduler").splitlines() if line.startswith("num_train_timesteps")
    )

    assert ["num_train_timesteps", "int", "1000"] == row.split()[:3]


def test_a_setting_that_nothing_reads_is_marked() -> None:
    """It is listed, since the class accepts it, with the remark that it has no effect."""
    rows = {line.split()[0]: line for line in printed("lcm").splitlines() if line.strip()}

    assert "is never read" in rows["timestep_spacing"]
    assert "is never read" not in rows["original_inference_steps"]


def test_any_name_is_described_by_what_it_means() -> None:
    """An alias resolves to the class, and its settings are shown."""
    text = printed("DPM++ 2M Karras")

    assert text.startswith("DPMSolverMultistepScheduler")
    assert "use_karras_sigmas: true" in text


def test_json_is_for_programs() -> None:
    """JSON is a list of all, or the one that is named, with what its name means."""
    one = json.loads(printed("EulerDiscreteScheduler", "--json"))
    named = json.loads(printed("k_euler", "--json"))

    assert {key: value for key, value in one.items() if key != "means"} in json.loads(printed("--json"))
    assert "num_train_timesteps" == one["settings"][0]["name"]
    assert {"use_karras_sigmas": True} == named["means"]["settings"]


def test_those_that_fit_a_model_stand_first() -> None:
    """With a model, each has a word on whether it fits, the recommended one first; nothing is loaded."""
    lines = printed("--model", "demo").splitlines()
    first = lines[next(number for number, line in enumerate(lines) if line.startswith("SCHEDULER ")) + 1]

    assert "DDIMScheduler" in next(line for line in lines if line.startswith("default"))
    assert ["DDIMScheduler", "yes,", "recommended", "ddim"] == first.split()
    assert any(
        line.startswith("EDMEulerScheduler") and "no: it has no setting 'beta_schedule'" in line for line in lines
    )


def test_one_is_told_to_fit_a_model_or_not() -> None:
    """With a name and a model, its settings count too."""
    assert "fits demo  yes" in printed("DPM++ 2M Karras", "--model", "demo")
    assert "fits demo  no: it inverts an image into noise" in printed("DDIMInverse", "--model", "demo")


def test_an_unknown_scheduler_is_a_typed_error() -> None:
    """What is not there is an error of ours."""
    assert isinstance(CliRunner().invoke(cli, ["schedulers", "Eul"]).exception, SchedulerNotFoundError)
