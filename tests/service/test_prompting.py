"""Prompts of a request, written out before a model sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError
from octabox.service.prompting import MAX_STYLES, ExpandedPrompts, PromptWriter
from octabox.types import GenerationRequest, SchedulerChoice


@pytest.fixture
def writer(tmp_path: Path) -> PromptWriter:
    """Return a writer with a wildcard and some styles."""
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "colour.txt").write_text("red\nblue\n")
    (tmp_path / "styles.csv").write_text(
        'name,prompt,negative_prompt\nink,"{prompt}, __colour__ ink",photo\nbold,bold,\nround,,__colour__ corners\n'
    )
    return PromptWriter(tmp_path / "wildcards", tmp_path / "styles.csv", "a1111")


def written(
    writer: PromptWriter, params: dict[str, Any], *styles: str, seed: int = 0, syntax: str = "a1111"
) -> ExpandedPrompts:
    """Return the prompts of a run of Stable Diffusion."""
    request = GenerationRequest("thing", styles=styles)
    return writer.write(params, seed, syntax, request, load_catalog().pipeline("StableDiffusionPipeline"))


def test_wildcards_follow_the_seed(writer: PromptWriter) -> None:
    """Each seed has its own words, and what was written stays known."""
    params = {"prompt": "a __colour__ {star|circle}", "negative_prompt": "ugly", "guidance_scale": 3.0}
    found = [written(writer, params, seed=seed) for seed in range(20)]

    assert {f"a {colour} {shape}" for colour in ("red", "blue") for shape in ("star", "circle")} == {
        each.params["prompt"] for each in found
    }
    assert {"prompt": "a __colour__ {star|circle}"} == found[0].before
    assert ("ugly", 3.0) == (found[0].params["negative_prompt"], found[0].params["guidance_scale"])
    assert found[3] == written(writer, params, seed=3)


def test_the_number_of_styles_is_bounded(writer: PromptWriter) -> None:
    """A request has as many styles as the limit, and no more."""
    writer.with_styles(GenerationRequest("thing", styles=("bold",) * MAX_STYLES))
    with pytest.raises(InvalidParameterError, match=f"may have {MAX_STYLES} styles, not {MAX_STYLES + 1}") as caught:
        writer.with_styles(GenerationRequest("thing", styles=("bold",) * (MAX_STYLES + 1)))

    assert "styles" == caught.value.parameter


def test_plain_prompts_have_no_wildcards(writer: PromptWriter) -> None:
    """There every sign stands for itself; styles are laid over them all the same."""
    found = written(writer, {"prompt": "a {red|blue} __init__"}, "bold", syntax="plain")

    assert "a {red|blue} __init__, bold" == found.params["prompt"]


def test_styles_come_first(writer: PromptWriter) -> None:
    """A style's own wildcards are written out, and one that says something of the negative prompt makes one."""
    found = written(writer, {"prompt": "a star", "negative_prompt": None}, "ink", "bold", "round")

    assert found.params["prompt"] in ("a star, red ink, bold", "a star, blue ink, bold")
    assert found.params["negative_prompt"] in ("photo, red corners", "photo, blue corners")
    assert {"prompt": "a star", "negative_prompt": ""} == found.before


def test_a_style_where_there_is_no_negative_prompt(writer: PromptWriter) -> None:
    """What a pipeline has no parameter for has no effect, and that is said."""
    request = GenerationRequest("thing", styles=("ink",))
    entry = load_catalog().pipeline("PixArtSigmaPAGPipeline")
    without = next(each for each in load_catalog().pipelines.values() if each.parameter("negative_prompt") is None)

    assert () == writer.write({"prompt": "x"}, 0, "a1111", request, entry).warnings
    found = writer.write({"prompt": "x"}, 0, "a1111", request, without)
    assert "negative_prompt" not in found.params
    assert "has no effect" in found.warnings[0]


def test_an_unknown_style_is_named(writer: PromptWriter) -> None:
    """It is an error, with the nearest."""
    with pytest.raises(InvalidParameterError, match="no style 'inc'"):
        written(writer, {"prompt": "x"}, "inc")


def test_the_syntax_is_the_request_s_then_the_model_s_then_the_server_s(writer: PromptWriter) -> None:
    """Each is stronger than the next, and there are no others."""
    said, silent = GenerationRequest("thing", prompt_syntax="plain"), GenerationRequest("thing")

    assert ["plain", "compel", "a1111"] == [
        writer.syntax_of(said, "compel"),
        writer.syntax_of(silent, "compel"),
        writer.syntax_of(silent, None),
    ]
    with pytest.raises(InvalidParameterError, match="no prompt syntax") as caught:
        writer.syntax_of(GenerationRequest("thing", prompt_syntax="a111"), None)
    assert ("prompt_syntax", "Did you mean 'a1111'?") == (caught.value.parameter, caught.value.hint)


STYLES = """[
    {"name": "quick", "prompt": "rough", "extra": "steps: 4, cfg_scale: 2, seed: 5, sampler: DEIS", "preview": "a.jpg"},
    {"name": "slow", "prompt": "fine", "extra": "steps: 40, hires: yes", "wildcards": "a=b"},
    {"name": "quiet", "prompt": "plain", "extra": "", "wildcards": ""}
]"""


def test_styles_set_what_the_request_leaves_open(tmp_path: Path) -> None:
    """The later style holds, and over all what the request says; where neither says anything the request is as it was."""
    (tmp_path / "styles.json").write_text(STYLES)
    writer = PromptWriter(styles=tmp_path / "styles.json")
    made, _ = writer.with_styles(
        GenerationRequest("thing", styles=("quick", "slow"), optional_params={"guidance_scale": 3.0})
    )
    own = GenerationRequest("thing", params={"num_inference_steps": 9}, seed=1, scheduler=SchedulerChoice("euler"))

    assert {"num_inference_steps": 40, "guidance_scale": 3.0} == made.optional_params
    assert (5, SchedulerChoice("DEIS")) == (made.seed, made.scheduler)
    assert ({"guidance_scale": 2.0}, 1, "euler") == _said(writer, replace(own, styles=("quick",)))
    silent = GenerationRequest("thing", styles=("quiet",))
    assert (silent, ()) == writer.with_styles(silent)


def _said(writer: PromptWriter, request: GenerationRequest) -> tuple[Mapping[str, Any], int | None, str]:
    made, _ = writer.with_styles(request)
    return made.optional_params, made.seed, made.scheduler.name if made.scheduler else ""


def test_what_of_a_style_has_no_effect_is_said(tmp_path: Path) -> None:
    """Only of styles that are used, with the name of style and field."""
    (tmp_path / "styles.json").write_text(STYLES)
    writer = PromptWriter(styles=tmp_path / "styles.json")

    _, said = writer.with_styles(GenerationRequest("thing", styles=("slow", "quiet")))
    _, nothing = writer.with_styles(GenerationRequest("thing", styles=("quick",)))

    assert ("'wildcards' of the style 'slow' has no effect.", "'hires: yes' in the style 'slow' has no effect.") == said
    assert () == nothing


def test_what_another_syntax_would_read_is_told(writer: PromptWriter) -> None:
    """Where a prompt is plain and nobody has said that it is to be, wildcards that are there and weights are named once."""
    params = {"prompt": "a __colour__ __init__ (star:1.3), (sky:0.5)", "negative_prompt": "__colour__", "height": 8}
    told = written(writer, params, syntax="plain").warnings

    assert ["'__colour__'", "'(star:1.3)'", "'__colour__'"] == [each.partition(" ")[0] for each in told]
    assert all("prompt_syntax" in each for each in told)
    assert () == written(writer, {"prompt": "a __colour__ (star:1.3)"}).warnings
    meant = GenerationRequest("thing", prompt_syntax="plain")
    assert () == writer.write(params, 0, "plain", meant, load_catalog().pipeline("StableDiffusionPipeline")).warnings


@pytest.mark.parametrize(
    "text",
    [
        "a clock (12:30) on a wall, John (3:16), a map (scale 1:2.5)",
        "a man (left), a woman (right: smiling); def __init__(self): pass",
        '{"prompt": "__colour__"}',
        '{"prompt": "a (star:1.3)"}',
        "a price list (eggs: 1.30), file__name__here {red}",
        "a \\(star:1.3)",
    ],
)
def test_prose_is_no_cause_for_alarm(writer: PromptWriter, text: str) -> None:
    """Times, verses, scales and code are left alone."""
    assert () == written(writer, {"prompt": text}, syntax="plain").warnings
