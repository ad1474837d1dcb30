"""A server in a separate process, and its client."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from PIL import Image

#: Seconds until a server must be ready, and in which it must end.
READY, END = 300, 20

#: Seconds between two looks whether it is ready.
POLL = 0.05


class ServedError(Exception):
    """The server answered with an error.

    Args:
        status: The HTTP status.
        body: What it answered.
    """

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status, self.code = status, str(body.get("code"))
        super().__init__(f"{status} {self.code}: {body.get('message')}")


class Server:
    """An `octabox serve` over a folder of models; it holds one model at a time.

    Args:
        models: The folder.
        log: File that its log goes to.
        *flags: Further flags.
        environment: What is set in its environment.
    """

    def __init__(self, models: Path, log: Path, *flags: str, environment: Mapping[str, str]) -> None:
        self._models, self._log, self._flags = models, log, flags
        self._environment = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(trust_env=False)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.process.pid

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process; it is started where it does not run."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._process is not None
        return self._process

    def start(self) -> float:
        """Start the server anew, and return the seconds until it was ready.

        Raises:
            RuntimeError: It ended, or was not ready in time.
        """
        self.close()
        began = time.perf_counter()
        command = [sys.executable, "-m", "octabox", "serve", "--port", "0", "--models", str(self._models)]
        with self._log.open("ab") as log:
            seen = log.tell()
            self._process = subprocess.Popen(
                [*command, "--max-resident", "1", *self._flags], stderr=log, stdout=log, env=self._environment
            )
        while time.perf_counter() - began < READY and self._process.poll() is None:
            if self._find_address(seen) and self._is_ready():
                return time.perf_counter() - began
            time.sleep(POLL)
        self.close()
        raise RuntimeError(f"the server did not become ready; its log is {self._log}")

    def _find_address(self, seen: int) -> bool:
        """Return whether the server has logged its address, and use that address from now on.

        Args:
            seen: Bytes of the log that are of servers before this one.
        """
        if not self._client.base_url.host:
            text = self._log.read_bytes()[seen:].decode("utf-8", "replace")
            if found := re.search(r" at (http://\S+)\n", text):
                # One client for all requests: to make one takes longer than to ask.
                self._client = httpx.Client(base_url=found[1], timeout=None, trust_env=False)  # noqa: S113 (checks have a limit)
        return bool(self._client.base_url.host)

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("/readyz").is_success
        return False

    def close(self) -> None:
        """End the server where it runs."""
        self._client.close()
        self._client = httpx.Client(trust_env=False)
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def configure(self, name: str, **settings: Any) -> str:
        """Write a model's configuration into the folder, and return the model's name."""
        text = yaml.safe_dump({"name": name, **settings})
        (self._models / f"{name}.yaml").write_text(text, encoding="utf-8")
        return name

    def load(self, name: str) -> dict[str, Any]:
        """Bring a model into memory, and return its status."""
        status = self._ask("POST", f"/v1/models/{name}/load")["status"]
        assert isinstance(status, dict)
        return status

    def unload(self, name: str) -> None:
        """Take a model out of memory."""
        self._ask("POST", f"/v1/models/{name}/unload")

    def unload_all(self) -> None:
        """Take every model out of memory."""
        for model in self._ask("GET", "/v1/models")["data"]:
            if model.get("status"):
                self.unload(model["id"])

    def status(self, name: str) -> dict[str, Any] | None:
        """Return the status of a model; None where it is not in memory."""
        status = self._ask("GET", f"/v1/models/{name}").get("status")
        assert status is None or isinstance(status, dict)
        return status

    def generate(self, name: str, params: Mapping[str, Any], seed: int = 1) -> Answer:
        """Ask for an image."""
        body = {"model": name, "params": dict(params), "seed": seed, "output": {"response": "b64_json"}}
        began = time.perf_counter()
        answer = self._ask("POST", "/v1/generations", body)
        return Answer(answer, time.perf_counter() - began)

    def stream(self, name: str, params: Mapping[str, Any], job: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ask for an image, and yield the events of the request and their data; an error is the last event."""
        self.process  # noqa: B018 (starts it)
        body = {"model": name, "params": dict(params), "seed": 1, "stream": True, "id": job}
        with self._client.stream("POST", "/v1/generations", json=body) as response:
            if not response.is_success:
                response.read()
                raise ServedError(response.status_code, response.json()["error"])
            event = ""
            for line in response.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield event, json.loads(line.removeprefix("data: "))

    def cancel(self, job: str) -> None:
        """Cancel a request."""
        self._ask("DELETE", f"/v1/generations/{job}")

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        self.process  # noqa: B018 (starts it)
        response = self._client.request(method, path, json=body)
        if not response.is_success:
            raise ServedError(response.status_code, response.json()["error"])
        answer = response.json()
        assert isinstance(answer, dict)
        return answer


class Answer:
    """A finished request.

    Args:
        body: What the server answered.
        wall: Seconds that the client waited.
    """

    def __init__(self, body: Mapping[str, Any], wall: float) -> None:
        self.wall = wall
        self.run = float(body["timings"]["run"])
        self.warnings = [str(each) for each in body["warnings"]]
        content = base64.b64decode(body["outputs"][0]["b64_json"])
        self.pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.int16)

    def difference(self, other: Answer) -> float:
        """Return the mean difference of the pixels from those of another image, from 0 to 255."""
        return float(np.abs(self.pixels - other.pixels).mean())
