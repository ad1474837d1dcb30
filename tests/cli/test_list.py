"""``octabox list``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox import demo
from octabox.cli.list_ import command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of models below the current one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.yaml").write_text("model: owner/name\ndescription: Words.")
    (folder / "b").mkdir()
    (folder / "b" / "model_index.json").write_text('{"_class_name": "BPipeline"}')
    return folder


def test_all_models_are_listed_with_what_is_known_of_them(folder: Path) -> None:
    """A folder's pipeline is read from its index; paths are shown from here."""
    result = CliRunner().invoke(command, ["--models", "models"])

    assert [
        "NAME  SOURCE      PIPELINE   DESCRIPTION",
        "a     owner/name             Words.",
        "b     models/b    BPipeline",
    ] == result.stdout.splitlines()


def test_programs_get_json(folder: Path) -> None:
    """Whole paths, and null for what is not known."""
    result = CliRunner().invoke(command, ["--models", "models", "--json"])

    assert [
        {"name": "a", "source": "owner/name", "pipeline": None, "description": "Words."},
        {"name": "b", "source": str(folder / "b"), "pipeline": "BPipeline", "description": ""},
    ] == json.loads(result.stdout)


def test_broken_configurations_are_counted_beside_the_list(folder: Path) -> None:
    """The list itself stays clean for programs."""
    (folder / "c.yaml").write_text("modl: owner/name\nname: c")

    result = CliRunner().invoke(command, ["--models", "models", "--json"])

    assert 2 == len(json.loads(result.stdout))
    assert "2 errors in models: `octabox check models` lists them." in result.stderr
    assert "c.yaml:1:1: error: There is no key `modl`." in result.stderr


def test_without_models_there_is_the_embedded_one(folder: Path) -> None:
    """As `octabox serve` would serve it."""
    result = CliRunner().invoke(command, ["--models", "missing", "--json"])

    assert [demo.NAME] == [model["name"] for model in json.loads(result.stdout)]
    assert "The models folder 'missing' does not exist." in result.stderr


def test_aliases_are_listed_with_their_models(folder: Path) -> None:
    """Their source is that of the model, even of one that is not listed itself."""
    (folder / "c.yaml").write_text("[{name: c, alias: b}, {name: d, alias: demo, description: Shapes.}]")
    result = CliRunner().invoke(command, ["--models", "models"])

    assert any(
        line.startswith("c ") and "models/b" in line and "Alias of b." in line for line in result.stdout.splitlines()
    )
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert ["NAME", "a", "b", "c", "d"] == names
    assert "Alias of demo. Shapes." in result.stdout
