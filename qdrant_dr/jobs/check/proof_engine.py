"""Check versions: what is known of the server's, and whether the engine here reads its archives."""

from __future__ import annotations

from qdrant_dr.errors import EngineTooOld
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok, skipped
from qdrant_dr.proof.engine import engine_covers, engine_version
from qdrant_dr.supported import support_of


def version_row(scope: str, server_version: str, *, sandbox: bool) -> CheckRow:
    """Say whether backups of this version were tried, and on what."""
    if sandbox:
        return skipped(scope, "version", "the sandbox is no Qdrant server")
    known = support_of(server_version)
    if known.hint is None:
        return ok(scope, "version", known.words)
    return degraded(scope, "version", known.words, known.hint)


def engine_row(scope: str, server_version: str) -> CheckRow:
    """Compare the engine's version with the server's: a proof by an older engine proves nothing."""
    engine = engine_version()
    if engine_covers(server_version):
        return ok(scope, "engine", f"{engine} reads archives of {server_version}")
    error = EngineTooOld(
        f"{engine} is too old for archives of {server_version}: what it says of them proves nothing"
    )
    return failed(scope, "engine", error)
