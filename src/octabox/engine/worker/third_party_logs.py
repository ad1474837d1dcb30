"""Configure the logging and progress bars of the libraries, and capture their warnings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils.tqdm import disable_progress_bars
from transformers.utils import logging as transformers_logging


def configure_third_party_logs() -> None:
    """Disable the progress bars of the libraries, and set their log level to warnings."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_warning()
    disable_progress_bars()


@contextmanager
def capture_warnings(*packages: str) -> Iterator[list[str]]:
    """Capture the warnings that diffusers, transformers and the packages log within the context."""
    messages: list[str] = []

    class Capture(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    with ExitStack() as stack:
        for name in {"diffusers", "transformers", *packages}:
            stack.enter_context(_captured(logging.getLogger(name), Capture(logging.WARNING)))
        yield messages


@contextmanager
def _captured(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    """Add a handler for a logger's warnings within the context, including those below its level."""
    level, handlers = logger.level, [(each, each.level) for each in logger.handlers]
    effective = logger.getEffectiveLevel()
    if effective > logging.WARNING:
        logger.setLevel(logging.WARNING)
        for each, handler_level in handlers:
            each.setLevel(max(handler_level, effective))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        if effective > logging.WARNING:
            # Only then, since a change of a level clears the caches of all loggers.
            logger.setLevel(level)
            for each, handler_level in handlers:
                each.setLevel(handler_level)
