"""The bytes of a restore: every part of a backup into the target, as a whole or shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, recover_by_upload
from qdrant_dr.cluster.recover import recover_from, recover_shard_by_upload
from qdrant_dr.cluster.target import holders
from qdrant_dr.cluster.upload import upload_name
from qdrant_dr.config import Config
from qdrant_dr.errors import Interrupted, RecoverFailed, RecoverUnanswered
from qdrant_dr.jobs.restore.journal import OpenJournal
from qdrant_dr.jobs.restore.next_copy import Sources
from qdrant_dr.jobs.run.units import RestoreUnit
from qdrant_dr.jobs.target.node_for_shard import TargetNodes
from qdrant_dr.jobs.target.split import Cut, cut_shards
from qdrant_dr.records import Part
from qdrant_dr.repository import Repository

Upload: TypeAlias = Callable[[Repository], None]


@dataclass(slots=True)
class PartSender:
    """Every part, checksum and priority always sent; what the target has confirmed is written
    down, and not sent again by whoever continues."""

    unit: RestoreUnit
    config: Config
    sources: Sources
    node: Node
    journal: OpenJournal
    folder: Path

    def run(self, nodes: TargetNodes) -> None:
        """Send what the journal does not have yet."""
        if self.unit.route == "whole":
            (part,) = self.sources.found.manifest.parts
            if self._left_to_do(part.name):
                self._whole(part)
                self.journal.note(recovered=part.name)
        else:
            self._shards(nodes)

    def _left_to_do(self, piece: str) -> bool:
        return piece not in self.journal.recovered

    def _whole(self, part: Part) -> None:
        name, unit = self.unit.name, self.unit

        def upload(repository: Repository) -> None:
            file = upload_name()
            self.journal.note(upload=file)
            recover_by_upload(
                self.node, name, self.sources.verified(repository, part),
                size=part.size_bytes, sha256=part.sha256, priority=unit.priority, name=file,
            )  # fmt: skip

        if unit.way == "server-file":
            assert unit.server_file is not None
            self._fetched(self.node, part, unit.server_file)
        else:
            self._from_each(part, self.node, upload)

    def _from_each(
        self, part: Part, target: Node, upload: Upload, shard: int | None = None
    ) -> None:
        """One copy after the other, by upload or by a signed URL, until the target has the part."""
        seconds = round(self.node.timeouts.snapshot.total_seconds())

        def by_url(repository: Repository) -> None:
            self._fetched(target, part, self.sources.signed(repository, part, seconds), shard)

        if self.unit.way == "url":
            self.sources.each(part.file, by_url, RecoverFailed)
        else:
            self.sources.each(part.file, upload)

    def _fetched(self, target: Node, part: Part, location: str, shard: int | None = None) -> None:
        name, priority = self.unit.name, self.unit.priority
        recover_from(target, name, location, sha256=part.sha256, priority=priority, shard=shard)

    def _shards(self, nodes: TargetNodes) -> None:
        """Each shard into the first node that holds it; the others follow from there."""
        where = holders(self.node, self.unit.name)
        todo: list[tuple[str, Callable[[], None]]] = []
        for part in self.sources.found.manifest.parts:
            if part.kind == "shard":
                (shard,) = part.shards
                target = nodes.for_shard(shard, where[shard])
                todo.append((part.name, partial(self._shard, part, shard, target)))
            elif any(self._left_to_do(_piece(part, s)) for s in part.shards):
                for cut in self.sources.each(part.file, partial(self._cut, part)):
                    target = nodes.for_shard(cut.shard, where[cut.shard])
                    todo.append((_piece(part, cut.shard), partial(self._send, cut, target)))
        self._each([(name, act) for name, act in todo if self._left_to_do(name)])

    def _each(self, pieces: Sequence[tuple[str, Callable[[], None]]]) -> None:
        """Send as many pieces at once as asked; each is written down when the target has it."""

        def recover(piece: tuple[str, Callable[[], None]]) -> None:
            if stopping.is_set():
                raise Interrupted(f"asked to stop before {piece[0]} of {self.unit.label}")
            piece[1]()
            self.journal.note(recovered=piece[0])

        with ThreadPoolExecutor(self.unit.parallel) as pool:
            futures = [pool.submit(recover, piece) for piece in pieces]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                for future in (f for f in futures if not f.cancelled()):
                    if isinstance(error := future.exception(), RecoverUnanswered):
                        raise error from None  # it decides: a server may still be at work
                raise

    def _shard(self, part: Part, shard: int, target: Node) -> None:
        name, unit = self.unit.name, self.unit

        def upload(repository: Repository) -> None:
            recover_shard_by_upload(
                target, name, shard, self.sources.verified(repository, part),
                size=part.size_bytes, sha256=part.sha256, priority=unit.priority,
            )  # fmt: skip

        self._from_each(part, target, upload, shard)

    def _cut(self, part: Part, repository: Repository) -> list[Cut]:
        """The shards of a whole archive, on the spool: none is believed before all bytes are."""
        return cut_shards(
            self.sources.verified(repository, part), part, self.folder,
            limit=self.config.capture.spool.max,
        )  # fmt: skip

    def _send(self, piece: Cut, target: Node) -> None:
        recover_shard_by_upload(
            target, self.unit.name, piece.shard, self.sources.meter.paced(piece.blocks()),
            size=piece.size_bytes, sha256=piece.sha256, priority=self.unit.priority,
        )  # fmt: skip


def _piece(part: Part, shard: int) -> str:
    """The name in the journal of one shard that is cut out of a part."""
    return f"{part.name}-{shard}"
