"""The entry that a run, or a single change, leaves in the ledger of each repository."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, EvidenceError
from qdrant_dr.hints import NEXT, REPORT_IT
from qdrant_dr.records.ledger import Change, Head, LedgerEntry, Written
from qdrant_dr.repository import Repository
from qdrant_dr.repository.changes import last_changes, noting_changes, removals
from qdrant_dr.repository.ledger import append_entry, read_head
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.repository.ledger_memory import LedgerMemory
from qdrant_dr.repository.unnamed_records import Unnamed, find_unnamed, is_due
from qdrant_dr.signing.ssh_keys import Signer, read_private_key

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class LedgerWriter:
    """The ledgers of the repositories that were opened: looked at first, so that a verdict knows of
    what is wrong with them, and written last. It never raises."""

    config: Config
    repositories: Mapping[str, Repository]
    heads: dict[str, LedgerHead] = field(default_factory=dict)
    failed: dict[str, DRError] = field(default_factory=dict)
    signer: Signer | None = None
    key_error: DRError | None = None

    def look(self) -> list[str]:
        """Find the end of each ledger and read the key; what is wrong, in words with the next
        command."""
        self.signer, self.key_error = read_signer(self.config)
        found = self.find_heads()
        doubts = [_words(e) for head in found.values() for e in head.doubts]
        if self.key_error is not None:
            doubts.append(_words(self.key_error))
        return doubts + [_away(name, e) for name, e in self.failed.items()]

    def find_heads(self) -> dict[str, LedgerHead]:
        """Find the end of each ledger."""
        self.heads = self._each(self.repositories, lambda r: read_head(r, self._memory(r).head()))
        return self.heads

    def write(
        self,
        changes: Sequence[Change],
        *,
        job: str,
        run_id: str | None,
        next_key: str | None = None,
    ) -> list[str]:
        """Append one entry to each ledger that was found; what went wrong."""
        told = {*self.failed}

        def write(repository: Repository) -> LedgerHead:
            return self._write(repository, changes, job, run_id, next_key)

        before = {name: self.heads[name].doubts for name in self.heads}
        ready = {n: r for n, r in self.repositories.items() if n in self.heads}
        for name, head in self._each(ready, write).items():
            self.heads[name] = head
        new = [_away(name, e) for name, e in self.failed.items() if name not in told]
        return new + [
            _words(e)
            for name, head in self.heads.items()
            for e in head.doubts
            if e not in before.get(name, ())
        ]

    def errors(self) -> dict[str, DRError]:
        """Return all that is wrong, by what it is of."""
        found: dict[str, DRError] = {f"ledger of {n}": e for n, e in self.failed.items()}
        for name, head in self.heads.items():
            found |= {f"ledger of {name} ({i})": e for i, e in enumerate(head.doubts, 1)}
        return found | ({"signing key": self.key_error} if self.key_error else {})

    def _write(
        self,
        repository: Repository,
        changes: Sequence[Change],
        job: str,
        run_id: str | None,
        next_key: str | None,
    ) -> LedgerHead:
        memory, head = self._memory(repository), self.heads[repository.name]
        mine, removed = last_changes(changes, repository.id), removals(changes, repository.id)
        crashed = [r for r in memory.crashed() if r != run_id]
        unnamed = Unnamed()
        if crashed or is_due(head, datetime.now(UTC)):
            cluster = self.config.cluster.name
            unnamed = find_unnamed(
                repository, cluster, head, mine.keys(), crashed, datetime.now(UTC)
            )
        others = [
            Head(repository_id=r.id, number=h.number, sha256=h.sha256)
            for n, h in self.heads.items()
            if h.number and (r := self.repositories[n]).id != repository.id
        ]

        def entry_after(head: LedgerHead) -> LedgerEntry:
            return LedgerEntry(
                repository_id=repository.id,
                location=repository.location,
                number=head.number + 1,
                previous=head.sha256,
                previous_stored_at=head.stored_at,
                at=datetime.now(UTC),
                cluster=self.config.cluster.name,
                run_id=run_id,
                job=job,
                signer=self.signer.public.fingerprint if self.signer else None,
                records=_written(mine),
                removed=tuple(c.path for c in removed),
                removed_sizes=tuple(c.size_bytes for c in removed),
                found=unnamed.found,
                crashed=tuple(sorted(crashed)),
                heads=tuple(sorted(others, key=lambda h: h.repository_id)),
                since=None if head.number else unnamed.since,
                adopted_from=head.adopted_from,
                next_key=next_key,
            )

        entry, after = append_entry(repository, head, entry_after, self.signer)
        memory.remember(after)
        if (url := self.config.signing.timestamp_url) and is_due(head, entry.at):
            from qdrant_dr.jobs.run.timestamp import timestamp_entry  # an HTTP client: slow

            timestamp_entry(repository, entry, url)
        for run in {*crashed, *filter(None, [run_id])}:
            memory.run_ended(run)
        return after

    def _each(
        self, repositories: Mapping[str, Repository], do: Callable[[Repository], T]
    ) -> dict[str, T]:
        """Do it for all at once; an error is kept, by name."""

        def one(repository: Repository) -> T | None:
            try:
                return do(repository)
            except DRError as e:
                error = e
            except Exception as e:  # a defect in it must not fail a backup
                log.exception("the ledger of %s", repository.name)
                error = EvidenceError(f"{type(e).__name__}: {e}", REPORT_IT)
            log.warning("the ledger of %s: %s", repository.name, error.message)
            self.failed[repository.name] = error
            return None

        if not repositories:
            return {}
        with ThreadPoolExecutor(len(repositories)) as pool:
            done = list(zip(repositories, pool.map(one, repositories.values()), strict=True))
        return {name: found for name, found in done if found is not None}

    def _memory(self, repository: Repository) -> LedgerMemory:
        return LedgerMemory(self.config.capture.spool.path, repository.id)


@contextmanager
def change_in_ledger(
    config: Config, opened: Mapping[str, Repository], job: str
) -> Iterator[dict[str, DRError]]:
    """Let an entry in each ledger name what this block changes without a run. What goes wrong with
    that is in what it gives, once the block has ended."""
    errors: dict[str, DRError] = {}
    with noting_changes() as changes:
        try:
            yield errors
        finally:
            if changes:
                errors |= write_change(config, opened, changes, job)


def write_change(
    config: Config,
    opened: Mapping[str, Repository],
    changes: Sequence[Change],
    job: str,
    next_key: str | None = None,
) -> dict[str, DRError]:
    """Append an entry of a change without a run to each ledger; what went wrong, by what it is
    of."""
    ledgers = LedgerWriter(config, opened)
    ledgers.look()
    ledgers.write(changes, job=job, run_id=None, next_key=next_key)
    return ledgers.errors()


def ledger_of_copy(
    config: Config, adopted: Repository, changes: Sequence[Change]
) -> dict[str, DRError]:
    """Let the ledger of a copied repository go on under its new id; errors as above."""
    own = [c.model_copy(update={"repository_id": adopted.id}) for c in changes]
    return write_change(config, {adopted.name: adopted}, own, "adopt")


def ledger_heads(config: Config, opened: Mapping[str, Repository]) -> dict[str, LedgerHead]:
    """Return where each ledger ends, for those who only look; what cannot be listed is left out, as
    its repository is reported anyway."""
    return LedgerWriter(config, opened).find_heads()


def read_signer(config: Config) -> tuple[Signer | None, DRError | None]:
    """Return the configured key, or why it cannot be used; neither without one."""
    if config.signing.key is None:
        return None, None
    try:
        return read_private_key(config.signing.key), None
    except DRError as e:
        return None, e


def note_began(config: Config, repositories: Mapping[str, Repository], run_id: str) -> None:
    """Note on this machine that a run writes to these repositories, so that the next one covers
    what it wrote should it die."""
    for repository in repositories.values():
        LedgerMemory(config.capture.spool.path, repository.id).run_began(run_id)


def _written(changes: Mapping[str, Change]) -> tuple[Written, ...]:
    return tuple(
        Written(path=c.path, sha256=c.sha256, size_bytes=c.size_bytes)
        for c in sorted(changes.values(), key=lambda c: c.path)
        if c.sha256 is not None
    )


def _words(error: DRError) -> str:
    return f"{error.message}{NEXT}{error.hint}"


def _away(name: str, error: DRError) -> str:
    return f"no entry in the ledger of {name}: {error.message}{NEXT}{error.hint}"
