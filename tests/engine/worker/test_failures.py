"""What exceptions of the libraries become."""

from __future__ import annotations

import logging
import sys
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from embedded import Calls
from octabox import errors
from octabox.config.model import ModelConfig
from octabox.engine.worker.failures import as_generation_error, as_load_error, library_warnings

#: An answer of the Hub; which HTTP library it is of depends on huggingface_hub's version.
ANSWER: Any = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co"))


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (GatedRepoError("x", response=ANSWER), errors.GatedModelError, "HF_TOKEN"),
        (RepositoryNotFoundError("x", response=ANSWER), errors.DownloadError, "Check the name"),
        (OfflineModeIsEnabled("x"), errors.DownloadError, "HF_HUB_OFFLINE"),
        (LocalEntryNotFoundError("x"), errors.DownloadError, "network"),
        (ImportError("needs torchsde"), errors.MissingDependencyError, "torchsde"),
        (NameError("name 'ftfy' is not defined"), errors.MissingDependencyError, "ftfy"),
        (MemoryError(), errors.OutOfMemoryError, "Memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), errors.OutOfMemoryError, "Memory ran out"),
        (FileNotFoundError("no config.json"), errors.LoadError, "config.json"),
        (ValueError("size mismatch"), errors.IncompatibleWeightsError, "size mismatch"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failed_load_is_told_by_its_cause(raised: Exception, kind: type[errors.OctaboxError], words: str) -> None:
    """Each cause has its own class and its own advice, and names the model."""
    error = as_load_error(raised, ModelConfig(name="mine", model="owner/name"))

    assert kind is type(error)
    assert words in str(error)
    assert "mine" == error.model


def test_a_cause_is_found_behind_other_errors() -> None:
    """A library that wraps the cause in an error of its own hides nothing."""
    wrapped = OSError("could not load")
    wrapped.__cause__ = MemoryError()
    told = as_load_error(wrapped, ModelConfig(name="mine", model="owner/name"))

    assert errors.OutOfMemoryError is type(told)


@pytest.mark.parametrize(
    ("raised", "steps", "kind"),
    [
        (ValueError("bad size"), 0, errors.InvalidParameterError),
        (ValueError("bad size"), 3, errors.GenerationError),
        (RuntimeError("shape"), 0, errors.GenerationError),
        (NameError("name 'ftfy' is not defined"), 0, errors.MissingDependencyError),
        (MemoryError(), 2, errors.OutOfMemoryError),
        (errors.GenerationCancelledError("x"), 1, errors.GenerationCancelledError),
    ],
)
def test_a_failed_call_is_told_by_when_it_failed(
    embedded: ModelConfig, raised: Exception, steps: int, kind: type[errors.OctaboxError]
) -> None:
    """What a pipeline refuses before its first step was asked wrongly; later it is its own failure."""
    assert kind is type(as_generation_error(raised, Calls(embedded)(), steps))


@pytest.mark.parametrize(
    ("words", "inputs", "parameter"),
    [
        ("`prompt` has to be text", {}, "prompt"),
        ("`guidance_scale` and `image` do not go together", {"image": (np.zeros(1),)}, "guidance_scale"),
        ("expected 4 axes", {"latents": (np.zeros(1),)}, "latents"),
        ("expected 4 axes", {"latents": (np.zeros(1),), "image": (np.zeros(1),)}, None),
        ("expected 4 axes", {}, None),
        ("`strength` is needed", {}, None),
    ],
)
def test_a_refusal_names_its_parameter(
    embedded: ModelConfig, words: str, inputs: dict[str, Any], parameter: str | None
) -> None:
    """The first of those given that it speaks of, else the only file; it is left open where several may be meant."""
    told = as_generation_error(ValueError(words), Calls(embedded)(inputs=inputs), 0)

    assert parameter == told.parameter


def test_what_libraries_warn_of_is_gathered() -> None:
    """Warnings of diffusers count, and those of the package that brings a pipeline; no others, and none afterwards."""
    with library_warnings("easel") as said:
        for name in ("diffusers.pipelines.brush", "easel.brush", "other"):
            logging.getLogger(name).warning("%s warns", name)
        logging.getLogger("easel.brush").info("easel tells")
    logging.getLogger("easel.brush").warning("too late")

    assert ["diffusers.pipelines.brush warns", "easel.brush warns"] == said


def test_warnings_are_gathered_where_a_log_keeps_them_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that logs errors alone still answers with what a plugin warned of, and logs it no more than before."""
    easel = logging.getLogger("easel.quiet")
    handler = logging.StreamHandler(sys.stderr)
    easel.addHandler(handler)
    easel.propagate = False
    easel.setLevel(logging.ERROR)
    with library_warnings("easel.quiet") as said:
        logging.getLogger("easel.quiet.brush").warning("The paint is thin.")
        logging.getLogger("easel.quiet.brush").error("The paint is gone.")

    assert ["The paint is thin.", "The paint is gone."] == said
    assert "The paint is gone.\n" == capsys.readouterr().err
    assert (logging.ERROR, logging.NOTSET) == (easel.level, handler.level)
