"""Which models are in memory, and which one leaves it for another; with models that load nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from fake_worker import LIMIT, PIPELINE, Client, FakeWorkers, call, engine_of, result, settle
from fake_worker import model as configuration
from octabox.config.model import ModelConfig
from octabox.config.sections.parallel import ParallelConfig
from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.placement import Placement
from octabox.engine.cluster.state import LearnedDemand
from octabox.engine.cluster.turns import Claim, Turn
from octabox.engine.local.devices import DevicePool
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.replicas.local_replica import LocalReplica
from octabox.engine.local.residency import Residency
from octabox.engine.local.resident import room
from octabox.engine.local.resident.budget import MemoryBudget, MemoryNeed
from octabox.engine.messages import (
    BatchReport,
    DeviceMemory,
    Failed,
    Finished,
    Loaded,
    LoadFailed,
    Memory,
    RunFinished,
    Sleep,
    Survey,
    WakeUp,
    WeightsMoved,
    WorkerOptions,
)
from octabox.engine.parallel_devices import too_few_devices
from octabox.errors import CapacityError, GenerationError, OutOfMemoryError, WorkerDiedError
from octabox.types import Progress


class FakeModel:
    """A model that is in memory where it is said to be."""

    def __init__(self, name: str, last_used: float, device: str | None = None, *, idle: bool = True) -> None:
        self.name, self.last_used, self.device, self.idle = name, last_used, device, idle
        self.resident, self.load_seconds, self.pinned, self.expires = device is not None, 1.0, False, None
        self.memory: dict[str, int] = {}
        self.asleep = False
        self.busy_seconds = 0.0 if idle else 1.0
        self.claim: Claim | None = None
        self.turn: Turn | None = None
        self.yields_to, self.has_yielded = "", False
        self.host_bytes = 0

    def yield_to(self, name: str) -> None:
        """Give its place to another one."""
        self.yields_to = name

    def resume(self, name: str) -> None:
        """Keep its place."""
        self.yields_to = "" if self.yields_to == name else self.yields_to

    async def sleep(self) -> bool:
        """Move the weights to the host."""
        self.asleep = True
        self.memory = {"host": self.memory.get("host", 0) + self.memory.get(self.device or "", 0)}
        await asyncio.sleep(0)
        return True

    @property
    def keep_value(self) -> float:
        """What unloading it costs, where it had one request."""
        costs = LearnedDemand().with_arrival(self.last_used).at(time.time())
        return keep_value(replace(costs, load_seconds=self.load_seconds), 1)

    async def unload(self) -> bool:
        """Leave memory."""
        self.resident, self.idle, self.device = False, False, None
        await asyncio.sleep(0)
        return True


class FakeDevices:
    """Gives each model the device that it asks for, or the first one."""

    def __init__(self, *names: str) -> None:
        self.names = names or ("cuda:0",)
        self.requests: list[tuple[str | None, list[str]]] = []
        self.free_bytes: dict[str, int] = {}

    @asynccontextmanager
    async def assigned(
        self, model: ModelConfig, requested: str | None, residents: Collection[Any], excluded: Collection[str] = ()
    ) -> AsyncIterator[str | None]:
        """Note what was asked for."""
        del model
        self.requests.append((requested, [each.device for each in residents]))
        await asyncio.sleep(0)
        yield requested or next((each for each in self.names if each not in excluded), self.names[0])

    @asynccontextmanager
    async def companions(
        self,
        model: ModelConfig,
        device: str | None,
        requested: str | None,
        residents: Collection[Any],
        excluded: Collection[str] = (),
    ) -> AsyncIterator[tuple[str, ...]]:
        """Return the next ones, or those that the model names."""
        del requested, residents
        left = [each for each in self.names if each not in (device, *excluded)]
        if not model.device_names and len(left) < model.device_count - 1:
            raise too_few_devices(model, [str(device), *left])
        yield model.device_names[1:] or tuple(left[: model.device_count - 1])

    @property
    def several(self) -> bool:
        """Return whether there is more than one device."""
        return len(self.names) > 1

    async def alternatives(self, requested: str | None, excluded: Collection[str]) -> list[str]:
        """Return the other devices, unless one was named."""
        return [] if requested else [each for each in self.names if each not in excluded]

    async def find_place(
        self, requested: str | None, size: int, residents: Collection[Any], excluded: Collection[str]
    ) -> Placement | None:
        """Return a device that is left, whose use costs a second for each model in memory."""
        del size
        left = await self.alternatives(requested, excluded)
        return Placement(left[0], cost=float(len(residents))) if left else None

    async def free(self, device: str) -> int | None:
        """Return what is free; not known unless a test sets it."""
        return self.free_bytes.get(device)


class Loads:
    """Loads models into memory, or finds no room there.

    Args:
        models: The models.
        failures: How many loads run out of memory.
    """

    def __init__(self, models: dict[str, FakeModel], failures: int = 0) -> None:
        self.models, self.failures = models, failures
        self.made: list[tuple[str, str | None]] = []
        self.makes_room: list[bool] = []
        self.on_load: Callable[[], object] = lambda: None

    async def __call__(self, model: ModelConfig, *, makes_room: bool) -> None:
        """Load a model."""
        self.made.append((model.name, model.device))
        self.makes_room.append(makes_room)
        self.on_load()
        if self.failures:
            self.failures -= 1
            raise OutOfMemoryError(f"There is no room for {model.name}.")
        self.models[model.name].device, self.models[model.name].resident = model.device, True


def residency_of(*models: FakeModel, devices: FakeDevices | None = None, **options: object) -> tuple[Residency, Loads]:
    """Return the residency of these models, of one more that is not in memory, and what loads them."""
    known = {each.name: each for each in models}
    known.setdefault("new", FakeModel("new", 0))
    residency = Residency(devices or FakeDevices(), **options)  # type: ignore[arg-type]
    for each in known.values():
        residency.add(each)
    return residency, Loads(known)


def resident(loads: Loads) -> list[str]:
    """Return the names of the models in memory."""
    return [name for name, each in loads.models.items() if each.resident]


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (0, ["one", "two", "new"]),
        (3, ["one", "two", "new"]),
        (2, ["two", "new"]),
        (1, ["new"]),
    ],
)
async def test_the_models_that_were_idle_longest_make_room(limit: int, left: list[str]) -> None:
    """As many are unloaded as the limit asks for, the one that was used last as the last."""
    residency, loads = residency_of(FakeModel("one", 10, "cuda:0"), FakeModel("two", 20, "cuda:0"), max_resident=limit)
    await residency.load("new", configuration("new"), loads)

    assert left == resident(loads)


async def test_a_busy_model_is_not_unloaded() -> None:
    """One that is idle goes, however short it was."""
    residency, loads = residency_of(
        FakeModel("one", 10, "cuda:0", idle=False), FakeModel("two", 20, "cuda:0"), max_resident=2
    )
    await residency.load("new", configuration("new"), loads)

    assert ["one", "new"] == resident(loads)


async def test_a_load_waits_while_all_models_are_busy() -> None:
    """It goes on once one of them has become idle."""
    busy = FakeModel("one", 10, "cuda:0", idle=False)
    residency, loads = residency_of(busy, max_resident=1)
    load = asyncio.create_task(residency.load("new", configuration("new"), loads))
    await settle()
    assert [] == loads.made
    residency.notify_freed()
    await settle()
    assert [] == loads.made

    busy.idle = True
    residency.notify_freed()
    await asyncio.wait_for(load, LIMIT)
    assert ["new"] == resident(loads)


async def test_two_loads_together_keep_the_limit() -> None:
    """A model that is about to be loaded counts from the moment that it is let in."""
    residency, loads = residency_of(FakeModel("other", 0), max_resident=1)
    names = ("new", "other")
    tasks = [asyncio.create_task(residency.load(name, configuration(name), loads)) for name in names]
    await settle()

    assert 1 == len(resident(loads))
    loads.models[resident(loads)[0]].idle = True
    residency.notify_freed()
    await asyncio.wait_for(asyncio.gather(*tasks), LIMIT)
    assert 1 == len(resident(loads))
    assert 2 == len(loads.made)


async def test_a_load_that_fails_makes_room_for_the_next() -> None:
    """Those that wait for room are woken."""
    residency, loads = residency_of(FakeModel("other", 0), max_resident=1)
    loads.failures = 1
    names = ("new", "other")
    tasks = [asyncio.create_task(residency.load(name, configuration(name), loads)) for name in names]
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), LIMIT)

    assert isinstance(outcomes[0], OutOfMemoryError)
    assert ["other"] == resident(loads)


async def test_a_model_that_is_loaded_again_does_not_count_twice() -> None:
    """Its own place is not one that has to be made."""
    residency, loads = residency_of(FakeModel("one", 10, "cuda:0"), max_resident=1)
    await residency.load("one", configuration("one"), loads)

    assert ["one"] == resident(loads)


async def test_a_full_device_is_freed_of_the_model_that_was_idle_longest_there() -> None:
    """A model on another device stays, however long it was idle; the load is repeated once."""
    residency, loads = residency_of(
        FakeModel("elsewhere", 1, "cuda:1"), FakeModel("early", 10, "cuda:0"), FakeModel("late", 20, "cuda:0")
    )
    loads.failures = 1
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert ["elsewhere", "late", "new"] == resident(loads)
    assert [("new", "cuda:0")] * 2 == loads.made
    assert [True, False] == loads.makes_room


async def test_a_device_that_stays_full_is_an_error() -> None:
    """One model is unloaded for another at most."""
    residency, loads = residency_of(FakeModel("one", 10, "cuda:0"), FakeModel("two", 20, "cuda:0"))
    loads.failures = 2
    with pytest.raises(OutOfMemoryError):
        await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert ["two"] == resident(loads)


async def test_a_full_device_with_nothing_idle_is_an_error() -> None:
    """Models that are busy stay, and the load is not repeated."""
    residency, loads = residency_of(FakeModel("one", 10, "cuda:0", idle=False))
    loads.failures = 1
    with pytest.raises(OutOfMemoryError):
        await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert [False] == loads.makes_room


@pytest.mark.parametrize(
    ("idle", "pinned", "device"), [(True, True, "cuda:0"), (False, False, "cuda:0"), (True, False, "cuda:1")]
)
async def test_a_load_is_told_that_no_model_makes_room_for_it(idle: bool, pinned: bool, device: str) -> None:
    """One beside models that are pinned, in use or on other devices selects a slower memory mode by itself."""
    other = FakeModel("one", 10, device, idle=idle)
    other.pinned = pinned
    residency, loads = residency_of(other)
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert [False] == loads.makes_room


async def test_a_load_whose_room_is_taken_meanwhile_is_repeated_in_a_mode_that_fits() -> None:
    """Where the model that was to make room has come into use, the load that has relied on that is not the last one."""
    one = FakeModel("one", 10, "cuda:0")
    residency, loads = residency_of(one)
    loads.failures, loads.on_load = 1, lambda: setattr(one, "idle", False)
    await residency.load("new", configuration("new", device="cuda:0", memory="auto"), loads)

    assert ([True, False], ["one", "new"]) == (loads.makes_room, resident(loads))
    loads.failures, loads.on_load, one.idle = 1, lambda: setattr(one, "idle", False), True
    with pytest.raises(OutOfMemoryError):
        await residency.load("new", configuration("new", device="cuda:0", memory="full"), loads)


@pytest.mark.parametrize(
    ("default", "asked", "requested"),
    [(None, None, None), ("cuda:1", None, "cuda:1"), ("cuda:1", "cpu", "cpu")],
)
async def test_the_device_is_the_models_then_the_servers(
    default: str | None, asked: str | None, requested: str | None
) -> None:
    """Where neither names one, it is chosen, with regard to those in use; the configuration that is loaded names it."""
    devices = FakeDevices()
    residency, loads = residency_of(FakeModel("one", 10, "cuda:0"), devices=devices, device=default)
    await residency.load("new", configuration("new", device=asked), loads)

    assert [(requested, ["cuda:0"])] == devices.requests
    assert [("new", requested or "cuda:0")] == loads.made


async def test_an_engine_keeps_two_of_three_models() -> None:
    """With room for two, the third takes the place of the one that was idle longer, and is served."""
    workers = FakeWorkers()
    engine = engine_of(workers, max_resident=2)
    for name in ("one", "two", "one", "three"):
        await Client(engine, call(name)).result()
        await settle()

    assert ["one", "three"] == sorted(status.model for status in engine.status())
    assert [True, False, True] == [worker.alive for worker in workers.started]


async def test_an_engine_waits_for_a_model_that_encodes() -> None:
    """A model whose outputs are being encoded is not idle; once they are, it makes room for the next."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, max_resident=1)
    first = Client(engine, call("one"))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(RunFinished(first.call.id))
    await settle()
    second = Client(engine, call("two"))
    await settle()
    assert worker.alive

    worker.post(Finished(first.call.id, result(first.call)))
    await first.result()
    other = await workers.next_started()
    assert not worker.alive
    other.start_run(await other.next_call())
    other.finish(second.call)
    await second.result()


async def test_an_engine_waits_for_a_model_that_is_loaded() -> None:
    """Once it is loaded and nothing waits for it, it makes room for the next."""
    workers = FakeWorkers(answers=[None])
    engine = engine_of(workers, max_resident=1)
    load = asyncio.create_task(engine.load(configuration("one"), PIPELINE))
    worker = await workers.next_started()
    second = Client(engine, call("two"))
    await settle()
    assert [worker] == workers.started

    worker.post(Loaded("cpu", 1.0))
    await asyncio.wait_for(load, LIMIT)
    await second.result()
    assert ["two"] == [status.model for status in engine.status()]


async def test_an_engine_waits_for_a_model_whose_call_fails() -> None:
    """A model is idle after a failure, too."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, max_resident=1)
    first = Client(engine, call("one"))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    second = Client(engine, call("two"))
    await settle()
    worker.post(Failed(first.call.id, GenerationError("The image is black.")))
    with pytest.raises(GenerationError):
        await first.result()

    other = await workers.next_started()
    other.start_run(await other.next_call())
    other.finish(second.call)
    await second.result()


async def test_an_engine_makes_room_on_a_full_device() -> None:
    """Where a worker reports that there is no memory, an idle model is unloaded, and a new worker loads."""
    full = LoadFailed(OutOfMemoryError("cuda:0 is full."))
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, call("one", device="cuda:0")).result()
    await settle()
    workers._answers.append(full)
    await Client(engine, call("two", device="cuda:0")).result()

    assert ["two"] == [status.model for status in engine.status()]
    assert [False, False, True] == [worker.alive for worker in workers.started]
    assert [False, True, False] == [worker.start.makes_room for worker in workers.started]


async def test_a_client_that_leaves_gives_up_its_wait_for_room() -> None:
    """No model is unloaded and none loaded for nobody."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, max_resident=1)
    first = Client(engine, call("one"))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    second = Client(engine, call("two"))
    await settle()
    await second.leave()
    worker.finish(first.call)
    await first.result()
    await settle()

    assert [worker] == workers.started
    assert ["one"] == [status.model for status in engine.status()]


async def test_a_wait_for_room_has_a_limit() -> None:
    """Where no model becomes idle in time, the error says so."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, max_resident=1, load_timeout=0.05)
    first = Client(engine, call("one"))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())

    with pytest.raises(CapacityError, match="no room for model 'two'"):
        await Client(engine, call("two")).result()
    await engine.close()
    await first.leave()


def budgeted(
    limits: dict[str, int],
    need: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    *models: FakeModel,
    flexible: bool = False,
    devices: FakeDevices | None = None,
    **options: object,
) -> tuple[Residency, Loads]:
    """Return a residency with limits, and what loads a model that needs so many bytes."""
    places = frozenset({"cuda:0"} if flexible else ())
    monkeypatch.setattr(room, "memory_need", lambda *_: MemoryNeed(need, places))
    return residency_of(*models, devices=devices, budget=MemoryBudget(limits, host=lambda: None), **options)


def holding(name: str, last_used: float, size: int, *, load_seconds: float = 1.0, **fields: bool) -> FakeModel:
    """Return a model that holds bytes on the first device."""
    found = FakeModel(name, last_used, "cuda:0", idle=fields.get("idle", True))
    found.memory, found.load_seconds, found.pinned = {"cuda:0": size}, load_seconds, fields.get("pinned", False)
    return found


@pytest.mark.parametrize(("limit", "left"), [(30, ["one", "two", "new"]), (29, ["two", "new"]), (10, ["new"])])
async def test_as_many_bytes_are_freed_as_are_missing(
    limit: int, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No model is unloaded for one that fits."""
    residency, loads = budgeted(
        {"cuda:0": limit}, {"cuda:0": 10}, monkeypatch, holding("one", 10, 10), holding("two", 20, 10)
    )
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert left == resident(loads)


async def test_idle_time_counts_against_the_cost_of_loading_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that loads quickly leaves before one that was idle for a little longer and takes minutes."""
    now = time.time()
    reasons: list[tuple[str, str]] = []
    residency, loads = budgeted(
        {"cuda:0": 20},
        {"cuda:0": 10},
        monkeypatch,
        holding("slow", now - 200, 10, load_seconds=60),
        holding("quick", now - 100, 10, load_seconds=2),
        on_evict=lambda name, reason: reasons.append((name, reason)),
    )
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert ["slow", "new"] == resident(loads)
    assert [("quick", "memory")] == reasons


@pytest.mark.parametrize("limits", [{"max_resident": 1}, {}])
async def test_a_pinned_model_is_never_unloaded(limits: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only pinned models could make room, the error says so; nothing waits for them."""
    residency, loads = budgeted(
        {"cuda:0": 10}, {"cuda:0": 10}, monkeypatch, holding("one", 10, 10, pinned=True), timeout=LIMIT, **limits
    )
    with pytest.raises(CapacityError, match=r"There is no room for model 'new': the .*models.* are pinned"):
        await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert ["one"] == resident(loads)


async def test_a_model_that_exceeds_a_limit_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the numbers; all that is idle has been unloaded. One that can be offloaded is loaded."""
    residency, loads = budgeted({"cuda:0": 2**30}, {"cuda:0": 3 * 2**30}, monkeypatch)
    with pytest.raises(
        OutOfMemoryError, match=r"needs 3\.00 GiB on cuda:0, and `max_memory` allows 1\.00 GiB"
    ) as raised:
        await residency.load("new", configuration("new", device="cuda:0"), loads)
    assert (3 * 2**30, 2**30) == (raised.value.requested, raised.value.free)

    residency, loads = budgeted({"cuda:0": 2**30}, {"cuda:0": 3 * 2**30}, monkeypatch, flexible=True)
    await residency.load("new", configuration("new", device="cuda:0"), loads)
    assert ["new"] == resident(loads)


async def test_a_load_waits_for_the_bytes_of_a_busy_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on once that model is idle."""
    busy = holding("one", 10, 10, idle=False)
    residency, loads = budgeted({"cuda:0": 10}, {"cuda:0": 10}, monkeypatch, busy, timeout=LIMIT)
    load = asyncio.create_task(residency.load("new", configuration("new", device="cuda:0"), loads))
    await asyncio.sleep(0.05)
    assert [] == loads.made

    busy.idle = True
    residency.notify_freed()
    await asyncio.wait_for(load, LIMIT)
    assert ["new"] == resident(loads)


async def test_a_model_in_use_gives_its_bytes_to_one_that_has_waited_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked to where its turn ends, which nothing else announces, and leaves once its calls are done."""
    busy, now = holding("one", 10, 10, idle=False), time.perf_counter()
    busy.turn = Turn(now + 0.1, 0.0, Claim(now))
    residency, loads = budgeted({"cuda:0": 10}, {"cuda:0": 10}, monkeypatch, busy, timeout=LIMIT)
    loads.models["new"].claim = Claim(now - 1)
    load = asyncio.create_task(residency.load("new", configuration("new", device="cuda:0"), loads))
    await asyncio.sleep(0.02)
    yields = [busy.yields_to]
    await asyncio.sleep(0.2)
    assert ["", "new"] == [*yields, busy.yields_to]
    assert [] == loads.made

    busy.has_yielded = True
    residency.notify_freed()
    await asyncio.wait_for(load, LIMIT)
    assert ["new"] == resident(loads)
    assert not busy.yields_to


async def test_a_load_waits_for_the_bytes_of_a_model_that_is_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds nothing yet, and is no reason to say that others are pinned; once it is loaded and idle, it makes room."""
    other = FakeModel("other", 10)
    residency, loads = budgeted({"host": 10}, {"host": 10}, monkeypatch, other, timeout=LIMIT)
    proceed = asyncio.Event()

    async def load_slowly(model: ModelConfig, *, makes_room: bool) -> None:
        await proceed.wait()
        other.memory = {"host": 10}
        await loads(model, makes_room=makes_room)

    first = asyncio.create_task(residency.load("other", configuration("other"), load_slowly))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(residency.load("new", configuration("new"), loads))
    await asyncio.sleep(0.05)
    assert not second.done()

    proceed.set()
    await asyncio.wait_for(asyncio.gather(first, second), LIMIT)
    assert ["new"] == resident(loads)
    assert [("other", "cpu"), ("new", "cpu")] == loads.made


@pytest.mark.parametrize(
    ("place", "taken", "free", "waits"),
    [("host", 0, 30, True), ("host", 20, 30, False), ("cuda:0", 0, 30, True), ("cuda:0", 15, 15, True)],
)
async def test_models_that_are_being_loaded_count_in_what_is_free(
    place: str, taken: int, free: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them do not take the same bytes; what one has taken already is not counted twice."""
    other, devices = FakeModel("other", 10), FakeDevices()
    monkeypatch.setattr(room, "memory_need", lambda *_: MemoryNeed({place: 20}))
    budget = MemoryBudget({}, host=lambda: (40, 100))
    residency, loads = residency_of(other, devices=devices, budget=budget, timeout=LIMIT)
    proceed = asyncio.Event()

    async def load_slowly(model: ModelConfig, *, makes_room: bool) -> None:
        other.host_bytes, devices.free_bytes["cuda:0"] = taken, free
        await proceed.wait()
        await loads(model, makes_room=makes_room)

    device = "cpu" if place == "host" else place
    first = asyncio.create_task(residency.load("other", configuration("other", device=device), load_slowly))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(residency.load("new", configuration("new", device=device), loads))
    await asyncio.sleep(0.1)
    assert waits is not second.done()

    proceed.set()
    await asyncio.wait_for(asyncio.gather(first, second), LIMIT)
    assert {"other", "new"} == {name for name, _ in loads.made}


async def test_a_load_that_waited_for_another_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit, there is none to raise."""
    devices, budget = FakeDevices(), MemoryBudget({}, host=lambda: None)
    monkeypatch.setattr(room, "memory_need", lambda *_: MemoryNeed({"cuda:0": 20}))
    devices.free_bytes = {"cuda:0": 15}
    residency, loads = residency_of(FakeModel("other", 10), devices=devices, budget=budget, timeout=0.2)
    proceed = asyncio.Event()

    async def load_slowly(model: ModelConfig, *, makes_room: bool) -> None:
        await proceed.wait()
        await loads(model, makes_room=makes_room)

    first = asyncio.create_task(residency.load("other", configuration("other", device="cuda:0"), load_slowly))
    await asyncio.sleep(0.1)
    with pytest.raises(OutOfMemoryError, match=r"another model is being loaded there\.") as raised:
        await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert "Try again later." == raised.value.hint
    proceed.set()
    await asyncio.wait_for(first, LIMIT)


async def test_without_a_limit_what_is_free_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read only where a model could be unloaded; a model is loaded in any case."""
    devices = FakeDevices()
    devices.free_bytes = {"cuda:0": 9}
    residency, loads = budgeted({}, {"cuda:0": 10}, monkeypatch, holding("one", 10, 10), devices=devices)
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert ["new"] == resident(loads)


def host_of(residency: Residency, free: int, **limits: int) -> None:
    """Let the host have so many bytes free, beyond its reserve of a tenth, and limit what models may use there."""
    total = 10 * free
    residency._room._budget = MemoryBudget({"cuda:0": 10, **limits}, host=lambda: (free + total // 10, total))


@pytest.mark.parametrize(
    ("free", "limits", "sleeps"),
    [(40, {}, True), (39, {}, False), (1000, {"host": 22}, True), (1000, {"host": 21}, False)],
)
async def test_weights_stay_on_the_host_where_it_has_room(
    free: int, limits: dict[str, int], sleeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs twice their bytes free, and its limit, with what the new model will hold there, is kept."""
    one = holding("one", 10, 10)
    one.memory = {"cuda:0": 10, "host": 1}
    reasons: list[tuple[str, str]] = []
    residency, loads = budgeted(
        {},
        {"cuda:0": 10, "host": 11},
        monkeypatch,
        one,
        keeps_weights=True,
        on_evict=lambda name, reason: reasons.append((name, reason)),
    )
    host_of(residency, free // 2, **limits)
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert [("one", "memory")] == reasons
    assert (sleeps, sleeps) == (one.asleep, one.resident)
    assert loads.models["new"].resident


async def test_models_that_sleep_make_room_on_the_host_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is used later than another one leaves before it, if its weights are on the host only."""
    used, asleep = holding("used", 10, 10), holding("asleep", 20, 0)
    used.memory, asleep.memory, asleep.asleep = {"cuda:0": 10, "host": 5}, {"host": 15}, True
    residency, loads = budgeted({"host": 30}, {"host": 20}, monkeypatch, used, asleep, keeps_weights=True)
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert ["used", "new"] == resident(loads)
    assert not used.asleep


async def test_a_model_that_wakes_up_needs_no_more_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are there already; the other model goes to sleep for it."""
    one, new = holding("one", 10, 10), holding("new", 5, 0)
    new.memory, new.asleep = {"host": 10}, True
    residency, loads = budgeted({}, {"cuda:0": 10, "host": 10}, monkeypatch, one, new, keeps_weights=True)
    host_of(residency, 1000, host=20)
    await residency.load("new", configuration("new", device="cuda:0"), loads)

    assert one.asleep
    assert one.resident


@pytest.mark.parametrize(
    ("configured", "pinned", "made"),
    [(None, True, "cuda:1"), (None, False, "cuda:1"), ("cuda:0", True, None)],
)
async def test_a_model_that_sleeps_leaves_a_device_that_others_keep(
    configured: str | None, pinned: bool, made: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its configuration allows another device, it is loaded there, with a warning if that is for good."""
    other, new = holding("other", 10, 10, pinned=pinned, idle=False), holding("new", 5, 0)
    new.memory, new.asleep = {"host": 10}, True
    devices = FakeDevices("cuda:0", "cuda:1")
    limits = {"cuda:0": 10, "cuda:1": 10}
    residency, loads = budgeted(limits, {}, monkeypatch, other, new, devices=devices, timeout=0.1)
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: 10}))
    load = residency.load("new", configuration("new", device=configured), loads)
    if made is None:
        with pytest.raises(CapacityError):
            await load
        assert new.asleep
    else:
        assert [pinned] * pinned == ["is loaded on another device than cuda:0: " in each for each in await load]

    assert ([] if made is None else [("new", made)]) == loads.made
    assert "cuda:0" == devices.requests[0][0]


def sleeping_beside_a_busy_one(
    monkeypatch: pytest.MonkeyPatch, load_seconds: float
) -> tuple[FakeModel, Residency, Loads]:
    """Return a busy model on the device of one that sleeps, where another device is free, and what loads the latter."""
    busy, new = holding("busy", 10, 10, idle=False), holding("new", 5, 0, load_seconds=load_seconds)
    new.memory, new.asleep = {"host": 10}, True
    limits, devices = {"cuda:0": 10, "cuda:1": 10}, FakeDevices("cuda:0", "cuda:1")
    residency, loads = budgeted(limits, {}, monkeypatch, busy, new, devices=devices, timeout=10 * LIMIT)
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: 10}))
    return busy, residency, loads


async def test_a_model_that_sleeps_waits_for_its_device_no_longer_than_its_load_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it is loaded on another one, however long `load_timeout` is."""
    _, residency, loads = sleeping_beside_a_busy_one(monkeypatch, load_seconds=0.1)
    load = asyncio.create_task(residency.load("new", configuration("new", device=None), loads))
    await asyncio.sleep(0.05)
    assert [] == loads.made

    assert () == await asyncio.wait_for(load, LIMIT)
    assert [("new", "cuda:1")] == loads.made


async def test_a_model_that_sleeps_wakes_up_where_its_device_becomes_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is faster than a load."""
    busy, residency, loads = sleeping_beside_a_busy_one(monkeypatch, load_seconds=LIMIT)
    load = asyncio.create_task(residency.load("new", configuration("new", device=None), loads))
    await asyncio.sleep(0.05)
    busy.idle = True
    residency.notify_freed()

    assert () == await asyncio.wait_for(load, LIMIT)
    assert [("new", "cuda:0")] == loads.made


async def test_a_load_uses_the_first_device_that_becomes_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where models in use hold all of them, it waits for any, and fails at the end of its time."""
    first, second = holding("first", 10, 10, idle=False), FakeModel("second", 10, "cuda:1", idle=False)
    second.memory = {"cuda:1": 10}
    limits, devices = {"cuda:0": 10, "cuda:1": 10}, FakeDevices("cuda:0", "cuda:1")
    residency, loads = budgeted(limits, {}, monkeypatch, first, second, devices=devices, timeout=0.3)
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: 10}))
    with pytest.raises(OutOfMemoryError, match="did not become idle in time"):
        await residency.load("new", configuration("new", device=None), loads)
    load = asyncio.create_task(residency.load("new", configuration("new", device=None), loads))
    await asyncio.sleep(0.05)
    second.idle = True
    residency.notify_freed()

    assert () == await asyncio.wait_for(load, LIMIT)
    assert [("new", "cuda:1")] == loads.made
    assert ["first", "new"] == resident(loads)


async def test_an_engine_loads_a_model_that_cannot_wake_up_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that sleeps is ended, and another one loads the model where there is room."""
    found = Survey(devices=tuple(DeviceMemory(f"cuda:{number}", 10**9) for number in range(2)))
    monkeypatch.setattr(DevicePool, "ask", lambda *_: found)
    limits = {"cuda:0": 10, "cuda:1": 10}
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: 10}))
    workers = FakeWorkers()
    engine = engine_of(workers, options=WorkerOptions(max_memory=limits))
    await Client(engine, call("one", device=None)).result()
    replica = only_replica(engine)
    assert await replica.sleep()
    await Client(engine, call("two", device="cuda:0", pin=True)).result()
    workers.started[1].post(Memory({"cuda:0": 10}))
    await settle()
    generation = await Client(engine, call("one", device=None)).result()

    assert ["cuda:0", "cuda:0", "cuda:1"] == [each.start.model.device for each in workers.started]
    assert [False, True, True] == [each.alive for each in workers.started]
    assert [True] == ["'one' is loaded on another device than cuda:0" in each for each in generation.warnings]
    await engine.close()


def only_replica(engine: LocalEngine) -> LocalReplica:
    """Return the replica of the model 'one'."""
    queue = engine._queues.find("one")
    assert queue is not None
    (replica,) = queue._replicas
    return replica


async def test_an_engine_wakes_a_model_up_in_its_process() -> None:
    """Its request waits for the weights; a process that cannot move them is replaced."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, call("one", device="cuda:0")).result()
    replica = only_replica(engine)
    (first,) = workers.started
    assert await replica.sleep()
    assert ["sleeping"] == [each.state for each in engine.status()]
    done = Client(engine, call("one", device="cuda:0"))
    await done.result()
    assert [Sleep(1), WakeUp(0, 2)] == [each for each in first.received if isinstance(each, Sleep | WakeUp)]
    assert "loading" in [each.phase for each in done.events if isinstance(each, Progress)]
    assert ["ready"] == [each.state for each in engine.status()]

    assert await replica.sleep()
    first.move_error = OutOfMemoryError("The device is full.")
    await Client(engine, call("one", device="cuda:0")).result()
    assert 2 == len(workers.started)
    assert not first.alive
    second = workers.started[1]
    second.move_error = OutOfMemoryError("The host is full.")
    assert not await replica.sleep()
    second.move_error = None
    await Client(engine, call("one", device="cuda:0")).result()
    assert isinstance(second.received[-2], WakeUp), "some of the weights may have been moved"
    await engine.close()


@pytest.mark.parametrize("leaving", [1, 2])
async def test_a_load_that_waits_for_room_ends_with_the_last_of_its_requests(
    leaving: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that share a batch wait for a busy model: one that leaves fails the other one neither at once nor later."""
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: 10}))
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, options=WorkerOptions(max_memory={"cuda:0": 10}))
    before = Client(engine, call("one", device="cuda:0"))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(BatchReport({PIPELINE: 4}))
    worker.finish(before.call)
    await before.result()
    replica = only_replica(engine)
    assert await replica.sleep()
    busy = Client(engine, call("two", device="cuda:0"))
    other = await workers.next_started()
    other.start_run(await other.next_call())
    other.post(Memory({"cuda:0": 10}))
    await settle()
    clients = [Client(engine, call("one", device="cuda:0")) for _ in range(2)]
    await settle()
    assert 2 == len(replica.taken)
    for client in clients[:leaving]:
        await client.leave()
        await settle()

    assert [False] * (2 - leaving) == [each.task.done() for each in clients[leaving:]]
    assert (replica.supervisor.loading.request is None) == (leaving == 2)
    workers.run_all()
    other.post(Memory())
    other.finish(busy.call)
    await busy.result()
    for client in clients[leaving:]:
        assert client.call.id == (await client.result()).id
    await engine.close()


async def test_a_late_answer_is_not_that_to_the_next_request() -> None:
    """Where nobody waits any more until the weights are on the host, a request waits until they are back."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, call("one", device="cuda:0")).result()
    replica = only_replica(engine)
    (worker,) = workers.started
    worker.moves = False
    sleep = asyncio.create_task(replica.sleep())
    await settle()
    sleep.cancel()
    await asyncio.wait({sleep})
    worker.asked.clear()
    client = Client(engine, call("one", device="cuda:0"))
    await asyncio.wait_for(worker.asked.wait(), LIMIT)
    sent, woken = (each for each in worker.received if isinstance(each, Sleep | WakeUp))
    worker.post(WeightsMoved(None, sent.number))
    await settle()
    assert 1 == len(worker.calls)
    assert ["loading"] == [each.state for each in engine.status()]

    worker.post(WeightsMoved(None, woken.number))
    await client.result()
    assert [worker] == workers.started
    await engine.close()


async def test_an_engine_replaces_a_worker_that_ended_in_its_sleep() -> None:
    """The next request loads the model."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, call("one", device="cuda:0")).result()
    replica = only_replica(engine)
    assert await replica.sleep()
    workers.started[0].exit(WorkerDiedError("It was killed."))
    await settle()
    assert [] == engine.status()
    await Client(engine, call("one", device="cuda:0")).result()

    assert 2 == len(workers.started)
    await engine.close()


async def test_an_engine_unloads_a_model_that_is_not_used() -> None:
    """`keep_alive` of its configuration counts from the end of its last request; a request changes it."""
    workers, reasons = FakeWorkers(), list[tuple[str, str]]()
    engine = engine_of(workers, on_evict=lambda name, reason: reasons.append((name, reason)))
    await Client(engine, call("short", keep_alive=0.1)).result()
    await Client(engine, call("long")).result()
    await Client(engine, call("pinned", keep_alive=0.1, pin=True)).result()
    await settle()
    statuses = {status.model: status for status in engine.status()}
    assert (statuses["short"].time_left or 9) < 0.2
    assert (None, None) == (statuses["long"].time_left, statuses["pinned"].time_left)
    assert statuses["pinned"].pinned

    await asyncio.sleep(0.3)
    assert ["long", "pinned"] == [status.model for status in engine.status()]
    assert [("short", "keep_alive")] == reasons
    engine.retain("long", 0, None)
    await asyncio.sleep(0.05)
    assert ["pinned"] == [status.model for status in engine.status()]
    await Client(engine, replace(call("long"), keep_alive=0.0)).result()
    await asyncio.sleep(0.05)
    assert ["pinned"] == [status.model for status in engine.status()]


async def test_a_model_that_a_device_has_no_room_for_is_loaded_on_another_one(caplog: pytest.LogCaptureFixture) -> None:
    """The load is repeated there with a warning; a named device is not replaced, and the last one's error is raised."""
    residency, loads = residency_of(devices=FakeDevices("cuda:0", "cuda:1"))
    loads.failures = 1
    warnings = await residency.load("new", configuration("new", device=None), loads)

    assert [("new", "cuda:0"), ("new", "cuda:1")] == loads.made
    assert ("Model 'new' is loaded on another device than cuda:0: There is no room for new.",) == warnings
    assert warnings[0] in caplog.text
    loads.failures = 1
    with pytest.raises(OutOfMemoryError):
        await residency.load("new", configuration("new", device="cuda:0"), loads)
    loads.failures = 2
    with pytest.raises(OutOfMemoryError):
        await residency.load("new", configuration("new", device=None), loads)


async def test_a_load_that_fails_on_a_device_leaves_its_bytes_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for the device of a model in use, another model has those where it was not loaded."""
    busy, devices = FakeModel("busy", 10, "cuda:0", idle=False), FakeDevices("cuda:0", "cuda:1")
    busy.memory = {"cuda:0": 10}
    limits = {"cuda:0": 10, "cuda:1": 10}
    residency, loads = budgeted(limits, {}, monkeypatch, busy, FakeModel("other", 0), devices=devices, timeout=LIMIT)
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: 10}))
    loads.failures = 1
    first = asyncio.create_task(residency.load("new", configuration("new", device=None), loads))
    await asyncio.sleep(0.1)
    other = residency.load("other", configuration("other", device="cuda:1"), loads)
    await asyncio.wait_for(other, 2)

    assert [("new", "cuda:1"), ("other", "cuda:1")] == loads.made
    assert not first.done()
    busy.idle = True
    residency.notify_freed()
    await asyncio.wait_for(first, LIMIT)
    assert {"other", "new"} == set(resident(loads))


async def test_a_replica_is_not_loaded_on_the_device_of_another_one() -> None:
    """Where the devices of the others are named, the free one is taken."""
    residency, loads = residency_of(devices=FakeDevices("cuda:0", "cuda:1"))
    await residency.load("new", configuration("new", device=None), loads, PIPELINE, ["cuda:0"])

    assert [("new", "cuda:1")] == loads.made
    model = configuration("new", device=None)
    found = [await residency.placement.has_room(model, 1, ["cuda:0"], value) for value in (0.9, 1.0)]
    assert [False, True] == found  # The model in memory makes it cost a second.
    assert not await residency.placement.has_room(model, 1, ["cuda:0", "cuda:1"], 9.0)


async def test_a_model_that_is_split_is_loaded_on_all_of_its_devices() -> None:
    """The configuration that is loaded names them, the first one as its device."""
    residency, _ = residency_of(devices=FakeDevices("cuda:0", "cuda:1", "cuda:2"))
    loaded: list[ModelConfig] = []

    async def load(model: ModelConfig, *, makes_room: bool) -> None:
        assert not makes_room
        loaded.append(model)

    split = ModelConfig(name="new", model="/nowhere", parallel=ParallelConfig(devices=2))
    await residency.load("new", split, load)
    named = split.model_copy(update={"parallel": ParallelConfig(devices=("cuda:2", "cuda:1"))})
    await residency.load("new", named, load)

    assert ["cuda:0", "cuda:2"] == [each.device for each in loaded]
    assert [("cuda:0", "cuda:1"), ("cuda:2", "cuda:1")] == [each.device_names for each in loaded]


async def test_a_model_that_is_split_over_all_devices_waits_for_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, too few are left to try others."""
    busy, devices = holding("busy", 10, 10, idle=False), FakeDevices("cuda:0", "cuda:1")
    need = {"cuda:0": 10, "cuda:1": 10}
    residency, loads = budgeted({"cuda:0": 10, "cuda:1": 10}, need, monkeypatch, busy, devices=devices, timeout=LIMIT)
    split = ModelConfig(name="new", model="/nowhere", parallel=ParallelConfig(devices=2))
    load = asyncio.create_task(residency.load("new", split, loads))
    await asyncio.sleep(0.1)
    assert not load.done()

    busy.idle = True
    residency.notify_freed()
    assert () == await asyncio.wait_for(load, LIMIT)
    assert ["new"] == resident(loads)


async def test_a_model_that_is_split_over_all_devices_reports_that_memory_ran_out() -> None:
    """The error is that of its load, not that the devices left are too few."""
    residency, loads = residency_of(devices=FakeDevices("cuda:0", "cuda:1"))
    loads.failures = 1
    split = ModelConfig(name="new", model="/nowhere", parallel=ParallelConfig(devices=2))
    with pytest.raises(OutOfMemoryError, match=r"There is no room for new\."):
        await residency.load("new", split, loads)


async def test_a_model_that_is_split_has_one_model_unloaded_on_each_of_its_devices() -> None:
    """Where memory runs out, each of its processes needs room; one that is split itself leaves all of them at once."""
    pair = [FakeModel("one", 10, "cuda:0"), FakeModel("two", 20, "cuda:1")]
    residency, loads = residency_of(*pair, devices=FakeDevices("cuda:0", "cuda:1"))
    loads.failures = 1
    split = ModelConfig(name="new", model="/nowhere", parallel=ParallelConfig(devices=2))
    await residency.load("new", split, loads)
    assert ["new"] == resident(loads)

    both, single = holding("both", 10, 10), FakeModel("single", 20, "cuda:1", idle=False)
    both.memory = {"cuda:0": 10, "cuda:1": 10}
    residency, loads = residency_of(both, single, devices=FakeDevices("cuda:0", "cuda:1"))
    loads.failures = 1
    await residency.load("new", split, loads)
    assert ["single", "new"] == resident(loads)


async def test_a_model_that_is_split_is_not_loaded_again_where_nothing_made_room() -> None:
    """No memory mode is left that could be selected."""
    one = FakeModel("one", 10, "cuda:0")
    residency, loads = residency_of(one, devices=FakeDevices("cuda:0", "cuda:1"))
    loads.failures, loads.on_load = 1, lambda: setattr(one, "idle", False)
    split = ModelConfig(name="new", model="/nowhere", parallel=ParallelConfig(devices=2))
    with pytest.raises(OutOfMemoryError):
        await residency.load("new", split, loads)
    assert [True] == loads.makes_room
