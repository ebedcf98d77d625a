"""A model and dataset hub on loopback: the Hugging Face hub's HTTP protocol over plain folders.

    with Hub({"models/org/tiny": model_dir, "datasets/my_corpus": data_dir}) as hub:
        env = {**os.environ, **hub.environment(tmp_path)}
        subprocess.run([...], env=env)

Spoken is what huggingface_hub 1.x and datasets 4.x ask when they read: repository info, file tree, path info, file
heads and files with ranges. Files may change between requests; the commit id is a hash of what is there.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from loopback import Handler, Loopback

__all__ = ["Hub"]


class Hub(Loopback):
    """A hub that serves each `models/...` or `datasets/...` name from its folder while the context is open.

    `requests` lists what was asked, as (method, path), oldest first. `endpoint` is for `HF_ENDPOINT`.
    """

    def __init__(self, repositories: Mapping[str, Path | str]) -> None:
        self.repositories = {name: Path(folder) for name, folder in repositories.items()}
        for name in self.repositories:
            if not re.fullmatch(r"(models|datasets)/[\w.-]+(/[\w.-]+)?", name):
                raise ValueError(f"`{name}` is not models/ORG/NAME, datasets/ORG/NAME or datasets/NAME")
        self.requests: list[tuple[str, str]] = []
        super().__init__(_Handler)

    def environment(self, home: Path | str) -> dict[str, str]:
        """Variables for a process that is to use this hub, with its caches under `home`."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }


class _Repository:
    """One folder as the hub shows it: files, folders and a commit id, as they are now."""

    def __init__(self, name: str, folder: Path) -> None:
        self.id = name.split("/", 1)[1]
        self.folder = folder
        self.files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self.oids = {name: _blob_id(path) for name, path in self.files.items()}
        self.commit = hashlib.sha1(json.dumps(sorted(self.oids.items())).encode()).hexdigest()

    def entry(self, name: str) -> dict[str, Any] | None:
        """What the tree says about a path."""
        if name in self.files:
            return {
                "type": "file",
                "path": name,
                "oid": self.oids[name],
                "size": self.files[name].stat().st_size,
            }
        if any(file.startswith(name + "/") for file in self.files):
            return {"type": "directory", "path": name, "oid": hashlib.sha1(name.encode()).hexdigest(), "size": 0}
        return None

    def below(self, folder: str, *, recursive: bool) -> list[str]:
        """Paths of files and folders under `folder` ("" is the root)."""
        prefix = folder + "/" if folder else ""
        found = set()
        for name in self.files:
            if name.startswith(prefix):
                parts = name[len(prefix) :].split("/")
                depth = len(parts) if recursive else 1
                found.update(prefix + "/".join(parts[:length]) for length in range(1, depth + 1))
        return sorted(found)

    def info(self) -> dict[str, Any]:
        return {
            "_id": self.commit[:24],
            "id": self.id,
            "modelId": self.id,
            "sha": self.commit,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": name} for name in self.files],
        }


_BLOB_IDS: dict[tuple[str, int, int], str] = {}


def _blob_id(path: Path) -> str:
    """Git's id of the file's content, remembered while size and time of change stay."""
    state = path.stat()
    key = (str(path), state.st_size, state.st_mtime_ns)
    if key not in _BLOB_IDS:
        content = hashlib.sha1(b"blob %d\0" % state.st_size)
        content.update(path.read_bytes())
        _BLOB_IDS[key] = content.hexdigest()
    return _BLOB_IDS[key]


class _Handler(Handler):
    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub: Hub = self.front
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = unquote(url.path).strip("/")
        hub.requests.append((self.command, path))
        is_api = path.startswith("api/")
        name = path.removeprefix("api/")
        if not is_api and not name.startswith("datasets/"):
            name = "models/" + name
        for repository, folder in hub.repositories.items():
            if name == repository or name.startswith(repository + "/"):
                rest = name[len(repository) + 1 :]
                self._answer_about(_Repository(repository, folder), rest, is_api, parse_qs(url.query))
                return
        self._refuse("RepoNotFound", "Repository not found")

    def _answer_about(self, repository: _Repository, rest: str, is_api: bool, query: dict[str, list[str]]) -> None:
        action, _, rest = rest.partition("/")
        if is_api and not action:
            self._send_json(repository.info())
            return
        if is_api and action == "refs":
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.commit}
            self._send_json({"branches": [branch], "converts": [], "tags": []})
            return
        revision, _, path = rest.partition("/")
        if revision.startswith("refs") or revision not in ("main", repository.commit):
            self._refuse("RevisionNotFound", f"Invalid rev id: {revision}")
        elif is_api and action == "revision":
            self._send_json(repository.info())
        elif is_api and action == "tree":
            if path and repository.entry(path) is None:
                self._refuse("EntryNotFound", f"{path} does not exist")
                return
            recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            self._send_json([repository.entry(item) for item in repository.below(path, recursive=recursive)])
        elif is_api and action == "paths-info" and self.command == "POST":
            asked = parse_qs(self._body.decode()).get("paths", [])
            if "json" in (self.headers.get("Content-Type") or ""):
                asked = json.loads(self._body)["paths"]
            entries = (repository.entry(item.strip("/")) for item in asked)
            self._send_json([entry for entry in entries if entry is not None])
        elif not is_api and action == "resolve":
            self._send_file(repository, path)
        else:
            self._refuse("EntryNotFound", f"nothing answers to {self.command} {self.path}")

    def _refuse(self, code: str, message: str) -> None:
        self.send_body(404, message.encode(), {"X-Error-Code": code, "X-Error-Message": message})

    def _send_json(self, value: Any) -> None:
        self.send_body(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send_file(self, repository: _Repository, name: str) -> None:
        headers = {"X-Repo-Commit": repository.commit}
        if name not in repository.files:
            self.send_body(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
            return
        headers.update({"ETag": f'"{repository.oids[name]}"', "Content-Type": "application/octet-stream"})
        self.send_content(repository.files[name].read_bytes(), headers)
