"""A copy of a laid-out shard, for one more engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from qdrant_dr.errors import StorageFull
from qdrant_dr.proof.crash_cause import MORE_ROOM

READ_ONLY = "matrix.dat"
"""The dense vectors of a segment that is not appended to: what is deleted is marked elsewhere."""


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree of plain files, keeping holes. Raise StorageFull if it would not fit.

    Engines replay their logs into what they open, payload indexes above all: only what they never
    open for writing is linked."""
    files = [p for p in source.rglob("*") if p.is_file()]
    needed = sum(p.stat().st_blocks for p in files if p.name != READ_ONLY) * 512
    target.mkdir(parents=True)
    if needed > (free := shutil.disk_usage(target).free):
        raise StorageFull(
            f"a second copy needs {needed} bytes below {target}, but {free} are free", MORE_ROOM
        )
    for path in files:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == READ_ONLY and _linked(path, copy):
            continue
        _copy_file(path, copy)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        return False
    return True


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("xb") as new:
        size = os.fstat(old.fileno()).st_size
        for start, end in _data(old.fileno(), size):
            at = start
            while at < end:
                at += os.copy_file_range(old.fileno(), new.fileno(), end - at, at, at)
        os.truncate(new.fileno(), size)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole from here on
            return
        end = os.lseek(file, at, os.SEEK_HOLE)
        yield at, end
        at = end
