"""The class of a component in the index of a model exists, or the error names what is missing."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.components.faults import code_file, find_component_faults
from octabox.catalog.pipelines import Catalog
from octabox.hub.component_files import IndexedComponent

#: Package with the packages of the models of transformers.
MODELS = "transformers.models"


def folder_of(package: str) -> Path:
    """Return the folder of an installed package, which is not imported."""
    spec = find_spec(package.partition(".")[0])
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]).joinpath(*package.split(".")[1:])


def shared_packages() -> list[str]:
    """Return the packages of transformers' models that have the name of a package of diffusers' pipelines."""
    pipelines, models = ({each.name for each in folder_of(name).iterdir()} for name in ("diffusers.pipelines", MODELS))
    return sorted(name for name in pipelines & models if exported(name))


def exported(package: str) -> list[str]:
    """Return the classes with files of their own that a package of transformers' models exports."""
    found: list[str] = []
    for file in folder_of(MODELS).joinpath(package).glob("*ing_*.py"):
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                found += ast.literal_eval(node.value)
    return found


def faults(part: IndexedComponent, folder: Path, catalog: Catalog) -> list[Any]:
    """Return what is wrong with a component in a folder with one file."""
    (folder / "config.json").write_text("{}")
    return [each.message for each in find_component_faults([(part, folder)], catalog.metadata.ancestors)]


@pytest.mark.parametrize("package", shared_packages())
def test_classes_of_packages_with_the_name_of_pipelines(package: str, tmp_path: Path, catalog: Catalog) -> None:
    """Diffusers saves a class of transformers with the name of its own package there, as that of a package of pipelines."""
    names = exported(package)

    assert [] == [name for name in names if faults(IndexedComponent("part", package, name), tmp_path, catalog)]
    wrong = faults(IndexedComponent("part", package, "NopeModel"), tmp_path, catalog)
    assert ["There is no class 'NopeModel' in diffusers, which model_index.json names for part."] == wrong


def test_a_class_belongs_to_its_library(tmp_path: Path, catalog: Catalog) -> None:
    """One of diffusers is none of transformers, and the other way round; a library that is not there is named."""
    swapped = [("transformers", "AutoencoderKL"), ("diffusers", "CLIPTextModel")]

    for library, cls in swapped:
        assert ["There is no class"] == [
            each[:17] for each in faults(IndexedComponent("part", library, cls), tmp_path, catalog)
        ]
    assert ["There is no library 'nope', which model_index.json names for part."] == faults(
        IndexedComponent("part", "nope", "CLIPTextModel"), tmp_path, catalog
    )


def test_there_are_such_packages() -> None:
    """The test above has something to test."""
    assert "glm_image" in shared_packages()


def test_no_class_of_a_pipeline_counts_as_code(tmp_path: Path, catalog: Catalog) -> None:
    """An index names such a class by the last package of its module, also where that was moved to those deprecated."""
    ancestors = catalog.metadata.ancestors
    modules = {name: module.split(".") for name, (module, *_) in ancestors.items()}
    packages = {
        name: parts[-2] for name, parts in modules.items() if parts[:2] == ["diffusers", "pipelines"] and parts[3:]
    }
    parts = [IndexedComponent("part", package, name) for name, package in packages.items()]

    assert IndexedComponent("part", "wuerstchen", "PaellaVQModel") in parts
    assert [] == [part for part in parts if code_file(tmp_path, part, ancestors)]
    assert "part/nope.py" == code_file(tmp_path, IndexedComponent("part", "nope", "PaellaVQModel"), ancestors)
