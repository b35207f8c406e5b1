"""Log records as JSON, one object a line, for log stores: `--log json`, `QDR_LOG=json`."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from qdrant_dr.errors import UsageError
from qdrant_dr.log_context import EVENTS, FIELDS, facts
from qdrant_dr.redaction import redact
from qdrant_dr.text import json_visible

LogFormat = Literal["text", "json"]
VARIABLE: Final = "QDR_LOG"
OURS: Final = ("qdrant_dr", "tasks", "flows")
"""Loggers whose tracebacks are written. Those of libraries may hold a URL with a signature."""
ALSO: Final = (
    "event", "verdict", "code", "hint", "seconds",  # of our events and errors
    "flow_run_id", "flow_run_name", "task_run_id", "task_run_name",  # of Prefect
)  # fmt: skip


def log_format() -> LogFormat:
    """Read from the environment how to log. Raise UsageError for a word that is no format."""
    word = os.environ.get(VARIABLE) or "text"
    if word == "json":
        return "json"
    if word == "text":
        return "text"
    raise UsageError(
        f"{VARIABLE} is none of {', '.join(get_args(LogFormat))}", f"`unset {VARIABLE}`."
    )


def tell_events(wanted: bool = True) -> None:
    """Log when runs and units begin and end, or be quiet about it."""
    logging.getLogger(EVENTS).setLevel(logging.INFO if wanted else logging.WARNING)


class JsonLines(logging.Formatter):
    """Format a record with the run, unit and repository that its thread works for."""

    def format(self, record: logging.LogRecord) -> str:
        return json_visible(json.dumps(self._fields(record), ensure_ascii=False))

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        at = datetime.fromtimestamp(record.created, UTC)
        found: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        here = facts()
        for name in (*FIELDS, *ALSO):
            value = getattr(record, name, None) if name in record.__dict__ else here.get(name)
            if value is not None:
                found[name] = list(value) if isinstance(value, tuple) else value
        if record.exc_info and record.exc_info[0] is not None:
            found["error"] = record.exc_info[0].__name__
            if record.name.partition(".")[0] in OURS:
                found["traceback"] = self.formatException(record.exc_info)
        return {
            k: v if isinstance(v, int | float | list) else redact(str(v)) for k, v in found.items()
        }
