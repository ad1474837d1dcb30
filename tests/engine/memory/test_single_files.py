"""The weights of single files by component, with those of the model that completes them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFWriter
from safetensors.torch import load_file, save_file

from ldm_layout import save_single_file, tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.memory.single_files import single_file_elements, single_file_libraries
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.memory_modes.decision import decide
from octabox.engine.worker.memory_modes.measuring import file_sizes

#: Tensors by which the denoiser of FLUX.1 dev is known, without the prefix that files with all components have.
FLUX = {
    "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
    "guidance_in.in_layer.bias": (32,),
    "img_in.weight": (32, 64),
}

#: How many weights these tensors have.
FLUX_WEIGHTS = 128 + 32 + 32 * 64


def config(model: Path, **fields: Any) -> ModelConfig:
    """Return the configuration of a model."""
    return ModelConfig.model_validate({"name": "x", "model": str(model), **fields})


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with all components of a tiny Stable Diffusion model."""
    file = tmp_path_factory.mktemp("file") / "sd.safetensors"
    save_single_file(tiny_sd(), file)
    return file


@pytest.fixture
def completing(tmp_path: Path) -> Path:
    """Return the folder of a complete model of FLUX: its denoiser, an autoencoder and two encoders."""
    for name, elements in (("transformer", 999), ("vae", 10), ("text_encoder", 20), ("text_encoder_2", 5000)):
        (tmp_path / "flux" / name).mkdir(parents=True)
        save_file({"w": torch.zeros(elements)}, tmp_path / "flux" / name / "model.safetensors")
    (tmp_path / "flux" / "model_index.json").write_text(
        '{"_class_name": "FluxPipeline", "transformer": ["diffusers", "T"], "vae": ["diffusers", "V"], '
        '"text_encoder": ["transformers", "C"], "text_encoder_2": ["transformers", "E"]}',
        encoding="utf-8",
    )
    return tmp_path / "flux"


def test_a_file_counts_by_component(stable_diffusion: Path) -> None:
    """Each as its own tensors are in memory, of which a setting of one component changes the dtype of that one alone."""
    tensors = load_file(stable_diffusion)
    prefixes = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model."}
    expected = {
        name: 4 * sum(each.numel() for tensor, each in tensors.items() if tensor.startswith(prefix))
        for name, prefix in prefixes.items()
    }

    assert expected == weight_bytes(config(stable_diffusion), "cpu")
    halved = weight_bytes(config(stable_diffusion, components={"unet": {"dtype": "float16"}}), "cpu")
    assert {**expected, "unet": expected["unet"] // 2} == halved
    without = weight_bytes(config(stable_diffusion, components={"vae": None}), "cpu")
    assert {name: size for name, size in expected.items() if name != "vae"} == without


def test_the_encoders_of_a_file_leave_its_device(stable_diffusion: Path) -> None:
    """So that a file is not offloaded by layers where less is enough, as with a folder of the same model."""
    sizes = file_sizes(config(stable_diffusion), "cuda:0", WorkerOptions())
    assert sizes is not None
    assert {"text_encoder"} == sizes.encoders
    total, encoder = sum(sizes.components.values()), sizes.components["text_encoder"]

    assert "encoder_offload" == decide(sizes, encoder, total, "cuda:0").mode
    assert "model_cpu_offload" == decide(sizes, 0, max(sizes.components.values()), "cuda:0").mode


@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
def test_what_a_denoiser_lacks_is_counted(tmp_path: Path, completing: Path, suffix: str) -> None:
    """A file that holds the denoiser alone takes the other components of the model that completes it."""
    file = tmp_path / f"flux{suffix}"
    if suffix == ".gguf":
        writer = GGUFWriter(file, "flux")
        for name, shape in FLUX.items():
            writer.add_tensor(name, torch.zeros(shape).numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        own = file.stat().st_size
    else:
        save_file({name: torch.zeros(shape) for name, shape in FLUX.items()}, file)
        own = 2 * FLUX_WEIGHTS
    rest = {"vae": 20, "text_encoder": 40, "text_encoder_2": 10_000}
    completed = config(file, config=str(completing))

    assert {"transformer": own, **rest} == weight_bytes(completed, "cuda:0")
    assert {"transformer": own, **rest, "text_encoder_2": 5000} == weight_bytes(
        config(file, config=str(completing), components={"text_encoder_2": {"storage": "float8_e4m3fn"}}), "cuda:0"
    )
    sizes = file_sizes(completed, "cuda:0", WorkerOptions())
    assert sizes is not None
    assert {"text_encoder", "text_encoder_2"} == sizes.encoders
    assert {"transformer"} == sizes.denoisers


def test_only_what_a_file_lacks_is_counted(tmp_path: Path, completing: Path) -> None:
    """Of a file with further components the others come from the model that completes it."""
    file = tmp_path / "flux.safetensors"
    tensors = {f"model.diffusion_model.{name}": torch.zeros(shape) for name, shape in FLUX.items()}
    save_file({**tensors, "vae.w": torch.zeros(7), "text_encoders.clip_l.w": torch.zeros(8)}, file)

    assert {"transformer": 2 * FLUX_WEIGHTS, "vae": 14, "text_encoder": 16, "text_encoder_2": 10_000} == weight_bytes(
        config(file, config=str(completing)), "cuda:0"
    )
    assert {"transformer", "vae", "text_encoder"} == set(weight_bytes(config(file), "cuda:0") or {})


def test_a_file_that_is_not_known_counts_as_a_whole(tmp_path: Path) -> None:
    """One that cannot be read, one of an unknown family, and one that is no model."""
    unknown, lora = tmp_path / "unknown.safetensors", tmp_path / "lora.safetensors"
    save_file({"a": torch.zeros(8)}, unknown)
    save_file({"x.lora_down.weight": torch.zeros(6)}, lora)
    code = tmp_path / "code.ckpt"
    code.write_bytes(pickle.dumps(print))

    for file, elements in ((unknown, {"F32": 8}), (lora, {"F32": 6}), (code, None)):
        found = single_file_elements(config(file), file)
        assert {"model"} == set(found)
        assert elements is None or elements == dict(found["model"])
        assert {} == single_file_libraries(config(file), file)
