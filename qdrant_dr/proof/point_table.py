"""A table of points on disk, in the order of their ids: one file for ids, one for each component.

An id is a row of `ID_BYTES`, a component the first `DIGEST_BYTES` of its digest in version 2 of the
encoding, zeros where a point lacks it. Written by the engine's child, so without pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

ID_BYTES, DIGEST_BYTES = 17, 16
_NAMES = "components.json"
Keys = npt.NDArray[np.bytes_]
"""Ids as `id_key` packs them. Numpy compares such strings as bytes: all have one length."""
Digests = npt.NDArray[np.uint64]
"""Two words for each point."""


def id_key(point_id: int | str | UUID) -> bytes:
    """Pack an id into 17 bytes that sort as Qdrant scrolls: integers before UUIDs, each
    ascending."""
    if isinstance(point_id, int):
        return b"\0" + point_id.to_bytes(16, "big")
    return b"\1" + UUID(str(point_id)).bytes


def key_id(key: bytes) -> int | str:
    """Return the id that `id_key` packed, in JSON's form."""
    return str(UUID(bytes=key[1:])) if key[0] else int.from_bytes(key[1:], "big")


class TableWriter:
    """Writes a table page by page. Components that come later are absent from what came before."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._ids = (folder / "ids").open("xb")
        self._columns: dict[str, IO[bytes]] = {}
        self.rows = 0

    def components(
        self, count: int, parts: Sequence[tuple[str, list[bytes], list[int] | slice]]
    ) -> None:
        """Take the digests of the next `count` points: by component, with the places of those that
        have it. `ids` of the same points follows."""
        for name, digests, where in parts:
            if not digests:
                continue
            column = np.zeros((count, DIGEST_BYTES), np.uint8)
            column[where] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)[:, :16]
            if name not in self._columns:
                path = self._folder / str(len(self._columns))
                self._columns[name] = path.open("xb")
            file = self._columns[name]
            file.seek(self.rows * DIGEST_BYTES)
            file.write(column.tobytes())

    def ids(self, keys: Sequence[bytes]) -> None:
        """Take the packed ids of these points."""
        self._ids.write(b"".join(keys))
        self.rows += len(keys)

    def close(self) -> None:
        """Complete the files, and name the components."""
        for file in self._columns.values():
            file.truncate(self.rows * DIGEST_BYTES)
            file.close()
        self._ids.close()
        (self._folder / _NAMES).write_text(json.dumps([*self._columns]))


@dataclass(frozen=True)
class PointTable:
    """A table that was written completely."""

    folder: Path
    rows: int
    components: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> PointTable:
        """Return the table in a folder."""
        rows, rest = divmod((folder / "ids").stat().st_size, ID_BYTES)
        assert not rest, folder
        return cls(folder, rows, tuple(json.loads((folder / _NAMES).read_text())))

    def keys(self, start: int, count: int) -> Keys:
        """Return the ids of `count` rows from `start` on, fewer at the end."""
        keys: Keys = self._file("ids", f"S{ID_BYTES}", ID_BYTES, start, count)
        return keys

    def digests(self, component: str, start: int, count: int) -> Digests:
        """Return the digests of one component of these rows; zeros if no point has it."""
        if component not in self.components:
            return np.zeros((max(0, min(count, self.rows - start)), 2), np.uint64)
        name = str(self.components.index(component))
        words: Digests = self._file(name, "<u8", DIGEST_BYTES, start, 2 * count)
        return words.reshape(-1, 2)

    def _file(self, name: str, kind: str, row: int, start: int, count: int) -> Any:
        return np.fromfile(self.folder / name, kind, count, offset=row * start)
