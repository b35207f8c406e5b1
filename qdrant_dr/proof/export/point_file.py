"""The points of one shard in a file: written page by page with its digest, and read back to prove
it. The engine's child process does both.

What is proven is what lies in the file: its fingerprint is made of nothing but what pyarrow, or a
parser of JSON, reads out of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from qdrant_dr.proof.columns import Columns
from qdrant_dr.proof.export.arrow import Tables, dumps, points_of
from qdrant_dr.proof.export.columns import PointColumns
from qdrant_dr.proof.fingerprint import Fingerprinter
from qdrant_dr.proof.point_encoding import DENSE_HEADER, named_vectors
from qdrant_dr.proof.stored_pages import Page, Point

Form = Literal["parquet", "ndjson"]
Told = Callable[[int], None]
_LINE = b'{"id":%b,"payload":%b,"vector":%b}\n'
GROUP_BYTES = 32 << 20
GROUP_ROWS = 100_000
"""Of one row group: what a reader has to hold at once."""
READ_ROWS = 2000
READ_BYTES = 16 << 20


class DigestedFile:
    """A new file and the SHA-256 of what is written to it."""

    closed = False

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb")
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: Any) -> int:
        self._file.write(data)
        self._sha256.update(data)
        size = memoryview(data).nbytes
        self.size_bytes += size
        return size

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self.size_bytes

    def close(self) -> None:
        self._file.close()
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def write_parquet(
    pages: Iterable[Page],
    path: Path,
    columns: PointColumns,
    about: Mapping[str, str],
    told: Told,
) -> dict[str, Any]:
    """Write every page; return points, size, digest and row groups, and of each typed field how
    many values it does not hold. Raise UnknownVectorError, OSError."""
    tables, points, groups = Tables(columns, about), 0, 0
    vectors = {v.column for v in columns.vectors}
    plain = {f.column for f in columns.fields}
    with DigestedFile(path) as file:
        writer = pq.ParquetWriter(
            file,
            tables.schema,
            compression={
                name: "NONE" if name in vectors else "ZSTD" for name in tables.schema.names
            },
            use_dictionary=sorted(plain) or False,
            write_statistics=sorted(plain) or False,
            store_schema=True,
        )
        try:
            for group in _groups(tables.of(page) for page in pages):
                writer.write_table(group, row_group_size=len(group))
                points += len(group)
                groups += 1
                told(points)
        finally:
            writer.close()
    return {
        "points": points,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "row_groups": groups,
        "unlike": {name: n for name, n in tables.unlike.items() if n},
    }


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables as large as a row group may be."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows, size = rows + len(table), size + table.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting.clear()
            rows = size = 0
    if waiting:
        yield pa.concat_tables(waiting)


def write_ndjson(
    pages: Iterable[Page],
    path: Path,
    columns: PointColumns,  # noqa: ARG001 - a line says by itself what it holds
    about: Mapping[str, str],  # noqa: ARG001
    told: Told,
) -> dict[str, Any]:
    """Write a line for each point, as a server's scroll would give it: `null` for a component that
    is not finite, which JSON has no word for. Raise OSError."""
    points = 0
    with DigestedFile(path) as file:
        for page in pages:
            for point_id, payload, vectors in _page_points(page):
                ident = point_id if isinstance(point_id, int) else str(point_id)
                file.write(_LINE % (dumps(ident), dumps(payload), vectors))
            points += len(page)
            told(points)
    return {"points": points, "size_bytes": file.size_bytes, "sha256": file.sha256}


def _page_points(page: Page) -> Iterator[tuple[Any, Any, bytes]]:
    points = _points(page) if isinstance(page, Columns) else page
    for point_id, payload, vector in points:
        yield point_id, payload, _vectors(named_vectors(vector))


def _vectors(named: Mapping[str, Any]) -> bytes:
    if set(named) == {""}:
        return _vector(named[""])
    return b"{%b}" % b",".join([b"%b:%b" % (dumps(n), _vector(v)) for n, v in named.items()])


def _vector(value: Any) -> bytes:
    if type(value) is memoryview:
        return _floats(np.frombuffer(value, "<f4", offset=DENSE_HEADER))
    if type(value) is list:
        return _floats(np.array(value, "<f4"))
    values = _floats(np.array(value.values, "<f4"))
    return b'{"indices":%b,"values":%b}' % (dumps(list(value.indices)), values)


def _floats(values: Any) -> bytes:
    """Binary32 in its shortest decimals, as a server prints it."""
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)


def read_parquet(path: Path, columns: PointColumns) -> Iterator[Columns | list[Point]]:
    """Yield the points of a file, a batch at a time, with pyarrow alone."""
    wanted = ["id", "payload", *(v.column for v in columns.vectors)]
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            about = file.metadata.row_group(group)
            rows = READ_BYTES * about.num_rows // max(1, about.total_byte_size)
            batches = file.iter_batches(
                batch_size=max(1, min(READ_ROWS, rows)), row_groups=[group], columns=wanted,
                use_threads=False,
            )  # fmt: skip
            for batch in batches:
                yield points_of(batch, columns)


def read_ndjson(path: Path, columns: PointColumns) -> Iterator[Columns | list[Point]]:  # noqa: ARG001
    """Yield the points of a file, some lines at a time."""
    page: list[Point] = []
    size = 0
    with path.open("rb") as file:
        for line in file:
            point = orjson.loads(line)
            page.append((point["id"], point["payload"], point["vector"]))
            size += len(line)
            if len(page) >= READ_ROWS or size >= READ_BYTES:
                yield page
                page, size = [], 0
    if page:
        yield page


WRITE: Mapping[Form, Callable[..., dict[str, Any]]] = {
    "parquet": write_parquet,
    "ndjson": write_ndjson,
}
READ: Mapping[Form, Callable[[Path, PointColumns], Iterator[Columns | list[Point]]]] = {
    "parquet": read_parquet,
    "ndjson": read_ndjson,
}


def prove_file(
    pages: Iterable[Columns | list[Point]], apart: Collection[Any], told: Told
) -> dict[str, Any]:
    """Return the fingerprints of the points in a file: of all but those `apart`, and of these."""
    settled, other = Fingerprinter(), Fingerprinter()
    for page in pages:
        if isinstance(page, Columns) and not apart:
            settled.add_columns(page)
        else:
            points = _points(page) if isinstance(page, Columns) else page
            settled.add(p for p in points if str(p[0]) not in apart)
            points = _points(page) if isinstance(page, Columns) else page
            other.add(p for p in points if str(p[0]) in apart)
        told(settled.sums["id"].count + other.sums["id"].count)
    return {"settled": settled.facts(), "apart": other.facts() if apart else None}


def _points(page: Columns) -> Iterator[Point]:
    names = [*page.vectors]
    for point_id, payload, *vectors in zip(
        page.ids, page.payloads, *page.vectors.values(), strict=True
    ):
        yield point_id, payload, dict(zip(names, vectors, strict=True))
