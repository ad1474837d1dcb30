"""The status of a model over its replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from octabox.engine.ray.ray_worker import RayWorker
from octabox.engine.ray.replica import Replica
from octabox.types import ModelStatus


def merge_statuses(replicas: Sequence[Replica], *, waiting: int) -> ModelStatus | None:
    """Return one status for all replicas of a model: the sums of their memory, and the device and node of each.

    Args:
        replicas: The replicas.
        waiting: How many requests wait for one of them.
    """
    found = [(each, status) for each in replicas if (status := each.status())]
    if not found:
        return None
    first = next((pair for pair in found if pair[0].loaded), found[0])
    statuses = [status for _, status in found]
    states = {status.state for status in statuses}
    return first[0].with_retention(
        replace(
            first[1],
            state="busy" if "busy" in states else "ready" if "ready" in states else "loading",
            device=", ".join(filter(None, (_device(replica, status) for replica, status in found))) or None,
            memory=_sum([status.memory for status in statuses]),
            allocated=_sum([status.allocated for status in statuses]),
            waiting=waiting,
        )
    )


def _device(replica: Replica, status: ModelStatus) -> str | None:
    """Return the device of a replica and its node."""
    process = replica.supervisor.worker.process if replica.supervisor.worker else None
    node = f" on {process.node}" if isinstance(process, RayWorker) else ""
    return status.device and f"{status.device}{node}"


def _sum(parts: Sequence[object]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)  # type: ignore[call-overload]
    return dict(total)
