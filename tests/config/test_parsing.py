"""Reading files of model configurations."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from octabox.config.model import ModelConfig
from octabox.config.parsing import ParsedConfig, fields_at, read_models
from octabox.config.sections.scheduler import SchedulerConfig

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], ParsedConfig]:
    """Return a function that reads a text as ``given.yaml``."""

    def read_text(text: str) -> ParsedConfig:
        file = tmp_path / "given.yaml"
        file.write_text(dedent(text))
        return read_models(file)

    return read_text


def lines(reading: ParsedConfig) -> list[str]:
    """Return the problems without their folder."""
    return [str(problem).replace(f"{reading.file.parent}/", "") for problem in reading.problems]


def test_our_own_shape_is_read(read: Callable[[str], ParsedConfig]) -> None:
    """Every key becomes the field of its name; a scheduler may be a mere name."""
    reading = read("""
        name: sdxl
        model: owner/name
        scheduler: euler_a
        defaults: {guidance_scale: 7.5}
        components: {vae: {model: owner/vae, dtype: float32}}
        adapters: [{lora: style.safetensors, weight: 0.5}]
        """)

    (model,) = reading.models
    assert () == reading.problems
    assert ("sdxl", "owner/name", reading.file) == (model.name, model.model, model.path)
    assert SchedulerConfig(name="euler_a") == model.scheduler
    assert ({"guidance_scale": 7.5}, "float32", 0.5) == (
        model.defaults,
        model.part("vae").dtype,
        model.adapters[0].weight,
    )


def test_a_model_without_a_name_has_its_files(read: Callable[[str], ParsedConfig]) -> None:
    """``given.yaml`` configures ``given``."""
    assert ["given"] == [model.name for model in read("model: owner/name").models]


def test_a_file_may_hold_several_models(read: Callable[[str], ParsedConfig]) -> None:
    """In a list, an invalid one does not affect the others, and both formats may be mixed."""
    reading = read("""
        - {name: a, model: owner/a}
        - {name: b, modelx: owner/b}
        - {name: c, parameters: {model: owner/c}}
        - {model: owner/d}
        """)

    assert ["a", "c"] == [model.name for model in reading.models]
    assert [
        "given.yaml:3:3: error: `model` is missing.",
        "given.yaml:3:13: error: There is no key `modelx`. (did you mean model?)",
        "given.yaml:5:3: error: `name` is missing.",
    ] == lines(reading)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: a/b\nschedular: euler", "2:1: error: There is no key `schedular`. (did you mean scheduler?)"),
        (
            "model: a/b\nscheduler_type: x",
            "2:1: error: There is no key `scheduler_type`. (it is LocalAI's; here it is `scheduler`)",
        ),
        ("model: a/b\nxyz: 1", "2:1: error: There is no key `xyz`."),
        ("model: a/b\npath: /etc", "2:1: error: There is no key `path`."),
        (
            "model: a/b\nscheduler: {name: e, settingx: {}, settings: {}}",
            "2:22: error: There is no key `scheduler.settingx`. (did you mean settings?)",
        ),
        (
            "model: a/b\ncomponents:\n  model: {dtpe: auto}",
            "3:11: error: There is no key `components.model.dtpe`. (did you mean dtype?)",
        ),
        ("model: a/b\ndefaults: [1]", "2:1: error: `defaults` must be a mapping (key: value), not [1]."),
        ("model: a/b\nname: 5", '2:1: error: `name` must be text, not 5. (write "5" in quotes)'),
        ("model: a/b\nallow_remote_code: 7", "2:1: error: `allow_remote_code` must be a list, not 7."),
        (
            "model: a/b\nallow_remote_code: [{repo: a/b, revision: main}]",
            "2:33: error: `allow_remote_code.0.revision` must be a commit or a tag, since the content of a branch changes",
        ),
        (
            "model: a/b\ncomponents:\n  controlnet: [{model: x}, {dtpe: auto}]",
            "3:29: error: There is no key `components.controlnet.1.dtpe`. (did you mean dtype?)",
        ),
        (
            "model: a/b\ncomponents: {controlnet: [{model: x}, {dtype: half}]}",
            "2:40: error: `components.controlnet.1.dtype` must be one of 'auto', 'float32', 'float16' or 'bfloat16', not",
        ),
        (
            "model: a/b\ncomponents: {controlnet: [{model: x}, {dtype: float16}]}",
            "2:14: error: `components.controlnet` must have a `model` for each component of the list, not [{'model': 'x'}, {",
        ),
        (
            "model: a/b\nadapters: [{lora: x, weight: a}]",
            "2:22: error: `adapters.0.weight` must be a number, not 'a'.",
        ),
        (
            "model: a/b\nadapters: [{lora: x, weight: 99}]",
            "2:22: error: `adapters.0.weight` must be at most 10, not 99.",
        ),
        (
            "model: a/b\ndtype: fp16",
            "2:1: error: `dtype` must be one of 'auto', 'float32', 'float16' or 'bfloat16', not 'fp16'. (did you",
        ),
        ("model: a/b\ndtype: 1\ndtype: auto", "2:1: error: `dtype` must be one of"),
        ("name: x", "1:1: error: `model` is missing."),
        ("model:", "1:1: error: `model` must be text, not nothing."),
        ("model: ''", "1:1: error: `model` must be text that is not empty, not ''."),
        ("{name: /x, model: a/b}", "1:2: error: `name` must be text that does not start"),
        ("model: a/b\nseed: -1", "2:1: error: `seed` must be at least 0, not -1."),
    ],
)
def test_what_is_wrong_is_told_with_its_place(read: Callable[[str], ParsedConfig], text: str, problem: str) -> None:
    """Each mistake names its line and column, what was expected, and the nearest name."""
    reading = read(text)

    assert () == reading.models
    assert lines(reading)[0].startswith(f"given.yaml:{problem}")


@pytest.mark.parametrize("text", ["", "# nothing", "hello", "- 5", "tags: [a]\nlicense: mit"])
def test_a_file_that_configures_no_model_is_a_warning(read: Callable[[str], ParsedConfig], text: str) -> None:
    """A file such as ``metadata.yaml`` may be in the folder; it is reported as not read."""
    reading = read(text)

    assert ((), ["warning"]) == (reading.models, [problem.severity for problem in reading.problems])
    assert "not the configuration of a model" in reading.problems[0].message


def test_a_key_that_stands_twice_keeps_the_model_from_being_served(read: Callable[[str], ParsedConfig]) -> None:
    """It may be meant either way, so neither is taken; the file's other models are not touched."""
    reading = read("""
        - {name: a, model: a/b, model: a/c}
        - {name: b, model: a/b}
        """)

    assert ["b"] == [model.name for model in reading.models]
    assert ["given.yaml:2:25: error: `0.model` is a duplicate key, first set in line 2. (remove one of them)"] == lines(
        reading
    )


def test_a_shape_is_told_by_its_keys(read: Callable[[str], ParsedConfig]) -> None:
    """One foreign key among our own is a mistake, not another shape."""
    ours, theirs = read("model: a/b\nbackend: diffusers"), read("parameters: {model: a/b}\npipeline: x")

    assert ["given.yaml:2:1: error: There is no key `backend`."] == lines(ours)
    assert ["LocalAI's configuration has no key `pipeline`."] == [problem.message for problem in theirs.problems]


def test_keys_of_nested_mappings_are_known() -> None:
    """Suggestions are keys of the same mapping."""
    assert {"name", "settings"} == fields_at(("scheduler",))
    assert "subfolder" in fields_at(("components", "vae"))
    assert {"lora", "weight", "weights"} == fields_at(("adapters", 0))
    assert frozenset() == fields_at(("defaults", "x"))
    assert "path" not in fields_at(())


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: str(file.stem))
def test_the_examples_are_right(file: Path) -> None:
    """What we ship as an example has no problem, and carries the name of its file."""
    reading = read_models(file)

    assert ((), [file.stem]) == (reading.problems, [model.name for model in reading.models])


def test_a_configuration_can_be_written_and_read_again() -> None:
    """Nothing is lost on the way through JSON, but the place of its file."""
    (model,) = read_models(EXAMPLES / "sdxl.yaml").models

    again = ModelConfig.model_validate_json(model.model_dump_json())

    assert model.model_copy(update={"path": None}) == again


@pytest.mark.parametrize("key", ["parallel_config", "tensor_parallel_size"])
def test_other_names_of_parallelism_lead_to_ours(key: str, read: Callable[[str], ParsedConfig]) -> None:
    """A model with another program's key is not served on one device by that."""
    reading = read(f"""
        model: owner/name
        {key}: 2
        """)
    (line,) = lines(reading)

    assert () == reading.models
    assert line.startswith("given.yaml:3:")
    assert f"There is no key `{key}`" in line
    assert "here it is `parallel`" in line


def test_keys_that_do_not_go_together_are_a_problem_of_the_model(read: Callable[[str], ParsedConfig]) -> None:
    """The message has no key of its own, and shows no mapping."""
    reading = read("""
        model: owner/name
        parallel: 2
        memory: group_offload
        """)
    (line,) = lines(reading)

    assert "The model must have no other `memory` than auto or full, since the model is split by `parallel`." in line
