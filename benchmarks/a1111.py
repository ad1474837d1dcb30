"""Compare the API of the web UI with the native route, in turn, in one run: one caller and eight.

Target: at least 0.97 of the native route's throughput.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from measured import server
from octabox import demo

#: Pairs of requests that are timed, rounds of eight callers, and steps of each request.
PAIRS, ROUNDS, STEPS = 20, 3, 20

NATIVE = {
    "model": demo.NAME,
    "params": {"prompt": demo.PROMPT, "num_inference_steps": STEPS, "guidance_scale": 3},
    "seed": 1,
    "prompt_syntax": "a1111",
    "output": {"response": "b64_json"},
}
A1111 = {"prompt": demo.PROMPT, "steps": STEPS, "cfg_scale": 3, "seed": 1}


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), "--threads", "1") as (client, _, _):

        def native() -> None:
            _post(client, "/v1/generations", NATIVE)

        def a1111() -> None:
            _post(client, "/sdapi/v1/txt2img", A1111)

        for warm in (native, a1111, native, a1111):
            warm()
        pairs = [(_seconds(native), _seconds(a1111)) for _ in range(PAIRS)]
        _report("1 caller", [1 / first for first, _ in pairs], [1 / second for _, second in pairs])
        rates = [(_rate(native), _rate(a1111)) for _ in range(ROUNDS)]
        _report("8 callers", [first for first, _ in rates], [second for _, second in rates])


def _report(label: str, native: list[float], a1111: list[float]) -> None:
    """Print the throughput of both."""
    first, second = statistics.median(native), statistics.median(a1111)
    print(
        f"{label:10s} {first:8.2f} images/s native, {second:8.2f} A1111: {second / first:.3f} (target: at least 0.97)"
    )


def _rate(work: Callable[[], None], callers: int = 8, count: int = 24) -> float:
    """Return the throughput of several concurrent callers."""
    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(lambda _: work(), range(count)))
    return count / (time.perf_counter() - began)


def _post(client: httpx.Client, path: str, body: dict[str, object]) -> None:
    httpx.post(f"{client.base_url}{path}", json=body, timeout=600, trust_env=False).raise_for_status()


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
