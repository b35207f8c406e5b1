"""What killed runs left: our snapshots on a node, and unfinished backups in a repository."""

from __future__ import annotations

from qdrant_dr.config import Config
from qdrant_dr.errors import RepositoryUnreachable
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import SweepUnit
from qdrant_dr.jobs.sweep.left_snapshots import sweep_node
from qdrant_dr.jobs.sweep.one_repository import sweep_one
from qdrant_dr.records import LeftSnapshot, Outcome, Swept


def sweep(config: Config, unit: SweepUnit, run_id: str) -> Outcome:
    """Sweep one node or one repository. Degraded if something is left that a person must judge."""
    started_at = utc_now()
    opened, failed = open_all(config)
    catalog = catalog_of(config, opened, failed)
    left: tuple[LeftSnapshot, ...] | None = None
    remarks: tuple[str, ...] = ()
    freed = hidden = 0
    if unit.node is not None:
        done = sweep_node(config, unit.node, opened, catalog, run_id, unit.now)
        removed, kept, left = tuple(done.removed), tuple(done.kept), tuple(done.left)
    elif unit.repository in opened:
        swept = sweep_one(config, opened[unit.repository], opened, catalog, unit.now)
        removed, kept, remarks = swept.removed, swept.kept, swept.remarks
        freed, hidden = swept.freed_bytes, swept.hidden_bytes
    else:
        raise failed.get(
            unit.repository or "", RepositoryUnreachable(f"{unit.label} is not configured")
        )
    return Outcome(
        unit="sweep",
        collection="*",
        repository=unit.repository,
        verdict="degraded" if kept else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        notes=(*kept, *remarks),
        detail=Swept(
            node=unit.node,
            removed=removed,
            kept=kept,
            left=left,
            freed_bytes=freed,
            hidden_bytes=hidden,
        ),
    )
