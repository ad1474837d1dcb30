"""Which device a model is loaded on, and what happens where that does not exist or is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accelerator.engine_run import run_engine
from accelerator.test_forkserver import environment
from accelerator.tiny_models import load_model, pixels, run_call
from ldm_layout import tiny_sd
from octabox.engine.worker.placement.device import choose_device, find_bad_fork, survey_devices
from octabox.errors import LoadError
from pretended_accelerator import Control


def devices(results: list[dict[str, Any]]) -> list[str]:
    """Return the devices of models that were loaded."""
    return [result["device"] for result in results]


@pytest.mark.slow
def test_models_are_spread_over_devices(tmp_path: Path) -> None:
    """Models that are loaded together are on different devices, a named device is used, and the status shows the device."""
    steps: list[dict[str, Any]] = [
        {"load": ["one", "two"]},
        {"load": ["three"], "device": "fake:1"},
        {"load": ["four"]},
        {"load": ["five"], "device": "fake"},
        {"load": ["six"], "device": "cpu"},
        {"status": None},
        {"load": ["seven"], "device": "fake:7"},
        {"load": ["eight"], "device": "cuda"},
    ]
    results = run_engine(steps, environment(tmp_path, devices=2)).results

    assert {"fake:0", "fake:1"} == set(devices(results[0]))
    assert ["fake:1"] == devices(results[1])
    assert ["fake:0"] == devices(results[2])
    assert devices(results[3])[0] in {"fake:0", "fake:1"}
    assert ["cpu"] == devices(results[4])
    assert {"one", "two", "three", "four", "five", "six"} == {status["model"] for status in results[5]}
    assert ("LoadError", ["cpu", "fake:0", "fake:1"]) == (results[6][0]["error"], results[6][0]["choices"])
    assert ("LoadError", ["cpu", "fake:0", "fake:1"]) == (results[7][0]["error"], results[7][0]["choices"])


@pytest.mark.slow
def test_a_load_without_room_takes_an_idle_model_off_its_device(tmp_path: Path) -> None:
    """Where memory runs out during a load, the model on that device that was idle longest sleeps, and no other does."""
    steps: list[dict[str, Any]] = [
        {"load": ["other"], "device": "fake:1"},
        {"load": ["first"], "device": "fake:0"},
        {"load": ["second"], "device": "fake:0"},
        {"status": None},
    ]
    outcome = run_engine(steps, environment(tmp_path, devices=2, memory=24_000_000))

    states = {each["model"]: (each["device"], each["state"]) for each in outcome.results[3]}
    assert {"other": ("fake:1", "ready"), "first": ("fake:0", "sleeping"), "second": ("fake:0", "ready")} == states


@pytest.mark.slow
def test_a_load_that_finds_no_room_at_all_says_so(tmp_path: Path) -> None:
    """A model that is larger than its device raises `OutOfMemoryError`; smaller ones can be loaded afterwards."""
    steps: list[dict[str, Any]] = [{"load": ["demo"]}, {"load": ["demo"], "device": "cpu"}]
    results = run_engine(steps, environment(tmp_path, memory=1_000_000)).results

    assert "OutOfMemoryError" == results[0][0]["error"]
    assert ["cpu"] == devices(results[1])


@pytest.mark.parametrize(
    ("requested", "device"),
    [
        (None, "fake:0"),
        ("accelerator", "fake:0"),
        ("fake", "fake:0"),
        ("fake:1", "fake:1"),
        ("cpu", "cpu"),
        ("cpu:0", "cpu"),
    ],
)
def test_a_worker_chooses_its_device(accelerator: Control, requested: str | None, device: str) -> None:
    """A requested device becomes one with its index, or the CPU."""
    accelerator.settings.devices = 2

    assert device == choose_device(requested, "demo")


@pytest.mark.parametrize(("requested", "device"), [("fake:1", "fake:1"), ("cpu", "cpu")])
def test_all_components_are_moved_to_the_device(
    accelerator: Control, tmp_path: Path, requested: str, device: str
) -> None:
    """Each weight of each component is there, as after diffusers' `to`, and the model makes its image."""
    accelerator.settings.devices = 2
    tiny_sd().save_pretrained(tmp_path / "model")
    runner = load_model(tmp_path, "model", device=requested, memory="full", dtype="float32")
    weights = {
        name: {str(weight.device) for weight in [*part.parameters(), *part.buffers()]}
        for name, part in runner.pipelines[0].components.items()
        if hasattr(part, "parameters")
    }

    assert {name: {device} for name in ("unet", "vae", "text_encoder")} == weights
    assert (16, 16, 3) == pixels(run_call(runner)).shape


@pytest.mark.parametrize("requested", ["fake:2", "cuda", "xpu:0", "meta", "nonsense"])
def test_a_device_that_does_not_exist_is_refused(accelerator: Control, requested: str) -> None:
    """The error names the device and lists those that exist."""
    accelerator.settings.devices = 2

    with pytest.raises(LoadError, match=requested) as caught:
        choose_device(requested, "demo")
    assert ("cpu", "fake:0", "fake:1") == caught.value.choices


def test_without_an_accelerator_only_the_processor_is_left(accelerator: Control) -> None:
    """The default is the CPU; a requested accelerator is refused."""
    accelerator.settings.devices = 0

    assert "cpu" == choose_device(None, "demo")
    with pytest.raises(LoadError, match="accelerator"):
        choose_device("accelerator", "demo")


def test_a_worker_makes_its_device_the_current_one(accelerator: Control) -> None:
    """Code that names no index afterwards uses the model's device."""
    import torch  # noqa: PLC0415 (not before the device exists)

    accelerator.settings.devices = 2
    choose_device("fake:1", "demo")

    assert 1 == torch.accelerator.current_device_index()


def test_free_memory_is_surveyed_where_there_is_a_choice(accelerator: Control) -> None:
    """The memory of one device is not queried; that of several is."""
    one = survey_devices()
    accelerator.settings.devices, accelerator.settings.memory = 2, 1_000_000
    left = {f"fake:{index}": 1_000_000 - accelerator.reserved(index) for index in range(2)}
    two = survey_devices()

    assert {"fake:0": None} == {each.name: each.free for each in one.devices}
    assert left == {each.name: each.free for each in two.devices}


def test_a_bad_fork_is_found_by_the_devices_own_module(accelerator: Control) -> None:
    """Each type of device that torch has a module for is queried, that of a plugin too."""
    assert find_bad_fork() is None
    accelerator.bad_fork = True
    report = find_bad_fork()

    assert report is not None
    assert ("fake",) == report.device_types
