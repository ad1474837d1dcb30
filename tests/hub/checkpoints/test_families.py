"""Families of single files, told by their tensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from octabox.catalog.pipelines import load_catalog
from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.families import detect_family, families, match_family

UNET, WORDS = "model.diffusion_model.", "conditioner.embedders."
FIRST = f"{UNET}input_blocks.0.0.weight"
SD1 = {FIRST: (320, 4, 3, 3), f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768)}
SD2 = {
    FIRST: (320, 4, 3, 3),
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
    f"{UNET}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
}
SDXL = {FIRST: (320, 4, 3, 3), f"{UNET}label_emb.0.0.weight": (1280, 2816)}
FLUX = {"double_blocks.0.img_attn.norm.key_norm.scale": (128,), "img_in.weight": (3072, 64)}
DEV = {**FLUX, "guidance_in.in_layer.bias": (3072,)}
SD3 = {"joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,), "pos_embed": (1, 36864, 1536)}
WAN = {"head.modulation": (1, 2, 5120), "patch_embedding.weight": (5120, 16, 1, 2, 2)}


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (SD1, "sd1"),
        ({**SD1, FIRST: (320, 9, 3, 3)}, "sd1-inpainting"),
        ({**SD1, FIRST: (320, 8, 3, 3)}, "instruct-pix2pix"),
        (SD2, "sd2"),
        ({**SD2, FIRST: (320, 9, 3, 3)}, "sd2-inpainting"),
        ({FIRST: (256, 7, 3, 3), f"{UNET}label_emb.weight": (1000, 1024)}, "sd2-upscale"),
        (SDXL, "sdxl"),
        ({**SDXL, "v_pred": (0,)}, "sdxl"),
        ({**SDXL, "edm_mean": (4,)}, "playground"),
        ({**SDXL, FIRST: (320, 9, 3, 3)}, "sdxl-inpainting"),
        ({**SDXL, FIRST: (320, 8, 3, 3)}, "sdxl-edit"),
        ({**SDXL, f"{UNET}label_emb.0.0.weight": (1536, 2560)}, "sdxl-refiner"),
        (SD3, "sd3"),
        ({UNET + name: shape for name, shape in SD3.items()}, "sd3"),
        ({**SD3, "joint_blocks.37.x_block.mlp.fc1.weight": (1, 1)}, "sd3.5-large"),
        ({**SD3, "joint_blocks.0.x_block.attn2.qkv.weight": (1, 1)}, "sd3.5-medium"),
        (FLUX, "flux-schnell"),
        (DEV, "flux-dev"),
        ({UNET + name: shape for name, shape in DEV.items()}, "flux-dev"),
        ({**DEV, "img_in.weight": (3072, 384)}, "flux-fill"),
        ({**DEV, "img_in.weight": (3072, 128)}, "flux-control"),
        ({**FLUX, "distilled_guidance_layer.in_proj.bias": (1,)}, "chroma"),
        (WAN, "wan"),
        ({**WAN, "patch_embedding.weight": (5120, 36, 1, 2, 2)}, "wan-i2v"),
        ({**WAN, "vace_blocks.0.after_proj.bias": (1,)}, "wan-vace"),
        ({"cap_embedder.0.weight": (2304,)}, "lumina2"),
        ({"cap_embedder.0.weight": (2304,), "layers.0.adaLN_modulation.0.weight": (1, 1)}, "z-image"),
        ({"net.x_embedder.proj.1.weight": (4096, 72), "net.blocks.0.self_attn.q_proj.weight": (1, 1)}, "cosmos2-video"),
    ],
)
def test_a_file_is_told_by_names_and_shapes(shapes: dict[str, tuple[int, ...]], name: str) -> None:
    """The special is told from the general, with a prefix or without."""
    family = match_family(shapes)

    assert family is not None
    assert name == family.name


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"layer.weight": (1, 1)},
        {**SD1, FIRST: (320, 5, 3, 3)},
        {**SD2, f"{UNET}label_emb.0.0.weight": (1280, 2048)},
    ],
)
def test_what_fits_nothing_is_of_no_family(shapes: dict[str, tuple[int, ...]]) -> None:
    """A first layer of another width is another model: there is no nearest."""
    assert match_family(shapes) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lora_unet_x.lora_down.weight", "a LoRA"),
        ("unet.x.lora_A.weight", "a LoRA"),
        ("unet.x.lora_A.default.weight", "a LoRA"),
        ("emb_params", "a textual inversion"),
        ("ip_adapter.1.to_k_ip.weight", "an IP-Adapter"),
        ("control_model.time_embed.0.weight", "a ControlNet"),
        ("text_model.embeddings.position_embedding.weight", "a text encoder"),
        ("down_blocks.0.motion_modules.0.x", "a motion adapter"),
    ],
)
def test_what_is_no_model_is_told_with_its_place(tmp_path: Path, name: str, words: str) -> None:
    """The error says what the file is and where it belongs."""
    save_file({name: torch.zeros(1)}, tmp_path / "x.safetensors")

    with pytest.raises(IncompatibleWeightsError, match=words) as caught:
        detect_family(tmp_path / "x.safetensors")

    assert caught.value.hint


def test_an_unknown_file_is_told_with_some_of_its_names(tmp_path: Path) -> None:
    """Its owner may know them, and is told what to write."""
    save_file({"strange.weight": torch.zeros(1)}, tmp_path / "sd1.safetensors")

    with pytest.raises(IncompatibleWeightsError, match=r"strange\.weight") as caught:
        detect_family(tmp_path / "sd1.safetensors")

    assert "`pipeline:`" in caught.value.hint


def test_components_without_tensors_are_missing() -> None:
    """The denoiser is there where the family was told by it, with a prefix or without."""
    by_name = {family.name: family for family in families()}

    assert ("vae", "text_encoder") == by_name["sd1"].missing(SD1)
    assert ("vae",) == by_name["sd1"].missing({**SD1, "cond_stage_model.transformer.x": (1,)})
    assert ("vae", "text_encoder", "text_encoder_2") == by_name["flux-dev"].missing(DEV)


def test_every_family_names_a_pipeline_and_components_that_it_has() -> None:
    """The data agree with the catalog."""
    pipelines = load_catalog().pipelines
    for family in families():
        assert bool(family.pipeline) != bool(family.not_a_model), family.name
        if not family.pipeline:
            continue
        assert bool(family.part) != bool(family.parts), family.name
        components = {component.name for component in pipelines[family.pipeline].components}
        if components:
            assert {*(family.parts or ()), *filter(None, [family.part])} <= components, family.name
