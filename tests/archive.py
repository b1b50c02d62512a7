"""A small HTTP server on this machine that behaves as badly as it is told to."""

import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Archive:
    """Files by path, and faults by path: every request to it uses up one.

    A file is bytes, or a function of the query that returns bytes.

    A fault is `"cut"` (half of what is asked for, then the connection breaks),
    `"hang up"` (no answer), or the number of an HTTP status.
    """

    def __init__(self):
        self.files = {}
        self.faults = {}
        self.requests = []
        self.knows_ranges = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[0.01], daemon=True
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(archive):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                archive._answer(self)

            def log_message(self, *_):
                pass

        return Handler

    def _answer(self, request):
        path, _, query = request.path.partition("?")
        self.requests.append((request.path, request.headers.get("Range")))
        faults = self.faults.get(path, [])
        fault = faults.pop(0) if faults else None
        if fault == "hang up":
            request.close_connection = True
            return
        body = self.files.get(path)
        if callable(body):
            body = body(dict(urllib.parse.parse_qsl(query)))
        if isinstance(fault, int) or body is None:
            request.send_error(fault if fault else 404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        start = int(asked[1]) if asked and self.knows_ranges else 0
        if start >= len(body) > 0:
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        rest = body[start:]
        request.wfile.write(rest[: len(rest) // 2] if fault == "cut" else rest)
        request.close_connection = True
