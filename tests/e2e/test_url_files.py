"""Files by URL, of a real server with TLS on this machine: downloaded, continued, checked, cancelled, and then used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_hub import CHUNK, LocalHub
from serving import running_server
from trained import HEARTS

LORA = Path(HEARTS).read_bytes()

#: A file that takes a while.
LARGE = os.urandom(64 * CHUNK)

OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(
    OPENSSL is None, reason="the program openssl, which makes the certificate, is not installed"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate of this machine with its key."""
    file: Path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    key = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(file), "-out", f"{file}.crt")
    subprocess.run([str(OPENSSL), "req", *key, *names], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.fixture
def files(certificate: Path) -> Iterator[LocalHub]:
    """Return a server of files."""
    with LocalHub(certificate).running() as files:
        files.add("site/files", {"hearts.safetensors": LORA, "large.safetensors": LARGE})
        yield files


@pytest.fixture
def environment(files: LocalHub, certificate: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user whose operator allows that server."""
    return {
        "OCTABOX_URL_HOSTS": f"localhost:{files.port}",
        "OCTABOX_CACHE_DIR": str(tmp_path / "cache"),
        "SSL_CERT_FILE": str(certificate),
        "HF_HUB_OFFLINE": "1",
    }


def digest(content: bytes) -> str:
    """Return the checksum of a file."""
    return hashlib.sha256(content).hexdigest()


def command(*words: str) -> list[str]:
    """Return a call of the command line."""
    return [sys.executable, "-m", "octabox", *words]


def octabox(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, and return its end."""
    env = {**os.environ, **environment}
    return subprocess.run(
        command(*words), cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=200
    )


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def received(folder: Path) -> int:
    """Return the bytes of an interrupted download of the large file."""
    return sum(each.stat().st_size for each in folder.rglob(".large.safetensors.partial"))


def stored(environment: dict[str, str], content: bytes) -> list[Path]:
    """Return the complete files with a checksum in the cache."""
    return [*Path(environment["OCTABOX_CACHE_DIR"], "files", digest(content)).glob("[!.]*")]


def test_a_host_of_this_machine_is_refused_by_default(
    files: LocalHub, environment: dict[str, str], tmp_path: Path
) -> None:
    """Without the setting, for another port, and where the server redirects; the setting is named, and nothing is requested."""
    url = files.file_url("site/files", "hearts.safetensors")
    for hosts in ("", f"localhost:{files.port + 1}", "files.example.org"):
        found = octabox(
            tmp_path, {**environment, "OCTABOX_URL_HOSTS": hosts}, "pull", url, "--yes", "--sha256", digest(LORA)
        )

        assert found.returncode
        assert "is not on the public internet" in found.stderr
        assert "`url_hosts`" in found.stderr
    assert [] == files.asked


def test_the_plan_of_a_url_is_shown_before_the_question(
    files: LocalHub, environment: dict[str, str], tmp_path: Path
) -> None:
    """As that of a repository: name, size, place and free disk. Without an answer, nothing but the first byte is sent."""
    url = files.file_url("site/files", "hearts.safetensors")
    words = ("pull", f"{url}?token=secret", "--sha256", digest(LORA))
    asked = octabox(tmp_path, environment, *words)

    assert asked.returncode
    assert "add --yes to download without asking" in asked.stderr
    plan = asked.stderr.splitlines()[:3]
    assert plan[0].startswith("hearts.safetensors of ")
    assert plan[1].endswith(str(Path("files", digest(LORA), "hearts.safetensors")))
    assert plan[2].startswith("To download: ")
    assert "free on the disk: " in plan[2]
    assert "secret" not in asked.stderr
    assert 1 == files.sent["site/files/hearts.safetensors"]
    assert [] == stored(environment, LORA)
    assert 0 == octabox(tmp_path, environment, *words, "--yes").returncode
    again = octabox(tmp_path, environment, *words)
    assert 0 == again.returncode, "there is nothing to ask where all is there"
    assert "All files are in the cache." in again.stderr


@pytest.mark.slow
def test_a_killed_download_continues_and_a_cut_one_too(
    files: LocalHub, environment: dict[str, str], tmp_path: Path
) -> None:
    """The server sends the bytes that were missing and no others; the file is linked under its name."""
    url, key = files.file_url("site/files", "large.safetensors"), "site/files/large.safetensors"
    words = ("pull", url, "--yes", "--sha256", digest(LARGE), "--as", "large")
    files.pause = 0.02
    with subprocess.Popen(
        command(*words), cwd=tmp_path, env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: received(tmp_path) >= 8 * CHUNK)
        process.kill()
    before = received(tmp_path)
    files.pause = 0.0
    files.sent.clear()
    files.cuts[key] = [4 * CHUNK]

    again = octabox(tmp_path, environment, *words)

    assert 0 == again.returncode, again.stderr
    assert 0 < before < len(LARGE)
    # The first byte is for the size; what was on its way when the connection was cut may be sent twice.
    assert len(LARGE) - before < files.sent[key] <= len(LARGE) - before + 4 * CHUNK + 1
    assert LARGE == (tmp_path / "models/large.safetensors").read_bytes()
    assert 1 == len(stored(environment, LARGE))


def test_a_wrong_checksum_leaves_nothing(files: LocalHub, environment: dict[str, str], tmp_path: Path) -> None:
    """Neither of a wrong file nor of a wrong sum; with the right one the next attempt starts anew."""
    url = files.file_url("site/files", "hearts.safetensors")
    wrong = octabox(tmp_path, environment, "pull", url, "--yes", "--sha256", "0" * 64)
    files.spoilt.add("site/files/hearts.safetensors")
    spoilt = octabox(tmp_path, environment, "pull", url, "--yes", "--sha256", digest(LORA))
    left = [each for each in tmp_path.rglob("*hearts*") if not each.name.endswith(".lock")]
    files.spoilt.clear()
    right = octabox(tmp_path, environment, "pull", url, "--yes", "--sha256", digest(LORA), "--json")

    assert wrong.returncode == spoilt.returncode != 0
    for each in (wrong, spoilt):
        assert "Check the SHA-256" in each.stderr
    assert [] == left
    assert ("lora", "hearts") == tuple(json.loads(right.stdout)[key] for key in ("kind", "name")), right.stderr
    assert LORA == (tmp_path / "models/loras/hearts.safetensors").read_bytes()


@pytest.mark.slow
def test_over_http_it_is_followed_cancelled_continued_and_used(
    files: LocalHub, environment: dict[str, str], tmp_path: Path
) -> None:
    """Cancelling keeps what was received; a LoRA is used by the next request."""
    large = {"url": files.file_url("site/files", "large.safetensors"), "sha256": digest(LARGE)}
    lora = {"url": files.file_url("site/files", "hearts.safetensors"), "sha256": digest(LORA), "name": "by-url"}
    with (
        running_server(tmp_path / "models", environment=environment) as url,
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
    ):
        files.pause = 0.02
        started = client.post("/v1/hub/pulls", json=large).json()
        wait_for(lambda: received(tmp_path) >= 4 * CHUNK)
        cancelled = client.delete(f"/v1/hub/pulls/{started['id']}").json()
        kept = stored(environment, LARGE)
        partial = received(tmp_path)
        files.pause = 0.0
        files.sent.clear()
        done, wrong, used = (
            last_event(client, {**large, "name": "large"}),
            last_event(client, {**lora, "sha256": "0" * 64}),
            last_event(client, lora),
        )
        params = {"prompt": "a red circle", "num_inference_steps": 2}
        body = {"model": "demo", "params": params, "seed": 1, "output": {"response": "b64_json"}}
        plain, with_lora = (
            client.post("/v1/generations", json={**body, "adapters": adapters})
            for adapters in ([], [{"lora": "by-url"}])
        )

    assert "cancelled" == cancelled["status"]
    assert [] == kept
    assert 0 < partial < len(LARGE)
    assert ("done", len(LARGE)) == (done[0], done[1]["bytes"])
    assert len(LARGE) - partial + 1 == files.sent["site/files/large.safetensors"]
    assert ("error", "checksum_mismatch") == (wrong[0], wrong[1]["error"]["code"])
    assert "done" == used[0], used
    assert plain.is_success, plain.text
    assert with_lora.is_success, with_lora.text
    assert pixels(plain) != pixels(with_lora)


def last_event(client: httpx.Client, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Download, and return the last event and its data."""
    text = client.post("/v1/hub/pulls", json={**body, "stream": True}).text
    event, _, data = text.strip().rpartition("event: ")[2].partition("\ndata: ")
    return event, json.loads(data)


def pixels(response: httpx.Response) -> object:
    """Return the image of a response."""
    return response.json()["outputs"][0]["b64_json"]
