"""Run records that a repository could not take: kept on this machine, delivered when it can.

A repository that was away during a backup knows nothing of it, and what one repository alone tells
of is not believed. This machine knows what it did.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from qdrant_dr.errors import Conflict, DRError, RecordError
from qdrant_dr.records import RunEnd
from qdrant_dr.repository import Repository
from qdrant_dr.repository.names import checked

log = logging.getLogger(__name__)

FOLDER = "undelivered"
MOST = 400
"""Records that wait for one repository; of more the oldest are forgotten."""


def keep_for(spool: str | Path, repository_ids: Iterable[str], end: RunEnd) -> None:
    """Keep the end of a run for repositories that did not take it. Never raise for it."""
    for repository_id in repository_ids:
        folder = _waiting(spool, repository_id)
        file = folder / f"{checked(end.start.run_id)}.end.json"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            aside = file.with_suffix(".new")
            aside.write_bytes(end.to_bytes())
            aside.replace(file)
            for old in sorted(folder.glob("*.end.json"))[:-MOST]:
                old.unlink(missing_ok=True)
        except OSError as e:
            log.warning("the record of run %s is not kept: %s", end.start.run_id, e)


def deliver(spool: str | Path, opened: Mapping[str, Repository]) -> tuple[str, ...]:
    """Write what waits to the repositories that are there again; the runs that were delivered."""
    done: list[str] = []
    for repository in opened.values():
        for file in sorted(_waiting(spool, repository.id).glob("*.end.json")):
            try:
                end = RunEnd.from_bytes(file.read_bytes(), where=str(file))
                repository.write_run_start(end.start)
                repository.write_run_end(end)
                done.append(end.start.run_id)
            except (RecordError, Conflict) as e:  # it will never fit
                log.warning("%s is not delivered to %s: %s", file, repository.name, e.message)
            except (DRError, OSError) as e:
                log.warning("%s waits: %s", file, e)
                break
            file.unlink(missing_ok=True)
    return tuple(done)


def _waiting(spool: str | Path, repository_id: str) -> Path:
    return Path(spool).expanduser() / FOLDER / checked(repository_id)
