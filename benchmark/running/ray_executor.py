"""Videos on the machines of a Ray cluster: actors that build their work once; lost ones are replaced. Only here is Ray.

The driver keeps a window of `IN_FLIGHT` videos for each actor and no more, so that its memory does not depend on how
many videos there are. An actor does its videos in order: when it is lost, the first of them was at work, and the others
are handed out again without blame.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import socket
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

# Before Ray is imported: its notices about lost machines are told here in other words, and it reports to nobody.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# `ray start` uses the token of this user where there is one; who connects has to say so, before Ray is imported.
if "ray" not in sys.modules and (
    os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} or Path("~/.ray/auth_token").expanduser().exists()
):
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray import exceptions

import ovsbench
from ovsbench.benchmark.cores import use_threads
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.processes import NODE
from ovsbench.benchmark.progress import SILENT, Progress, Report, plural
from ovsbench.benchmark.running.executor import (
    IN_FLIGHT,
    Begin,
    Machines,
    Piece,
    SetAsideError,
    Work,
    longest_first,
)

DEATHS = 3
"""Actors that a video may end before it is set aside; those that went with their machine do not count."""
LOSSES = 12
"""Actors that may be lost over a video, for whatever reason, before it is set aside."""
PATIENCE = 600.0
"""Seconds for an actor to come up, and to build its work."""
TICK = 2.0
"""Seconds between looks at the cluster."""
_INHERITED = re.compile("(OVSBENCH|HF|TRANSFORMERS)_(?!.*TOKEN)")
"""Variables of the driver's environment that actors get; tokens stay where they are."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@contextlib.contextmanager
def connected(machines: Machines, report: Report) -> Iterator[RayExecutor]:
    """A connection to Ray for the block; one that this process has already is used and kept.

    Raises:
        UserError: there is no Ray, it does not answer, or it is another version.
    """
    had_one = ray.is_initialized()
    if not had_one:
        _connect(machines.on, report)
    try:
        yield RayExecutor(machines.actors, machines.gpus_per_actor, machines.threads or 1)
    finally:
        if not had_one:
            ray.shutdown()


def _connect(on: str, report: Report) -> None:
    own = os.environ.get("RAY_ADDRESS", "local")  # without an address Ray would join one that happens to run here
    address = {"ray": own, "ray://auto": "auto"}.get(on, on)
    try:
        if ":" in (place := address.removeprefix("ray://")):
            host, _, port = place.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()  # Ray would try for minutes
        # No runtime environment: nothing of this folder is sent. Machines have ovsbench and see the same files.
        context = ray.init(address=address, log_to_driver=False, logging_level="CRITICAL", namespace="ovsbench")
    except Exception as error:  # of many kinds, by what is wrong
        told = " ".join(str(error).split())[:400].rstrip(".") or type(error).__name__
        raise UserError(
            f"--on {on}: expected a Ray cluster of version {ray.__version__} and Python {platform.python_version()}, "
            f"got: {told}. Start one there with: ray start --head; or give --on ray for one on this machine alone"
        ) from error
    if url := getattr(context, "dashboard_url", None):
        report(f"Ray's dashboard: http://{url}")


@dataclass(frozen=True)
class _Home:
    """Where an actor lives.

    Attributes:
        node: name of the machine and the beginning of Ray's number of it.
        node_id: Ray's number.
        log: file on that machine that holds what the actor printed.
        source: which ovsbench it has.
    """

    node: str
    node_id: str
    log: str
    source: str


@dataclass(frozen=True)
class _Failed:
    """What the work raised: errors of people as they are, others with their traceback."""

    error: Exception


class _Actor:
    """A process of the cluster; builds its work once and does it on one video after the other."""

    def home(self) -> _Home:
        context = ray.get_runtime_context()
        number = context.get_node_id()
        with contextlib.suppress(OSError):
            log = str(Path("/proc/self/fd/2").readlink())
            return _Home(f"{platform.node()}-{number[:8]}", number, log, source_of())
        return _Home(f"{platform.node()}-{number[:8]}", number, "the logs of Ray there", source_of())

    def build(self, make: Callable[[], Work[Any, Any]], folder: str, environment: Mapping[str, str], cpus: int) -> Any:
        """Builds the work in the driver's folder; returns what the work says of itself."""
        os.environ.update({**environment, NODE: self.home().node})
        use_threads(cpus)
        try:
            os.chdir(folder)
            self._work = make()
        except FileNotFoundError as error:
            if error.filename != folder:
                return _failure(error)
            told = f"{platform.node()} has no folder {folder}. Give the command in one that all machines share"
            return _Failed(UserError(told))
        except (Exception, SystemExit) as error:
            return _failure(error)
        return getattr(self._work, "about", None)

    def do(self, item: Any) -> Any:
        """The result of the work on an item, or why there is none."""
        try:
            return self._work(item, SILENT)
        except (Exception, SystemExit) as error:
            return _failure(error)


def _failure(error: BaseException) -> _Failed:
    if isinstance(error, UserError):
        return _Failed(error)
    told = "".join(traceback.format_exception(error)).rstrip()
    return _Failed(
        MemoryError(str(error)) if isinstance(error, MemoryError) else RuntimeError(f"on a machine:\n{told}")
    )


@functools.cache
def source_of() -> str:
    """Which ovsbench this process has: version and the beginning of a digest of its source."""
    sha, root = hashlib.sha256(), Path(ovsbench.__file__).parent
    for folder, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                path = Path(folder, name)
                sha.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return f"{ovsbench.__version__} ({sha.hexdigest()[:12]})"


@dataclass
class _Member:
    """An actor as the driver knows it.

    Attributes:
        handle: Ray's.
        since: when it was asked for, and then when it came up.
        awaited: what it was told to do, in this order: None to come up, then to build its work, then videos.
        home: None until it is up.
        is_ready: whether its work is built.
        began: when the first video of `awaited` began.
    """

    handle: Any
    since: float
    awaited: deque[tuple[Any, Piece[Any] | None]] = field(default_factory=deque)
    home: _Home | None = None
    is_ready: bool = False
    began: float = 0.0


@dataclass(frozen=True)
class RayExecutor:
    """The cluster that this process is connected to.

    Attributes:
        actors, gpus_per_actor: see `Machines`.
        cpus: of each actor.
        patience: seconds, see `PATIENCE`.
    """

    actors: int | None = None
    gpus_per_actor: float | None = None
    cpus: int = 1
    patience: float = PATIENCE
    is_remote: bool = True

    def each(
        self,
        make: Callable[[], Work[_Item, _Result]],
        pieces: Sequence[Piece[_Item]],
        progress: Progress = SILENT,
        *,
        begin: Begin | None = None,
        uses_gpu: bool = False,
        fresh: bool = False,
    ) -> Generator[tuple[Piece[_Item], _Result], None, None]:
        """See `Executor`."""
        gpus = 0.0
        if uses_gpu:
            has_some = ray.cluster_resources().get("GPU", 0) > 0
            gpus = self.gpus_per_actor if self.gpus_per_actor is not None else float(has_some)
        crew = _Crew(self, ray.put(make), deque(longest_first(pieces)), progress, begin, gpus, fresh)
        try:
            yield from crew.results()
        except ConnectionError as error:
            raise UserError(
                f"Ray: the connection to the cluster was lost: {error}. Give the same command again; it goes on"
            ) from error
        finally:
            crew.dismiss()
        if crew.faults:
            raise SetAsideError(crew.faults, len(pieces))


class _Crew:
    """The actors of one loop, and the videos that they have."""

    def __init__(
        self,
        executor: RayExecutor,
        make: Any,
        todo: deque[Piece[Any]],
        progress: Progress,
        begin: Begin | None,
        gpus: float,
        fresh: bool,
    ) -> None:
        self._executor, self._make, self._todo, self._progress = executor, make, todo, progress
        self._begin, self._gpus, self._fresh = begin, gpus, fresh
        self._kind = ray.remote(_Actor).options(num_cpus=executor.cpus, num_gpus=gpus, max_restarts=0)
        self._members: list[_Member] = []
        self._deaths, self._losses = Counter[str](), Counter[str]()
        self._failed_starts = 0
        self._looked = 0.0
        self._up_last = time.monotonic()
        self.faults: dict[str, str] = {}

    def results(self) -> Iterator[tuple[Piece[Any], Any]]:
        """Hands out videos and yields what comes back, until none is left."""
        while self._todo or any(piece for one in self._members for _, piece in one.awaited):
            if time.monotonic() - self._looked >= TICK or not self._members:
                self._look()
            self._hand_out()
            heads = {one.awaited[0][0]: one for one in self._members if one.awaited}
            for ref in ray.wait(list(heads), num_returns=1, timeout=TICK)[0] if heads else ():
                yield from self._take(heads[ref])

    def dismiss(self) -> None:
        """Ends all actors."""
        for one in self._members:
            _end(one)
        self._members.clear()

    def _look(self) -> None:
        """Brings the crew to the size that the cluster fits, parts with who does not come up, and tells the state."""
        self._looked = now = time.monotonic()
        for one in [one for one in self._members if one.home and not one.is_ready]:
            if now - one.since > self._executor.patience:
                self._lose(one, f"has been building its work for {now - one.since:.0f} s")
        if any(one.home for one in self._members):
            self._up_last = now
        elif now - self._up_last > self._executor.patience:
            raise UserError(
                f"Ray: expected an actor with {plural(self._executor.cpus, 'CPU')} and {self._gpus:g} GPU within "
                f"{self._executor.patience:.0f} s, got none; the cluster has {_resources()}. Add machines or ask for "
                "less with --threads and --gpus-per-actor"
            )
        waiting = sum(1 for one in self._members for _, piece in one.awaited if piece)
        for _ in range(min(self._wanted(), len(self._todo) + waiting) - len(self._members)):
            member = _Member(self._kind.remote(), now)
            member.awaited.append((member.handle.home.remote(), None))
            self._members.append(member)
        self._progress.machines(self._state(now))

    def _wanted(self) -> int:
        if self._executor.actors is not None:
            return self._executor.actors
        has = ray.cluster_resources()
        fits = [int(has.get("CPU", 0)) // self._executor.cpus]
        if self._gpus:
            of_each = int(1 / self._gpus) if self._gpus < 1 else 1 / self._gpus
            fits.append(int(has.get("GPU", 0) * of_each))
        return max(1, min(fits))

    def _hand_out(self) -> None:
        """Gives every actor that is ready a video, and while there are many a second one that waits there."""
        for depth in range(1, 2 if self._fresh else IN_FLIGHT + 1):
            for one in self._members:
                if not self._todo or (depth > 1 and len(self._todo) <= len(self._members)):
                    return
                if one.is_ready and len(one.awaited) < depth:
                    piece = self._todo.popleft()
                    if not one.awaited:
                        one.began = time.monotonic()
                    one.awaited.append((one.handle.do.remote(piece.item), piece))

    def _take(self, one: _Member) -> Iterator[tuple[Piece[Any], Any]]:
        """Takes what an actor has done, the first thing that it was told."""
        ref, piece = one.awaited[0]
        try:
            value = ray.get(ref)
        except exceptions.RayTaskError as error:  # of what was sent or came back, not of the machine
            if piece is not None or one.home is None:
                raise
            told = " ".join(str(error.cause or error).split())[:300]
            raise UserError(f"{one.home.node}: {told}. Install the same packages on all machines") from error
        except exceptions.RayError as error:
            self._lose(one, _cause(error), error)
            return
        one.awaited.popleft()
        one.began = time.monotonic()
        if isinstance(value, _Failed):
            if piece is None and not isinstance(value.error, UserError):
                value.error.add_note(f"on {one.home.node if one.home else 'a machine'}")
            raise value.error
        if piece is not None:
            self._progress.frame(piece.frames)
            if self._fresh:
                _end(one)
                self._members.remove(one)
                self._looked = 0.0
            yield piece, value
        elif one.home is None:
            self._welcome(one, value)
        else:
            one.is_ready, self._failed_starts = True, 0
            if self._begin is not None:
                self._begin(value, one.home.node)

    def _welcome(self, one: _Member, home: _Home) -> None:
        """Lets an actor that is up build its work.

        Raises:
            UserError: it has another ovsbench.
        """
        if home.source != source_of():
            raise UserError(
                f"{home.node} has ovsbench {home.source}, this command is of ovsbench {source_of()}. "
                "Install the same on all machines"
            )
        one.home, one.since = home, time.monotonic()
        inherited = {key: value for key, value in os.environ.items() if _INHERITED.match(key)}
        ref = one.handle.build.remote(self._make, str(Path.cwd()), inherited, self._executor.cpus)
        one.awaited.append((ref, None))

    def _lose(self, one: _Member, cause: str, error: Exception | None = None) -> None:
        """Parts with an actor; its first video is tried again until it has ended too many, the others wait anew.

        Raises:
            UserError: actors come to nothing before their first video, again and again.
        """
        _end(one)
        self._members.remove(one)
        self._looked = 0.0
        where = "a machine that did not say its name" if one.home is None else f"{one.home.node}, log {one.home.log}"
        died = isinstance(error, exceptions.ActorDiedError | exceptions.OutOfMemoryError)
        is_there = "its node" not in str(error) and (one.home is None or _is_alive(one.home.node_id))
        by_itself = error is None or (died and is_there)  # and did not go with its machine
        pieces = [piece for _, piece in one.awaited if piece is not None]
        if not one.is_ready:
            self._failed_starts += by_itself
            if self._failed_starts >= DEATHS and not any(other.is_ready for other in self._members):
                raise UserError(
                    f"Ray: {plural(DEATHS, 'actor')} in a row came to nothing; the last one, on {where}, {cause}. "
                    "Read its log; every machine needs the same installation and the same files"
                )
        elif pieces:
            first = pieces[0].name
            self._losses[first] += 1
            self._deaths[first] += by_itself
            if self._deaths[first] >= DEATHS or self._losses[first] >= LOSSES:
                ended = plural(self._losses[first], "actor")
                self.faults[first] = f"{ended} ended over it, the last one on {where}: {cause}"
                pieces = pieces[1:]
        self._todo.extendleft(reversed(pieces))

    def _state(self, now: float) -> str:
        """What each machine does, in a few words."""
        at_work: dict[str, list[tuple[float, str]]] = {}
        for one in self._members:
            if one.home is not None:
                of_node = at_work.setdefault(one.home.node, [])
                of_node.extend((now - one.began, piece.name) for _, piece in list(one.awaited)[:1] if piece)
        parts = []
        for node, videos in sorted(at_work.items())[:6]:
            seconds, name = max(videos, default=(0.0, ""))
            parts.append(f"{node} {len(videos)}" + (f" ({name} for {seconds:.0f} s)" if seconds >= 2 * TICK else ""))
        more = f", {len(at_work) - 6} more machines" if len(at_work) > 6 else ""
        coming = sum(1 for one in self._members if not one.is_ready)
        waiting = f", {plural(coming, 'actor')} coming up" if coming else ""
        return f"at work on {', '.join(parts) or 'no machine'}{more}{waiting}"


def _end(one: _Member) -> None:
    with contextlib.suppress(Exception):  # it may be gone, and the connection with it
        ray.kill(one.handle)


def _is_alive(node_id: str) -> bool:
    return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())


def _resources() -> str:
    has = ray.cluster_resources()
    return f"{has.get('CPU', 0):g} CPU and {has.get('GPU', 0):g} GPU"


def _cause(error: Exception) -> str:
    """What Ray says of a lost actor, in half a sentence."""
    if isinstance(error, exceptions.OutOfMemoryError):
        return "ended for want of memory"
    if isinstance(error, exceptions.ActorUnavailableError):
        return "could not be reached any more"
    if "worker process has died" in str(error):
        return "ended without a word, as one does that is killed or takes more memory than there is"
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return f"ended: {lines[-1][:300] if lines else type(error).__name__}"
