"""`acknowledge`: find what a name means among the present findings and backups, and record it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, UsageError
from qdrant_dr.jobs.acknowledge.job import (
    SUSPECT,
    Written,
    accept,
    acknowledge,
    unconfirmed,
    withdraw,
)
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.backup_selector import select
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.ledger import change_in_ledger
from qdrant_dr.records import Acknowledgement, Found
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.watch.changes import found
from qdrant_dr.report.watch.job import last_findings
from qdrant_dr.repository import Repository

PERIOD = timedelta(days=30)
ON_RECORD = "`qdrant-dr acknowledge` lists acknowledgements, `qdrant-dr watch` lists findings."


def acknowledge_named(
    config: Config,
    name: str,
    *,
    reason: str,
    until: datetime | None,
    by: str,
    now: datetime,
    release: bool = False,
) -> Written:
    """Acknowledge the finding (`CODE`, `CODE:SCOPE`) or accept the backup (`NAME@ID`) of this name
    in every reachable repository, or take its acknowledgement back.

    The returned errors include repositories that could not be opened, and the reason if the record
    is not in force yet. Raise UsageError, NothingSelected, BackupNotFound or CatalogIncomplete.
    """
    if len(reason.strip()) < 3:
        raise UsageError("an acknowledgement needs a reason", "add --reason 'new embedding model'.")
    opened, failed = open_all(config)
    with change_in_ledger(config, opened, "acknowledge") as unlisted:
        if release:
            record, lost = _withdrawn(config, opened, failed, name, reason=reason, by=by, now=now)
        else:
            record, lost = _acknowledged(
                config, opened, failed, name, reason=reason, until=until, by=by, now=now
            )
    every = {**failed, **lost}
    weak = None if release else unconfirmed(config, every)
    return record, every | unlisted | ({"acknowledgement": weak} if weak else {})


def _acknowledged(
    config: Config,
    opened: Mapping[str, Repository],
    failed: Mapping[str, DRError],
    name: str,
    *,
    reason: str,
    until: datetime | None,
    by: str,
    now: datetime,
) -> Written:
    standing = findings_now(config, opened, now)
    if (finding := named(name, standing)) is not None:
        return acknowledge(
            opened, config.cluster.name, code=finding.code, scope=finding.scope,
            facts=finding.facts, what=finding.what, reason=reason, until=until, by=by, now=now,
        )  # fmt: skip
    catalog = catalog_of(config, opened, failed)
    backup = select(name, catalog, proven=config.objectives.proven, now=now)
    if until is not None and not (backup.seal and backup.seal.suspect):
        raise UsageError(
            f"{backup.key} is not suspect: there is no alarm to silence",
            "leave out --until to compare later backups with this one.",
        )
    return accept(opened, backup, reason=reason, until=until, by=by, now=now)


def acknowledged_now(config: Config, now: datetime) -> tuple[list[Acknowledgement], list[DRError]]:
    """Return the acknowledgements in force, and the errors of repositories that did not open."""
    opened, failed = open_all(config)
    known = acknowledgements_of(config, opened, now=now, lost=failed)
    return list(known), list(failed.values())


def findings_now(
    config: Config, opened: Mapping[str, Repository], now: datetime
) -> tuple[Found, ...]:
    """Return the findings of the records and ledgers, as a report has them, and those that only the
    cluster could show, from the last recorded watch."""
    assessed = Assessment.of(gather(config, now, PERIOD, packs=False))
    told = [found(p, None, now) for p in assessed.problems]
    known = {f.identity for f in told}
    seen = last_findings(opened, config.cluster.name, now)
    return (*told, *(f for f in seen if f.identity not in known))


def named(name: str, standing: Sequence[Found]) -> Found | None:
    """Return the finding of this name; None if the name cannot be that of a finding. Raise
    UsageError if there is no such finding, if there are several, or if it raises no alarm."""
    code, colon, scope = name.partition(":")
    of_code = [f for f in standing if f.code == code]
    if not of_code and "@" in name:
        return None
    meant = [f for f in of_code if not colon or f.scope == scope]
    if not meant:
        raise UsageError(f"there is no finding {name!r}", _nearest(name, standing))
    if len(meant) > 1:
        listed = ", ".join(repr(f"{f.code}:{f.scope}") for f in meant)
        raise UsageError(f"{name} may mean {len(meant)} findings: {listed}", "write one of them.")
    if meant[0].severity == "notice" and meant[0].acknowledged is None:
        raise UsageError(f"{name} is a notice: it raises no alarm", "there is nothing to do.")
    return meant[0]


def _nearest(name: str, standing: Iterable[Found]) -> str:
    known = [f"{f.code}:{f.scope}" for f in standing if f.severity != "notice"]
    close = difflib.get_close_matches(name, [*known, *(k.partition(":")[0] for k in known)], 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(map(repr, known))}." if known else "nothing is wrong now."


def _withdrawn(
    config: Config,
    opened: Mapping[str, Repository],
    failed: Mapping[str, DRError],
    name: str,
    *,
    reason: str,
    by: str,
    now: datetime,
) -> Written:
    """Take an acknowledgement back, even if the finding or backup no longer exists."""
    known = acknowledgements_of(config, opened, now=now, lost=[r.name for r in config.repositories])
    code, colon, scope = name.partition(":")
    of_code = {(a.code, a.scope) for a in known if a.code == code}
    if colon and (code, scope) in of_code:
        found = (code, scope)
    elif not colon and len(of_code) == 1:
        (found,) = of_code
    elif any((a.code, a.scope) == (SUSPECT, name) for a in known):
        found = (SUSPECT, name)
    elif "@" in name:
        catalog = catalog_of(config, opened, failed)
        backup = select(name, catalog, proven=config.objectives.proven, now=now)
        found = (SUSPECT, str(backup.key))
    else:
        raise UsageError(f"nothing acknowledges {name!r}", ON_RECORD)
    return withdraw(
        opened, config.cluster.name, code=found[0], scope=found[1], reason=reason, by=by, now=now
    )
