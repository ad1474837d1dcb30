"""The engine of a cluster: the queues are those of one machine, the workers are on the nodes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial

from octabox.config.memory.durations import NEVER
from octabox.config.model import ModelConfig
from octabox.engine.local.model_worker import StartWorker, Worker
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.queue_engine import QueueEngine
from octabox.engine.local.request_queue import RequestQueue
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.engine.messages import WorkerOptions
from octabox.engine.ray.connection import connect, disconnect
from octabox.engine.ray.node_options import node_options
from octabox.engine.ray.placement_groups import Reservation
from octabox.engine.ray.ray_worker import RayWorker
from octabox.engine.ray.reservations import Reservations
from octabox.engine.ray.residency import ClusterDevices, ClusterResidency
from octabox.engine.ray.sharing.board import Board
from octabox.engine.ray.sharing.cluster_nodes import ClusterNodes
from octabox.engine.ray.sharing.exchange import PlaceExchange
from octabox.engine.ray.stored_messages import MessageStore
from octabox.storage import open_store

logger = logging.getLogger("octabox.engine")

#: Part of the timeout of a load that waiting for a place may take, so that the error states what was missing.
PLACE_SHARE = 0.9


def reserving(
    start_worker: Callable[..., Awaitable[Worker]], reservations: Reservations, exchange: PlaceExchange, name: str
) -> StartWorker:
    """Return what starts the workers of a replica, each in a place that is reserved for it by unloading idle ones.

    Args:
        start_worker: Starts a worker; its first argument reserves the place.
        reservations: Reserves places.
        exchange: Calls for places of other servers while there is none.
        name: Name of the replica.
    """

    async def reserve(model: ModelConfig) -> Reservation:
        async with exchange.waiting(name, partial(reservations.resources, model), model.name):
            reserved = await reservations.reserve(name, model)
        async with reserved.kept():
            await exchange.note_place(name, reserved)
        return reserved

    return partial(start_worker, reserve)


class RayEngine(QueueEngine):
    """Runs models in worker processes on the nodes of a Ray cluster.

    Args:
        options: Settings of all workers.
        address: ``host:port`` of the cluster's head; ``auto`` is the one that runs on this machine, None starts one here.
        queue_size: How many calls may wait for one model.
        max_resident: How many replicas may be in memory together; 0 is no limit.
        max_replicas: How many replicas a model may have; 0 is no limit.
        load_timeout: Seconds for loading a model, its download included.
        keep_alive: Seconds without requests after which models are unloaded that configure none.
        grows: Whether an autoscaler adds nodes.
        on_evict: Called with the name of each replica that is unloaded for another one or for lack of requests, and why.
        on_out_of_memory: Called with the name of a model for which memory has run out.
        file_store: URL of the store for large messages; None leaves them to Ray.
        start_worker: Starts a worker in a place that its first argument reserves; the default is an actor of the cluster.
        reservations: Reserves those places; the default is on the cluster.
    """

    def __init__(
        self,
        options: WorkerOptions | None = None,
        *,
        address: str | None = None,
        queue_size: int = 32,
        max_resident: int = 0,
        max_replicas: int = 0,
        load_timeout: float = 1800.0,
        keep_alive: float = NEVER,
        grows: bool = False,
        on_evict: Callable[[str, str], None] = lambda _name, _reason: None,
        on_out_of_memory: Callable[[str], None] = lambda _name: None,
        file_store: str | None = None,
        start_worker: Callable[..., Awaitable[Worker]] | None = None,
        reservations: Reservations | None = None,
    ) -> None:
        self._options, warnings = node_options(options or WorkerOptions())
        for warning in warnings:
            logger.warning("%s", warning)
        self._address = address
        self._queue_size, self._max_replicas, self._load_timeout = queue_size, max_replicas, load_timeout
        self._cluster = ClusterResidency(
            ClusterDevices(),
            max_resident,
            self._options.device,
            load_timeout,
            None,
            self._options.dtype,
            on_evict,
            on_out_of_memory,
            # A replica has reserved its memory, and devices of the same type may be on any node.
            share_devices=False,
        )
        self._reservations = reservations or Reservations(
            self._options.device,
            PLACE_SHARE * load_timeout,
            grows=grows,
            dtype=self._options.dtype,
            limits=self._options.max_memory,
            replicas=self._cluster,
        )
        self._cluster.places = self._reservations
        self._exchange = PlaceExchange(Board(time.time), self._cluster, self._cluster.models.resident, ClusterNodes())
        self._messages = MessageStore(store) if (store := open_store(file_store)) else None
        self._sweeping: asyncio.Task[None] | None = None
        self._start_worker = start_worker or partial(RayWorker.start, messages=self._messages)
        # The processes start on the nodes, so that those of this machine are never used.
        self._processes = ProcessStarter(spawns=True)
        self._connected = False
        super().__init__(self._cluster, keep_alive)

    def connect(self) -> None:
        """Connect to the cluster, unless that was done.

        Raises:
            ConfigError: There is no such cluster, or it cannot be used.
        """
        self._connected = connect(self._address) or self._connected

    async def start(self, models: Iterable[ModelConfig] = ()) -> None:
        """Connect to the cluster; the workers on its nodes import what each model needs."""
        del models
        self._closed = False
        if self._messages and self._sweeping is None:
            self._sweeping = asyncio.create_task(self._messages.delete_old(), name="old messages")
        self.connect()  # Ray sets signal handlers, which only the main thread may do; nothing is served yet.
        if self._address not in (None, "local"):  # A cluster that this server has started has no other one.
            self._exchange.start()

    async def close(self) -> None:
        """Fail all requests, end all workers, refuse new requests, and leave the cluster."""
        await super().close()
        if self._sweeping:
            self._sweeping.cancel()
            self._sweeping = None
        await self._exchange.close()
        if self._connected:
            self._connected = False
            await asyncio.to_thread(disconnect)

    def _create_queue(self, name: str, retention: Retention) -> RequestQueue:
        def create(key: str, occupied: Callable[[], Collection[str]]) -> WorkerSupervisor:
            return WorkerSupervisor(
                name,
                self._options,
                self._residency,
                self._processes,
                reserving(self._start_worker, self._reservations, self._exchange, key),
                self._load_timeout,
                key,
                occupied,
                partial(self._reservations.holds, key),
            )

        return RequestQueue(
            name, create, self._queue_size, self._residency, retention, self._reservations, self._max_replicas
        )
