"""Where the configuration of a component in a single file is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.hub.component_configs import find_config, no_config_error, not_from_file_error


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a weight file."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/net.safetensors").write_bytes(b"")
    return tmp_path / "nets/net.safetensors"


def test_a_configuration_next_to_a_file_comes_first(file: Path, tmp_path: Path) -> None:
    """That of the model is for files without one; without either there is none to guess."""
    (tmp_path / "model/controlnet").mkdir(parents=True)
    source = str(tmp_path / "model")

    assert {} == find_config(str(file), source, "vae")
    assert {"config": source, "subfolder": "controlnet"} == find_config(str(file), source, "controlnet")
    (file.parent / "config.json").write_text("{}")
    assert {"config": str(file.parent)} == find_config(str(file), source, "controlnet")


def test_a_model_of_the_hub_has_a_configuration_for_all_that_is_known(file: Path, tmp_path: Path) -> None:
    """A file, or a folder that does not exist, has none."""
    assert {"config": "org/model", "subfolder": "vae"} == find_config(str(file), "org/model", "vae")
    assert {} == find_config(str(file), str(file), "vae")
    assert {} == find_config(str(file), str(tmp_path / "nowhere"), "vae")


def test_errors_name_the_component_and_what_to_do() -> None:
    """They are the same in a check and in a load."""
    assert "the configuration of vae in a.safetensors" in no_config_error("m", "vae", "a.safetensors").message
    assert "components.vae" in (no_config_error("m", "vae", "a.safetensors").hint or "")
    assert "'vae' cannot be loaded from a single file" in not_from_file_error("m", "vae").message
