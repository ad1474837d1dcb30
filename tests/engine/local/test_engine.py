"""The engine of one machine, with real worker processes and the embedded model."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from embedded import FEW, Calls, finish
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine, component_classes
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Call
from octabox.errors import (
    IncompatibleWeightsError,
    InvalidParameterError,
    InvalidRequestError,
    LoadError,
    ServerStoppingError,
    UnknownParameterError,
    WorkerDiedError,
)
from octabox.types import Event, Generation, Progress, SchedulerChoice


def pid_of(engine: LocalEngine, name: str = "demo") -> int:
    """Return the process of a model in memory."""
    (pid,) = [status.pid for status in engine.status() if status.model == name]
    assert pid is not None
    return pid


@pytest.fixture(scope="module")
async def expected(engine: LocalEngine, calls: Calls) -> bytes:
    """Return the image of seed 5, before anything has gone wrong."""
    return (await finish(engine, calls(seeds=(5,)))).artifacts[0].content


async def cancel_at(engine: LocalEngine, call: Call, step: int) -> None:
    """Run a call until this step, then leave it."""
    async with aclosing(engine.generate(call)) as events:
        async for event in events:
            if isinstance(event, Progress) and event.step >= step and event.phase != "queued":
                return


async def test_the_same_seed_gives_the_same_bytes(engine: LocalEngine, calls: Calls) -> None:
    """The same call with the same seed gives the same file, and another seed another one."""
    first, again, other = [await finish(engine, calls(seeds=(seed,))) for seed in (7, 7, 8)]

    assert first.artifacts[0].content == again.artifacts[0].content
    assert first.artifacts[0].content != other.artifacts[0].content


async def test_a_run_of_several_equals_its_single_runs(engine: LocalEngine, calls: Calls) -> None:
    """Each image of a call that must not share its run is, byte by byte, the one that its own seed gives alone."""
    several = await finish(engine, calls(seeds=(1, 2, 3), deterministic=True))
    single = await finish(engine, calls(seeds=(2,)))

    assert [1, 2, 3] == [artifact.seed for artifact in several.artifacts]
    assert single.artifacts[0].content == several.artifacts[1].content


async def test_progress_counts_the_true_timesteps(engine: LocalEngine, calls: Calls) -> None:
    """Half the strength of image-to-image takes half the steps, which progress counts."""
    image = Image.new("RGB", (128, 128), "red")
    call = calls(
        runs_as="StableDiffusionImg2ImgPipeline", inputs={"image": (image,)}, strength=0.5, num_inference_steps=8
    )
    events = [event async for event in engine.generate(call)]
    steps = [(event.step, event.steps) for event in events if isinstance(event, Progress) and event.step]

    assert [(1, 4), (2, 4), (3, 4), (4, 4)] == steps


async def test_as_many_previews_come_as_requested(engine: LocalEngine, calls: Calls) -> None:
    """Two partial images of a call are two images of its size, before its result."""
    events = [event async for event in engine.generate(calls(partial_images=2, num_inference_steps=6))]
    previews = [event.preview for event in events if isinstance(event, Progress) and event.preview]

    assert 2 == len(previews)
    assert isinstance(events[-1], Generation)


@pytest.mark.parametrize("step", range(1, FEW + 1))
async def test_a_cancel_at_any_step_leaves_no_trace(
    engine: LocalEngine, calls: Calls, expected: bytes, step: int
) -> None:
    """Whatever step a call is cancelled at, its worker goes on, and the next call gives the same bytes as before."""
    worker = pid_of(engine)
    await cancel_at(engine, calls(seeds=(6,)), step)
    after = await finish(engine, calls(seeds=(5,)))

    assert expected == after.artifacts[0].content
    assert worker == pid_of(engine)


async def signal_workers(
    engine: LocalEngine, call: Call, number: int, signalled: list[int], times: int = 1
) -> Generation | None:
    """Run a call, and send a signal to so many workers, one after another, as each takes its first step."""
    result = None
    async for event in engine.generate(call):
        steps = isinstance(event, Progress) and event.step
        if steps and len(signalled) < times and pid_of(engine) not in signalled:
            signalled.append(pid_of(engine))
            os.kill(signalled[-1], number)
        result = event if isinstance(event, Generation) else result
    return result


async def test_a_call_whose_worker_is_killed_runs_again(engine: LocalEngine, calls: Calls, expected: bytes) -> None:
    """Its seed gives the same bytes, with a warning."""
    killed: list[int] = []
    generation = await signal_workers(engine, calls(seeds=(5,)), signal.SIGKILL, killed)

    assert generation is not None
    assert expected == generation.artifacts[0].content
    assert any("SIGKILL. The request was run again" in warning for warning in generation.warnings)
    assert killed != [pid_of(engine)]


async def test_a_call_whose_workers_are_killed_is_an_error(engine: LocalEngine, calls: Calls) -> None:
    """No third one is tried; the call behind it is served."""
    killed: list[int] = []
    first = asyncio.create_task(signal_workers(engine, calls(), signal.SIGKILL, killed, 2))
    await asyncio.sleep(0)
    behind = asyncio.create_task(finish(engine, calls()))

    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        await first
    assert isinstance(await behind, Generation)
    assert 2 == len(killed)


async def kill_at_preview(engine: LocalEngine, call: Call) -> list[Event]:
    """Run a call whose worker is killed once the caller has a preview of it, and return its events."""
    events, killed = list[Event](), False
    async for event in engine.generate(call):
        events.append(event)
        if isinstance(event, Progress) and event.preview is not None and not killed:
            os.kill(pid_of(engine), signal.SIGKILL)
            killed = True
    return events


async def test_only_a_background_job_runs_again_after_a_preview(engine: LocalEngine, calls: Calls) -> None:
    """A caller would wait for a result of which it has a part; the followers of the job receive each preview once."""
    previewed: dict[str, Any] = {"partial_images": 2, "num_inference_steps": 60}
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        await kill_at_preview(engine, calls(**previewed))
    events = await kill_at_preview(engine, calls(background=True, **previewed))
    result = events[-1]

    assert isinstance(result, Generation)
    assert any("The request was run again" in warning for warning in result.warnings)
    assert 2 == sum(isinstance(event, Progress) and event.preview is not None for event in events)


async def test_a_background_job_whose_worker_hangs_runs_again(embedded: ModelConfig) -> None:
    """Nobody waits for it: it is treated as one whose worker has died, by another worker, and no third one is tried."""
    engine = LocalEngine(WorkerOptions(threads=1, silence_timeout=3))
    job = Calls(embedded)(background=True, num_inference_steps=60)
    stopped = list[int]()
    result = await signal_workers(engine, job, signal.SIGSTOP, stopped)

    assert isinstance(result, Generation)
    assert any("gave no sign of life" in warning for warning in result.warnings)
    with pytest.raises(WorkerDiedError, match="gave no sign of life"):
        await signal_workers(engine, replace(job, id="other"), signal.SIGSTOP, stopped, 3)
    assert 3 == len(stopped)
    await engine.close()


async def test_a_background_job_whose_load_is_killed_is_loaded_for_again(embedded: ModelConfig) -> None:
    """The end of the process that loads its model is no more its end than that of the one that runs it, once."""
    killed = set[int]()

    async def run(times: int) -> Generation:
        engine = LocalEngine(WorkerOptions(threads=1))
        task = asyncio.create_task(finish(engine, Calls(embedded)(background=True)))
        try:
            while not task.done() and len(killed) < times:
                for status in engine.status():
                    if status.state == "loading" and status.pid and status.pid not in killed:
                        os.kill(status.pid, signal.SIGKILL)
                        killed.add(status.pid)
                await asyncio.sleep(0.01)
            return await task
        finally:
            await engine.close()

    assert isinstance(await run(1), Generation)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        await run(3)
    assert 3 == len(killed)


async def test_a_worker_that_is_stopped_is_replaced(embedded: ModelConfig) -> None:
    """A call that runs on it is an error in limited time; the next one gets a new worker."""
    engine = LocalEngine(WorkerOptions(threads=1, silence_timeout=3))
    calls, stopped = Calls(embedded), list[int]()
    with pytest.raises(WorkerDiedError, match="gave no sign of life"):
        await signal_workers(engine, calls(num_inference_steps=500), signal.SIGSTOP, stopped)

    assert not Path(f"/proc/{stopped[0]}").exists()
    assert isinstance(await finish(engine, calls()), Generation)
    await engine.close()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"width": 1}, InvalidParameterError),
        ({"width": 1, "height": 1}, InvalidRequestError),
        ({"guidance_scale": "much"}, InvalidParameterError),
        ({"clip_skip": 99}, InvalidParameterError),
        ({"scheduler": SchedulerChoice("EDMEulerScheduler")}, InvalidParameterError),
        ({"scheduler": SchedulerChoice("IPNDMScheduler")}, InvalidParameterError),
        ({"scheduler": SchedulerChoice("DDIMInverseScheduler")}, InvalidParameterError),
        ({"scheduler": SchedulerChoice("CMStochasticIterativeScheduler")}, InvalidParameterError),
        ({"scheduler": SchedulerChoice("FlowMatchEulerDiscreteScheduler")}, InvalidParameterError),
        ({"scheduler": SchedulerChoice("DDIMScheduler", {"use_karras": True})}, UnknownParameterError),
        ({"runs_as": "StableDiffusionControlNetPipeline"}, IncompatibleWeightsError),
    ],
)
async def test_what_a_pipeline_refuses_harms_no_later_call(
    engine: LocalEngine, calls: Calls, expected: bytes, options: dict[str, object], error: type[Exception]
) -> None:
    """A call that cannot be run is an error, and the next one gives the same bytes as before."""
    with pytest.raises(error):
        await finish(engine, calls(**options))  # type: ignore[arg-type]
    after = await finish(engine, calls(seeds=(5,)))

    assert expected == after.artifacts[0].content


async def test_a_scheduler_of_one_call_is_gone_in_the_next(engine: LocalEngine, calls: Calls) -> None:
    """A call's scheduler and its settings are recorded in its metadata, and do not affect later calls."""
    before = await finish(engine, calls())
    choice = SchedulerChoice("DPMSolverMultistepScheduler", {"use_karras_sigmas": True})
    other = await finish(engine, calls(scheduler=choice))
    after = await finish(engine, calls())

    assert {"name": choice.name, "settings": choice.settings} == other.artifacts[0].metadata["scheduler"]
    assert before.artifacts[0].content == after.artifacts[0].content != other.artifacts[0].content


async def test_a_long_prompt_is_read_to_its_end(engine: LocalEngine, calls: Calls) -> None:
    """The last words of a prompt count that is longer than one pass of the text encoder."""
    ends = ("on a blue background", "on a yellow background")
    made = [await finish(engine, calls(prompt="a red circle " * 30 + end)) for end in ends]

    assert [(), ()] == [generation.warnings for generation in made]
    assert made[0].artifacts[0].content != made[1].artifacts[0].content


async def test_unload_ends_the_process(engine: LocalEngine, calls: Calls, embedded: ModelConfig) -> None:
    """Unloading a model ends its process, and loading brings a new one."""
    await engine.load(embedded, "StableDiffusionPipeline")
    pid = pid_of(engine)

    assert await engine.unload("demo")
    assert not Path(f"/proc/{pid}").exists()
    assert not await engine.unload("demo")
    assert "ready" == (await engine.load(embedded, "StableDiffusionPipeline")).state


@pytest.mark.parametrize(
    ("model", "pipeline", "error", "words"),
    [
        ("/nowhere/at/all", "StableDiffusionPipeline", LoadError, "nowhere"),
        ("{folder}", "StableDiffusionPipeline", LoadError, "model_index.json"),
        ("{demo}", "FluxPipeline", LoadError, "Model 'broken'"),
        ("{folder}/model.safetensors", "StableDiffusionPipeline", LoadError, "is not a valid safetensors file"),
    ],
)
async def test_a_load_that_fails_states_the_reason(
    engine: LocalEngine,
    embedded: ModelConfig,
    tmp_path: Path,
    model: str,
    pipeline: str,
    error: type[Exception],
    words: str,
) -> None:
    """A model that cannot be loaded is a typed error that names it, and leaves no process."""
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    config = ModelConfig(name="broken", model=model.format(folder=tmp_path, demo=embedded.model))

    with pytest.raises(error, match=words):
        await engine.load(config, pipeline)
    assert [] == [status for status in engine.status() if status.model == "broken"]


async def test_an_unknown_device_is_refused(engine: LocalEngine, embedded: ModelConfig) -> None:
    """The error names the device."""
    config = embedded.model_copy(update={"name": "elsewhere", "device": "cuda:7"})

    with pytest.raises(LoadError, match="cuda:7"):
        await engine.load(config, "StableDiffusionPipeline")


async def test_closing_ends_everything(embedded: ModelConfig) -> None:
    """Closing an engine fails the call that runs on it, and leaves no worker."""
    engine = LocalEngine(WorkerOptions(threads=1))
    await engine.load(embedded, "StableDiffusionPipeline")
    pid = pid_of(engine)
    running = asyncio.create_task(finish(engine, Calls(embedded)(num_inference_steps=500)))
    await asyncio.sleep(0.2)
    await engine.close()

    with pytest.raises(ServerStoppingError):
        await running
    assert not Path(f"/proc/{pid}").exists()


def test_component_classes_come_from_the_index(embedded: ModelConfig) -> None:
    """The fork server imports the classes that the model's index names."""
    classes = component_classes(embedded)

    assert {"diffusers.StableDiffusionPipeline", "transformers.CLIPTextModel", "diffusers.AutoencoderKL"} <= set(
        classes
    )
    assert [] == component_classes(embedded.model_copy(update={"model": "some/repo"}))


async def test_previews_that_cannot_be_made_are_a_warning(engine: LocalEngine, calls: Calls) -> None:
    """Where a call has fewer steps than requested partial images, the result has a warning."""
    generation = await finish(engine, calls(partial_images=3, num_inference_steps=2))

    assert any("partial_images" in warning for warning in generation.warnings)
