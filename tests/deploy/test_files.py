"""The files in deploy/: an image, a composition of containers and a systemd unit."""

from __future__ import annotations

import configparser
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from code_blocks import ROOT, commands_of, unknown_options
from dockerfiles import Image, assignments, read_steps
from octabox.config.settings import Settings, variable
from serving import wait_until_ready

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
VARIABLES = {variable(name) for name in Settings.model_fields}

#: Numbers of users and groups in Dockerfiles, compositions of containers and manifests; 0 installs packages.
USER_IDS = re.compile(
    r"""(?:--(?:uid|gid)[ =]|^USER |\b(?:fsGroup|runAsUser|runAsGroup|user):\s*)["']?([1-9]\d*)""", re.MULTILINE
)


def octabox_variables(text: str) -> set[str]:
    """Return the variables of Octabox that a text sets."""
    return set(re.findall(r"\b(OCTABOX_\w+)[=:]", text))


def read(name: str) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("Dockerfile")), ids=lambda file: file.parent.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    """The linter of Dockerfiles has no remark, also about that of a cluster."""
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(linter), "--no-color", str(file)], capture_output=True, text=True, check=False)

    assert ("", 0) == (done.stdout + done.stderr, done.returncode)


def test_the_image_runs_as_a_user_with_volumes_and_a_health_check() -> None:
    """It copies existing files, sets existing variables, and serves as a user that owns its volumes."""
    steps = read_steps(DOCKERFILE)
    last = {step.name: step.text for step in steps}
    copied = [
        name for step in steps if step.name == "COPY" and "--from=" not in step.text for name in step.text.split()[:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")

    assert copied
    assert [] == [name for name in copied if not (ROOT / name).exists() or f"!{name}\n" not in ignored]
    assert octabox_variables(last["ENV"]) <= VARIABLES
    assert {"OCTABOX_HOST": "0.0.0.0"}.items() <= assignments(last["ENV"]).items()
    assert last["USER"].isdigit()
    assert '["/models", "/cache", "/data"]' == last["VOLUME"]
    assert "/healthz" in last["HEALTHCHECK"]
    assert '["octabox"]' == last["ENTRYPOINT"]
    assert {"PYTHON_VERSION", "TORCH_INDEX", "EXTRAS"} == {
        step.text.partition("=")[0] for step in steps if step.name == "ARG"
    }


def test_all_files_have_one_user() -> None:
    """The volumes of a pod belong to the user that its image runs as."""
    texts = {file.relative_to(DEPLOY): file.read_text(encoding="utf-8") for file in DEPLOY.rglob("*") if file.is_file()}
    found = {str(file): set(USER_IDS.findall(text)) for file, text in texts.items() if USER_IDS.search(text)}
    (user,) = found["Dockerfile"]

    assert {"Dockerfile", "kubernetes/Dockerfile", "kubernetes/raycluster.yaml"} <= set(found)
    assert {name: {user} for name in found} == found


def test_the_dockerfiles_that_the_documentation_builds_exist() -> None:
    """Each `docker build --file` names a file of the repository."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *DEPLOY.rglob("Dockerfile")]
    named = {
        name
        for page in pages
        for name in re.findall(r"docker build .*(?:--file|-f) ([\w/.]+)", page.read_text(encoding="utf-8"))
    }

    assert named
    assert [] == [name for name in named if not (ROOT / name).is_file()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_steps_of_the_dockerfile_make_a_server(tmp_path: Path) -> None:
    """Without Docker: the steps install Octabox from the context, its command serves, and the health check succeeds."""
    image, empty = Image(DOCKERFILE, ROOT, tmp_path / "root"), tmp_path / "index"
    empty.mkdir()
    image.build(
        TORCH_INDEX=empty.as_uri()
    )  # Torch is installed, and pip would wait for an index that does not respond.
    command = [*image.command("ENTRYPOINT"), *image.command("CMD")]
    where = image.run(["python", "-c", "import octabox; print(octabox.__file__)"]).stdout
    variables = image.environment(OCTABOX_PORT="0", OCTABOX_HOST="127.0.0.1", OCTABOX_LOG_FILE=str(tmp_path / "log"))
    with subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            line = next(line for line in server.stderr if "http://" in line)
            url = line[line.index("http://") :].strip()
            wait_until_ready(url)
            image.run([word.replace("http://127.0.0.1:8080", url) for word in image.command("HEALTHCHECK")])
        finally:
            server.terminate()
            server.communicate(timeout=60)

    assert where.startswith(str(tmp_path / "root" / "opt" / "octabox"))
    # It raises the signal again after it has stopped.
    assert -signal.SIGTERM == server.returncode


def test_the_composition_is_valid() -> None:
    """Its services are built from the Dockerfile, know each other, and set existing variables."""
    composition, cuda = read("compose.yaml"), read("compose.cuda.yaml")
    octabox, webui = composition["services"]["octabox"], composition["services"]["open-webui"]
    arguments = {step.text.partition("=")[0] for step in read_steps(DOCKERFILE) if step.name == "ARG"}
    volumes = {volume.partition(":")[0] for each in (octabox, webui) for volume in each["volumes"]}

    assert DOCKERFILE == (DEPLOY / octabox["build"]["context"] / octabox["build"]["dockerfile"]).resolve()
    assert set(octabox["build"]["args"]) <= arguments
    assert set(octabox["environment"]) - {"HF_TOKEN"} <= VARIABLES
    # Those without a value are passed on from the shell.
    assert {"HF_TOKEN", "OCTABOX_ADMIN_KEYS"} == {
        name for name, value in octabox["environment"].items() if value is None
    }
    # Names of downloads are written there.
    assert "../models:/models" in octabox["volumes"]
    assert {name for name in volumes if not name.startswith(".")} == set(composition["volumes"])
    assert "http://octabox:8080/v1" == webui["environment"]["IMAGES_OPENAI_API_BASE_URL"]
    assert {"octabox": {"condition": "service_healthy"}} == webui["depends_on"]
    assert all(port.startswith("127.0.0.1:") for each in (octabox, webui) for port in each["ports"])
    assert set(cuda["services"]) <= set(composition["services"])


def unit() -> configparser.ConfigParser:
    """Return the systemd unit."""
    content = configparser.ConfigParser(interpolation=None)
    content.optionxform = str  # type: ignore[assignment, method-assign] # systemd's names have capitals
    content.read(DEPLOY / "octabox.service")
    return content


def test_the_unit_starts_the_server() -> None:
    """The unit has its sections, starts an existing verb with existing options, and sets existing variables."""
    service = unit()["Service"]
    (words,) = commands_of(service["ExecStart"])

    assert ["Unit", "Service", "Install"] == unit().sections()
    assert words[0].endswith("/octabox")
    assert [] == unknown_options(words[1:])
    assert octabox_variables(service["Environment"]) <= VARIABLES
    assert "/var/lib/octabox" == service["WorkingDirectory"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """Systemd finds no error, with a program and a user that exist here; the exposure of the service is low."""
    text = (DEPLOY / "octabox.service").read_text(encoding="utf-8")
    text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text).replace("=octabox\n", "=root\n", 2)
    file = tmp_path / "octabox.service"
    file.write_text(text, encoding="utf-8")
    for command in (["verify", str(file)], ["security", "--offline=yes", "--threshold=30", str(file)]):
        done = subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, check=False, timeout=60)

        assert done.returncode == 0, done.stdout + done.stderr
