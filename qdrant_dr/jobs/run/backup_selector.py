"""Which backup is meant: `movies@latest-proven`, `movies@latest`, `movies@20261122T10` (id prefix).

Pure: the catalog and the time are arguments.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from qdrant_dr.config import Proven
from qdrant_dr.errors import BackupNotFound, UsageError
from qdrant_dr.hints import DECIDE, command
from qdrant_dr.records import Acknowledgement
from qdrant_dr.repository.acknowledgement import open_suspects
from qdrant_dr.repository.catalog import CLOCK_TOLERANCE, Backup, Catalog, newest
from qdrant_dr.repository.proven import newest_proven

FIRST = "run `qdrant-dr backup`: nothing was backed up yet."
LATEST = "latest"
LATEST_PROVEN = "latest-proven"
_PREFIX = re.compile(r"^\d{1,8}$|^\d{8}T\d{0,6}$|^\d{8}T\d{6}Z(-[0-9a-f]{0,6})?$")


def split(selector: str) -> tuple[str, str]:
    """Split a selector into the collection and which of its backups. Raise UsageError. Names of
    collections may hold an `@`."""
    collection, at, which = selector.rpartition("@")
    if not at or not collection:
        raise UsageError(
            f"{selector!r} names no backup", f"write {selector or 'NAME'}@{LATEST_PROVEN}."
        )
    if which not in {LATEST, LATEST_PROVEN} and not _PREFIX.match(which):
        close = difflib.get_close_matches(which, [LATEST, LATEST_PROVEN], 1)
        raise UsageError(
            f"{which!r} is neither {LATEST}, {LATEST_PROVEN} nor the beginning of a backup id",
            f"write {collection}@{close[0] if close else LATEST_PROVEN}.",
        )
    return collection, which


def select(selector: str, catalog: Catalog, *, proven: Proven, now: datetime) -> Backup:
    """Return the one backup that a selector means.

    Raise UsageError if it means nothing or several, listing them, and BackupNotFound if there is
    none; repositories that could not be read are named then, for it may lie there. Where none
    could be read, raise why.
    """
    collection, which = split(selector)
    if catalog.blind:
        raise catalog.blind
    ours = catalog.of(collection)
    if not ours:
        close = difflib.get_close_matches(collection, catalog.collections, 1)
        meant = f"did you mean {close[0]}@{which}? " if close else ""
        known = bool(catalog.backups) or bool(catalog.unreachable)
        raise BackupNotFound(
            f"there is no backup of {collection!r}{_unread(catalog)}",
            f"{DECIDE}{meant}`qdrant-dr list` names what there is." if known else FIRST,
        )
    if which in {LATEST, LATEST_PROVEN}:
        return _newest(which, ours, catalog, proven, now)
    found = [b for b in ours if b.key.backup_id.startswith(which)]
    if len(found) > 1:
        listed = ", ".join(str(b.key) for b in found)
        raise UsageError(f"{selector} may be {len(found)} backups: {listed}", "write more of it.")
    if not found:
        raise BackupNotFound(
            f"no backup of {collection!r} begins with {which}{_unread(catalog)}",
            f"{DECIDE}which one is meant? `{command('list', collection)}` names them.",
        )
    return found[0]


def skipped(backup: Backup, catalog: Catalog, *, proven: Proven, now: datetime) -> tuple[str, ...]:
    """Name the backups that `latest-proven` skipped: those newer than the one it means."""
    newer = [
        b
        for b in catalog.of(backup.key.collection)
        if (b.manifest.captured_at, b.key.backup_id)
        > (backup.manifest.captured_at, backup.key.backup_id)
    ]
    if not newer:
        return ()
    last = newer[-1]
    ahead = last.manifest.captured_at > now + CLOCK_TOLERANCE
    why = "is dated in the future" if ahead else f"is not proven to {proven.depth}"
    more = f" and {len(newer) - 1} more" if len(newer) > 1 else ""
    return (f"skipped {last.key}{more}, newer than {backup.key}: it {why}",)


def doubted_before(
    backup: Backup, catalog: Catalog, known: Iterable[Acknowledgement]
) -> tuple[str, ...]:
    """Return what this backup inherits and nobody has accepted: its content is that of a suspect
    backup, or came after one."""
    manifest = backup.manifest
    life = [
        b
        for b in catalog.of(backup.key.collection)
        if b.manifest.incarnation == manifest.incarnation
        and b.manifest.captured_at <= manifest.captured_at
    ]
    before = [b for b in open_suspects(life, known) if b.key != backup.key]
    if not before:
        return ()
    first = before[0]
    calm = [b for b in life if b.manifest.captured_at < first.manifest.captured_at and b.seal]
    older = f"; the last before it is {calm[-1].key}" if calm else ""
    reasons = "; ".join(first.seal.suspect) if first.seal else ""
    said = (
        f"{backup.key} follows {first.key}, which is suspect ({reasons}) and which nobody has "
        f"accepted{older}"
    )
    return (said,)


def _newest(
    which: str, ours: Sequence[Backup], catalog: Catalog, proven: Proven, now: datetime
) -> Backup:
    if which == LATEST:
        found = newest(ours, now=now)
    else:
        found = newest_proven(ours, depth=proven.depth, max_age=proven.max_age, now=now)
    if found is not None:
        return found
    what = "proven" if which == LATEST_PROVEN else "dated before now"
    last = ours[-1]
    frozen = [f"{c.repository}: {c.archive}" for c in last.copies if c.archived]
    if frozen and all(c.archived for c in last.copies if c.committed):
        hint = f"`qdrant-dr show {last.key}` prints how to bring it back ({'; '.join(frozen)})."
    else:
        hint = f"run `qdrant-dr verify {last.key}`."
    raise BackupNotFound(
        f"none of {len(ours)} backups of {ours[0].key.collection!r} is {what}{_unread(catalog)}",
        hint if which == LATEST_PROVEN else "check the clocks.",
    )


def _unread(catalog: Catalog) -> str:
    names = ", ".join(r.name for r in catalog.unreachable)
    return f" ({names} could not be read)" if names else ""
