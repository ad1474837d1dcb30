"""The VAE and the text encoders of configurations, by which a request selects one of the models of the same source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from a1111_bodies import IMAGE, sent
from fakes import Server
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.types import ModelInfo

PREFIX = "/sdapi/v1"

#: The option for the model without modules.
DEMO = {"sd_model_checkpoint": "demo"}

#: The components of models over the same source, and of one over another.
COMPONENTS: dict[str, dict[str, Any]] = {
    "demo": {},
    "paler": {"vae": {"model": "vaes/pale.safetensors"}},
    "spoken": {"vae": {"model": "vaes/pale.safetensors"}, "text_encoder": {"model": "org/speaker"}},
    "edged": {"controlnet": {"model": "nets/edges"}},
    "org/painter": {"vae": {"model": "vaes/other.safetensors"}},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a server of these models."""
    server = Server()
    kind, known = "StableDiffusionPipeline", server.models
    known.infos = [ModelInfo(name, f"/{'b' if '/' in name else 'a'}", kind, ("text-to-image",)) for name in COMPONENTS]
    server.generations.known |= set(COMPONENTS)
    resolve = known.resolve

    def resolved(name: str) -> Any:
        fields = {"name": name, "model": str(demo.FOLDER), "components": COMPONENTS[name]}
        return replace(resolve(name), config=ModelConfig.model_validate(fields))

    monkeypatch.setattr(known, "resolve", resolved)
    return server


async def test_lists(server: Server) -> None:
    """A VAE is one by what its component is; each is there once, and ControlNets are in a list of their own."""
    vaes, modules = [(await server.http.get(f"{PREFIX}/{name}")).json() for name in ("sd-vae", "sd-modules")]

    assert ["pale", "other"] == [each["model_name"] for each in vaes]
    assert ["pale", "speaker", "other"] == [each["model_name"] for each in modules]
    assert "vaes/pale.safetensors" == vaes[0]["filename"]
    assert ["edges"] == (await server.http.get("/controlnet/model_list")).json()["model_list"]


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({"sd_vae": "Automatic", "forge_additional_modules": []}, "demo"),
        ({"sd_vae": "pale.safetensors"}, "paler"),
        ({"sd_vae": "PALE", "sd_model_checkpoint": "spoken"}, "spoken"),
        ({"forge_additional_modules": ["/models/vaes/pale.safetensors", "speaker"]}, "spoken"),
        ({"sd_vae": "None", "sd_model_checkpoint": "paler"}, "paler"),
    ],
)
async def test_a_request_selects_them(server: Server, settings: dict[str, Any], model: str) -> None:
    """The model that has them and the fewest others; that of the request itself, if it has them."""
    request, warnings = await sent(server, prompt="x", override_settings={**DEMO, **settings})

    assert model == request.model
    assert [] == warnings


async def test_one_that_there_is_not(server: Server) -> None:
    """It is a warning with those of the model's source, and the model is used as it is."""
    request, warnings = await sent(server, prompt="x", override_settings={**DEMO, "sd_vae": "other"})

    assert "demo" == request.model
    assert ["'sd_vae' 'other' has no effect: no configuration of 'demo' has it. There are pale, speaker."] == warnings


async def test_the_options_of_a_caller(server: Server) -> None:
    """They are kept; a name that there is not is in the header of warnings."""
    good = await server.http.post(f"{PREFIX}/options", json={**DEMO, "sd_vae": "pale"})
    request, _ = await sent(server, prompt="x")
    bad = await server.http.post(f"{PREFIX}/options", json={"forge_additional_modules": ["nothere"]})

    assert "x-octabox-warnings" not in good.headers
    assert "paler" == request.model
    assert "'forge_additional_modules' 'nothere' has no effect" in bad.headers["x-octabox-warnings"]


async def test_the_second_pass_has_its_own(server: Server) -> None:
    """As a model of the workflow; those of the first pass need none."""
    body: dict[str, Any] = {"prompt": "x", "enable_hr": True, "hr_upscaler": "Lanczos", "override_settings": DEMO}
    request, _ = await sent(server, **body, hr_additional_modules=["pale"])
    same, _ = await sent(server, **body, hr_additional_modules=["Use same choices"])
    _, warnings = await sent(server, **body, hr_additional_modules=["nothere"])

    assert ("demo", "paler") == (request.model, request.workflow["hires"]["model"])
    assert "model" not in same.workflow["hires"]
    assert ["'hr_additional_modules' 'nothere'"] == [each.partition(" has no")[0] for each in warnings]


async def test_a_controlnet_of_a_model_without_the_module(server: Server) -> None:
    """The ControlNet is used, and the module is a warning."""
    units = {"controlnet": {"args": [{"image": IMAGE, "model": "edges"}]}}
    request, warnings = await sent(
        server, prompt="x", alwayson_scripts=units, override_settings={**DEMO, "sd_vae": "pale"}
    )

    assert "edged" == request.model
    assert ["The module 'pale' has no effect: 'edged', which has the ControlNet, lacks it."] == warnings
