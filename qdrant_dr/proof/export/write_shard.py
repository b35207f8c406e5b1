"""Write the points of an open shard to a file and prove it: in the engine's child process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from qdrant_dr.proof import engine_search as search
from qdrant_dr.proof.engine_pages import ahead, read_points
from qdrant_dr.proof.export.arrow import UnknownVectorError
from qdrant_dr.proof.export.columns import PointColumns
from qdrant_dr.proof.export.point_file import READ, WRITE, Form, prove_file
from qdrant_dr.proof.stored_pages import Page, Records, StoredPages

TELL_SECONDS = 0.5
Tell = Callable[[int], None]


def write_shard(
    shard: edge.EdgeShard,
    stored: StoredPages | None,
    tell: Tell,
    *,
    path: str,
    form: Form,
    columns: dict[str, Any],
    about: dict[str, str],
    apart: Sequence[int | str] = (),
    but: Sequence[int | str] = (),
) -> dict[str, Any]:
    """Write the points into a new file, without those of `but`, and read it back. Return what was
    written, and the fingerprints of what was read: of all ids but those `apart`, and of these.

    If points have a vector for which there is no column, return what is `unknown` alone. Raise
    DisagreesError, OSError."""
    wanted, file = PointColumns.of_facts(columns), Path(path)
    told = _Told(tell)
    pages = ahead(_without({*but}, read_points(shard, 0, None, stored)))
    try:
        written = WRITE[form](pages, file, wanted, about, told.wrote)
    except UnknownVectorError as e:
        file.unlink()
        return {"unknown": str(e)}
    proven = prove_file(ahead(READ[form](file, wanted)), {*map(str, apart)}, told.read)
    return {**written, **proven, "stored": stored.stored if stored else 0}


def _without(ids: set[int | str], pages: Iterator[Page]) -> Iterator[Page]:
    for page in pages:
        if not ids or not isinstance(page, Records):
            yield page
        elif left := [r for r in page.records if search.json_id(r.id) not in ids]:
            yield Records(left)


class _Told:
    """Tells of two passes over the same points as of one, now and then."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._at, self._written = tell, time.monotonic(), 0

    def wrote(self, points: int) -> None:
        self._written = points
        self._say(points // 2)

    def read(self, points: int) -> None:
        self._say((self._written + points) // 2)

    def _say(self, points: int) -> None:
        if time.monotonic() - self._at > TELL_SECONDS:
            self._at = time.monotonic()
            self._tell(points)
