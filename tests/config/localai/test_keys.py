"""The table of LocalAI's keys."""

from octabox.config.localai import octabox_key, table, top_keys
from octabox.config.localai.rules import RULES
from octabox.config.model import ModelConfig

WAYS = ("to", "by", "with", "unused")


def test_every_key_leads_somewhere() -> None:
    """Each is copied to a field that exists, read by a rule that exists, or has a reason to have no effect."""
    keys = table()["keys"]

    # With an alias, a configuration is that of another name, and is not translated.
    assert ["alias"] == [key for key, spec in keys.items() if not any(way in spec for way in WAYS)]
    assert set(RULES) == {spec["by"] for spec in keys.values() if "by" in spec}
    assert set() == {spec["to"].partition(".")[0] for spec in keys.values() if "to" in spec} - set(
        ModelConfig.model_fields
    )
    assert set() == {spec["with"] for spec in keys.values() if "with" in spec} - set(keys)


def test_no_key_is_for_us_and_for_other_kinds_of_model() -> None:
    """A key is mapped or of no use, not both."""
    assert set() == set(table()["keys"]) & set(table()["other_kinds_of_model"])


def test_our_word_for_one_of_localais_is_known() -> None:
    """With its section or without."""
    assert ("scheduler", "scheduler", None) == (
        octabox_key("diffusers.scheduler_type"),
        octabox_key("scheduler_type"),
        octabox_key("nonsense"),
    )


def test_sections_are_keys_of_the_top_level() -> None:
    """They determine the format of a file."""
    assert {"parameters", "diffusers", "backend"} <= top_keys()
