"""Token counts of prompts, compared with the tokenizers of transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.pulls.pull import pull
from octabox.service.forms.tokens import TokenCount, count_model_tokens, count_tokens

TEXTS = ["", "a red circle", "A RED  circle, 12 of them; don't!", "a large yellow star on a blue background " * 20]


def _expected(text: str) -> int:
    tokenizer = CLIPTokenizer.from_pretrained(demo.FOLDER / "tokenizer")
    return len(tokenizer(text)["input_ids"])


@pytest.mark.parametrize("text", TEXTS)
def test_counts_are_those_of_the_library(text: str) -> None:
    """Special tokens count too, and what is longer than the limit is counted all the same."""
    assert [TokenCount("tokenizer", _expected(text), 24)] == count_tokens(demo.FOLDER, text)


@pytest.mark.parametrize("text", TEXTS)
def test_files_of_older_models(text: str, tmp_path: Path) -> None:
    """A vocabulary and merges count as the file that holds both."""
    shutil.copytree(demo.FOLDER, tmp_path / "model")
    folder = tmp_path / "model" / "tokenizer"
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    # That of CLIP has more than 1 MiB; words without merges are in no text.
    more = {f"unused{number:040}</w>": len(model["vocab"]) + number for number in range(20_000)}
    (folder / "vocab.json").write_text(json.dumps({**model["vocab"], **more}))
    assert (folder / "vocab.json").stat().st_size > 2**20
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))

    assert [TokenCount("tokenizer", _expected(text), 24)] == count_tokens(tmp_path / "model", text)


def test_weights_are_no_text() -> None:
    """In a syntax with weights the words alone are counted; a wrong weight is an error."""
    plain = count_tokens(demo.FOLDER, "a red circle")

    assert plain == count_tokens(demo.FOLDER, "a (red:1.3) [circle]", "a1111")
    assert plain == count_tokens(demo.FOLDER, "a red++ (circle)1.3", "compel")
    assert plain != count_tokens(demo.FOLDER, "a (red:1.3) circle")
    with pytest.raises(InvalidParameterError):
        count_tokens(demo.FOLDER, "a (red:1000) circle", "a1111")


def test_what_cannot_be_counted(tmp_path: Path) -> None:
    """A tokenizer in another format has no count, and what is no folder has no tokenizers."""
    shutil.copytree(demo.FOLDER, tmp_path / "model")
    (tmp_path / "model" / "tokenizer" / "tokenizer.json").write_text("{")

    assert [TokenCount("tokenizer", None, 24)] == count_tokens(tmp_path / "model", "a red circle")
    assert [] == count_tokens(tmp_path / "nothing", "a red circle")
    assert [] == count_tokens(tmp_path, "a red circle")


async def test_a_model_of_the_hub(local_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted by its files in the cache, also if a component comes from elsewhere; without them there is no count."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    local_hub.add("org/shapes", folder_files(demo.FOLDER))
    text = "a red circle"
    config = ModelConfig(name="shapes", model="org/shapes")
    before = count_model_tokens(config, text)
    await pull(make_plan(PullRequest("org/shapes")))
    small = tmp_path / "small"
    shutil.copytree(demo.FOLDER / "tokenizer", small / "words")
    settings = json.loads((small / "words" / "tokenizer_config.json").read_text())
    (small / "words" / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 9}))

    def counted(**components: object) -> list[TokenCount]:
        configured = ModelConfig.model_validate({**config.model_dump(), "components": components})
        return count_model_tokens(configured, text)

    count = _expected(text)
    assert ([], [TokenCount("tokenizer", count, 24)]) == (before, counted())
    assert [TokenCount("tokenizer", count, 24)] == counted(vae={"model": "org/other"})
    assert [TokenCount("tokenizer", count, 9)] == counted(tokenizer={"model": str(small), "subfolder": "words"})
    assert [TokenCount("tokenizer", None, 24)] == counted(tokenizer={"model": "org/other"})
    assert [] == counted(tokenizer=None)
