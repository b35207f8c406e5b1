"""What `show` and `repository show` say of packs: of one backup, and of a whole repository."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from qdrant_dr.cli.session import Column, Session
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.quantities import cost_a_month, format_share, format_size
from qdrant_dr.records.repository import Layout
from qdrant_dr.report.evidence.vaults import vaults_of
from qdrant_dr.repository import Backup, Copy, PacksUsed, last_backups, measure_packs
from qdrant_dr.text import count

STORED = (
    Column("repository", "REPOSITORY"),
    Column("layout", "LAYOUT"),
    Column("stored_bytes", "NEW", format_size, right=True),
    Column("shared_bytes", "OF OTHERS", format_size, right=True),
    Column("packs", "PACKS", str, right=True),
    Column("packs_use", "USE", format_share, right=True),
)
"""Where a repository stores each block once: what this backup added, what it takes from packs of
others, and how much of its packs it needs."""
LAST_BACKUPS = (
    Column("collection", "COLLECTION"),
    Column("backup_id", "BACKUP"),
    Column("size_bytes", "SIZE", format_size, right=True),
    Column("new_bytes", "NEW", format_size, right=True),
    Column("shared_bytes", "OF OTHERS", format_size, right=True),
    Column("packs", "PACKS", str, right=True),
    Column("packs_use", "USE", format_share, right=True),
)


def packs_of_backup(
    session: Session, backup: Backup, layouts: Mapping[str, Layout]
) -> dict[str, dict[str, Any]]:
    """Say of each copy how it is stored, by repository; packs are read where there are some."""
    chunked = [
        c.repository for c in backup.copies if c.committed and layouts[c.repository] == "chunked"
    ]
    opened = open_all(session.config, chunked)[0] if chunked else {}
    found = measure_packs(opened, [(name, backup) for name in chunked])
    used = {name: packs for (name, _), packs in found.items()}
    return {
        c.repository: _stored(c, layouts[c.repository], used.get(c.repository))
        for c in backup.copies
    }


def _stored(copy: Copy, layout: Layout, packs: PacksUsed | None) -> dict[str, Any]:
    known = copy.state != "unreachable"
    return {
        "layout": layout if known else None,
        "stored_bytes": copy.written_bytes,
        "shared_bytes": packs.shared_bytes if packs else None,
        "packs": packs.packs if packs else None,
        "packs_use": packs.use if packs else None,
    }


def packs_of_repository(session: Session, name: str) -> dict[str, Any]:
    """Say what a chunked repository stores, for all backups and for the last of each collection;
    nothing where it cannot be opened: its id or its key says why."""
    now = datetime.now(UTC)
    opened, failed = open_all(session.config, [name])
    catalog = catalog_of(session.config, opened, failed)
    newest = [(name, backup) for backup in last_backups(catalog, name, now)]
    found = vaults_of(catalog, measure_packs(opened, newest), now)
    if not found:
        return {}
    (vault,) = found
    return {
        "packs_objects": vault.packs,
        "packs_bytes": sum(p.size_bytes for p in catalog.packs.get(name, ())),
        "backups_count": vault.backups,
        "logical_bytes": vault.logical_bytes,
        "stored_bytes": vault.stored_bytes,
        "packs_use": vault.use,
        "monthly_cost": vault.monthly_cost,
        "last_backups": [
            {
                "collection": last.collection,
                "backup_id": last.backup.key.backup_id,
                "size_bytes": last.size_bytes,
                "new_bytes": last.new_bytes,
                "shared_bytes": last.used.shared_bytes if last.used else None,
                "packs": last.used.packs if last.used else None,
                "packs_use": last.used.use if last.used else None,
            }
            for last in vault.last
        ],
    }


def stored_in_words(facts: Mapping[str, Any]) -> str | None:
    """Say how much lies in a chunked repository for how much, and of any what it costs; None if
    there is nothing to say."""
    cost = facts.get("monthly_cost")
    if "stored_bytes" not in facts:
        return None if cost is None else cost_a_month(cost)
    return (
        f"{format_size(facts['stored_bytes'])} for {count(facts['backups_count'], 'backup')} of "
        f"{format_size(facts['logical_bytes'])}"
    ) + ("" if cost is None else f", {cost_a_month(cost)}")
