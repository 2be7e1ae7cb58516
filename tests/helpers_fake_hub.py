"""Owns a hub on this machine: folders served as the Hugging Face Hub serves repositories of datasets and models, and taken in
as it takes them from `upload_folder`.

Input: (repository id, revision) -> folder; a token and a folder for what is pushed. Output: its address, the data files that
were asked for, and what was sent to it.
"""

import base64
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlparse

OWNER = "me"  # whose repositories may be written to


class FakeHub(ThreadingHTTPServer):
    """Answers the requests that `datasets` and `huggingface_hub` make to list, to download and to upload a repository.

    Who shows `token` may write to repositories of OWNER, which lie in `home`.
    """

    daemon_threads = True

    def __init__(
        self, repositories: dict[tuple[str, str], Path], home: Path | None = None, token: str | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.home, self.token = repositories, home, token
        self.sent: list[str] = []  # "commit of revision:path" of each file whose content was sent
        self.private: set[str] = set()  # names of repositories
        self.received: list[str] = []  # paths of the files that were committed, in order
        self.asked: list[str] = []  # "METHOD path" of every request that may change something
        self.blobs: dict[str, bytes] = {}  # large files by their sha256, until a commit names them
        self.num_commits: Counter[tuple[str, str]] = Counter()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def find(self, repository: str, revision: str) -> tuple[str, str, Path] | None:
        """(revision, commit, folder) of a revision, or of a commit."""
        for (name, known), folder in self.repositories.items():
            number = self.num_commits[name, known]
            commit = hashlib.sha1(f"{name} {known} {number}".encode()).hexdigest()
            if name == repository and revision in (known, commit):
                return known, commit, folder
        return None


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self._body()
        address = urlparse(self.path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        if self._is_upload(parts):
            return self._take(parts, body)
        is_api = parts[0] == "api"
        asked_for = parts[2 if is_api else parts[0] == "datasets" :]
        owner, name, verb, revision, *inner = asked_for if len(asked_for) > 2 else [*asked_for, "revision", "main"]
        found = self.server.find(f"{owner}/{name}", revision)
        if found is None:
            is_known = any(known == f"{owner}/{name}" for known, _ in self.server.repositories)
            self._reply(404, headers={"X-Error-Code": "RevisionNotFound" if is_known else "RepoNotFound"})
        elif is_api:
            is_deep = "recursive=true" in address.query.lower()
            self._api(verb, found, Path(*inner), is_deep=is_deep, asked=parse_qs(body.decode()))
        else:
            self._file(found, Path(*inner))
        return None

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815, as the base class calls them

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _is_upload(self, parts: list[str]) -> bool:
        verbs = ("create", "validate-yaml", "preupload", "commit", "branch", "batch", "lfs")
        return self.command in ("POST", "PUT") and any(verb in parts for verb in verbs)

    def _take(self, parts: list[str], body: bytes) -> None:
        """What `create_repo`, `create_branch` and `upload_folder` ask for; the content of large files comes by PUT."""
        hub = self.server
        hub.asked.append(f"{self.command} /{'/'.join(parts)}")
        if parts[0] == "lfs":
            assert hashlib.sha256(body).hexdigest() == parts[1]
            hub.blobs[parts[1]] = body
            return self._reply(200)
        if parts[1] == "validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._reply(401, b'{"error": "Invalid credentials"}')
        asked = json.loads(body) if "commit" not in parts else {}
        if parts[1:] == ["repos", "create"]:
            return self._create(asked)
        owner, name = parts[2:4] if parts[0] == "api" else parts[:2]
        if owner != OWNER:
            return self._reply(403, b'{"error": "Forbidden"}')
        if parts[-1] == "batch":
            return self._json({"objects": [{**one, "actions": self._put(one["oid"])} for one in asked["objects"]]})
        return self._change(f"{owner}/{name}", parts[4], parts[5], asked, body)

    def _create(self, asked: dict) -> None:
        if asked["organization"] != OWNER:
            return self._reply(403, b'{"error": "Forbidden"}')
        assert self.server.home is not None
        name = f"{OWNER}/{asked['name']}"
        folder = self.server.home / name / "main"
        folder.mkdir(parents=True)
        self.server.repositories[name, "main"] = folder
        if asked.get("visibility") == "private":
            self.server.private.add(name)
        return self._json({"url": f"{self.server.url}/{name}"})

    def _put(self, oid: str) -> dict:
        return {"upload": {"href": f"{self.server.url}/lfs/{oid}"}}

    def _change(self, name: str, verb: str, revision: str, asked: dict, body: bytes) -> None:
        hub = self.server
        if verb == "branch":
            folder = hub.repositories[name, "main"].with_name(revision)
            shutil.copytree(hub.repositories[name, "main"], folder)
            hub.repositories[name, revision] = folder
            return self._json({})
        if verb == "preupload":
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                for one in asked["files"]
            ]
            return self._json({"files": [{**one, "shouldIgnore": False, "oid": None} for one in modes]})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "header":
                continue
            value = line["value"]
            path = hub.repositories[name, revision] / value["path"]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(
                hub.blobs[value["oid"]] if line["key"] == "lfsFile" else base64.b64decode(value["content"])
            )
            hub.received.append(value["path"])
        hub.num_commits[name, revision] += 1
        found = hub.find(name, revision)
        assert found is not None
        return self._json({"commitUrl": f"{hub.url}/{name}/commit/{found[1]}", "commitOid": found[1]})

    def _json(self, answer: object) -> None:
        self._reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _api(self, verb: str, found: tuple[str, str, Path], inner: Path, *, is_deep: bool, asked: dict) -> None:
        _, commit, root = found
        name = next(name for (name, _), folder in self.server.repositories.items() if folder == root)
        is_private = name in self.server.private
        if verb == "revision":
            files = [{"rfilename": path.relative_to(root).as_posix()} for path in root.rglob("*") if path.is_file()]
            answer: object = {"id": "x/y", "sha": commit, "siblings": files, "private": is_private, "tags": []}
        elif verb == "paths-info":
            answer = [_entry(root, root / path) for path in asked.get("paths", []) if (root / path).exists()]
        elif not (root / inner).is_dir():
            return self._reply(404, headers={"X-Error-Code": "EntryNotFound"})
        else:
            paths = (root / inner).rglob("*") if is_deep else (root / inner).iterdir()
            answer = [_entry(root, path) for path in sorted(paths)]
        return self._json(answer)

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
def fake_hub(
    repositories: dict[tuple[str, str], Path], home: Path | None = None, token: str | None = None
) -> Iterator[FakeHub]:
    """The hub, while the block runs."""
    hub = FakeHub(repositories, home, token)
    Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
