"""A bucket of Google Cloud Storage in memory, by as much of its JSON API as clients use here.

    store = serving()   # gs://anything/... of this process and its children lies there

gcsfs and TensorStore are told by environment where it is, as they are of other emulators.
"""

import base64
import functools
import hashlib
import itertools
import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

OBJECTS = re.compile(r"/storage/v1/b/([^/]+)/o")
OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
UPLOAD = re.compile(r"/upload/(\d+)")
REWRITE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)")
MOVE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/o/([^/]+)")


class Store:
    """Objects by bucket and name, each with its generation."""

    def __init__(self):
        self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.uploads: dict[str, tuple[str, str, bytearray]] = {}
        self.lock = threading.RLock()
        self._generations = itertools.count(1)

    def put(self, bucket: str, name: str, data: bytes) -> dict:
        with self.lock:
            self.objects[bucket, name] = data, next(self._generations)
        return self.about(bucket, name)

    def about(self, bucket: str, name: str) -> dict:
        data, generation = self.objects.get((bucket, name), (b"", 0))  # it may just have gone
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(data)),
            "generation": str(generation),
            "metageneration": "1",
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "crc32c": base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode(),
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }

    def names(self, bucket: str) -> list[str]:
        with self.lock:
            return sorted(name for at, name in self.objects if at == bucket)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *args) -> None:
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        path = url.path.removeprefix("/download")
        if found := OBJECT.fullmatch(path):
            bucket, name = found[1], unquote(found[2])
            held = self.store.objects.get((bucket, name))
            if held is None:
                return self._answer(404, {"error": {"code": 404, "message": "No such object"}})
            if query.get("alt") != "media":
                return self._answer(200, self.store.about(bucket, name))
            return self._media(*held, query)
        if found := OBJECTS.fullmatch(path.rstrip("/")):
            return self._answer(200, self._listed(found[1], query))
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)", path):
            return self._answer(200, {"kind": "storage#bucket", "name": found[1]})
        return self._answer(404, {"error": {"code": 404, "message": self.path}})

    def _media(self, data: bytes, generation: int, query: dict):
        headers = {"x-goog-generation": str(generation), "etag": str(generation)}
        if query.get("ifGenerationNotMatch") == str(generation):
            return self._answer(304, b"", headers)
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            return self._answer(412, b"", headers)
        if found := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
            first = int(found[1])
            last = min(int(found[2]) if found[2] else len(data) - 1, len(data) - 1)
            if first >= len(data):
                return self._answer(416, b"", headers)
            headers["content-range"] = f"bytes {first}-{last}/{len(data)}"
            return self._answer(206, data[first : last + 1], headers)
        return self._answer(200, data, headers)

    def _listed(self, bucket: str, query: dict) -> dict:
        prefix, cut = query.get("prefix", ""), query.get("delimiter")
        items, below = [], {}
        for name in self.store.names(bucket):
            if not name.startswith(prefix) or name < query.get("startOffset", ""):
                continue
            if "endOffset" in query and name >= query["endOffset"]:
                continue
            rest = name[len(prefix) :]
            if cut and cut in rest:
                below[prefix + rest.split(cut)[0] + cut] = True
            else:
                items.append(self.store.about(bucket, name))
        return {"kind": "storage#objects", "items": items, "prefixes": list(below)}

    def do_POST(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if upload := UPLOAD.fullmatch(url.path):
            return self._continue(upload[1], body)
        if url.path.startswith("/upload/"):
            found = OBJECTS.fullmatch(url.path.removeprefix("/upload"))
            return self._upload(found[1], query, body)
        if url.path.startswith("/batch/"):
            return self._batch(body)
        if found := REWRITE.fullmatch(url.path):
            return self._copy((found[1], unquote(found[2])), (found[3], unquote(found[4])))
        if found := MOVE.fullmatch(url.path):
            source = found[1], unquote(found[2])
            return self._copy(source, (found[1], unquote(found[3])), moves=True)
        return self._answer(404, {"error": {"code": 404, "message": self.path}})

    def _copy(self, source: tuple[str, str], target: tuple[str, str], moves: bool = False) -> None:
        held = self.store.objects.get(source)
        if held is None:
            return self._answer(404, {"error": {"code": 404, "message": str(source)}})
        about = self.store.put(*target, held[0])
        if moves:
            self.store.objects.pop(source, None)
        return self._answer(200, {"done": True, "resource": about, **about})

    def _upload(self, bucket: str, query: dict, body: bytes):
        kind = query["uploadType"]
        if kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            upload = str(len(self.store.uploads))
            self.store.uploads[upload] = bucket, name, bytearray()
            where = f"http://{self.headers['host']}/upload/{upload}"
            return self._answer(200, {}, {"location": where})
        if kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["content-type"])[1]
            about, data = (
                re.split(b"\r?\n\r?\n", part, maxsplit=1)[1]
                for part in body.split(b"--" + boundary.encode())[1:3]
            )
            name, data = query.get("name") or json.loads(about)["name"], _without_end(data)
        else:
            name, data = query["name"], body
        held = self.store.objects.get((bucket, name))
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and wanted != str(held[1] if held else 0):
            return self._answer(412, {"error": {"code": 412, "message": "generation"}})
        return self._answer(200, self.store.put(bucket, name, data))

    def _continue(self, upload: str, body: bytes):
        bucket, name, data = self.store.uploads[upload]
        data += body
        if self.headers["content-range"].endswith("/*"):  # how much there is is not known yet
            return self._answer(308, b"", {"range": f"bytes=0-{len(data) - 1}"})
        return self._answer(200, self.store.put(bucket, name, bytes(data)))

    def do_DELETE(self):
        self._answer(*self._delete(urlsplit(self.path).path))

    def _delete(self, path: str) -> tuple[int, dict | bytes]:
        found = OBJECT.fullmatch(path)
        with self.store.lock:
            gone = self.store.objects.pop((found[1], unquote(found[2])), None)
        return (204, b"") if gone else (404, {"error": {"code": 404, "message": path}})

    def _batch(self, body: bytes):
        """Several deletions as one request."""
        boundary, answers = "batch", ""
        for path in re.findall(rb"DELETE (\S+) HTTP", body):
            code, _ = self._delete(urlsplit(path.decode()).path)
            head = f"--{boundary}\r\ncontent-type: application/http\r\n\r\n"
            answers += f"{head}HTTP/1.1 {code} x\r\n\r\n\r\n"
        text = answers + f"--{boundary}--\r\n"
        kind = {"content-type": f"multipart/mixed; boundary={boundary}"}
        return self._answer(200, text.encode(), kind)

    def _answer(self, code: int, content: dict | bytes, headers: dict | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        headers = {"content-type": "application/json", **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        if code not in (204, 304):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if code not in (204, 304):
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address) -> None:
        """Who asked may be gone: that is no failure of the one who answers."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _without_end(part: bytes) -> bytes:
    """A part of a body without the line end that belongs to the boundary."""
    return part.removesuffix(b"\n").removesuffix(b"\r")


@functools.cache
def serving() -> Store:
    """Serves a store for as long as this process lives; gs:// leads to it, here and in programs
    started from here. Clients remember where it is: there is one."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    os.environ |= {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
        "no_proxy": "127.0.0.1",
    }
    return store
