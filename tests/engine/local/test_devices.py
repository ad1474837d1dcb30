"""Which device a model is loaded on, by what a process has found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from fake_worker import model
from octabox.engine.local.devices import DevicePool
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.messages import DeviceMemory, Survey
from octabox.engine.worker.entry import survey
from octabox.errors import LoadError

#: A Mac's accelerator, whose free memory torch does not report.
MAC = Survey((DeviceMemory("mps:0", reports=False),))


def pool_of(found: Survey, asked: list[Callable[..., None]]) -> DevicePool:
    """Return the devices of a machine, and note what processes are asked."""

    def ask(work: Callable[..., None] = survey) -> Survey:
        asked.append(work)
        return found

    pool = DevicePool(ProcessStarter(spawns=True))
    pool.ask = ask  # type: ignore[method-assign]
    return pool


async def device_of(pool: DevicePool, requested: str | None = None) -> str | None:
    """Return the device of a model whose configuration names this one."""
    configuration: Any = model(device=requested)
    async with pool.assigned(configuration, requested, []) as device:
        return device


@pytest.mark.parametrize("platform", ["darwin", "linux"])
@pytest.mark.parametrize("requested", [None, "accelerator", "mps"])
@pytest.mark.parametrize("listed", [True, False])
async def test_a_model_is_on_the_accelerator(
    platform: str, requested: str | None, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    """On a Mac too, whether the accelerators were listed before or not: its memory is that of the accelerator then."""
    monkeypatch.setattr(sys, "platform", platform)
    asked: list[Callable[..., None]] = []
    pool = pool_of(MAC, asked)
    if listed:
        assert ["mps:0"] == await pool.names()

    assert ["mps:0", "mps:0"] == [await device_of(pool, requested) for _ in range(2)]
    assert 1 == len(asked)


@pytest.mark.parametrize("platform", ["darwin", "linux"])
async def test_a_model_is_on_the_cpu_without_an_accelerator(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where accelerators cannot be listed, its worker chooses."""
    monkeypatch.setattr(sys, "platform", platform)

    assert "cpu" == await device_of(pool_of(Survey(), []))
    assert await device_of(pool_of(Survey(problem="the driver is broken"), [])) is None


async def test_a_device_that_cannot_report_its_memory_is_asked_once() -> None:
    """Each time takes a process that imports torch; one that only failed to report it is asked again."""
    asked: list[Callable[..., None]] = []
    pool, other = pool_of(MAC, asked), pool_of(Survey((DeviceMemory("cuda:0", 5),)), asked)

    assert [None, None] == [await pool.free("mps:0") for _ in range(2)]
    assert 1 == len(asked)
    assert [5, 5] == [await other.free("cuda:0") for _ in range(2)]
    assert 3 == len(asked)
    full = pool_of(Survey((DeviceMemory("cuda:0", None),)), asked)
    assert [None, None] == [await full.free("cuda:0") for _ in range(2)]
    assert 5 == len(asked)


async def test_a_report_of_all_devices() -> None:
    """Each has its free memory of this moment; a machine without any that report it is asked once."""
    asked: list[Callable[..., None]] = []
    pool, mac = pool_of(THREE, asked), pool_of(MAC, asked)

    assert [THREE, THREE] == [await pool.report() for _ in range(2)]
    assert 2 == len(asked)
    assert [MAC, MAC] == [await mac.report() for _ in range(2)]
    assert 3 == len(asked)
    assert {"accelerators": {"mps:0": None}, "problem": None} == MAC.to_json()


async def test_a_look_that_fails_leaves_what_is_known() -> None:
    """Models are placed by it: a process that fails must not leave the machine with one accelerator."""
    pool = pool_of(THREE, [])
    assert ["cuda:0", "cuda:1", "cuda:2"] == await pool.names()
    pool.ask = lambda *_: Survey((), "It has ended.")  # type: ignore[method-assign]

    assert "It has ended." == (await pool.report()).problem
    assert ["cuda:0", "cuda:1", "cuda:2"] == await pool.names()


async def companions_of(
    pool: DevicePool, device: str, requested: str | None = None, *excluded: str, **fields: Any
) -> Any:
    """Return the other devices of a model that is split."""
    configuration: Any = model(device=requested, **fields)
    async with pool.companions(configuration, device, requested, [], excluded) as found:
        return found


#: A machine with three accelerators, of which the last one has the most free memory.
THREE = Survey(tuple(DeviceMemory(f"cuda:{index}", 2**30 * index) for index in range(3)))


async def test_a_model_on_one_device_has_no_companions() -> None:
    """Nothing is looked for."""
    asked: list[Callable[..., None]] = []

    assert () == await companions_of(pool_of(THREE, asked), "cuda:0")
    assert [] == asked


async def test_a_model_that_is_split_takes_the_devices_with_the_most_room() -> None:
    """Those that it names, if it names them; each is another one than the first."""
    pool = pool_of(THREE, [])

    assert ("cuda:2",) == await companions_of(pool, "cuda:1", parallel=2)
    assert ("cuda:2", "cuda:0") == await companions_of(pool, "cuda:1", "cuda", parallel=3)
    assert ("cuda:0",) == await companions_of(pool, "cuda:1", None, "cuda:2", parallel=2)
    named = {"devices": ["cuda:2", "cuda:0"]}
    assert ("cuda:0",) == await companions_of(pool, "cuda:2", parallel=named)
    assert ("cpu", "cpu") == await companions_of(pool, "cpu", "cpu", parallel=3)


async def test_a_model_that_is_being_loaded_counts_on_all_of_its_devices() -> None:
    """Another one is loaded elsewhere meanwhile."""
    pool = pool_of(THREE, [])
    split: Any = model(device=None, parallel=2)

    async with pool.companions(split, "cuda:1", None, []) as found:
        assert ("cuda:2",) == found
        assert "cuda:2" != await device_of(pool)
    assert "cuda:2" == await device_of(pool)


@pytest.mark.parametrize(("survey", "device"), [(THREE, "cuda:0"), (Survey(), "cpu"), (MAC, "mps:0")])
async def test_too_few_devices_for_a_model_that_is_split(survey: Survey, device: str) -> None:
    """The error states how many there are; processes of the CPU must be asked for."""
    pool = pool_of(survey, [])

    with pytest.raises(LoadError, match=f"over 4 devices by `parallel`, and {len(survey.devices)} can be used here"):
        await companions_of(pool, device, parallel=4)
