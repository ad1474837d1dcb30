"""How the components of a model are split, by the plans of diffusers' classes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from makers import pipelines
from octabox.config.model import ModelConfig
from octabox.engine.worker.loading.device_map import can_load_on_device
from octabox.engine.worker.performance.parallelism import (
    choose_splitting,
    has_sharded_weights,
    may_shard_weights,
    methods,
)
from octabox.errors import LoadError
from tiny import unet

#: What each of two processes does: it splits a tiny model by its weights, and compares its image with that of a whole one.
#: Diffusers refuses devices without collective operations of their own; with these numbers gloo's are as good.
SHARDED = """
import sys
import numpy, torch
from torch import distributed
import diffusers.hooks.tensor_parallel as hooks
from makers import pipelines
from octabox.config.model import ModelConfig
from octabox.engine.worker.performance.parallelism import choose_splitting, has_sharded_weights

rank, store = int(sys.argv[1]), sys.argv[2]
hooks._SUPPORTED_TP_DEVICES = (*hooks._SUPPORTED_TP_DEVICES, "cpu")
distributed.init_process_group("gloo", store=distributed.FileStore(store, 2), rank=rank, world_size=2)

def image(pipe):
    params = pipelines()["FluxPipeline"].params
    given = {name: value for name, value in params.items() if name != "strength"}
    return pipe(**given, generator=torch.Generator().manual_seed(3), output_type="np").images

whole, pipe = (pipelines()["FluxPipeline"].make() for _ in range(2))
expected = image(whole)
splitting = choose_splitting(ModelConfig(name="m", model="m", parallel={"tp_degree": 2}), pipe.components)
assert splitting.shards_weights
print(splitting.apply("cpu"))
pipe.to("cpu")
assert has_sharded_weights(pipe.components)
held = sum(getattr(each, "_local_tensor", each).numel() for each in pipe.transformer.parameters())
assert held < 0.8 * sum(each.numel() for each in whole.transformer.parameters())
assert numpy.abs(image(pipe) - expected).max() < 1e-4
"""


def config(parallel: Any) -> ModelConfig:
    """Return the configuration of a model that is split."""
    return ModelConfig(name="m", model="owner/name", parallel=parallel)


@pytest.fixture(scope="module")
def components() -> dict[str, Any]:
    """Return the components of a tiny model that diffusers has both kinds of plans for."""
    return dict(pipelines()["FluxPipeline"].make().components)


def test_the_kinds_of_parallelism_are_those_of_diffusers() -> None:
    """Their settings are the fields of its classes, and their plans attributes of its models."""
    found = {each.plan: each.settings for each in methods()}

    assert {"_cp_plan", "_tp_plan"} <= set(found)
    assert {"ulysses_degree", "ring_degree", "ulysses_anything"} <= set(found["_cp_plan"])
    assert ["tp_degree"] == found["_tp_plan"]


@pytest.mark.parametrize(
    ("parallel", "settings", "shards"),
    [
        (2, {"ulysses_degree": 2, "ulysses_anything": True}, False),
        ({"ring_degree": 3}, {"ring_degree": 3}, False),
        ({"tp_degree": 2}, {"tp_degree": 2}, True),
    ],
)
def test_settings_select_the_kind(
    components: dict[str, Any], parallel: Any, settings: dict[str, Any], *, shards: bool
) -> None:
    """A number takes the first kind that the model has a plan for, in the form that takes any size."""
    splitting = choose_splitting(config(parallel), components)

    assert splitting is not None
    assert settings == splitting.settings
    assert ["transformer"] == list(splitting.modules)
    assert shards is splitting.shards_weights


@pytest.mark.parametrize(
    ("parallel", "may"), [(1, False), (2, True), ({"ulysses_degree": 2}, False), ({"tp_degree": 2}, True)]
)
def test_weights_that_may_be_split_are_not_loaded_on_the_device(parallel: Any, *, may: bool) -> None:
    """Diffusers refuses to split what was; a number may select that kind."""
    assert may is may_shard_weights(config(parallel).parallel)
    assert may is not can_load_on_device(config(parallel).model_copy(update={"memory": "full"}), "cuda:0")


def test_a_class_with_another_plan_takes_a_number(components: dict[str, Any]) -> None:
    """By its weights, where there is only that plan."""

    class Planned(type(components["transformer"])):  # type: ignore[misc]
        """A model whose attention cannot be split."""

        _cp_plan = None

    planned = Planned.from_config(components["transformer"].config)
    splitting = choose_splitting(config(2), {"transformer": planned})

    assert splitting is not None
    assert {"tp_degree": 2} == splitting.settings


def test_a_model_on_one_device_is_not_split(components: dict[str, Any]) -> None:
    """Whatever plans there are."""
    assert choose_splitting(config(1), components) is None
    assert not has_sharded_weights(components)


@pytest.mark.parametrize("parallel", [2, {"ulysses_degree": 2}, {"tp_degree": 2}])
def test_a_model_without_a_plan_is_refused(parallel: Any, components: dict[str, Any]) -> None:
    """Plans of transformers' classes, which have the same name, are for its own kind of parallelism."""
    others = {"unet": unet(), "text_encoder": components["text_encoder_2"], "linear": torch.nn.Linear(1, 1)}
    others["linear"]._tp_plan = {}

    with pytest.raises(LoadError, match=r"diffusers has no such plan for .*UNet2DModel") as raised:
        choose_splitting(config(parallel), others)
    assert "`replicas`" in raised.value.hint


@pytest.mark.parametrize("parallel", [{"other_degree": 2}, {"tp_degree": 2, "ring_anything": True}])
def test_settings_that_no_kind_has_are_refused(parallel: Any, components: dict[str, Any]) -> None:
    """The hint lists those of each."""
    with pytest.raises(LoadError, match="no kind of parallelism of diffusers has the settings") as raised:
        choose_splitting(config(parallel), components)
    assert "ulysses_degree" in raised.value.hint
    assert "tp_degree" in raised.value.hint


def test_a_model_without_processes_cannot_be_split(components: dict[str, Any]) -> None:
    """Diffusers' error is one of the load."""
    splitting = choose_splitting(config({"tp_degree": 2}), components)

    assert splitting is not None
    with pytest.raises(LoadError, match=r"torch\.distributed must be available and initialized"):
        splitting.apply("cpu")


def test_split_weights_give_the_same_image(tmp_path: Path) -> None:
    """Each process has about half of them."""
    command, environment = [sys.executable, "-c", SHARDED], os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True, env=environment
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]

    assert [0, 0] == [process.returncode for process in processes]
    assert all("transformer over 2 devices by tp_degree=2" in output for output in outputs)
