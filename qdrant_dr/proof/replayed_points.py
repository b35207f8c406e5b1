"""Which points only the write-ahead log brought: two tables of digests compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qdrant_dr.errors import EngineFailed
from qdrant_dr.proof.point_table import key_id

_KEY, _ROW = 17, 49


def compare_tables(with_log: Path, without: Path) -> tuple[list[int | str], int]:
    """Return ids that are new or different with the log, and how many exist only without it.

    Both tables must be sorted as the engine scrolls; raise EngineFailed if they are not.
    """
    replayed: list[int | str] = []
    vanished = 0
    others = _rows(without)
    other = next(others, None)
    for row in _rows(with_log):
        key = row[:_KEY]
        while other is not None and other[:_KEY] < key:
            vanished += 1
            other = next(others, None)
        if other is None or other[:_KEY] > key:
            replayed.append(key_id(key))
            continue
        if other != row:
            replayed.append(key_id(key))
        other = next(others, None)
    return replayed, vanished + (other is not None) + sum(1 for _ in others)


def _rows(table: Path) -> Iterator[bytes]:
    last = b""
    with table.open("rb") as file:
        while page := file.read(_ROW * 4096):
            for at in range(0, len(page), _ROW):
                row = page[at : at + _ROW]
                if row[:_KEY] <= last:
                    raise EngineFailed("the engine did not scroll in the order of ids")
                last = row[:_KEY]
                yield row
