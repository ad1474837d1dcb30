"""What unloading the replicas of a model costs, learned from its requests."""

from __future__ import annotations

import time
from dataclasses import replace

from octabox.engine.cluster.demand import LearnedDemand
from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.state import ModelCosts


class ModelWorth:
    """What is learned of a model while its server runs; the rule is that of a cluster."""

    def __init__(self) -> None:
        self._demand = LearnedDemand()

    def note_request(self) -> None:
        """Count a request that arrives."""
        self._demand = self._demand.with_arrival(time.time())

    def costs(self, load_seconds: float, run_seconds: float) -> ModelCosts:
        """Return what is known of the model.

        Args:
            load_seconds: What its load took.
            run_seconds: What its last request took.
        """
        return replace(self._demand.at(time.time()), load_seconds=load_seconds, run_seconds=run_seconds)

    def of_replica(self, load_seconds: float, run_seconds: float, replicas: int) -> float:
        """Return the seconds that unloading a replica is expected to cost.

        Args:
            load_seconds: What its load took.
            run_seconds: What its last request took.
            replicas: How many the model has.
        """
        return keep_value(self.costs(load_seconds, run_seconds), replicas)
