"""The bytes that a model needs and may use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from octabox.config.model import ModelConfig
from octabox.engine.local.resident.budget import PROCESS_BYTES, MemoryBudget, MemoryNeed, memory_need
from octabox.engine.memory import learned
from octabox.engine.memory.identity import loading_key
from octabox.engine.memory.learned import LearnedMemory, write_learned

GIB = 2**30


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model of two components, of which nothing has been measured."""
    monkeypatch.setattr(learned, "cache_folder", lambda: tmp_path)
    for name, elements in (("unet", 1000), ("vae", 100)):
        (tmp_path / name).mkdir()
        save_file({"w": torch.zeros(elements)}, tmp_path / name / "diffusion_pytorch_model.safetensors")
    return tmp_path


def need(model: Path, device: str | None, **fields: Any) -> MemoryNeed:
    """Return what a model needs on a device."""
    config = ModelConfig.model_validate({"name": "x", "model": str(model), **fields})
    return memory_need(config, "P", device, "auto")


@pytest.mark.parametrize(
    ("device", "fields", "host", "on_device", "flexible"),
    [
        ("cpu", {}, 4400, None, False),
        ("cuda:0", {}, 0, 2200, True),
        ("cuda:0", {"memory": "full"}, 0, 2200, False),
        ("cuda:0", {"memory": "model_cpu_offload"}, 2200, 2000, True),
    ],
)
def test_a_need_is_computed_from_the_files(
    model: Path, device: str, fields: dict[str, Any], host: int, on_device: int | None, *, flexible: bool
) -> None:
    """On the CPU in float32; on an accelerator all weights, or the largest component where they are offloaded."""
    found = need(model, device, **fields)

    assert PROCESS_BYTES + host == found.bytes["host"]
    assert on_device == found.bytes.get("cuda:0")
    assert flexible is ("cuda:0" in found.flexible)


def test_what_was_measured_replaces_what_was_computed(model: Path) -> None:
    """It is kept by the type of the device."""
    config = ModelConfig(name="x", model=str(model))
    write_learned(loading_key(config, "P", "cuda", "auto"), LearnedMemory({"full": {"host": 5, "device": 7}}))

    assert {"host": 5, "cuda:1": 7} == need(model, "cuda:1").bytes
    assert {"host": PROCESS_BYTES + 4400} == need(model, "cpu").bytes


def test_a_model_that_is_not_here_needs_nothing_known() -> None:
    """A model of the Hub is downloaded first."""
    assert MemoryNeed() == need(Path("nobody/nothing"), "cuda:0")


def test_a_model_on_an_unknown_device_needs_nothing_known(model: Path) -> None:
    """Where accelerators cannot be listed it may be on one, which counts neither on the host nor in float32."""
    assert MemoryNeed() == need(model, None)


def test_a_limit_counts_what_the_others_hold() -> None:
    """Places with a limit come first; what is free counts only where there is none."""
    limits = MemoryBudget({"cuda:0": 10, "host": 100}, host=lambda: (1, 2))
    wanted = MemoryNeed({"host": 95, "cuda:0": 6, "cuda:1": 5})
    held = [{"host": 6, "cuda:0": 5}, {"cuda:0": 1}]

    assert [("host", 95, 94), ("cuda:0", 6, 4)] == [
        (each.place, each.needed, each.available) for each in limits.shortages(wanted, held, {"cuda:0": 99})
    ]
    found = limits.shortages(wanted, held, {"cuda:1": 4})
    assert [True, True, False] == [each.limited for each in found]


def test_without_a_limit_the_free_memory_counts() -> None:
    """A reserve is left to others; where nothing is known, nothing is short."""
    free = MemoryBudget({}, host=lambda: (2 * GIB, 8 * GIB))
    assert [("host", 2 * GIB - GIB // 2)] == [
        (each.place, each.available) for each in free.shortages(MemoryNeed({"host": 3 * GIB, "cuda:0": 5}), [], {})
    ]
    assert [] == MemoryBudget({}, host=lambda: None).shortages(MemoryNeed({"host": 3 * GIB}), [], {})


def test_a_model_that_is_split_needs_its_weights_on_each_device(model: Path) -> None:
    """None of its processes offloads, and each has its own memory on the host."""
    split = {"parallel": {"devices": ["cuda:1", "cuda:0"]}, "memory": "auto"}
    found, on_host = need(model, "cuda:1", **split), need(model, "cpu", parallel=3)

    assert {"host": 2 * PROCESS_BYTES, "cuda:0": 2200, "cuda:1": 2200} == found.bytes
    assert frozenset() == found.flexible
    assert {"host": 3 * (PROCESS_BYTES + 4400)} == on_host.bytes
