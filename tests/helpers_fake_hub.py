"""Owns a hub of datasets on this machine: folders served as the Hugging Face Hub serves repositories.

Input: (repository id, revision) -> folder. Output: its address, and the data files that were asked for.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlparse


class FakeHub(ThreadingHTTPServer):
    """Answers the requests that `datasets` and `huggingface_hub` make to list and to download a dataset."""

    daemon_threads = True

    def __init__(self, repositories: dict[tuple[str, str], Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.sent: list[str] = []  # "commit of revision:path" of each file whose content was sent
        self.url = f"http://127.0.0.1:{self.server_port}"

    def find(self, repository: str, revision: str) -> tuple[str, str, Path] | None:
        """(revision, commit, folder) of a revision, or of a commit."""
        for (name, known), folder in self.repositories.items():
            commit = hashlib.sha1(f"{name} {known}".encode()).hexdigest()
            if name == repository and revision in (known, commit):
                return known, commit, folder
        return None


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlparse(self.path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        is_api = parts[0] == "api"
        asked_for = parts[2 if is_api else 1 :]
        owner, name, verb, revision, *inner = asked_for if len(asked_for) > 2 else [*asked_for, "revision", "main"]
        found = self.server.find(f"{owner}/{name}", revision)
        if found is None:
            self._reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        elif is_api:
            is_deep = "recursive=true" in address.query.lower()
            self._api(verb, found, Path(*inner), is_deep=is_deep, asked=parse_qs(body.decode()))
        else:
            self._file(found, Path(*inner))

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815, as the base class calls them

    def _api(self, verb: str, found: tuple[str, str, Path], inner: Path, *, is_deep: bool, asked: dict) -> None:
        _, commit, root = found
        if verb == "revision":
            files = [{"rfilename": path.relative_to(root).as_posix()} for path in root.rglob("*") if path.is_file()]
            answer: object = {"id": "x/y", "sha": commit, "siblings": files, "private": False, "tags": []}
        elif verb == "paths-info":
            answer = [_entry(root, root / path) for path in asked.get("paths", []) if (root / path).exists()]
        elif not (root / inner).is_dir():
            return self._reply(404, headers={"X-Error-Code": "EntryNotFound"})
        else:
            paths = (root / inner).rglob("*") if is_deep else (root / inner).iterdir()
            answer = [_entry(root, path) for path in sorted(paths)]
        return self._reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, found: tuple[str, str, Path], inner: Path) -> None:
        revision, commit, root = found
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not (root / inner).is_file():
            return self._reply(404, headers={**headers, "X-Error-Code": "EntryNotFound"})
        content = (root / inner).read_bytes()
        headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
        if self.command == "GET":
            self.server.sent.append(f"{revision}:{inner.as_posix()}")
        wanted = self.headers.get("Range")
        if self.command == "HEAD" or not wanted:
            return self._reply(200, content, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last or len(content)) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
        return self._reply(206, part, headers)

    def _reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(root: Path, path: Path) -> dict:
    kind = "directory" if path.is_dir() else "file"
    size = 0 if path.is_dir() else path.stat().st_size
    return {"type": kind, "oid": "0" * 40, "size": size, "path": path.relative_to(root).as_posix()}


@contextmanager
def fake_hub(repositories: dict[tuple[str, str], Path]) -> Iterator[FakeHub]:
    """The hub, while the block runs."""
    hub = FakeHub(repositories)
    Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
