"""The verb show."""

from __future__ import annotations

import json

from click.testing import CliRunner

from octabox.cli.main import cli


def test_show_lists_what_may_be_asked() -> None:
    """The embedded model's parameters are shown with the defaults that its configuration gives them."""
    output = CliRunner().invoke(cli, ["show", "demo"], catch_exceptions=False).output

    assert "num_inference_steps" in output
    assert "image-to-image" in output


def test_show_prints_a_schema() -> None:
    """As JSON it is a schema of the task that was asked for, which refuses what is not in it."""
    schema = json.loads(CliRunner().invoke(cli, ["show", "demo", "--task", "inpainting", "--json"]).output)

    assert {"image", "mask_image", "strength"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert 20 == schema["properties"]["num_inference_steps"]["default"]
