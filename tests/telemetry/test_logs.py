"""Where log lines go."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from octabox.telemetry.logs import LIBRARIES, configure


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Put every logger back as it was."""
    loggers = [logging.getLogger(name) for name in ("octabox", *LIBRARIES)]
    before = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    logging.captureWarnings(capture=False)
    for logger, handlers, level, propagate in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_our_lines(tmp_path: Path) -> None:
    """Lines of ours of the level and above go to the file."""
    file = tmp_path / "log"
    configure("info", file)
    logging.getLogger("octabox.some").info("told")
    logging.getLogger("octabox.some").debug("not told")
    text = file.read_text()

    assert "INFO    octabox.some: told" in text
    assert "not told" not in text


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", True)])
def test_libraries(tmp_path: Path, level: str, shown: bool) -> None:
    """A library's warning is a line of level debug."""
    file = tmp_path / "log"
    configure(level, file)
    logging.getLogger("diffusers.pipelines").warning("careful %s", "now")
    text = file.read_text()

    assert shown == ("diffusers.pipelines: careful now" in text)


def test_python_warnings(tmp_path: Path) -> None:
    """Python's warnings go to the log too."""
    file = tmp_path / "log"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure("debug", file)
        warnings.warn("odd", stacklevel=1)
        logging.captureWarnings(capture=False)

    assert "odd" in file.read_text()


def test_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file lines go to standard error, and standard output stays clean."""
    configure("warning")
    logging.getLogger("octabox").warning("told")
    shown = capsys.readouterr()

    assert ("", True) == (shown.out, "told" in shown.err)


def test_configured_twice(tmp_path: Path) -> None:
    """A second configuration takes the place of the first."""
    configure("info", tmp_path / "one")
    configure("info", tmp_path / "two")
    logging.getLogger("octabox").info("told")

    assert ("", 1) == ((tmp_path / "one").read_text(), (tmp_path / "two").read_text().count("told"))


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """A file that cannot be written to is an error at once."""
    with pytest.raises(OSError, match="directory"):
        configure("info", tmp_path)
