"""From OpenAI's and LocalAI's words to diffusers'."""

from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError, InvalidRequestError, MediaError, MissingParameterError, RequestError
from octabox.frontends.http.bodies import read_object
from octabox.frontends.http.openai.images.schema import parse_fields
from octabox.frontends.http.openai.images.translate import ParsedRequest, needs_prompt, require_prompt, to_request
from octabox.service.bounds import Limits, check_amounts
from octabox.types import OutputFormat, SchedulerChoice


def wanted(**fields: Any) -> ParsedRequest:
    """Translate a request with these fields."""
    return to_request(parse_fields({"prompt": "x", **fields}), "demo")


@pytest.mark.parametrize(
    ("fields", "params"),
    [
        ({"prompt": "a|b"}, {"prompt": "a", "negative_prompt": "b"}),
        ({"prompt": r"a|b\|c", "negative_prompt": "d|e"}, {"prompt": "a|b|c", "negative_prompt": "d|e"}),
        ({"prompt": ["a|b", "c"]}, {"prompt": ["a", "c"], "negative_prompt": ["b", ""]}),
        ({"prompt": "a|b", "negative": "c"}, {"prompt": "a|b", "negative_prompt": "c"}),
        ({"step": 5, "cfg_scale": 2.5}, {"prompt": "x", "num_inference_steps": 5, "guidance_scale": 2.5}),
        ({"file": "aGk="}, {"prompt": "x", "image": "aGk="}),
        ({"ref_images": ["a", "b"]}, {"prompt": "x", "image": ["a", "b"]}),
        ({"ref_images": ["b"], "file": "a", "files": []}, {"prompt": "x", "image": ["a", "b"]}),
        ({"clip_skip": 1, "eta": None}, {"prompt": "x", "clip_skip": 1}),
        ({"user": "me", "model": "demo"}, {"prompt": "x"}),
    ],
)
def test_params(fields: dict[str, Any], params: dict[str, Any]) -> None:
    """Prompts are parted, LocalAI's spellings understood, and all else goes by its own name."""
    assert params == wanted(**fields).request.params


@pytest.mark.parametrize(
    ("pipeline", "parameter"), [("StableDiffusionImg2ImgPipeline", "image"), ("JoyImageEditPlusPipeline", "images")]
)
def test_images_have_the_name_of_the_pipelines_parameter(pipeline: str, parameter: str) -> None:
    """OpenAI's image is that of the pipeline, whether it takes one or several."""
    entry = load_catalog().pipeline(pipeline)
    parsed = to_request(parse_fields({"prompt": "x"}), "demo", {"image": (b"a", b"b")}, entry=entry)

    assert {parameter: (b"a", b"b")} == parsed.request.inputs


@pytest.mark.parametrize(
    ("fields", "optional_params"),
    [
        ({}, {}),
        ({"size": "auto", "quality": "auto"}, {}),
        ({"size": "512x256"}, {"width": 512, "height": 256}),
        ({"quality": "20"}, {"num_inference_steps": 20}),
        ({"quality": 20}, {"num_inference_steps": 20}),
        ({"quality": "20", "step": 5}, {}),
    ],
)
def test_wishes(fields: dict[str, Any], optional_params: dict[str, Any]) -> None:
    """Size and quality are wishes: a pipeline that has no such parameter is not asked."""
    assert optional_params == wanted(**fields).request.optional_params


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        ({"quality": "standard", "background": "auto", "user": "me"}, ()),
        ({"quality": "high"}, ("'quality' has no effect as 'high'.",)),
        ({"safety_identifier": "me", "complexity": "auto"}, ()),
        ({"complexity": "high"}, ("'complexity' has no effect.",)),
        ({"style": "vivid", "moderation": "low"}, ("'moderation' has no effect.", "'style' has no effect.")),
        ({"output_compression": 50}, ("'output_compression' has no effect on png.",)),
        ({"output_compression": 50, "output_format": "jpeg"}, ()),
        ({"partial_images": 2}, ("'partial_images' has no effect without 'stream'.",)),
        ({"partial_images": 2, "stream": True}, ()),
        ({"response_format": "b64_json", "stream": True}, ()),
        (
            {"response_format": "url", "stream": True},
            ("'response_format' has no effect with 'stream', whose events have b64_json.",),
        ),
        ({"backend": "diffusers"}, ("'backend' has no effect: all models have the same backend.",)),
    ],
)
def test_warnings(fields: dict[str, Any], warnings: tuple[str, ...]) -> None:
    """What has no effect is said."""
    assert warnings == wanted(**fields).warnings


@pytest.mark.parametrize(("seed", "meant"), [(None, None), (-1, None), (0, 0), (2**32 - 1, 2**32 - 1)])
def test_seed(seed: int | None, meant: int | None) -> None:
    """0 is a seed, -1 is none."""
    assert meant == wanted(seed=seed).request.seed


@pytest.mark.parametrize(
    ("scheduler", "choice"),
    [
        (None, None),
        ("euler", SchedulerChoice("euler")),
        ({"name": "euler", "eta": 1}, SchedulerChoice("euler", {"eta": 1})),
    ],
)
def test_scheduler(scheduler: Any, choice: SchedulerChoice | None) -> None:
    """A scheduler is a name, or a name with settings."""
    assert choice == wanted(scheduler=scheduler).request.scheduler


@pytest.mark.parametrize(
    ("response_format", "meant"),
    [(None, None), ("b64_json", "b64_json"), ({"type": "b64_json"}, "b64_json"), ({}, None)],
)
def test_response_format(response_format: Any, meant: str | None) -> None:
    """The form of the answer may be told as an object too."""
    assert meant == wanted(response_format=response_format).response_format


def test_output() -> None:
    """Format and compression are the output's; count, task and previews the request's."""
    request = wanted(
        output_format="webp", output_compression=80, n=2, task="inpainting", stream=True, partial_images=1
    ).request

    assert OutputFormat("webp", 80) == request.output
    assert (2, "inpainting", 1) == (request.num_outputs, request.task, request.partial_images)


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"size": "512"}, "size"),
        ({"size": "-1x5"}, "size"),
        ({"size": "8x8", "width": 9}, "width"),
        ({"step": 1, "steps": 2}, "steps"),
        ({"guidance_scale": 1, "cfg_scale": 2}, "cfg_scale"),
        ({"file": "a", "image": "b"}, "image"),
        ({"negative": "a", "negative_prompt": "b"}, "negative"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"output_format": "gif"}, "output_format"),
        ({"scheduler": {"eta": 1}}, "scheduler"),
    ],
)
def test_refused(fields: dict[str, Any], parameter: str) -> None:
    """What cannot be meant is refused, and named as the client named it."""
    with pytest.raises(InvalidParameterError) as caught:
        wanted(**fields)

    assert parameter == caught.value.parameter


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, True),
        ({"task": "text-to-image"}, True),
        ({"image": "a"}, False),
        ({"file": "a"}, False),
        ({"task": "unconditional-image-generation"}, False),
    ],
)
def test_when_a_prompt_is_needed(fields: dict[str, Any], needed: bool) -> None:
    """An image or another task can stand for words."""
    assert needed == needs_prompt(parse_fields(fields))


@pytest.mark.parametrize("prompt", [None, "", " \n", [], ["a", ""]])
def test_prompt_is_required(prompt: Any) -> None:
    """An empty prompt is none."""
    with pytest.raises(MissingParameterError) as caught:
        require_prompt(parse_fields({"prompt": prompt}))

    assert "prompt" == caught.value.parameter


def test_errors_in_the_clients_words() -> None:
    """The core's names become those that the client used."""
    one = wanted(cfg_scale=2)
    with pytest.raises(MediaError) as caught, one.rename_error_params():
        raise MediaError("x", parameter="guidance_scale")

    assert "cfg_scale" == caught.value.parameter


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"quality": "5000"}, "quality"), ({"quality": 5000}, "quality"), ({"steps": 5000, "quality": "hd"}, "steps")],
)
def test_the_number_of_steps_is_named_as_it_was_set(fields: dict[str, Any], named: str) -> None:
    """A quality that is the number of steps is what the error of the steps names."""
    one = wanted(**fields)
    with pytest.raises(InvalidParameterError) as caught, one.rename_error_params():
        check_amounts({**one.request.params, **one.request.optional_params}, Limits())

    assert named == caught.value.parameter
    assert caught.value.message.startswith(f"'{named}' must be from 1 to 1000")


def test_several_problems_at_once() -> None:
    """All fields that are wrong are named at once."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_fields({"n": 0, "stream": "maybe"})

    assert ["n", "stream"] == [problem.parameter for problem in caught.value.problems]


def test_null_is_not_given() -> None:
    """Null stands for the default, as in OpenAI's API."""
    body = parse_fields({"n": None, "stream": None, "partial_images": None, "size": None})

    assert (1, False, 0, None) == (body.n, body.stream, body.partial_images, body.size)


@pytest.mark.parametrize("data", [b"\xff", b"{", b"1", b'{"a": Infinity}', b'{"a": "\\udfff"}'])
def test_no_json(data: bytes) -> None:
    """What is no JSON object in UTF-8 is refused."""
    with pytest.raises(RequestError):
        parse_fields(read_object(data))
