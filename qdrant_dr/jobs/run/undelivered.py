"""Run records that a repository could not take: kept on this machine, delivered when it can.

A repository that was away during a backup knows nothing of it, and what one repository alone tells
of is not believed. This machine knows what it did: only what lies in folders that nobody else may
write to is delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from qdrant_dr.disk import NoFile, TooLarge, closed_to_others, is_own_folder, read_regular
from qdrant_dr.errors import Conflict, DRError, RecordError
from qdrant_dr.layout import checked
from qdrant_dr.records import RunEnd
from qdrant_dr.records.base import LARGEST
from qdrant_dr.repository import Repository

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
            for made in (folder.parent.parent, folder.parent, folder):
                made.mkdir(mode=0o700, exist_ok=True, parents=True)
            if not _ours(folder):
                log.warning("the record of run %s is not kept: %s is not ours alone",
                            end.start.run_id, folder)  # fmt: skip
                continue
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
        folder = _waiting(spool, repository.id)
        for file in sorted(folder.glob("*.end.json")) if _ours(folder) else ():
            try:
                data = read_regular(file, LARGEST, follow=False)
                end = RunEnd.from_bytes(data, where=str(file))
                repository.write_run_start(end.start)
                repository.write_run_end(end)
                done.append(end.start.run_id)
            except (RecordError, Conflict, NoFile, TooLarge) as e:  # it will never fit
                log.warning("%s is not delivered to %s: %s", file, repository.name, e)
            except (DRError, OSError) as e:
                log.warning("%s waits: %s", file, e)
                break
            file.unlink(missing_ok=True)
    return tuple(done)


def _ours(folder: Path) -> bool:
    return all(is_own_folder(f) and closed_to_others(f) for f in (folder.parent, folder))


def _waiting(spool: str | Path, repository_id: str) -> Path:
    return Path(spool).expanduser() / FOLDER / checked(repository_id)
