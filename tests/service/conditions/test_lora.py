"""LoRAs of a request: tags in prompts, names in the folder of LoRAs, strengths, and those of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octabox.config.model import LoraConfig, ModelConfig
from octabox.errors import AdapterNotFoundError, ForbiddenPathError, InvalidParameterError, OctaboxError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.conditions.lora import select_adapters, with_loras, without_tags
from octabox.types import AdapterChoice
from trained import FRAME, HEARTS, LORAS

SHELF = AdapterRegistry(LORAS, None)
MODEL = ModelConfig(name="x", model="x")


@pytest.mark.parametrize(
    ("text", "plain", "found"),
    [
        ("a cat", "a cat", []),
        ("a cat <lora:style>", "a cat", [AdapterChoice("style")]),
        ("a cat <lora:style:0.8>, red", "a cat, red", [AdapterChoice("style", 0.8)]),
        ("a cat, <lora:style:0.8>, red", "a cat, red", [AdapterChoice("style", 0.8)]),
        ("<lora:a:1> <lora:b:-.5> a cat", "a cat", [AdapterChoice("a"), AdapterChoice("b", -0.5)]),
        ("<LORA: my style : 2 >a cat", "a cat", [AdapterChoice("my style", 2)]),
        ("<lyco:folder/style:1e-1>", "", [AdapterChoice("folder/style", 0.1)]),
        ("<lora:s:0.2:0.7>", "", [AdapterChoice("s", 0.2, {"text_encoder": 0.2, "unet": 0.7})]),
        ("<lora:s:te=0:unet=0.5>", "", [AdapterChoice("s", 1, {"text_encoder": 0, "unet": 0.5})]),
        ("<lora:s:0.5:te=0>", "", [AdapterChoice("s", 0.5, {"text_encoder": 0})]),
        ("<lora:s> and <lora:s>", "and", [AdapterChoice("s")]),
        ("see <https://example.org> a < b, c > d", "see <https://example.org> a < b, c > d", []),
        ("(red:1.3) [blue] <cat-toy> {a|b}", "(red:1.3) [blue] <cat-toy> {a|b}", []),
    ],
)
def test_tags(text: str, plain: str, found: list[AdapterChoice]) -> None:
    """A tag names a LoRA and its strength, and is no part of the prompt."""
    assert ({"prompt": plain, "steps": 3}, found) == without_tags({"prompt": text, "steps": 3})


def test_a_prompt_without_tags_is_left_alone() -> None:
    """Not a blank of it is changed, nor of what is no text."""
    params = {"prompt": "  a ,, b  ", "prompt_embeds": [1.0], "prompt_2": ["a", " b "]}

    assert (params, []) == without_tags(params)


def test_tags_of_several_prompts() -> None:
    """The second prompt's tags count too, and what both say counts once."""
    plain, found = without_tags({"prompt": ["x <lora:a>", "y"], "prompt_2": "z <lora:a> <lora:b:2>"})

    assert {"prompt": ["x", "y"], "prompt_2": "z"} == plain
    assert [AdapterChoice("a"), AdapterChoice("b", 2)] == found


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"prompt": "<lora:style:strong>"}, "'strong' in '<lora:style:strong>' is not a weight"),
        ({"prompt": "<lora:>"}, "is not a valid tag"),
        ({"prompt": "<lora:a:1:2:3>"}, "is not a valid tag"),
        ({"prompt": "<lora:a:dyn=4>"}, "'dyn' in '<lora:a:dyn=4>' is not known"),
        ({"prompt": "<hypernet:a:1>"}, "is not a known tag"),
        ({"prompt": "<loar:a:1>"}, "Did you mean <lora:a:1>?"),
        ({"negative_prompt": "<lora:a:1>"}, "has no effect"),
    ],
)
def test_a_tag_that_cannot_be_followed(params: dict[str, str], said: str) -> None:
    """The error says which, and how it is written."""
    with pytest.raises(InvalidParameterError) as caught:
        without_tags(params)

    assert said in str(caught.value)
    assert [caught.value.parameter] == list(params)


def chosen(
    prompt: str = "", *asked: AdapterChoice, model: ModelConfig = MODEL, registry: AdapterRegistry = SHELF
) -> Any:
    """Return the LoRAs of a run."""
    return select_adapters({"prompt": prompt}, asked, model, registry)[1]


def test_names_are_looked_up() -> None:
    """Field and tag name files of the folder, with or without an ending."""
    asked = AdapterChoice("frame.safetensors", 0.5, {"unet": 1})

    assert (
        AdapterChoice(FRAME, 0.5, {"unet": 1}, "frame.safetensors"),
        AdapterChoice(HEARTS, 1.0, {}, "hearts"),
    ) == chosen("<lora:hearts>", asked)
    assert chosen("a cat") is None


def test_a_request_is_stronger_than_the_configuration() -> None:
    """It changes the strength of a LoRA that is applied anyway, and adds others beside it."""
    own = (LoraConfig(lora=HEARTS, weight=1), LoraConfig(lora="owner/style", weight=2))
    model = ModelConfig(name="x", model="x", adapters=own)

    assert (AdapterChoice("owner/style", 2.0), AdapterChoice(HEARTS, 0.0, {}, "hearts")) == chosen(
        "<lora:hearts:0>", model=model
    )


@pytest.mark.parametrize("weight", [1e9, -11, float("nan"), float("inf")])
def test_strengths_have_a_range(weight: float) -> None:
    """No number is taken that could only make noise."""
    for wrong in (AdapterChoice("hearts", weight), AdapterChoice("hearts", 1, {"unet": weight})):
        with pytest.raises(InvalidParameterError, match="from -10 to 10"):
            chosen("", wrong)
    with pytest.raises(InvalidParameterError, match="from -10 to 10"):
        chosen(f"<lora:hearts:{weight}>")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("heart", AdapterNotFoundError, "Did you mean hearts?"),
        ("", AdapterNotFoundError, "There is no LoRA"),
        ("zzzzzz", AdapterNotFoundError, "`octabox adapters` lists"),
        ("owner/style", AdapterNotFoundError, "--allow-hub"),
        (HEARTS, ForbiddenPathError, "by its place"),
        ("../loras/hearts", ForbiddenPathError, "by its place"),
    ],
)
def test_a_name_that_leads_nowhere(name: str, kind: type[OctaboxError], said: str) -> None:
    """The error names the nearest; a path out of the folder is refused."""
    with pytest.raises(kind) as caught:
        chosen("", AdapterChoice(name))

    assert said in str(caught.value)


def test_a_lora_is_named_once() -> None:
    """Twice is an error, also under two names."""
    with pytest.raises(InvalidParameterError, match="named twice"):
        chosen("<lora:hearts:0.5>", AdapterChoice("hearts.safetensors"))


def test_whoever_sits_at_the_machine_names_any_path() -> None:
    """So does the command line; and with the Hub allowed, any id."""
    registry = AdapterRegistry(None, None, any_path=True, any_hub=True)

    assert [HEARTS, "owner/style"] == [registry.source(name) for name in (HEARTS, "owner/style")]


def test_names_in_a_configuration(tmp_path: Path) -> None:
    """A mere name is looked up in the folder of LoRAs; one that is nowhere stays, for the load to tell."""
    named = ("hearts", str(tmp_path / "models" / "frame"), "owner/style", str(tmp_path / "missing.safetensors"), FRAME)
    model = ModelConfig(name="x", model="x", adapters=tuple(LoraConfig(lora=name) for name in named))

    assert [HEARTS, FRAME, "owner/style", named[3], FRAME] == [each.lora for each in with_loras(model, SHELF).adapters]
    assert MODEL is with_loras(MODEL, SHELF)
