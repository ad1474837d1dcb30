"""An image for each IP-Adapter, how strongly they work, and what is said where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import InvalidRequestError, RequestError
from octabox.service.bounds import Limits
from octabox.service.planning import Plan, plan_request
from octabox.service.served_model import ServedModel
from octabox.types import GenerationRequest

IMAGES, SCALE = "ip_adapter_image", "ip_adapter_scale"
PLAIN = "StableDiffusionPipeline"


def planned(*scales: float, defaults: Any = None, **params: Any) -> Plan:
    """Return the plan of a request to a model with IP-Adapters of these strengths."""
    adapters = [{"model": "somewhere", "scale": scale} for scale in scales]
    fields = {"name": "thing", "model": "somewhere", "ip_adapters": adapters, "defaults": defaults or {}}
    served = ServedModel(ModelConfig.model_validate(fields), load_catalog().pipeline(PLAIN))
    request = GenerationRequest(model="thing", params={"prompt": "x", **params})
    return plan_request(request, served, load_catalog(), Limits())


@pytest.mark.parametrize(
    ("scales", "given", "expected"),
    [
        ((1.0,), {}, 1.0),
        ((0.6,), {}, 0.6),
        ((0.6,), {SCALE: 0}, 0),
        ((0.6,), {SCALE: [0.3]}, 0.3),
        ((0.6, 0.2), {}, [0.6, 0.2]),
        ((0.6, 0.2), {SCALE: 0.5}, 0.5),
        ((0.6, 0.2), {SCALE: [0.5, 1]}, [0.5, 1]),
        ((0.6,), {"defaults": {SCALE: 0.4}}, 0.4),
    ],
)
def test_the_strength_is_always_told(scales: tuple[float, ...], given: dict[str, Any], expected: Any) -> None:
    """By the request, the defaults or the configuration of each, so that it stands in the metadata."""
    images = b"one" if len(scales) == 1 else [b"one", b"two"]
    found = planned(*scales, **{IMAGES: images, **given})

    assert PLAIN == found.pipeline.name
    assert expected == found.runs[0][0][SCALE]
    assert () == found.warnings


def test_without_an_image_nothing_is_said() -> None:
    """A strength without one has no effect, which is a warning where the request asked for it."""
    assert SCALE not in planned(0.6).runs[0][0]
    assert SCALE not in planned(0.6, defaults={SCALE: 0.4}).runs[0][0]
    found = planned(0.6, **{SCALE: 0.5})

    assert SCALE not in found.runs[0][0]
    assert ("'ip_adapter_scale' has no effect without 'ip_adapter_image'.",) == found.warnings


@pytest.mark.parametrize(
    ("scales", "params", "parameter", "said"),
    [
        ((), {IMAGES: b"one"}, IMAGES, "Model 'thing' has no IP-Adapter"),
        ((), {SCALE: 1}, SCALE, "has no parameter"),
        ((1.0,), {IMAGES: [b"one", b"two"]}, IMAGES, "is 2 images, and this model has one IP-Adapter"),
        ((1.0, 1.0), {IMAGES: b"one"}, IMAGES, "is 1 image, and this model has 2 IP-Adapters"),
        ((1.0, 1.0), {IMAGES: [b"one", None]}, IMAGES, "must be an image"),
        ((1.0, 1.0), {IMAGES: [[b"one", None], b"two"]}, IMAGES, "has null in place of an image"),
        ((1.0,), {IMAGES: b"one", SCALE: [1, 1]}, SCALE, "has 2 numbers, and this model has one IP-Adapter"),
        ((1.0, 1.0), {IMAGES: [b"one", b"two"], SCALE: [1]}, SCALE, "Give one number for all, or a list of 2"),
        ((1.0,), {IMAGES: b"one", SCALE: 1e9}, SCALE, "from -10 to 10, not 1e+09"),
        ((1.0,), {IMAGES: b"one", SCALE: float("nan")}, SCALE, "finite"),
        ((1.0,), {IMAGES: b"one", SCALE: "much"}, SCALE, "must be a number"),
    ],
)
def test_what_is_wrong_is_named(scales: tuple[float, ...], params: dict[str, Any], parameter: str, said: str) -> None:
    """The error is about the parameter, says what there is, and what to give."""
    with pytest.raises(RequestError) as caught:
        planned(*scales, **params)

    assert parameter == caught.value.parameter
    assert said in str(caught.value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    """An image too few and a number too many are two problems."""
    with pytest.raises(InvalidRequestError) as caught:
        planned(1.0, 1.0, **{IMAGES: b"one", SCALE: [1, 2, 3]})

    assert [IMAGES, SCALE] == [each.parameter for each in caught.value.problems]


def test_several_images_for_one_adapter() -> None:
    """They are a list inside the list."""
    found = planned(1.0, 1.0, **{IMAGES: [[b"one", b"two"], b"three"]})

    assert ([b"one", b"two"], b"three") == found.files[IMAGES]
    assert ([[b"one", b"two"]],) == planned(1.0, **{IMAGES: [[b"one", b"two"]]}).files[IMAGES]


def test_an_array_is_not_counted() -> None:
    """What another model has made of images may be one array for all of them."""
    found = planned(1.0, 1.0, ip_adapter_image_embeds=[[[[0.0, 1.0]]], [[[2.0, 3.0]]]])

    assert ["ip_adapter_image_embeds"] == list(found.files)
    assert [1.0, 1.0] == found.runs[0][0][SCALE]


def test_siblings_take_them_too() -> None:
    """The image to start from chooses the class, which takes the other as well."""
    found = planned(0.5, **{IMAGES: b"one", "image": b"two"})

    assert "StableDiffusionImg2ImgPipeline" == found.pipeline.name
    assert 0.5 == found.runs[0][0][SCALE]
