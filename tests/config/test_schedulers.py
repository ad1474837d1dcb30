"""Names of noise schedulers."""

from typing import Any

import pytest

from octabox.config.schedulers import aliases, scheduler_of
from octabox.errors import SchedulerNotFoundError

KNOWN = frozenset(meant[0] for meant in aliases().values()) | {"MyOwnScheduler"}

KARRAS = {"use_karras_sigmas": True}
MULTISTEP = "DPMSolverMultistepScheduler"

#: LocalAI's documented names, and what each of them means there.
LOCALAI = {
    "ddim": ("DDIMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "k_lms": ("LMSDiscreteScheduler", KARRAS),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "k_dpm_2": ("KDPM2DiscreteScheduler", KARRAS),
    "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "k_dpm_2_a": ("KDPM2AncestralDiscreteScheduler", KARRAS),
    "dpmpp_2m": (MULTISTEP, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "k_dpmpp_2m": (MULTISTEP, {"algorithm_type": "dpmsolver++", "solver_order": 2, **KARRAS}),
    "dpmpp_sde": ("DPMSolverSinglestepScheduler", {}),
    "k_dpmpp_sde": ("DPMSolverSinglestepScheduler", KARRAS),
    "dpmpp_2m_sde": (MULTISTEP, {"algorithm_type": "sde-dpmsolver++"}),
    "k_dpmpp_2m_sde": (MULTISTEP, {"algorithm_type": "sde-dpmsolver++", **KARRAS}),
    "k_euler": ("EulerDiscreteScheduler", KARRAS),
    "k_dpp_sde": ("DPMSolverSinglestepScheduler", KARRAS),
}


@pytest.mark.parametrize(("name", "meaning"), LOCALAI.items())
def test_localais_names_mean_what_they_mean_there(name: str, meaning: tuple[str, dict[str, Any]]) -> None:
    """Each documented name is understood, ``k_`` being Karras sigmas for any."""
    assert meaning == scheduler_of(name, {}, KNOWN)


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("Euler a", "euler_a"),
        ("DPM++ 2M Karras", "k_dpmpp_2m"),
        ("DPM++ 2M SDE Karras", "k_dpmpp_2m_sde"),
        ("DPM2 a", "dpm_2_a"),
        ("EULER-A", "euler_a"),
    ],
)
def test_the_web_uis_names_mean_the_same(name: str, alias: str) -> None:
    """Letter case, blanks and dashes do not matter, and ``++`` is ``pp``."""
    assert scheduler_of(alias, {}, KNOWN) == scheduler_of(name, {}, KNOWN)


def test_every_class_has_its_own_name() -> None:
    """With its ending or without, whether an alias leads to it or not."""
    assert ("MyOwnScheduler", {}) == scheduler_of("MyOwnScheduler", {}, KNOWN)
    assert ("MyOwnScheduler", {}) == scheduler_of("MyOwn", {}, KNOWN)


def test_given_settings_are_stronger_than_an_aliass() -> None:
    """Who writes a setting beside the name means it."""
    found = scheduler_of("k_dpmpp_2m", {"solver_order": 3, "use_karras_sigmas": False}, KNOWN)

    assert (MULTISTEP, {"algorithm_type": "dpmsolver++", "solver_order": 3, "use_karras_sigmas": False}) == found


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """No other scheduler is taken in its place."""
    with pytest.raises(SchedulerNotFoundError) as caught:
        scheduler_of("eulr", {}, KNOWN)

    assert "There is no scheduler 'eulr'." == caught.value.message
    assert "euler" in caught.value.hint
    assert {"euler", "MyOwnScheduler"} <= set(caught.value.choices)


def test_an_alias_for_a_class_that_is_not_installed_says_so() -> None:
    """The name is right, the library is old."""
    with pytest.raises(SchedulerNotFoundError, match="TCDScheduler, which is not installed"):
        scheduler_of("tcd", {}, {"DDIMScheduler"})


def test_one_name_leaves_nothing_behind_for_the_next() -> None:
    """Karras sigmas of one lookup are not those of another (L12), and only the prefix itself is a prefix."""
    scheduler_of("k_euler", {}, KNOWN)

    assert {} == scheduler_of("euler", {}, KNOWN)[1]
    with pytest.raises(SchedulerNotFoundError):
        scheduler_of("k__euler", {}, KNOWN)
