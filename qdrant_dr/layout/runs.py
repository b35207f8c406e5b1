"""Paths of the records of runs and looks, and of bundles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from qdrant_dr.layout.names import (
    BACKUPS,
    BUNDLES,
    EXPIRED,
    MANIFEST,
    PROOFS,
    RUN_RECORDS,
    RUNS,
    SEAL,
    WATCHES,
    checked,
    time_if_id,
)
from qdrant_dr.layout.shapes import is_ours


def run_start(run_id: str, started_at: datetime) -> str:
    """The path of the record that a run began."""
    return f"{_month(started_at)}/{checked(run_id)}.start.json"


def run_end(run_id: str, started_at: datetime) -> str:
    """The path of the record of how a run ended; beside its start."""
    return f"{_month(started_at)}/{checked(run_id)}.end.json"


def watch(cluster: str, run_id: str, started_at: datetime) -> str:
    """The path of the record of a look; ids sort by time."""
    return f"{watches(cluster, started_at)}/{checked(run_id)}.json"


def watches(cluster: str, month: datetime) -> str:
    """The folder of all looks of a month."""
    return f"{WATCHES}/{checked(cluster)}/{month.astimezone(UTC):%Y/%m}"


def bundles_of(folder: str) -> str | None:
    """The folder of the bundles of what lies below a folder of a whole cluster, or of the runs of
    one month; None for any other folder."""
    top, *steps = folder.split("/")
    if top == RUNS and len(steps) == 2:
        return f"{BUNDLES}/{top}/{'-'.join(steps)}"
    if top in (BACKUPS, PROOFS, EXPIRED) and len(steps) == 1:
        return f"{BUNDLES}/{top}/{steps[0]}"
    return None


def may_be_bundled(path: str) -> bool:
    """Whether a look reads this record, so that a bundle may have it."""
    top, _, below = path.partition("/")
    read = top in (PROOFS, EXPIRED, RUNS) or (
        top == BACKUPS and below.endswith((f"/{MANIFEST}", f"/{SEAL}"))
    )
    return read and is_ours(path)


def stem(path: str) -> str:
    """The name of a record without its folders and `.json`: for looks, the id of their run."""
    return path.rpartition("/")[2].removesuffix(".json")


def months_around(now: datetime) -> tuple[datetime, datetime, datetime]:
    """A moment in the month before, in this one and in the next one, in UTC."""
    middle = now.astimezone(UTC).replace(day=15)
    month = timedelta(days=30)
    return (middle - month, middle, middle + month)


def run_months(since: datetime, until: datetime) -> Iterator[str]:
    """The folders of every month that the period touches."""
    at = since.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while at <= until:
        yield _month(at)
        at = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


def run_of(path: str) -> tuple[str, datetime] | None:
    """Month folder and time of the run that a record below `runs/` is of; None if it is none."""
    month, _, file = path.rpartition("/")
    began = time_if_id(file.partition(".")[0])
    return (month, began) if began is not None and file.endswith(RUN_RECORDS) else None


def _month(at: datetime) -> str:
    return f"{RUNS}/{at.astimezone(UTC):%Y/%m}"
