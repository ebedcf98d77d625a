"""An object store on loopback that answers what s3fs and gcsfs ask when they read: S3's REST protocol and the JSON
interface of Google Cloud Storage, over objects in memory.

    with ObjectStore({"bucket/rows.jsonl": b"..."}) as store:
        run_tool("prepare_dataset", {"source": "s3://bucket/rows.jsonl", ...}) with store.environment()
"""

import json
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from loopback import Handler, Loopback

__all__ = ["ObjectStore"]


class ObjectStore(Loopback):
    """Serves `bucket/key` -> content while the context is open; `requests` lists (method, path)."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = dict(objects)
        self.requests: list[tuple[str, str]] = []
        super().__init__(_Handler)

    def environment(self) -> dict[str, str]:
        """Variables for a process that is to read from here by s3:// and gs://."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "STORAGE_EMULATOR_HOST": self.endpoint,
            "FSSPEC_GS_TOKEN": "anon",
            "FSSPEC_GCS_TOKEN": "anon",
            "NO_PROXY": "127.0.0.1",
        }


class _Handler(Handler):
    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        store: ObjectStore = self.front
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        store.requests.append((self.command, self.path))
        path = url.path.strip("/")
        for prefix in ("download/storage/v1/b/", "storage/v1/b/"):
            if path.startswith(prefix):
                bucket, _, key = path.removeprefix(prefix).partition("/o")
                self._answer_google(store.objects, unquote(bucket), unquote(key.strip("/")), query)
                return
        bucket, _, key = unquote(path).partition("/")
        self._answer_s3(store.objects, bucket, key, query)

    def _listed(
        self, objects: dict[str, bytes], bucket: str, query: dict[str, str]
    ) -> tuple[dict[str, bytes], list[str]]:
        """(key -> content, common prefixes) below the asked prefix."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        found: dict[str, bytes] = {}
        folders = set()
        for name, content in sorted(objects.items()):
            if name.startswith(f"{bucket}/{prefix}"):
                key = name[len(bucket) + 1 :]
                rest = key[len(prefix) :]
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.split(delimiter, 1)[0] + delimiter)
                else:
                    found[key] = content
        return found, sorted(folders)

    def _answer_s3(self, objects: dict[str, bytes], bucket: str, key: str, query: dict[str, str]) -> None:
        if key:
            self._send_object(objects.get(f"{bucket}/{key}"))
            return
        if not any(name.startswith(bucket + "/") for name in objects):
            body = "<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
            self.send_body(404, body.encode(), {"Content-Type": "application/xml"})
            return
        found, folders = self._listed(objects, bucket, query)
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size><ETag>&quot;e&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for name, content in found.items()
        )
        prefixes = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        body = (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(query.get('prefix', ''))}</Prefix>"
            f"<KeyCount>{len(found) + len(folders)}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
            f"{contents}{prefixes}</ListBucketResult>"
        )
        self.send_body(200, body.encode(), {"Content-Type": "application/xml"})

    def _answer_google(self, objects: dict[str, bytes], bucket: str, key: str, query: dict[str, str]) -> None:
        def described(name: str, content: bytes) -> dict[str, str]:
            return {
                "kind": "storage#object",
                "id": f"{bucket}/{name}/1",
                "name": name,
                "bucket": bucket,
                "size": str(len(content)),
                "generation": "1",
                "updated": "2026-01-01T00:00:00.000Z",
                "timeCreated": "2026-01-01T00:00:00.000Z",
                "mediaLink": f"{self.front.endpoint}/download/storage/v1/b/{bucket}/o/{name}?alt=media",
            }

        if not key:
            found, folders = self._listed(objects, bucket, query)
            answer = {"items": [described(name, content) for name, content in found.items()], "prefixes": folders}
            self.send_body(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})
            return
        content = objects.get(f"{bucket}/{key}")
        if content is None or query.get("alt") == "media":
            self._send_object(content)
        else:
            self.send_body(200, json.dumps(described(key, content)).encode(), {"Content-Type": "application/json"})

    def _send_object(self, content: bytes | None) -> None:
        if content is None:
            self.send_body(404, b"", {})
            return
        modified = formatdate(1_767_225_600, usegmt=True)
        self.send_content(content, {"ETag": '"e"', "Last-Modified": modified})
