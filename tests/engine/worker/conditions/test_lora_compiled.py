"""LoRAs of compiled models: merged ones compile nothing again, and others compile for each LoRA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo

from embedded import Calls
from octabox.config.model import ModelConfig
from octabox.config.performance import PerformanceConfig
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.protocol import Call
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.process.first_call import compile_by_call
from octabox.engine.worker.trial import ReportingRunner
from octabox.types import AdapterChoice
from trained import FRAME, HEARTS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")]

TRACED = {"compile": "whole", "compile_backend": "eager"}


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Let nothing that was compiled stay."""
    yield
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def loaded(embedded: ModelConfig, **performance: Any) -> ReportingRunner:
    """Return a loaded model, which is compiled if it is to be."""
    config = ModelConfig(
        name="demo", model=embedded.model, dtype="float32", performance=PerformanceConfig(**performance)
    )
    start = Start(config, "StableDiffusionPipeline", WorkerOptions(threads=1, device="cpu"))
    runner = ReportingRunner(load(config, start.pipeline, start.options), start)
    compile_by_call(runner, lambda _: None)
    return runner


def generate(runner: ReportingRunner, *loras: str, **params: Any) -> tuple[Any, int]:
    """Return the pixels of a call with LoRAs, and how often it has compiled."""
    call: Call = Calls(runner.start.model)(num_inference_steps=2, **params)
    (run,) = call.runs
    adapters = tuple(AdapterChoice(each, 0.8) for each in loras)
    call = Call(**{**vars(call), "runs": (type(run)(run.params, run.inputs, run.seed, adapters=adapters),)})
    phases: list[str] = []
    output = runner.run(call, lambda progress: phases.append(progress.phase), lambda: None)
    return np.asarray(output.outputs[0][0].value, np.float32), phases.count("compiling")


def test_merged_loras_compile_nothing(embedded: ModelConfig) -> None:
    """Neither the first nor another one, several, or none again; the images are those of the uncompiled model."""
    compiled, plain = loaded(embedded, **TRACED), loaded(embedded)
    for loras in ((), (HEARTS,), (FRAME,), (HEARTS, FRAME), ()):
        image, compilations = generate(compiled, *loras)

        assert 0 == compilations
        assert np.abs(image - generate(plain, *loras)[0]).max() <= 1


def test_loras_beside_their_layers_compile_for_each(embedded: ModelConfig) -> None:
    """Such as those that the call scales; the images are right, and a LoRA that was there compiles nothing again."""
    compiled, plain = loaded(embedded, **TRACED), loaded(embedded)
    scaled = {"cross_attention_kwargs": {"scale": 0.5}}
    counts = []
    for lora in (HEARTS, FRAME, FRAME):
        image, compilations = generate(compiled, lora, **scaled)
        counts.append(compilations)

        assert np.abs(image - generate(plain, lora, **scaled)[0]).max() <= 1

    assert [True, True, False] == [count > 0 for count in counts]
