"""What a plain text-to-image call of the embedded model runs in the worker: few files, and no hooks."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import FrameType

import pytest

import octabox
from calling import call, run
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner
from octabox.types import SchedulerChoice

NAME = "StableDiffusionPipeline"

#: Maximum number of files of Octabox that a call enters.
MAX_FILES = 22


@pytest.fixture(scope="module")
def runner() -> Runner:
    """Return a runner of the embedded model."""
    model = ModelConfig(name="demo", model=str(demo.FOLDER))
    return Runner(load(model, NAME, WorkerOptions(device="cpu")))


def files_entered(runner: Runner, prompt: str) -> set[str]:
    """Return the files of the package in which functions are called while a call runs."""
    package, files = str(Path(octabox.__file__).parent), set[str]()

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            files.add(frame.f_code.co_filename.removeprefix(package))

    request = call(NAME, {"prompt": prompt, "num_inference_steps": 2})
    sys.setprofile(profile)
    try:
        run(runner, request)
    finally:
        sys.setprofile(None)
    return files


def test_a_call_enters_few_files(runner: Runner) -> None:
    """Calls with a new prompt and with a cached one enter only the files that they need."""
    files_entered(runner, "a purple square")  # The first call of a class reads its source once.
    for prompt in ("a red circle", "a red circle", "a blue star"):
        files = files_entered(runner, prompt)
        assert len(files) <= MAX_FILES, "\n".join(sorted(files))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of numpy in diffusers.
def test_each_call_has_the_warnings_of_its_own_solver(runner: Runner) -> None:
    """A call like the one before has them too; one with another scheduler, or with other parameters, has its own."""
    weak, strong = {"guidance_scale": 1.0}, {"guidance_scale": 9.0}
    solver = SchedulerChoice("UniPCMultistepScheduler")
    told = []
    for changed, scheduler in ((strong, solver), (strong, solver), (weak, solver), (strong, solver), (strong, None)):
        params = {"prompt": "a red circle", "num_inference_steps": 3, **changed}
        done = run(runner, call(NAME, params, scheduler=scheduler))
        told.append([each.startswith("'num_inference_steps' 3 is too few") for each in done.warnings])

    assert [[True], [True], [], [True], []] == told


def test_an_error_in_an_encoder_has_a_plain_traceback(runner: Runner) -> None:
    """Between the runner and the failing encoder there are frames of the libraries alone."""

    def fail(*_: object) -> None:
        raise ValueError

    encoder = runner.pipelines[0].text_encoder
    hook = next(each for each in encoder.modules() if not list(each.children())).register_forward_pre_hook(fail)
    try:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (raised above)
            run(runner, call(NAME, {"prompt": "a green square", "num_inference_steps": 2}))
    finally:
        hook.remove()
    frames = [Path(frame.filename) for frame in traceback.extract_tb(caught.value.__traceback__)]

    assert {"runner.py"} == {each.name for each in frames if "octabox/engine" in each.as_posix()}
