"""`sandbox`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.output import write
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.errors import UsageError
from qdrant_dr.sandbox import serve


def sandbox(
    *,
    port: int = 6333,
    points: int = 5000,
    empty: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> None:
    """Run a small Qdrant-compatible server on loopback, for trying things out.

    It is not Qdrant: backups made of it are labelled so. What it holds is gone when it ends.

    Parameters
    ----------
    port
        0 takes a free one; the URL is the first line on stdout, once all is ready.
    points
        How many to put into it, over three collections.
    empty
        Put nothing into it, as a scratch for drills.
    """

    def ready(url: str) -> None:
        write(session, Reply(rows=[{"url": url}], text=url))

    if not 0 <= port < 2**16:
        raise UsageError(f"{port} is no port", "try --port 0.")
    try:
        serve(port, points=0 if empty else points, ready=ready)
    except OSError as e:
        raise UsageError(
            f"port {port} of 127.0.0.1 cannot be used: {e.strerror}", "try --port 0."
        ) from None
