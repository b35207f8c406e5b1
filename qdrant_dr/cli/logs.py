"""Log to stderr: our own messages, and with -v those of the storage and HTTP libraries.

As text for people, or as JSON lines for a log store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from qdrant_dr.json_lines import JsonLines, LogFormat, tell_events
from qdrant_dr.redaction import redact
from qdrant_dr.text import lines, printable

CLIENTS: Final = (
    "aiobotocore", "aiohttp", "asyncio", "azure", "botocore", "fsspec", "gcsfs", "google",
    "httpx", "msal", "s3fs", "urllib3",
)  # fmt: skip
"""Loggers of libraries. Warnings that matter become our own errors; without any handler Python
would print them raw."""


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return lines(redact(super().format(record)))


class _OneLine(logging.Formatter):
    """Format a record without traceback, which may hold a signature."""

    def format(self, record: logging.LogRecord) -> str:
        text = redact(record.getMessage())
        return printable(f"{record.levelname} {record.name}: {text}")


@contextmanager
def logs(verbose: bool, form: LogFormat = "text") -> Iterator[None]:
    """Log our warnings; with -v all our messages, and those of libraries above debug level.

    As JSON also progress: each run and unit when it begins and when it ends.
    """
    as_json = form == "json"
    ours, theirs = logging.StreamHandler(), logging.StreamHandler()
    text = _Printable("%(levelname)s %(name)s: %(message)s")
    ours.setFormatter(JsonLines() if as_json else text)
    theirs.setFormatter(JsonLines() if as_json else _OneLine())
    log = logging.getLogger("qdrant_dr")
    log.addHandler(ours)
    log.setLevel(logging.DEBUG if verbose else logging.INFO if as_json else logging.WARNING)
    tell_events(as_json or verbose)
    clients = [logging.getLogger(name) for name in CLIENTS]
    before = [(client.level, client.propagate) for client in clients]
    for client in clients:
        client.addHandler(theirs)
        client.setLevel(logging.INFO if verbose else logging.CRITICAL)
        client.propagate = False
    try:
        yield
    finally:
        log.removeHandler(ours)
        tell_events(False)
        for client, (level, propagate) in zip(clients, before, strict=True):
            client.removeHandler(theirs)
            client.setLevel(level)
            client.propagate = propagate
