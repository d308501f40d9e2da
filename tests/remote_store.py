"""An S3 server on loopback (moto's), and in front of it a proxy that does to requests what networks and stores do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "bench"
XML = '<?xml version="1.0"?><Error><Code>{0}</Code><Message>AKIASECRET of {0}</Message></Error>'
FAULTS = ("503", "reset", "lost answer", "truncated", "slow")


@dataclass
class Faults:
    """What the proxy does to requests.

    Attributes:
        every: something happens to each so-manyth request; 0 for none.
        refuse: codes of errors by the method, such as {"PUT": "AccessDenied"}, for all requests of it.
        done: how often each fault was done.
        requests: how often each method was asked for, and bytes `up` and `down`.
    """

    every: int = 0
    refuse: dict[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    _counted: int = 0
    _in_a_row: Counter[str] = field(default_factory=Counter)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def next(self, request: str) -> str:
        """What happens to a request, "" for nothing: each kind in turn, to one at most thrice in a row."""
        with self._guard:
            self._counted += 1
            if not self.every or self._counted % self.every or self._in_a_row[request] == 3:
                self._in_a_row[request] = 0
                self.done["none"] += 1
                return ""
            self._in_a_row[request] += 1
            fault = FAULTS[sum(self.done[kind] for kind in FAULTS) % len(FAULTS)]
            self.done[fault] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults
    port: int

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        faults = self.faults
        fault = faults.next(f"{self.command} {self.path}")
        faults.requests += Counter({"list" if "list-type=" in self.path else self.command: 1, "up": len(body)})
        if (code := faults.refuse.get(self.command)) is not None:
            self._answer(403, {}, XML.format(code).encode())
        elif fault == "503":
            self._answer(503, {}, XML.format("SlowDown").encode())
        elif fault == "reset":
            self._reset()
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            faults.requests["down"] += len(content)
            if fault == "lost answer":
                self._reset()
            else:
                self._answer(answer.status, dict(answer.getheaders()), content, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], content: bytes, fault: str = "") -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "truncated" and content:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif fault == "slow":
            for begin in range(0, len(content), max(1, len(content) // 4)):
                time.sleep(0.05)
                self.wfile.write(content[begin : begin + max(1, len(content) // 4)])
        else:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the other end hung up, as it does after a fault


@contextlib.contextmanager
def store_with_faults() -> Iterator[tuple[str, Faults]]:
    """The address of a proxy in front of a fresh server with one bucket, and the faults, none at first."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    faults = Faults()
    handler = type("Handler", (_Handler,), {"faults": faults, "port": port})
    proxy = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{proxy.server_port}"
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="key"
    )
    client.create_bucket(Bucket=BUCKET)
    try:
        yield address, faults
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.stop()
