"""One run from its start record to its end record, in every repository that can be reached."""

from __future__ import annotations

import logging
import socket
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, Interrupted
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.conclude import conclude, worse
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.ledger import LedgerWriter, note_began
from qdrant_dr.jobs.run.run_identity import new_run_id, user_name, versions
from qdrant_dr.jobs.run.undelivered import deliver, keep_for
from qdrant_dr.jobs.run.units import ExpireUnit, HealUnit, Unit
from qdrant_dr.log_context import events
from qdrant_dr.records import (
    BackupKey,
    ErrorFacts,
    Outcome,
    RepositorySeen,
    RunEnd,
    RunStart,
    SeenCollection,
)
from qdrant_dr.records.ledger import Change
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.records.run import Kind, Trigger
from qdrant_dr.repository import (
    REACH,
    UNWITNESSED,
    Backup,
    Catalog,
    LostBackup,
    Repository,
    Unreadable,
    stranger_remarks,
)
from qdrant_dr.repository.changes import note_from_here
from qdrant_dr.version import __version__

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Read the one clock of the jobs; decisions below them take `now` as an argument."""
    return datetime.now(UTC)


def seen_repositories(
    config: Config, opened: Mapping[str, Repository], failed: Mapping[str, DRError]
) -> tuple[RepositorySeen, ...]:
    """Return each configured repository: reachable, or why not."""
    return tuple(
        RepositorySeen(
            name=r.name,
            repository_id=r.id or "",
            domain=r.domain,
            location=opened[r.name].location if r.name in opened else None,
            reachable=r.name in opened and r.name not in failed,
            error=error_facts(failed[r.name], repository=r.name) if r.name in failed else None,
        )
        for r in config.repositories
    )


@dataclass(slots=True)
class Run:
    """A run that has begun: its start record, and the repositories as they were found."""

    start: RunStart
    repositories: dict[str, Repository]
    unreachable: dict[str, DRError]
    dry: bool = False
    source_kind: SourceKind | None = None
    unreadable: tuple[Unreadable, ...] = ()
    lost: tuple[LostBackup, ...] = ()
    unwitnessed: tuple[BackupKey, ...] = ()
    remarks: list[str] = field(default_factory=list)
    unwritten: dict[str, DRError] = field(default_factory=dict)
    written: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """When, by our clock, the start was written to a repository: between these two."""
    end: RunEnd | None = None
    changes: list[Change] = field(default_factory=list)
    """What it wrote and removed, for its entry in the ledgers."""

    @property
    def run_id(self) -> str:
        return self.start.run_id

    def read_catalog(self, config: Config, *, blind: bool = False) -> Catalog:
        """Read the catalog that this run decides from. What could not be read is noted on the run,
        which must not end as if those repositories and records did not exist. If nothing could be
        read, raise the first error, unless `blind` allows it: a run that sees nothing has nothing
        to say."""
        now = self.start.started_at
        catalog = catalog_of(config, self.repositories, self.unreachable, runs=(now - REACH, now))
        self.unreachable |= {r.name: r.error for r in catalog.unreachable if r.error}
        self.unreadable = catalog.unreadable
        self.lost = catalog.lost
        self.unwitnessed = tuple(b.key for b in catalog.unwitnessed(now))
        self.remarks += stranger_remarks(catalog.strangers)
        if catalog.blind and not blind:
            raise catalog.blind
        return catalog

    def damaged_records(self, repaired: Container[str] = ()) -> list[str]:
        """Take what is unreadable or lost as objections: for a job whose work it is to look at
        copies.

        `repaired` are paths, `<repository>/<path>`, that this run has healed since.
        """
        taken, self.unreadable = self.unreadable, ()
        gone = [f"{lost.key}: {lost.what}" for lost in self.lost if not lost.kept_less]
        self.lost = tuple(lost for lost in self.lost if lost.kept_less)
        return gone + [
            f"{where}: {u.error.message}"
            for u in taken
            if (where := f"{u.repository}/{u.path}") not in repaired
        ]

    def settle(self, units: Sequence[Unit], done: Sequence[Outcome]) -> None:
        """Forget doubts about backups that this run has healed or let go wherever it was to."""
        left = {u.key for u, o in zip(units, done, strict=True)
                if isinstance(u, HealUnit | ExpireUnit) and o.verdict != "ok"}  # fmt: skip
        over = {u.key for u in units if isinstance(u, HealUnit | ExpireUnit)} - left
        self.lost = tuple(lost for lost in self.lost if lost.key not in over)
        self.unwitnessed = tuple(key for key in self.unwitnessed if key not in over)

    def note_source(self, backups: Sequence[Backup]) -> None:
        """Take the kind of source from the backups, where no cluster is asked."""
        kinds = {b.manifest.source_kind for b in backups}
        if kinds:
            self.source_kind = "sandbox" if "sandbox" in kinds else "server"

    def past_ends(self, config: Config, now: datetime) -> tuple[RunEnd, ...]:
        """End records of the last two drill periods, as `ends_between`."""
        return self.ends_between(now - 2 * config.objectives.drill_every, now)

    def ends_between(self, since: datetime, until: datetime) -> tuple[RunEnd, ...]:
        """End records of this cluster's runs that began then, each once, oldest first."""
        found: dict[str, RunEnd] = {}
        for repository in self.repositories.values():
            _, ends = repository.read_runs(since, until)
            # clusters may share a repository: another one's runs are of other collections
            mine = (e for e in ends.records if e.start.cluster == self.start.cluster)
            found |= {e.start.run_id: e for e in mine}
        return tuple(sorted(found.values(), key=lambda e: e.ended_at))

    def finish(
        self,
        config: Config,
        *,
        outcomes: Sequence[Outcome],
        seen: Sequence[SeenCollection] = (),
        error: BaseException | ErrorFacts | None = None,
        objections: Sequence[str] = (),
        doubts: Sequence[str] = (),
    ) -> RunEnd:
        """Conclude, and write the end record wherever the start could be written; then the entry in
        each ledger. Where that fails, only what is returned says so: the record is written."""
        ledgers = LedgerWriter(config, self.repositories) if self._in_ledger else None
        doubts = [*doubts, *(ledgers.look() if ledgers else ())]
        self.changes[:0] = [change for o in outcomes for change in o.written]
        outcomes = [o.model_copy(update={"written": ()}) if o.written else o for o in outcomes]
        end = self.concluded(
            config, outcomes, seen=seen, error=error, objections=objections, doubts=doubts
        )
        self.end = end
        events.info(
            "%s run ended: %s", end.start.job, end.verdict,
            extra={"event": "run-ended", "run_id": end.start.run_id, "verdict": end.verdict,
                   "seconds": (end.ended_at - end.start.started_at).total_seconds()},
        )  # fmt: skip
        self.write_everywhere(end)
        self._keep_undelivered(config, end)
        if ledgers and (late := ledgers.write(self.changes, job=end.start.job, run_id=self.run_id)):
            end = worse(end, late)
        return end

    @property
    def _in_ledger(self) -> bool:
        """A dry run writes nothing; from a look of `watch` nothing is derived."""
        return not self.dry and self.start.job != "watch"

    def _keep_undelivered(self, config: Config, end: RunEnd) -> None:
        """For whoever did not take it: else nobody there would know what this run has made."""
        away = {*(self.unreachable.keys() - self.repositories.keys()), *self.unwritten}
        ids = [r.id for r in config.repositories if r.name in away and r.id]
        if not self.dry and end.start.job != "watch":
            keep_for(config.capture.spool.path, ids, end)

    def cut_short(
        self, config: Config, why: Interrupted, outcomes: Sequence[Outcome] = ()
    ) -> RunEnd:
        """End a run that a signal ended between two units. One that already has its end gets no
        second: its record is written where it is still missing."""
        if self.end is None:
            return self.finish(config, outcomes=outcomes, error=why)
        self.write_everywhere(self.end)
        return self.end

    def concluded(
        self,
        config: Config,
        outcomes: Sequence[Outcome],
        *,
        seen: Sequence[SeenCollection] = (),
        error: BaseException | ErrorFacts | None = None,
        objections: Sequence[str] = (),
        doubts: Sequence[str] = (),
    ) -> RunEnd:
        """Build the end record, without writing it.

        `objections` are the job's own (nothing to do, a conflict): each makes the run fail;
        `doubts` degrade it. A run without a record anywhere has failed, whatever it did.
        """
        doubts = [*doubts, *self._record_doubts()]
        if self.repositories and self.unwritten.keys() >= self.repositories.keys():
            objections = [*objections, "no repository took the record of this run"]
        repositories = seen_repositories(config, self.repositories, self.unreachable)
        conclusion = conclude(
            outcomes,
            seen,
            repositories,
            copies=config.copies,
            error=error_facts(error) if error else None,
            objections=objections,
            doubts=doubts,
        )
        return RunEnd(
            start=self.start,
            ended_at=utc_now(),
            source_kind=self.source_kind,
            verdict=conclusion.verdict,
            reasons=conclusion.reasons,
            error=error_facts(error) if error else None,
            seen=tuple(seen),
            repositories=repositories,
            outcomes=tuple(outcomes),
            remarks=tuple(self.remarks),
        )

    def _record_doubts(self) -> list[str]:
        return [
            *(f"{u.repository}/{u.path}: {u.error.message}" for u in self.unreadable),
            *(f"{lost.key}: {lost.what}" for lost in self.lost),
            *(f"{key}: {UNWITNESSED}" for key in self.unwitnessed),
            *(f"no record of this run in {n}: {e.message}" for n, e in self.unwritten.items()),
        ]

    def preview(
        self,
        config: Config,
        units: Sequence[Unit],
        seen: Sequence[SeenCollection] = (),
        objections: Sequence[str] = (),
        doubts: Sequence[str] = (),
        also: Sequence[Outcome] = (),
    ) -> RunEnd:
        """Build the end of a dry run: what would be done, as skipped outcomes; `also` what would
        not."""
        now = utc_now()
        outcomes = [
            Outcome(
                unit=u.unit,
                collection=u.collection,
                repository=getattr(u, "repository", None),
                backup_id=getattr(getattr(u, "key", None), "backup_id", None),
                verdict="skipped",
                started_at=now,
                ended_at=now,
                notes=(f"would {u.unit} {u.label}", *filter(None, [getattr(u, "reason", "")])),
            )
            for u in units
        ]
        return self.finish(
            config, outcomes=[*outcomes, *also], seen=seen, objections=objections, doubts=doubts
        )

    def write_everywhere(self, record: RunStart | RunEnd) -> None:
        """Write a record of this run to every repository that can be reached; a dry run none."""
        if self.dry:
            return
        for name, repository in self.repositories.items():
            try:
                if isinstance(record, RunEnd):
                    repository.write_run_end(record)
                else:
                    before = utc_now()
                    repository.write_run_start(record)
                    self.written[name] = before, utc_now()
            except DRError as e:
                # the other repositories hold the record; losing one must not fail the run
                self.unwritten[name] = e
                log.warning("run record not written to %s: %s", name, e.message)


def begin(
    config: Config,
    job: Kind,
    *,
    trigger: Trigger = "cli",
    actor: str | None = None,
    scheduled_for: datetime | None = None,
    parameters: Mapping[str, str | int | bool | tuple[str, ...] | None] | None = None,
    now: datetime | None = None,
    repositories: Sequence[str] | None = None,
) -> Run:
    """Open every repository, or only those named, and write the start record: a start without an
    end is a crash.

    A dry run (`dry_run` among its parameters) changes nothing and leaves no record: it must not
    read as a run that did its work. Nor does a `watch` that died: it leaves one record, at its end.
    """
    now = now or utc_now()
    opened, failed = open_all(config, repositories)
    start = RunStart(
        run_id=new_run_id(now),
        job=job,
        trigger=trigger,
        actor=actor or f"{user_name()}@{socket.gethostname()}",
        scheduled_for=scheduled_for,
        started_at=now,
        cluster=config.cluster.name,
        tool_version=__version__,
        versions=versions(),
        config_sha256=config.sha256,
        parameters=dict(parameters or {}),
    )
    events.info("%s run began", job, extra={"event": "run-began", "run_id": start.run_id})
    dry = bool(start.parameters.get("dry_run"))
    run = Run(
        start=start, repositories=opened, unreachable=failed, dry=dry, changes=note_from_here()
    )
    run.remarks += [f"{e.message}: {e.hint}" for r in opened.values() if (e := r.only_read)]
    if not dry and job != "watch":
        note_began(config, opened, start.run_id)
    if not dry:
        deliver(config.capture.spool.path, opened)
    if job != "watch":
        run.write_everywhere(start)
    return run
