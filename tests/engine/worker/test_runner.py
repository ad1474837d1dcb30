"""Calls of one loaded model: pipelines over its components, seeds, progress, cancellation and warnings."""

from __future__ import annotations

import gc
import inspect
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image

import makers
from calling import Watcher, call, run
from makers.samples import mask, sample_image
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.runner import Runner
from octabox.errors import GenerationCancelledError, IncompatibleWeightsError, InvalidParameterError
from octabox.types import OutputFormat, SchedulerChoice

OWN, FROM_IMAGE, REPAINT = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
)

STEPS = 3
PARAMS = {"prompt": "a red star", "num_inference_steps": STEPS, "height": 32, "width": 32}
FROM = {"prompt": "a red star", "num_inference_steps": STEPS, "strength": 1.0}
INPUTS = {"image": (sample_image(),), "mask_image": (mask(),)}


def tiny_pipe(name: str = OWN) -> Any:
    """Return a tiny pipeline, without its safety checker of random weights."""
    pipe = makers.pipelines()[name].make()
    pipe.set_progress_bar_config(disable=True)
    if getattr(pipe, "safety_checker", None) is not None:
        pipe.safety_checker = None
    return pipe


def tiny(name: str = OWN) -> Runner:
    """Return a runner of such a pipeline."""
    return Runner(LoadedModel(tiny_pipe(name), "cpu"))


def params_of(name: str) -> dict[str, Any]:
    """Return the parameters of a short call of a tiny pipeline, without those of its siblings."""
    known = inspect.signature(getattr(diffusers, name).__call__).parameters
    return {key: value for key, value in makers.pipelines()[name].params.items() if key in known}


def seeded(seed: int) -> torch.Generator:
    """Return a generator of random numbers."""
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def runner() -> Runner:
    """Return a runner that several tests share."""
    return tiny()


def images(done: RawOutput) -> list[Any]:
    """Return the images of a call as arrays."""
    return [np.asarray(item.value) for item, *_ in done.outputs if isinstance(item.value, Image.Image)]


def parts(pipe: DiffusionPipeline) -> dict[str, torch.nn.Module]:
    """Return the components that have weights."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def addresses(pipe: DiffusionPipeline) -> dict[str, int]:
    """Return the memory address of each parameter of a pipeline."""
    return {
        f"{name}.{key}": value.data_ptr()
        for name, part in parts(pipe).items()
        for key, value in part.named_parameters()
    }


def parameter_bytes() -> int:
    """Return the bytes of all parameters and buffers of modules in this process, those that share memory once."""
    modules = [each for each in gc.get_objects() if issubclass(type(each), torch.nn.Module)]
    held = [tensor for module in modules for tensor in (*module._parameters.values(), *module._buffers.values())]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in held if each is not None}
    return sum(storages.values())


def test_pipelines_share_weights() -> None:
    """Three pipelines over one model have the same parameters, and the process has no more of them."""
    runner = tiny()
    run(runner, call(OWN, PARAMS))
    gc.collect()
    before = parameter_bytes()
    run(runner, call(FROM_IMAGE, FROM, inputs={"image": INPUTS["image"]}))
    run(runner, call(REPAINT, FROM, inputs=INPUTS))
    first, *others = runner.pipelines

    assert [OWN, FROM_IMAGE, REPAINT] == [type(pipe).__name__ for pipe in runner.pipelines]
    assert addresses(first)
    for other in others:
        assert addresses(first) == addresses(other)
    assert before <= parameter_bytes() < before * 1.01


def test_a_pipeline_is_created_once(runner: Runner) -> None:
    """The second call of a class uses the pipeline of the first."""
    request = call(FROM_IMAGE, FROM, inputs={"image": INPUTS["image"]})
    run(runner, request)
    first = runner.pipelines
    run(runner, request)

    assert all(one is other for one, other in zip(first, runner.pipelines, strict=True))


# The scheduler reads a tensor in a way that numpy has deprecated.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_scheduler_is_that_of_the_call() -> None:
    """The scheduler of a call, and its state, do not affect the next call or another pipeline."""
    runner = tiny()
    original = dict(runner.pipelines[0].scheduler.config)
    plain = images(run(runner, call(OWN, PARAMS)))
    choice = SchedulerChoice("EulerDiscreteScheduler", {"use_karras_sigmas": True})
    other = run(runner, call(OWN, PARAMS, scheduler=choice))
    assert isinstance(runner.pipelines[0].scheduler, EulerDiscreteScheduler)
    metadata = run(runner, call(FROM_IMAGE, FROM, inputs={"image": INPUTS["image"]})).outputs[0][2]
    again = images(run(runner, call(OWN, PARAMS)))

    assert not np.array_equal(plain[0], images(other)[0])
    assert {"name": "EulerDiscreteScheduler", "settings": {"use_karras_sigmas": True}} == other.outputs[0][2][
        "scheduler"
    ]
    assert {"name": "DDIMScheduler", "settings": {}} == metadata["scheduler"]
    assert original == dict(runner.pipelines[1].scheduler.config)
    assert runner.pipelines[0].scheduler is not runner.pipelines[1].scheduler
    assert np.array_equal(plain[0], again[0])


@pytest.mark.parametrize(
    "name", [each for each in makers.pipelines() if "Combined" in each or each == "VisualClozePipeline"]
)
def test_the_scheduler_of_inner_pipelines(name: str) -> None:
    """A pipeline that calls others, which it has created in its constructor, uses the scheduler of the call, for all steps."""
    runner = tiny(name)
    pipe = runner.pipelines[0]
    inner = [each for each in vars(pipe).values() if isinstance(each, DiffusionPipeline)]
    before = [list(each.components.values()).count(pipe.scheduler) for each in inner]
    assert any(before)
    first, choice = pipe.scheduler, SchedulerChoice(type(pipe.scheduler).__name__, {})
    runner.reset_pipeline(runner.targets[name], call(name, {}, scheduler=choice))

    assert pipe.scheduler is not first
    assert before == [list(each.components.values()).count(pipe.scheduler) for each in inner]
    runner.reset_pipeline(runner.targets[name], call(name, {}))
    assert before == [list(each.components.values()).count(pipe.scheduler) for each in inner]


@pytest.mark.parametrize("name", [OWN, "FluxPipeline", "IFPipeline", "DDPMPipeline", "LDMTextToImagePipeline"])
def test_the_image_is_that_of_the_pipeline_itself(name: str) -> None:
    """The output is that of the class called by hand with a generator of the same seed, and no gradients are computed."""
    made, params = tiny(name), params_of(name)
    pipe, computed = made.pipelines[0], set[bool]()
    handles = [
        part.register_forward_hook(lambda *_: computed.add(torch.is_grad_enabled())) for part in parts(pipe).values()
    ]
    done = run(made, call(name, params, seeds=(5,)))
    for handle in handles:
        handle.remove()

    assert {False} == computed
    assert np.array_equal(np.asarray(tiny_pipe(name)(**params, generator=seeded(5)).images[0]), images(done)[0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_scheduler_of_deepfloyd_is_replaced() -> None:
    """By another class with the settings that both have, although it predicts variances too."""
    made, params = tiny("IFPipeline"), params_of("IFPipeline")
    own = run(made, call("IFPipeline", params))
    other = run(made, call("IFPipeline", params, scheduler=SchedulerChoice("DPMSolverMultistepScheduler")))

    assert ["DDPMScheduler", "DPMSolverMultistepScheduler"] == [
        each.outputs[0][2]["scheduler"]["name"] for each in (own, other)
    ]
    assert not np.array_equal(images(own)[0], images(other)[0])


def test_seeds(runner: Runner) -> None:
    """Each run has its seed, alone or with others, also in the metadata."""
    several = run(runner, call(OWN, PARAMS, seeds=(1, 2)))
    alone = run(runner, call(OWN, PARAMS, seeds=(2,)))
    first, second = images(several)

    assert [1, 2] == [seed for _, seed, _ in several.outputs]
    assert [1, 2] == [metadata["seed"] for *_, metadata in several.outputs]
    assert not np.array_equal(first, second)
    assert np.array_equal(second, images(alone)[0])


def test_pipelines_without_a_generator() -> None:
    """The seed also sets the global generators, and is in the metadata."""
    name = "FluxPriorReduxPipeline"
    done = run(tiny(name), call(name, {"prompt": "a red star"}, inputs={"image": INPUTS["image"]}, seeds=(5,)))

    assert {5} == {seed for _, seed, _ in done.outputs}
    assert {5} == {metadata["seed"] for *_, metadata in done.outputs}
    assert [5] * len(done.outputs) == [artifact.seed for artifact in done.encode().artifacts]


def test_progress(runner: Runner) -> None:
    """Steps are counted over all runs, and the phase after the last of each is decoding."""
    watcher = Watcher()
    run(runner, call(OWN, PARAMS, seeds=(1, 2)), watcher)

    assert [(step, 2 * STEPS) for step in range(1, 2 * STEPS + 1)] == [(each.step, each.steps) for each in watcher.told]
    assert (["running"] * (STEPS - 1) + ["decoding"]) * 2 == [each.phase for each in watcher.told]
    assert [0] * STEPS + [1] * STEPS == [each.output for each in watcher.told]
    assert 2 * STEPS == runner.steps_taken


@pytest.mark.parametrize("step", [0, 1, 2])
def test_cancellation(runner: Runner, step: int) -> None:
    """A call ends at the step where it is cancelled, and does not affect the next one."""
    before = images(run(runner, call(OWN, PARAMS)))
    watcher = Watcher(GenerationCancelledError("enough"), step)
    with pytest.raises(GenerationCancelledError):
        run(runner, call(OWN, PARAMS, seeds=(3,)), watcher)
    after = images(run(runner, call(OWN, PARAMS)))

    assert step == len(watcher.told)
    assert np.array_equal(before[0], after[0])


def test_partial_images(runner: Runner) -> None:
    """The requested number of partial images is spread over the steps, in the format of the output."""
    watcher = Watcher()
    request = call(OWN, PARAMS | {"num_inference_steps": 6}, partial_images=2, output=OutputFormat("jpeg"))
    done = run(runner, request, watcher)
    partial = [each for each in watcher.told if each.preview is not None]

    assert [2, 4] == [each.step for each in partial]
    assert ["image/jpeg"] * 2 == [each.preview.media_type for each in partial if each.preview]
    assert () == done.warnings


def test_too_few_steps_for_partial_images(runner: Runner) -> None:
    """Two steps allow one partial image."""
    done = run(runner, call(OWN, PARAMS | {"num_inference_steps": 2}, partial_images=3))

    assert ("'partial_images': only 1 of 3 could be made of this pipeline's steps.",) == done.warnings


def test_invalid_sizes(runner: Runner) -> None:
    """A size that the pipeline does not support is rejected before the first step."""
    watcher = Watcher()
    with pytest.raises(InvalidParameterError, match=r"'height' must be a multiple of 8 .* not 33"):
        run(runner, call(OWN, PARAMS | {"height": 33}), watcher)

    assert [] == watcher.told


def test_missing_components(runner: Runner) -> None:
    """A class that needs a component that the model lacks is rejected."""
    with pytest.raises(IncompatibleWeightsError, match=r"needs more than this model has.*controlnet"):
        run(runner, call("StableDiffusionControlNetPipeline", PARAMS, inputs={"image": INPUTS["image"]}))

    assert "StableDiffusionControlNetPipeline" not in [type(pipe).__name__ for pipe in runner.pipelines]


def test_extra_components() -> None:
    """A ControlNet that was loaded for other pipelines is passed to them."""
    guided = makers.pipelines()["StableDiffusionControlNetPipeline"].make()
    plain = tiny().pipelines[0]
    runner = Runner(LoadedModel(plain, "cpu", extra_components={"controlnet": guided.controlnet}))
    run(runner, call("StableDiffusionControlNetPipeline", PARAMS, inputs={"image": (sample_image(32, 32),)}))

    assert runner.pipelines[1].controlnet is guided.controlnet
    assert runner.pipelines[1].unet is plain.unet


def test_nan() -> None:
    """Weights that give NaN give a black image with a warning."""
    runner = tiny()
    torch.nn.init.constant_(runner.pipelines[0].vae.decoder.conv_out.bias, float("nan"))
    done = run(runner, call(OWN, PARAMS))

    assert not images(done)[0].any()
    assert any("an image of NaN values" in warning for warning in done.warnings)
    assert any("'images' has an image that is all black" in warning for warning in done.warnings)


def test_warnings_of_libraries(runner: Runner) -> None:
    """A warning of a denoiser is in the result, after those of the call."""
    ignored = {"cross_attention_kwargs": {"nonsense": 1}}
    done = run(runner, call(OWN, PARAMS | ignored, warnings=("from the call",)))

    assert "from the call" == done.warnings[0]
    assert any("nonsense" in warning for warning in done.warnings)


def test_metadata(runner: Runner) -> None:
    """An artifact has the parameters with defaults, the size, the seed and the scheduler."""
    done = run(runner, call(OWN, PARAMS, seeds=(9,)))
    generation = done.encode()
    (artifact,) = generation.artifacts
    params = artifact.metadata["params"]

    assert ("one", "tiny", OWN, "some-task") == (generation.id, generation.model, generation.pipeline, generation.task)
    assert ("image", "image/png", 9, "images") == (artifact.kind, artifact.media_type, artifact.seed, artifact.name)
    assert PARAMS.items() <= params.items()
    assert 7.5 == params["guidance_scale"]
    assert not {"output_type", "return_dict"} & params.keys()
    assert {"width": 32, "height": 32} == artifact.metadata["size"]
    assert "DDIMScheduler" == artifact.metadata["scheduler"]["name"]
    assert generation.timings["run"] > 0


@pytest.mark.parametrize("name", ["FluxModularPipeline", "ZImageModularPipeline"])
def test_modular_pipelines(name: str) -> None:
    """Steps are counted by the progress bars of blocks, and a stopped call does not affect the next one."""
    maker = makers.pipelines()[name]
    runner, params = tiny(name), {**maker.params, "num_inference_steps": STEPS}
    watcher, stopped = Watcher(), Watcher(GenerationCancelledError("enough"), 2)
    before = run(runner, call(name, params), watcher)
    with pytest.raises(GenerationCancelledError):
        run(runner, call(name, params), stopped)
    after = run(runner, call(name, params))

    assert [(step, STEPS) for step in range(1, STEPS + 1)] == [(each.step, each.steps) for each in watcher.told]
    assert 2 == len(stopped.told)
    assert images(before)
    assert np.array_equal(images(before)[0], images(after)[0])


def test_a_lone_side_is_kept(runner: Runner) -> None:
    """The other side is the default of the model, although the pipeline would replace both."""
    done = run(runner, call(OWN, {"prompt": "a star", "num_inference_steps": 1, "width": 128}))
    default = run(runner, call(OWN, {"prompt": "a star", "num_inference_steps": 1}))
    height = images(default)[0].shape[0]

    assert (height, 128, 3) == images(done)[0].shape
    assert [] == [each for each in done.warnings if "requested" in each]


def test_an_image_that_is_rounded_is_restored(runner: Runner) -> None:
    """The sides of an image become multiples of a number, and the result is resized, with a warning of both sizes."""
    done = run(runner, call(FROM_IMAGE, FROM, inputs={"image": (Image.new("RGB", (131, 127)),)}))

    assert (127, 131, 3) == images(done)[0].shape
    assert any("which was resized to 131x127" in each for each in done.warnings)


def test_repainting_has_the_size_of_the_image(runner: Runner) -> None:
    """Without a size, an image that is repainted is not resized to the model's default size."""
    inputs = {"image": (sample_image(96, 64),), "mask_image": (mask(96, 64),)}
    done = run(runner, call(REPAINT, FROM, inputs=inputs))

    assert (64, 96, 3) == images(done)[0].shape


def test_a_strength_that_leaves_no_step(runner: Runner) -> None:
    """The error has good values, and the next call is not affected."""
    params = FROM | {"strength": 0.2}
    with pytest.raises(InvalidParameterError, match=r"'strength' 0.2 of 3 steps leaves none") as caught:
        run(runner, call(FROM_IMAGE, params, inputs={"image": INPUTS["image"]}))

    assert "Use at least 5 steps or a strength of at least 0.34." == caught.value.hint
    assert images(run(runner, call(FROM_IMAGE, FROM, inputs={"image": INPUTS["image"]})))
