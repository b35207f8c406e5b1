"""What captures of nodes and full snapshots share: create calls, and their bytes in repositories.

Every call is numbered, announced by an intent, made alone on its node, and its answer kept: it is
deleted by that answer once the backups are safe. Its bytes are read once and hashed once.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial

from qdrant_dr.cancel import rest, stopping
from qdrant_dr.cluster import SnapshotScope, blocks_of, create_snapshot, list_snapshots
from qdrant_dr.cluster.source_nodes import AnsweringNode
from qdrant_dr.config import Config
from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import Interrupted
from qdrant_dr.jobs.backup.created_snapshots import Creation
from qdrant_dr.jobs.backup.one_snapshot_per_node import alone_on
from qdrant_dr.jobs.backup.uncommitted_backup import UncommittedBackup
from qdrant_dr.jobs.run.progress import Together
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.records import ListedSnapshot, Part
from qdrant_dr.records.manifest import part_file
from qdrant_dr.repository import fan_out
from qdrant_dr.vault.cut_once import CutOnce

log = logging.getLogger(__name__)

WHOLE = "collection"
NAME_SECONDS = 1.1
Each = Callable[[Callable[[UncommittedBackup], None]], None]
"""Does something for every backup that one create call is for."""


@dataclass(slots=True)
class CaptureEngine:
    """One capture under way. `created` are the calls that were answered; `failed` is set where a
    part of it cannot be mended, and asks the others to end."""

    config: Config
    what: str
    created: list[Creation] = field(default_factory=list)
    failed: threading.Event = field(default_factory=threading.Event)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _named_until: dict[tuple[str, SnapshotScope], float] = field(default_factory=dict)
    _progress: Together = field(default_factory=Together)

    def create(self, source: AnsweringNode, scope: SnapshotScope, each: Each) -> Creation:
        """Write intents, make the create calls, write the answers. Each node makes one snapshot at
        a time."""
        place = source.node.url, scope
        with alone_on(source.node.url):
            self._refuse_failed()
            # names have a resolution of one second: a second call in it would overwrite the first
            rest(max(0.0, self._named_until.get(place, 0) - time.monotonic()))
            number, asked_at = next(self.numbers), utc_now()
            listed = list_snapshots(source.node, scope)
            each(lambda draft: draft.intend(source, scope, number, listed))
            answer = create_snapshot(source.node, scope, stop=stopping)
            self._named_until[place] = time.monotonic() + NAME_SECONDS
        created = Creation(number, source, scope, answer, listed, asked_at, utc_now())
        self.created.append(created)
        each(lambda draft: draft.answered(created))
        return created

    def read(self, created: Creation, digest: StreamDigest | None = None) -> Iterator[bytes]:
        """Yield the bytes that a call made. With `digest`, which their reader feeds, they are not
        hashed a second time for the server's checksum."""
        answer, cluster = created.answer, self.config.cluster
        node = created.source.node
        blocks = blocks_of(node, created.scope, answer, cluster, stop=stopping, digest=digest)
        return self.passing(blocks, answer.size_bytes)

    def passing(self, blocks: Iterable[bytes], total: int) -> Iterator[bytes]:
        """Yield the blocks unchanged and watched, until another part fails."""
        return self._progress.watched(self.unless_failed(blocks), total)

    def unless_failed(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged. Raise Interrupted once another part failed."""
        for block in blocks:
            self._refuse_failed()
            yield block

    def keep(
        self, draft: UncommittedBackup, created: Creation, name: str, about: Mapping[str, object]
    ) -> Part:
        """Keep what a call made, unchanged, as one part of a backup."""
        digest, answer = StreamDigest(), created.answer
        about = {**about, **said_of(answer)}
        return self.store(
            draft, name, self.read(created, digest), answer.size_bytes, about, digest=digest
        )

    def store(
        self,
        draft: UncommittedBackup,
        name: str,
        blocks: Iterable[bytes],
        size_hint: int,
        about: Mapping[str, object],
        *,
        digest: StreamDigest | None = None,
    ) -> Part:
        """Write one stream as a part of a backup into every repository, read and hashed once.

        Here alone a stream meets the repositories: what each makes of it is the business of its
        layout (`part_sink`). Raise QuorumMissed if none is left.
        """
        destinations, key, file = draft.destinations, draft.key, part_file(name)
        repositories = list(destinations.taking_part.items())
        digest = digest or StreamDigest()
        chunked = [n for n, r in repositories if r.record.layout == "chunked"]
        cut = CutOnce(len(chunked), digest)
        try:
            written = fan_out(
                blocks,
                {
                    n: partial(r.part_sink, key, file, size_hint, cut, digest)
                    for n, r in repositories
                },
                stall_timeout=self.config.copies.stall_timeout,
                digest=digest,
                stopped=lambda: stopping.is_set() or self.failed.is_set(),
            )
        except Interrupted:  # the fast may have all of it while the slow are waited for
            destinations.take_back(key, file)
            raise
        for n, error in written.left_behind.items():
            destinations.leave(n, error)
        destinations.each(lambda _: None)
        receipt = next(iter(written.receipts.values()))
        return Part.model_validate({"name": name, **asdict(receipt), **about})

    @contextmanager
    def deleting_if_interrupted(self, label: str, delete: Callable[[], str]) -> Iterator[None]:
        """Delete what was made if asked to end meanwhile."""
        try:
            yield
        except Interrupted:  # no manifest will ever name it, and no sweep may come for long
            if (left := delete()) != "deleted":
                log.warning("%s %s", label, left)
            raise

    def _refuse_failed(self) -> None:
        if self.failed.is_set():
            raise Interrupted(f"another part of {self.what} failed")


def said_of(answer: ListedSnapshot) -> dict[str, object]:
    """Return what a part records of the file that the server made."""
    return {
        "server_name": answer.name,
        "server_size_bytes": answer.size_bytes,
        "server_checksum": answer.checksum,
    }
