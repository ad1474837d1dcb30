"""Classes of transformers are found in its source as they are by an import."""

from __future__ import annotations

import pytest
import transformers

from octabox.catalog.components.transformers_source import is_known_class, vocabulary_files
from octabox.hub.component_files import IndexedComponent

#: Classes that models in the format of diffusers name, by how transformers has them.
CLASSES = [
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPVisionModelWithProjection",
    "T5EncoderModel",
    "UMT5EncoderModel",
    "LlamaForCausalLM",
    "Qwen2_5_VLForConditionalGeneration",
    "Gemma2Model",
    "GPT2Model",
    "SpeechT5HifiGan",
    "DPTForDepthEstimation",
    "CLIPTokenizer",
    "CLIPTokenizerFast",
    "T5Tokenizer",
    "T5TokenizerFast",
    "LlamaTokenizerFast",
    "PreTrainedTokenizerFast",
    "ByT5Tokenizer",
    "AutoTokenizer",
    "CLIPImageProcessor",
    "CLIPImageProcessorFast",
    "SiglipImageProcessor",
    "Qwen2VLProcessor",
    "AutoProcessor",
    "ClapFeatureExtractor",
]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_that_can_be_imported_is_known(cls: str) -> None:
    """Also under the names that older versions had."""
    assert hasattr(transformers, cls)
    assert is_known_class(IndexedComponent("part", "transformers", cls))


@pytest.mark.parametrize(
    "cls", ["CLIPTextModell", "NopeModel", "CLIPTokenizerr", "NopeProcessor", "NopeTokenizerFast", ""]
)
def test_a_class_that_does_not_exist_is_not(cls: str) -> None:
    """Neither is one with an empty name."""
    assert not is_known_class(IndexedComponent("part", "transformers", cls))


def test_the_name_that_diffusers_replaces_is_known() -> None:
    """Transformers has it no more; models of 2022 name it."""
    assert is_known_class(IndexedComponent("feature_extractor", "transformers", "CLIPFeatureExtractor"))


@pytest.mark.parametrize(
    "cls", ["CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast", "BertTokenizer"]
)
def test_the_files_of_a_tokenizer_are_those_of_its_class(cls: str) -> None:
    """As the imported class states them."""
    assert getattr(transformers, cls).vocab_files_names == vocabulary_files(cls)


@pytest.mark.parametrize("cls", ["ByT5Tokenizer", "NopeTokenizer", "AutoTokenizer"])
def test_a_tokenizer_without_files(cls: str) -> None:
    """One of bytes needs none, and what is not known is not required."""
    assert {} == vocabulary_files(cls)
