"""The axes of a grid, the requests of its cells, and its image."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_scripts import copy_scripts, run


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


def test_axes_of_a_grid(scripts: Path) -> None:
    """Values are numbers where all are, or a range; bars part texts with commas."""
    code = "import { axisValues } from './js/axes.js';\nconsole.log(JSON.stringify(value.map(axisValues)));"
    texts = ["1, 2.5", "red|blue, green", "1..3", "0..1 step 0.5", "a,1"]

    assert [[1, 2.5], ["red", "blue, green"], [1, 2, 3], [0, 0.5, 1], ["a", "1"]] == run(scripts, code, texts)


def test_where_a_value_of_a_grid_goes(scripts: Path) -> None:
    """A parameter, the seed, a scheduler without the settings of another one, the weight of a LoRA, and words of the prompt."""
    body = {
        "params": {"prompt": "a red star"},
        "scheduler": {"name": "euler", "schedule": "karras"},
        "adapters": [{"lora": "ink", "weight": 1}, {"lora": "oil", "weight": 1}],
    }
    code = """
    import { withValue } from './js/axes.js';
    const [body, axes] = value;
    console.log(JSON.stringify(axes.map(([name, each, first]) => withValue(body, name, each, first))));"""
    axes = [
        ["guidance_scale", 3, 3],
        ["seed", "4", "4"],
        ["scheduler", "unipc", "unipc"],
        ["weight of oil", 0.5, 0.5],
        ["words in the prompt", "blue", "red"],
        ["scheduler", "euler", "euler"],
        ["scheduler.s_churn", 2, 2],
        ["model (checkpoint)", "other", "other"],
        ["styles", "film", "film"],
        ["hires.strength", 0.3, 0.3],
        ["negative_prompt", "blurry", "blurry"],
    ]
    guided, seeded, scheduled, weighed, worded, same, set_, other, styled, hires, negative = run(
        scripts, code, [body, axes]
    )

    assert ({"prompt": "a red star", "guidance_scale": 3}, 4) == (guided["params"], seeded["seed"])
    assert "unipc" == scheduled["scheduler"]
    assert [body, {"name": "euler", "schedule": "karras", "s_churn": 2}] == [same, set_["scheduler"]]
    assert ("other", ["film"]) == (other["model"], styled["styles"])
    assert {"hires": {"strength": 0.3}} == hires["workflow"]
    assert "blurry" == negative["params"]["negative_prompt"]
    assert [1, 0.5] == [each["weight"] for each in weighed["adapters"]]
    assert "a blue star" == worded["params"]["prompt"]


def test_what_a_grid_may_vary(scripts: Path) -> None:
    """All that a form has with a value to type; a setting of a part is there when the part is on."""
    field = {"control": "number", "choices": []}
    form = {
        "fields": [{**field, "name": "prompt", "control": "prompt"}, {**field, "name": "image", "control": "image"}],
        "parts": [{"name": name, "fields": [{**field, "name": "strength"}]} for name in ("hires", "refiner")],
        "workflow": {"hires": {}},
        "schedulerForm": {
            "fields": [{**field, "name": "use_karras", "control": "switch"}],
            "own": {"name": "Euler", "settings": {"shift": 3}},
        },
        "chosen": {"ink": 1},
        "knownStyles": [{"name": "film"}],
    }
    code = """
    import { axisNames, cellsOf } from './js/axes.js';
    const axes = { x: { name: "scheduler.use_karras", text: "on, off" }, y: { name: "", text: "" }, z: { name: "", text: "" } };
    const cells = (x) => [...cellsOf({ params: {} }, { ...axes, ...x }, 1, value).values()].map((each) => each.scheduler);
    console.log(JSON.stringify([axisNames(value), cells({}), cells({ y: { name: "scheduler", text: "ddim" } })]));"""
    names, own, others = run(scripts, code, form)

    expected = ["prompt", "seed", "scheduler", "scheduler.use_karras", "hires.strength", "styles"]
    assert ["model (checkpoint)", *expected, "weight of ink", "words in the prompt"] == names
    assert [{"name": "Euler", "shift": 3, "use_karras": each} for each in (True, False)] == own
    assert [{"name": "ddim", "use_karras": each} for each in (True, False)] == others


def test_the_cells_of_a_grid(scripts: Path) -> None:
    """One seed for all; axes without values, or with too many, make none and say why."""
    code = """
    import { axisProblem, axisValues, cellsOf } from './js/axes.js';
    const z = { name: "", text: "" };
    const axes = (x, y = "") => ({ x: { name: "strength", text: x }, y: { name: y && "seed", text: y }, z });
    const cells = [...cellsOf({ params: { prompt: "a" } }, axes("1, 2", "3, 4"), 9)];
    const seeds = [...cellsOf({ params: {} }, axes("1, 2"), 9).values()].map((each) => each.seed);
    const problems = [axes(""), axes("1..1000"), axes("1..20", "1..20"), axes("1, 2")].map(axisProblem);
    console.log(JSON.stringify([cells, seeds, problems, axisValues("5..1")]));"""
    cells, seeds, problems, down = run(scripts, code)

    assert ["0/0/0", "1/0/0", "0/1/0", "1/1/0"] == [place for place, _ in cells]
    assert [(1, 3), (2, 3), (1, 4), (2, 4)] == [(each["params"]["strength"], each["seed"]) for _, each in cells]
    assert [9, 9] == seeds
    assert [True, True, True, False] == [bool(each) for each in problems]
    assert "Columns" in problems[0]
    assert [5, 4, 3, 2, 1] == down


@pytest.mark.parametrize(
    ("name", "text", "sent"),
    [
        ("tiling", "true, off, 1, maybe", [True, False, True, "maybe"]),
        ("tag", "1, 2.0", ["1", "2.0"]),
        ("tag", "1..3", ["1", "2", "3"]),
        ("tags", "1|b", [["1"], ["b"]]),
        ("factor", "2, 4, x", [2, 4, "x"]),
        ("mode", "fast, 3", ["fast", "3"]),
        ("strength", "1, 2.0", [1, 2]),
    ],
)
def test_a_value_is_sent_as_its_field_sends_it(scripts: Path, name: str, text: str, sent: list[object]) -> None:
    """Switches are true or false, texts stay texts, and choices are those of the field."""
    fields = [
        {"name": "tiling", "control": "switch"},
        {"name": "tag", "control": "text"},
        {"name": "tags", "control": "text", "texts": True},
        {"name": "factor", "control": "choice", "choices": [2, 4]},
        {"name": "mode", "control": "choice", "choices": ["fast", "slow"]},
        {"name": "strength", "control": "number"},
    ]
    code = """
    import { cellsOf } from './js/axes.js';
    const [fields, name, text] = value;
    const none = { name: "", text: "" };
    const cells = cellsOf({ params: {} }, { x: { name, text }, y: none, z: none }, 0, { fields });
    console.log(JSON.stringify([...cells.values()].map((each) => each.params[name])));"""

    assert sent == run(scripts, code, [fields, name, text])


def test_words_of_a_prompt_that_is_not_in_the_request(scripts: Path) -> None:
    """The prompt of the configuration is the form's value and left out of the request; several prompts all change."""
    code = """
    import { cellsOf } from './js/axes.js';
    import { T } from './js/texts.js';
    const none = { name: "", text: "" };
    const axes = { x: { name: T.grid.words, text: "1.0|$&" }, y: none, z: none };
    const cells = (params, values) => [...cellsOf({ params }, axes, 0, { values }).values()];
    const tries = [[{}, { prompt: "size 1.0" }], [{ prompt: ["1.0", "b"] }, {}], [{}, {}]];
    console.log(JSON.stringify(tries.map((each) => cells(...each).map(({ params }) => params.prompt))));"""

    assert [["size 1.0", "size $&"], [["1.0", "b"], ["$&", "b"]], ["", ""]] == run(scripts, code)


def test_words_that_the_prompt_does_not_have_are_said(scripts: Path) -> None:
    """All outputs of their axis would be the same; of several prompts, one with them is enough."""
    code = """
    import { axisProblem } from './js/axes.js';
    import { T } from './js/texts.js';
    const none = { name: "", text: "" };
    const axes = { x: { name: T.grid.words, text: "red, blue" }, y: none, z: none };
    const prompts = ["a red star", ["a star", "a red one"], "a blue star", "", null];
    console.log(JSON.stringify(prompts.map((prompt) => axisProblem(axes, { values: { prompt } }))));"""
    found = run(scripts, code)

    assert [False, False, True, True, True] == [bool(each) for each in found]
    assert "red" in found[2]


def test_a_large_grid_is_scaled_to_what_can_be_drawn(scripts: Path) -> None:
    """Neither a side nor the whole is larger than a browser draws; a small one stays as it is."""
    code = """
    import { fittingScale } from './js/axes.js';
    console.log(JSON.stringify(value.map(([width, height]) => fittingScale(width, height))));"""
    small, wide, large = run(scripts, code, [[4000, 3000], [65_536, 10], [32_768, 32_768]])

    assert (1, 0.25, 0.25) == (small, wide, large)


def test_a_grid_is_kept_by_its_jobs(scripts: Path) -> None:
    """Each batch is read by one request, and what the server does not have any more is left out."""
    code = """
    import { keptGrid, readJobs, readKept } from './js/kept-grid.js';
    const axes = { x: { name: "seed", text: "1, 2" }, y: { name: "", text: "" }, z: { name: "", text: "" } };
    const made = { x: [1, 2], y: [null], z: [null] };
    const jobs = [["a", "b"], ["c", "b"], ["d", ""], ["e", ""], ["", ""]];
    const runs = jobs.map(([id, batch], place) => [`${place}/0/0`, { id, batch }]);
    const text = JSON.stringify(keptGrid({ axes, made, cells: new Map(runs) }));
    const asked = [];
    const read = async (path) => {
      asked.push(path);
      if (path.includes("batch=b")) return { data: [{ id: "a" }, { id: "other" }] };
      if (path.endsWith("/e")) throw Object.assign(new Error("gone"), { status: 404 });
      return { id: "d" };
    };
    const found = await readJobs(readKept(text), read);
    const away = await readJobs(readKept(text), async () => { throw new Error("away"); }).catch((error) => error.message);
    console.log(JSON.stringify({ kept: readKept(text), found: [...found.keys()], asked, away }));"""
    found = run(scripts, code)

    assert ("seed", [1, 2]) == (found["kept"]["axes"]["x"]["name"], found["kept"]["made"]["x"])
    assert ["0/0/0", "1/0/0", "2/0/0", "3/0/0"] == list(found["kept"]["cells"])
    assert (["a", "d"], "away") == (found["found"], found["away"])
    assert ["v1/jobs?batch=b&limit=1000", "v1/jobs/d", "v1/jobs/e"] == found["asked"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"axes": {}}', '{"axes": null, "made": 1, "cells": {"0/0/0": 1}}'])
def test_what_is_no_grid_is_not_restored(scripts: Path, text: str) -> None:
    """Whatever a browser has in its place, or another version of the page has kept."""
    code = "import { readKept } from './js/kept-grid.js';\nconsole.log(JSON.stringify(readKept(value)));"

    assert run(scripts, code, text) is None
