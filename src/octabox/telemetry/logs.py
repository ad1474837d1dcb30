"""Where log lines go."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

#: Libraries whose own handlers write to the terminal.
LIBRARIES = ("diffusers", "transformers", "huggingface_hub", "accelerate", "peft", "py.warnings")

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(level: str, file: Path | str | None = None) -> None:
    """Send our log lines to a file or to standard error, and what libraries say to the same place at level debug.

    Args:
        level: Least level of our lines: debug, info, warning or error.
        file: File to append to.

    Raises:
        OSError: The file cannot be written to.
    """
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    ours = logging.getLogger("octabox")
    _replace_handlers(ours, handler)
    ours.setLevel(level.upper())
    ours.propagate = False
    logging.captureWarnings(capture=True)
    for name in LIBRARIES:
        library = logging.getLogger(name)
        _replace_handlers(library, _AtDebug(logging.getLogger("octabox.libraries")))
        library.propagate = False


def _replace_handlers(logger: logging.Logger, handler: logging.Handler) -> None:
    for old in logger.handlers:
        old.close()
    logger.handlers = [handler]


class _AtDebug(logging.Handler):
    """Passes records on at level debug: a library's warning is for whoever looks for a fault, not for every user."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        self._target.debug("%s: %s", record.name, record.getMessage())
