"""Calls of one loaded model: on its own class and its siblings, with seeds, progress, cancellation and warnings."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image

import makers
from calling import Watcher, call, run
from makers.samples import mask, sample_image
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.runner import RawOutput, Runner
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


def tiny(name: str = OWN) -> Runner:
    """Return a runner of a tiny model; a safety checker of random weights would judge at random."""
    pipe = makers.pipelines()[name].make()
    pipe.set_progress_bar_config(disable=True)
    if getattr(pipe, "safety_checker", None) is not None:
        pipe.safety_checker = None
    return Runner(LoadedModel(pipe, "cpu"))


@pytest.fixture(scope="module")
def runner() -> Runner:
    """Return a runner that several tests share."""
    return tiny()


def images(done: RawOutput) -> list[Any]:
    """Return the images of a call as arrays."""
    return [np.asarray(product.value) for product, *_ in done.products if isinstance(product.value, Image.Image)]


def parts(pipe: DiffusionPipeline) -> dict[str, torch.nn.Module]:
    """Return the components that have weights."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def addresses(pipe: DiffusionPipeline) -> dict[str, int]:
    """Return where in memory each parameter of a pipeline lies."""
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


def test_siblings_share_every_weight() -> None:
    """Three tasks over one model: every parameter lies at the same place, and the process holds no more of them."""
    runner = tiny()
    run(runner, call(OWN, PARAMS))
    gc.collect()
    before = parameter_bytes()
    run(runner, call(FROM_IMAGE, FROM, inputs={"image": INPUTS["image"]}))
    run(runner, call(REPAINT, FROM, inputs=INPUTS))
    own, *others = runner.pipelines

    assert [OWN, FROM_IMAGE, REPAINT] == [type(pipe).__name__ for pipe in runner.pipelines]
    assert addresses(own)
    for other in others:
        assert addresses(own) == addresses(other)
    assert before <= parameter_bytes() < before * 1.01


def test_a_sibling_is_made_once(runner: Runner) -> None:
    """The second call of a task uses the pipeline of the first."""
    wanted = call(FROM_IMAGE, FROM, inputs={"image": INPUTS["image"]})
    run(runner, wanted)
    first = runner.pipelines
    run(runner, wanted)

    assert all(one is other for one, other in zip(first, runner.pipelines, strict=True))


# The scheduler reads a tensor in a way that numpy announces the end of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_scheduler_of_one_call_is_not_that_of_the_next() -> None:
    """What a call asks for, and what it leaves behind in its scheduler, is seen neither by the next nor by a sibling."""
    runner = tiny()
    pristine = dict(runner.pipelines[0].scheduler.config)
    plain = images(run(runner, call(OWN, PARAMS)))
    chosen = SchedulerChoice("EulerDiscreteScheduler", {"use_karras_sigmas": True})
    other = run(runner, call(OWN, PARAMS, scheduler=chosen))
    assert isinstance(runner.pipelines[0].scheduler, EulerDiscreteScheduler)
    facts = run(runner, call(FROM_IMAGE, FROM, inputs={"image": INPUTS["image"]})).products[0][2]
    again = images(run(runner, call(OWN, PARAMS)))

    assert not np.array_equal(plain[0], images(other)[0])
    assert {"name": "EulerDiscreteScheduler", "settings": {"use_karras_sigmas": True}} == other.products[0][2][
        "scheduler"
    ]
    assert {"name": "DDIMScheduler", "settings": {}} == facts["scheduler"]
    assert pristine == dict(runner.pipelines[1].scheduler.config)
    assert runner.pipelines[0].scheduler is not runner.pipelines[1].scheduler
    assert np.array_equal(plain[0], again[0])


def test_seeds_make_their_own_images(runner: Runner) -> None:
    """Each run has its seed, alone or among others, and its metadata say so."""
    several = run(runner, call(OWN, PARAMS, seeds=(1, 2)))
    alone = run(runner, call(OWN, PARAMS, seeds=(2,)))
    first, second = images(several)

    assert [1, 2] == [seed for _, seed, _ in several.products]
    assert [1, 2] == [facts["seed"] for *_, facts in several.products]
    assert not np.array_equal(first, second)
    assert np.array_equal(second, images(alone)[0])


def test_what_takes_no_generator_is_of_the_seed_too() -> None:
    """The seed sets every other source of chance in the worker, so that it stands with what was made."""
    name = "FluxPriorReduxPipeline"
    done = run(tiny(name), call(name, {"prompt": "a red star"}, inputs={"image": INPUTS["image"]}, seeds=(5,)))

    assert {5} == {seed for _, seed, _ in done.products}
    assert {5} == {facts["seed"] for *_, facts in done.products}
    assert [5] * len(done.products) == [artifact.seed for artifact in done.encode().artifacts]


def test_progress_counts_every_step(runner: Runner) -> None:
    """Steps are counted over all runs, and the last of each goes on to decoding."""
    watcher = Watcher()
    run(runner, call(OWN, PARAMS, seeds=(1, 2)), watcher)

    assert [(step, 2 * STEPS) for step in range(1, 2 * STEPS + 1)] == [(each.step, each.steps) for each in watcher.told]
    assert (["running"] * (STEPS - 1) + ["decoding"]) * 2 == [each.phase for each in watcher.told]
    assert [0] * STEPS + [1] * STEPS == [each.output for each in watcher.told]
    assert 2 * STEPS == runner.steps_taken


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_cancelled_call_leaves_the_model_clean(runner: Runner, step: int) -> None:
    """A call ends at the step at which it is cancelled, and the next one is as it would have been."""
    before = images(run(runner, call(OWN, PARAMS)))
    watcher = Watcher(GenerationCancelledError("enough"), step)
    with pytest.raises(GenerationCancelledError):
        run(runner, call(OWN, PARAMS, seeds=(3,)), watcher)
    after = images(run(runner, call(OWN, PARAMS)))

    assert step == len(watcher.told)
    assert np.array_equal(before[0], after[0])


def test_unfinished_images(runner: Runner) -> None:
    """As many partial images come as were asked for, spread over the steps, in the format of the output."""
    watcher = Watcher()
    wanted = call(OWN, PARAMS | {"num_inference_steps": 6}, partial_images=2, output=OutputFormat("jpeg"))
    done = run(runner, wanted, watcher)
    seen = [each for each in watcher.told if each.preview is not None]

    assert [2, 4] == [each.step for each in seen]
    assert ["image/jpeg"] * 2 == [each.preview.media_type for each in seen if each.preview]
    assert () == done.warnings


def test_too_few_steps_for_unfinished_images_are_told(runner: Runner) -> None:
    """Two steps have one place between them."""
    done = run(runner, call(OWN, PARAMS | {"num_inference_steps": 2}, partial_images=3))

    assert ("Only 1 of 3 partial images could be made of this pipeline's steps.",) == done.warnings


def test_an_odd_size_is_refused_before_the_first_step(runner: Runner) -> None:
    """Nothing is computed for a size that the pipeline does not work in."""
    watcher = Watcher()
    with pytest.raises(InvalidParameterError, match="'height' is 33"):
        run(runner, call(OWN, PARAMS | {"height": 33}), watcher)

    assert [] == watcher.told


def test_a_sibling_that_needs_more_is_refused(runner: Runner) -> None:
    """A class that needs a component that the model has not cannot be made of it."""
    with pytest.raises(IncompatibleWeightsError, match=r"needs more than this model has.*controlnet"):
        run(runner, call("StableDiffusionControlNetPipeline", PARAMS, inputs={"image": INPUTS["image"]}))

    assert "StableDiffusionControlNetPipeline" not in [type(pipe).__name__ for pipe in runner.pipelines]


def test_a_component_beside_the_model_opens_a_sibling() -> None:
    """A ControlNet that was loaded beside a model is what the sibling that needs one gets."""
    guided = makers.pipelines()["StableDiffusionControlNetPipeline"].make()
    plain = tiny().pipelines[0]
    runner = Runner(LoadedModel(plain, "cpu", extra_components={"controlnet": guided.controlnet}))
    run(runner, call("StableDiffusionControlNetPipeline", PARAMS, inputs={"image": (sample_image(32, 32),)}))

    assert runner.pipelines[1].controlnet is guided.controlnet
    assert runner.pipelines[1].unet is plain.unet


def test_numbers_that_are_none_are_told() -> None:
    """Weights that make NaN make a black image, and the answer says so."""
    runner = tiny()
    torch.nn.init.constant_(runner.pipelines[0].vae.decoder.conv_out.bias, float("nan"))
    done = run(runner, call(OWN, PARAMS))

    assert not images(done)[0].any()
    assert any("numbers that are none (NaN)" in warning for warning in done.warnings)
    assert any("'images' has an image that is all black" in warning for warning in done.warnings)


def test_what_a_library_warns_of_is_told(runner: Runner) -> None:
    """What a denoiser ignores is told in the answer, as is what the call brings."""
    ignored = {"cross_attention_kwargs": {"nonsense": 1}}
    done = run(runner, call(OWN, PARAMS | ignored, warnings=("said before",)))

    assert "said before" == done.warnings[0]
    assert any("nonsense" in warning for warning in done.warnings)


def test_an_answer_can_be_made_again_from_its_metadata(runner: Runner) -> None:
    """An artifact tells the parameters, the defaults among them, the size, the seed and the scheduler that made it."""
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
def test_a_modular_pipeline_counts_its_steps_and_stops(name: str) -> None:
    """A pipeline of blocks is watched by the bars of the blocks that loop, and is as before after it was stopped."""
    own = makers.pipelines()[name]
    runner, params = tiny(name), {**own.params, "num_inference_steps": STEPS}
    watcher, stopped = Watcher(), Watcher(GenerationCancelledError("enough"), 2)
    before = run(runner, call(name, params), watcher)
    with pytest.raises(GenerationCancelledError):
        run(runner, call(name, params), stopped)
    after = run(runner, call(name, params))

    assert [(step, STEPS) for step in range(1, STEPS + 1)] == [(each.step, each.steps) for each in watcher.told]
    assert 2 == len(stopped.told)
    assert images(before)
    assert np.array_equal(images(before)[0], images(after)[0])
