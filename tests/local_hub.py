"""A Hub in the test process: a real HTTP server that answers as huggingface.co does, and counts the bytes that it sends.

Large files are on another host, as on the Hub: the endpoint is ``127.0.0.1``, and what it redirects to is ``localhost``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

#: Suffixes of the files that are not in git, but on the other host.
LARGE = (".safetensors", ".bin", ".gguf", ".ckpt", ".pt")

CHUNK = 64 * 1024


@dataclass
class Repo:
    """A repository.

    Args:
        name: Its id.
        files: The content of each file of its branch ``main``.
        private: Whether only its members see it.
        gated: False, ``auto`` or ``manual``.
        members: Users who may read it.
        pending: Users who wait for approval.
        rejected: Users who were refused.
        disabled: Whether the Hub has disabled it.
        about: What else is known of it, in the words of the Hub's API.
        old: The files of other revisions, by name.
    """

    name: str
    files: dict[str, bytes]
    private: bool = False
    gated: bool | str = False
    members: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    disabled: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    old: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def revisions(self) -> dict[str, dict[str, bytes]]:
        """Return the files by revision: branches, tags and commits."""
        named = {"main": self.files, **self.old}
        return named | {commit_of(files): files for files in named.values()}


def commit_of(files: Mapping[str, bytes]) -> str:
    """Return the commit of some files."""
    text = "".join(f"{name} {hashlib.sha1(content).hexdigest()}\n" for name, content in sorted(files.items()))
    return hashlib.sha1(text.encode()).hexdigest()


def blob_of(content: bytes) -> str:
    """Return the name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def digest_of(name: str, content: bytes) -> str:
    """Return the name of a file's blob in the cache."""
    return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else blob_of(content)


def folder_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder."""
    return {
        each.relative_to(folder).as_posix(): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()
    }


class LocalHub:
    """The Hub.

    Args:
        certificate: File with a certificate and its key, for TLS.

    Attributes:
        repos: Its repositories.
        users: The name of the user of each token.
        expired: Tokens that have expired.
        sent: How many bytes of each file have been sent, by ``repo/path``.
        asked: Each request: its method, its path and its token.
        cuts: Bytes after which the connection of a file is reset, by ``repo/path``: one for each request.
        spoilt: Files whose bytes are wrong.
        busy: Requests that are refused because of the rate limit.
        statuses: Statuses that requests about a repository are refused with, by its name: one for each request.
        retry_after: Seconds to wait that a refusal because of the rate limit states.
        pause: Seconds between two pieces of a file.
        hub: Whether it is a Hub at all; otherwise each answer is a page of a proxy.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.repos: dict[str, Repo] = {}
        self.users = {"hf_alice": "alice"}
        self.expired = {"hf_expired"}
        self.sent: Counter[str] = Counter()
        self.asked: list[tuple[str, str, str | None]] = []
        self.cuts: dict[str, list[int]] = {}
        self.spoilt: set[str] = set()
        self.busy, self.pause, self.hub = 0, 0.0, True
        self.statuses: dict[str, list[int]] = {}
        self.retry_after = 7
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The threads of the requests shake hands, so that a client that breaks off does not end the server.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, files: Mapping[str, bytes], **about: Any) -> Repo:
        """Add a repository."""
        fields = {key: about.pop(key) for key in [*about] if key in Repo.__dataclass_fields__}
        self.repos[name] = Repo(name, dict(files), about=about, **fields)
        return self.repos[name]

    def file_url(self, repo: str, path: str) -> str:
        """Return the address of a file on the other host, where every client may read it."""
        scheme = "https" if isinstance(self._server.socket, ssl.SSLSocket) else "http"
        digest = hashlib.sha256(self.repos[repo].files[path]).hexdigest()
        return f"{scheme}://localhost:{self.port}/cdn/{repo}/{digest}/{path}"

    def downloads(self) -> list[str]:
        """Return the requests for files that were not answered by a redirect alone."""
        return [path for method, path, _ in self.asked if method == "GET" and not path.startswith("/api/")]

    @contextlib.contextmanager
    def running(self) -> Iterator[LocalHub]:
        """Serve within the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers a request."""

    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Be silent."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        scheme, _, token = (self.headers.get("authorization") or "").partition(" ")
        self.token = token if scheme == "Bearer" else None
        self.hub.asked.append((self.command, path, self.token))
        if not self.hub.hub:
            self.answer(200, b"<html>Log in to the network</html>", {"content-type": "text/html"})
        elif path.startswith("/cdn/"):
            self.large(path.removeprefix("/cdn/"))
        elif self.hub.busy:
            self.hub.busy -= 1
            self.limit()
        elif statuses := next((left for name, left in self.hub.statuses.items() if left and name in path), None):
            status = statuses.pop(0)
            self.limit() if status == 429 else self.refuse(status, "", "Not now")
        elif self.token is not None and self.token not in self.hub.users:
            expired = self.token in self.hub.expired
            reason = 'User Access Token "old" is expired' if expired else "Invalid credentials in Authorization header"
            self.refuse(401, "", reason)
        elif path.startswith("/api/"):
            self.api(path.removeprefix("/api/"))
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(*found.groups())
        else:
            self.refuse(404, "", "Not found")

    def limit(self) -> None:
        """Refuse a request because of the rate limit."""
        stated = f'"api";r=0;t={self.hub.retry_after}'
        limits = {"ratelimit": stated, "ratelimit-policy": '"fixed window";"api";q=5;w=300'}
        self.refuse(429, "", "Too many requests", limits)

    @property
    def user(self) -> str | None:
        """The user of the token."""
        return self.hub.users.get(self.token or "")

    def api(self, path: str) -> None:
        if path == "whoami-v2":
            if self.user is None:
                self.refuse(401, "", "Invalid username or password.")
            else:
                token = {"displayName": "test", "role": "read"}
                self.json({"type": "user", "name": self.user, "auth": {"accessToken": token}})
        elif path == "models":
            self.search()
        elif found := re.fullmatch(r"models/([^/]+/[^/]+)(/.*)?", path):
            self.model(found[1], (found[2] or "").strip("/"))
        else:
            self.refuse(404, "", "Not found")

    def search(self) -> None:
        """List the models by words, author, task and gate, sorted."""
        words = self.query.get("search", [""])[0].lower()
        filters = self.query.get("filter", [])
        found = []
        for repo in self.hub.repos.values():
            about = self.about(repo, commit_of(repo.files))
            tags = {*about["tags"], about.get("pipeline_tag")}
            author = self.query.get("author", [repo.name.partition("/")[0]])[0]
            gate = self.query.get("gated", [""])[0].lower()
            if repo.private and self.user not in repo.members:
                continue
            task = self.query.get("pipeline_tag", [about.get("pipeline_tag")])[0]
            if (
                all(word in repo.name.lower() for word in words.split())
                and set(filters) <= tags
                and repo.name.startswith(f"{author}/")
                and task == about.get("pipeline_tag")
                and (not gate or (gate == "true") == bool(repo.gated))
            ):
                found.append(about)
        key = {"lastModified": "lastModified", "likes": "likes"}.get(self.query.get("sort", [""])[0], "downloads")
        found.sort(key=lambda each: each.get(key) or 0, reverse=True)
        self.json(found[: int(self.query.get("limit", ["1000"])[0])])

    def about(self, repo: Repo, commit: str) -> dict[str, Any]:
        """Return what the API says of a repository."""
        files = repo.revisions()[commit]
        siblings: list[dict[str, Any]] = []
        for name, content in files.items():
            entry: dict[str, Any] = {"rfilename": name}
            if "blobs" in self.query:
                entry |= {"size": len(content), "blobId": blob_of(content)}
                if name.endswith(LARGE):
                    digest = hashlib.sha256(content).hexdigest()
                    entry["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 130}
            siblings.append(entry)
        fixed = {"id": repo.name, "sha": commit, "private": repo.private, "gated": repo.gated, "siblings": siblings}
        defaults = {"tags": [], "downloads": 1, "likes": 0, "lastModified": "2026-11-01T00:00:00.000Z"}
        return {**defaults, **repo.about, **fixed, "disabled": repo.disabled}

    def model(self, name: str, rest: str) -> None:
        """Answer about a repository; that of a gated one is not secret."""
        repo = self.readable(name, content=rest == "auth-check")
        if repo is None:
            return
        revision = rest.partition("/")[2].partition("?")[0] if rest.startswith(("revision/", "tree/")) else "main"
        if rest == "refs":
            refs = [{"name": each, "ref": f"refs/heads/{each}", "targetCommit": commit_of(files)} for each, files in
                    {"main": repo.files, **repo.old}.items()]  # fmt: skip
            self.json({"branches": refs, "tags": [], "converts": []})
        elif rest == "auth-check":
            self.json({})
        elif revision not in repo.revisions():
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif rest.startswith("tree/"):
            self.json([
                {"type": "file", "path": name, "size": len(content), "oid": blob_of(content)}
                for name, content in repo.revisions()[revision].items()
            ])  # fmt: skip
        else:
            self.json(self.about(repo, commit_of(repo.revisions()[revision])))

    def readable(self, name: str, *, content: bool) -> Repo | None:
        """Return a repository, or refuse it."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self.user not in repo.members):
            self.refuse(404 if self.user else 401, "RepoNotFound", "Repository not found")
        elif repo.disabled:
            self.refuse(403, "", "Access to this resource is disabled.")
        elif content and repo.gated and self.user not in repo.members:
            if self.user is None:
                reason = f"Access to model {name} is restricted. You must be authenticated to access it."
            elif self.user in repo.pending:
                reason = f"Your request to access model {name} is awaiting a review from the repo authors."
            elif self.user in repo.rejected:
                reason = f"Your request to access model {name} has been rejected by the repo's authors."
            else:
                reason = f"Access to model {name} is restricted and you are not in the authorized list."
            self.refuse(403 if self.user else 401, "GatedRepo", reason)
        else:
            return repo
        return None

    def resolve(self, name: str, revision: str, path: str) -> None:
        """Answer with a small file, or with the address of a large one."""
        repo = self.readable(name, content=True)
        if repo is None:
            return
        files = repo.revisions().get(revision)
        if files is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        commit = {"x-repo-commit": commit_of(files)}
        if path not in files:
            self.refuse(404, "EntryNotFound", "Entry not found", commit)
        elif path.endswith(LARGE):
            digest = hashlib.sha256(files[path]).hexdigest()
            linked = {"x-linked-etag": f'"{digest}"', "x-linked-size": str(len(files[path]))}
            place = f"http://localhost:{self.hub.port}/cdn/{name}/{digest}/{path}"
            self.answer(302, b"", {**commit, **linked, "location": place})
        else:
            self.send(f"{name}/{path}", files[path], {**commit, "etag": f'"{blob_of(files[path])}"'})

    def large(self, place: str) -> None:
        """Send a large file, as another host does."""
        owner, name, digest, path = place.split("/", 3)
        repo = self.hub.repos[f"{owner}/{name}"]
        contents = (files.get(path, b"") for files in repo.revisions().values())
        content = next(each for each in contents if hashlib.sha256(each).hexdigest() == digest)
        self.send(f"{owner}/{name}/{path}", content, {})

    def send(self, key: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a file or the rest of it, in pieces that are counted."""
        if key in self.hub.spoilt:
            content = bytes(len(content))
        status, start, end = 200, 0, len(content)
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range") or ""):
            status, start = 206, int(found[1])
            end = min(int(found[2]) + 1, end) if found[2] else end
            headers = {**headers, "content-range": f"bytes {start}-{end - 1}/{len(content)}"}
            if start >= len(content):
                self.answer(416, b"", {"content-range": f"bytes */{len(content)}"})
                return
        self.send_response(status)
        for name, value in {**headers, "content-length": str(end - start), "accept-ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = self.hub.cuts.get(key, [])
        stop = start + cuts.pop(0) if cuts else None
        while start < end:
            piece = content[start : min(start + CHUNK, end, stop or end)]
            self.wfile.write(piece)
            self.hub.sent[key] += len(piece)
            start += len(piece)
            if self.hub.pause:
                time.sleep(self.hub.pause)
            if stop is not None and start >= stop:
                self.reset()
                return

    def reset(self) -> None:
        """Reset the connection."""
        self.wfile.flush()
        time.sleep(0.05)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def refuse(self, status: int, code: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        named = {"x-error-code": code, "x-error-message": reason}
        self.answer(
            status, json.dumps({"error": reason}).encode(), {k: v for k, v in named.items() if v} | dict(headers or {})
        )

    def json(self, data: object) -> None:
        self.answer(200, json.dumps(data).encode(), {"content-type": "application/json"})

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
