"""The scripts of the page that need no browser: forms of all pipelines, weights, and what a form takes over."""

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
from octabox.service.forms.scheduler_settings import settings_schema
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


def test_choices_of_a_scheduler(scripts: Path) -> None:
    """Each name is a choice, a class without a plain one too; what a request has is found among them, with what remains."""
    rows = [
        {"name": "EulerDiscreteScheduler", "variants": [{"name": "euler", "settings": {}}], "description": ""},
        {
            "name": "DPMSolverMultistepScheduler",
            "variants": [
                {"name": "dpmpp", "settings": {"algorithm_type": "dpmsolver++", "solver_order": 1}},
                {"name": "dpmpp_2m", "settings": {"algorithm_type": "dpmsolver++", "solver_order": 2}},
            ],
            "description": "",
        },
    ]
    code = """
    import { choiceFor, choicesOf, partsOf } from './js/schedulers.js';
    const choices = choicesOf(value);
    const solver = 'DPMSolverMultistepScheduler';
    const settings = { s_churn: 1 };
    console.log(JSON.stringify({
      names: choices.map((each) => each.name),
      second: choiceFor(choices, solver, { algorithm_type: 'dpmsolver++', solver_order: 2, schedule: 'karras' }),
      plain: choiceFor(choices, solver, { solver_order: 3 }),
      none: choiceFor(choices, 'UniPCMultistepScheduler', {}),
      parts: ['', 'euler', { name: 'euler', ...settings }, { name: 'euler', settings, schedule: 'beta' }].map(partsOf),
    }));"""
    found = run(scripts, code, rows)

    assert ["euler", "DPMSolverMultistepScheduler", "dpmpp", "dpmpp_2m"] == found["names"]
    assert {"name": "dpmpp_2m", "settings": {"schedule": "karras"}} == found["second"]
    assert {"name": "DPMSolverMultistepScheduler", "settings": {"solver_order": 3}} == found["plain"]
    assert None is found["none"]
    assert [{}, {}, {"s_churn": 1}, {"schedule": "beta", "s_churn": 1}] == [each["settings"] for each in found["parts"]]


def test_every_scheduler_has_a_form(scripts: Path) -> None:
    """Each setting has a control, and the defaults set nothing."""
    catalog = load_catalog()
    schemas = {name: settings_schema(name, catalog) for name in catalog.schedulers}
    code = """
    import { formFields, initialValues, toParams } from './js/fields.js';
    const form = (fields) => ({ names: fields.map((each) => each.name), ...toParams(fields, initialValues(fields)) });
    const forms = Object.entries(value).map(([name, schema]) => [name, form(formFields(schema))]);
    console.log(JSON.stringify(Object.fromEntries(forms)));"""
    found = run(scripts, code, schemas)

    assert len(schemas) > 30
    for name, form in found.items():
        assert (set(schemas[name]["properties"]), {}, {}) == (set(form["names"]), form["params"], form["problems"])


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
    stages = {"params": {}, "workflow": {"stages": [None, {"params": {"noise_level": 50}}], "upscale": {"scale": 2}}}
    found, bare, cascade = run(scripts, code, [metadata, {"params": {}}, stages])

    changes = {name: metadata[name] for name in ("variation", "noise", "seamless")}
    assert {"hires": {"scale": 2}, **changes} == found["workflow"]
    assert ("a circle on blue", "a1111", 3) == (found["params"]["prompt"], found["syntax"], found["seed"])
    assert ("plain", {}, None, []) == (bare["syntax"], bare["workflow"], bare["seed"], bare["unused"])
    assert ({"upscale": {"scale": 2}}, ["workflow.stages"]) == (cascade["workflow"], cascade["unused"])


def test_a_setting_may_have_several_numbers(scripts: Path) -> None:
    """Such as the radii of a blur in two directions, also where they are being edited; what is no number is kept."""
    part = {"name": "inpaint", "fields": [{"name": "mask_blur", "control": "number", "initial": 4}]}
    code = """
    import { workflowBody } from './js/workflow.js';
    const body = (mask_blur) => workflowBody([value], { inpaint: { mask_blur } }).body.inpaint.mask_blur ?? null;
    console.log(JSON.stringify([[4, 8], "[4, 9]", "[4,", "6", 4].map(body)));"""

    assert [[4, 8], [4, 9], "[4,", 6, None] == run(scripts, code, part)


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
