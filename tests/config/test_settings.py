"""The server's settings."""

from pathlib import Path

import pytest

from octabox.config.settings import Settings, flag, variable
from octabox.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_the_defaults_hold(folder: Path) -> None:
    """The server listens to this machine alone."""
    settings = Settings.load(environ={})

    assert ("127.0.0.1", 8080, Path("models"), ()) == (settings.host, settings.port, settings.models, settings.warnings)


def test_flags_are_stronger_than_the_environment_and_that_than_the_file(folder: Path) -> None:
    """Each of three settings comes from another place."""
    (folder / "octabox.yaml").write_text("host: file\nport: 1\nqueue_size: 1\n")

    settings = Settings.load({"host": "flag", "port": None}, environ={"OCTABOX_HOST": "env", "OCTABOX_PORT": "2"})

    assert ("flag", 2, 1) == (settings.host, settings.port, settings.queue_size)


def test_the_file_is_named_by_a_flag_or_a_variable(folder: Path) -> None:
    """The flag is stronger; the usual name is not read then."""
    for name, port in {"octabox.yaml": 1, "a.yaml": 2, "b.yaml": 3}.items():
        (folder / name).write_text(f"port: {port}\n")
    environ = {"OCTABOX_CONFIG": "a.yaml"}

    assert [1, 2, 3] == [
        Settings.load(environ={}).port,
        Settings.load(environ=environ).port,
        Settings.load(file=Path("b.yaml"), environ=environ).port,
    ]


def test_lists_have_commas_in_the_environment(folder: Path) -> None:
    """In the file they are lists, or text with commas too."""
    (folder / "octabox.yaml").write_text("preload: [a, b]\ncors_origins: 'http://x, http://y'\n")

    settings = Settings.load(environ={"OCTABOX_API_KEYS": "one, two,"})

    assert ["one", "two"] == [key.get_secret_value() for key in settings.api_keys]
    assert (("a", "b"), ("http://x", "http://y")) == (settings.preload, settings.cors_origins)


def test_an_empty_variable_gives_nothing(folder: Path) -> None:
    """Container files set such ones."""
    assert (8080, None) == (
        Settings.load(environ={"OCTABOX_PORT": ""}).port,
        Settings.load(environ={"OCTABOX_DEVICE": ""}).device,
    )


@pytest.mark.parametrize(
    ("file", "environ", "flags", "message"),
    [
        ("port: many", {}, {}, "octabox.yaml:1: `port` must be a whole number, not 'many'."),
        ("", {"OCTABOX_PORT": "x"}, {}, "OCTABOX_PORT: `port` must be a whole number, not 'x'."),
        ("", {}, {"port": 70000}, "--port: `port` must be at most 65535, not 70000."),
        (
            "",
            {"OCTABOX_ALLOW_HUB": "perhaps"},
            {},
            "OCTABOX_ALLOW_HUB: `allow_hub` must be true or false, not 'perhaps'.",
        ),
        ("a: 1\nb", {}, {}, "octabox.yaml:2:2: Not valid YAML: could not find expected ':'."),
        ("[1]", {}, {}, "octabox.yaml: settings must be a mapping (key: value), not [1]."),
        ("\nprot: 1", {}, {}, "octabox.yaml:2: there is no setting 'prot'."),
        ("port: 1\nport: 2", {}, {}, "octabox.yaml:2:1: `port` is a duplicate key, first set in line 1."),
        ("api_keys: 5", {}, {}, "octabox.yaml:1: `api_keys` must be a list, not ***."),
        (
            "public_url: host",
            {},
            {},
            "octabox.yaml:1: `public_url` must be a web address (http:// or https://), not 'host'.",
        ),
        (
            "cors_origins: [chat.example.org]",
            {},
            {},
            "octabox.yaml:1: `cors_origins` must be origins, such as https://chat.example.org, or *, not ['chat.example.org'].",
        ),
        (
            "webhook_secret: whsec_c2hvcnQ=",
            {},
            {},
            "octabox.yaml:1: `webhook_secret` must be whsec_ and 24 to 64 bytes in base64, not ***.",
        ),
        (
            "webhook_secret: abc",
            {},
            {},
            "octabox.yaml:1: `webhook_secret` must be whsec_ and 24 to 64 bytes in base64, not ***.",
        ),
        (
            "",
            {"OCTABOX_JOB_STORE": "mysql://me:pass@host/x"},
            {},
            "OCTABOX_JOB_STORE: `job_store` must be a URL that starts with postgresql:// or sqlite://, not ***.",
        ),
        ("port: x", {"OCTABOX_QUEUE_SIZE": "0"}, {}, "OCTABOX_QUEUE_SIZE: `queue_size` must be at least 1, not '0'."),
    ],
)
def test_a_wrong_value_is_told_with_where_it_was_given(
    folder: Path, file: str, environ: dict[str, str], flags: dict[str, object], message: str
) -> None:
    """File and line, variable or flag; what was expected, and what was found; secrets are not shown."""
    (folder / "octabox.yaml").write_text(file)

    with pytest.raises(ConfigError) as caught:
        Settings.load(flags, environ=environ)

    assert message in caught.value.message


def test_all_wrong_values_are_told_at_once(folder: Path) -> None:
    """All errors are reported together."""
    with pytest.raises(ConfigError, match=r"OCTABOX_PORT: .* --threads: "):
        Settings.load({"threads": -1}, environ={"OCTABOX_PORT": "x"})


def test_an_unknown_setting_has_a_hint(folder: Path) -> None:
    """The nearest name is given."""
    (folder / "octabox.yaml").write_text("prot: 1\n")

    with pytest.raises(ConfigError) as caught:
        Settings.load(environ={})

    assert "Did you mean port?" == caught.value.hint


def test_a_file_that_was_named_must_be_there(folder: Path) -> None:
    """Only the usual one may be missing."""
    with pytest.raises(ConfigError, match=r"none\.yaml:1:1: The file cannot be read: No such file"):
        Settings.load(file=Path("none.yaml"), environ={})


def test_an_unknown_variable_is_a_warning(folder: Path) -> None:
    """Other programs may have theirs."""
    settings = Settings.load(environ={"OCTABOX_PROT": "1", "OCTABOX_XYZZY": "1", "OCTABOX_CONFIG": "", "PATH": "x"})

    assert (
        "OCTABOX_PROT is not a setting; did you mean OCTABOX_PORT?",
        "OCTABOX_XYZZY is not a setting.",
    ) == settings.warnings


def test_a_setting_has_one_name_in_each_place() -> None:
    """Variable and flag are made from the field."""
    assert ("OCTABOX_MAX_OUTPUTS", "--max-outputs") == (variable("max_outputs"), flag("max_outputs"))


def test_variables_of_clients_and_scripts_are_known() -> None:
    """Variables of the commands that call a server, and of the script of LocalAI's backend, cause no warning."""
    settings = Settings.load(
        environ={"OCTABOX_URL": "http://here", "OCTABOX_API_KEY": "key", "OCTABOX_PYTHON": "python3"}
    )

    assert () == settings.warnings
