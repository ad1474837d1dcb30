"""Names of memory modes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from octabox.config.model import ModelConfig


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("medvram", "model_cpu_offload"),
        ("LowVRAM", "sequential_cpu_offload"),
        ("group_offload", "group_offload"),
        ("auto", "auto"),
    ],
)
def test_other_names(name: str, mode: str) -> None:
    """The names of the AUTOMATIC1111 web UI are those of modes."""
    assert mode == ModelConfig.model_validate({"name": "x", "model": "y", "memory": name}).memory


def test_an_unknown_name_is_an_error() -> None:
    """Any other name is refused."""
    with pytest.raises(ValidationError, match="model_cpu_offload"):
        ModelConfig.model_validate({"name": "x", "model": "y", "memory": "novram"})
