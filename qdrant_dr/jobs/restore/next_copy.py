"""Where a restore reads from: the healthiest copy, and the next one where that fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from qdrant_dr.cancel import stoppable
from qdrant_dr.errors import (
    ArchiveError,
    BytesDiffer,
    CannotSign,
    DRError,
    RecoverFailed,
    RepositoryError,
)
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import Watcher
from qdrant_dr.jobs.run.prove import bytes_proof
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.records import Part
from qdrant_dr.repository.repository import Repository, Spool
from qdrant_dr.stores.bandwidth import BandwidthLimit
from qdrant_dr.verified_read import VerifiedRead

log = logging.getLogger(__name__)
T = TypeVar("T")

OF_THE_COPY = (RepositoryError, BytesDiffer, ArchiveError)
"""Errors that another copy may not have."""


@dataclass(slots=True)
class Meter:
    """Bytes that passed through this process, shared by all transfers of one restore."""

    total: int
    watch: Watcher | None
    bandwidth_limit: BandwidthLimit | None
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def paced(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged and no faster than the limit: for what is sent a second
        time."""
        for block in blocks:
            if self.bandwidth_limit is not None:
                time.sleep(self.bandwidth_limit.reserve(len(block)))
            yield block

    def through(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged, counted, and no faster than the limit."""
        for block in self.paced(blocks):
            with self._lock:
                self.sent += len(block)
                if self.watch is not None:
                    self.watch(min(self.sent, self.total), self.total)
            yield block


@dataclass(slots=True)
class Sources:
    """The copies of one backup, healthiest first, as they fall away one by one.

    `used` are the repositories that bytes came from, `notes` what became of the others, `told`
    how a part was read that lies scattered.
    """

    found: Found
    order: Sequence[str]
    run_id: str
    meter: Meter
    used: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    whole: dict[str, set[str]] = field(default_factory=dict)
    began_at: datetime = field(default_factory=utc_now)
    spool: Spool | None = None
    told: dict[str, None] = field(default_factory=dict)
    _gone: dict[str, DRError] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def each(self, what: str, act: Callable[[Repository], T], *also: type[DRError]) -> T:
        """Do it with the first copy that is good for it. Raise the last error if none is.

        `also` are errors after which another copy is tried, too.
        """
        last: DRError | None = None
        for name in self.order:
            if (error := self._gone.get(name) or self.found.failed.get(name)) is None:
                try:
                    done = act(self.found.opened[name])
                except DRError as e:
                    if not isinstance(e, (*OF_THE_COPY, *also)):
                        raise
                    error = e
                else:
                    with self._lock:
                        self.used[name] = None
                    return done
            last = error
            self._leave(name, what, error)
        raise last or RepositoryError(f"no repository has {what}")

    def verified(self, repository: Repository, part: Part) -> Iterator[bytes]:
        """Yield the bytes of a part. Raise BytesDiffer before the last one is given, if any is
        wrong; what was seen of the copy becomes a proof of its bytes, good or bad."""
        try:
            # before the transfer begins: a part may be put together in the spool first
            read = repository.read_verified(
                self.found.backup.key,
                part,
                lambda blocks: self.meter.through(stoppable(blocks)),
                self.spool,
            )
        except BytesDiffer as error:
            self._prove(repository, error, 0)
            raise
        return self._passed_on(read, repository, part)

    def _passed_on(self, read: VerifiedRead, repository: Repository, part: Part) -> Iterator[bytes]:
        try:
            for block in read:
                if read.whole:
                    self._is_whole(repository, part)
                yield block
        except BytesDiffer as error:
            self._prove(repository, error, read.size_bytes)
            raise

    def _is_whole(self, repository: Repository, part: Part) -> None:
        with self._lock:
            seen = self.whole.setdefault(repository.name, set())
            seen.add(part.name)
            everything = len(seen) == len(self.found.manifest.parts)
        if everything:
            self._prove(repository, None, self.found.manifest.size_bytes)

    def signed(self, repository: Repository, part: Part, seconds: int) -> str:
        """Return a URL by which anyone may read the part: a secret. Raise CannotSign."""
        return repository.presigned(self.found.backup.key, part, seconds)

    def _leave(self, name: str, what: str, error: DRError) -> None:
        with self._lock:
            if name in self._gone:
                return
            self._gone[name] = error
            if not isinstance(error, CannotSign | RecoverFailed):
                self.notes.append(f"{name} could not give {what}: {error.message}")
            else:
                self.notes.append(f"not from {name}: {error.message}")
        log.warning("%s is left out of this restore: %s", name, error.message)

    def _prove(self, repository: Repository, error: DRError | None, size: int) -> None:
        """Keep what the transfer saw of this copy; losing the record must not stop a restore."""
        proof = bytes_proof(
            self.found.backup, repository, error, bytes_checked=size, run_id=self.run_id,
            made_by="restore", started_at=self.began_at, ended_at=utc_now(),
        )  # fmt: skip
        try:
            repository.add_proof(proof)
        except DRError as e:
            self.notes.append(f"{repository.name} did not take the proof of its bytes: {e.message}")
