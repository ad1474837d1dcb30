"""Warnings of libraries are captured within a context."""

from __future__ import annotations

import logging
import sys

import pytest

from octabox.engine.worker.third_party_logs import capture_warnings


def test_warnings_of_libraries_are_captured() -> None:
    """Warnings of diffusers and of the package of a pipeline are captured, others and later ones are not."""
    with capture_warnings("easel") as messages:
        for name in ("diffusers.pipelines.brush", "easel.brush", "other"):
            logging.getLogger(name).warning("%s warns", name)
        logging.getLogger("easel.brush").info("easel informs")
    logging.getLogger("easel.brush").warning("too late")

    assert ["diffusers.pipelines.brush warns", "easel.brush warns"] == messages


def test_warnings_below_the_log_level_are_captured(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that logs only errors returns the warnings of a plugin, and does not log them."""
    easel = logging.getLogger("easel.quiet")
    handler = logging.StreamHandler(sys.stderr)
    easel.addHandler(handler)
    easel.propagate = False
    easel.setLevel(logging.ERROR)
    with capture_warnings("easel.quiet") as messages:
        logging.getLogger("easel.quiet.brush").warning("The paint is thin.")
        logging.getLogger("easel.quiet.brush").error("The paint is gone.")

    assert ["The paint is thin.", "The paint is gone."] == messages
    assert "The paint is gone.\n" == capsys.readouterr().err
    assert (logging.ERROR, logging.NOTSET) == (easel.level, handler.level)
