"""What the forms of the page send and take over: cleared texts, workflows, grids, benchmarks and configurations."""

from __future__ import annotations

import ast
import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import json_schema
from octabox.config.model import ModelConfig
from octabox.frontends.http.native.generations.responses import job_to_json
from octabox.frontends.http.native.generations.schema import body_schema
from octabox.service.bounds import Limits
from octabox.service.forms.hints import add_form_hints
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.jobs import StoredJob
from octabox.types import GenerationRequest
from page_scripts import copy_scripts, run

#: Text settings of a node without a browser.
BROWSER = "globalThis.document = { baseURI: 'http://localhost/', addEventListener() {} };\n"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


def form_schema(name: str) -> dict[str, Any]:
    """Return the schema of a pipeline's form."""
    entry = load_catalog().pipelines[name]
    schema: dict[str, Any] = add_form_hints(json_schema(entry), entry, ModelSizes(entry), Limits())
    return schema


def test_a_default_text_can_be_cleared(scripts: Path) -> None:
    """An emptied prompt is sent where the default is not empty; a number that is emptied is the default."""
    schema = {
        "properties": {
            "negative_prompt": {"type": "string", "default": "ugly", "x-octabox": {"control": "prompt"}},
            "prompt_2": {"type": "string", "default": None, "x-octabox": {"control": "prompt"}},
            "strength": {"type": "number", "default": 0.5, "x-octabox": {"control": "number"}},
        }
    }
    code = """
    import { formFields, toParams } from './js/fields.js';
    const fields = formFields(value);
    const sent = (text) => toParams(fields, { negative_prompt: text, prompt_2: "", strength: "" }).params;
    console.log(JSON.stringify([sent(""), sent("ugly"), sent("red")]));"""

    assert [{"negative_prompt": ""}, {}, {"negative_prompt": "red"}] == run(scripts, code, schema)


#: Fields whose choices are no texts, and such without a default.
CHOICES = {
    "properties": {
        "level": {"enum": [1, 2], "default": 1, "x-octabox": {"control": "choice"}},
        "rate": {
            "anyOf": [{"enum": [0.5, 1.5]}, {"type": "null"}],
            "default": None,
            "x-octabox": {"control": "choice"},
        },
        "end": {"enum": [1, None], "default": 1, "x-octabox": {"control": "choice"}},
        "mode": {"enum": ["soft", "hard"], "x-octabox": {"control": "choice"}},
        "flag": {"type": "boolean", "x-octabox": {"control": "switch"}},
        "tiled": {"type": "boolean", "default": True, "x-octabox": {"control": "switch"}},
        "text": {"type": "string", "x-octabox": {"control": "text"}},
    },
    "required": ["mode", "flag", "text"],
}


def test_a_choice_has_the_type_of_the_choices(scripts: Path) -> None:
    """A select has texts: a form, a grid and a workflow send numbers for them, and what is no choice as it is."""
    code = """
    import { formFields, initialValues, toParams } from './js/fields.js';
    import { withValue } from './js/axes.js';
    import { workflowBody } from './js/workflow.js';
    const fields = formFields(value);
    const sent = { level: "2", rate: "1.5", end: "null", mode: "hard", flag: "on", tiled: false, text: "x" };
    const form = toParams(fields, { ...initialValues(fields), ...sent }).params;
    const cell = (name, each) => withValue({ params: {} }, name, each, each, { fields }).params[name];
    const cells = Object.fromEntries(Object.entries(sent).map(([name, each]) => [name, cell(name, each)]));
    const other = toParams(fields, { ...initialValues(fields), level: "3", text: "x" }).params.level;
    const part = (hires) => workflowBody([{ name: "hires", fields }], { hires }).body.hires;
    console.log(JSON.stringify([form, cells, part(sent), other, part({ level: "1", mode: "soft" })]));"""
    expected = {"level": 2, "rate": 1.5, "end": None, "mode": "hard", "flag": True, "tiled": False, "text": "x"}
    form, cells, part, other, unchanged = run(scripts, code, CHOICES)

    assert expected == form == cells
    assert {name: each for name, each in expected.items() if each is not None} == part
    assert ("3", {"mode": "soft"}) == (other, unchanged)


def test_what_a_control_shows_is_sent(scripts: Path) -> None:
    """A required choice has the first one, a required switch is off, and neither is kept for another model unless it is set."""
    code = """
    import { formFields, initialValues, keepsValue, toParams } from './js/fields.js';
    const fields = formFields(value);
    const values = initialValues(fields);
    const kept = Object.keys(values).filter((name) => keepsValue(fields, fields, name, values[name]));
    console.log(JSON.stringify([toParams(fields, values), kept, keepsValue(fields, fields, "mode", "hard")]));"""
    sent, kept, is_kept = run(scripts, code, CHOICES)

    assert {"mode": "soft", "flag": False} == sent["params"]
    assert {"text": "required"} == sent["problems"]
    assert ([], True) == (kept, is_kept)


def test_files_of_a_job_are_taken_over(scripts: Path) -> None:
    """A job that this page has sent keeps its image; a file that is dropped brings none from elsewhere."""
    code = """
    import { formFields, restoreValues } from './js/fields.js';
    const fields = formFields(value);
    const image = "data:image/png;base64,AA";
    const taken = [true, false].map((own) => restoreValues(fields, { image, ip_adapter_image: [image] }, own));
    console.log(JSON.stringify(taken.map((each) => [each.image, each.ip_adapter_image])));"""
    own, other = run(scripts, code, form_schema("StableDiffusionImg2ImgPipeline"))

    assert "data:image/png;base64,AA" in own[0]
    assert ["data:image/png;base64,AA"] == [own[1]] or [["data:image/png;base64,AA"]] == [own[1]]
    assert [None, None] == [each or None for each in other]


def test_a_workflow_that_is_half_typed_is_a_problem_of_its_field(scripts: Path) -> None:
    """The rest of the request is made; a list has no part of its own, and numbers are what they are short for."""
    code = """
    import { requestBody } from './js/request.js';
    import { parts, restoreParts } from './js/workflow.js';
    const known = parts(value);
    const form = { model: "m", fields: [], values: {}, parts: known };
    const made = requestBody({ ...form, workflow: { hires: { params: "{" }, upscale: { scale: 2 } } });
    const short = { variation: 0.7, upscale: 4, outpaint: 64, seamless: true, faces: null, hires: { steps: 3 } };
    const restored = restoreParts(known, short);
    const again = requestBody({ ...form, workflow: restored }).body.workflow;
    console.log(JSON.stringify([made, known.map((each) => each.name), restored, again]));"""
    made, names, restored, again = run(scripts, code, body_schema()["properties"]["workflow"])

    assert ({"hires-params": "json"}, 2) == (made["problems"], made["body"]["workflow"]["upscale"]["scale"])
    assert "stages" not in names
    assert {"hires", "upscale", "variation"} <= {*names}
    sides = dict.fromkeys(("left", "top", "right", "bottom"), 64)
    expected = {"variation": {"strength": 0.7}, "upscale": {"scale": 4}, "outpaint": sides, "hires": {"steps": 3}}
    assert {**expected, "seamless": {}} == restored == again


def test_a_job_of_the_server_names_its_files(scripts: Path) -> None:
    """Those that only it has, by the field of its routes."""
    job = StoredJob(GenerationRequest("m", params={"prompt": "a"}, inputs={"image": ()}, id="a"), 0.0)
    code = """
    import { Run } from './js/run.js';
    const run = Run.of(value);
    console.log(JSON.stringify([run.id, run.body.params, run.files]));"""

    assert ["a", {"prompt": "a"}, ["image"]] == run(scripts, BROWSER + code, job_to_json(job, "http://localhost/"))


def test_a_gallery_whose_last_job_is_deleted_meanwhile(scripts: Path) -> None:
    """The next page begins after an earlier job; another error is one."""
    code = (
        BROWSER
        + """
    globalThis.window = globalThis;
    const { pages } = await import('./js/history.js');
    const asked = [];
    const read = async (path) => {
      asked.push(/after=(.*)/.exec(path)?.[1] || "");
      if (path.includes("after=b")) throw Object.assign(new Error("gone"), { status: 404 });
      const ids = path.includes("after=a") ? ["c"] : ["a", "b"];
      return { data: ids.map((id) => ({ id, created_at: 1, result: { outputs: [{}] } })), has_more: ids.length > 1 };
    };
    const found = [];
    for await (const page of pages(read)) found.push(...page.map((each) => each.key));
    let error = "";
    const refuse = async () => { throw Object.assign(new Error("no"), { status: 404 }); };
    try { for await (const _ of pages(refuse)); } catch (e) { error = e.message; }
    console.log(JSON.stringify([asked, found, error]));"""
    )

    assert [["", "b", "a"], ["a/0", "b/0", "c/0"], "no"] == run(scripts, code)


def test_the_image_under_a_mask(scripts: Path) -> None:
    """That whose name begins as the mask's, also where it is no plain image."""
    code = """
    import { formFields, maskedImage } from './js/fields.js';
    const found = Object.entries(value).map(([name, schema]) => {
      const fields = formFields(schema);
      const mask = fields.find((each) => each.control === "mask");
      const values = Object.fromEntries(fields.map((each) => [each.name, each.name]));
      return mask && [mask.name, maskedImage(fields, values, mask.name)];
    });
    console.log(JSON.stringify(found));"""
    names = ("StableDiffusionInpaintPipeline", "StableDiffusion3ControlNetInpaintingPipeline")
    found = run(scripts, code, {name: form_schema(name) for name in names})

    assert [["mask_image", "image"], ["control_mask", "control_image"]] == found


@pytest.mark.parametrize(
    ("pipeline", "sent", "needs_file"),
    [
        ("DDPMPipeline", {"num_inference_steps"}, False),
        ("StableDiffusionPipeline", {"prompt", "num_inference_steps"}, False),
        ("StableDiffusionUpscalePipeline", {"prompt", "num_inference_steps"}, True),
    ],
)
def test_a_benchmark_sends_what_the_model_has(
    scripts: Path, pipeline: str, sent: set[str], *, needs_file: bool
) -> None:
    """No prompt to a model without one; what needs a file is named."""
    code = """
    import { benchmarkParams, formFields } from './js/fields.js';
    console.log(JSON.stringify(benchmarkParams(formFields(value))));"""
    found = run(scripts, code, form_schema(pipeline))

    assert sent == found["params"].keys()
    assert needs_file == bool(found["missing"])


def test_a_request_as_a_configuration(scripts: Path) -> None:
    """A prompt of several lines stays a comment, and what a configuration cannot have is named."""
    body = {
        "model": "demo",
        "params": {
            "prompt": "a cat\nname: evil\r\nmodel: worse",
            "guidance_scale": 3,
            "image": "data:image/png;base64,AA",
        },
        "seed": 7,
        "prompt_syntax": "a1111",
        "styles": ["film"],
        "workflow": {"upscale": {}},
    }
    code = "import { asYaml } from './js/snippets.js';\nconsole.log(JSON.stringify(asYaml(value)));"
    text = run(scripts, code, body)
    config = ModelConfig.model_validate({"name": "copy", **yaml.safe_load(text)})

    assert ("demo", 7, "a1111", {"guidance_scale": 3}) == (
        config.model,
        config.seed,
        config.prompt_syntax,
        config.defaults,
    )
    assert "# name: evil" in text
    assert "styles, workflow, image" in text


def test_a_request_as_a_command_and_as_a_program(scripts: Path) -> None:
    """Files are those of a form, by the names of their fields, and the key is that of a variable; both can be run."""
    body = {
        "model": "demo",
        "params": {
            "prompt": "it's; a cat",
            "image": "data:image/png;base64,AA",
            "ip_adapter_image": ["data:image/jpeg;base64,AA", "data:image/webp;base64,AA"],
        },
    }
    plain = {**body, "params": {"prompt": "it's; a cat", "guidance_scale": 3, "image": "https://host/a.png"}}
    code = """
    import { asCurl, asPython } from './js/snippets.js';
    globalThis.document = { baseURI: 'http://host/' };
    const made = () => value.flatMap((each) => [asCurl(each), asPython(each)]);
    const without = made();
    globalThis.localStorage = { getItem: () => 'secret' };
    console.log(JSON.stringify([without, made()]));"""
    without, with_key = run(scripts, code, [body, plain])
    assert "secret" not in str(with_key)

    for texts, key in ((without, None), (with_key, "Bearer $OCTABOX_API_KEY")):
        words = [shlex.split(text) for text in texts[::2]]
        assert [key, key] == [(each[each.index("-H") + 1].partition(": ")[2] if key else key) for each in words]
        request = {"model": "demo", "params": {"prompt": "it's; a cat"}}
        sent = next(each for each in words[0] if each.startswith("request="))
        assert request == json.loads(sent.removeprefix("request="))
        names = [
            "image=@image.png",
            "ip_adapter_image=@ip_adapter_image-1.jpeg",
            "ip_adapter_image=@ip_adapter_image-2.webp",
        ]
        assert names == [word for each, word in itertools.pairwise(words[0]) if each == "-F"]
        assert plain == json.loads(words[1][words[1].index("-d") + 1])
        for text in texts[1::2]:
            tree = ast.parse(text)
            imported = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {"response", "print", "open"}
            assert used == imported
