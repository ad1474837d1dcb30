"""The one file of a LoRA, in a folder or in a repository of the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.errors import AdapterNotFoundError
from octabox.hub.adapters.lora_source import resolve_lora_file
from trained import HEARTS


def test_a_file_is_itself() -> None:
    """Whatever it is called."""
    assert Path(HEARTS) == resolve_lora_file(HEARTS)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.safetensors", "notes.txt"], "a.safetensors"),
        (["a.safetensors", "pytorch_lora_weights.safetensors"], "pytorch_lora_weights.safetensors"),
        (["adapter_config.json", "adapter_model.safetensors", "x.safetensors"], "adapter_model.safetensors"),
        (["a.safetensors", "b.safetensors"], None),
        ([], None),
    ],
)
def test_a_folder(tmp_path: Path, names: list[str], chosen: str | None) -> None:
    """The only file, or that which diffusers or PEFT saved; where neither tells, that is an error."""
    for name in names:
        (tmp_path / name).touch()
    if chosen:
        assert tmp_path / chosen == resolve_lora_file(str(tmp_path))
        return
    with pytest.raises(AdapterNotFoundError, match=r"several files|no \.safetensors file"):
        resolve_lora_file(str(tmp_path))


def test_what_is_not_here(tmp_path: Path) -> None:
    """A Hub id is resolved before; here it is a path that does not exist."""
    with pytest.raises(AdapterNotFoundError, match="owner/style is missing"):
        resolve_lora_file("owner/style")
