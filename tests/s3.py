"""As much of S3 as a backup needs, in memory behind a real socket: for tests of the requests that are really sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

BUCKET = "cold"
PAGE = 3
"""Names in one answer to a list: few, so that more answers are needed."""


class FakeS3:
    """What is in the bucket, and how it behaves."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[str] = []
        """Method and path of each, with the name of what is asked for."""
        self.is_down = False
        """Whether every request is answered 503."""
        self.url = ""

    def environment(self) -> dict[str, str]:
        """What an operator would set to use it."""
        return {
            "AWS_ENDPOINT": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: ClassVar[FakeS3]

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self) -> tuple[str, dict[str, list[str]], bytes]:
        """The object's name, the query and the body. The name is empty for the bucket itself."""
        parts = urlsplit(self.path)
        name = parts.path.removeprefix(f"/{BUCKET}").removeprefix("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.s3.requests.append(f"{self.command} {name}")
        return name, query, body

    def _is_refused(self) -> bool:
        if not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential=id/"):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif self.s3.is_down:
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        else:
            return False
        return True

    def do_GET(self) -> None:
        name, query, _ = self._begin()
        if self._is_refused():
            return
        if not name:
            self._answer(200, self._list(query), Content_Type="application/xml")
        elif name not in self.s3.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            data = self.s3.objects[name]
            self._answer(200, data, ETag=_etag(data), Last_Modified="Sun, 22 Nov 2026 21:00:00 GMT")

    do_HEAD = do_GET  # noqa: N815 - the name that the library calls

    def _list(self, query: dict[str, list[str]]) -> bytes:
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        names = [name for name in sorted(self.s3.objects) if name.startswith(prefix) and name > after]
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-22T21:00:00.000Z</LastModified>"
            f"<ETag>{escape(_etag(self.s3.objects[name]))}</ETag><Size>{len(self.s3.objects[name])}</Size></Contents>"
            for name in names[:PAGE]
        )
        more = f"<NextContinuationToken>{names[PAGE - 1]}</NextContinuationToken>" if len(names) > PAGE else ""
        return f"<ListBucketResult>{rows}{more}</ListBucketResult>".encode()

    def do_PUT(self) -> None:
        name, query, body = self._begin()
        if self._is_refused():
            return
        if "partNumber" in query:
            self.s3.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            self.s3.objects[name] = body
        self._answer(200, ETag=_etag(body))

    def do_POST(self) -> None:
        name, query, body = self._begin()
        if self._is_refused():
            return
        if "uploads" in query:
            upload = f"upload-{len(self.s3.uploads)}"
            self.s3.uploads[upload] = {}
            xml = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        else:
            parts = self.s3.uploads.pop(query["uploadId"][0])
            wanted = [int(n.text or "") for n in ET.fromstring(body).iter() if n.tag.endswith("PartNumber")]  # noqa: S314
            self.s3.objects[name] = b"".join(parts[number] for number in wanted)
            etag = escape(_etag(self.s3.objects[name]))
            xml = f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        self._answer(200, xml.encode(), Content_Type="application/xml")

    def do_DELETE(self) -> None:
        _, query, _ = self._begin()
        if not self._is_refused():
            self.s3.uploads.pop(query["uploadId"][0], None)
            self._answer(204)

    def log_message(self, *_: object) -> None:
        """A test's own output is enough."""


def _etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    """A server on a free port, until the end of the block."""
    s3 = FakeS3()
    handler = type("Handler", (_Handler,), {"s3": s3})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        s3.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield s3
        finally:
            server.shutdown()
            thread.join()
