"""Performance profiles on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from octabox import demo
from octabox.cli.main import cli
from octabox.cli.requests.options import apply_profile
from octabox.config.settings import Settings
from octabox.errors import InvalidParameterError
from octabox.media.metadata.chunks import read_metadata
from octabox.server import Parts, build

SHORT = ("-p", "num_inference_steps=2", "--seed", "1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    """Run a verb."""
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


def test_an_unknown_profile_is_refused_with_the_choices() -> None:
    """Before anything is loaded."""
    error = invoke("run", "demo", "a star", "--profile", "fasst").exception

    assert isinstance(error, InvalidParameterError)
    assert {"exact", "fast", "turbo"} == set(error.choices)


@pytest.fixture
def parts(elsewhere: Path) -> Parts:
    """Return the server's parts with a model that has a profile."""
    (elsewhere / "models").mkdir()
    text = f"model: {demo.FOLDER}\nperformance: {{profile: turbo, compile: off}}\n"
    (elsewhere / "models" / "m.yaml").write_text(text, encoding="utf-8")
    return build(Settings.load())


@pytest.mark.parametrize(
    ("facts", "profile", "used"),
    [
        ({}, None, {"profile": "turbo", "compile": "off"}),
        ({}, "fast", {"profile": "fast", "compile": "off"}),
        (
            {"pipeline": "X", "performance": {"profile": "fast", "tf32": False}},
            None,
            {"profile": "fast", "tf32": False},
        ),
        (
            {"pipeline": "X", "performance": {"profile": "fast", "tf32": False}},
            "exact",
            {"profile": "exact", "tf32": False},
        ),
        ({"pipeline": "X"}, None, {"profile": "exact"}),
    ],
)
def test_which_profile_a_command_uses(parts: Parts, facts: dict[str, Any], profile: str | None, used: Any) -> None:
    """The one that is given, else the file's (exact, where its metadata name none), else the model's."""
    apply_profile(parts.models, "m", facts, profile)

    assert used == parts.models.snapshot().config("m").performance.model_dump(exclude_none=True)


@pytest.mark.slow
def test_a_file_that_was_made_by_a_profile_is_made_again_by_it(elsewhere: Path) -> None:
    """Its metadata name the profile, whatever the model's is."""
    made = ("run", "demo", "a red star", *SHORT, "--profile", "fast", "-o", "first.png")
    (elsewhere / "octabox.yaml").write_text("threads: 1\n", encoding="utf-8")
    (elsewhere / "models").mkdir()
    text = f"name: demo\nmodel: {demo.FOLDER}\nperformance: {{compile: off}}\n"
    (elsewhere / "models" / "demo.yaml").write_text(text, encoding="utf-8")
    results = [invoke(*made), invoke("run", "--from", "first.png", "-o", "again.png")]

    assert [0, 0] == [result.exit_code for result in results], results[0].exception or results[1].exception
    assert {"profile": "fast", "compile": "off"} == read_metadata((elsewhere / "first.png").read_bytes())["performance"]
    assert (elsewhere / "first.png").read_bytes() == (elsewhere / "again.png").read_bytes()


def test_show_tells_the_profile(elsewhere: Path) -> None:
    """With the single settings that are stronger than it; a model that names none has the server's."""
    (elsewhere / "models").mkdir()
    (elsewhere / "models" / "m.yaml").write_text(
        f"model: {demo.FOLDER}\nperformance: {{profile: fast, tf32: false}}\n", encoding="utf-8"
    )

    assert "fast, tf32: false" in invoke("show", "m").output
    assert "exact" in invoke("show", "demo").output
