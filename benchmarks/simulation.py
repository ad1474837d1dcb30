"""Measure where requests run, in a model of a cluster: waits, use of the devices and loads, beside three baselines.

What decides is the code that the engines use (`octabox.engine.cluster`); the cluster is simulated by discrete events. The
second table is how much processor time a decision takes. Targets: ahead of every baseline at p99 of the wait; a decision under
1 ms, whatever the number of devices.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

from octabox.engine.cluster.autoscaling import LOOK, ModelLoad, ScalingLimits, value_of_another
from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import choose_device
from octabox.engine.cluster.routing import choose_warm
from octabox.engine.cluster.state import Device, ModelCosts, Replica
from simulated_cluster import DEVICE_BYTES, GIB, NODE_DEVICES, NODE_LIFE, Cluster, traffic, zipf_models
from simulated_policies import POLICIES


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--hours", type=float, default=6.0, help="length of the simulated day")
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--peak", type=float, default=0.85, help="share of the devices that the peak needs")
    parser.add_argument(
        "--node-hours", type=float, default=NODE_LIFE / 3600, help="hours of a node between failures, on average"
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 100, 1000, 10000], help="of the second table")
    options = parser.parse_args()
    print(
        f"{options.devices} devices, {options.models} models, a day of {options.hours:g} h, {options.peak:.0%} at its peak, "
        f"a node fails every {options.node_hours:g} h"
    )
    print(
        "| seed | policy | requests | wait p50 | p99 | mean | devices in use | loads per hour | failures | restarted |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for seed in options.seed:
        for policy in POLICIES:
            print(simulate(policy, options, seed), flush=True)
    if options.sizes:
        print(
            "\n| devices | warm p50 | p99 | new replica p50 | p99 | update p50 | p99 |\n|---|---|---|---|---|---|---|"
        )
        for devices in options.sizes:
            print(f"| {devices} | " + " | ".join(f"{value * 1e6:.0f} us" for value in decision_times(devices)) + " |")


def simulate(policy: type, options: argparse.Namespace, seed: int) -> str:
    """Return the row of a policy: the traffic and the failures are those of the seed."""
    rng, end = random.Random(seed), options.hours * 3600
    models, shares = zipf_models(options.models, rng)
    cluster = Cluster(policy(), options.devices, end, seed, options.node_hours * 3600)
    cluster.run(traffic(models, shares, options.devices, end, options.peak, rng))
    waits = sorted(cluster.waits) or [0.0]
    p50, p99 = (waits[int(share * (len(waits) - 1))] for share in (0.5, 0.99))
    return (
        f"| {seed} | {policy.name} | {cluster.requests} | {p50:.1f} s | {p99:.1f} s | {statistics.fmean(waits):.1f} s "  # type: ignore[attr-defined]
        f"| {cluster.use:.0%} | {cluster.loads / options.hours:.0f} | {cluster.failures} | {cluster.restarted} |"
    )


def decision_times(devices: int, repeats: int = 500) -> list[float]:
    """Return p50 and p99 of a decision for a request, of one for a new replica, and of an update, in seconds."""
    rng, style = random.Random(devices), frozenset({"style"})
    index, replicas = filled_index(devices, rng)

    def costs(model: str) -> ModelCosts:
        return ModelCosts(20, 5, 1 / (1 + int(model)))

    def value(replica: Replica) -> float:
        return keep_value(costs(replica.model), index.count(replica.model))

    warm, cold, update = [], [], []
    for number in range(repeats):
        replica = rng.choice(replicas)
        began = time.thread_time()
        choose_warm(index.free_replicas(replica.model, style), style)
        load = ModelLoad(index.count(replica.model), 3, costs(replica.model), index.waits(replica.model, LOOK, 0))
        value_of_another(load, ScalingLimits(max_replicas=devices))
        chosen = time.thread_time()
        choose_device(index, str(number % (devices // 2 + 1)), 20 * GIB, 0, value, 20)
        placed = time.thread_time()
        index.put(replica)
        until = rng.uniform(-9, 9)
        index.put_device(Device(replica.device, DEVICE_BYTES, index.device(replica.device).node, until, until > 0))
        warm.append(chosen - began)
        cold.append(placed - chosen)
        update.append(time.thread_time() - placed)
    return [sorted(each)[int(share * (repeats - 1))] for each in (warm, cold, update) for share in (0.5, 0.99)]


def filled_index(devices: int, rng: random.Random) -> tuple[ClusterIndex, list[Replica]]:
    """Return a cluster whose devices are full, most of them with work, and its replicas."""
    index, replicas = ClusterIndex(), []
    for number in range(devices):
        name = f"d{number:05}"
        until = rng.uniform(-10, 30)
        index.put_device(Device(name, DEVICE_BYTES, f"n{number // NODE_DEVICES}", until, until > 0))
        for slot in range(4):
            model = str(int(devices / 2 * rng.random() ** 3))
            replica = Replica(f"{name}/{slot}", model, name, 20 * GIB, rng.uniform(-10, 30), rng.randrange(2))
            index.put(replica)
            replicas.append(replica)
    return index, replicas


if __name__ == "__main__":
    main()
