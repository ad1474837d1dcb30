"""Reading a whole package."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.catalog.entries import PackageMetadata, Parameter, PipelineEntry
from octabox.catalog.reading.package import read_package


@pytest.fixture
def facts(made_up: Path) -> PackageMetadata:
    """Return what the made-up package says."""
    return read_package("brushes", made_up)


def entry(facts: PackageMetadata, name: str) -> PipelineEntry:
    """Return the pipeline of this name."""
    return next(entry for entry in facts.pipelines if entry.name == name)


def test_every_class_is_found(facts: PackageMetadata) -> None:
    """Every pipeline and scheduler is found, and stand-ins and broken files are not."""
    assert ["BrushImg2ImgPipeline", "BrushModularPipeline", "BrushOldPipeline", "BrushPipeline"] == [
        each.name for each in facts.pipelines
    ]
    assert ["DripScheduler"] == [each.name for each in facts.schedulers]
    assert "brushes.pipelines.brush.plain" == entry(facts, "BrushPipeline").module


def test_a_new_class_is_served_without_a_change(made_up: Path) -> None:
    """A class that appears in the package appears in what is read of it, with its task."""
    new = "class GlueVideoPipeline(DiffusionPipeline):\n    def __call__(self, prompt: str) -> GlueOutput: ..."
    output = "class GlueOutput(BaseOutput):\n    frames: list"
    (made_up / "pipelines" / "glue.py").write_text(f"{new}\n\n{output}\n", encoding="utf-8")

    found = entry(read_package("brushes", made_up), "GlueVideoPipeline")

    assert ("text-to-video",) == found.tasks


def test_a_call_is_described(facts: PackageMetadata) -> None:
    """Each parameter has its type, default, kind and words."""
    brush = entry(facts, "BrushPipeline")

    assert "Paints from words." == brush.description
    assert brush.swallows_kwargs
    assert "kwargs" not in {each.name for each in brush.parameters}
    prompt = "What to paint, over two lines."
    assert Parameter("prompt", "str | list[str]", "text", many=True, description=prompt) == brush.parameter("prompt")
    steps = Parameter("steps", "int", "integer", default=50, description="How many strokes.")
    assert steps == brush.parameter("steps")
    choice = Parameter("mode", "Literal['wet', 'dry']", "choice", default="wet", choices=("wet", "dry"))
    assert choice == brush.parameter("mode")


def test_a_default_may_be_an_expression(facts: PackageMetadata) -> None:
    """A default that is no literal is kept as text, and said to be that."""
    unit = entry(facts, "BrushPipeline").parameter("unit")

    assert unit is not None
    assert ("MILLIMETRE", False) == (unit.default, unit.literal)


def test_what_octabox_sets_has_its_own_kinds(facts: PackageMetadata) -> None:
    """Generators, callbacks and the shape of the answer are told from what a request may say."""
    kinds = {parameter.name: parameter.kind for parameter in entry(facts, "BrushPipeline").parameters}

    assert "generator" == kinds["generator"]
    assert "callback" == kinds["callback_on_step_end"]
    assert "internal" == kinds["return_dict"] == kinds["output_type"]
    assert "array" == kinds["prompt_embeds"]


def test_parts_and_outputs_are_described(facts: PackageMetadata) -> None:
    """Components leave plain settings out, and the output class is found under the name it was imported by."""
    brush = entry(facts, "BrushPipeline")

    assert [("paint", False), ("varnish", True)] == [(part.name, part.optional) for part in brush.components]
    assert [("images", "image", "The images.")] == [(each.name, each.kind, each.description) for each in brush.outputs]
    assert (("prompt", "prompt_embeds"),) == brush.one_of


def test_an_image_without_an_optional_type_is_needed(facts: PackageMetadata) -> None:
    """A default of None does not make an image optional, where the type does not allow None."""
    copy = entry(facts, "BrushImg2ImgPipeline")

    image = copy.parameter("image")
    assert image is not None
    assert ("image", True, True) == (image.kind, image.required, image.many)
    assert ("image-to-image",) == copy.tasks
    assert "brush" == copy.family


def test_what_is_inherited_counts(facts: PackageMetadata) -> None:
    """A class without a call of its own has that of its base, and a mixin marks it as deprecated."""
    old, brush = entry(facts, "BrushOldPipeline"), entry(facts, "BrushPipeline")

    assert brush.parameters == old.parameters
    assert old.deprecated
    assert not brush.deprecated


def test_progress_is_by_the_best_means(facts: PackageMetadata) -> None:
    """A step callback comes before a progress bar."""
    assert "callback_on_step_end" == entry(facts, "BrushPipeline").progress
    assert "progress_bar" == entry(facts, "BrushImg2ImgPipeline").progress


def test_modular_pipelines_are_read_from_their_blocks(facts: PackageMetadata) -> None:
    """The docstring of the default blocks says what they take; a type that it leaves out is the usual one of the name."""
    modular = entry(facts, "BrushModularPipeline")

    assert modular.modular
    assert ["prompt", "steps"] == [each.name for each in modular.parameters]
    assert modular.parameters[0].required
    assert Parameter("steps", "int", "integer", default=20, description="How many strokes.") == modular.parameters[1]
    assert ["paint", "easel"] == [part.name for part in modular.components]
    assert ("text-to-image",) == modular.tasks


def test_tables_of_siblings_are_read(facts: PackageMetadata) -> None:
    """Tables are read with the rows that are added to them later, and so are the classes that choose."""
    row = {"text-to-image": "BrushPipeline", "image-to-image": "BrushImg2ImgPipeline"}

    assert {"brush": row} == facts.families
    assert {"text-to-image": "AutoPipelineForText2Image"} == facts.automatic


def test_a_scheduler_has_its_settings(facts: PackageMetadata) -> None:
    """A scheduler's settings are those of its constructor, with the words of the class."""
    drip = facts.schedulers[0]

    assert (Parameter("speed", "float", "number", default=0.5, description="How fast."),) == drip.settings


def test_plans_of_model_classes_are_found(made_up: Path) -> None:
    """Inherited ones too, unless a class has none of that kind."""
    (made_up / "canvas.py").write_text(
        "class Canvas(ModelMixin):\n    _cp_plan = {'': {}}\n    _no_split_modules = []\n\n"
        "class Fresco(Canvas):\n    _tp_plan = {'a': 'colwise'}\n\n"
        "class Sketch(Canvas):\n    _cp_plan = None\n",
        encoding="utf-8",
    )

    assert {"Canvas": ("_cp_plan",), "Fresco": ("_cp_plan", "_tp_plan")} == read_package("brushes", made_up).plans
