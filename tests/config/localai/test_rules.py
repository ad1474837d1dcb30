"""LocalAI's keys that are not simply copied."""

from pathlib import Path
from typing import Any

import pytest

from octabox.config.localai import translate
from octabox.config.localai.rules import option_value
from octabox.config.localai.translation import Translation


def translated(**keys: Any) -> Translation:
    """Translate a configuration with these keys."""
    return translate({"parameters": {"model": "a/b"}, **keys}, Path("m.yaml"), {})


def messages(translation: Translation) -> list[str]:
    """Return what is wrong with it."""
    return [problem.message for problem in translation.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("2.0", 2.0),
        ("1e-3", 0.001),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ("[1, 2]", [1, 2]),
        ('"7"', "7"),
        (r'"\u00e9"', "é"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"\ud800"', r'"\ud800"'),
        (r'{"\ud800": 1}', r'{"\ud800": 1}'),
        ("http://a:8/b", "http://a:8/b"),
        ("nan", "nan"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("", ""),
        ("a b", "a b"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_options_keep_their_types(text: str, value: Any) -> None:
    """A whole number stays one, and what is no JSON is text."""
    found = option_value(text)

    assert value == found
    assert type(value) is type(found)


def test_only_the_first_colon_parts_an_option() -> None:
    """A value may be a URL; blanks around it do not count."""
    translation = translated(options=["callback:http://a:8/b", "num_images_per_prompt: 2"])

    assert {"callback": "http://a:8/b", "num_images_per_prompt": 2} == translation.fields["defaults"]


def test_options_are_stronger_than_keys() -> None:
    """LocalAI lets them override other keys; overridden keys are reported."""
    translation = translated(options=["guidance_scale:0", "step:4"], cfg_scale=7, step=9)

    assert {"guidance_scale": 0, "num_inference_steps": 4} == translation.fields["defaults"]
    assert [
        "`step` has no effect: `options.1` is 4.",
        "`cfg_scale` has no effect: `options.0` is 0.",
    ] == messages(translation)


@pytest.mark.parametrize("options", [["strength:0.5", "strength.x:1"], ["strength.x:1", "strength:0.5"]])
def test_a_dot_belongs_to_the_name_of_an_option(options: list[str]) -> None:
    """No pipeline has such a parameter, which is found where all parameters are checked; other options stay as they are."""
    translation = translated(options=options)

    assert {"strength": 0.5, "strength.x": 1} == translation.fields["defaults"]
    assert [] == messages(translation)


@pytest.mark.parametrize("word", ["bf16", "bfloat16", "BF16"])
def test_all_words_for_a_type_of_numbers_are_known(word: str) -> None:
    """Long and short ones, in the option and in the key."""
    assert "bfloat16" == translated(options=[f"torch_dtype:{word}"]).fields["dtype"]
    assert "bfloat16" == translated(dtype=word).fields["dtype"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("torch_dtype", "An option must be text like `name:value`, not 'torch_dtype'."),
        ({"torch_dtype": "bf16"}, "An option must be text like `name:value`, not {'torch_dtype': 'bf16'}."),
        (":5", "An option must have a name: ':5'."),
        ("torch_dtype:fp8", "`options.0` must be a dtype, not 'fp8'."),
    ],
)
def test_an_option_that_says_nothing_is_an_error(option: Any, message: str) -> None:
    """No entry is dropped in silence."""
    assert [message] == messages(translated(options=[option]))


def test_one_of_two_keys_is_enough_for_cuda() -> None:
    """The two are read as LocalAI reads them; without either the best device is taken."""
    assert "accelerator" == translated(cuda=False, diffusers={"cuda": True}).fields["device"]
    assert "accelerator" == translated(cuda=True, diffusers={"cuda": False}).fields["device"]
    assert "cpu" == translated(diffusers={"cuda": False}).fields["device"]
    assert "device" not in translated().fields


def test_names_that_only_localai_has_are_presets() -> None:
    """Neither is a class of diffusers; each has a preset with LocalAI's settings."""
    video, flux = (
        translated(diffusers={"pipeline_type": f"{name}"})
        for name in ("VideoDiffusionPipeline", "FluxTransformer2DModel")
    )

    assert ("video", "flux-transformer") == (video.fields["preset"], flux.fields["preset"])
    assert [] == [*messages(video), *messages(flux)]
    assert not {"pipeline"} & {*video.fields, *flux.fields}


def test_img2img_is_a_task_where_no_class_is_given() -> None:
    """With a class it has no effect, which is reported."""
    assert "image-to-image" == translated(diffusers={"img2img": True}).fields["pipeline"]
    assert ["`diffusers.img2img` has no effect: `diffusers.pipeline_type` selects the pipeline."] == messages(
        translated(diffusers={"img2img": True, "pipeline_type": "X"})
    )


def test_a_list_of_parameters_that_leaves_one_out_is_warned_of() -> None:
    """The file's own defaults are passed, whether listed or not."""
    complete = translated(step=5, cfg_scale=1, diffusers={"enable_parameters": "num_inference_steps"})
    lacking = translated(step=5, diffusers={"enable_parameters": "negative_prompt", "clip_skip": 2})

    assert [] == messages(complete)
    assert "omits `clip_skip`, `num_inference_steps`" in messages(lacking)[0]


def test_one_lora_and_several_are_all_applied() -> None:
    """One without a scale is applied in full."""
    translation = translated(lora_adapter="a", lora_scale=0.5, lora_adapters=["b", "c"], lora_scales=[0.25])

    assert [
        {"lora": "a", "weight": 0.5},
        {"lora": "b", "weight": 0.25},
        {"lora": "c", "weight": 1.0},
    ] == translation.fields["adapters"]


def test_scales_without_a_lora_are_an_error() -> None:
    """One of them was forgotten."""
    assert ["There are 2 scales for 1 LoRAs."] == messages(translated(lora_adapters=["a"], lora_scales=[1, 1]))


def test_a_build_of_the_backend_is_the_backend() -> None:
    """LocalAI installs it under names like this one."""
    assert [] == messages(translated(backend="cuda12-diffusers"))


def test_two_keys_for_one_field_must_agree() -> None:
    """The first is used, and the other is reported."""
    same = translated(cfg_scale=8, diffusers={"cfg_scale": 8})
    different = translated(cfg_scale=7, diffusers={"cfg_scale": 8})

    assert ([], 7) == (messages(same), different.fields["defaults"]["guidance_scale"])
    assert ["`diffusers.cfg_scale` has no effect: `cfg_scale` is 7."] == messages(different)
