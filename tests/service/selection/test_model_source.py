"""Models that are named by their place, without a configuration in the models folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save

from octabox import demo
from octabox.cli.main import cli
from octabox.errors import ConfigError, IncompatibleWeightsError, InvalidParameterError, ModelNotFoundError
from octabox.service.selection.model_source import model_of_source

WEIGHTS = save({"a": np.zeros(2, "float32")})


def test_a_source_is_a_model_without_a_configuration(tmp_path: Path) -> None:
    """A Hub id, a folder or a file is a source; other text is not."""
    file = tmp_path / "a.b.safetensors"
    file.write_bytes(WEIGHTS)
    found = [model_of_source(source) for source in ("owner/name", str(file), str(tmp_path), "nonsense", "a\0b")]

    assert [("owner/name", "owner/name"), ("a.b", str(file)), (tmp_path.name, str(tmp_path)), None, None] == [
        model and (model.name, model.model) for model in found
    ]


def test_an_address_of_the_hub_is_its_model() -> None:
    """As it is copied from a browser; that of a file is not a model that can be loaded."""
    found = model_of_source("https://huggingface.co/owner/name/tree/v1.0")

    assert found is not None
    assert ("owner/name", "owner/name", "v1.0") == (found.name, found.model, found.revision)
    with pytest.raises(InvalidParameterError, match="is a file of o/n"):
        model_of_source("https://hf.co/o/n/blob/main/x.gguf")
    with pytest.raises(ModelNotFoundError, match="not the address of a model"):
        model_of_source("https://huggingface.co/datasets/o/n")
    assert model_of_source("https://example.com/o/n") is None
    assert model_of_source("owner/name@v1.0") is None


def test_a_configuration_is_the_model_that_it_configures(tmp_path: Path) -> None:
    """Its sources are relative to its folder; several models are named, and a mistake is not that of a damaged download."""
    file, folder = tmp_path / "quick.yaml", tmp_path / "own"
    folder.mkdir()
    file.write_text("name: fast\nmodel: own\ndefaults: {num_inference_steps: 4}\n")
    found = model_of_source(str(file))

    assert found is not None
    assert ("fast", str(folder), 4) == (found.name, found.model, found.defaults["num_inference_steps"])
    file.write_text("- {name: a, model: own}\n- {name: b, model: own}\n")
    with pytest.raises(ConfigError, match=r"has 2 models\. Name one of them, with --models .*: a, b"):
        model_of_source(str(file))
    for text, message in (
        ("mdl: own\n", "is not the configuration of a model"),
        ("model: nowhere.safetensors\n", "nowhere"),
        ("name: x\nalias: demo\n", "has no model"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            model_of_source(str(file))


def test_a_file_that_is_no_checkpoint_is_not_damaged(tmp_path: Path) -> None:
    """It is another file; one without a suffix, as in the cache of the Hub, may be a checkpoint."""
    blob, text = tmp_path / "0123abc", tmp_path / "prompts.txt"
    blob.write_bytes(WEIGHTS)
    text.write_text("a red star")

    assert model_of_source(str(blob)) is not None
    with pytest.raises(IncompatibleWeightsError, match="is neither a checkpoint nor a configuration") as caught:
        model_of_source(str(text))
    assert "damaged" not in str(caught.value)


def test_the_command_line_takes_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the folder of models is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text(f"model: {demo.FOLDER}\ndefaults: {{num_inference_steps: 4}}\n")
    shown = CliRunner().invoke(cli, ["show", "quick.yaml"], standalone_mode=False)
    run = CliRunner().invoke(cli, ["run", "quick.yaml", "a star", "--dry-run", "--local"], standalone_mode=False)

    assert (0, 0) == (shown.exit_code, run.exit_code), (shown.exception, run.exception)
    assert '"num_inference_steps": 4' in run.output
