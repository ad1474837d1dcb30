"""Configuration files of any content: each is a model or a problem at `octabox check`, and a typed error at a server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import strategies as st

from fuzz.budget import fuzz
from fuzz.schemas import some_of, values_of
from fuzz.test_http import check_answer
from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.cli.check import command
from octabox.config import localai
from octabox.config.discovery import discover
from octabox.config.model import ModelConfig
from octabox.config.parsing import MODEL_KEYS
from octabox.config.sections.scheduler import SchedulerConfig
from octabox.errors import ConfigError
from serving import running_server

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

#: Seconds in which `octabox check` must have read a file of the limits of its size.
LIMIT = 30

#: Names that mean something in one of the keys, and sources: of a model, of none, out of the folder.
WORDS = st.sampled_from(
    [
        str(demo.FOLDER),
        "demo",
        "x",
        "self",
        "owner/name",
        "../..",
        "/dev/zero",
        "/dev/stdin",
        ".",
        "",
        "~nobody/x",
        "x" * 5000,
        "a\0b",
        "StableDiffusionPipeline",
        "text-to-image",
        "FluxPipeline",
        "euler",
        "DDIMScheduler",
        "unet",
        "vae",
        "float16",
        "auto",
        "cuda:7",
        "5m",
        "prompt",
        "width",
        "a1111",
        "fast",
        "a.safetensors",
        "b.yaml",
        "\u202e\ud800",
        "\N{PILE OF POO}",
    ]
)

#: Scalars: words, and numbers at the edges of what fields hold.
SCALARS = WORDS | st.sampled_from([None, True, False, 0, 1, -1, 3, 64, 2**53, 2**63, 2**64, 10**400, 0.5, 1e308, -0.0])

#: Keys at any level: those of the models, of their sections and of LocalAI's format, and others.
KEYS = st.sampled_from(
    sorted(
        {
            *MODEL_KEYS,
            *localai.top_keys(),
            *SchedulerConfig.model_fields,
            *(
                "model",
                "task",
                "params",
                "lora",
                "weight",
                "weights",
                "subfolder",
                "quantization",
                "quant_backend",
                "omit",
            ),
            *("unet", "vae", "text_encoder", "controlnet", "scheduler", "transformer", "repo", "revision", "devices"),
            *("prompt", "width", "num_inference_steps", "guidance_scale", "num_inference_step", "parameters", "alias"),
        }
    )
) | st.text(max_size=8)

#: Values of any type at any depth.
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


SCHEMA = ModelConfig.model_json_schema()

#: Values of each key of a model.
MODEL = {name: values_of(each, WORDS, SCHEMA["$defs"]) for name, each in SCHEMA["properties"].items()}

#: Stages of a cascade: names, or models of their own.
STAGES = st.lists(
    WORDS
    | some_of(
        {"model": WORDS}, {name: values_of(each, WORDS, SCHEMA["$defs"]) for name, each in SCHEMA["properties"].items()}
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a model that would be served, of which a few keys have any value; or keys that need not go together."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.dictionaries(KEYS, VALUES, max_size=5))
    sources: Any = {"stages": STAGES} if draw(st.booleans()) else {"model": st.just(str(demo.FOLDER))}
    return draw(
        some_of(sources, {name: each for name, each in MODEL.items() if name not in {"name", "stages", "model"}})
    )


#: Parts of YAML that no value is written as: aliases, circles, tags, merges, documents, deep and long ones.
PARTS = st.sampled_from(
    [
        "&a [*a]",
        "&a {model: *a}",
        "{<<: *b}",
        "<<: [1]",
        "[" * 3000,
        "{a: " * 300,
        "- " * 500,
        "!!python/object/apply:os.system [touch x]",
        "!!binary aGk=",
        "!!timestamp 2001-01-01",
        "? [a]\n: b",
        "---\nmodel: x",
        "'",
        '"\\ud800"',
        "0x" + "f" * 500,
        "1" * 5000,
        ".inf",
        "1_000",
        "2001-01-01",
        "\t",
        "\ufeff",
        "%YAML 9.9",
        "&x x\n*x : 1",
    ]
) | st.builds(
    lambda count: "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, count)), st.just(12)
)


def written(values: Any) -> str:
    """Return values as YAML; what YAML cannot hold is JSON."""
    try:
        return str(yaml.safe_dump(values, allow_unicode=True, width=2**31))
    except (yaml.YAMLError, ValueError):
        return json.dumps(values)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a configuration file: of one model or of several, with or without parts of any YAML; or one of any text."""
    values: Any = draw(configurations() | st.lists(configurations(), max_size=3))
    text = written(values)
    for part in draw(st.lists(PARTS, max_size=2)) if draw(st.integers(0, 3)) == 0 else ():
        key = draw(KEYS)
        text += f"\n{json.dumps(key)}: {part}\n" if draw(st.booleans()) else f"\n{part}\n"
    kind = draw(st.sampled_from(["utf-8"] * 15 + ["utf-16"]))
    return text.encode(kind, "replace")


def check_folder(folder: Path) -> None:
    """Check that `octabox check` ends in time, with a verdict and without a traceback."""
    begun = time.monotonic()
    result = CliRunner().invoke(command, [str(folder), "--json"], standalone_mode=False)

    assert time.monotonic() - begun < LIMIT
    assert result.exception is None or isinstance(result.exception, ConfigError), repr(result.exception)
    json.loads(result.stdout)


def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files in a folder, whose models may be stages of each other; nothing that a file names is executed."""
    # No accelerators are looked for, which takes a process and seconds.
    monkeypatch.setenv("OCTABOX_ENGINE", "ray")
    load_catalog()  # It is read once, which takes longer than any check.
    names = ("x.yaml", "self.yml")

    def check(contents: tuple[bytes, bytes]) -> None:
        for name, content in zip(names, contents, strict=True):
            (tmp_path / name).write_bytes(content)
        found = discover(tmp_path)
        assert all(problem.message for problem in found.problems)
        check_folder(tmp_path)

    assert fuzz(check, st.tuples(files(), files()), 0.1)
    assert {*names} == {file.name for file in tmp_path.iterdir()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path, Path]]:
    """Return a client of a server, its folder of models, and its log."""
    folder = tmp_path_factory.mktemp("fuzz")
    models, log = folder / "models", folder / "log"
    models.mkdir()
    flags = ["--log-file", str(log), "--max-steps", "3", "--max-resident", "1"]
    with (
        running_server(models, *flags) as url,
        httpx.Client(base_url=url, timeout=2 * LIMIT, trust_env=False) as client,
    ):
        yield client, models, log


def test_models_of_a_server(server: tuple[httpx.Client, Path, Path]) -> None:
    """A folder that changes while a server runs: lists, descriptions and requests of each model have a typed response."""
    client, models, log = server

    def check(content: bytes) -> None:
        (models / "x.yaml").write_bytes(content)
        listed = client.get("/v1/models")
        assert 200 == listed.status_code, listed.text
        for name in [each["id"] for each in listed.json()["data"]][:2]:
            described = client.get(f"/v1/models/{name}/schema")
            made = client.post(
                "/v1/images/generations",
                json={"model": name, "prompt": "a red circle", "size": "64x64", "num_inference_steps": 2},
            )
            for answer in (described, made):
                check_answer(answer.status_code, answer.content, log)

    assert fuzz(check, files(), 0.1)
