"""What stands before every request: headers that browsers obey, limits of body, time and rate, a line in the log."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from ovsbench.leaderboard.server.refused import RefusedError
from ovsbench.leaderboard.server.server_log import note

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PLAIN_BODY = 64 << 10
PART_BODY = 64 << 20
"""Bytes of one part of an upload."""
STALLED_SECONDS = 60
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass
class Rates:
    """How often something may happen: a bucket for each key, that holds `burst` and fills by `per_minute`."""

    per_minute: float
    burst: float
    buckets: dict[str, tuple[float, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str) -> bool:
        """Whether it may happen now."""
        at = time.monotonic()
        with self.lock:
            if len(self.buckets) > 10_000:  # those that are full again say nothing
                full = 60 * self.burst / self.per_minute
                self.buckets = {k: v for k, v in self.buckets.items() if at - v[1] < full}
            held, before = self.buckets.get(key, (self.burst, at))
            held = min(self.burst, held + (at - before) * self.per_minute / 60)
            self.buckets[key] = (held - 1 if held >= 1 else held, at)
            return held >= 1


@dataclass
class Pace:
    """How fast all uploads together may come, so that pages are answered meanwhile: used in one event loop alone."""

    bytes_per_second: float
    free_at: float = 0.0

    async def wait(self, size: int) -> None:
        """Waits until so many bytes more may come."""
        at = time.monotonic()
        self.free_at = max(self.free_at, at) + size / self.bytes_per_second
        await asyncio.sleep(self.free_at - at)


class Guard:
    """The outermost layer of the web process.

    Args:
        app: what it guards.
        most_bytes: of an upload by a form.
        is_https: whether participants come by https.
    """

    def __init__(self, app: App, *, most_bytes: int, is_https: bool) -> None:
        self.app, self.most_bytes = app, most_bytes
        headers = dict(_HEADERS)
        if is_https:
            headers["strict-transport-security"] = "max-age=31536000"
        self.headers = [(key.encode(), value.encode()) for key, value in headers.items()]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self.headers]
            await send(message)

        try:
            await self.app(scope, self._counted(scope, receive), guarded_send)
        finally:
            took = round(1000 * (time.monotonic() - started), 1)
            client = (scope.get("client") or ("",))[0]
            facts = {"method": scope["method"], "path": scope["path"][:200], "status": status, "ms": took}
            note("request", client=client, **facts)

    def _counted(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        most, came = self._most(scope), 0

        async def counted_receive() -> Message:
            nonlocal came
            try:
                message = await asyncio.wait_for(receive(), STALLED_SECONDS)
            except TimeoutError:
                raise RefusedError(f"nothing came for {STALLED_SECONDS} s. Send the rest again", 408) from None
            came += len(message.get("body", b""))
            if came > most:
                raise RefusedError(f"expected at most {most} bytes in one request, more came. Send less", 413)
            return message

        return counted_receive

    def _most(self, scope: MutableMapping[str, Any]) -> int:
        if scope["method"] == "PATCH":
            return PART_BODY
        return self.most_bytes + PLAIN_BODY if scope["path"].endswith("/upload") else PLAIN_BODY
