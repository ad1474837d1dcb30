"""Options for settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from octabox.cli import backend, check, serve
from octabox.cli.main import cli
from octabox.cli.settings_options import settings_options
from octabox.config.settings import Settings, flag


def parse(*arguments: str) -> dict[str, Any]:
    """Return the values of all settings on a command line."""
    values: dict[str, Any] = {}

    @click.command()
    @settings_options()
    def command(**flags: Any) -> None:
        values.update(flags)

    CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    return values


@pytest.mark.parametrize("name", Settings.model_fields)
def test_serve_has_an_option_for_each_setting(name: str) -> None:
    """Each has the flag of the reference, and its description as help."""
    option = next(each for each in serve.command.params if isinstance(each, click.Option) and each.name == name)

    assert [flag(name)] == option.opts
    assert option.help == Settings.model_fields[name].description


def test_unused_options_are_none() -> None:
    """They do not override the environment and the file."""
    assert dict.fromkeys(Settings.model_fields) == parse()


def test_values_have_the_type_of_the_setting() -> None:
    """Lists are split by the settings."""
    flags = parse("--port", "1", "--fetch-timeout", "2.5", "--allow-hub", "--preload", "a,b", "--dtype", "FLOAT16")
    settings = Settings.load(flags, environ={})

    assert (1, 2.5, True, ("a", "b"), "float16") == (
        settings.port,
        settings.fetch_timeout,
        settings.allow_hub,
        settings.preload,
        settings.dtype,
    )


@pytest.mark.parametrize("arguments", [("--port", "many"), ("--profile", "slow")])
def test_invalid_values_are_refused(arguments: tuple[str, str]) -> None:
    """Click reports a number or a choice that is not one."""
    with pytest.raises(click.BadParameter):
        parse(*arguments)


def test_backend_has_some_of_them() -> None:
    """Only the named settings are options of the backend."""
    names = {each.name for each in backend.command.params} & Settings.model_fields.keys()

    timeouts = {"load_timeout", "progress_timeout", "silence_timeout"}
    assert {"device", "threads", "queue_size", "log_level", "log_file"} | timeouts == names


#: Verbs that read the settings and need neither a server, the Hub nor a cluster; `run` describes its call.
READERS = [
    ["check"],
    ["list"],
    ["models"],
    ["adapters"],
    ["show", "demo"],
    ["run", "demo", "a star", "--dry-run", "--local"],
]


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_an_unknown_variable_is_reported(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each verb that reads the settings, apart from its output, and once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, "check_against_catalog", lambda *_: [])
    result = CliRunner().invoke(cli, words, env={"OCTABOX_PROT": "1"}, catch_exceptions=False)

    assert 1 == result.stderr.count("OCTABOX_PROT is not a setting; did you mean OCTABOX_PORT?\n")
    assert "OCTABOX_PROT" not in result.stdout


def test_no_verb_reads_the_settings_silently() -> None:
    """Of those that do not use `load_settings`, the backend logs the warnings, and requests of `run` send them as events."""
    sources = [file for file in Path(backend.__file__).parent.rglob("*.py") if "Settings.load(" in file.read_text()]

    assert {"settings_options.py", "backend.py", "run.py", "selection.py", "serving.py", "__main__.py"} == {
        file.name for file in sources
    }
