"""The choice of a model's dtype from device, weights and configuration, and errors about dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ldm_layout import tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement import dtype as dtypes
from octabox.engine.worker.placement.dtype import (
    DtypeChoice,
    Precision,
    choose_dtypes,
    dtype_failure,
    stored_half_dtype,
    supported_half_dtypes,
)
from octabox.engine.worker.placement.dtype_failures import record_failed_dtypes

KIND = "StableDiffusionPipeline"


class Kind:
    """Replaces a pipeline class."""


class FineKind:
    """Replaces a pipeline class with a preferred half-precision dtype."""

    preferred_dtypes = (torch.float16,)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record dtype failures in a folder of the test."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pipe() -> Any:
    """Return a tiny model."""
    return tiny_sd()


def choose(
    monkeypatch: pytest.MonkeyPatch,
    config: ModelConfig,
    halves: Sequence[torch.dtype] = dtypes.HALF_DTYPES,
    kind: type = Kind,
    default: str = "auto",
) -> DtypeChoice:
    """Return the dtypes for a device that supports these half-precision dtypes."""
    monkeypatch.setattr(dtypes, "supported_half_dtypes", lambda device: tuple(halves))
    monkeypatch.setattr(dtypes, "device_model", lambda device: device)
    return choose_dtypes(config, default, "cuda", kind, None)


def tried(choice: DtypeChoice) -> list[str]:
    """Return the names of the precisions to try."""
    return [str(attempt) for attempt in choice.attempts]


def stored(folder: Path, dtype: torch.dtype, variant: str = "") -> ModelConfig:
    """Return a configuration of a folder whose weights are stored in a dtype."""
    (folder / "unet").mkdir()
    save_file({"weight": torch.zeros(4, dtype=dtype)}, folder / "unet" / f"model{variant}.safetensors")
    return ModelConfig(name="x", model=str(folder))


def test_the_processor_computes_in_float32(tmp_path: Path) -> None:
    """On the CPU `auto` is float32, whatever the dtype of the stored weights."""
    choice = choose_dtypes(stored(tmp_path, torch.float16), "auto", "cpu", Kind, None)

    assert ["float32"] == tried(choice)


@pytest.mark.parametrize(
    ("weights", "halves", "first"),
    [
        (torch.float32, (torch.bfloat16, torch.float16), "bfloat16"),
        (torch.float32, (torch.float16,), "float16"),
        (torch.float16, (torch.bfloat16, torch.float16), "float16"),
        (torch.bfloat16, (torch.bfloat16, torch.float16), "bfloat16"),
        (torch.bfloat16, (torch.float16,), "float16"),
        (torch.float32, (), "float32"),
    ],
)
def test_auto_is_what_hardware_and_weights_have_in_common(
    weights: torch.dtype, halves: tuple[torch.dtype, ...], first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dtype of the stored weights is first if the device supports it, and float32 last."""
    choice = choose(monkeypatch, stored(tmp_path, weights), halves)

    assert first == tried(choice)[0]
    assert "float32" == tried(choice)[-1]
    assert choice.automatic


def test_a_class_may_prefer_a_half_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preferred dtype of a class is chosen, unless the weights are stored in another."""
    assert "float16" == tried(choose(monkeypatch, stored(tmp_path, torch.float32), kind=FineKind))[0]


@pytest.mark.parametrize(("own", "default"), [("bfloat16", "auto"), ("auto", "bfloat16"), ("bfloat16", "float16")])
def test_what_was_asked_for_is_not_changed(
    own: Any, default: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dtype of the configuration, or else of the settings, is the only one, with and without casts."""
    config = stored(tmp_path, torch.float16).model_copy(update={"dtype": own})
    choice = choose(monkeypatch, config, (torch.float16,), default=default)

    assert ["bfloat16", "bfloat16 with casts"] == tried(choice)
    assert not choice.automatic


def test_what_has_failed_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dtype that a call has failed in is left out by the next load; for another class it is not."""
    config = stored(tmp_path, torch.float32)
    record_failed_dtypes(choose(monkeypatch, config).key, {"bfloat16": "no", "bfloat16 with casts": "no"})

    assert ["float16", "float16 with casts", "float32"] == tried(choose(monkeypatch, config))
    assert "bfloat16" == tried(choose(monkeypatch, config.model_copy(), kind=type("Other", (), {})))[0]


def test_casts_alone_come_next_where_dtypes_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a mismatch the same dtype is tried with casts; where an operator is missing another dtype is."""
    choice = choose(monkeypatch, stored(tmp_path, torch.float32))
    first = choice.attempts[0]

    assert Precision(torch.bfloat16, casts=True) == choice.after(first, mismatch=True)
    assert Precision(torch.float16) == choice.after(first, mismatch=False)
    assert choice.after(choice.attempts[-1], mismatch=True) is None


@pytest.mark.parametrize(
    ("variant", "dtype"), [(".fp16", torch.float16), (".bf16", torch.bfloat16), ("", torch.bfloat16)]
)
def test_the_stored_dtype_is_read_from_the_weights(variant: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """The stored dtype is read from file headers, also for a folder with a single variant."""
    assert dtype == stored_half_dtype(stored(tmp_path, dtype, variant))


def test_a_single_file_says_its_dtype(tmp_path: Path) -> None:
    """The dtype of a single file is read from its header; without a header it is unknown."""
    save_file({"weight": torch.zeros(4, dtype=torch.float16)}, tmp_path / "model.safetensors")

    assert torch.float16 == stored_half_dtype(ModelConfig(name="x", model=str(tmp_path / "model.safetensors")))
    assert stored_half_dtype(ModelConfig(name="x", model="owner/name")) is None


def test_the_processor_multiplies_halves() -> None:
    """Support is tested by a computation if the device module does not report it."""
    assert set(dtypes.HALF_DTYPES) == set(supported_half_dtypes("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["auto", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("variant", ["fp16", "non_ema"])
def test_the_only_variant_is_loaded_in_any_dtype(dtype: Any, variant: str, pipe: Any, tmp_path: Path) -> None:
    """A folder that has no other weight files than those of one variant loads in each dtype, by setting too."""
    pipe.save_pretrained(tmp_path / "model", variant=variant)
    config = ModelConfig(name="x", model=str(tmp_path / "model"))
    wanted = torch.float32 if dtype == "auto" else getattr(torch, dtype)

    by_model = load(config.model_copy(update={"dtype": dtype}), KIND, WorkerOptions(device="cpu")).pipeline
    by_setting = load(config, KIND, WorkerOptions(device="cpu", dtype=dtype)).pipeline

    assert wanted == by_model.unet.dtype == by_model.text_encoder.dtype == by_setting.vae.dtype
    if dtype == "float32":
        pairs = zip(by_model.unet.parameters(), pipe.unet.parameters(), strict=True)
        assert all(torch.equal(mine, its) for mine, its in pairs)


def test_a_component_of_one_variant_is_loaded(pipe: Any, tmp_path: Path) -> None:
    """A component's own source may have files of one variant alone, too."""
    pipe.save_pretrained(tmp_path / "model")
    pipe.unet.save_pretrained(tmp_path / "other", variant="fp16")
    config = ModelConfig.model_validate(
        {"name": "x", "model": str(tmp_path / "model"), "components": {"unet": {"model": str(tmp_path / "other")}}}
    )

    assert torch.float32 == load(config, KIND, WorkerOptions(device="cpu")).pipeline.unet.dtype


def failure(call: Any) -> tuple[str, bool] | None:
    """Return what is recognized in the error of a call."""
    with pytest.raises((RuntimeError, TypeError)) as caught:
        call()
    return dtype_failure(caught.value)


def test_errors_of_torch_about_dtypes_are_told_from_others() -> None:
    """Mismatches, unsupported dtypes and other errors are distinguished."""
    half, full = torch.ones(2, 2, dtype=torch.bfloat16), torch.ones(2, 2)
    convolution = torch.nn.Conv2d(1, 1, 1).to(torch.bfloat16)

    mismatches = [
        failure(lambda: half @ full),
        failure(lambda: torch.nn.functional.linear(full, half)),
        failure(lambda: convolution(torch.ones(1, 1, 2, 2))),
        failure(lambda: torch.nn.functional.scaled_dot_product_attention(half[None], full[None], full[None])),
    ]
    lacking = [failure(half.numpy), failure(lambda: torch.linalg.inv(half))]

    assert [True] * 4 == [found[1] for found in mismatches if found]
    assert [False] * 2 == [found[1] for found in lacking if found]
    assert failure(lambda: full @ torch.ones(3, 3)) is None


@pytest.mark.parametrize("verb", ["GET", "FIND"])
def test_a_kernel_that_is_missing_is_about_the_dtype(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the device lacks the dtype; else cuDNN means that no algorithm has the memory that it needs."""
    monkeypatch.setattr(dtypes, "supported_half_dtypes", lambda _: (torch.float16,))
    error = RuntimeError(f"{verb} was unable to find an engine to execute this computation")
    expected = {torch.bfloat16: (str(error), False), torch.float16: None, torch.float32: None, None: None}

    assert expected == {dtype: dtype_failure(error, dtype, "cuda:0") for dtype in expected}
