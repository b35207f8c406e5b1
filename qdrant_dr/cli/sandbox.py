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
    """Run a small Qdrant-compatible server on loopback, to try things out.

    It is not Qdrant, and backups of it are labelled so. Its data is gone when it ends.

    Parameters
    ----------
    port
        0 chooses a free one. The first line on stdout is the URL, once the server is ready.
    points
        How many points to create, spread over three collections.
    empty
        Create no points; for use as a scratch of drills.
    snapshot
        FILE:NAME, recovered before the port opens; no points are created then.
    storage_snapshot
        The same with a full snapshot: its collections and aliases.
    force_snapshot
        Overwrite what already exists. Without it, and for any fault of a snapshot, the server does
        not start and exits with code 101, as Qdrant does.
    """

    def ready(url: str) -> None:
        write(session, Reply(rows=[{"url": url}], text=url))

    if not 0 <= port < 2**16:
        raise UsageError(f"{port} is not a port", "try --port 0.")
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
