"""Starts the web process and the workers of a server, and starts again whatever ends; all of them end with it.

The supervisor itself opens the socket, so that nobody who comes while the web process starts again is turned away.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import WARNING
from os import getpid
from types import FrameType

from ovsbench.benchmark.errors import UserError
from ovsbench.leaderboard.server.confinement import die_with
from ovsbench.leaderboard.server.server_folder import ServerFolder
from ovsbench.leaderboard.server.server_log import note, start_log

LOOK_SECONDS = 0.1
LONGEST_PAUSE = 10.0
PATIENCE_SECONDS = 10.0


@dataclass
class Part:
    """A process that is to run: how it is started, since when it runs, and how long to wait before the next start."""

    name: str
    command: Sequence[str]
    socket: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.0

    def keep_running(self) -> None:
        """Starts the process, if there is none or it ended; one that soon ends by itself waits longer each time."""
        at = time.monotonic()
        if self.process is not None and (code := self.process.poll()) is not None:
            note("ended", level=WARNING, process=self.name, code=code)
            is_hasty = code > 0 and at - self.started < PATIENCE_SECONDS
            self.pause = min(max(2 * self.pause, 0.5), LONGEST_PAUSE) if is_hasty else 0.0
            self.process, self.started = None, at
        if self.process is None and at >= self.started + self.pause:
            passed = () if self.socket is None else (self.socket.fileno(),)
            bound = functools.partial(die_with, getpid())  # from its first moment on; this process has one thread
            self.process = subprocess.Popen(
                self.command,
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                preexec_fn=bound,
            )
            self.started = at


def listening(folder: ServerFolder) -> socket.socket:
    """The socket of a server.

    Raises:
        UserError: address and port cannot be used.
    """
    config = folder.config
    family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(found, (config.address, config.port))
        found.listen(1024)
    except OSError as error:
        found.close()
        raise UserError(
            f"{config.address}, port {config.port} cannot be used: {error.strerror}. Choose another in server.toml"
        ) from error
    return found


def _bind(found: socket.socket, place: tuple[str, int]) -> None:
    """Binds; waits a moment for the processes of a supervisor that was killed just now."""
    limit = time.monotonic() + PATIENCE_SECONDS / 2
    while True:
        try:
            found.bind(place)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > limit:
                raise
        time.sleep(LOOK_SECONDS)


def run(folder: ServerFolder, parts: Sequence[str], ready: Callable[[str], None]) -> None:
    """Runs a server until SIGTERM or Ctrl-C.

    Args:
        folder: of the server.
        parts: "web", "worker" or both.
        ready: told of the address, or of the workers, once they are started.

    Raises:
        UserError: another server is at work in the folder, or the port cannot be used.
    """
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(folder.lock(f"server-{part}"))
        start_log(folder, "server")
        listed = list(_parts(folder, parts, stack))
        stopped = [False]

        def stop(_: int, __: FrameType | None) -> None:
            stopped[0] = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for process in listed:
                process.keep_running()
            ready(_where(folder, listed))
            while not stopped[0]:
                for process in listed:
                    process.keep_running()
                time.sleep(LOOK_SECONDS)
        finally:
            _end(listed)
            for number, handler in before.items():
                signal.signal(number, handler)


def _parts(folder: ServerFolder, parts: Sequence[str], stack: contextlib.ExitStack) -> list[Part]:
    module = [sys.executable, "-P", "-m"]
    found = []
    if "web" in parts:
        opened = stack.enter_context(listening(folder))
        command = [*module, "ovsbench.leaderboard.server.web", str(folder.path), str(opened.fileno())]
        found.append(Part("web", command, opened))
    for number in range(folder.config.workers if "worker" in parts else 0):
        slot = f"worker-{number}"
        found.append(Part(slot, [*module, "ovsbench.leaderboard.server.worker", str(folder.path), slot]))
    return found


def _where(folder: ServerFolder, parts: Sequence[Part]) -> str:
    opened = next((part.socket for part in parts if part.socket), None)
    if opened is None:
        return str(folder.path)
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _end(parts: Sequence[Part]) -> None:
    """Asks all processes to end, and ends those that do not; what they were at is taken up by the next start."""
    running = [part.process for part in parts if part.process is not None]
    for process in running:
        process.terminate()
    limit = time.monotonic() + PATIENCE_SECONDS
    for process in running:
        try:
            process.wait(max(limit - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
