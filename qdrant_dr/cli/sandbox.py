"""`sandbox`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.output import write
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.errors import UsageError
from qdrant_dr.sandbox import EXIT_CODE, StartupError, serve


def sandbox(
    *,
    port: int = 6333,
    points: int = 5000,
    empty: Annotated[bool, Parameter(negative=())] = False,
    snapshot: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    storage_snapshot: Path | None = None,
    force_snapshot: Annotated[bool, Parameter(negative=())] = False,
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
    snapshot
        FILE:NAME, recovered before the port opens; then no points are put into it.
    storage_snapshot
        The same with a full snapshot: its collections and its aliases.
    force_snapshot
        Overwrite what is there already. Without it, and for anything wrong with a snapshot, it
        does not start and exits with 101, as Qdrant does.
    """

    def ready(url: str) -> None:
        write(session, Reply(rows=[{"url": url}], text=url))

    if not 0 <= port < 2**16:
        raise UsageError(f"{port} is no port", "try --port 0.")
    try:
        serve(
            port,
            points=0 if empty or snapshot or storage_snapshot else points,
            snapshots=snapshot,
            storage_snapshot=storage_snapshot,
            force_snapshot=force_snapshot,
            ready=ready,
        )
    except StartupError as e:
        sys.stderr.write(f"{e}\n")
        sys.exit(EXIT_CODE)
    except OSError as e:
        raise UsageError(
            f"port {port} of 127.0.0.1 cannot be used: {e.strerror}", "try --port 0."
        ) from None
