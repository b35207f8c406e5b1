"""Daily sizes of collections, node snapshots and repositories, and their forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from qdrant_dr.layout import read_pack_path, time_of
from qdrant_dr.records import Captured, Manifest
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.forecast import Forecast, Measured, forecast
from qdrant_dr.text import count

Kind = Literal["collection", "node", "repository"]
KINDS: tuple[Kind, ...] = ("collection", "node", "repository")

WARN_DAYS = 14.0
"""A limit that may be reached sooner than this is a finding: in time to order a disk."""


@dataclass(frozen=True)
class Daily:
    """The last size of a day (UTC); `backup_id` if it is the size of one backup."""

    day: date
    measured: Measured
    backup_id: str | None


@dataclass(frozen=True)
class Series:
    """The measured sizes of one subject, and their forecast.

    `collection`: bytes of its backups, limited by the spool in which proofs unpack them. `node`:
    the largest file that one node makes for them, limited by the space that the operator
    configured. `repository`: all bytes stored there, without limit, because no store tells one."""

    kind: Kind
    subject: str
    days: tuple[Daily, ...]
    limit_name: str | None
    forecast: Forecast


def sizes_of(evidence: Evidence, standings: Sequence[Standing]) -> tuple[Series, ...]:
    """Return every series, collections first, by name."""
    config = evidence.config
    known = [
        (s, [b.manifest for b in s.backups if b.manifest.captured_at <= evidence.as_of])
        for s in standings
        if s.exclusion is None and s.gone_since is None
    ]
    found = [
        _series(
            evidence, "collection", s.collection,
            _daily((m.captured_at, m.size_bytes, m.backup_id) for m in made),
            ("capture.spool.max", int(config.capture.spool.max)),
        )
        for s, made in known
    ]  # fmt: skip
    if (space := config.cluster.node_space) is not None:
        found += [
            _series(
                evidence, "node", s.collection,
                _daily((m.captured_at, largest_file(m), m.backup_id) for m in made),
                ("cluster.node_space", int(space)),
            )
            for s, made in known
        ]  # fmt: skip
    found += [_stored(evidence, r.name) for r in evidence.repositories if r.error is None]
    return tuple(found)


def largest_file(manifest: Manifest) -> int:
    """Return the bytes of the largest snapshot that a node made for it: its disk must hold that."""
    return max(p.server_size_bytes or p.size_bytes for p in manifest.parts)


def _daily(sizes: Iterable[tuple[datetime, int, str | None]]) -> tuple[Daily, ...]:
    """Return the last size of each day."""
    days: dict[date, Daily] = {}
    for at, size, backup_id in sorted(sizes, key=lambda s: s[0]):
        days[at.date()] = Daily(at.date(), Measured(at, size), backup_id)
    return tuple(days.values())


def _series(
    evidence: Evidence,
    kind: Kind,
    subject: str,
    days: tuple[Daily, ...],
    limit: tuple[str, int] | None = None,
    *,
    unknown: str | None = None,
) -> Series:
    """Build a series. `unknown` says why the past is unknown; then there is no forecast."""
    name, most = limit or (None, None)
    measured = tuple(d.measured for d in days)
    told = (
        Forecast(measured=measured, why=unknown, limit=most)
        if unknown
        else forecast(measured, now=evidence.as_of, limit=most)
    )
    return Series(kind, subject, days, name, told)


def _stored(evidence: Evidence, repository: str) -> Series:
    """Return the bytes stored by each day: what is there now, dated by its backup. Of a chunked
    repository these are the packs that were written for it, so what each night added.

    If backups were removed meanwhile, their bytes are missing from the past, which would look like
    growth: then no forecast is made.
    """
    copies = [(b.manifest, b.copy(repository)) for b in evidence.catalog.backups]
    kept = {(m.collection, m.backup_id) for m, copy in copies if copy.stored_bytes}
    written = [(m.transferred_at, copy.stored_bytes) for m, copy in copies if copy.stored_bytes]
    written += [
        (began, pack.size_bytes)
        for pack in evidence.catalog.packs.get(repository, ())
        if (at := read_pack_path(pack.path)) and (began := time_of(at.backup_id)) <= evidence.as_of
    ]
    total, sizes = 0, []
    for moment, size in sorted(written):
        total += size
        sizes.append((moment, total, None))
    removed = sum(
        isinstance(o.detail, Captured)
        and repository in o.detail.committed
        and (o.collection, o.backup_id) not in kept
        for end in evidence.run_ends
        for o in end.outcomes
    )
    unknown = f"{count(removed, 'backup')} removed meanwhile" if removed else None
    return _series(evidence, "repository", repository, _daily(sizes), unknown=unknown)
