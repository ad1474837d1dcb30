"""What a worker does when its device fails or has no memory left: at load, at any step, in the decode, in every memory mode."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import torch
from diffusers import AutoencoderKL

from accelerator.environment import accelerator_environment
from embedded import Calls
from octabox.config.model import ModelConfig
from octabox.engine.messages import Failed, Finished, FromWorker, Memory, Start, WorkerOptions
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement.process_memory import free_memory, measure_memory
from octabox.engine.worker.placement.recovery import clean_up, is_usable
from octabox.engine.worker.process.encoder import Encoder
from octabox.engine.worker.process.pipe import Pipe
from octabox.engine.worker.process.serving import _run_call
from octabox.engine.worker.trial import ReportingRunner
from octabox.errors import DeviceError, GenerationCancelledError, OutOfMemoryError
from pretended_accelerator import Control
from serving import running_server

CONVOLUTION = "aten::convolution"
MODES = ["full", "model_cpu_offload", "sequential_cpu_offload", "group_offload"]
OUT_OF_MEMORY = ["out of memory", "driver out of memory", "mps out of memory", "cublas"]
BROKEN = ["device-side assert", "illegal memory access", "ecc", "cudnn"]

#: A request to a server, and one that takes long enough to be ended in the middle.
GOOD = {"model": "demo", "prompt": "a red circle", "num_inference_steps": 2, "seed": 1, "response_format": "b64_json"}


class SilentConnection:
    """A connection to a server that sends nothing: the end of a real one would end this process."""

    def recv(self) -> Any:
        """Wait forever."""
        threading.Event().wait()


class RecordingPipe(Pipe):
    """A worker's end of its pipe that records messages and sends none."""

    def __init__(self) -> None:
        super().__init__(cast(Connection, SilentConnection()))
        self.messages: list[FromWorker] = []

    def send(self, message: FromWorker) -> None:
        """Keep a message."""
        self.messages.append(message)

    def last(self, kind: type[Any]) -> Any:
        """Return the last message of a class."""
        return [message for message in self.messages if isinstance(message, kind)][-1]


class Worker:
    """A worker in this process.

    Args:
        model: What it has loaded.
        accelerator: The device.
    """

    def __init__(self, model: ModelConfig, accelerator: Control) -> None:
        start = Start(model, "StableDiffusionPipeline", WorkerOptions())
        self.runner = ReportingRunner(load(start.model, start.pipeline, start.options), start)
        self.calls, self.pipe, self.accelerator = Calls(model), RecordingPipe(), accelerator
        self.usable = True

    def make(self, **options: Any) -> bytes | Exception:
        """Make a call; return its image, or the error that was sent."""
        with closing(Encoder()) as encoder:
            self.usable = _run_call(self.calls(**options), self.runner, self.pipe, encoder)
        answer = self.pipe.last((Finished, Failed))  # type: ignore[arg-type]
        return answer.error if isinstance(answer, Failed) else bytes(answer.generation.artifacts[0].content)

    def convolutions(self) -> int:
        """Return how many convolutions a call takes."""
        before = self.accelerator.operators[CONVOLUTION]
        self.make()
        return self.accelerator.operators[CONVOLUTION] - before


@pytest.fixture
def worker(embedded: ModelConfig, accelerator: Control) -> Callable[..., Worker]:
    """Return a function that loads the embedded model on the device with settings."""
    return lambda **settings: Worker(
        embedded.model_copy(update={"dtype": "float32", "memory": "full", **settings}), accelerator
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_memory_is_given_back_after_it_ran_out(worker: Callable[..., Worker], accelerator: Control, mode: str) -> None:
    """Wherever a call runs out of memory, as many bytes are held afterwards as before, and the next one is as it was."""
    made = worker(memory=mode)
    image, total = made.make(), made.convolutions()
    gc.collect()
    held = accelerator.allocated()
    for operator, after in [("", 1), (CONVOLUTION, 1), (CONVOLUTION, total // 2), (CONVOLUTION, total - 1)]:
        accelerator.fail("out of memory", after, operator)
        error = made.make()
        made.runner.clear_prompt_cache()

        assert isinstance(error, OutOfMemoryError), (operator, after, error)
        assert (2 * 2**30, True) == (error.requested, made.usable)
        assert accelerator.allocated() <= held, (operator, after)
        assert accelerator.reserved() - accelerator.allocated() < 2**10
    assert image == made.make()
    assert mode != "full" or held == accelerator.allocated()


@pytest.mark.parametrize("mode", MODES)
def test_a_device_that_is_too_small_serves_smaller_requests(
    worker: Callable[..., Worker], accelerator: Control, mode: str
) -> None:
    """A request that is too large for the device is an error with its numbers; the next smaller one is served."""
    made = worker(memory=mode)
    made.make()
    accelerator.settings.memory = accelerator.peak() + 2**20
    error, image = made.make(width=512, height=512), made.make()

    assert isinstance(error, OutOfMemoryError)
    assert error.requested
    assert error.free is not None
    assert error.free < error.requested
    assert isinstance(image, bytes)


@pytest.mark.parametrize("fault", OUT_OF_MEMORY)
def test_every_kind_of_exhausted_memory_is_one(
    worker: Callable[..., Worker], accelerator: Control, embedded: ModelConfig, fault: str
) -> None:
    """Every message of exhausted memory, in a call and in a load, is recognized, and the worker continues."""
    made = worker()
    accelerator.fail(fault, 3, CONVOLUTION)

    assert isinstance(made.make(), OutOfMemoryError)
    assert made.usable
    accelerator.fail(fault)
    with pytest.raises(Exception, match=r"memory|ALLOC_FAILED") as caught:
        load(embedded.model_copy(update={"memory": "full"}), "StableDiffusionPipeline", WorkerOptions())
    assert isinstance(to_load_error(caught.value, embedded), OutOfMemoryError)


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("after", [1, 30])
def test_a_device_that_fails_ends_the_worker(
    worker: Callable[..., Worker], accelerator: Control, fault: str, after: int
) -> None:
    """A device failure before the first step or later is a `DeviceError`, and the worker ends after its response."""
    made = worker()
    accelerator.fail(fault, after, CONVOLUTION)
    error = made.make()

    assert isinstance(error, DeviceError)
    assert "fake:0" in error.message
    assert not made.usable


def test_a_broken_device_is_noticed_after_any_failure(worker: Callable[..., Worker], accelerator: Control) -> None:
    """If the device failed during a cancelled call, the caller gets the cancellation and the worker ends."""
    made = worker()

    def check(*_: object) -> None:
        accelerator.fail("illegal memory access")
        with pytest.raises(torch.AcceleratorError):
            torch.ones(1, device="fake")
        raise GenerationCancelledError("x")

    made.runner.run = check  # type: ignore[assignment, method-assign]
    error = made.make()

    assert isinstance(error, GenerationCancelledError)
    assert not made.usable
    clean_up(made.runner.pipelines, "fake:0", made.runner.state)  # Raises nothing.
    assert not is_usable("fake:0")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_vae_that_was_upcast_gets_its_dtype_back(
    worker: Callable[..., Worker], accelerator: Control, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a decode that a pipeline does in float32 runs out of memory, the next call is as if nothing had been."""
    made = worker(memory=mode, dtype="bfloat16")
    image, decode = made.make(), AutoencoderKL.decode

    def upcast(vae: AutoencoderKL, *args: Any, **options: Any) -> Any:
        vae.to(dtype=torch.float32)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(AutoencoderKL, "decode", upcast)
    assert isinstance(made.make(), OutOfMemoryError)
    monkeypatch.setattr(AutoencoderKL, "decode", decode)

    assert image == made.make()
    assert {torch.bfloat16} == {weight.dtype for weight in made.runner.pipelines[0].vae.parameters()}


def test_attention_processors_of_a_failed_call_are_gone(worker: Callable[..., Worker], accelerator: Control) -> None:
    """A class that changes the attention for its own calls changes it for no other, however its call ended."""
    made = worker()
    image = made.make()
    accelerator.fail("out of memory", 20, CONVOLUTION)
    error = made.make(runs_as="StableDiffusionPAGPipeline", pag_scale=3.0)

    assert isinstance(error, OutOfMemoryError)
    assert image == made.make()


def test_figures_name_the_device_in_use_alone(worker: Callable[..., Worker], accelerator: Control) -> None:
    """Reserved and allocated bytes are those of the worker's own device; no other one is touched."""
    accelerator.settings.devices = 2
    made = worker(device="fake:1")
    accelerator.forget_counts()
    made.make()
    told = made.pipe.last(Memory)

    assert {"host", "fake:1"} == set(told.bytes)
    assert {"fake:1": accelerator.allocated(1)} == dict(told.allocated)
    assert told.bytes["fake:1"] >= told.allocated["fake:1"] > 0
    assert 0 == accelerator.operators_on[0]
    assert free_memory("fake:1") == 2**40 - accelerator.reserved(1)


def test_figures_of_the_processor_touch_no_device(accelerator: Control) -> None:
    """A worker on the CPU queries no accelerator."""
    before = accelerator.operators_on.total()

    assert {"host"} == set(measure_memory("cpu").bytes)
    assert is_usable("cpu")
    assert before == accelerator.operators_on.total()


def ask(url: str) -> httpx.Response:
    """Ask a server for an image."""
    return httpx.post(f"{url}/v1/images/generations", json=GOOD, timeout=120, trust_env=False)


@pytest.mark.slow
def test_a_broken_device_costs_one_request(tmp_path: Path) -> None:
    """Over HTTP: 500 that names the device, one line at ERROR; the queue behind it gets a new worker and the same image."""
    shared, models, log = tmp_path / "shared", tmp_path / "models", tmp_path / "log"
    shared.mkdir()
    models.mkdir()
    environment = accelerator_environment(shared)
    with running_server(models, "--log-file", str(log), environment=environment) as url:
        (shared / "settings.json").write_text(json.dumps({"fail": f"device-side assert@60:{CONVOLUTION}"}), "utf-8")
        answers: list[httpx.Response] = []
        first = threading.Thread(target=lambda: answers.append(ask(url)))
        first.start()
        while not (shared / "events.jsonl").exists() or "initialized" not in (shared / "events.jsonl").read_text(
            "utf-8"
        ):
            pass
        (shared / "settings.json").write_text("{}", "utf-8")
        behind = ask(url)
        first.join()
        status = httpx.get(f"{url}/v1/models/demo", trust_env=False).json()["status"]
        figures = httpx.get(f"{url}/metrics", trust_env=False).text

        assert (500, "device_failed") == (answers[0].status_code, answers[0].json()["error"]["code"])
        assert behind.is_success
        assert ask(url).json()["data"] == behind.json()["data"]
        assert 0 < status["allocated"]["fake:0"] <= status["memory"]["fake:0"]
        assert 'octabox_memory_allocated_bytes{model="demo",place="fake:0"}' in figures
    assert 1 == log.read_text("utf-8").count(" ERROR ")
