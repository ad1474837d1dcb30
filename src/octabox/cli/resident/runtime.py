"""Where the servers of a user listen: a socket for each installation, working folder, environment and settings file."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

#: Folder with the runtime files of all programs of a user, where the system has one.
RUNTIME_VARIABLE = "XDG_RUNTIME_DIR"

#: Prefixes of the environment variables that change what a server does.
PREFIXES = (
    "OCTABOX_",
    "HF_",
    "HUGGING",
    "CUDA",
    "HIP",
    "HSA_",
    "NVIDIA_",
    "ROC",
    "TORCH",
    "TRANSFORMERS",
    "PYTORCH",
    "OMP_",
    "MKL_",
    "PYTHON",
    "DIFFUSERS",
)

#: Further variables that do, in upper case: programs read those of proxies in lower case too.
VARIABLES = {
    *("HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
}

#: Suffix of sockets.
SUFFIX = ".sock"

#: Permissions of the folder: its owner alone can connect.
FOLDER_MODE = 0o700

#: Maximum length of a socket's path on all systems, in bytes.
MAX_PATH = 100

#: Package of Octabox.
PACKAGE = Path(__file__).parents[2]


def runtime_folder() -> Path | None:
    """Return the private folder of this user's sockets, which is created; None where it cannot be private.

    A folder of another user, or one that others can enter, is not used: its owner would receive the requests.
    """
    if not hasattr(os, "getuid") or not hasattr(socket, "AF_UNIX"):
        return None
    runtime = os.environ.get(RUNTIME_VARIABLE)
    parent = Path(runtime) if runtime and Path(runtime).is_dir() else Path(tempfile.gettempdir())
    folder = parent / ("octabox" if parent == Path(runtime or "") else f"octabox-{os.getuid()}")
    try:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if private and len(os.fsencode(folder)) + 30 < MAX_PATH else None


def socket_path(folder: Path, models: Path | None) -> Path:
    """Return the socket of the server that does what this process would do.

    Args:
        folder: The runtime folder.
        models: The folder of models, if it is an option.
    """
    parts = [code_stamp(), sys.executable, str(Path.cwd()), str(models), _environment(), _settings_file()]
    digest = hashlib.sha256(json.dumps(parts).encode(errors="replace")).hexdigest()
    return folder / f"{digest[:16]}{SUFFIX}"


def other_sockets(folder: Path, socket_file: Path | None) -> Iterator[Path]:
    """Yield the sockets of all other servers."""
    yield from (file for file in sorted(folder.glob(f"*{SUFFIX}")) if file != socket_file)


def code_stamp() -> list[int]:
    """Return what changes with the code: the number and the latest change of its files, and of installed packages."""
    files = [Path(root) / name for root, _, names in os.walk(PACKAGE) for name in names if name.endswith(".py")]
    packages = Path(click.__file__).parents[1]
    return [len(files), max(file.stat().st_mtime_ns for file in files), packages.stat().st_mtime_ns]


def _environment() -> list[tuple[str, str]]:
    """Return the environment variables that change what a server does."""
    variables = os.environ.items()
    return sorted(each for each in variables if each[0].startswith(PREFIXES) or each[0].upper() in VARIABLES)


def _settings_file() -> str:
    """Return the content of the settings file; nothing if there is none."""
    file = Path(os.environ.get("OCTABOX_CONFIG") or "octabox.yaml")
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
