"""The log of a server: one JSON object a line, in `server.log` of its folder, without tokens and addresses of pages."""

from __future__ import annotations

import datetime
import json
import logging
import logging.handlers
from typing import Any

from ovsbench.leaderboard.server.server_folder import ServerFolder

LOG = "server.log"
log = logging.getLogger("ovsbench.server")
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "taskName", "color_message"}


class _Lines(logging.Formatter):
    """A record as one line of JSON; what a caller gave as `extra` are further keys."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "at": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "part": self.part,
            "event": record.getMessage(),
            **{key: value for key, value in record.__dict__.items() if key not in _PLAIN},
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
