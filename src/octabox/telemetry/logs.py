"""Where log lines go."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

from octabox.errors import ConfigError

#: Libraries whose own handlers write to the terminal, and Python's warnings.
LIBRARIES = ("diffusers", "transformers", "huggingface_hub", "accelerate", "peft", "py.warnings")

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

#: What looks like a key: behind the word Bearer, or with the first letters that the Hub and OpenAI give theirs.
SECRET = re.compile(r"(?i)(\bbearer\s+)[^\s'\",]+|\b(hf_|sk-)[a-z0-9_-]{8,}")


def configure(level: str, file: Path | str | None = None) -> None:
    """Send our log lines to a file or to standard error, and what libraries say to the same place at level debug.

    Args:
        level: Least level of our lines: debug, info, warning or error.
        file: File to append to.

    Raises:
        ConfigError: The file cannot be written to.
    """
    handler = _handler(file)
    handler.setFormatter(RedactingFormatter(FORMAT))
    ours = logging.getLogger("octabox")
    _replace_handlers(ours, handler)
    ours.setLevel(level.upper())
    ours.propagate = False
    logging.captureWarnings(capture=True)
    for name in LIBRARIES:
        library = logging.getLogger(name)
        _replace_handlers(library, _AtDebug(logging.getLogger("octabox.libraries")))
        library.propagate = False


def _handler(file: Path | str | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler(sys.stderr)
    try:
        return logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The log file '{file}' cannot be written: {error.strerror}.", parameter="log_file"
        ) from error


def _replace_handlers(logger: logging.Logger, handler: logging.Handler) -> None:
    for old in logger.handlers:
        old.close()
    logger.handlers = [handler]


class RedactingFormatter(logging.Formatter):
    """Writes a record without the secrets in it, whoever put them there."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line."""
        return SECRET.sub(lambda found: f"{found[1] or found[2]}***", super().format(record))


class _AtDebug(logging.Handler):
    """Passes records on at level debug: a library's warning is for whoever looks for a fault, not for every user."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        self._target.debug("%s: %s", record.name, record.getMessage())
