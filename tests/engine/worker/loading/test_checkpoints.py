"""Models in single files, loaded without the network."""

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from ldm_layout import save_single_file, tiny_sd
from local_hub import LocalHub
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.conversions import Conversion
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.checkpoints import checkpoint_notes
from octabox.engine.worker.loading.conversion import _convert
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.errors import (
    IncompatibleWeightsError,
    LoadError,
    MissingDependencyError,
    RemoteCodeError,
)
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.predictions import SchedulerStatement

KIND = "StableDiffusionPipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model in diffusers' format and as single files."""
    place = tmp_path_factory.mktemp("single")
    pipe = tiny_sd(clip=True)
    pipe.save_pretrained(place / "whole")
    save_single_file(pipe, place / "all.safetensors")
    save_single_file(pipe, place / "all.ckpt")
    save_single_file(pipe, place / "bare.safetensors", without=("vae", "text_encoder"))
    save_single_file(pipe, place / "no-vae.safetensors", without=("vae",))
    return place


def loaded(model: Path, **fields: Any) -> LoadedModel:
    """Load a file."""
    return load(ModelConfig(name="x", model=str(model), **fields), KIND, WorkerOptions(device="cpu"))


def image(pipe: StableDiffusionPipeline) -> Any:
    """Return what a pipeline makes of one seed."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return pipe("a cat", num_inference_steps=2, width=16, height=16, generator=generator, output_type="np").images


@pytest.mark.parametrize("name", ["all.safetensors", "all.ckpt", "bare.safetensors", "no-vae.safetensors"])
def test_a_file_makes_the_same_image_as_the_folder(folder: Path, name: str) -> None:
    """What the file lacks comes from the folder that `config` names."""
    pipe = loaded(folder / name, config=str(folder / "whole")).pipeline

    expected = image(StableDiffusionPipeline.from_pretrained(folder / "whole"))
    assert np.array_equal(expected, image(pipe))


def test_the_file_s_own_weights_are_used(folder: Path, tmp_path: Path) -> None:
    """Only the configurations come from the folder if the file has the weights."""
    weights = load_file(folder / "all.safetensors")
    weights["model.diffusion_model.out.2.bias"] += 1
    save_file(weights, tmp_path / "changed.safetensors")

    pipe = loaded(tmp_path / "changed.safetensors", config=str(folder / "whole")).pipeline

    assert not np.array_equal(image(StableDiffusionPipeline.from_pretrained(folder / "whole")), image(pipe))


@pytest.fixture
def tiny_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the family be as small as the file."""
    pipe = StableDiffusionPipeline.from_pretrained(folder / "whole")
    data: dict[str, Any] = copy.deepcopy(dict(bundles._bundles()))
    for name, part in {"unet-1": "unet", "vae-1": "vae", "clip-l": "text_encoder"}.items():
        config = pipe.components[part].config
        own: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
        data["components"][name]["files"]["config.json"] = {
            key: value for key, value in own.items() if key[0] != "_" and key != "dtype"
        }
    monkeypatch.setattr(bundles, "_bundles", lambda: data)


@pytest.mark.usefixtures("tiny_bundle")
def test_a_file_is_loaded_with_nothing_but_what_we_ship(folder: Path, local_hub: LocalHub) -> None:
    """The bundle of its family has the configurations; no folder is needed, and the Hub is asked for nothing."""
    pipe = loaded(folder / "all.safetensors").pipeline

    reference = StableDiffusionPipeline.from_pretrained(folder / "whole")
    reference.scheduler = pipe.scheduler
    assert np.array_equal(image(reference), image(pipe))
    assert "PNDMScheduler" == type(pipe.scheduler).__name__
    assert pipe.safety_checker is None
    assert [] == local_hub.asked


def test_averaged_weights_are_left_out_in_silence(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a file of training that has both, those that are not averaged are used, as by diffusers; nothing is printed."""
    weights = load_file(folder / "all.safetensors")
    unet = {name: value for name, value in weights.items() if name.startswith("model.diffusion_model.")}
    averaged = {f"model_ema.{name.removeprefix('model.').replace('.', '')}": value + 1 for name, value in unet.items()}
    save_file(weights | averaged, tmp_path / "both.safetensors")
    capfd.readouterr()
    pipe = loaded(tmp_path / "both.safetensors", config=str(folder / "whole")).pipeline
    printed = capfd.readouterr()

    assert len(averaged) > 100  # diffusers takes fewer for something else.
    assert ("", False) == (printed.out, "EMA" in printed.err)
    assert np.array_equal(image(StableDiffusionPipeline.from_pretrained(folder / "whole")), image(pipe))


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_bundle")
def test_components_of_a_file_have_their_own_type_of_numbers(folder: Path) -> None:
    """One for the model, another for a component."""
    components = {"vae": ComponentConfig(dtype="float32")}
    pipe = loaded(folder / "all.safetensors", dtype="bfloat16", components=components).pipeline

    assert (torch.bfloat16, torch.float32) == (pipe.unet.dtype, pipe.vae.dtype)
    # Read from the file, which has float32, and not rounded on the way.
    whole = StableDiffusionPipeline.from_pretrained(folder / "whole", local_files_only=True).vae.state_dict()
    assert all(torch.equal(weight, whole[name]) for name, weight in pipe.vae.state_dict().items())


@pytest.mark.slow
def test_components_of_the_folder_that_completes_a_file_have_their_own_dtype(folder: Path) -> None:
    """They are read from the folder in that dtype."""
    components = {"vae": ComponentConfig(dtype="float32")}
    fields = {"dtype": "bfloat16", "components": components, "config": str(folder / "whole")}
    pipe = loaded(folder / "no-vae.safetensors", **fields).pipeline

    whole = StableDiffusionPipeline.from_pretrained(folder / "whole", local_files_only=True).vae.state_dict()
    assert all(torch.equal(weight, whole[name]) for name, weight in pipe.vae.state_dict().items())


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_bundle")
def test_what_a_file_lacks_may_be_named_component_by_component(folder: Path) -> None:
    """A folder for one, a file for another."""
    whole = str(folder / "whole")
    components = {
        "vae": ComponentConfig(model=str(folder / "all.safetensors")),
        "text_encoder": ComponentConfig(model=whole, subfolder="text_encoder"),
    }
    pipe = loaded(folder / "bare.safetensors", components=components).pipeline

    reference = StableDiffusionPipeline.from_pretrained(whole)
    reference.scheduler = pipe.scheduler
    assert np.array_equal(image(reference), image(pipe))


def test_what_a_file_lacks_is_told(folder: Path) -> None:
    """The error names every component and two ways to come by them."""
    with pytest.raises(IncompatibleWeightsError, match="without text_encoder, vae") as caught:
        loaded(folder / "bare.safetensors")

    assert "`config:`" in caught.value.hint
    assert "`text_encoder: {model: " in caught.value.hint


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unet/config.json", "unet: .*whole/unet is empty"),
        ("text_encoder/config.json", "text_encoder: .*whole/text_encoder is empty"),
        ("tokenizer", "tokenizer: .*whole has no folder tokenizer"),
        ("scheduler/scheduler_config.json", "scheduler: .*whole/scheduler is empty"),
    ],
)
def test_what_the_folder_that_completes_a_file_lacks_is_told(
    folder: Path, tmp_path: Path, name: str, expected: str
) -> None:
    """The error names the component, of which the file has the weights and the folder the configuration."""
    shutil.copytree(folder / "whole", tmp_path / "whole", ignore=shutil.ignore_patterns("*.safetensors"))
    damaged = tmp_path / "whole" / name
    shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()

    with pytest.raises(IncompatibleWeightsError, match=expected):
        loaded(folder / "all.safetensors", config=str(tmp_path / "whole"))


def test_tokenizers_that_cannot_be_shipped_are_told_too(tmp_path: Path) -> None:
    """A FLUX.1 denoiser file has neither text encoders nor an autoencoder."""
    save_file({"double_blocks.0.img_attn.norm.key_norm.scale": torch.zeros(1)}, tmp_path / "x.safetensors")
    config = ModelConfig(name="x", model=str(tmp_path / "x.safetensors"))

    with pytest.raises(IncompatibleWeightsError, match="text_encoder, text_encoder_2, tokenizer_2, vae"):
        load(config, "FluxPipeline", WorkerOptions(device="cpu"))


def test_a_denoiser_alone_asks_for_the_model_around_it(tmp_path: Path) -> None:
    """The error names the published model."""
    save_file({"cap_embedder.0.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    config = ModelConfig(name="x", model=str(tmp_path / "x.safetensors"))

    with pytest.raises(IncompatibleWeightsError, match="only the transformer of Lumina 2") as caught:
        load(config, "Lumina2Pipeline", WorkerOptions(device="cpu"))

    assert "Alpha-VLLM/Lumina-Image-2.0" in caught.value.hint


def test_weights_of_another_size_are_told(folder: Path) -> None:
    """A tiny file is of the family by its names, and not by its shapes."""
    config = ModelConfig(name="x", model=str(folder / "all.safetensors"))

    with pytest.raises(IncompatibleWeightsError, match=r"all\.safetensors do not fit .* have another shape"):
        load(config, KIND, WorkerOptions(device="cpu"))


UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


@pytest.mark.parametrize(
    ("name", "to", "expected"),
    [
        (f"{TEXT}encoder.layers.0.mlp.fc1.weight", None, "lack 1 of the .* tensors of CLIPTextModel: .*mlp.fc1.weight"),
        (
            f"{TEXT}final_layer_norm.bias",
            f"{TEXT}last_norm.bias",
            "final_layer_norm.bias.* others instead, .*last_norm.bias",
        ),
        (f"{TEXT}embeddings.position_embedding.weight", None, "CLIPTextModel"),
        (
            f"{UNET}input_blocks.1.0.in_layers.0.weight",
            None,
            "lack 1 of .*UNet2DConditionModel: .*resnets.0.norm1.weight",
        ),
        (f"{UNET}time_embed.0.weight", f"{UNET}time.0.weight", "lack 1 of .*time_embedding.linear_1.weight"),
        (f"{VAE}decoder.conv_in.weight", None, "AutoencoderKL|decoder.conv_in.weight"),
        (f"{VAE}encoder.mid.block_1.norm1.bias", None, "lack 1 of .*AutoencoderKL: .*mid_block.resnets.0.norm1.bias"),
    ],
)
def test_missing_tensors_of_a_file(folder: Path, tmp_path: Path, name: str, to: str | None, expected: str) -> None:
    """The error names the file, the component and what it lacks: a tensor is left out, or has another name."""
    tensors = load_file(folder / "all.safetensors")
    tensor = tensors.pop(name)
    save_file({**tensors, **({to: tensor} if to else {})}, tmp_path / "x.safetensors")

    with pytest.raises(IncompatibleWeightsError, match=rf"x\.safetensors.*({expected})"):
        loaded(tmp_path / "x.safetensors", config=str(folder / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [None, "pndm"])
def test_what_a_file_states_about_its_scheduler(folder: Path, tmp_path: Path, scheduler: str | None) -> None:
    """The scheduler of the folder predicts the noise; the note names the tensors, and how to change it."""
    tensors = load_file(folder / "all.safetensors")
    file = tmp_path / "x.safetensors"
    save_file({**tensors, "v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}, file)

    model = loaded(file, config=str(folder / "whole"), scheduler=scheduler)

    config = model.pipeline.scheduler.config
    assert ("v_prediction", True, "trailing") == (
        config.prediction_type,
        config.rescale_betas_zero_snr,
        config.timestep_spacing,
    )
    assert "tensor v_pred and its tensor ztsnr" in model.warnings[0]


@pytest.mark.usefixtures("tiny_bundle")
def test_a_class_without_a_stated_setting_is_replaced(folder: Path, tmp_path: Path) -> None:
    """That of the family cannot rescale to a final signal-to-noise ratio of zero."""
    file = tmp_path / "x.safetensors"
    save_file(
        load_file(folder / "all.safetensors"), file, {"ss_zero_terminal_snr": "True", "modelspec.prediction_type": "v"}
    )

    assert "DDIMScheduler" == type(loaded(file).pipeline.scheduler).__name__


def test_a_configured_prediction_takes_precedence(folder: Path, tmp_path: Path) -> None:
    """What the file states is not applied then, and not noted."""
    file = tmp_path / "x.safetensors"
    save_file({**load_file(folder / "all.safetensors"), "v_pred": torch.zeros(1)}, file)
    scheduler = {"name": "ddim", "prediction_type": "epsilon"}

    model = loaded(file, config=str(folder / "whole"), scheduler=scheduler)

    assert "epsilon" == model.pipeline.scheduler.config.prediction_type
    assert () == model.warnings


@pytest.mark.parametrize("name", ["lora.safetensors", "other.safetensors", "cut.safetensors", "none.safetensors"])
def test_other_files_are_told(folder: Path, tmp_path: Path, name: str) -> None:
    """A LoRA, unknown tensors, a truncated file and a missing file are errors."""
    save_file({"x.lora_A.weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((folder / "all.safetensors").read_bytes()[:-1])

    with pytest.raises(LoadError, match=name):
        loaded(tmp_path / name)


class Evil:
    """Leaves a trace if it is run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.trace,)


@pytest.mark.parametrize("as_component", [True, False])
def test_a_pickle_that_brings_code_is_refused(folder: Path, tmp_path: Path, as_component: bool) -> None:
    """As the model or as a component of one; nothing of it is run."""
    torch.save({"state_dict": Evil(tmp_path / "trace")}, tmp_path / "x.ckpt")
    whole, evil = str(folder / "whole"), str(tmp_path / "x.ckpt")
    components = {"unet": ComponentConfig(model=evil)}
    config = {"model": whole, "components": components} if as_component else {"model": evil, "config": whole}

    with pytest.raises(RemoteCodeError, match="would run code"):
        load(ModelConfig(name="x", **config), KIND, WorkerOptions(device="cpu"))

    assert not (tmp_path / "trace").exists()


def test_a_text_encoder_is_not_loaded_from_a_file(folder: Path) -> None:
    """Its library has no such thing."""
    components = {"text_encoder": ComponentConfig(model=str(folder / "all.safetensors"))}

    with pytest.raises(LoadError, match="'text_encoder' cannot be loaded from a single file"):
        loaded(folder / "whole", components=components)


def test_what_the_tensors_do_not_tell_is_said(tmp_path: Path) -> None:
    """Stable Diffusion 2 predicts the noise or v; who sets the scheduler has settled it."""
    first, words = "input_blocks.0.0.weight", "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
    tensors = {first: torch.zeros(1, 4, 1, 1), words: torch.zeros(1, 1024)}
    save_file({f"model.diffusion_model.{name}": part for name, part in tensors.items()}, tmp_path / "x.safetensors")
    config = ModelConfig(name="x", model=str(tmp_path / "x.safetensors"))

    assert "prediction_type: epsilon" in checkpoint_notes(config, SchedulerStatement())[0]
    assert () == checkpoint_notes(ModelConfig(**{**config.model_dump(), "scheduler": "euler"}), SchedulerStatement())


def quantized(weights: Mapping[str, torch.Tensor], file: Path) -> None:
    """Write weights in the format GGUF, those of linear layers in 8 bits."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(file), "flux")
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, part in weights.items():
        numbers = part.float().numpy()
        if numbers.ndim == 2 and numbers.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def quantized_folder(folder: Path) -> Path:
    """Return the folder, with the tiny model's denoiser in the format GGUF: under diffusers' names, and as published."""
    pipe = StableDiffusionPipeline.from_pretrained(folder / "whole")
    quantized(pipe.unet.state_dict(), folder / "component.gguf")
    quantized(load_file(folder / "bare.safetensors"), folder / "published.gguf")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("as_component", [True, False])
def test_a_quantized_denoiser_stays_quantized(quantized_folder: Path, as_component: bool) -> None:
    """Diffusers unpacks its numbers as they are used: what it makes is near, and not the same."""
    whole = str(quantized_folder / "whole")
    config = ModelConfig(name="x", model=str(quantized_folder / "published.gguf"), config=whole)
    if as_component:
        unet = ComponentConfig(model=str(quantized_folder / "component.gguf"))
        config = ModelConfig(name="x", model=whole, components={"unet": unet})

    pipe = load(config, KIND, WorkerOptions(device="cpu")).pipeline

    assert torch.uint8 == pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight.dtype
    near, exact = image(pipe), image(StableDiffusionPipeline.from_pretrained(whole))
    assert not np.array_equal(near, exact)
    assert np.allclose(near, exact, atol=0.05)


def test_a_quantized_denoiser_asks_for_the_model_around_it(quantized_folder: Path) -> None:
    """The error names the part, the family, and where it was published."""
    with pytest.raises(IncompatibleWeightsError, match="holds only the unet of Stable Diffusion 1") as caught:
        loaded(quantized_folder / "published.gguf")

    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in caught.value.hint


def test_without_the_package_it_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package to install."""
    monkeypatch.setattr("octabox.engine.worker.loading.components.find_spec", lambda _: None)
    (folder / "empty.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + b"\x00" * 16)
    components = {"unet": ComponentConfig(model=str(folder / "empty.gguf"))}

    with pytest.raises(MissingDependencyError, match="gguf") as caught:
        loaded(folder / "whole", components=components)

    assert "pip install gguf" in caught.value.hint


@pytest.mark.slow
def test_packed_numbers_are_unpacked_to_be_saved(quantized_folder: Path, tmp_path: Path) -> None:
    """A folder has no place for the format GGUF; what it makes stays the same."""
    whole = str(quantized_folder / "whole")
    config = ModelConfig(name="x", model=str(quantized_folder / "published.gguf"), config=whole)
    _convert(Conversion(config, KIND, tmp_path, WorkerOptions()), tmp_path)

    plain = StableDiffusionPipeline.from_pretrained(tmp_path)
    assert torch.float32 == plain.unet.dtype
    packed = load(config, KIND, WorkerOptions(device="cpu")).pipeline
    assert np.allclose(image(packed), image(plain), atol=1e-4)
