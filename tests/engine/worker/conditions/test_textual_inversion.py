"""Embeddings that a model is taught as it is loaded: what their words show, and which are left out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import makers
from octabox.engine.worker.conditions.textual_inversion import load_embeddings
from trained import EMBEDDINGS, image, pipeline, shows


@pytest.fixture(scope="module")
def taught() -> Any:
    """Return the embedded model with trained embeddings."""
    pipe = pipeline()
    assert {"plumstar": "plumstar", "ruby": "ruby"} == load_embeddings(pipe, str(EMBEDDINGS)).words
    return pipe


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "seen"),
    [
        ("a ruby square on a white background", ("square", "red", "white")),
        ("a plumstar on a white background", ("star", "purple", "white")),
        ("ruby circle, white background", ("circle", "red", "white")),
    ],
)
def test_a_word_shows_what_it_was_trained_for(taught: Any, prompt: str, seen: tuple[str, str, str]) -> None:
    """One vector means red, two together mean a purple star."""
    assert [seen] * 2 == [shows(image(taught, prompt, seed), seen[1]) for seed in range(2)]


def test_other_prompts_stay_as_they_were(taught: Any) -> None:
    """Words that are not in the prompt change no byte of its image."""
    assert image(pipeline(), steps=3).tobytes() == image(taught, steps=3).tobytes()


def test_a_word_is_no_part_of_a_longer_one(taught: Any) -> None:
    """And it is the file's name as it is spelled."""
    tokens = taught.tokenizer.tokenize

    assert ["ruby"] == [piece for piece in tokens("a ruby, red") if piece == "ruby"]
    assert "ruby" not in tokens("rubys and Ruby")


def test_files_of_other_trainers(tmp_path: Path) -> None:
    """A1111's nested .pt, diffusers' tensor by token, and a single vector are loaded."""
    vectors = load_file(EMBEDDINGS / "plumstar.safetensors")["emb_params"]
    torch.save(
        {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "other"}, tmp_path / "nest.pt"
    )
    torch.save({"<plum>": vectors}, tmp_path / "table.bin")
    save_file({"<plum>": vectors[0].clone()}, tmp_path / "lone.safetensors")
    pipe = pipeline()

    loaded = load_embeddings(pipe, str(tmp_path))
    assert {"<plum>": "lone", "lone": "lone", "nest": "nest", "table": "table"} == loaded.words
    assert ["'<plum>' in the prompt is the embedding lone, not table, which has the same word."] == (
        loaded.warnings("a <plum> star")
    )
    assert ["nest", "nest_1"] == pipe.tokenizer.tokenize(pipe.maybe_convert_prompt("nest", pipe.tokenizer))
    made = shows(image(pipe, "a nest on a white background"), "purple")
    assert ("star", "purple", "white") == made


def test_a_file_with_several_tokens_has_vectors_for_each(tmp_path: Path) -> None:
    """Tensors of one width are for a token each, which is a word; the name of the file is none of them."""
    vectors = load_file(EMBEDDINGS / "plumstar.safetensors")["emb_params"]
    save_file({"<plum>": vectors, "<none>": vectors[:1] * 0}, tmp_path / "two.safetensors")
    pipe = pipeline()

    assert {"<plum>": "two", "<none>": "two"} == load_embeddings(pipe, str(tmp_path)).words
    weights = pipe.text_encoder.get_input_embeddings().weight
    ids = pipe.tokenizer.convert_tokens_to_ids(["<plum>", "<plum>_1", "<none>"])
    assert torch.equal(torch.cat([vectors, vectors[:1] * 0]), weights[ids].detach())


def test_no_token_of_another_word_is_overwritten(tmp_path: Path) -> None:
    """A word of which the token for a later vector exists is left out: that token keeps its vector."""
    vectors = load_file(EMBEDDINGS / "plumstar.safetensors")["emb_params"]
    save_file({"emb_params": vectors}, tmp_path / "zebra.safetensors")
    pipe = pipeline()
    pipe.tokenizer.add_tokens(["zebra_1"])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    weights = pipe.text_encoder.get_input_embeddings().weight.detach().clone()

    loaded = load_embeddings(pipe, str(tmp_path))
    assert {} == loaded.words
    assert torch.equal(weights, pipe.text_encoder.get_input_embeddings().weight)
    (warning,) = loaded.warnings("a zebra")
    assert "already has this token" in warning


def test_those_that_do_not_fit_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Incompatible embeddings are logged with the reason, and the model is unchanged."""
    save_file({"emb_params": torch.zeros(1, 768)}, tmp_path / "wide.safetensors")
    save_file({"clip_l": torch.zeros(1, 64), "clip_g": torch.zeros(1, 128)}, tmp_path / "two.safetensors")
    save_file({"emb_params": torch.full((1, 64), torch.nan)}, tmp_path / "nan.safetensors")
    save_file({"emb_params": torch.zeros(1, 64)}, tmp_path / "new-word.safetensors")
    save_file({"a": torch.zeros(2, 2, 2)}, tmp_path / "model.safetensors")
    (tmp_path / "short.safetensors").write_bytes(b"\x08\x00")
    torch.save({"call": print}, tmp_path / "code.pt")
    save_file({"emb_params": torch.zeros(1, 64)}, tmp_path / "r.safetensors")
    pipe = pipeline()
    before = len(pipe.tokenizer)
    with caplog.at_level(logging.INFO, "octabox.adapters"):
        taught = load_embeddings(pipe, str(tmp_path))
        assert ("new-word",) == tuple(taught.words)
    said = {record.getMessage().split()[2]: record.getMessage() for record in caplog.records}

    assert before + 1 == len(pipe.tokenizer)
    assert "768 wide, and the model's 64" in said["wide"]
    assert "for 2 text encoders" in said["two"]
    assert "not finite" in said["nan"]
    assert "tensors other than" in said["model"]
    assert "run code" in said["code"]
    assert "has no word 'r'" in said["r"]
    assert ["'r' in the prompt is not the embedding r: the tokenizer already has this token; rename its file."] == (
        taught.warnings("the letter r, red")
    )
    assert "its vectors are 768 wide" in taught.warnings("a wide red circle")[0]
    assert "short" in said


def test_two_encoders_are_taught_together(tmp_path: Path) -> None:
    """A model with two text encoders accepts a file with vectors for both only."""
    pipe = makers.pipelines()["StableDiffusionXLPipeline"].make()
    first, second = (part.get_input_embeddings().weight.shape[1] for part in (pipe.text_encoder, pipe.text_encoder_2))
    both = {"clip_l": torch.ones(2, first), "clip_g": torch.ones(2, second)}
    save_file(both, tmp_path / "both.safetensors")

    assert {"both": "both"} == load_embeddings(pipe, str(tmp_path)).words
    for tokenizer, encoder in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
        place = tokenizer.convert_tokens_to_ids("both_1")
        assert bool((encoder.get_input_embeddings().weight[place] == 1).all())


@pytest.mark.parametrize("folder", [None, "/nowhere"])
def test_no_folder_is_no_word(folder: str | None) -> None:
    """A missing folder has no embeddings."""
    assert {} == load_embeddings(pipeline(), folder).words


def test_a_pipeline_without_words_is_taught_none() -> None:
    """It reads no prompt."""
    assert {} == load_embeddings(makers.pipelines()["DDPMPipeline"].make(), str(EMBEDDINGS)).words


def test_each_of_its_names_is_a_word(tmp_path: Path) -> None:
    """The token in the file, the name of the file and that of its folder are loaded with the same vector."""
    vector = load_file(EMBEDDINGS / "ruby.safetensors")["emb_params"][0].clone()
    for name in ("zgem", "zstone"):
        (tmp_path / name).mkdir()
        torch.save({f"<{name}>": vector}, tmp_path / name / "learned_embeds.bin")
    pipe = pipeline()
    loaded = load_embeddings(pipe, str(tmp_path))

    assert {"<zgem>", "zgem", "learned_embeds", "<zstone>", "zstone"} == {*loaded.words}
    weights = pipe.text_encoder.get_input_embeddings().weight
    for word in loaded.words:
        assert [word] == [piece for piece in pipe.tokenizer.tokenize(f"a {word} circle") if "circle" not in piece][1:]
        assert torch.equal(vector, weights[pipe.tokenizer.convert_tokens_to_ids(word)])
    assert ["'learned_embeds' in the prompt is the embedding zgem, not zstone, which has the same word."] == (
        loaded.warnings("a learned_embeds circle")
    )
    assert ["'<Zgem>' in the prompt is not the embedding zgem, whose word is written '<zgem>'."] == (
        loaded.warnings("a <Zgem> circle")
    )
    assert [] == loaded.warnings("a <zgem> circle, zgemstone and <zstone>")
