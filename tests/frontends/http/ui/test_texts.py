"""The texts of a form: every one of every class is sent as the class takes it, and several are one a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import check_value, json_schema
from octabox.service.bounds import Limits
from octabox.service.forms.hints import add_form_hints
from octabox.service.forms.model_sizes import ModelSizes
from page_scripts import copy_scripts, run


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    """Return the schemas of the forms of all classes."""
    return {
        name: add_form_hints(json_schema(entry), entry, ModelSizes(entry), Limits())
        for name, entry in load_catalog().pipelines.items()
    }


def test_every_text_is_sent_as_its_class_takes_it(scripts: Path, schemas: dict[str, Any]) -> None:
    """A person writes a text into each control of texts, and each is accepted; so is what a job is restored with."""
    code = """
    import { formFields, restoreValues, toParams } from './js/fields.js';
    const sent = (fields, values) => toParams(fields, values).params;
    const found = Object.entries(value).map(([name, schema]) => {
      const fields = formFields(schema).filter((each) => ['prompt', 'text'].includes(each.control));
      const params = sent(fields, Object.fromEntries(fields.map((each) => [each.name, "a red circle"])));
      return [name, [params, sent(fields, restoreValues(fields, params))]];
    });
    console.log(JSON.stringify(Object.fromEntries(found)));"""
    found = run(scripts, code, schemas)

    lists = set()
    for name, (params, restored) in found.items():
        entry = load_catalog().pipelines[name]
        assert params == restored, name
        for each, value in params.items():
            parameter = entry.parameter(each)
            assert parameter is not None
            assert value == check_value(parameter, value), (name, each)
            lists |= {each} if isinstance(value, list) else set()
    assert {"prompt", "gligen_phrases", "complex_human_instruction", "chi_prompt", "fonts"} <= lists


def test_several_texts_are_one_a_line(scripts: Path) -> None:
    """Empty lines that are typed are left out; lists that nobody has edited, and emptied defaults, are sent as they are."""
    texts = {"type": "array", "items": {"type": "string"}}
    schema = {
        "required": ["prompt"],
        "properties": {
            "prompt": {**texts, "x-octabox": {"control": "prompt", "many": True}},
            "instruction": {
                **texts,
                "default": ["one\ntwo", "", "three"],
                "x-octabox": {"control": "text", "many": True},
            },
        },
    }
    code = """
    import { asText, formFields, initialValues, toParams } from './js/fields.js';
    const fields = formFields(value);
    const sent = (values) => toParams(fields, { ...initialValues(fields), ...values });
    const tries = [
      { prompt: "a\\n\\n b " }, { prompt: ["a", ""], instruction: "" }, { prompt: " \\n", instruction: ["x", ""] },
    ];
    console.log(JSON.stringify([tries.map(sent), asText(["a", "b"]), asText(null)]));"""
    (plain, cleared, empty), text, nothing = run(scripts, code, schema)

    assert {"params": {"prompt": ["a", " b "]}, "problems": {}} == plain
    assert {"params": {"prompt": ["a", ""], "instruction": []}, "problems": {}} == cleared
    assert {"params": {"instruction": ["x", ""]}, "problems": {"prompt": "required"}} == empty
    assert ("a\nb", "") == (text, nothing)


def test_several_prompts_of_a_job_are_restored(scripts: Path, schemas: dict[str, Any]) -> None:
    """All of them, where a class takes a text as well; a single one is a text."""
    code = """
    import { formFields, restoreValues, toParams } from './js/fields.js';
    const fields = formFields(value);
    const again = (prompt) => toParams(fields, restoreValues(fields, { prompt })).params.prompt;
    console.log(JSON.stringify([["a", "b"], ["a"], "a"].map(again)));"""

    assert [["a", "b"], "a", "a"] == run(scripts, code, schemas["StableDiffusionPipeline"])
