"""Compare the API of the web UI with the native route, in turn, in one run: one caller and eight.

Target: at least 0.97 of the native route's throughput. On two idle cores it takes two minutes; fewer pairs, rounds or steps
are faster and less exact.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from measured import server
from octabox import demo


def main() -> None:
    """Print the figures."""
    options = _options()
    native_body = {
        "model": demo.NAME,
        "params": {"prompt": demo.PROMPT, "num_inference_steps": options.steps, "guidance_scale": 3},
        "seed": 1,
        "prompt_syntax": "a1111",
        "output": {"response": "b64_json"},
    }
    a1111_body = {"prompt": demo.PROMPT, "steps": options.steps, "cfg_scale": 3, "seed": 1}
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), "--threads", "1") as (client, _, _):

        def native() -> None:
            _post(client, "/v1/generations", native_body)

        def a1111() -> None:
            _post(client, "/sdapi/v1/txt2img", a1111_body)

        for warm in (native, a1111, native, a1111):
            warm()
        pairs = [(_seconds(native), _seconds(a1111)) for _ in range(options.pairs)]
        _report("1 caller", [1 / first for first, _ in pairs], [1 / second for _, second in pairs])
        rates = [(_rate(native, options.requests), _rate(a1111, options.requests)) for _ in range(options.rounds)]
        _report("8 callers", [first for first, _ in rates], [second for _, second in rates])


def _options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="pairs of requests of one caller")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of eight callers")
    parser.add_argument("--requests", type=int, default=16, help="requests of each round")
    parser.add_argument("--steps", type=int, default=20, help="steps of each request")
    return parser.parse_args()


def _report(label: str, native: list[float], a1111: list[float]) -> None:
    """Print the throughput of both."""
    first, second = statistics.median(native), statistics.median(a1111)
    print(
        f"{label:10s} {first:8.2f} images/s native, {second:8.2f} A1111: {second / first:.3f} (target: at least 0.97)",
        flush=True,
    )


def _rate(work: Callable[[], None], count: int, callers: int = 8) -> float:
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
