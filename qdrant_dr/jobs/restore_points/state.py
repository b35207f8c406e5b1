"""One restore of points at work: what it is to do, with what, and what it has come to so far."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qdrant_dr.cluster import Node
from qdrant_dr.config import Config
from qdrant_dr.jobs.read_points.opened_backup import look_up, opened_backup
from qdrant_dr.jobs.restore_points.look import Live
from qdrant_dr.jobs.restore_points.options import ids_of, parsed_filter
from qdrant_dr.jobs.restore_points.sources import OfBackup, OfUndo, Source, in_batches, live_ids
from qdrant_dr.jobs.restore_points.undo import StoredUndo
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.units import RestorePointsUnit
from qdrant_dr.records.base import canonical_json
from qdrant_dr.repository import Backup


@dataclass
class PointsWork:
    """What the points come from; `found` is their backup, or `stored` their undo record."""

    config: Config
    unit: RestorePointsUnit
    node: Node
    folder: Path
    live: Live
    found: Found | None = None
    stored: StoredUndo | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def limit(self) -> int | None:
        return self.live.facts.max_query_limit

    @property
    def only(self) -> str | None:
        return self.stored.record.only if self.stored else self.unit.only

    @property
    def source_name(self) -> str:
        return str(self.unit.key) if self.unit.key else f"undo of {self.unit.undoes}"

    @contextmanager
    def opened(self) -> Iterator[Source]:
        """Open where the points come from, and select them. Raise UsageError, NothingSelected and
        what reading them raises."""
        if self.stored is not None:
            yield OfUndo(self.stored, self.unit.overwrite_changed)
            return
        assert self.found is not None
        unit = self.unit
        ids, where = ids_of(unit.ids) if unit.ids else None, parsed_filter(unit.where)
        chosen = ids is not None or where is not None
        live = None
        if unit.missing and not chosen:
            live = {
                key: live_ids(self.node, unit.name, key, self.limit, self.folder / f"live-ids-{n}")
                for n, key in enumerate(self.live.facts.shard_keys)
            }
        with opened_backup(self.config, self.found, self.folder / "backup") as opened:
            yield OfBackup(opened, ids, where, unit.every, live)
            self.notes += opened.notes


def found_backup(config: Config, backup: Backup, repositories: tuple[str, ...]) -> Found:
    """Find a backup, to be read only from these repositories, if any are named."""
    found = look_up(config, backup)
    if repositories:
        found.opened = {n: r for n, r in found.opened.items() if n in repositories}
    return found


def asked(unit: RestorePointsUnit) -> str:
    """Return the digest of what a unit is to do: whoever is asked for the same continues it."""
    what = [
        str(unit.key), unit.undoes, unit.name, unit.missing, unit.where, unit.every, unit.only
    ]  # fmt: skip
    digest = hashlib.sha256(canonical_json(what)[:-1] + b",")
    if unit.ids is None:
        digest.update(b"null]")
    else:  # as one more list, of which only a part is in memory at once
        for n, some in enumerate(in_batches(ids_of(unit.ids))):
            digest.update((b"," if n else b"[") + canonical_json(some)[1:-1])
        digest.update(b"]]")
    return digest.hexdigest()
