"""What single files state about their scheduler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.predictions import SchedulerStatement, is_training_config, stated_scheduler

NOISE, V = {"prediction_type": "epsilon"}, {"prediction_type": "v_prediction"}
ZERO = {**V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
KNOWN = ("prediction_type", "rescale_betas_zero_snr", "timestep_spacing")


def stated(
    folder: Path,
    *tensors: str,
    metadata: dict[str, str] | None = None,
    config: Any = None,
    base: dict[str, Any] = NOISE,
    known: tuple[str, ...] = KNOWN,
    **requested: Any,
) -> SchedulerStatement:
    """Return what a file with these tensors, metadata and training configuration states."""
    file = folder / "x.safetensors"
    save_file({name: np.full(1, 7, "float32") for name in ("weight", *tensors)}, file, metadata)
    if config is not None:
        file.with_suffix(".yaml").write_text(config if isinstance(config, str) else json.dumps(config))
    return stated_scheduler(file, base, known, requested)


def training(**params: Any) -> dict[str, Any]:
    """Return a training configuration with these parameters."""
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"modelspec.prediction_type": "v"}, V),
        ({"modelspec.prediction_type": "epsilon"}, NOISE),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, V),
        ({"ss_base_model_version": "sd_v2_v"}, V),
        ({"ss_v2": "True", "ss_v_parameterization": "True"}, V),
        ({"ss_v2": "True", "ss_v_parameterization": "False"}, NOISE),
        ({"ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"}, ZERO),
        ({"modelspec.prediction_type": "v", "modelspec.zsnr": "true"}, ZERO),
        ({"ss_zero_terminal_snr": "True"}, {}),
        ({"ss_zero_terminal_snr": "False", "modelspec.title": "v", "prediction_type": "unknown"}, {}),
    ],
)
def test_metadata(tmp_path: Path, metadata: dict[str, str], expected: dict[str, Any]) -> None:
    """Fields of the formats of trainers; a rescaling alone has no meaning for a model that predicts the noise."""
    assert expected == stated(tmp_path, metadata=metadata).settings


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (training(parameterization="v"), V),
        (training(), NOISE),
        (training(parameterization="v", rescale_betas_zero_snr=True), ZERO),
        (
            {
                "model": {
                    "target": "sgm.Engine",
                    "params": {"scaling_config": {"target": "sgm.denoiser_scaling.VScaling"}},
                }
            },
            V,
        ),
        ({"model": "x.safetensors", "parameterization": "v"}, {}),
        ([1], {}),
        ("", {}),
    ],
)
def test_a_training_configuration(tmp_path: Path, config: Any, expected: dict[str, Any]) -> None:
    """One of the model's classes; other files of the name state nothing."""
    assert expected == stated(tmp_path, config=config).settings


def test_tensors(tmp_path: Path) -> None:
    """Markers of models that predict velocities, the second of a rescaling; the sources are named."""
    assert V == stated(tmp_path, "v_pred").settings
    found = stated(tmp_path, "v_pred", "ztsnr")

    assert ZERO == found.settings
    assert ("its tensor v_pred", "its tensor ztsnr") == found.sources
    assert found.states_prediction


def test_noise_levels_of_continuous_models(tmp_path: Path) -> None:
    """They have a scheduler of their own, with the levels in the file."""
    settings = stated(tmp_path, "edm_vpred.sigma_max", "edm_vpred.sigma_min").settings

    assert ("EDMEulerScheduler", 7.0, 7.0) == tuple(
        settings[name] for name in ("_class_name", "sigma_min", "sigma_max")
    )


def test_precedence(tmp_path: Path) -> None:
    """Tensors before a training configuration before metadata; what another source adds is kept."""
    metadata = {"modelspec.prediction_type": "epsilon", "ss_zero_terminal_snr": "True"}

    assert ZERO == stated(tmp_path, metadata=metadata, config=training(parameterization="v")).settings
    assert ZERO == stated(tmp_path, "v_pred", metadata=metadata, config=training()).settings


def test_the_configuration_of_the_model_takes_precedence(tmp_path: Path) -> None:
    """A file that states something else is not followed."""
    assert SchedulerStatement() == stated(tmp_path, "v_pred", "ztsnr", prediction_type="epsilon")
    assert V == stated(tmp_path, "v_pred", prediction_type="v_prediction").settings


def test_classes_that_lack_a_setting(tmp_path: Path) -> None:
    """One that cannot rescale is replaced; flow matching predicts neither noise nor velocities of this kind."""
    assert "_class_name" not in stated(tmp_path, "v_pred", known=KNOWN[:1]).settings
    assert "DDIMScheduler" == stated(tmp_path, "v_pred", "ztsnr", known=KNOWN[:1]).settings["_class_name"]
    assert SchedulerStatement() == stated(tmp_path, "v_pred", known=("shift",))


def test_a_pickled_file(tmp_path: Path) -> None:
    """It has no metadata, but tensors and a training configuration."""
    torch.save({"state_dict": {"v_pred": torch.zeros(0)}}, tmp_path / "x.ckpt")

    assert V == stated_scheduler(tmp_path / "x.ckpt", NOISE, KNOWN, {}).settings


@pytest.mark.parametrize("text", ["[" * 3_000, "model: {", "a: " + "x" * 200_000, "\x00"])
def test_training_configurations_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """Nested too deeply, not YAML, and too large: the error names the file."""
    with pytest.raises(IncompatibleWeightsError, match=r"x\.yaml cannot be read"):
        stated(tmp_path, config=text)


def test_aliases_are_not_expanded(tmp_path: Path) -> None:
    """A configuration of a few lines may refer to itself a billion times."""
    lines = ["a0: &a0 [1]", *(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12))]

    assert {} == stated(tmp_path, config="\n".join([*lines, "model: {target: x, params: {y: *a11}}"])).settings


def test_merged_mappings_are_not_expanded(tmp_path: Path) -> None:
    """Each of them refers twice to the one before; what they state is found."""
    lines = [f"x{level}: &x{level} {{<<: [*x{level - 1}, *x{level - 1}]}}" for level in range(1, 25)]
    model = "model: {target: ldm.models.diffusion.ddpm.LatentDiffusion, params: {<<: *x24}}"

    assert V == stated(tmp_path, config="\n".join(["x0: &x0 {parameterization: v}", *lines, model])).settings


def test_training_configurations_differ_from_those_of_models() -> None:
    """The model of one is a mapping that names a class."""
    assert is_training_config(training())
    assert not is_training_config({"model": "x"})
    assert not is_training_config(["model"])
