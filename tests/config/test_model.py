"""The configuration of one model."""

from typing import Any

import pytest
from pydantic import ValidationError

from octabox.config.model import ModelConfig, RemoteCode
from octabox.config.sections.scheduler import SchedulerConfig


def test_a_name_and_a_source_are_enough() -> None:
    """Everything else has a default."""
    model = ModelConfig(name="a", model="owner/name")

    assert ("auto", "auto", None, {}) == (model.dtype, model.memory, model.seed, model.defaults)


def test_a_scheduler_may_be_a_mere_name() -> None:
    """The long form is for settings."""
    model = ModelConfig.model_validate({"name": "a", "model": "b", "scheduler": "ddim"})

    assert SchedulerConfig(name="ddim") == model.scheduler


def test_a_schedulers_settings_may_stand_beside_its_name() -> None:
    """As a request writes them."""
    fields = {"name": "a", "model": "b", "scheduler": {"name": "dpmpp_2m", "use_karras_sigmas": True}}

    assert SchedulerConfig(name="dpmpp_2m", settings={"use_karras_sigmas": True}) == (
        ModelConfig.model_validate(fields).scheduler
    )


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (False, ()),
        ([], ()),
        (True, (RemoteCode(repo="."),)),
        ({"repo": "a/b", "revision": "v1"}, (RemoteCode(repo="a/b", revision="v1"),)),
        ([{"repo": "a/b", "revision": "v1"}], (RemoteCode(repo="a/b", revision="v1"),)),
    ],
)
def test_permission_for_code_may_be_short(value: Any, meant: tuple[RemoteCode, ...]) -> None:
    """No code, the model's own, one repository, or a list."""
    model = ModelConfig.model_validate({"name": "a", "model": "b", "allow_remote_code": value})

    assert meant == model.allow_remote_code
    assert model == ModelConfig.model_validate(model.model_dump())


def test_a_configuration_does_not_change() -> None:
    """It is shared between threads and requests."""
    with pytest.raises(ValidationError, match="frozen"):
        ModelConfig(name="a", model="b").name = "c"


@pytest.mark.parametrize("name", ["", " a", "/a", "\\a", "a\\b", "a\nb"])
def test_a_name_fits_into_a_url_and_a_path(name: str) -> None:
    """Blanks in front and slashes in front are refused; a Hub id is a name."""
    with pytest.raises(ValidationError):
        ModelConfig(name=name, model="b")


def test_every_field_is_described() -> None:
    """The reference is made of these sentences."""
    assert [] == [name for name, field in ModelConfig.model_fields.items() if not field.description]


def test_a_component_may_be_left_out() -> None:
    """By null, or by the setting that it stands for."""
    fields = {"name": "a", "model": "b", "components": {"safety_checker": None, "vae": {"dtype": "float32"}}}
    model = ModelConfig.model_validate(fields)

    assert {"safety_checker": None} == model.omitted()
    assert model == ModelConfig.model_validate(model.model_dump())
