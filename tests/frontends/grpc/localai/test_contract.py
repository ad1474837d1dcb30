"""The contract, and the descriptors that are made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile_proto import SOURCE, compile_to
from octabox.frontends.grpc.localai import contract

#: Fields of the contract as LocalAI has them: message, field, number, type by protocol buffers' own number.
FACTS = [
    ("Reply", "message", 1, 12),
    ("Result", "message", 1, 9),
    ("Result", "success", 2, 8),
    ("StatusResponse", "state", 1, 14),
    ("StatusResponse", "memory", 2, 11),
    ("ModelOptions", "Model", 1, 9),
    ("ModelOptions", "F16Memory", 5, 8),
    ("ModelOptions", "LowVRAM", 9, 8),
    ("ModelOptions", "ModelFile", 21, 9),
    ("ModelOptions", "PipelineType", 26, 9),
    ("ModelOptions", "SchedulerType", 27, 9),
    ("ModelOptions", "CUDA", 28, 8),
    ("ModelOptions", "CFGScale", 29, 2),
    ("ModelOptions", "IMG2IMG", 30, 8),
    ("ModelOptions", "CLIPModel", 31, 9),
    ("ModelOptions", "CLIPSubfolder", 32, 9),
    ("ModelOptions", "CLIPSkip", 33, 5),
    ("ModelOptions", "LoraBase", 35, 9),
    ("ModelOptions", "LoraAdapter", 36, 9),
    ("ModelOptions", "Quantization", 40, 9),
    ("ModelOptions", "LoraScale", 42, 2),
    ("ModelOptions", "ControlNet", 48, 9),
    ("ModelOptions", "TrustRemoteCode", 51, 8),
    ("ModelOptions", "TensorParallelSize", 55, 5),
    ("ModelOptions", "ModelPath", 59, 9),
    ("ModelOptions", "LoraAdapters", 60, 9),
    ("ModelOptions", "LoraScales", 61, 2),
    ("ModelOptions", "Options", 62, 9),
    ("ModelOptions", "DType", 67, 9),
    ("ModelOptions", "EngineArgs", 73, 9),
    ("GenerateImageRequest", "height", 1, 5),
    ("GenerateImageRequest", "width", 2, 5),
    ("GenerateImageRequest", "step", 4, 5),
    ("GenerateImageRequest", "seed", 5, 5),
    ("GenerateImageRequest", "positive_prompt", 6, 9),
    ("GenerateImageRequest", "negative_prompt", 7, 9),
    ("GenerateImageRequest", "dst", 8, 9),
    ("GenerateImageRequest", "src", 9, 9),
    ("GenerateImageRequest", "EnableParameters", 10, 9),
    ("GenerateImageRequest", "CLIPSkip", 11, 5),
    ("GenerateImageRequest", "ref_images", 12, 9),
    ("GenerateImageRequest", "ModelIdentity", 13, 9),
    ("UpscaleImageRequest", "src", 1, 9),
    ("UpscaleImageRequest", "dst", 2, 9),
    ("UpscaleImageRequest", "scale", 3, 5),
    ("GenerateVideoRequest", "prompt", 1, 9),
    ("GenerateVideoRequest", "negative_prompt", 2, 9),
    ("GenerateVideoRequest", "start_image", 3, 9),
    ("GenerateVideoRequest", "end_image", 4, 9),
    ("GenerateVideoRequest", "width", 5, 5),
    ("GenerateVideoRequest", "height", 6, 5),
    ("GenerateVideoRequest", "num_frames", 7, 5),
    ("GenerateVideoRequest", "fps", 8, 5),
    ("GenerateVideoRequest", "seed", 9, 5),
    ("GenerateVideoRequest", "cfg_scale", 10, 2),
    ("GenerateVideoRequest", "step", 11, 5),
    ("GenerateVideoRequest", "dst", 12, 9),
    ("GenerateVideoRequest", "audio", 13, 9),
    ("GenerateVideoRequest", "params", 14, 11),
    ("GenerateVideoRequest", "ModelIdentity", 15, 9),
    ("SoundGenerationRequest", "text", 1, 9),
    ("SoundGenerationRequest", "model", 2, 9),
    ("SoundGenerationRequest", "dst", 3, 9),
    ("SoundGenerationRequest", "duration", 4, 2),
    ("SoundGenerationRequest", "temperature", 5, 2),
    ("SoundGenerationRequest", "sample", 6, 8),
    ("SoundGenerationRequest", "src", 7, 9),
    ("SoundGenerationRequest", "src_divisor", 8, 5),
    ("SoundGenerationRequest", "think", 9, 8),
    ("SoundGenerationRequest", "caption", 10, 9),
    ("SoundGenerationRequest", "lyrics", 11, 9),
    ("SoundGenerationRequest", "bpm", 12, 5),
    ("SoundGenerationRequest", "keyscale", 13, 9),
    ("SoundGenerationRequest", "language", 14, 9),
    ("SoundGenerationRequest", "timesignature", 15, 9),
    ("SoundGenerationRequest", "instrumental", 17, 8),
    ("SoundGenerationRequest", "ModelIdentity", 18, 9),
]


def test_the_descriptors_are_those_of_the_contract(tmp_path: Path) -> None:
    """Compiling the contract again gives the descriptors that are shipped."""
    compile_to(tmp_path / "again.binpb")

    assert SOURCE.with_suffix(".binpb").read_bytes() == (tmp_path / "again.binpb").read_bytes()


@pytest.mark.parametrize(("message", "field", "number", "kind"), FACTS)
def test_a_field_is_as_localai_has_it(message: str, field: str, number: int, kind: int) -> None:
    """A field has LocalAI's number and type, so that both read the same."""
    described = getattr(contract, message).DESCRIPTOR.fields_by_name[field]

    assert (number, kind) == (described.number, described.type)


def test_the_methods_are_localais() -> None:
    """The service holds the methods that are served, each with LocalAI's messages."""
    served = {name: (asked.DESCRIPTOR.name, told.DESCRIPTOR.name) for name, (asked, told) in contract.methods().items()}

    assert served == {
        "Health": ("HealthMessage", "Reply"),
        "Status": ("HealthMessage", "StatusResponse"),
        "LoadModel": ("ModelOptions", "Result"),
        "Free": ("HealthMessage", "Result"),
        "GenerateImage": ("GenerateImageRequest", "Result"),
        "GenerateVideo": ("GenerateVideoRequest", "Result"),
        "UpscaleImage": ("UpscaleImageRequest", "Result"),
        "SoundGeneration": ("SoundGenerationRequest", "Result"),
    }


def test_states_have_localais_numbers() -> None:
    """The states of a backend are numbered as LocalAI reads them."""
    assert contract.StatusResponse.State.items() == [("UNINITIALIZED", 0), ("BUSY", 1), ("READY", 2), ("ERROR", -1)]


def test_fields_that_are_not_ours_are_skipped() -> None:
    """A message of LocalAI's with fields that are not in our contract is read all the same."""
    threads = bytes([15 << 3, 4])  # ModelOptions.Threads = 4

    assert "m" == contract.ModelOptions.FromString(b"\x0a\x01m" + threads).Model
