"""Which files of a repository a request needs."""

from __future__ import annotations

import pytest

from local_hub import LocalHub
from octabox.errors import InvalidParameterError
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (PullRequest("org/file", variant="fp16"), "it is a repository of single files"),
        (PullRequest("org/lora", variant="fp16"), "it is a repository of single files"),
        (PullRequest("org/file", file="model.gguf", variant="fp16"), "a file is selected by its name"),
        (PullRequest("org/pipe", file="unet/config.json", variant="fp16"), "a file is selected by its name"),
    ],
)
def test_a_variant_without_an_effect_is_refused(local_hub: LocalHub, request_: PullRequest, reason: str) -> None:
    """Only models and components in the format of diffusers have variants."""
    local_hub.add("org/file", {"model.gguf": b"x"})
    local_hub.add("org/lora", {"pytorch_lora_weights.safetensors": b"x"}, tags=["lora"])
    local_hub.add("org/pipe", {"model_index.json": b'{"_class_name": "X"}', "unet/config.json": b"{}"})
    with pytest.raises(InvalidParameterError, match=reason) as caught:
        make_plan(request_)

    assert "variant" == caught.value.parameter
