"""A job that is edited or repeated is the same request again, and what a form does not have is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import json_schema
from octabox.config.model import ModelConfig
from octabox.frontends.http.native.generations.responses import job_to_json, request_to_json
from octabox.frontends.http.native.generations.schema import Output, body_schema, parse_fields
from octabox.frontends.http.native.generations.translate import to_submission
from octabox.service.bounds import Limits
from octabox.service.forms.hints import add_form_hints
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.jobs import StoredJob
from octabox.types import AdapterChoice, GenerationRequest, OutputFormat, SchedulerChoice
from page_scripts import copy_scripts, run

#: Restores a form with a request, and returns the request of the form, and what is not used.
AGAIN = """
import { formFields, outputCounts } from './js/fields.js';
import { requestBody } from './js/request.js';
import { formState, fromRequest } from './js/restore.js';
import { parts } from './js/workflow.js';
const { schema, workflow, request, formats = [], styles = [] } = value;
const form = {
  fields: formFields(schema), known: Object.keys(schema.properties), counts: outputCounts(schema), formats,
  knownStyles: styles.map((name) => ({ name })), parts: parts(workflow),
};
const { state, unused } = formState(fromRequest(request), form);
console.log(JSON.stringify([requestBody({ ...form, ...state, model: request.model, task: request.task }), unused]));
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


def form_of(pipeline: str, request: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the form of a pipeline, and a request that it is restored with."""
    entry = load_catalog().pipelines[pipeline]
    schema = add_form_hints(json_schema(entry), entry, ModelSizes(entry), Limits())
    return {"schema": schema, "workflow": body_schema()["properties"]["workflow"], "request": request, **more}


def test_a_job_is_the_same_request_again(scripts: Path) -> None:
    """All fields of a request of the server come back, those without a control too."""
    request = GenerationRequest(
        "m",
        task="text-to-image",
        params={"prompt": ["a", "b"], "num_inference_steps": 3},
        seed=7,
        num_outputs=2,
        scheduler=SchedulerChoice("euler", {"schedule": "karras"}),
        adapters=(AdapterChoice("ink", 0.5, {"unet": 0.2, "text_encoder": 1.0}), AdapterChoice("oil")),
        prompt_syntax="a1111",
        styles=("film",),
        workflow={"upscale": {"scale": 2}},
        output=OutputFormat("webp", quality=80, fps=12),
        deterministic=True,
        keep_alive=60,
    )
    body = request_to_json(request)
    made, unused = run(scripts, AGAIN, form_of("StableDiffusionPipeline", body, formats=["webp"], styles=["film"]))

    assert ({"body": body, "problems": {}}, []) == (made, unused)


#: A request with each field that the API has.
EVERY_FIELD: dict[str, Any] = {
    "model": "m",
    "task": "text-to-image",
    "params": {"prompt": "a", "num_inference_steps": 3},
    "seed": 7,
    "num_outputs": 2,
    "output": {"format": "webp", "quality": 80, "fps": 12, "response": "b64_json"},
    "scheduler": {"name": "euler", "schedule": "karras"},
    "adapters": [{"lora": "ink", "weight": 0.5, "weights": {"unet": 0.2}}],
    "prompt_syntax": "a1111",
    "styles": ["film"],
    "workflow": {"upscale": {"scale": 2}, "stages": [None, {"params": {"noise_level": 50}}]},
    "deterministic": True,
    "keep_alive": 60,
    "priority": 5,
    "webhook": "https://example.com/ended",
    "partial_images": 2,
    "stream": True,
    "background": True,
    "id": "mine",
}

#: Those that are of one request, or of how it was sent: a job has none of them but the previews, whose number is the page's.
SENT_ONLY = {"partial_images", "stream", "background", "id"}


def test_every_field_of_a_job_is_sent_again(scripts: Path) -> None:
    """Also its priority, its webhook and the stages of its workflow, for which the form has no control."""
    fields = {**EVERY_FIELD, "workflow": {**EVERY_FIELD["workflow"]}}
    submission = to_submission(parse_fields(dict(fields)), {})
    job = StoredJob(submission.request, 1.0, priority=submission.priority, webhook=submission.webhook)
    body = json.loads(json.dumps(job_to_json(job, "")["request"]))
    made, unused = run(scripts, AGAIN, form_of("StableDiffusionPipeline", body, formats=["webp"], styles=["film"]))

    assert set(body_schema()["properties"]) == set(EVERY_FIELD)
    assert set(Output.model_fields) == set(EVERY_FIELD["output"])
    kept = {name: value for name, value in EVERY_FIELD.items() if name not in SENT_ONLY}
    assert {**kept, "output": {"format": "webp", "quality": 80, "fps": 12}} == made["body"]
    assert ([], {}) == (unused, made["problems"])
    assert {*body} - {*kept} == {"partial_images"}


def test_what_is_sent_besides_is_told(scripts: Path) -> None:
    """By the names of the API, those inside of an object with a dot."""
    code = "import { describeExtra } from './js/restore.js';\nconsole.log(JSON.stringify(describeExtra(value)));"
    extra = {"priority": 5, "output": {"quality": 80}, "workflow": {"stages": [None]}}

    assert ["priority 5", "output.quality 80", "workflow.stages [null]"] == run(scripts, code, extra)


def test_a_file_for_which_the_form_has_no_field_is_named(scripts: Path) -> None:
    """The server has it, and the form cannot ask for it again."""
    code = AGAIN.replace("fromRequest(request)", "fromRequest(request, ['image', 'workflow.refiner'])")
    _, unused = run(scripts, code, form_of("StableDiffusionPipeline", {"model": "m", "params": {"prompt": "a"}}))

    assert ["image", "workflow.refiner"] == unused


@pytest.mark.parametrize(
    ("pipeline", "params"),
    [
        ("ConsistencyModelPipeline", {"class_labels": 145}),
        ("ConsistencyModelPipeline", {"class_labels": [145, 3]}),
        ("WanVACEPipeline", {"prompt": "a", "conditioning_scale": 0.5}),
        ("WanVACEPipeline", {"prompt": "a", "conditioning_scale": [0.5, 1]}),
        ("Ideogram4Pipeline", {"prompt": "a", "guidance_schedule": [7]}),
        ("StableDiffusionGLIGENPipeline", {"prompt": "a", "gligen_phrases": ["a cat"], "gligen_boxes": [[0, 0, 1, 1]]}),
    ],
)
def test_numbers_and_lists_come_back(scripts: Path, pipeline: str, params: dict[str, Any]) -> None:
    """Numbers where an array may be, a list of one, and a list of texts."""
    made, unused = run(scripts, AGAIN, form_of(pipeline, {"model": "m", "params": params}))

    assert (params, []) == (made["body"]["params"], unused)


def test_outputs_of_each_prompt_are_outputs(scripts: Path) -> None:
    """A parameter that multiplies them has no control of its own."""
    params = {"prompt": "a", "num_images_per_prompt": 4}
    request = {"model": "m", "task": "text-to-image", "params": params, "num_outputs": 2}
    made, unused = run(scripts, AGAIN, form_of("StableDiffusionPipeline", request))

    assert [] == unused
    assert (8, {"prompt": "a"}) == (made["body"]["num_outputs"], made["body"]["params"])


def test_an_empty_text_of_a_list_keeps_its_place(scripts: Path) -> None:
    """Each negative prompt belongs to the prompt at its place."""
    params = {"prompt": ["a", "b"], "negative_prompt": ["", "ugly"]}
    request = {"model": "m", "task": "text-to-image", "params": params}

    assert params == run(scripts, AGAIN, form_of("StableDiffusionPipeline", request))[0]["body"]["params"]


def test_numbers_have_their_default(scripts: Path) -> None:
    """Where an array may be, a number is shown from the beginning; a file of another place is not taken over."""
    code = """
    import { formFields, initialValues, restoreValues } from './js/fields.js';
    const fields = formFields(value.schema);
    const file = "data:application/x-npy;base64,AA";
    const restored = [true, false].map((own) => restoreValues(fields, { latents: file, conditioning_scale: [file] }, own));
    console.log(JSON.stringify([initialValues(fields), ...restored].map((each) => [each.conditioning_scale, each.latents])));"""
    file = "data:application/x-npy;base64,AA"

    assert [[1, None], [[file], file], [1, None]] == run(scripts, code, form_of("WanVACEPipeline", {}))


def test_what_a_form_does_not_have_is_named(scripts: Path) -> None:
    """A style and a format that are gone, a parameter of another class, and a list for one text; of a file also its stages."""
    request = {
        "model": "m",
        "params": {"prompt": ["a", "b"], "strange": 1},
        "styles": ["film", "gone"],
        "output": {"format": "mp4"},
        "workflow": {"stages": [{}], "upscale": 2},
    }
    value = form_of("DreamLitePipeline", request, formats=["png"], styles=["film"])
    made, unused = run(scripts, AGAIN, value)
    of_file = run(
        scripts, AGAIN.replace("fromRequest(request)", "{ ...fromRequest(request), extra: undefined }"), value
    )

    assert ["strange", "prompt", "style gone", "Format mp4"] == unused
    assert [*unused, "stages"] == of_file[1]
    assert ({"prompt": "a"}, ["film"]) == (made["body"]["params"], made["body"]["styles"])
    assert [{"stages": [{}], "upscale": {"scale": 2}}, {"upscale": {"scale": 2}}] == [
        each["body"]["workflow"] for each in (made, of_file[0])
    ]


def test_weights_by_component_are_in_a_configuration(scripts: Path) -> None:
    """A copy as YAML has them."""
    body = {"model": "m", "params": {}, "adapters": [{"lora": "ink", "weight": 1, "weights": {"unet": 0.5}}]}
    code = "import { asYaml } from './js/snippets.js';\nconsole.log(JSON.stringify(asYaml(value)));"
    config = ModelConfig.model_validate({"name": "copy", **yaml.safe_load(run(scripts, code, body))})

    assert {"unet": 0.5} == config.adapters[0].weights
