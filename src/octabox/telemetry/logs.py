"""Configuration of logging, and the last lines of the log."""

from __future__ import annotations

import logging
import re
import sys
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from octabox.errors import ConfigError

#: Libraries with handlers that write to the terminal, and Python's warnings.
LIBRARIES = ("diffusers", "transformers", "huggingface_hub", "accelerate", "peft", "py.warnings")

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

#: Pattern of secrets: text after ``Bearer``, and keys with the prefixes of the Hub and OpenAI.
SECRET = re.compile(r"(?i)(\bbearer\s+)[^\s'\",]+|\b(hf_|sk-)[a-z0-9_-]{8,}")


#: Number of the last lines that are kept in memory, and the characters of each.
KEPT_LINES, KEPT_CHARACTERS = 1000, 2000


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


@dataclass(frozen=True)
class LogLine:
    """A line of the log.

    Args:
        number: Its number, from 1, in the order of the lines.
        level: Its level in lower case.
        text: The line, with its time.
    """

    number: int
    level: str
    text: str


class RecentLines(logging.Handler):
    """Keeps the last lines of Octabox's log in memory, with secrets redacted.

    Args:
        secrets: Texts that are redacted wherever they are, such as the keys of the server.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.setFormatter(RedactingFormatter(FORMAT))
        self._secrets = tuple(each for each in secrets if each)
        self._lines: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self._count = 0
        #: Id of the process, each of which counts its lines from 1.
        self.process = uuid.uuid4().hex

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line of a record."""
        text = self.format(record)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        self._count += 1
        self._lines.append(LogLine(self._count, record.levelname.lower(), text[:KEPT_CHARACTERS]))

    def after(self, number: int = 0) -> list[LogLine]:
        """Return the lines after the one with a number, as far as they are kept; the oldest first."""
        return [line for line in tuple(self._lines) if line.number > number]


def keep_recent(secrets: Iterable[str]) -> RecentLines:
    """Keep the last lines of Octabox's log from now on, until `configure` is called again.

    Args:
        secrets: Texts that are redacted.
    """
    recent = RecentLines(secrets)
    logging.getLogger("octabox").addHandler(recent)
    return recent
