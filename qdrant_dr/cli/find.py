"""`find`: in which backups a point is, when it changed, and what it was."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.catalog import read, with_troubles
from qdrant_dr.cli.progress import Progress
from qdrant_dr.cli.session import Given, Reply, Session
from qdrant_dr.cli.words import moment, moment_past
from qdrant_dr.errors import BackupNotFound, DRError, UsageError
from qdrant_dr.hints import command
from qdrant_dr.jobs.find_point.search import PointSearch, Seen, parse_ids
from qdrant_dr.jobs.read_points.opened_backup import check_filter
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.repository import Backup, Catalog
from qdrant_dr.text import printable

Ids = Annotated[tuple[str, ...], Parameter(name=["--id"], negative=(), consume_multiple=True)]


def find(
    collection: str,
    /,
    *,
    id: Ids = (),  # noqa: A002 - the name of the option
    filter: str | None = None,  # noqa: A002
    vectors: Annotated[bool, Parameter(negative=())] = False,
    since: str | None = None,
    limit: int | None = None,
    session: Given,
) -> Reply:
    """Say in which backups a point is, when it changed and what it was: the newest backup first.

    Rows come as they are found. A backup is read only if its seal does not already show that the
    points are the same as in the newer one. It is a look: no run is recorded.

    Parameters
    ----------
    collection
        Its name on the cluster, which it may have no more.
    id
        Ids of points: integers or UUIDs.
    filter
        Instead: a filter in Qdrant's JSON, evaluated in each backup by Qdrant's engine. Points that
        it finds in one are followed into the older ones, whether it finds them there or not.
    vectors
        Give vectors as well.
    since
        Only backups captured since: a date such as 2027-01-31, or a time ago such as 90d.
    limit
        At most so many backups.
    """
    now = datetime.now(UTC)
    ids, where = parse_ids(id), _filter(filter)
    if bool(ids) == (where is not None):
        raise UsageError("give ids of points, or a filter", "add --id 7, or --filter '{...}'.")
    catalog = read(session, (), None)
    backups = _backups(catalog, collection)
    if (first := moment_past(since, now)) is not None:
        backups = [b for b in backups if b.manifest.captured_at >= first]
    backups = backups[:limit]
    rows, troubles = [], list[DRError]()
    with (
        scratch_folder(session.config.capture.spool.path, f"find-{secrets.token_hex(6)}") as folder,
        Progress(session) as progress,
    ):
        if where is not None:
            check_filter(session.config, where, folder / "engine")
        search = PointSearch(session.config, folder / "opened", ids, where, vectors)
        for backup in backups:
            with progress.doing(f"find in {backup.key}"):
                for seen in search.look(backup):
                    troubles += [seen.why] if seen.why else []
                    rows.append(_row(seen))
                    _tell(session, seen)
    remarks = [] if rows else [f"no point was found in {len(backups)} backups of {collection}"]
    reply = Reply(rows=rows if session.json else (), remarks=remarks)
    return with_troubles(reply, catalog, troubles)


def _filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        where = json.loads(text)
    except ValueError as e:
        raise UsageError(f"--filter is no JSON: {e}", "write it as in Qdrant's REST API.") from None
    if not isinstance(where, dict):
        raise UsageError("--filter is no object", "write it as in Qdrant's REST API.")
    return where


def _backups(catalog: Catalog, collection: str) -> list[Backup]:
    """The backups of a collection, the newest first. Raise BackupNotFound, UsageError for an
    alias."""
    if catalog.blind:
        raise catalog.blind
    if found := [b for b in catalog.of(collection) if b.conflict is None]:
        return found[::-1]
    if meant := sorted({b.key.collection for b in _aliased(catalog, collection)}):
        raise UsageError(
            f"{collection} is an alias of {', '.join(meant)}", f"write {meant[-1]} instead."
        )
    raise BackupNotFound(
        f"there is no backup of {collection!r}", f"`{command('list')}` names what there is."
    )


def _aliased(catalog: Catalog, name: str) -> Iterator[Backup]:
    return (b for b in catalog.backups if name in b.manifest.aliases)


def _row(seen: Seen) -> dict[str, Any]:
    return {
        "backup_id": seen.backup.backup_id,
        "collection": seen.backup.collection,
        "captured_at": seen.captured_at,
        "id": seen.point_id,
        "shard_key": seen.shard_key,
        "state": seen.state,
        "newer": seen.newer,
        "differs": list(seen.differs),
        "read": seen.read,
        "payload": None if seen.same else seen.payload,
        "vector": None if seen.same else seen.vector,
        "why": seen.why.message if seen.why else None,
    }


def _tell(session: Session, seen: Seen) -> None:
    """Print one row at once: the next backup may take minutes."""
    if session.json:
        return
    ident = "-" if seen.point_id is None else f"{seen.point_id}"
    ident += f" of {seen.shard_key}" * (seen.shard_key is not None)
    line = f"{moment(seen.captured_at)}  {seen.backup.backup_id}  {ident}  {_words(seen)}"
    sys.stdout.write(printable(line) + "\n")
    sys.stdout.flush()


def _words(seen: Seen) -> str:
    if seen.why is not None:
        return f"COULD NOT BE READ, so nothing is known of any point: {seen.why.message}"
    if seen.state == "absent":
        return "not there" + f", as in {seen.newer}" * seen.same
    if seen.same:
        return f"the same as in {seen.newer}" + " (by their seals)" * (not seen.read)
    what = "there"
    if seen.newer is not None:
        what = f"there, not in {seen.newer}" if seen.differs == ("id",) else (
            f"other {', '.join(seen.differs)} than in {seen.newer}"
        )  # fmt: skip
    vector = "" if seen.vector is None else f" {json.dumps(seen.vector)}"
    return f"{what}: {json.dumps(seen.payload, ensure_ascii=False)}{vector}"
