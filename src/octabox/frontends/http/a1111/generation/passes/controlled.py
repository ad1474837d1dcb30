"""The ControlNets of a request with a second pass, each of which may have an effect in one of them alone."""

from __future__ import annotations

from octabox.errors import RequestError
from octabox.frontends.http.a1111.controlnet.control import Control
from octabox.frontends.http.a1111.controlnet.units import Pass
from octabox.frontends.http.a1111.generation.parsed import ParsedRequest, with_part, with_warnings
from octabox.frontends.http.a1111.generation.targets import image_target
from octabox.service.protocols import Models


def with_control_passes(models: Models, parsed: ParsedRequest, control: Control) -> tuple[ParsedRequest, Control]:
    """Return a request whose second pass has its own weights of the control, and the ControlNets of the first.

    Args:
        models: The models of this server.
        parsed: The request, with a second pass.
        control: The ControlNets of both passes.
    """
    settings = dict(parsed.request.workflow["hires"])
    try:
        target = image_target(models, settings.get("model") or parsed.target.model, controlled=True)
    except RequestError:
        # The second pass has no control at all, which the workflow reports.
        return parsed, control.in_pass(Pass.FIRST)
    params = control.second_params(target.entry)
    if not params:
        warning = f"'controlnet.hr_option' has no effect: {target.entry.name} has no scale of the control."
        return with_warnings(parsed, warning), control
    settings["params"] = {**settings.get("params", {}), **params}
    return with_part(parsed, "hires", settings), control.in_pass(Pass.FIRST)
