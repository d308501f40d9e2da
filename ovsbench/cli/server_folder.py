"""What the verbs of `ovsbench server` share: the folder of a server, and its database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ovsbench.leaderboard.server.database import Database
    from ovsbench.leaderboard.server.server_folder import ServerFolder

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a server, as server init makes it.")]


def opened(folder: Path) -> tuple[ServerFolder, Database]:
    """The server of a folder, and its database.

    Raises:
        UserError: there is none.
    """
    from ovsbench.leaderboard.server.database import Database
    from ovsbench.leaderboard.server.server_folder import open_folder

    found = open_folder(folder)
    database = Database(found.database_url)
    database.create()
    return found, database
