"""Everything said to storage: stores, names, the plain layout, fan-out, catalog, sweep."""

from qdrant_dr.repository.catalog import (
    CLOCK_TOLERANCE,
    Backup,
    Catalog,
    Copy,
    CopyState,
    RepositoryState,
    Unfinished,
    counted_copies,
    enough_copies,
    is_proven,
    newest,
    newest_proven,
    open_failures,
    proof_of,
    proven_copies,
    sound,
)
from qdrant_dr.repository.fanout import FanOut, Receipt, fan_out
from qdrant_dr.repository.location import location_of
from qdrant_dr.repository.names import new_id, time_of
from qdrant_dr.repository.reading import read_catalog
from qdrant_dr.repository.repository import (
    Read,
    Repository,
    Unreadable,
    create_repository,
    open_repository,
    read_repository,
)
from qdrant_dr.repository.store import Sink, Stat, Store
from qdrant_dr.repository.sweep import (
    ORPHAN_GRACE,
    Sweeping,
    SweepPlan,
    plan_sweep,
    refuse_late_commit,
    sweep,
)

__all__ = [
    "CLOCK_TOLERANCE",
    "ORPHAN_GRACE",
    "Backup",
    "Catalog",
    "Copy",
    "CopyState",
    "FanOut",
    "Read",
    "Receipt",
    "Repository",
    "RepositoryState",
    "Sink",
    "Stat",
    "Store",
    "SweepPlan",
    "Sweeping",
    "Unfinished",
    "Unreadable",
    "counted_copies",
    "create_repository",
    "enough_copies",
    "fan_out",
    "is_proven",
    "location_of",
    "new_id",
    "newest",
    "newest_proven",
    "open_failures",
    "open_repository",
    "plan_sweep",
    "proof_of",
    "proven_copies",
    "read_catalog",
    "read_repository",
    "refuse_late_commit",
    "sound",
    "sweep",
    "time_of",
]
