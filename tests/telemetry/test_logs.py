"""Configuration of logging."""

import logging
import warnings
from pathlib import Path

import pytest

from octabox.errors import ConfigError
from octabox.telemetry.logs import configure, keep_recent


def lines(level: str, path: Path) -> str:
    """Return the log of messages of Octabox and of a library at a level."""
    configure(level, path)
    logging.getLogger("octabox.http").info("ours")
    logging.getLogger("diffusers.pipelines").warning("a library's")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("python's", stacklevel=1)
    return path.read_text()


def test_the_libraries_are_quiet(tmp_path: Path) -> None:
    """At level info only Octabox's messages are logged."""
    found = lines("info", tmp_path / "log")

    assert "INFO    octabox.http: ours" in found
    assert "library" not in found
    assert "python's" not in found


def test_debug_tells_all(tmp_path: Path) -> None:
    """At level debug the libraries' warnings are logged with the library's name."""
    found = lines("debug", tmp_path / "log")

    assert "DEBUG   octabox.libraries: diffusers.pipelines: a library's" in found
    assert "python's" in found


def test_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file, messages go to standard error."""
    configure("warning")
    logging.getLogger("octabox").warning("look")

    assert "look" in capsys.readouterr().err


def test_configuring_twice_says_all_once(tmp_path: Path) -> None:
    """A second configuration replaces the first."""
    configure("info", tmp_path / "first")

    assert 1 == lines("info", tmp_path / "log").count("ours")


@pytest.mark.parametrize(
    "text", ["Authorization: Bearer s3cret-key", "token hf_s3cretAbcdefgh", "key=sk-s3cret12345678"]
)
def test_secrets_are_not_written(text: str, tmp_path: Path) -> None:
    """Text that looks like a key is redacted in all messages."""
    configure("info", tmp_path / "log")
    logging.getLogger("octabox").info("%s and more", text)

    assert "s3cret" not in (found := (tmp_path / "log").read_text())
    assert "and more" in found


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """An invalid path of the log is a ConfigError."""
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        configure("info", tmp_path / "missing" / "log")

    assert "log_file" == caught.value.parameter


def test_the_last_lines_are_kept(tmp_path: Path) -> None:
    """Beside those in the file, until logging is configured again."""
    configure("info", tmp_path / "log")
    recent = keep_recent(["s3cret"])
    logging.getLogger("octabox.http").info("ours, with s3cret")
    logging.getLogger("octabox.http").debug("less than the level")
    kept = [each.text for each in recent.after()]
    configure("info", tmp_path / "other")
    logging.getLogger("octabox.http").info("later")

    assert 1 == len(kept) == len(recent.after())
    assert kept[0].endswith("INFO    octabox.http: ours, with ***")
