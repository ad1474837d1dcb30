"""What encoders make of weighted and long prompts: in pipelines of several families, with random weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import compel
import pytest
import torch

import makers
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.prompts.embed_cache import PromptEmbedCache
from octabox.engine.worker.prompts.hooks import PromptHooks, untruncated
from octabox.engine.worker.prompts.parsed import readings
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

WEIGHTED, NEGATIVE = "a red++ circle on a (blue)0.5 background", "ugly--"
LONG = "a red++ circle on a blue background, " * 6


def encoded(
    name: str,
    prompt: str,
    negative: str = "",
    syntax: str = "plain",
    *,
    pipe: Any = None,
    memory: PromptEmbedCache | None = None,
) -> tuple[list[torch.Tensor], PromptHooks]:
    """Return all tensors that a pipeline's own encoding gives, and what watched it."""
    pipe = pipe or makers.pipelines()[name].make()
    read = readings({"prompt": prompt, "negative_prompt": negative}, syntax)
    watch = PromptHooks(pipe, load_catalog().pipeline(name), read, memory or PromptEmbedCache())
    with torch.no_grad(), watch.installed():
        found = ENCODE[name](pipe, read["prompt"].plain, read["negative_prompt"].plain)
    return [each for each in found if isinstance(each, torch.Tensor)], watch


@pytest.mark.parametrize("prompt", [WEIGHTED, LONG])
@pytest.mark.parametrize(("name", "theirs"), [(SD, compel.CompelForSD), (XL, compel.CompelForSDXL)])
def test_video_is_weighed_as_compel_weighs_it(name: str, theirs: Any, prompt: str) -> None:
    """Prompt and negative prompt are bit by bit those of Compel's own wrapper for the family, long ones too."""
    pipe = makers.pipelines()[name].make()
    ours, watch = encoded(name, prompt, NEGATIVE, "compel", pipe=pipe)
    expected = theirs(pipe)(prompt, negative_prompt=NEGATIVE)

    assert torch.equal(expected.embeds, ours[0])
    assert torch.equal(expected.negative_embeds, ours[1])
    assert [] == watch.warnings()


def test_what_sums_a_prompt_up_is_that_of_its_plain_words() -> None:
    """The pooled embeddings of a weighted prompt are those of the words, not of the signs."""
    weighed, _ = encoded(XL, "a (red:1.5) ball", "(bad:1.2)", "a1111")
    plain, _ = encoded(XL, "a red ball", "bad")

    assert torch.equal(plain[2], weighed[2])
    assert torch.equal(plain[3], weighed[3])
    assert not torch.equal(plain[0], weighed[0])


@pytest.mark.parametrize("name", ENCODE)
def test_weights(name: str) -> None:
    """In every family, weights of nearly 1 change nearly nothing, masks included, and one of 1.5 changes the prompt alone."""
    pipe = makers.pipelines()[name].make()
    plain, _ = encoded(name, "a red ball", "bad", pipe=pipe)
    near, near_watch = encoded(name, "(a:1.0001) (red:1.0001) (ball:1.0001)", "(bad:1.0001)", "a1111", pipe=pipe)
    more, more_watch = encoded(name, "a (red:1.5) ball", "bad", "a1111", pipe=pipe)

    for one, other in zip(plain, near, strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-2)
    changed = [
        not torch.allclose(one.float(), other.float(), atol=1e-2) for one, other in zip(plain, more, strict=True)
    ]
    assert [True] == changed[:1]
    assert 1 == sum(changed)
    negative_only = {"The weights in 'negative_prompt' have no effect on this model; its plain words were used."}
    assert (negative_only if name == FLUX else set()) == set(near_watch.warnings())
    assert [] == more_watch.warnings()


@pytest.mark.parametrize("name", ENCODE)
def test_nothing_is_left_behind(name: str) -> None:
    """After a call, also one that fails, tokenizers and encoders are what they were."""
    pipe = makers.pipelines()[name].make()
    parts = [each for each in pipe.components.values() if each is not None]
    before = [(type(each), dict(vars(each))) for each in parts]
    encoded(name, "a (red:1.5) ball", "bad", "a1111", pipe=pipe)
    watch = PromptHooks(pipe, load_catalog().pipeline(name), {}, PromptEmbedCache(), clip_skip=1)
    with pytest.raises(RuntimeError), watch.installed():
        raise RuntimeError

    assert [kind for kind, _ in before] == [type(each) for each in parts]
    assert ["forward" in fields for _, fields in before] == ["forward" in vars(each) for each in parts]
    assert not any("text_model" in vars(each) for each in parts)


@pytest.mark.parametrize("name", [SD, XL, SD3])
def test_long_prompts_go_in_whole(name: str) -> None:
    """CLIP takes a long prompt by pieces, and what is shorter is filled up to its length; the last words count."""
    many = "a red circle on a blue background, " * 6
    one, watch = encoded(name, many + "cat")
    other, _ = encoded(name, many + "dog")

    assert one[0].shape == one[1].shape
    assert one[0].shape[1] > 2 * 77
    assert not torch.equal(one[0], other[0])
    assert [] == watch.warnings()


def test_a_long_negative_prompt() -> None:
    """It may be the longer one."""
    found, _ = encoded(SD, "cat", LONG)

    assert (1, 231, 32) == tuple(found[0].shape) == tuple(found[1].shape)


def test_sections_go_in_by_themselves() -> None:
    """Each section begins a piece of its own, in which nothing is known of the others."""
    found, _ = encoded(SD, "a cat BREAK a dog", "bad", "a1111")
    alone, _ = encoded(SD, "a dog", "bad")

    assert 2 * 77 == found[0].shape[1]
    assert torch.equal(alone[0], found[0][:, 77:])


@pytest.mark.parametrize(
    ("name", "encoder"), [(SANA, "text_encoder"), (PIXART, "text_encoder"), (LUMINA, "text_encoder")]
)
def test_words_that_find_no_room_are_named(name: str, encoder: str) -> None:
    """An encoder that takes no pieces loses words, and the warning has them."""
    _, watch = encoded(name, "a red circle on a blue background, " * 12 + "the end")
    (warning,) = watch.warnings()

    assert warning.startswith(f"'prompt' is longer than '{encoder}' takes; it did not read: ")
    assert "blue background" in warning


def test_an_encoder_that_only_sums_up_says_so() -> None:
    """Of Flux, CLIP gives nothing but a sum, which holds the first words alone; the other encoder reads all."""
    _, watch = encoded(FLUX, "a red circle on a blue background, " * 6)

    assert [
        "'prompt' is longer than 'text_encoder' takes, which sums it up from its first 75 tokens."
    ] == watch.warnings()


def test_a_prompt_without_end_is_refused() -> None:
    """There is a limit to the pieces."""
    with pytest.raises(InvalidParameterError, match=r"'prompt' has .* tokens"):
        encoded(SD, "cat " * 5000)


@pytest.mark.parametrize("name", ENCODE)
def test_the_second_time_is_remembered(name: str) -> None:
    """The same prompts, plain or weighted, are not encoded again, and give the same to the last bit."""
    pipe, memory = makers.pipelines()[name].make(), PromptEmbedCache()
    for syntax, prompt in (("plain", "a red ball"), ("a1111", "a (red:1.5) ball")):
        first, _ = encoded(name, prompt, "bad", syntax, pipe=pipe, memory=memory)
        misses = memory.misses
        second, watch = encoded(name, prompt, "bad", syntax, pipe=pipe, memory=memory)

        assert misses == memory.misses
        assert memory.hits
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
        assert not [each for each in watch.warnings() if "'prompt'" in each]


def test_new_words_are_not_remembered_as_old_ones() -> None:
    """A table of words that becomes longer, as textual inversion makes it, is seen."""
    pipe, memory = makers.pipelines()[SD].make(), PromptEmbedCache()
    encoded(SD, "a red ball", pipe=pipe, memory=memory)
    misses = memory.misses
    words = pipe.text_encoder.get_input_embeddings().weight.shape[0]
    pipe.text_encoder.resize_token_embeddings(words + 1, mean_resizing=False)
    encoded(SD, "a red ball", pipe=pipe, memory=memory)

    assert 2 * misses == memory.misses


def test_the_same_words_with_other_weights() -> None:
    """Prompt and negative prompt of the same words look alike inside: neither is weighed, and that is said."""
    weighed, watch = encoded(SD, "a (cat:1.5)", "a (cat:0.5)", "a1111")
    plain, _ = encoded(SD, "a cat", "a cat")

    assert torch.equal(plain[0], weighed[0])
    assert 2 == len(watch.warnings())
    assert all("has the same words" in warning for warning in watch.warnings())


def test_words_of_several_tokens_are_written_out() -> None:
    """A word of a textual inversion of several vectors stands for all of them inside weights too."""
    pipe = makers.pipelines()[SD].make()
    pipe.tokenizer.add_tokens(["<cat>", "<cat>_1"])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    near, _ = encoded(SD, "a (<cat>:1.0001)", "", "a1111", pipe=pipe)
    plain, _ = encoded(SD, "a <cat>", "", pipe=pipe)

    assert torch.allclose(plain[0], near[0], atol=1e-2)


def test_a_watched_encoder_has_its_own_signature() -> None:
    """Transformers looks at it before it generates."""
    pipe = makers.pipelines()[SD].make()
    own = inspect.signature(pipe.text_encoder.forward)
    with PromptHooks(pipe, load_catalog().pipeline(SD), {}, PromptEmbedCache()).installed():
        assert own == inspect.signature(pipe.text_encoder.forward)


def test_what_the_libraries_say_of_cuts_is_left_out() -> None:
    """They say of a long prompt that it was cut, which it was not."""
    said = ["The following part of your input was truncated because CLIP", "Something else."]

    assert ["Something else."] == untruncated(said)
