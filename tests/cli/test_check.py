"""``octabox check``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from octabox import demo
from octabox.cli.check import command
from octabox.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(command, arguments)


def lines(result: Result) -> list[str]:
    """Return what was written, and the error that it ended with."""
    written = result.output.splitlines()
    return [*written, result.exception.message] if isinstance(result.exception, ConfigError) else written


def test_a_folder_that_is_right_is_ok(folder: Path) -> None:
    """Every file is named with its models, and the last line counts them."""
    (folder / "models").mkdir()
    shutil.copytree(demo.FOLDER, folder / "models" / "c")
    (folder / "models" / "a.yaml").write_text("model: owner/name")
    (folder / "models" / "b.yaml").write_text("[{name: b1, model: owner/b}, {name: b2, model: owner/b}]")

    result = check("models")

    assert [
        "models/a.yaml: OK (a)",
        "models/b.yaml: OK (b1, b2)",
        "models/c: OK (c)",
        "3 files, 4 models: 0 errors, 0 warnings.",
    ] == lines(result)
    assert 0 == result.exit_code


def test_what_is_wrong_is_told_file_by_file(folder: Path) -> None:
    """In the order of lines; it ends with an error whose message counts them."""
    (folder / "a.yaml").write_text("model: owner/name\ndtyp: auto\nschedulr: x\n")
    (folder / "b.yaml").write_text("parameters: {model: owner/name}\nthreads: 4\n")
    (folder / "c.yaml").write_text("model: owner/name\n")

    result = check(".")

    assert [
        "a.yaml:2:1: error: There is no key `dtyp`. (did you mean dtype?)",
        "a.yaml:3:1: error: There is no key `schedulr`. (did you mean scheduler?)",
        ("b.yaml:2:1: warning: `threads` has no effect: the server's setting `threads` applies to all models."),
        "c.yaml: OK (c)",
        "3 files, 2 models: 2 errors, 1 warning.",
    ] == lines(result)
    assert isinstance(result.exception, ConfigError)


def test_findings_are_printed_as_json(folder: Path) -> None:
    """An object for each file, with its models and its problems; the summary is the error."""
    (folder / "a.yaml").write_text("model: owner/name\ndtyp: auto\n")
    (folder / "b.yaml").write_text("model: owner/name\n")

    result = check(".", "--json")
    first, second = json.loads(result.output)

    assert ("b.yaml", ["b"], []) == (second["file"], second["models"], second["problems"])
    assert [("error", 2, "dtyp", "did you mean dtype?")] == [
        (each["severity"], each["line"], each["key"], each["hint"]) for each in first["problems"]
    ]
    assert isinstance(result.exception, ConfigError)


def test_warnings_alone_are_no_error(folder: Path) -> None:
    """The model is served all the same."""
    (folder / "b.yaml").write_text("parameters: {model: owner/name}\nthreads: 4\n")

    result = check("b.yaml")

    assert (0, "1 file, 1 model: 0 errors, 1 warning.") == (result.exit_code, lines(result)[-1])


def test_single_files_and_folders_are_checked_for_themselves(folder: Path) -> None:
    """A configuration, a model folder, a checkpoint, and a file that is none of these."""
    (folder / "a.yaml").write_text("model: w.safetensors")
    (folder / "broken").mkdir()
    (folder / "broken" / "model_index.json").write_text("{}")
    (folder / "notes.txt").touch()
    save_file({"a": np.ones(1)}, folder / "w.safetensors")

    result = check("a.yaml", "broken", "w.safetensors", "notes.txt")

    assert [
        (
            f"a.yaml:1:1: error: The model family of {folder / 'w.safetensors'} is unknown: its tensors are a. "
            "(Write a configuration with `pipeline:` and `config:`.)"
        ),
        (
            "broken:1:1: error: broken/model_index.json names no pipeline: `_class_name` is missing. "
            "(Set `pipeline` in the configuration of the model, or fix the file.)"
        ),
        (
            "notes.txt:1:1: error: The file is neither a configuration nor a checkpoint. "
            "(supported suffixes: .ckpt, .gguf, .pt, .pth, .safetensors, .yaml, .yml)"
        ),
        (
            f"w.safetensors:1:1: error: The model family of {folder / 'w.safetensors'} is unknown: its tensors are a. "
            "(Write a configuration with `pipeline:` and `config:`.)"
        ),
        "4 files, 4 models: 4 errors, 0 warnings.",
    ] == lines(result)


def test_without_an_argument_the_models_folder_is_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting names it."""
    (folder / "mine").mkdir()
    (folder / "mine" / "a.yaml").write_text("model: owner/name")
    monkeypatch.setenv("OCTABOX_MODELS", "mine")

    assert "mine/a.yaml: OK (a)" == lines(check())[0]


def test_a_path_that_is_not_there_is_wrong_usage(folder: Path) -> None:
    """Click reports it with its own exit code."""
    assert 2 == check("missing").exit_code


def test_an_alias_is_checked_with_the_models_of_its_folder(folder: Path) -> None:
    """It is shown with its model, whether its folder is checked or its file alone."""
    (folder / "a.yaml").write_text("{model: owner/name, aliases: [b, c]}")
    (folder / "d.yaml").write_text("{name: d, alias: a}")
    (folder / "e.yaml").write_text("{name: e, alias: x}")

    assert [
        "a.yaml: OK (a, b, c)",
        "d.yaml: OK (d: alias of a)",
        "e.yaml:1:11: error: There is no model 'x'. (there are a, demo)",
        "3 files, 1 model: 1 error, 0 warnings.",
    ] == lines(check("."))
    assert ["d.yaml: OK (d: alias of a)", "1 file, 0 models: 0 errors, 0 warnings."] == lines(check("d.yaml"))
    assert ["a.yaml: OK (a, b, c)", "1 file, 1 model: 0 errors, 0 warnings."] == lines(check("a.yaml"))
    assert "There is no model 'x'" in lines(check("e.yaml"))[0]
