"""Many ids in little memory: 17 bytes each, so that a file of ten million takes 170 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from qdrant_dr.proof.point_table import ID_BYTES, Keys, id_key, key_id

PointId = int | str
_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class IdSet:
    """Ids in the order in which a server scrolls, each once."""

    keys: Keys

    @classmethod
    def of(cls, ids: Iterable[PointId]) -> IdSet:
        """Take ids in any order."""
        packed = bytearray()
        for point_id in ids:
            packed += id_key(point_id)
        keys: Keys = np.frombuffer(packed, f"S{ID_BYTES}")
        keys.sort()
        new = np.ones(len(keys), np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=new[1:])
        return cls(keys if new.all() else keys[new])

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[PointId]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self.part(start, _AT_ONCE)

    def part(self, start: int, count: int) -> list[PointId]:
        """Return some of them, fewer at the end."""
        data = self.keys[start : start + count].tobytes()
        return [key_id(data[at : at + ID_BYTES]) for at in range(0, len(data), ID_BYTES)]
