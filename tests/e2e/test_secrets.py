"""What the server logs while it serves requests with secrets."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest

from octabox import demo
from serving import started_server

pytestmark = pytest.mark.slow

#: Secrets of the server, and one that a client sends by mistake.
KEY, TOKEN, PASSWORD, WRONG = (
    "key-0123456789abcdef",
    "hf_abcdefghijklmnopqrstuvwxyz012345",
    "pass-98765",
    "sk-wrong-4321",
)

#: Starts a model's download, which fails without the network.
MISSING = "octabox-tests/not-there"


def test_no_log_has_a_secret(tmp_path: Path) -> None:
    """Neither API keys, nor tokens, nor passwords, at the level with the most messages, whatever fails."""
    models, log = tmp_path / "models", tmp_path / "server.log"
    models.mkdir()
    (models / "missing.yaml").write_text(f"model: {MISSING}\nclass: StableDiffusionPipeline\n")
    environment = {
        "OCTABOX_API_KEYS": KEY,
        "OCTABOX_ADMIN_KEYS": f"{KEY}-admin",
        "OCTABOX_A1111_AUTH": f"user:{PASSWORD}",
        "OCTABOX_LOG_LEVEL": "debug",
        "OCTABOX_LOG_FILE": str(log),
        "OCTABOX_WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"s" * 32).decode(),
        "HF_TOKEN": TOKEN,
    }
    body = {"model": demo.NAME, "prompt": "a red star", "num_inference_steps": 1, "size": "64x64"}
    with (
        started_server(models, environment=environment) as (url, _),
        httpx.Client(base_url=url, timeout=240, trust_env=False) as client,
    ):
        statuses = [
            client.post("/v1/images/generations", json=body, headers={"authorization": f"Bearer {key}"}).status_code
            for key in (KEY, WRONG)
        ]
        statuses += [
            client.post("/sdapi/v1/txt2img", json={"prompt": "x", "steps": 1}, auth=("user", each)).status_code
            for each in (PASSWORD, WRONG)
        ]
        for name in ("missing", MISSING):
            missing = client.post(
                "/v1/images/generations", json={**body, "model": name}, headers={"authorization": f"Bearer {KEY}"}
            )
            assert missing.is_error
            assert TOKEN not in missing.text
    text = log.read_text()

    assert [200, 401, 200, 401] == statuses
    assert len(text) > 500
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    assert [] == [each for each in (KEY, TOKEN, PASSWORD, WRONG, basic, "whsec_") if each in text]
