"""Configuration of logging."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

from octabox.errors import ConfigError

#: Libraries with handlers that write to the terminal, and Python's warnings.
LIBRARIES = ("diffusers", "transformers", "huggingface_hub", "accelerate", "peft", "py.warnings")

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

#: Pattern of secrets: text after ``Bearer``, and keys with the prefixes of the Hub and OpenAI.
SECRET = re.compile(r"(?i)(\bbearer\s+)[^\s'\",]+|\b(hf_|sk-)[a-z0-9_-]{8,}")


def configure(level: str, file: Path | str | None = None) -> None:
    """Log to a file or to standard error, with the messages of libraries at level debug.

    Args:
        level: Minimum level of Octabox's messages: debug, info, warning or error.
        file: File to append to.

    Raises:
        ConfigError: The file cannot be written to.
    """
    handler = _handler(file)
    handler.setFormatter(RedactingFormatter(FORMAT))
    octabox = logging.getLogger("octabox")
    _replace_handlers(octabox, handler)
    octabox.setLevel(level.upper())
    octabox.propagate = False
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
    """Format records with secrets redacted."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return SECRET.sub(lambda found: f"{found[1] or found[2]}***", super().format(record))


class _AtDebug(logging.Handler):
    """Forward records at level debug: warnings of libraries are for debugging, not for all users."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Forward a record."""
        self._target.debug("%s: %s", record.name, record.getMessage())
