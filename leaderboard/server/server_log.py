"""The log of a server: one JSON object a line, in `server.log` of its folder, without tokens and addresses of pages."""

from __future__ import annotations

import datetime
import json
import logging
import logging.handlers
from typing import Any

from ovsbench.leaderboard.server.server_folder import ServerFolder

LOG = "server.log"
_LOG = logging.getLogger("ovsbench.server")


def note(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **facts: Any) -> None:
    """Writes a line: what happened, and facts about it."""
    _LOG.log(level, event, exc_info=error, extra={"facts": facts})


class _Lines(logging.Formatter):
    """A record as one line of JSON, with the facts that `note` was given."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "at": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "part": self.part,
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=True, default=str)


def start_log(folder: ServerFolder, part: str) -> None:
    """Lets this process write to the log; a file that was moved away by a rotation is made anew."""
    handler = logging.handlers.WatchedFileHandler(folder.path / LOG, encoding="utf-8")
    handler.setFormatter(_Lines(part))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.raiseExceptions = False  # a full disk must not stop the server for its log
