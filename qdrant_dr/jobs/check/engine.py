"""Is the engine here new enough to read what the server writes? Else its proofs prove nothing."""

from __future__ import annotations

from qdrant_dr.errors import EngineTooOld
from qdrant_dr.jobs.check.rows import CheckRow, failed, ok
from qdrant_dr.proof.engine import engine_covers, engine_version


def engine_row(scope: str, server_version: str) -> CheckRow:
    """The engine's version against the server's."""
    engine = engine_version()
    if engine_covers(server_version):
        return ok(scope, "engine", f"{engine} reads archives of {server_version}")
    error = EngineTooOld(
        f"{engine} is too old for archives of {server_version}: what it says of them proves nothing"
    )
    return failed(scope, "engine", error)
