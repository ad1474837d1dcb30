"""The verb run, with the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from octabox import demo
from octabox.cli.errors import exit_code
from octabox.cli.main import cli
from octabox.errors import ForbiddenPathError, ModelNotFoundError, OctaboxError, RequestError, UnknownParameterError
from octabox.media.metadata import read

STEPS = ("-p", "num_inference_steps=3")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run the verb with the embedded model and a short call."""
    return CliRunner().invoke(cli, ["run", *arguments], standalone_mode=False)


def failure(*arguments: str) -> OctaboxError:
    """Return the error that the verb ends with."""
    error = run(*arguments).exception
    assert isinstance(error, OctaboxError), error
    return error


def test_a_picture_is_written_with_what_made_it(elsewhere: Path) -> None:
    """The file is where it was asked for, and knows its prompt and its seed."""
    result = run("demo", "a red star", *STEPS, "--seed", "7", "-o", "star.png")
    facts = read((elsewhere / "star.png").read_bytes())

    assert 0 == result.exit_code, result.exception
    assert "star.png  (seed 7)" in result.output
    assert ("a red star", 7) == (facts["params"]["prompt"], facts["seed"])


def test_a_scheduler_goes_by_any_name_and_takes_settings(elsewhere: Path) -> None:
    """What the name means is in the picture's metadata; settings go in as JSON."""
    named = run("demo", "a red star", *STEPS, "--scheduler", "DPM++ 2M Align Your Steps", "-o", "star.png")
    facts = read((elsewhere / "star.png").read_bytes())["scheduler"]
    asked = run("demo", "a red star", "--scheduler", '{"name": "unipc", "solver_order": 3}', "--dry-run")

    assert 0 == named.exit_code, named.exception
    assert ("DPMSolverMultistepScheduler", "align_your_steps") == (facts["name"], facts["schedule"])
    assert {"solver_order": 3} == json.loads(asked.output)["scheduler"]["settings"]
    assert "no JSON" in failure("demo", "a red star", "--scheduler", '{"name": ').message


def test_several_results_have_several_files(elsewhere: Path) -> None:
    """Each of several results has a file and a seed of its own; the suffix decides the format."""
    result = run("demo", "a red star", *STEPS, "-n", "2", "--seed", "1", "-o", "star.jpg")

    assert 0 == result.exit_code, result.exception
    assert [b"\xff\xd8\xff"] * 2 == [(elsewhere / f"star-{number}.jpg").read_bytes()[:3] for number in (1, 2)]


def test_without_a_place_no_file_is_overwritten(elsewhere: Path) -> None:
    """Where no place was given, every run writes a new file."""
    for _ in range(2):
        assert 0 == run("demo", "a red star", *STEPS, "--seed", "1").exit_code

    assert 2 == len(list(elsewhere.glob("*.png")))


def test_a_folder_is_a_model(elsewhere: Path) -> None:
    """A folder in diffusers' format needs no configuration; a picture makes it image to image."""
    Image.new("RGB", (128, 128), "red").save("red.png")
    result = run(str(demo.FOLDER), "a blue star", *STEPS, "-i", "image=red.png", "--dry-run")
    call = json.loads(result.output)

    assert ("model", "image-to-image") == (call["model"], call["task"])
    assert ["128x128 RGB"] == call["runs"][0]["inputs"]["image"]


def test_a_dry_run_makes_nothing(elsewhere: Path) -> None:
    """A dry run prints the call that would be made, its drawn seed included, and writes no file."""
    call = json.loads(run("demo", "a red star", "--dry-run").output)

    assert "a red star" == call["runs"][0]["params"]["prompt"]
    assert isinstance(call["runs"][0]["seed"], int)
    assert [] == list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("nobody", "x"), ModelNotFoundError, "nobody"),
        (("demo", "x", "-p", "num_inference_stepz=3"), UnknownParameterError, "num_inference_stepz"),
        (("demo", "x", "-p", "num_inference_steps=many"), RequestError, "num_inference_steps"),
        (("demo", "x", "-p", "nothing"), RequestError, "NAME=VALUE"),
        (("demo", "x", "-i", "image=nowhere.png"), RequestError, "nowhere.png"),
        (("demo", "x", "-o", "nowhere/at/all.png"), ForbiddenPathError, "nowhere"),
        (("demo", "x", "-n", "0"), RequestError, "outputs"),
        (("demo", "x", "-o", "x.gif9"), RequestError, "gif9"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    elsewhere: Path, arguments: tuple[str, ...], kind: type[OctaboxError], words: str
) -> None:
    """A wrong request is a typed error that names the thing, with an exit code of its kind, and no file is left."""
    error = failure(*arguments)

    assert isinstance(error, kind)
    assert words in str(error)
    assert exit_code(error) > 1
    assert [] == list(elsewhere.iterdir())
