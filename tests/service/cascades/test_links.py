"""What passes between stages, derived from the classes of diffusers."""

from __future__ import annotations

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.service.cascades.links import choose_link, combine, link_stage

ENCODED = ("prompt_embeds", "prompt_embeds_pooled", "negative_prompt_embeds", "negative_prompt_embeds_pooled")


@pytest.mark.parametrize(
    ("first", "second", "arrays", "media", "form"),
    [
        ("IFPipeline", "IFSuperResolutionPipeline", (), "image", "pt"),
        ("IFSuperResolutionPipeline", "StableDiffusionUpscalePipeline", (), "image", "images"),
        ("KandinskyPriorPipeline", "KandinskyPipeline", ("image_embeds", "negative_image_embeds"), None, None),
        ("KandinskyV22PriorPipeline", "KandinskyV22Pipeline", ("image_embeds", "negative_image_embeds"), None, None),
        ("StableCascadePriorPipeline", "StableCascadeDecoderPipeline", ("image_embeddings", *ENCODED), None, None),
        ("WuerstchenPriorPipeline", "WuerstchenDecoderPipeline", ("image_embeddings",), None, None),
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", (), "image", "latent"),
        ("FluxPriorReduxPipeline", "FluxPipeline", ("prompt_embeds", "pooled_prompt_embeds"), None, None),
        ("FluxPipeline", "FluxImg2ImgPipeline", (), "image", "images"),
    ],
)
def test_links(first: str, second: str, arrays: tuple[str, ...], media: str | None, form: str | None) -> None:
    """Arrays pass by name, and images in the most exact form that both classes have."""
    catalog = load_catalog()
    link = link_stage([catalog.pipeline(first)], catalog.pipeline(second), ())
    assert (set(link.arrays), link.media, link.form, link.missing) == (set(arrays), media, form, ())


def test_missing_inputs() -> None:
    """A class that needs what no stage makes is not linked, unless a sibling is."""
    catalog = load_catalog()
    first, second = catalog.pipeline("IFPipeline"), catalog.pipeline("KandinskyV22Pipeline")
    assert link_stage([first], second, ()).missing == ("image_embeds", "negative_image_embeds")
    assert choose_link([first], [second], ()) is None
    family = [catalog.pipeline("IFSuperResolutionPipeline"), catalog.pipeline("IFImg2ImgSuperResolutionPipeline")]
    assert [choose_link([first], family, files).entry.name for files in ((), ("image",))] == [  # type: ignore[union-attr]
        each.name for each in family
    ]


def test_prompts_that_pass_as_embeddings() -> None:
    """A prompt is not sent next to its embeddings, nor to a class that takes none."""
    catalog = load_catalog()
    prior, decoder = catalog.pipeline("StableCascadePriorPipeline"), catalog.pipeline("StableCascadeDecoderPipeline")
    link = link_stage([prior], decoder, ())
    assert not link.takes_prompt("prompt")
    assert not link.takes_prompt("negative_prompt")
    old = link_stage([catalog.pipeline("KandinskyPriorPipeline")], catalog.pipeline("KandinskyPipeline"), ())
    assert old.takes_prompt("prompt")
    assert not old.takes_prompt("prompt_2")


def test_the_tasks_follow_from_both_ends() -> None:
    """A prior and its decoder together turn text into an image."""
    catalog = load_catalog()
    entry = combine(catalog.pipeline("KandinskyV22PriorPipeline"), catalog.pipeline("KandinskyV22Pipeline"))
    assert (entry.tasks, entry.output_kind) == (("text-to-image",), "image")
