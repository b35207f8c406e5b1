"""Recount some controls and the heads of ledgers from the raw bytes of records.

Like `recount`, which it goes on from, it shares no code with the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from qdrant_dr.config import Config
from qdrant_dr.report.evidence.recount import Body, Recount, believed

_WORK = ("backup", "replicate", "verify", "drill", "restore", "expire")


@dataclass(frozen=True)
class Head:
    """The last entry of one ledger, and whether all before it are there, each naming the one
    before."""

    repository: str
    number: int
    sha256: str
    chained: bool


def heads(records: Iterable[tuple[str, str, bytes]], as_of: datetime) -> dict[str, Head]:
    """Chain the entries of each repository up to `as_of`, by the bytes that lie there."""
    ledgers: dict[str, dict[int, tuple[str, str]]] = {}
    cuts: dict[str, Body] = {}
    for repository, path, data in records:
        body = believed(data)[0] if path.startswith("evidence/") else None
        if body is not None and _moment(body["at"]) <= as_of:
            digest = hashlib.sha256(data).hexdigest()
            ledgers.setdefault(repository, {})[body["number"]] = digest, body["previous"]
            if body["cut"] is not None:
                cuts[repository] = body["cut"]
    return {name: _head(name, entries, cuts.get(name)) for name, entries in ledgers.items()}


def _head(repository: str, entries: Mapping[int, tuple[str, str]], cut: Body | None) -> Head:
    """Chain from the first entry on, or from the first that a cut has kept."""
    first, before = (cut["first_kept"], cut["previous"]) if cut else (1, "0" * 64)
    last, whole = max(entries), True
    for number in range(first, last + 1):
        digest, previous = entries.get(number, ("", ""))
        whole = whole and previous == before
        before = digest
    return Head(repository, last, before, whole)


def controls(
    records: Iterable[tuple[str, str, bytes]],
    counted: Recount,
    config: Config,
    as_of: datetime,
    period: timedelta,
) -> dict[tuple[str, str], bool]:
    """Say whether the controls that coverage and drills decide are met, by framework and id."""
    want, rows = config.copies, counted.rows
    promised = [r.copies >= want.quorum and r.domains >= want.domains for r in rows]
    apart = bool(rows) and all(r.domains >= max(2, want.domains) for r in rows)
    fresh = [r.age is not None and r.age <= _objective(config, r.collection) for r in rows]
    twice = [r.copies >= 2 for r in rows]
    every = list(records)
    worked = _worked(every, config.cluster.name, as_of, as_of - period)
    drills = _last_drills(every, config.cluster.name, as_of, as_of - period)
    drilled = any(r.collection in drills for r in rows) and all(drills.values())
    met = {
        ("NIST SP 800-53", "CP-9"): bool(rows) and all(fresh) and all(promised),
        ("NIST SP 800-53", "CP-6(1)"): apart,
        ("NIST SP 800-53", "CP-9(2)"): drilled,
        ("ISO 27001", "A.8.14"): bool(rows) and all(promised) and all(twice),
        ("CIS Controls", "11.4"): apart,
    }
    return {control: worked and found for control, found in met.items()}


def _worked(
    records: Iterable[tuple[str, str, bytes]], cluster: str, as_of: datetime, since: datetime
) -> bool:
    """Say whether a run of the period that does something about backups has ended."""
    for _, path, data in records:
        body = believed(data)[0] if path.endswith(".end.json") else None
        if (
            body is not None
            and body["start"]["cluster"] == cluster
            and body["start"]["job"] in _WORK
            and _moment(body["start"]["started_at"]) >= since
            and _moment(body["ended_at"]) <= as_of
        ):
            return True
    return False


def _objective(config: Config, collection: str) -> timedelta:
    own = config.collections.override(collection).objectives.rpo
    return own or config.objectives.rpo


def _last_drills(
    records: Iterable[tuple[str, str, bytes]], cluster: str, as_of: datetime, since: datetime
) -> dict[str, bool]:
    """Return of the last drill of each collection whether every point came back equal."""
    found: list[tuple[datetime, str, str, bool]] = []
    for _, path, data in records:
        body = believed(data)[0] if path.endswith(".end.json") else None
        if body is None or body["start"]["cluster"] != cluster or _moment(body["ended_at"]) > as_of:
            continue
        for outcome in body["outcomes"]:
            began = _moment(outcome["started_at"])
            if outcome["unit"] == "drill" and outcome["verdict"] != "skipped" and began >= since:
                name = (outcome["detail"] or {}).get("drill_id", "")
                found.append((began, name, outcome["collection"], _passed(outcome)))
    return {collection: passed for _, _, collection, passed in sorted(found)}


def _passed(outcome: Body) -> bool:
    detail: Mapping[str, Any] = outcome["detail"] or {}
    points = detail.get("points_expected")
    whole = points is not None and points == detail.get("points_restored")
    return outcome["verdict"] != "failed" and detail.get("fingerprint_equal") is True and whole


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
