"""`ovsbench app`: a page to play with."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from ovsbench.benchmark.errors import StoppedError
from ovsbench.cli.console import say_served
from ovsbench.cli.options import Device, Threads


def app(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8010,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
    megabytes: Annotated[int, typer.Option("--most-mb", min=1, help="The largest video that is taken.")] = 4000,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Open a page for your own video and words: drop, type, watch the overlay, download the masks.

    It serves this machine alone, at an address that holds a secret. Models are those that were fetched before
    (ovsbench fetch m2f-clip) and those that come with the package. Uploads are removed when it ends, with Ctrl-C.

    \b
    [bold]Examples[/bold]
      ovsbench app
      ovsbench app --port 0 --no-open
    """
    import webbrowser

    from ovsbench.app.web import serving
    from ovsbench.benchmark.cores import use_threads
    from ovsbench.plans.models import choices

    use_threads(threads)
    models, warnings = choices(device)
    with serving(models, port, warnings=warnings, most=megabytes * 1_000_000) as (address, server, listener):
        say_served(address)
        if open_it:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    if not server.started:
        raise StoppedError("stopped before it had begun")
