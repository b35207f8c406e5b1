"""`get`: the archive of a backup as a file, out of any layout."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qdrant_dr.cli.catalog import Repositories, read, with_troubles
from qdrant_dr.cli.session import Column, Given, Reply, Session
from qdrant_dr.errors import BytesDiffer, DRError, Interrupted, ObjectMissing, UsageError
from qdrant_dr.jobs.run.backup_selector import select
from qdrant_dr.jobs.run.backup_selector import split as split_selector
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.new_file import new_file
from qdrant_dr.jobs.run.progress import in_transit
from qdrant_dr.quantities import format_size
from qdrant_dr.records import Part
from qdrant_dr.repository import Backup, rank_sources

WRITTEN = (
    Column("part", "PART"),
    Column("size_bytes", "SIZE", format_size, right=True),
    Column("repository", "FROM"),
    Column("sha256", "SHA-256", spare=1),
    Column("file", "FILE"),
)


def get(
    backup: str,
    /,
    *,
    out: str,
    part: str | None = None,
    repository: Repositories = (),
    session: Given,
) -> Reply:
    """Write the archive of a backup to a file, as Qdrant made it, whatever layout it lies in.

    Every byte is compared with the manifest on the way; the file appears complete or not at all. If
    a copy is bad, the next one is read.

    Parameters
    ----------
    backup
        NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    out
        The file to write; it must not exist yet.
    part
        Which part, of a backup that has several (`show BACKUP` names them): shard-0.
    repository
        Read this repository only; may be repeated.
    """
    now = datetime.now(UTC)
    collection, _ = split_selector(backup)
    catalog = read(session, repository, collection)
    found = select(backup, catalog, proven=session.config.objectives.proven, now=now)
    if found.conflict is not None:
        raise found.conflict
    wanted = _part(found, part)
    file = Path(out).expanduser().absolute()
    name, remarks = _write(session, found, wanted, file, now)
    row: dict[str, Any] = {
        "backup": str(found.key),
        "part": wanted.name,
        "size_bytes": wanted.size_bytes,
        "sha256": wanted.sha256,
        "repository": name,
        "file": str(file),
    }
    again = f"qdrant-dr show {shlex.quote(str(found.key))}"
    remarks.append(f"every byte is the manifest's; `{again}` prints how to upload it")
    return with_troubles(Reply(rows=[row], columns=WRITTEN, remarks=remarks), catalog)


def _part(backup: Backup, name: str | None) -> Part:
    parts = {p.name: p for p in backup.manifest.parts}
    if name is None and len(parts) == 1:
        return backup.manifest.parts[0]
    if name is None or name not in parts:
        what = "has several parts" if name is None else f"has no part {name!r}"
        raise UsageError(
            f"{backup.key} {what}: {', '.join(parts)}", "choose one with `--part NAME`."
        )
    return parts[name]


def _write(
    session: Session, backup: Backup, part: Part, file: Path, now: datetime
) -> tuple[str, list[str]]:
    """Write one part from the first copy that gives it whole; its repository, and what became of
    those before it. Raise what the last one raised."""
    ranked = rank_sources(backup, now=now, promise=session.config.objectives.proven)
    names = [s.copy.repository for s in ranked if s.readable]
    opened, failed = open_all(session.config, names)
    last: DRError = ObjectMissing(f"no copy of {backup.key} can be read now")
    tried: list[str] = []
    for name in names:
        if name not in opened:
            last = failed[name]
            tried.append(f"not from {name}: {last.message}")
            continue
        read = opened[name].read_verified(backup.key, part, in_transit(part))
        try:
            with new_file(file, part.size_bytes) as out:
                out.writelines(read)
        except DRError as e:
            if isinstance(e, Interrupted) or e is not read.fault:
                raise
            last = e
            tried.append(f"not from {name}: {e.message}")
        else:
            return name, tried
    if isinstance(last, BytesDiffer):
        raise BytesDiffer(
            f"no copy of {part.file} of {backup.key} is whole: {'; '.join(tried)}",
            f"run `qdrant-dr replicate {backup.key}`; if that cannot heal it, restore it with "
            "`--salvage`.",
        )
    raise last
