"""Each pack is read once per run, however many backups share it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from qdrant_dr.errors import BoxDamaged, DRError, ObjectMissing
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.stores.base import Stat
from qdrant_dr.vault.box import check_box, open_block, read_table

_RUNS = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one pack: that every block is what its table says, or the error. `box` is
    the SHA-256 that it ends with."""

    box: bytes = b""
    error: DRError | None = None


class PackVerdicts:
    """The packs that one run has read, in this process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, str], Future[Verdict]] = {}

    def of(self, vault: ChunkedRepository, pack: Stat) -> tuple[Verdict, int]:
        """Return the verdict of a pack, and how many bytes were read for it now. Raise what keeps
        it from being read; whoever asks next tries again."""
        key = vault.id, pack.path, f"{pack.size_bytes} {pack.mark} {pack.modified_at.isoformat()}"
        with self._lock:
            known = self._known.get(key)
            mine = known is None
            future = self._known.setdefault(key, Future())
        if not mine:
            return future.result(), 0
        try:
            verdict = _read(vault, pack)
        except BaseException as e:
            with self._lock:
                self._known.pop(key, None)
            future.set_exception(e)
            raise
        future.set_result(verdict)
        return verdict, pack.size_bytes


_runs: OrderedDict[str, PackVerdicts] = OrderedDict()
_runs_lock = threading.Lock()


def verdicts_of(run_id: str) -> PackVerdicts:
    """Return what a run knows of packs already; runs of long ago are forgotten."""
    with _runs_lock:
        found = _runs.setdefault(run_id, PackVerdicts())
        while len(_runs) > _RUNS:
            _runs.popitem(last=False)
        return found


def as_it_is(vault: ChunkedRepository, pack: Stat, look: Callable[[Stat], T]) -> T:
    """Look at a listed pack. Where it is damaged or gone, look again if it has become another one:
    a repair may have rewritten it meanwhile."""
    try:
        return look(pack)
    except (BoxDamaged, ObjectMissing):
        there = vault.store.stat(pack.path)
        if there is None or there == pack:
            raise
    return look(there)


def _read(vault: ChunkedRepository, pack: Stat) -> Verdict:
    try:
        return as_it_is(vault, pack, partial(_judge, vault))
    except (BoxDamaged, ObjectMissing) as e:
        return Verdict(error=e)


def _judge(vault: ChunkedRepository, pack: Stat) -> Verdict:
    data = b"".join(vault.store.read_range(pack.path))
    box = check_box(pack.path, [data])
    table = read_table(pack.path, data, len(data), vault.keys)
    offsets = table.offsets
    for number in range(len(table)):
        if table[number].size:
            stored = data[int(offsets[number]) : int(offsets[number + 1])]
            open_block(pack.path, table, number, stored, vault.keys)
    return Verdict(box)
