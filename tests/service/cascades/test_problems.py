"""What is wrong with cascades and models, in the words of the server and of `octabox check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from octabox.catalog.pipelines import load_catalog
from octabox.cli.check import command
from octabox.config.discovery import discover
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.cascades.problems import ModelProblems
from octabox.service.checks.checker import entries_of

#: A stage of the embedded model on a device that no machine has.
ELSEWHERE = {"model": "demo", "device": "cuda:93"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a models folder with two cascades, whose second stages have each something wrong."""
    monkeypatch.chdir(tmp_path)
    broken = {"model": "demo", "components": {"vae": {"model": "lacking"}}}
    for name, stage in {"elsewhere": ELSEWHERE, "broken": broken}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"stages": ["demo", stage]}), encoding="utf-8")
    return tmp_path


async def test_devices_and_files_of_stages_are_checked(folder: Path) -> None:
    """A stage is a model: its device and the sources of its components are those of the models folder."""
    found, calls = discover(folder), []

    async def accelerators() -> list[str]:
        calls.append(1)
        return ["cuda:0"]

    problems, arguments = (
        ModelProblems(AdapterRegistry(None, None), accelerators),
        (entries_of(found), found.named, folder),
    )
    before = problems.find(*arguments, load_catalog())
    for _ in range(2):
        await problems.find_accelerators(*arguments)
    after = problems.find(*arguments, load_catalog())

    assert [("broken.yaml", "stages.1.components.vae.model", "There is no 'lacking' in the models folder.")] == [
        (each.file.name, each.key, each.message) for each in before
    ]
    assert ["There is no device 'cuda:93' on this machine."] == [each.message for each in after if each not in before]
    assert [1] == calls


async def test_no_device_is_looked_for_without_need(folder: Path) -> None:
    """Where no model names a device, no process is started that imports torch."""

    async def accelerators() -> list[str]:
        raise AssertionError("it was asked")

    (folder / "elsewhere.yaml").unlink()
    found = discover(folder)
    await ModelProblems(AdapterRegistry(None, None), accelerators).find_accelerators(
        entries_of(found), found.named, folder
    )


def test_names_and_values_of_stages_are_checked(folder: Path) -> None:
    """Those of a model, and the parameters of each stage; the defaults are those of the first."""
    wrong = {"scheduler": "nosuch", "components": {"vaee": {"dtype": "float16"}}, "defaults": {"width": 0}}
    cascade = {
        "stages": ["demo", {"model": "demo", **wrong, "params": {"num_inference_steps": "many", "stren": 7}}],
        "defaults": {"num_inference_steps": "lots", "bogus": 3},
    }
    for file in folder.glob("*.yaml"):
        file.unlink()
    (folder / "wrong.yaml").write_text(yaml.safe_dump(cascade), encoding="utf-8")
    found = discover(folder)
    problems = ModelProblems(AdapterRegistry(None, None)).find(entries_of(found), found.named, folder, load_catalog())

    assert {
        "stages.1.scheduler.name": "no scheduler 'nosuch'",
        "stages.1.components.vaee": "no component 'vaee'",
        "stages.1.defaults.width": "'width' must be at least 1",
        "stages.1.params.num_inference_steps": "must be an integer, not 'many'",
        "stages.1.params.stren": "no parameter 'stren'",
        "defaults.num_inference_steps": "must be an integer, not 'lots'",
        "defaults.bogus": "no parameter 'bogus'",
    }.keys() == {each.key for each in problems}, problems
    assert all(each.line for each in problems)


def test_the_command_line_says_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`octabox check` reports what the server reports of a cascade."""

    async def accelerators() -> list[str]:
        return []

    monkeypatch.setattr("octabox.cli.check._list_accelerators", accelerators)
    result = CliRunner().invoke(command, ["--json", str(folder)])
    told = {
        Path(each["file"]).name: [problem["message"] for problem in each["problems"]]
        for each in json.loads(result.stdout)
    }

    assert {
        "broken.yaml": ["There is no 'lacking' in the models folder."],
        "elsewhere.yaml": ["There is no device 'cuda:93' on this machine."],
    } == told
