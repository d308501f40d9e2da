"""The `ovsbench` command. It alone sees every package, and imports each inside the verb that needs it."""

from __future__ import annotations

from ovsbench.cli import interrupt

interrupt.install()  # before the imports that take their time

import errno  # noqa: E402
import os  # noqa: E402
import traceback  # noqa: E402
from typing import Annotated, Any  # noqa: E402

import typer  # noqa: E402
from typer.core import TyperGroup  # noqa: E402

import ovsbench  # noqa: E402
from ovsbench.benchmark.cores import sleep_while_waiting  # noqa: E402
from ovsbench.benchmark.errors import StoppedError, UserError  # noqa: E402
from ovsbench.cli import (  # noqa: E402
    ablate,
    association,
    bench,
    board,
    calibrate,
    cluster,
    compare,
    data,
    demo,
    diagnose,
    doctor,
    fetch,
    import_export,
    list_verb,
    login,
    own_method,
    predict,
    receipt,
    run,
    server,
    speed,
    submit,
    suite,
    synonyms,
    train,
)
from ovsbench.cli import app as page  # noqa: E402
from ovsbench.cli.console import QUIET, VERBOSE, complain, say, whole_output  # noqa: E402

OPTIONAL = {
    **dict.fromkeys(("torch", "torchvision", "open_clip", "transformers", "safetensors"), "gkc,video"),
    **dict.fromkeys(("huggingface_hub", "av", "decord"), "gkc,video"),
    **dict.fromkeys(("fastapi", "uvicorn"), "app,server"),
    "s3fs": "remote",
    "ray": "ray",
    **dict.fromkeys(("starlette", "sqlalchemy", "psycopg", "multipart"), "server"),
}
"""Modules that only some installations have, and the extra that brings them."""


UNUSABLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of the operating system that are of a path, wherever it is used."""


class CommandLine(TyperGroup):
    """Turns what a person can act on into one sentence and an exit code; bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            if os.environ.get(VERBOSE):
                traceback.print_exception(error)
            complain(str(error) if isinstance(error, StoppedError) else f"error: {error}")
            raise typer.Exit(error.exit_code) from error
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            extra = OPTIONAL[error.name]
            complain(f'error: this needs {error.name}, which is not installed. pip install "ovsbench[{extra}]"')
            raise typer.Exit(1) from error
        except OSError as error:
            if error.errno not in UNUSABLE:
                raise
            complain(f"error: {error.filename}: {error.strerror}. Choose another path")
            raise typer.Exit(1) from error
        except MemoryError as error:
            complain(f"error: the memory of this machine is not enough: {error}. Use smaller frames or fewer processes")
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            complain(str(interrupt) or "interrupted: everything finished so far is kept; run the same command to go on")
            raise typer.Exit(130) from interrupt


HELP = """Benchmark video open-vocabulary segmentation: build data, run methods, score them, publish a leaderboard.

\b
[bold]From nothing to a leaderboard page[/bold]
  ovsbench demo

\b
[bold]Step by step[/bold]
  ovsbench data build world -o data/world
  ovsbench run data/world -m gkc -c gkc-world -o runs/gkc
  ovsbench show runs/gkc --by category
  ovsbench board build runs/gkc -o site

\b
[bold]Your own video, your own words[/bold]
  ovsbench predict street.mp4 --names "person, road, car|automobile" \\
      -m m2f-clip -o out.mp4
"""

app = typer.Typer(
    name="ovsbench",
    cls=CommandLine,
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"ovsbench {ovsbench.__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Version; more with ovsbench doctor."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", envvar=QUIET, help="Results and errors only: no progress, no advice.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", envvar=VERBOSE, help="Below an error the traceback that led to it.")
    ] = False,
) -> None:
    """Runs before every verb."""
    for name, is_wanted in ((QUIET, quiet), (VERBOSE, verbose)):  # in the environment, so that child processes know
        if is_wanted:
            os.environ[name] = "1"


VERBS: dict[str, dict[str, Any]] = {
    "Start here": {"demo": demo.demo, "app": page.app, "doctor": doctor.doctor},
    "Data and models": {
        "data": data.app, "list": list_verb.list_, "fetch": fetch.fetch, "train": train.train,
        "synonyms": synonyms.synonyms,
    },
    "Run and score": {
        "run": run.run, "score": run.score, "show": run.show, "predict": predict.predict, "compare": compare.compare,
        "diagnose": diagnose.diagnose,
        "speed": speed.speed, "suite": suite.suite, "import": import_export.import_, "export": import_export.export,
        "bench": bench.app, "cluster": cluster.app,
    },
    "Compare parts of GKC": {
        "association": association.association, "ablate": ablate.ablate, "calibrate": calibrate.calibrate,
    },
    "Your own method": {"new-method": own_method.new_method, "check-method": own_method.check_method},
    "Publish": {
        "submit": submit.submit, "check": submit.check, "board": board.app, "login": login.login,
        "receipt": receipt.app, "server": server.app,
    },
}  # fmt: skip
"""Every verb by the panel of the help that shows it."""

for panel, verbs in VERBS.items():
    for name, verb in verbs.items():
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(verb)


def main() -> None:
    """The console script."""
    from ovsbench.hub.connection import close

    close()  # weights come from paths and caches; nothing is fetched unasked
    sleep_while_waiting()
    with whole_output():
        app(prog_name="ovsbench")


interrupt.imports_are_done()
