"""Names of noise schedulers."""

from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError, SchedulerNotFoundError
from octabox.schedulers.names import resolve_scheduler, scheduler_aliases, schedules

KNOWN = frozenset(named.kind for named in scheduler_aliases()) | {"MyOwnScheduler"}

KARRAS = {"use_karras_sigmas": True}
EXPONENTIAL = {"use_exponential_sigmas": True}
EULER, MULTISTEP = "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"
SECOND = {"algorithm_type": "dpmsolver++", "solver_order": 2}
STOCHASTIC = {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}


def meaning(name: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    """Return the class and the settings that a name means."""
    meant = resolve_scheduler(name, settings, KNOWN)
    return meant.kind, meant.settings


#: LocalAI's documented names.
LOCALAI = {
    "ddim": ("DDIMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "euler": (EULER, {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "k_lms": ("LMSDiscreteScheduler", KARRAS),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "k_dpm_2": ("KDPM2DiscreteScheduler", KARRAS),
    "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "k_dpm_2_a": ("KDPM2AncestralDiscreteScheduler", KARRAS),
    "dpmpp_2m": (MULTISTEP, SECOND),
    "k_dpmpp_2m": (MULTISTEP, SECOND | KARRAS),
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}),
    "k_dpmpp_sde": ("DPMSolverSDEScheduler", KARRAS),
    "dpmpp_2m_sde": (MULTISTEP, STOCHASTIC),
    "k_dpmpp_2m_sde": (MULTISTEP, STOCHASTIC | KARRAS),
    "k_euler": (EULER, KARRAS),
    "k_dpp_sde": ("DPMSolverSDEScheduler", KARRAS),
}

#: Names of the web UI, with the schedules of its menu.
WEB_UI = {
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "EULER-A": ("EulerAncestralDiscreteScheduler", {}),
    "k_euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
    "DPM++ 2M Karras": (MULTISTEP, SECOND | KARRAS),
    "dpm++2m karras": (MULTISTEP, SECOND | KARRAS),
    "k_dpmpp_2m_ka": (MULTISTEP, SECOND | KARRAS),
    "DPM++ 2M Exponential": (MULTISTEP, SECOND | EXPONENTIAL),
    "k_dpmpp_2m_sde_exp": (MULTISTEP, STOCHASTIC | EXPONENTIAL),
    "DPM++ 2M SGM Uniform": (MULTISTEP, SECOND | {"timestep_spacing": "trailing"}),
    "DPM++ 2M SDE Heun": (MULTISTEP, STOCHASTIC | {"solver_type": "heun"}),
    "DPM++ 2M Beta": (MULTISTEP, SECOND | {"use_beta_sigmas": True}),
    "DPM++ 2M Automatic": (MULTISTEP, SECOND | KARRAS),
    "Euler Automatic": (EULER, {}),
    "Euler DDIM": (EULER, {"timestep_spacing": "leading"}),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}),
}

#: InvokeAI's identifiers, where `_k` is Karras and `kdpm` a name.
INVOKE = {
    "kdpm_2": ("KDPM2DiscreteScheduler", {}),
    "kdpm_2_a_k": ("KDPM2AncestralDiscreteScheduler", KARRAS),
    "deis_k": ("DEISMultistepScheduler", KARRAS),
    "dpmpp_2s_k": ("DPMSolverSinglestepScheduler", SECOND | {"lower_order_final": True} | KARRAS),
    "dpmpp_3m": (MULTISTEP, {"algorithm_type": "dpmsolver++", "solver_order": 3}),
}


@pytest.mark.parametrize(("name", "expected"), [*LOCALAI.items(), *WEB_UI.items(), *INVOKE.items()])
def test_other_programs_names_mean_what_they_say(name: str, expected: tuple[str, dict[str, Any]]) -> None:
    """Each name is understood, with a schedule before or behind it; letter case, blanks and dashes do not matter."""
    assert expected == meaning(name)


def test_every_class_has_its_own_name() -> None:
    """With its ending or without, with a schedule behind it, whether another name leads to it or not."""
    for name in ("MyOwnScheduler", "MyOwn", "myown", "my_own"):
        assert ("MyOwnScheduler", {}) == meaning(name)
    assert ("MyOwnScheduler", KARRAS) == meaning("MyOwn Karras")


def test_the_table_names_classes_and_settings_that_exist() -> None:
    """No name leads to a class that the installed diffusers lacks, or to a setting that the class lacks."""
    catalog = load_catalog()
    for named in scheduler_aliases():
        settings = {setting.name for setting in catalog.scheduler(named.kind).settings}
        assert named.settings.keys() <= settings, named
        assert named.automatic is None or named.automatic in schedules()


def test_given_settings_are_stronger_than_a_names() -> None:
    """Who writes a setting beside the name means it, and another schedule takes the place of the name's."""
    assert (MULTISTEP, SECOND | {"solver_order": 3, "use_karras_sigmas": False}) == meaning(
        "k_dpmpp_2m", solver_order=3, use_karras_sigmas=False
    )
    assert (MULTISTEP, SECOND | EXPONENTIAL) == meaning("k_dpmpp_2m", use_exponential_sigmas=True)
    assert (MULTISTEP, SECOND | EXPONENTIAL) == meaning("k_dpmpp_2m", schedule="Exponential")


def test_what_metadata_say_means_the_same_again() -> None:
    """They hold the class, its settings, and the schedule that some of these come from."""
    first = resolve_scheduler("DPM++ 2M Karras", {}, KNOWN)
    assert first.schedule is not None

    assert first == resolve_scheduler(first.kind, {**first.settings, "schedule": first.schedule.name}, KNOWN)


def test_a_schedule_that_is_written_out_brings_its_timesteps() -> None:
    """Align Your Steps sets nothing of the constructor, but has ten timesteps for each family that it is known for."""
    meant = resolve_scheduler("DPM++ 2M Align Your Steps", {}, KNOWN)

    assert SECOND == meant.settings
    assert meant.schedule is not None
    assert {10} == {len(steps) for steps in meant.schedule.timesteps.values()}


def test_what_is_not_quite_as_its_name_says_is_told() -> None:
    """A solver that diffusers has in another form only."""
    assert "no ancestral solver" in resolve_scheduler("DPM++ 2S a Karras", {}, KNOWN).caveat


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """No other scheduler is taken in its place."""
    with pytest.raises(SchedulerNotFoundError) as caught:
        resolve_scheduler("eulr", {}, KNOWN)

    assert "There is no scheduler 'eulr'." == caught.value.message
    assert "euler" in caught.value.hint
    assert {"euler", "MyOwnScheduler"} <= set(caught.value.choices)
    with pytest.raises(SchedulerNotFoundError, match="Did you mean dpmpp_2m_karras"):
        resolve_scheduler("DPM++ 2M Karas", {}, KNOWN)


@pytest.mark.parametrize(
    "name",
    [
        "DPM fast",
        "DPM adaptive",
        "k_dpm_fast",
        "Restart",
        "HeunPP2",
        "DDIM CFG++",
        "IPNDM_V",
        "er_sde",
        "DPM fast Karras",
    ],
)
def test_a_name_without_equivalent_says_so(name: str) -> None:
    """What other programs know and diffusers has not is told from what nobody knows."""
    with pytest.raises(SchedulerNotFoundError, match="has no equivalent in diffusers"):
        resolve_scheduler(name, {}, KNOWN)


@pytest.mark.parametrize(
    ("name", "words"),
    [("Euler Polyexponential", "'polyexponential' has no equivalent"), ("Euler KL Optimal", "has no equivalent")],
)
def test_a_schedule_without_equivalent_says_so(name: str, words: str) -> None:
    """The scheduler is known, the schedule is not to be had."""
    with pytest.raises(InvalidParameterError, match=words):
        resolve_scheduler(name, {}, KNOWN)


def test_an_unknown_schedule_is_refused_with_all_there_are() -> None:
    """As a setting, where nothing else could be meant."""
    with pytest.raises(InvalidParameterError, match="There is no schedule 'karas'") as caught:
        resolve_scheduler("euler", {"schedule": "karas"}, KNOWN)

    assert "karras" in caught.value.choices


def test_a_name_for_a_class_that_is_not_installed_says_so() -> None:
    """The name is right, the library is old."""
    with pytest.raises(SchedulerNotFoundError, match="TCDScheduler, which is not installed"):
        resolve_scheduler("tcd", {}, {"DDIMScheduler"})


def test_one_name_leaves_nothing_behind_for_the_next() -> None:
    """Karras sigmas of one lookup are not those of another (L12), and only the prefix itself is a prefix."""
    resolve_scheduler("k_euler", {}, KNOWN)

    assert {} == resolve_scheduler("euler", {}, KNOWN)[1]
    with pytest.raises(SchedulerNotFoundError):
        resolve_scheduler("k__euler", {}, KNOWN)
