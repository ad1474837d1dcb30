"""The scripts of the page that need no browser: forms of all pipelines, weights, and parameters in files."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import json_schema
from octabox.service.bounds import Limits
from octabox.service.forms.hints import add_form_hints
from octabox.service.forms.model_sizes import ModelSizes
from page_scripts import copy_scripts, run


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


def test_every_pipeline_has_a_form(scripts: Path) -> None:
    """Each form has a control for each parameter, and with its defaults it sends nothing but what a person filled in."""
    schemas = {
        name: add_form_hints(json_schema(entry), entry, ModelSizes(entry), Limits())
        for name, entry in load_catalog().pipelines.items()
    }
    code = """
    import { formFields, initialValues, toParams } from './js/fields.js';
    const found = {};
    for (const [name, schema] of Object.entries(value)) {
      const fields = formFields(schema);
      const { params, problems } = toParams(fields, initialValues(fields));
      found[name] = { names: fields.map((each) => each.name), params, problems, controls: fields.map((each) => each.control) };
    }
    console.log(JSON.stringify(found));"""
    found = run(scripts, code, schemas)

    assert len(schemas) > 300
    for name, form in found.items():
        properties = schemas[name]["properties"]
        assert {each for each in properties if "same_as" not in properties[each]["x-octabox"]} == set(form["names"])
        assert {} == form["params"], name
        groups = [[each["required"][0] for each in group["anyOf"]] for group in schemas[name].get("allOf", [])]
        assert set(form["problems"]) <= {*schemas[name]["required"], *itertools.chain(*groups)}, name
        assert all(set(group) & set(form["problems"]) for group in groups), name
        assert set(form["problems"].values()) <= {"required"}, name


@pytest.mark.parametrize(
    ("text", "start", "end", "direction", "expected"),
    [
        ("a red circle", 3, 3, 1, "a (red:1.1) circle"),
        ("a (red:1.1) circle", 4, 4, 1, "a (red:1.2) circle"),
        ("a (red:1.1) circle", 4, 4, -1, "a red circle"),
        ("a red circle", 2, 12, -1, "a (red circle:0.9)"),
        ("a red circle", 1, 6, 1, "a (red:1.1) circle"),
        ("", 0, 0, 1, ""),
    ],
)
def test_weights(scripts: Path, text: str, start: int, end: int, direction: int, expected: str) -> None:
    """The word at the cursor, or the selection, gets a weight; at 1 the brackets go."""
    code = "import { changeWeight } from './js/weights.js';\nconsole.log(JSON.stringify(changeWeight(...value)));"

    assert expected == run(scripts, code, [text, start, end, direction])["text"]


def test_values_that_are_wrong(scripts: Path) -> None:
    """What is no number, no JSON or missing is a problem of its field."""
    schema = {
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string", "x-octabox": {"control": "prompt", "group": "prompt", "order": 0}},
            "strength": {"type": "number", "default": 0.5, "x-octabox": {"control": "number"}},
            "sigmas": {"type": "array", "x-octabox": {"control": "json", "many": True}},
        },
    }
    code = """
    import { formFields, toParams } from './js/fields.js';
    console.log(JSON.stringify(toParams(formFields(value), {prompt: '', strength: 'much', sigmas: '[1'})));"""

    assert {"prompt": "required", "strength": "number", "sigmas": "json"} == run(scripts, code, schema)["problems"]


def test_parameters_of_the_automatic1111_web_ui(scripts: Path) -> None:
    """Its text has the prompt, the negative prompt, and a line of settings."""
    text = (
        "a cat, (fluffy:1.2)\nsecond line\nNegative prompt: blurry\n"
        'Steps: 25, Sampler: DPM++ 2M, CFG scale: 6.5, Seed: 42, Size: 640x512, Lora hashes: "x: 1, y: 2"'
    )
    code = "import { fromInfotext } from './js/metadata.js';\nconsole.log(JSON.stringify(fromInfotext(value)));"
    found = run(scripts, code, text)

    assert {
        "prompt": "a cat, (fluffy:1.2)\nsecond line",
        "negative_prompt": "blurry",
        "num_inference_steps": 25,
        "guidance_scale": 6.5,
        "width": 640,
        "height": 512,
    } == found["params"]
    assert (42, "DPM++ 2M") == (found["seed"], found["scheduler"])


def test_metadata_is_what_made_the_output(scripts: Path) -> None:
    """What changes the call is in the workflow, as a request has it; prompts are those of the call, and so is their syntax."""
    metadata = {
        "model": "m",
        "task": "text-to-image",
        "params": {"prompt": "a circle on blue"},
        "written": {"prompt": "a __shape__"},
        "seed": 3,
        "prompt_syntax": "a1111",
        "workflow": {"hires": {"scale": 2}},
        "variation": {"seed": 5, "strength": 0.25},
        "noise": {"scale": 0.5},
        "seamless": {"axes": "x"},
    }
    code = "import { fromOctabox } from './js/metadata.js';\nconsole.log(JSON.stringify(value.map(fromOctabox)));"
    found, bare = run(scripts, code, [metadata, {"params": {}}])

    changes = {name: metadata[name] for name in ("variation", "noise", "seamless")}
    assert {"hires": {"scale": 2}, **changes} == found["workflow"]
    assert ("a circle on blue", "a1111", 3) == (found["params"]["prompt"], found["syntax"], found["seed"])
    assert ("plain", {}, None) == (bare["syntax"], bare["workflow"], bare["seed"])


def test_a_setting_may_have_several_numbers(scripts: Path) -> None:
    """Such as the radii of a blur in two directions, also where they are being edited; what is no number is kept."""
    part = {"name": "inpaint", "fields": [{"name": "mask_blur", "control": "number", "initial": 4}]}
    code = """
    import { workflowBody } from './js/workflow.js';
    const body = (mask_blur) => workflowBody([value], { inpaint: { mask_blur } }).inpaint.mask_blur ?? null;
    console.log(JSON.stringify([[4, 8], "[4, 9]", "[4,", "6", 4].map(body)));"""

    assert [[4, 8], [4, 9], "[4,", 6, None] == run(scripts, code, part)


def test_axes_of_a_grid(scripts: Path) -> None:
    """Values are numbers where all are, or a range; bars part texts with commas."""
    code = "import { axisValues } from './js/axes.js';\nconsole.log(JSON.stringify(value.map(axisValues)));"
    texts = ["1, 2.5", "red|blue, green", "1..3", "0..1 step 0.5", "a,1"]

    assert [[1, 2.5], ["red", "blue, green"], [1, 2, 3], [0, 0.5, 1], ["a", "1"]] == run(scripts, code, texts)


def test_every_text_is_shown(scripts: Path) -> None:
    """No text remains of what the page does not have any more; those of some sections are chosen by a name."""
    code = """
    import { T } from './js/texts.js';
    const keys = ([name, part]) =>
      part && typeof part === "object" ? Object.keys(part).map((each) => `T.${name}.${each}`) : [`T.${name}`];
    console.log(JSON.stringify(Object.entries(T).flatMap(keys)));"""
    source = "".join(file.read_text(encoding="utf-8") for file in (scripts / "js").glob("*.js"))

    for text in run(scripts, code):
        section = text.rpartition(".")[0]
        assert re.search(rf"{re.escape(text)}\b", source) or f"{section}[" in source, text
