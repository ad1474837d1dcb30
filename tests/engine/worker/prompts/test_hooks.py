"""What encoders make of weighted and long prompts: in pipelines of several families, with random weights."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Any

import compel
import pytest
import torch

import makers
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.prompts.embed_cache import PromptEmbedCache
from octabox.engine.worker.prompts.hooks import PromptHooks
from octabox.engine.worker.prompts.parsed import parse_prompts
from octabox.engine.worker.prompts.text_encoders import find_text_encoders
from octabox.errors import InvalidParameterError

SD, XL, SD3, FLUX = "StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline"
SANA, LUMINA, PIXART, WAN = "SanaPipeline", "Lumina2Pipeline", "PixArtAlphaPipeline", "WanPipeline"

#: How each family encodes its prompts, by the pipeline, the prompt and the negative prompt.
ENCODE: dict[str, Callable[[Any, str, str], Any]] = {
    SD: lambda pipe, words, no: pipe.encode_prompt(words, "cpu", 1, True, no),
    XL: lambda pipe, words, no: pipe.encode_prompt(words, device="cpu", negative_prompt=no),
    SD3: lambda pipe, words, no: pipe.encode_prompt(words, None, None, negative_prompt=no),
    FLUX: lambda pipe, words, no: pipe.encode_prompt(words, None),
    SANA: lambda pipe, words, no: pipe.encode_prompt(words, True, no, max_sequence_length=32),
    LUMINA: lambda pipe, words, no: pipe.encode_prompt(words, True, no),
    PIXART: lambda pipe, words, no: pipe.encode_prompt(words, True, no),
    WAN: lambda pipe, words, no: pipe.encode_prompt(words, no),
}

#: Parameters of the calls; the tiny text encoders of some families take no more tokens.
PARAMS = {"max_sequence_length": 32}

WEIGHTED, NEGATIVE = "a red++ circle on a (blue)0.5 background", "ugly--"
LONG = "a red++ circle on a blue background, " * 6


def encode(
    name: str,
    prompt: str,
    negative: str = "",
    syntax: str = "plain",
    *,
    pipe: Any = None,
    cache: PromptEmbedCache | None = None,
) -> tuple[list[torch.Tensor], list[str]]:
    """Return all tensors of a pipeline's own encoding, and the warnings of its hooks."""
    pipe = pipe or makers.pipelines()[name].make()
    prompts = parse_prompts({"prompt": prompt, "negative_prompt": negative}, syntax)
    hooks = PromptHooks(pipe, load_catalog().pipeline(name), prompts, cache or PromptEmbedCache(), params=PARAMS)
    with torch.no_grad(), hooks.installed():
        found = ENCODE[name](pipe, prompts["prompt"].text, prompts["negative_prompt"].text)
    warnings: list[str] = []
    hooks.add_warnings(warnings)
    return [each for each in found if isinstance(each, torch.Tensor)], warnings


@pytest.mark.parametrize("prompt", [WEIGHTED, LONG])
@pytest.mark.parametrize(("name", "theirs"), [(SD, compel.CompelForSD), (XL, compel.CompelForSDXL)])
def test_clip_is_weighted_as_by_compel(name: str, theirs: Any, prompt: str) -> None:
    """Prompt embeddings equal those of Compel's own wrapper for the family, also of long prompts."""
    pipe = makers.pipelines()[name].make()
    ours, warnings = encode(name, prompt, NEGATIVE, "compel", pipe=pipe)
    expected = theirs(pipe)(prompt, negative_prompt=NEGATIVE)

    assert torch.equal(expected.embeds, ours[0])
    assert torch.equal(expected.negative_embeds, ours[1])
    assert [] == warnings


def test_pooled_embeddings_have_no_weights() -> None:
    """The pooled embeddings of a weighted prompt are those of its text without the syntax."""
    weighted, _ = encode(XL, "a (red:1.5) ball", "(bad:1.2)", "a1111")
    plain, _ = encode(XL, "a red ball", "bad")

    assert torch.equal(plain[2], weighted[2])
    assert torch.equal(plain[3], weighted[3])
    assert not torch.equal(plain[0], weighted[0])


@pytest.mark.parametrize("name", ENCODE)
def test_weights(name: str) -> None:
    """In every family, weights near 1 change almost nothing, masks included, and one of 1.5 changes only the prompt."""
    pipe = makers.pipelines()[name].make()
    plain, _ = encode(name, "a red ball", "bad", pipe=pipe)
    near, near_warnings = encode(name, "(a:1.0001) (red:1.0001) (ball:1.0001)", "(bad:1.0001)", "a1111", pipe=pipe)
    more, more_warnings = encode(name, "a (red:1.5) ball", "bad", "a1111", pipe=pipe)

    for one, other in zip(plain, near, strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-2)
    changed = [
        not torch.allclose(one.float(), other.float(), atol=1e-2) for one, other in zip(plain, more, strict=True)
    ]
    assert [True] == changed[:1]
    assert 1 == sum(changed)
    negative_only = {"The weights in 'negative_prompt' have no effect on this model; the prompt was used without them."}
    assert (negative_only if name == FLUX else set()) == set(near_warnings)
    assert [] == more_warnings


@pytest.mark.parametrize("name", ENCODE)
def test_hooks_are_removed(name: str) -> None:
    """After a call, also one that fails, tokenizers and encoders have no hooks."""
    pipe = makers.pipelines()[name].make()
    parts = [each for each in pipe.components.values() if each is not None]
    before = [(type(each), dict(vars(each))) for each in parts]
    encode(name, "a (red:1.5) ball", "bad", "a1111", pipe=pipe)
    prompts = parse_prompts({"prompt": "a (red:1.5) ball"}, "a1111")
    hooks = PromptHooks(pipe, load_catalog().pipeline(name), prompts, PromptEmbedCache(), params={"clip_skip": 1})
    with pytest.raises(RuntimeError), hooks.installed():
        raise RuntimeError

    assert [kind for kind, _ in before] == [type(each) for each in parts]
    assert ["forward" in fields for _, fields in before] == ["forward" in vars(each) for each in parts]
    assert not any("text_model" in vars(each) for each in parts)


@pytest.mark.parametrize("name", [SD, XL, SD3])
def test_long_prompts_are_encoded_in_chunks(name: str) -> None:
    """CLIP encodes a long prompt in chunks, shorter ones are padded to its length, and the last words have an effect."""
    many = "a red circle on a blue background, " * 6
    one, warnings = encode(name, many + "cat")
    other, _ = encode(name, many + "dog")

    assert one[0].shape == one[1].shape
    assert one[0].shape[1] > 2 * 77
    assert not torch.equal(one[0], other[0])
    assert [] == warnings


def test_a_long_negative_prompt() -> None:
    """The negative prompt may be longer than the prompt."""
    found, _ = encode(SD, "cat", LONG)

    assert (1, 231, 32) == tuple(found[0].shape) == tuple(found[1].shape)


def test_sections_are_encoded_separately() -> None:
    """Each section starts a new chunk, which does not depend on the others."""
    found, _ = encode(SD, "a cat BREAK a dog", "bad", "a1111")
    alone, _ = encode(SD, "a dog", "bad")

    assert 2 * 77 == found[0].shape[1]
    assert torch.equal(alone[0], found[0][:, 77:])


@pytest.mark.parametrize(
    ("name", "encoder"), [(SANA, "text_encoder"), (PIXART, "text_encoder"), (LUMINA, "text_encoder")]
)
def test_truncated_words_are_reported(name: str, encoder: str) -> None:
    """The warning contains the words that an encoder without chunks has truncated."""
    _, (warning,) = encode(name, "a red circle on a blue background, " * 12 + "the end")

    assert warning.startswith(f"'prompt' is longer than '{encoder}' takes; it did not read: ")
    assert "blue background" in warning


def test_pooled_embeddings_of_long_prompts_are_reported() -> None:
    """Flux uses only the pooled embedding of CLIP, which encodes the first chunk."""
    _, warnings = encode(FLUX, "a red circle on a blue background, " * 2 + "a red circle " * 30)

    assert ["'prompt' is longer than 'text_encoder' takes, which encodes only its first 75 tokens."] == warnings


def test_a_prompt_may_be_too_long() -> None:
    """The number of chunks is limited."""
    with pytest.raises(InvalidParameterError, match=r"'prompt' has .* tokens"):
        encode(SD, "cat " * 5000)


@pytest.mark.parametrize("name", ENCODE)
def test_repeated_prompts_are_cached(name: str) -> None:
    """Repeated prompts, weighted or not, are not encoded again, and give equal tensors."""
    pipe, cache = makers.pipelines()[name].make(), PromptEmbedCache()
    for syntax, prompt in (("plain", "a red ball"), ("a1111", "a (red:1.5) ball")):
        first, _ = encode(name, prompt, "bad", syntax, pipe=pipe, cache=cache)
        misses = cache.misses
        second, warnings = encode(name, prompt, "bad", syntax, pipe=pipe, cache=cache)

        assert misses == cache.misses
        assert cache.hits
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
        assert not [each for each in warnings if "'prompt'" in each]


def test_a_larger_vocabulary_is_not_cached() -> None:
    """A prompt is encoded again after textual inversion has enlarged the embedding table."""
    pipe, cache = makers.pipelines()[SD].make(), PromptEmbedCache()
    encode(SD, "a red ball", pipe=pipe, cache=cache)
    misses = cache.misses
    words = pipe.text_encoder.get_input_embeddings().weight.shape[0]
    pipe.text_encoder.resize_token_embeddings(words + 1, mean_resizing=False)
    encode(SD, "a red ball", pipe=pipe, cache=cache)

    assert 2 * misses == cache.misses


def test_the_same_text_with_other_weights() -> None:
    """A prompt and a negative prompt of the same text have equal tokens: both lose their weights, with a warning."""
    weighted, warnings = encode(SD, "a (cat:1.5)", "a (cat:0.5)", "a1111")
    plain, _ = encode(SD, "a cat", "a cat")

    assert torch.equal(plain[0], weighted[0])
    assert 2 == len(warnings)
    assert all("has the same text" in warning for warning in warnings)


def test_textual_inversions_of_several_vectors() -> None:
    """A textual inversion of several vectors is expanded in weighted prompts too."""
    pipe = makers.pipelines()[SD].make()
    pipe.tokenizer.add_tokens(["<cat>", "<cat>_1"])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    near, _ = encode(SD, "a (<cat>:1.0001)", "", "a1111", pipe=pipe)
    plain, _ = encode(SD, "a <cat>", "", pipe=pipe)

    assert torch.allclose(plain[0], near[0], atol=1e-2)


def test_a_hooked_encoder_keeps_its_signature() -> None:
    """Transformers inspects it before it generates."""
    pipe = makers.pipelines()[SD].make()
    prompts = parse_prompts({"prompt": "a (red:1.5) ball"}, "a1111")
    signature = inspect.signature(pipe.text_encoder.forward)
    with PromptHooks(pipe, load_catalog().pipeline(SD), prompts, PromptEmbedCache()).installed():
        assert "forward" in vars(pipe.text_encoder)
        assert signature == inspect.signature(pipe.text_encoder.forward)


@pytest.mark.parametrize("name", ENCODE)
def test_a_plain_prompt_has_no_hooks(name: str) -> None:
    """Tokenizers and encoders are called without a frame of Octabox between, and give what they give alone."""
    pipe = makers.pipelines()[name].make()
    with torch.no_grad():
        alone = [each for each in ENCODE[name](pipe, "a red ball", "bad") if isinstance(each, torch.Tensor)]
    encoders = [each.module for each in find_text_encoders(pipe)]
    frames: list[str] = []

    def record(*_: object) -> None:
        frames.extend(frame.filename for frame in traceback.extract_stack())

    for module in (part for encoder in encoders for part in encoder.modules() if part is not encoder):
        module.register_forward_pre_hook(record)
    found, warnings = encode(name, "a red ball", "bad", pipe=pipe)

    assert frames
    assert not any("octabox/engine/worker" in each for each in frames)
    assert all(torch.equal(one, other) for one, other in zip(alone, found, strict=True))
    assert [] == warnings


def test_hooks_are_installed_where_they_are_needed() -> None:
    """Tokenizers are hooked for weights and long prompts, and an encoder's forward pass also for cached prompts."""
    pipe, cache = makers.pipelines()[SD].make(), PromptEmbedCache()

    def hooked(prompt: str, **params: Any) -> tuple[bool, bool]:
        prompts = parse_prompts({"prompt": prompt}, "a1111")
        with PromptHooks(pipe, load_catalog().pipeline(SD), prompts, cache, params=params).installed():
            return hasattr(type(pipe.tokenizer), "octabox_hooks"), "forward" in vars(pipe.text_encoder)

    assert (False, False) == hooked("a red ball")
    assert (False, False) == hooked("a red ball", clip_skip=1)
    assert (True, True) == hooked("a (red:1.5) ball")
    assert (True, True) == hooked("cat " * 80)
    encode(SD, "a red ball", "bad", pipe=pipe, cache=cache)
    assert (False, True) == hooked("a red ball")
    assert (False, True) == hooked("bad")
    assert (False, False) == hooked("a blue ball")


@pytest.mark.parametrize(("prompt", "is_long"), [("cat " * 20, False), ("cat " * 80, True), ("a (red:1.5) cat", True)])
def test_warnings_of_libraries_about_truncation(prompt: str, is_long: bool) -> None:
    """With hooks, which know of chunks, they are removed; others are kept."""
    messages = ["The following part of your input was truncated because CLIP", "Something else."]
    prompts = parse_prompts({"prompt": prompt}, "a1111")
    hooks = PromptHooks(makers.pipelines()[SD].make(), load_catalog().pipeline(SD), prompts, PromptEmbedCache())
    hooks.add_warnings(messages)

    assert is_long is (messages[0] == "Something else.")
    assert "Something else." in messages
