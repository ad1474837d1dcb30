"""The one file of an IP-Adapter, and what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from octabox.errors import IncompatibleAdapterError, IncompatibleWeightsError, LoadError
from octabox.hub.adapters.ip_adapters import check_ip_adapter, resolve_ip_adapter_file


def save(file: Path, *names: str) -> Path:
    """Write a file with tensors of these names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.zeros(2, 3) for name in names}, file)
    return file


def test_a_file_a_folder_and_one_of_several(tmp_path: Path) -> None:
    """A file stands for itself; of a folder the only one is taken, or the one that is named."""
    first = save(tmp_path / "models" / "first.safetensors", "ip_adapter.1.to_k_ip.weight")

    assert first == resolve_ip_adapter_file(str(first))
    assert first == resolve_ip_adapter_file(str(tmp_path), "models")
    (tmp_path / "models" / "first.bin").touch()
    assert first == resolve_ip_adapter_file(str(tmp_path / "models"))
    second = save(tmp_path / "models" / "second.safetensors", "ip_adapter.1.to_k_ip.weight")
    assert second == resolve_ip_adapter_file(str(tmp_path), "models", "second.safetensors")
    with pytest.raises(LoadError, match=r"several files: first\.bin, first\.safetensors, second\.safetensors"):
        resolve_ip_adapter_file(str(tmp_path), "models")
    with pytest.raises(LoadError, match="no weights file there"):
        resolve_ip_adapter_file(str(tmp_path))
    with pytest.raises(LoadError, match=r"There is no IP-Adapter .*third"):
        resolve_ip_adapter_file(str(tmp_path), "models", "third.safetensors")


def test_what_is_not_here(tmp_path: Path) -> None:
    """A path that leads nowhere."""
    with pytest.raises(LoadError, match="There is no IP-Adapter at"):
        resolve_ip_adapter_file(str(tmp_path / "nothing"))


def test_what_a_file_holds(tmp_path: Path) -> None:
    """Its shapes; one that is another kind, for faces or damaged is refused."""
    names = ("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")
    good = save(tmp_path / "good.safetensors", *names)

    assert dict.fromkeys(names, (2, 3)) == check_ip_adapter(good)
    torch.save({"image_proj": {"proj.weight": torch.zeros(2, 3)}}, tmp_path / "pickled.bin")
    assert {names[0]: (2, 3)} == check_ip_adapter(tmp_path / "pickled.bin")
    with pytest.raises(IncompatibleAdapterError, match="is not an IP-Adapter"):
        check_ip_adapter(save(tmp_path / "lora.safetensors", "unet.to_k.lora_A.weight"))
    with pytest.raises(IncompatibleAdapterError, match="Face ID"):
        check_ip_adapter(save(tmp_path / "faces.safetensors", *names, "ip_adapter.0.to_k_lora.up.weight"))
    good.write_bytes(good.read_bytes()[:-8])
    with pytest.raises(IncompatibleWeightsError, match="truncated"):
        check_ip_adapter(good)
