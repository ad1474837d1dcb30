"""The verb show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from octabox.cli.main import cli
from octabox.demo import FOLDER
from octabox.engine.batches.verdicts import write_verdict
from octabox.errors import MediaError
from octabox.media.images import encode
from octabox.types import OutputFormat


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


def test_show_tells_what_an_image_was_made_from(tmp_path: Path) -> None:
    """The prompt, the seed and all else that the file holds."""
    image, made_from = tmp_path / "star.png", {"params": {"prompt": "a red star"}, "seed": 7, "model": "demo"}
    image.write_bytes(encode(Image.new("RGB", (8, 8)), OutputFormat("png"), made_from)[0])
    facts = json.loads(CliRunner().invoke(cli, ["show", str(image), "--json"]).output)
    output = CliRunner().invoke(cli, ["show", str(image)], catch_exceptions=False).output

    assert made_from == facts
    assert {"params.prompt", "a red star", "seed", "7", "demo"} <= {
        each.strip() for each in output.replace("  ", "\n").split("\n")
    }


def test_show_states_what_will_happen_to_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the verdicts about the model, and by those about others of the same classes; of several kinds of calls, which."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path))

    def shown() -> str:
        output = CliRunner().invoke(cli, ["show", "demo"], catch_exceptions=False).output
        return next(line for line in output.splitlines() if line.startswith("batching"))

    assert "auto, not tried yet" in shown()
    index = json.loads((FOLDER / "model_index.json").read_text())
    components = {name: part[1] for name, part in index.items() if isinstance(part, list)}
    key = {"class": index["_class_name"], "components": components}
    write_verdict({**key, "x": 1}, "they differ", source="another model", names=["seed"])
    assert "runs singly: they differ" in shown()
    write_verdict({**key, "x": 2}, "", source="another model", names=[])

    assert f"auto, {index['_class_name']} with seed runs singly: they differ" in shown()


def test_an_image_that_tells_nothing(tmp_path: Path) -> None:
    """It is a separate error, as is a file that only looks like an image."""
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    (tmp_path / "no.png").write_bytes(b"no image")
    for name in ("bare.png", "no.png"):
        result = CliRunner().invoke(cli, ["show", str(tmp_path / name)], standalone_mode=False)

        assert isinstance(result.exception, MediaError)
        assert name in str(result.exception)
