"""From a request to a call."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import MAX_SEED, ComponentConfig, ModelConfig
from octabox.config.sections.scheduler import SchedulerConfig
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    MissingParameterError,
    RequestError,
    SchedulerNotFoundError,
    TaskNotFoundError,
    UnknownParameterError,
)
from octabox.noise import Variation
from octabox.service.bounds import Limits
from octabox.service.planning import Plan, plan_request
from octabox.service.served_model import ServedModel
from octabox.types import GenerationRequest, OutputFormat, SchedulerChoice

IMAGE = b"a picture"


def model(own: str = "StableDiffusionPipeline", **config: Any) -> ServedModel:
    """Return a model of a class."""
    return ServedModel(ModelConfig(name="thing", model="somewhere", **config), load_catalog().pipeline(own))


def planned(served: ServedModel | None = None, limits: Limits | None = None, **options: Any) -> Plan:
    """Return the plan of a request; options that are no fields are parameters."""
    names = ("task", "inputs", "seed", "num_outputs", "scheduler", "output", "optional_params", "variation")
    fields = {name: options.pop(name) for name in names if name in options}
    request = GenerationRequest(model="thing", params=options, **fields)
    return plan_request(request, served or model(), load_catalog(), limits or Limits())


def refused(served: ServedModel | None = None, limits: Limits | None = None, **options: Any) -> RequestError:
    """Return the error for a request."""
    with pytest.raises(RequestError) as caught:
        planned(served, limits, **options)
    return caught.value


def test_values_come_from_the_request_then_wishes_then_the_configuration() -> None:
    """Each is stronger than the next, and what the class does not take of the last two is left out."""
    served = model(defaults={"num_inference_steps": 1, "guidance_scale": 1.0, "height": 64, "strength": 0.5})
    found = planned(served, prompt="x", num_inference_steps=3, optional_params={"guidance_scale": 2.0, "num_frames": 5})
    (params, _), *_ = found.runs

    assert {"prompt": "x", "num_inference_steps": 3, "guidance_scale": 2.0, "height": 64} == params
    assert ("'num_frames' has no effect: StableDiffusionPipeline has no such parameter.",) == found.warnings


@pytest.mark.parametrize("given", [IMAGE, "data:image/png;base64,AAAA", "https://example.com/a.png", ["aa", b"bb"]])
def test_media_among_the_parameters_are_files(given: Any) -> None:
    """An image that stands among the parameters chooses the pipeline as an input does."""
    found = planned(prompt="x", image=given)

    assert "StableDiffusionImg2ImgPipeline" == found.pipeline.name
    assert {"image": tuple(given) if isinstance(given, list) else (given,)} == found.files
    assert "image" not in found.runs[0][0]


@pytest.mark.parametrize("given", [5, [], {}, [1], [[5]], True, [b"a", None]])
def test_what_means_no_file_is_refused(given: Any) -> None:
    """An image is text, bytes, or a list of them."""
    error = refused(prompt="x", image=given)

    assert ("image", True) == (error.parameter, "must be an image" in error.message)
    assert "base64" in error.hint


@pytest.mark.parametrize(
    ("own", "kind"),
    [("WanVideoToVideoPipeline", "a video"), ("StableAudio3AudioToAudioPipeline", "audio")],
)
def test_errors_call_media_by_their_kind(own: str, kind: str) -> None:
    """A video is asked for where a video is taken."""
    options: dict[str, Any] = {"video" if kind == "a video" else "audio": 5}
    error = refused(model(own), prompt="x", **options)

    assert f"'{error.parameter}' must be {kind}, not 5." == error.message
    assert error.parameter in options


def test_arrays_are_files_or_lists() -> None:
    """Nested lists are one array; texts are as many files as there are."""
    embeds = [[[0.1, 0.2]]]

    assert {"prompt_embeds": (embeds,)} == planned(prompt_embeds=embeds).files
    assert {"prompt_embeds": ("k05VTVBZ",)} == planned(prompt_embeds="k05VTVBZ").files
    assert {"prompt_embeds": (b"npy",)} == planned(inputs={"prompt_embeds": (b"npy",)}).files
    assert (InvalidParameterError, "latents") == (
        type(refused(prompt="x", latents=["a", "b"])),
        refused(prompt="x", latents=["a", "b"]).parameter,
    )


@pytest.mark.parametrize("given", [5, 0.5, True, {"a": 1}])
def test_what_is_no_array_is_refused(given: Any) -> None:
    """A single number is none where only a tensor is taken."""
    error = refused(prompt="x", latents=given)

    assert (InvalidParameterError, "latents") == (type(error), error.parameter)


def test_numbers_stay_where_they_are_taken_as_they_are() -> None:
    """A label may be a number or a list of numbers; only nested numbers or files would be arrays."""
    found = planned(model("DiTPipeline"), class_labels=[3])

    assert ({}, [3]) == (found.files, found.runs[0][0]["class_labels"])


def test_nothing_is_given_twice() -> None:
    """A file and a parameter of the same name contradict each other."""
    error = refused(prompt="x", image="aaaa", inputs={"image": (IMAGE,)})

    assert ("image", "Give one of them.") == (error.parameter, error.hint)


def test_none_means_not_given() -> None:
    """A file that is none neither decides the task nor is called unknown where another class serves."""
    found = planned(prompt="x", latents=None, image=None)

    assert ({}, "text-to-image") == (found.files, found.task)
    assert {"latents", "image"}.isdisjoint(found.runs[0][0])


def test_an_optional_value_that_is_none_changes_nothing_of_ours() -> None:
    """Clients send what they have not set; null is a value only for parameters of callers that have another default."""
    wishes = dict.fromkeys(("output_type", "return_dict", "generator", "callback_on_step_end", "guidance_scale"))
    runs = planned(prompt="x", optional_params=wishes).runs

    assert {"guidance_scale": None} == {name: each for name, each in runs[0][0].items() if name in wishes}


def test_a_needed_file_that_is_none_is_missing() -> None:
    """That is all that is said of it."""
    error = refused(model("StableDiffusionImg2ImgPipeline"), prompt="x", image=None, task="image-to-image")

    assert (MissingParameterError, "image") == (type(error), error.parameter)


def test_an_empty_list_is_an_array_of_no_numbers() -> None:
    """It is no list of no files; whoever reads it will say what is wrong."""
    assert ([],) == planned(prompt="x", latents=[]).files["latents"]


def test_what_is_wrong_beside_the_files_is_named_too() -> None:
    """Where no pipeline takes the files, the other mistakes are still told."""
    error = refused(prompt=3, stepz=1, inputs={"video": (b"",)})

    assert isinstance(error, InvalidRequestError)
    assert ["video", "prompt", "stepz"] == [problem.parameter for problem in error.problems]


def test_one_other_mistake_is_named_too() -> None:
    """Also where there is only one."""
    error = refused(prompt=3, inputs={"video": (b"",)})

    assert isinstance(error, InvalidRequestError)
    assert ["video", "prompt"] == [problem.parameter for problem in error.problems]
    assert isinstance(refused(prompt="x", inputs={"video": (b"",)}), UnknownParameterError)


@pytest.mark.parametrize(
    ("options", "limits", "parameter", "words"),
    [
        ({"width": 0}, Limits(), "width", "at least 1"),
        ({"height": -8}, Limits(), "height", "at least 1"),
        ({"width": 4096, "height": 4096}, Limits(pixels=4095 * 4096), "width", "more pixels"),
        ({"width": 4097}, Limits(pixels=4096), "width", "at most 64 without 'height'"),
        ({"num_outputs": 0}, Limits(), "num_outputs", "1 to 10"),
        ({"num_outputs": 11}, Limits(), "num_outputs", "1 to 10"),
        ({"num_outputs": 2, "prompt": ["a", "b"]}, Limits(outputs=3), "num_outputs", "not 4"),
        ({"num_images_per_prompt": 0}, Limits(), "num_images_per_prompt", "whole number"),
        ({"num_images_per_prompt": True}, Limits(), "num_images_per_prompt", "whole number"),
        ({"num_images_per_prompt": "2"}, Limits(), "num_images_per_prompt", "whole number"),
        ({"num_images_per_prompt": 4, "num_outputs": 3}, Limits(), "num_outputs", "not 12"),
        ({"prompt": []}, Limits(), "num_outputs", "not 0"),
        ({"prompt": ["a", "b"], "negative_prompt": ["c"]}, Limits(), "negative_prompt", "1 texts"),
        ({"seed": -1}, Limits(), "seed", "from 0"),
        ({"seed": MAX_SEED, "num_outputs": 2}, Limits(), "seed", "from 0 to 4294967294 for 2 outputs"),
        ({"seed": MAX_SEED + 1}, Limits(), "seed", "from 0 to 4294967295, not 4294967296"),
        ({"variation": Variation(-2, 0.5)}, Limits(), "workflow.variation.seed", "from 0"),
        ({"variation": Variation(MAX_SEED, 0.5), "num_outputs": 2}, Limits(), "workflow.variation.seed", "from 0"),
        ({"output": OutputFormat("mp4")}, Limits(), "output_format", "mp4"),
    ],
)
def test_what_is_too_much_is_refused(options: dict[str, Any], limits: Limits, parameter: str, words: str) -> None:
    """The error names the parameter and the limit."""
    error = refused(limits=limits, **{"prompt": "x", **options})

    assert (InvalidParameterError, parameter) == (type(error), error.parameter)
    assert words in error.message


@pytest.mark.parametrize("frames", [0, -1, 33])
def test_a_video_has_at_most_so_many_frames(frames: int) -> None:
    """The limit itself is allowed."""
    served, limits = model("WanPipeline"), Limits(frames=32)
    error = refused(served, limits, prompt="x", num_frames=frames)

    assert ("num_frames", True) == (error.parameter, "from 1 to 32" in error.message)
    assert "max_frames" in error.hint
    assert 32 == planned(served, limits, prompt="x", num_frames=32).runs[0][0]["num_frames"]


def test_every_prompt_has_runs_with_seeds_of_their_own() -> None:
    """Each prompt of a list, as often as outputs were asked for, with the negative prompt in its place."""
    found = planned(prompt=["a", "b"], negative_prompt=["c", "d"], num_outputs=2, seed=5)

    assert [("a", "c", 5), ("a", "c", 6), ("b", "d", 7), ("b", "d", 8)] == [
        (params["prompt"], params["negative_prompt"], seed) for params, seed in found.runs
    ]


def test_no_two_seeds_that_are_accepted_are_the_same_to_a_generator() -> None:
    """The largest seed is the last one that torch's generator on a CPU tells apart from a smaller one."""

    def noise(seed: int) -> list[float]:
        return torch.randn(8, generator=torch.Generator("cpu").manual_seed(seed)).tolist()

    assert noise(0) == noise(MAX_SEED + 1)
    assert noise(MAX_SEED % 2**31) != noise(MAX_SEED)
    assert planned(prompt="x", seed=MAX_SEED).runs[0][1] == MAX_SEED
    assert "7 gives the same noise" in refused(prompt="x", seed=MAX_SEED + 8).hint


def test_a_seed_is_drawn_once_for_all_outputs() -> None:
    """Without a seed, that of the configuration holds; without one, it is drawn, and the outputs' are in a row."""
    configured = planned(model(seed=9), prompt="x").runs[0][1]
    (_, first), (_, second) = planned(prompt="x", num_outputs=2).runs

    assert (9, first + 1) == (configured, second)
    assert 0 <= first < 2**32


def test_a_configured_component_opens_its_pipelines() -> None:
    """A ControlNet beside the model makes an image one that steers."""
    served = model(components={"controlnet": ComponentConfig(model="somewhere/else")})
    found = planned(served, prompt="x", image=IMAGE)

    assert frozenset({"controlnet"}) == served.extra
    assert ("StableDiffusionControlNetPipeline", "text-to-image") == (found.pipeline.name, found.task)
    assert frozenset() == model(components={"vae": ComponentConfig(model="x")}).extra


def test_the_scheduler_is_the_requests_or_the_configured_one() -> None:
    """Aliases become classes; an unknown one is an error."""
    served = model(scheduler=SchedulerConfig(name="euler"))
    asked = planned(served, prompt="x", scheduler=SchedulerChoice("ddim")).scheduler
    configured = planned(served, prompt="x").scheduler

    assert asked is not None
    assert configured is not None
    assert ("DDIMScheduler", "EulerDiscreteScheduler") == (asked.name, configured.name)
    assert planned(prompt="x").scheduler is None
    with pytest.raises(SchedulerNotFoundError):
        planned(prompt="x", scheduler=SchedulerChoice("no_such"))


def test_thresholding_is_unsuitable_for_latents() -> None:
    """What diffusers' documentation of a setting rules out for latents is a warning there, and none for pixels."""
    choice = SchedulerChoice("ddim", {"thresholding": True})
    latents = planned(prompt="x", scheduler=choice)
    pixels = planned(model("IFPipeline"), prompt="x", scheduler=choice)

    assert any("'thresholding' of DDIMScheduler is unsuitable" in each for each in latents.warnings)
    assert not any("unsuitable" in each for each in pixels.warnings)


def test_a_format_of_another_kind_tells_the_call() -> None:
    """Numbers are asked of the pipeline itself."""
    assert "np" == planned(prompt="x", output=OutputFormat("npz")).runs[0][0]["output_type"]
    assert "output_type" not in planned(prompt="x").runs[0][0]


def test_a_task_that_the_model_cannot_do_is_refused() -> None:
    """Whatever the request brings."""
    with pytest.raises(TaskNotFoundError, match="cannot do text-to-video"):
        planned(prompt="x", task="text-to-video")


def test_a_schedulers_settings_are_checked_before_the_model_is_loaded() -> None:
    """What its class does not have is an error that lists what it has, and so is a schedule that it cannot follow."""
    problem = refused(prompt="x", scheduler=SchedulerChoice("dpmpp_2m", {"use_karras": True}))

    assert "DPMSolverMultistepScheduler has no setting 'use_karras'." == problem.message
    assert "use_karras_sigmas" in problem.choices
    assert "solver_order" in problem.hint
    assert "requires 'use_karras_sigmas'" in refused(prompt="x", scheduler=SchedulerChoice("Euler a Karras")).message
    assert "There is no schedule" in refused(prompt="x", scheduler=SchedulerChoice("euler", {"schedule": "x"})).message


@pytest.mark.parametrize(
    "choice", [SchedulerChoice("LCM Simple"), SchedulerChoice("lcm", {"timestep_spacing": "leading"})]
)
def test_a_setting_that_nothing_reads_is_told(choice: SchedulerChoice) -> None:
    """Whether it is given, or comes of a schedule's name; one that counts is no cause for a word."""
    (said,) = planned(prompt="x", scheduler=choice).warnings

    assert "'timestep_spacing' of LCMScheduler has no effect: diffusers reads it nowhere." == said
    assert () == planned(prompt="x", scheduler=SchedulerChoice("lcm", {"original_inference_steps": 20})).warnings


def test_a_schedule_that_is_written_out_is_that_of_the_family() -> None:
    """A model of another family is refused, for which nobody has written one."""
    choice = planned(prompt="x", scheduler=SchedulerChoice("DPM++ 2M Align Your Steps")).scheduler
    other = refused(model("FluxPipeline"), prompt="x", scheduler=SchedulerChoice("DPM++ 2M", {"schedule": "ays"}))

    assert choice is not None
    assert ("align_your_steps", 999, 10) == (choice.schedule, choice.timesteps[0], len(choice.timesteps))
    assert "not for flux" in other.message


def test_what_is_not_quite_as_its_name_says_is_a_warning() -> None:
    """It is in the answer, and the scheduler is used."""
    found = planned(prompt="x", scheduler=SchedulerChoice("DPM++ 2S a Karras"))

    assert found.scheduler is not None
    assert "karras" == found.scheduler.schedule
    assert any("no ancestral solver" in warning for warning in found.warnings)


@pytest.mark.parametrize("where", ["params", "optional_params"])
def test_outputs_of_a_prompt_count_wherever_they_are(where: str) -> None:
    """The number of images of a prompt is a number of outputs, also where it is optional."""
    options: dict[str, Any] = {"num_images_per_prompt": 100}
    options = {"optional_params": options} if where == "optional_params" else options

    assert "1 to 10 outputs, not 100" in refused(prompt="x", **options).message


def test_outputs_of_a_configuration_count_unless_the_request_has_its_own() -> None:
    """Each has a run and a seed; what the class does not take has no effect."""
    served = model(defaults={"num_images_per_prompt": 2, "num_videos_per_prompt": 3})

    assert [5, 6, 7, 8] == [seed for _, seed in planned(served, prompt="x", num_outputs=2, seed=5).runs]
    assert 3 == len(planned(served, prompt="x", num_images_per_prompt=3).runs)
    assert "num_images_per_prompt" not in planned(served, prompt="x").runs[0][0]
    error = refused(model(defaults={"num_images_per_prompt": 20}), prompt="x")
    assert ("num_outputs", "A request may have 1 to 10 outputs, not 20.") == (error.parameter, error.message)


def test_an_optional_null_reaches_a_parameter_with_another_default() -> None:
    """It is left out where None is the default anyway, for files, and for parameters that there are not."""
    nulls = {"complex_human_instruction": None, "latents": None, "negative_prompt_embeds": None, "style": None}
    found = planned(model("SanaPipeline"), prompt="x", optional_params=nulls)
    params = found.runs[0][0]

    assert ({"prompt": "x", "complex_human_instruction": None}, ()) == (params, found.warnings)
    assert 1 == len(planned(prompt="x", optional_params={"num_images_per_prompt": None}).runs)


def test_the_outputs_of_each_batch_count() -> None:
    """A pipeline without a prompt makes several in one run."""
    assert 2 == len(planned(model("DDPMPipeline"), batch_size=5, num_outputs=2).runs)
    error = refused(model("DDPMPipeline"), batch_size=10, num_outputs=10)

    assert ("num_outputs", "A request may have 1 to 10 outputs, not 100.") == (error.parameter, error.message)


def test_steps_in_a_list_of_numbers_are_bounded() -> None:
    """Whether the class takes the list as it is or as an array."""
    for name in ("StableDiffusionXLPipeline", "LTXI2VLongMultiPromptPipeline"):
        error = refused(model(name), prompt="x", sigmas=[0.5] * 1001)

        assert ("sigmas", True) == (error.parameter, "at most 1000 numbers" in error.message)


def test_the_frames_of_a_plan_are_bounded() -> None:
    """A video by another name for its frames has the limit too."""
    error = refused(model("SanaVideoPipeline"), prompt="x", frames=1_000_000)

    assert ("frames", True) == (error.parameter, "from 1 to 2048" in error.message)


def test_files_in_objects_are_planned() -> None:
    """A video condition reaches the pipeline that takes it: its files are inputs, its other fields parameters."""
    condition = {"frames": "data:image/png;base64,AAAA", "index": 8}
    plan = planned(model("LTX2ConditionPipeline"), prompt="a bird", conditions=[condition])
    error = refused(model("LTX2ConditionPipeline"), prompt="a bird", conditions=[{"index": 8}])

    assert "LTX2ConditionPipeline" == plan.pipeline.name
    assert {"conditions.0.frames": ("data:image/png;base64,AAAA",)} == plan.files
    assert [{"index": 8}] == plan.runs[0][0]["conditions"]
    assert isinstance(error, MissingParameterError)
    assert "conditions.0.frames" == error.parameter
