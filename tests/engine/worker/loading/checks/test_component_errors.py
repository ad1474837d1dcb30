"""Errors of the libraries name the component that was loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers.pipelines import pipeline_utils

from octabox.config.model import ModelConfig
from octabox.engine.worker.loading.checks.component_errors import named_component, named_components
from octabox.errors import (
    DownloadError,
    IncompatibleWeightsError,
    LoadError,
    MissingDependencyError,
    OctaboxError,
    OutOfMemoryError,
)

CONFIG = ModelConfig(name="mine", model="/models/mine")


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ValueError("odd value"), IncompatibleWeightsError),
        (OSError("no file"), LoadError),
        (ImportError("needs sentencepiece"), MissingDependencyError),
    ],
)
def test_what_is_loaded_is_named(raised: Exception, kind: type[OctaboxError]) -> None:
    """The class of the error is that of its cause."""
    with pytest.raises(kind) as caught, named_component(CONFIG, "vae", Path("/models/mine/vae")):
        raise raised

    assert kind is type(caught.value)
    assert caught.value.message.startswith("Model 'mine': vae in /models/mine/vae ")
    assert str(raised) in caught.value.message
    assert raised is caught.value.__cause__


def test_errors_of_ours_and_of_memory_are_kept() -> None:
    """They say more themselves."""
    ours = DownloadError("no network")
    with pytest.raises(DownloadError) as caught, named_component(CONFIG, "vae", "/x"):
        raise ours
    with pytest.raises(OutOfMemoryError), named_component(CONFIG, "vae", "/x"):
        raise MemoryError

    assert "no network" == caught.value.message


def test_diffusers_is_left_as_it_was() -> None:
    """Also after an error."""
    before = pipeline_utils.load_sub_model
    with named_components(CONFIG):
        assert before is not pipeline_utils.load_sub_model
    with pytest.raises(KeyError), named_components(CONFIG):
        raise KeyError

    assert before is pipeline_utils.load_sub_model
