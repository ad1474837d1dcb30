"""The unmodified client of the Hub against a real server and the embedded model."""

from __future__ import annotations

import io
from typing import Any

import huggingface_hub.constants
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError, RepositoryNotFoundError

from demo_pictures import Scene, border_colour, centre_colour, draw

STEPS: dict[str, Any] = {"num_inference_steps": 20, "guidance_scale": 3}


@pytest.fixture
def client(base: str, monkeypatch: pytest.MonkeyPatch) -> InferenceClient:
    """Return a client of the model, which may use the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return InferenceClient(base_url=f"{base}/models/gpt-image-1", token="none")


def test_images(client: InferenceClient) -> None:
    """An image shows what its prompt says, with the client's parameters and with others; an edit keeps its image."""
    prompt = "a large yellow star on a blue background"
    shown = client.text_to_image(prompt, seed=1, scheduler="ddim", extra_body={"eta": 0.0}, **STEPS)
    file = io.BytesIO()
    draw(Scene("circle", "purple", "yellow", "large", 0.36)).save(file, "PNG")
    edited = client.image_to_image(file.getvalue(), prompt="", strength=0.4, **STEPS)
    raw = client.image_to_image(file.getvalue())

    assert ("yellow", "blue") == (centre_colour(shown), border_colour(shown))
    assert ("purple", "yellow") == (centre_colour(edited), border_colour(edited))
    assert shown.size == raw.size


def test_errors(client: InferenceClient, base: str) -> None:
    """The client raises its own classes, with our text."""
    with pytest.raises(BadRequestError, match="Did you mean num_inference_steps"):
        client.text_to_image("x", extra_body={"num_inference_step": 3})
    with pytest.raises(RepositoryNotFoundError, match="There is no model 'nothere'"):
        InferenceClient(base_url=f"{base}/models/nothere", token="none").text_to_image("x")


def test_endpoint(base: str, client: InferenceClient) -> None:
    """Health and information of an endpoint; the server's own address is healthy too."""
    checks = InferenceClient(provider="hf-inference", model=client.model)

    assert checks.health_check()
    assert checks.health_check(base)
    assert {"model_id": "gpt-image-1", "model_pipeline_tag": "text-to-image"} == checks.get_endpoint_info()
