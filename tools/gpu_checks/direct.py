"""Models without the server, in a process of their own: as diffusers alone loads them, or as a worker of Octabox does."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_checks.memory import forget_peak, peak_of

#: Seconds in which the process must exit after it is asked to.
END = 20


class DirectError(Exception):
    """What the process could not do."""


class Direct:
    """A process that holds one pipeline at a time and calls it.

    Args:
        log: Log file of the process.
        threads: Processor threads; 0 leaves that to torch.
    """

    def __init__(self, log: Path, threads: int) -> None:
        self._log, self._threads = log, threads
        self._process: subprocess.Popen[str] | None = None

    def load(self, **order: Any) -> dict[str, Any]:
        """Load a pipeline, and return the seconds that it took and the most memory that was held.

        Args:
            **order: ``folder``, ``dtype`` and ``device`` for diffusers alone; ``config`` and ``pipeline`` as Octabox loads it.
        """
        return self._ask({"load": order})

    def call(self, params: Mapping[str, Any], images: int = 1, seed: int = 1) -> dict[str, Any]:
        """Call the pipeline, and return the seconds that it took and the most memory that was held.

        Args:
            params: Parameters of the call.
            images: How many images are made in one call.
            seed: Of the first image; the next has the next.
        """
        return self._ask({"params": dict(params), "images": images, "seed": seed})

    def unload(self) -> None:
        """Give up the pipeline, and keep the process: to import the libraries takes longer than to load a model."""
        self._ask({"unload": True})

    def close(self) -> None:
        """End the process, and with it all that it holds."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            process.kill()

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(order), file=process.stdin, flush=True)
        line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"the process ended with {process.wait(END)}"}
        assert isinstance(answer, dict)
        if "error" in answer:
            raise DirectError(answer["error"])
        return answer

    def _started(self) -> subprocess.Popen[str]:
        """Return the process; it is started where it does not run."""
        if self._process is None or self._process.poll() is not None:
            tools = str(Path(__file__).parents[1])
            paths = os.pathsep.join(filter(None, (tools, os.environ.get("PYTHONPATH"))))
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "gpu_checks.direct", str(self._threads)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={**os.environ, "PYTHONPATH": paths},
                )
        return self._process


def main(threads: int) -> None:
    """Load and call pipelines by lines of JSON, until the input ends."""
    # What libraries print is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    import torch  # noqa: PLC0415 (the other end of this file needs no torch)

    if threads:
        torch.set_num_threads(threads)
    pipe: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        if "params" not in order:
            pipe = None
            gc.collect()
        _forget_peaks()
        seconds = 0.0
        try:
            if "load" in order:
                pipe, seconds = _load(order["load"])
            elif "params" in order:
                seconds = _call(pipe, order)
            answer: dict[str, Any] = {"seconds": seconds, **_peaks()}
        except Exception as error:  # noqa: BLE001 (whatever goes wrong is the answer)
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _load(order: Mapping[str, Any]) -> tuple[Any, float]:
    """Return a pipeline, as diffusers alone or as a worker of Octabox loads it, and the seconds that it took."""
    if "config" in order:
        from octabox.config.model import ModelConfig  # noqa: PLC0415
        from octabox.engine.messages import WorkerOptions  # noqa: PLC0415
        from octabox.engine.worker.loading.models import load  # noqa: PLC0415

        began = time.perf_counter()
        pipe: Any = load(ModelConfig.model_validate(order["config"]), order["pipeline"], WorkerOptions()).pipeline
    else:
        import torch  # noqa: PLC0415
        from diffusers import DiffusionPipeline  # noqa: PLC0415

        began = time.perf_counter()
        loaded = DiffusionPipeline.from_pretrained(order["folder"], dtype=getattr(torch, order["dtype"]))
        pipe = loaded.to(order["device"])
    seconds = time.perf_counter() - began
    pipe.set_progress_bar_config(disable=True)
    return pipe, seconds


def _call(pipe: Any, order: Mapping[str, Any]) -> float:
    """Call a pipeline, and return the seconds that it took."""
    import torch  # noqa: PLC0415

    seeds = range(order["seed"], order["seed"] + order["images"])
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    began = time.perf_counter()
    pipe(**order["params"], num_images_per_prompt=order["images"], generator=generators)
    return time.perf_counter() - began


def _forget_peaks() -> None:
    """Let the largest amounts of memory count from now on, with nothing kept for reuse."""
    from octabox.engine.worker.placement import process_memory  # noqa: PLC0415 (the other end of this file needs no torch)

    forget_peak(os.getpid())
    if (accelerator := _accelerator()) is not None:
        process_memory.release_memory(accelerator)
        process_memory.reset_peak(accelerator)


def _peaks() -> dict[str, int | None]:
    """Return the most bytes since then: resident ones of the host, and those of tensors on the accelerator."""
    from octabox.engine.worker.placement import process_memory  # noqa: PLC0415 (as above)

    accelerator = _accelerator()
    device = None if accelerator is None else max(process_memory.measure_memory(accelerator).peak.values())
    return {"host": peak_of(os.getpid()), "device": device}


def _accelerator() -> str | None:
    """Return the name of the first accelerator; None without one."""
    import torch  # noqa: PLC0415 (as above)

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if accelerator is None else f"{accelerator.type}:0"


if __name__ == "__main__":
    main(int(sys.argv[1]))
