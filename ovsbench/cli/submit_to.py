"""`ovsbench submit --to URL`: a submission checked here, sent to an evaluation server, and watched."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import UserError
from ovsbench.cli.console import complain, finish, print_json, say
from ovsbench.cli.progress_bar import progress


@dataclass(frozen=True)
class Sending:
    """What was asked for.

    Attributes:
        run: a run folder, or a bundle that is packed already.
        url: of the server.
        card: of the run.
        data: the benchmark folder, if it has moved.
        phase: of the server; by default the one whose benchmark the run was made on.
        waits: whether to wait for the scores.
        publishes: whether to wait, and to show the row to everybody then.
        as_json: whether JSON alone goes to stdout.
    """

    run: Path
    url: str
    card: Path
    data: Path | None = None
    phase: str | None = None
    waits: bool = False
    publishes: bool = False
    as_json: bool = False


def send(asked: Sending) -> None:
    """Packs, checks as the server will, sends; and waits and fetches the receipt if asked to.

    Raises:
        UserError: the submission is not sound, so that nothing is sent; the server refuses it, or it failed there.
    """
    from ovsbench.leaderboard.bundle.submission import pack_submission
    from ovsbench.plans.run_benchmarks import benchmark_of

    with tempfile.TemporaryDirectory(prefix="ovsbench-submit-") as folder:
        bundle = asked.run
        if asked.run.is_dir():
            bundle = Path(folder) / f"{asked.run.resolve().name}.zip"
            pack_submission(asked.run, asked.card, benchmark_of(asked.run, asked.data), bundle)
        described = _checked_and_sent(asked, bundle)
    if asked.waits or asked.publishes:
        described = _waited(asked, described["id"])
    receipt = _receipt(asked, described) if described["state"] == "scored" else None
    if asked.as_json:
        print_json({**described, "receipt": str(receipt) if receipt else None})
        return
    say(f"Submission {described['id']} is {described['state']}")
    if receipt is not None:
        finish(receipt, ["ovsbench", "receipt", "verify", receipt])
        return
    finish(
        f"{asked.url.rstrip('/')}/submissions/{described['id']}",
        ["ovsbench", "receipt", "fetch", described["id"], "--to", asked.url],
    )


def _checked_and_sent(asked: Sending, bundle: Path) -> dict[str, Any]:
    from ovsbench.leaderboard.bundle.submission import check_submission
    from ovsbench.leaderboard.server.client import Server

    server = Server.known(asked.url)
    submission = check_submission(bundle, progress=progress(quiet=asked.as_json))
    phase = server.phase(submission.benchmark.digest, submission.benchmark.name, asked.phase)
    return server.send(bundle, phase, progress(quiet=asked.as_json))


def _waited(asked: Sending, submission: str) -> dict[str, Any]:
    from ovsbench.leaderboard.server.client import Server

    state, described = "", {}
    for described in Server.known(asked.url).watch(submission):
        if described["state"] != state:
            state = described["state"]
            complain(f"{submission}: {state}")
    if state == "failed":
        raise UserError(f"{submission} was not scored, which costs no quota: {described['words']}")
    if asked.publishes:
        described = Server.known(asked.url).ask("POST", f"/api/submissions/{submission}/publish")
    return described


def _receipt(asked: Sending, described: dict[str, Any]) -> Path:
    from ovsbench.cli.receipt import save

    return save(described["id"], asked.url, Path(f"{described['id']}.receipt.json"))
