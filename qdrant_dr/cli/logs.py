"""Log to stderr: our own messages, and with -v those of the storage and HTTP libraries."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from qdrant_dr.text import lines, printable

CLIENTS: Final = (
    "aiobotocore", "aiohttp", "asyncio", "azure", "botocore", "fsspec", "gcsfs", "google",
    "httpx", "msal", "s3fs", "urllib3",
)  # fmt: skip
"""Loggers of libraries. Warnings that matter become our own errors; without any handler Python
would print them raw."""
_QUERY = re.compile(r"\?[^\s'\"]+")


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record))


class _OneLine(logging.Formatter):
    """Format a record without traceback and URL query: both may hold a signature."""

    def format(self, record: logging.LogRecord) -> str:
        text = _QUERY.sub("?...", record.getMessage())
        return printable(f"{record.levelname} {record.name}: {text}")


@contextmanager
def logs(verbose: bool) -> Iterator[None]:
    """Log our warnings; with -v all our messages, and those of libraries above debug level."""
    ours, theirs = logging.StreamHandler(), logging.StreamHandler()
    ours.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    theirs.setFormatter(_OneLine())
    log = logging.getLogger("qdrant_dr")
    log.addHandler(ours)
    log.setLevel(logging.DEBUG if verbose else logging.WARNING)
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
        for client, (level, propagate) in zip(clients, before, strict=True):
            client.removeHandler(theirs)
            client.setLevel(level)
            client.propagate = propagate
