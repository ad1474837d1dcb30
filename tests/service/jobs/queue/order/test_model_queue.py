"""The order of the jobs of a model, whose cost does not grow with how many wait."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import groupby

import pytest

from octabox.service.jobs import StoredJob
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.order.model_queue import MAX_PER_CLIENT, MAX_TURNS, ModelQueue
from octabox.types import GenerationRequest

#: Numbers of waiting jobs of which the second one must not cost much more than the first one.
FEW, MANY = 200, 10_000

#: How much more. What looks at all jobs costs fifty times as much.
FACTOR = 6


def stored(index: int, client: str = "", priority: int = 0, model: str = "m") -> StoredJob:
    """Return a job that waits at a place."""
    request = GenerationRequest(model, id=f"{index}")
    return StoredJob(request, 0.0, client=client, priority=priority, place=index, number=index)


def expected_order(waiting: list[StoredJob], last: dict[str, int], ahead: Counter[str]) -> list[str]:
    """Return the ids of jobs in their order, which is found by sorting all of them."""
    order: list[str] = []
    by_priority = sorted(waiting, key=lambda job: (-job.priority, job.place))
    for _, group in groupby(by_priority, key=lambda job: job.priority):
        counts, turns = Counter(ahead), []
        for job in group:
            turns.append((counts[job.client], last.get(job.client, 0), job.place, job.id))
            counts[job.client] += 1
        order += [turn[3] for turn in sorted(turns)]
    return order


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_that_of_sorting_all_jobs(seed: int) -> None:
    """By priority, then by how many jobs of the client run before, its last turn and the place; positions agree with it."""
    rng = random.Random(seed)
    queue, jobs, last, turn = ModelQueue(6), dict[str, StoredJob](), dict[str, int](), 0
    for index in range(300):
        waiting = [job for job in jobs.values() if job.id in queue._waiting]
        action = rng.random()
        if action < 0.5 or not waiting:
            job = stored(rng.randrange(10**6), rng.choice("abcde"), rng.choice((0, 0, 0, 5, -3)))
            jobs[job.id] = job
            queue.add(job)
        elif action < 0.6:
            queue.shift(rng.choice(waiting).place)
        elif action < 0.75:
            queue.remove(gone := rng.choice([*jobs.values()]))
            del jobs[gone.id]
        elif action < 0.85 and queue.sent:
            back = rng.choice(queue.sent)
            queue.remove(back)
            queue.add(back)
        else:
            selection = queue.select(ending=())
            queue.send(selection.jobs)
            for job in selection.jobs:
                turn += 1
                last[job.client] = turn
        waiting = [job for job in jobs.values() if job.id in queue._waiting]
        order = expected_order(waiting, last, Counter(job.client for job in queue.sent))
        assert order == [job.id for job in queue._ordered()], index
        ahead = len(queue.sent)
        assert {name: ahead + place for place, name in enumerate(order)} == queue.positions(waiting)
        for job in waiting[:3]:
            assert ahead + order.index(job.id) == queue._position(job)


def test_what_is_known_of_clients_is_bounded() -> None:
    """However many clients have come and gone: only the last turns of some are kept, and no number of a client without jobs."""
    live, queue = LiveJobs(16), ModelQueue(16)
    for index in range(MAX_TURNS + 50):
        job = stored(index, client=f"{index}")
        live.reserve_room(job.client, 1)
        live.reserve_room(job.client, -1)
        live.add(job)
        live.remove(job)
        queue.add(job)
        queue.send(queue.select(ending=()).jobs)
        queue.remove(job)

    assert MAX_TURNS == len(queue._turns)
    assert (0, 0, 0) == (len(live), len(live._of_client), len(live.order._queues))
    assert not queue._ahead


def test_a_full_client_lets_others_pass() -> None:
    """Its jobs are left out without being looked at, however many they are."""
    queue = ModelQueue(16)
    for index in range(500):
        queue.add(stored(index, client="many"))
    queue.send(queue.select(ending=()).jobs)
    queue.add(stored(1000, client="few"))

    assert MAX_PER_CLIENT == len(queue.sent)
    assert ["1000"] == [job.id for job in queue.select(ending=()).jobs]


def waiting_jobs(count: int, clients: int) -> LiveJobs:
    """Return jobs that wait for a model, of which the engine has as many as it may have."""
    live = LiveJobs(16)
    for index in range(count):
        live.add(stored(index, client=f"{index % clients}"))
    live.order.take_next("m")
    return live


def run_next(live: LiveJobs) -> None:
    """End a job, and send the next one."""
    job = live.order.sent_of(["m"])[0]
    live.order.begin_end(job)
    live.remove(job)
    live.order.take_back(job.id)
    for model in live.order.models():
        live.order.take_next(model)


def accept_and_cancel(live: LiveJobs) -> None:
    """Accept a job, and end it while it waits."""
    job = stored(20_000, client="0")
    assert live.of_client("0")
    live.add(job)
    for model in live.order.models():
        live.order.take_next(model)
    live.remove(job)


def look(live: LiveJobs) -> None:
    """Return the position of one of the last jobs, as for a client that asks for it or follows it."""
    (job,) = live.current(live._jobs[next(reversed(live._jobs))])
    assert job.progress.position


def move_first(live: LiveJobs) -> None:
    """Move a job of the end of the queue to its front."""
    live.order.change(live._jobs[next(reversed(live._jobs))], place=live.order.reserve_first())


@pytest.mark.parametrize("clients", [1, 20])
@pytest.mark.parametrize("event", [run_next, accept_and_cancel, look, move_first])
def test_an_event_costs_the_same_however_many_jobs_wait(event: Callable[[LiveJobs], None], clients: int) -> None:
    """Otherwise the end of each job lets all other requests of the server wait, for longer the more jobs there are."""
    seconds = []
    for count in (FEW, MANY):
        live, times = waiting_jobs(count, clients), list[float]()
        for _ in range(15):
            start = time.thread_time()
            for _ in range(10):
                event(live)
            times.append(time.thread_time() - start)
        # The shortest one, in which nothing else has run.
        seconds.append(min(times))

    assert seconds[1] < FACTOR * seconds[0]
