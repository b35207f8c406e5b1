"""Fill packs with new blocks and send them, two at a time, while the next one is filled."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial

from qdrant_dr.errors import BoxDamaged, Conflict, ObjectMissing, RepositoryUnreachable
from qdrant_dr.stores.base import Store
from qdrant_dr.vault.box import Block, Table, build_box, read_table
from qdrant_dr.vault.known_blocks import MOST_IN_PACK, Pack, Place
from qdrant_dr.vault.master_key import Keyring

log = logging.getLogger(__name__)

PACK_BYTES = 32 * 2**20
"""Bytes of a full pack, or a little less: one request each."""
IN_FLIGHT = 2
_ROW, _SPARE = 41 + 16, 128 * 1024
_NAMES = 100


@dataclass(frozen=True, slots=True)
class PackPlaces:
    """Where new packs of one backup go: the path of each number, and numbers that are free as far
    as is known. Another writer of the same backup may take one first."""

    name: Callable[[int], str]
    path: Callable[[str], str]
    numbers: Iterator[int]


class PackWriter:
    """Takes new blocks and says where each will lie.

    `pace` waits until so many bytes may be sent and returns whether to go on; `written` is told of
    each pack that is there, with its table.
    """

    def __init__(
        self,
        store: Store,
        places: PackPlaces,
        keys: Keyring | None,
        *,
        pace: Callable[[int], bool],
        written: Callable[[Pack, Table], None],
    ) -> None:
        self._store, self._places, self._keys = store, places, keys
        self._pace, self._written = pace, written
        self._left = False
        self._blocks: list[Block] = []
        self._filled = 0
        self._pack = Pack("")
        self._running: deque[tuple[Pack, Future[Table]]] = deque()
        self._fresh: dict[bytes, Place] = {}
        self.sent_bytes = 0

    def find(self, sha256: bytes) -> Place | None:
        """Return where a block lies that is not in a finished pack yet."""
        return self._fresh.get(sha256)

    def add(self, block: Block) -> Place:
        """Append a block to the pack that is being filled."""
        place = Place(self._pack, len(self._blocks), block.size)
        self._blocks.append(block)
        self._fresh[block.sha256] = place
        self._filled += len(block.stored) + _ROW
        if self._filled + _SPARE > PACK_BYTES or len(self._blocks) == MOST_IN_PACK:
            self._send()
        return place

    def finish(self) -> None:
        """Send what is left, and wait until every pack is there."""
        if self._blocks:
            self._send()
        while self._running:
            self._wait()

    def leave(self) -> None:
        """Send nothing more. Packs that are under way, or there, are nobody's until a sweep."""
        self._left = True
        self._blocks, self._fresh = [], {}
        for _, future in self._running:
            future.cancel()
        self._running.clear()

    def _send(self) -> None:
        while len(self._running) >= IN_FLIGHT:
            self._wait()
        if not self._pace(self._filled):
            self.leave()
        if self._left:
            return
        pack, blocks = self._pack, self._blocks
        self._pack, self._blocks, self._filled = Pack(""), [], 0
        self._running.append((pack, _in_thread(partial(self._put, pack, blocks))))

    def _put(self, pack: Pack, blocks: list[Block]) -> Table:
        """Store one pack under a name that is free."""
        for _ in range(_NAMES):
            name = self._places.name(next(self._places.numbers))
            path = self._places.path(name)
            box = build_box(path, blocks, self._keys)
            try:
                _create(self._store, path, box)
            except Conflict:
                continue
            pack.name, pack.written = name, len(box)
            there = self._store.stat(path)
            if there is None:
                raise ObjectMissing(f"repository {self._store.name}: {path} is gone again")
            if there.size_bytes != len(box):
                raise BoxDamaged(
                    f"repository {self._store.name}: {path} has {there.size_bytes} bytes, "
                    f"{len(box)} were sent"
                )
            pack.stat = there
            return read_table(path, box, len(box), self._keys)
        raise Conflict(f"repository {self._store.name}: {_NAMES} names of packs were taken")

    def _wait(self) -> None:
        pack, future = self._running.popleft()
        table = future.result()
        self.sent_bytes += pack.written or 0
        self._written(pack, table)
        self._fresh = {k: p for k, p in self._fresh.items() if p.pack is not pack}


def _create(store: Store, path: str, box: bytes) -> None:
    """One create-only request. Where its answer is lost, another try says what became of it: equal
    bytes are a success."""
    try:
        store.create(path, box)
    except RepositoryUnreachable as e:
        log.info("%s: once more: %s", path, e.message)
        store.create(path, box)


def _in_thread(act: Callable[[], Table]) -> Future[Table]:
    """A thread of its own that keeps no process from ending: a socket may hang for ever."""
    future: Future[Table] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(act())
        except BaseException as e:  # noqa: BLE001 -- raised where it is waited for
            future.set_exception(e)

    threading.Thread(target=copy_context().run, args=(run,), name="pack", daemon=True).start()
    return future
