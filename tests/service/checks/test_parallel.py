"""Models that no plan of diffusers can split over devices, found without loading them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.service.checks.parallel import find_parallel_problems


def problems(pipeline: str, model: str = "owner/name", parallel: int = 2) -> list[Problem]:
    """Return the problems of a model of a class."""
    config = ModelConfig.model_validate({"name": "m", "model": model, "parallel": parallel})
    catalog = load_catalog()
    return list(find_parallel_problems(Entry(config, Path("m.yaml")), catalog.pipeline(pipeline), catalog))


@pytest.mark.parametrize("pipeline", ["FluxPipeline", "WanPipeline", "QwenImagePipeline"])
def test_a_class_with_a_planned_component_has_no_problem(pipeline: str) -> None:
    """The plans are read from the source of diffusers."""
    assert [] == problems(pipeline)


@pytest.mark.parametrize("pipeline", ["StableDiffusionPipeline", "PixArtSigmaPipeline"])
def test_a_class_without_one_has_a_problem(pipeline: str) -> None:
    """Unless it is on one device; the hint names the classes of components with plans."""
    (problem,) = problems(pipeline)

    assert ("parallel", "error") == (problem.key, problem.severity)
    assert f"{pipeline} cannot be split over devices" in problem.message
    assert "FluxTransformer2DModel" in problem.hint
    assert [] == problems(pipeline, parallel=1)


def test_the_components_of_a_folder_count(tmp_path: Path) -> None:
    """Not those that its class may have as well."""
    index = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "SD3Transformer2DModel"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))

    assert 1 == len(problems("FluxPipeline", str(tmp_path)))
