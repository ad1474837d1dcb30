"""Names that a misspelled or shortened name may stand for."""

import pytest

from octabox.similarity import nearest

PARAMETERS = [
    *("prompt", "height", "width", "num_inference_steps", "timesteps", "sigmas", "guidance_scale", "negative_prompt"),
    *("num_images_per_prompt", "eta", "image", "mask_image", "strength", "clip_skip"),
]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("steps", "num_inference_steps"),
        ("step", "num_inference_steps"),
        ("images", "image"),
        ("Mask", "mask_image"),
        ("masks", "mask_image"),
        ("guidance", "guidance_scale"),
        ("inference-steps", "num_inference_steps"),
        ("prompr", "prompt"),
        ("sternght", "strength"),
        ("num_inference_stepz", "num_inference_steps"),
        ("negativ_prompt", "negative_prompt"),
        ("init_image", "image"),
        ("eat", "eta"),
    ],
)
def test_words_come_before_letters(name: str, first: str) -> None:
    """A part between underscores, in the singular or the plural, is meant rather than a name with similar letters."""
    assert first == nearest(name, PARAMETERS)[0]


@pytest.mark.parametrize("name", ["sigma_images", "nonsense", "size", "cfg", "image_format", "s", "_", ""])
def test_what_resembles_nothing_has_no_suggestion(name: str) -> None:
    """A wrong one is worse than none."""
    assert [] == nearest(name, [each for each in PARAMETERS if each != "image"])


def test_the_names_that_only_contain_it_follow() -> None:
    """The one with the fewest other words is first; the spelling is that of the choice."""
    assert ["Image", "mask_image"] == nearest("images", ["mask_image", "Image", "sigmas"])
    assert ["port"] == nearest("PROT", ["host", "port"], count=1)
