"""What a folder says of itself."""

from pathlib import Path

import pytest

from octabox.errors import IncompatibleWeightsError, ModelNotFoundError
from octabox.hub.folder import folder_index, index_components, index_file, is_hub_id


@pytest.mark.parametrize("text", ["owner/name", "stabilityai/stable-diffusion-xl-base-1.0", "a/b_c", "0x/1.5"])
def test_an_owner_and_a_name_are_a_hub_id(text: str) -> None:
    """Letters, digits, dots, dashes and underscores on both sides of one slash."""
    assert is_hub_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "/owner/name",
        "./owner",
        "../name",
        "a/b/c",
        "owner/",
        "a b/c",
        "a/b\n",
        "C:\\a/b",
        "~/b",
        "a/b--c",
        "a/b..c",
        "a/b.git",
        "a/b.safetensors",
        "a/b.GGUF",
        "ä/b",
        "a/" + "b" * 100,
        "https://x/y",
    ],
)
def test_paths_and_other_text_are_none(text: str) -> None:
    """A checkpoint in a folder is a path, though it looks like a Hub id."""
    assert not is_hub_id(text)


@pytest.mark.parametrize("name", ["model_index.json", "modular_model_index.json"])
def test_either_index_makes_a_folder_a_model(tmp_path: Path, name: str) -> None:
    """Its content is returned as it is."""
    (tmp_path / name).write_text('{"_class_name": "X", "unet": ["diffusers", "UNet"]}')

    assert {"_class_name": "X", "unet": ["diffusers", "UNet"]} == folder_index(tmp_path)
    assert tmp_path / name == index_file(tmp_path)


def test_a_model_that_brings_its_own_code_names_a_file_too(tmp_path: Path) -> None:
    """That is diffusers' way to write it."""
    (tmp_path / "model_index.json").write_text('{"_class_name": ["pipeline", "X"]}')

    assert ["pipeline", "X"] == folder_index(tmp_path)["_class_name"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"[]", "must hold a JSON object, not list"),
        (b"{}", "`_class_name` is missing"),
        (b'{"_class_name": 5}', "`_class_name` is missing"),
        (b'{"_class_name": []}', "`_class_name` is missing"),
    ],
)
def test_a_broken_index_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    """The error names the file and what is wrong with it."""
    (tmp_path / "model_index.json").write_bytes(content)

    with pytest.raises(IncompatibleWeightsError) as caught:
        folder_index(tmp_path)

    assert caught.value.message.startswith(str(tmp_path / "model_index.json"))
    assert words in caught.value.message


def test_what_is_no_models_folder_is_told(tmp_path: Path) -> None:
    """A folder without an index, a file, and nothing at all."""
    file = tmp_path / "a.safetensors"
    file.touch()

    with pytest.raises(IncompatibleWeightsError, match=r"is not a model folder: it has no model_index\.json"):
        folder_index(tmp_path)
    with pytest.raises(IncompatibleWeightsError, match="is a single file"):
        folder_index(file)
    with pytest.raises(ModelNotFoundError, match="There is no folder"):
        folder_index(tmp_path / "missing")
    assert index_file(tmp_path / "missing") is None


def test_components_are_told_from_settings() -> None:
    """Custom code of the pipeline and lists of numbers are no components; those that are left out have no class."""
    index = {
        "_class_name": ["pipeline", "MyPipeline"],
        "_diffusers_version": "0.42.1",
        "vae": ["diffusers", "AutoencoderKL"],
        "image_encoder": [None, None],
        "transformer": ["diffusers", "FluxTransformer2DModel", {"repo": "owner/name"}],
        "latents_mean": [0.1, 0.2],
        "names": ["one"],
        "requires_safety_checker": True,
    }

    assert index_components(index) == {
        "vae": ("diffusers", "AutoencoderKL"),
        "image_encoder": (None, None),
        "transformer": ("diffusers", "FluxTransformer2DModel"),
    }
