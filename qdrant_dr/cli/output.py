"""Write replies: a table, text or one JSON object on stdout; errors on stderr."""

from __future__ import annotations

import codecs
import io
import json
import logging
import sys
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from qdrant_dr.cli.session import Reply, Said, Session
from qdrant_dr.cli.tables import table, terminal_width
from qdrant_dr.errors import UsageError
from qdrant_dr.hints import helps
from qdrant_dr.log_context import run_context
from qdrant_dr.text import json_visible, lines, printable

log = logging.getLogger(__name__)

FORMAT = 1


def write(session: Session, reply: Reply) -> None:
    """Print a reply: data on stdout, the rest on stderr."""
    if session.json:
        unicode = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
        sys.stdout.write(envelope(session.command, reply, ascii_only=not unicode) + "\n")
    elif reply.text is not None:
        text = reply.text.removesuffix("\n") + "\n"
        sys.stdout.write(lines(text) if sys.stdout.isatty() else text)
    elif reply.rows:
        sys.stdout.write(table(reply.rows, reply.columns, terminal_width()))
    sys.stdout.flush()
    with run_context(reply.run_id) if reply.run_id else nullcontext():
        _tell(session, reply)


def _tell(session: Session, reply: Reply) -> None:
    """Write what is for stderr: remarks and errors, for people or as JSON lines."""
    for remark in reply.remarks:
        session.say(remark)
    if session.log == "json":
        for error in reply.errors:
            log.error("%s", error.message, extra={"code": error.code, "hint": error.hint})
    elif not session.json:
        for error in reply.errors:
            sys.stderr.write(for_people(error))
        if named := _helps(session, reply):
            sys.stderr.write(f"HELP: {printable('; '.join(named))}\n")


def _helps(session: Session, reply: Reply) -> tuple[str, ...]:
    """List the help of every command that a next step names; after wrong usage, the command's
    own."""
    hints = [e.hint for e in reply.errors]
    hints += [row.get("next_command") or "" for row in reply.rows]
    misused = reply.code == UsageError.exit_code and session.command
    return helps([f"qdrant-dr {session.command} --help"] * bool(misused) + hints)


def envelope(command: str, reply: Reply, *, ascii_only: bool = False) -> str:
    """Build `{format, command, run_id, verdict, rows, errors}`: stable, but rows may gain keys."""
    body = {
        "format": FORMAT,
        "command": command,
        "run_id": reply.run_id,
        "verdict": reply.verdict,
        "rows": list(reply.rows),
        "errors": [{"code": e.code, "message": e.message, "hint": e.hint} for e in reply.errors],
    }
    return json_visible(json.dumps(body, ensure_ascii=ascii_only, default=_plain))


def any_text() -> None:
    """Write characters that the output's character set lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # in tests and notebooks it may be another
            stream.reconfigure(errors="backslashreplace")


def for_people(error: Said) -> str:
    """Write `error: what happened`, and the next step on a line of its own."""
    return f"error: {lines(error.message)}\nHINT: {printable(error.hint)}\n"


def _plain(value: Any) -> Any:
    """Convert what JSON lacks: moments as records write them, durations in seconds."""
    if isinstance(value, datetime):
        from qdrant_dr.records.base import format_time

        return format_time(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no form in JSON")
