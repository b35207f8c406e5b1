"""`startup-archive`: one file with which an empty server starts, and how to start it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.jobs.startup_archive.job import StartupRequest, startup

HOW = """\
# on a fresh server only: an empty storage folder, no `storage.temp_path` (the server would panic
# on its own config.json), no cluster, the server version of the backups or the next minor one
QDRANT__STORAGE__STORAGE_PATH=./storage qdrant --storage-snapshot {file}
# or
docker run -p 6333:6333 -v "$PWD/storage:/qdrant/storage" -v {file}:/full.snapshot:ro \\
    qdrant/qdrant:VERSION ./qdrant --storage-snapshot /full.snapshot
# use the flag for this one start, then remove it. A second start with it ends with exit code 101,
# and with --force-snapshot it discards everything written since. After an interrupted start,
# remove the storage folder (storage/snapshots_recovery_tmp is in the way) and begin again."""


def startup_archive(
    *backups: str,
    out: str,
    prove: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Combine proven backups into one full snapshot, for `qdrant --storage-snapshot`.

    An empty server starts with every collection and alias, without any REST call. Every byte is
    compared with its manifest on the way; the file appears complete or not at all.

    Parameters
    ----------
    backups
        Only these: NAME@latest-proven, or NAME@ and the beginning of a backup id. Default: the
        newest proven backup of every collection.
    out
        The file to write; it must not exist yet.
    prove
        Start a scratch server with the file ($QDRANT_BIN, else the sandbox) and compare every point
        and alias. This counts as a drill.
    """
    request = StartupRequest(backups=backups or None, out=out, prove=prove)
    reply = run_verb(session, "startup", request, startup)
    if reply.verdict == "failed" or session.json:
        return reply
    file = Path(out).expanduser().absolute()
    return replace(reply, text=HOW.format(file=shlex.quote(str(file))))
