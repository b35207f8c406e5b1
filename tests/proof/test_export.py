"""Points in files for everybody: what pyarrow or a JSON parser reads is what was sealed."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import qdrant_edge as edge
from hypothesis import given, settings
from hypothesis import strategies as some

from qdrant_dr.errors import StorageFull
from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.export.columns import FieldColumn, PointColumns, VectorColumn, plain_value
from qdrant_dr.proof.export.point_file import READ, WRITE, prove_file
from qdrant_dr.proof.fingerprint import Fingerprinter, add, differences, fingerprint_of
from qdrant_dr.proof.stored_pages import Records
from qdrant_dr.proof.unpack import Limits, lay_out
from qdrant_dr.records import Fingerprint
from tests.support.archives import OPERATIONS, archive, backup
from tests.support.thorough import THOROUGH

FORMS = ("parquet", "ndjson")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine"), EngineLimits()) as running:
        yield running


def export(
    engine: Engine,
    shard: Path,
    file: Path,
    columns: PointColumns,
    *,
    form: str = "parquet",
    seed: int | None = None,
    apart: Any = (),
) -> dict[str, Any]:
    engine.load(shard)
    engine.ask(
        "export", path=str(file), form=form, columns=columns.facts(), about={"shard": "0"},
        seed=seed, apart=list(apart),
    )  # fmt: skip
    return dict(engine.wait())


def read_of(engine: Engine) -> Fingerprint:
    engine.ask("read")
    return engine.wait_read()[0]


def components(value: Any) -> Any:
    """A vector out of a column, as JSON would have it."""
    if value is None or isinstance(value, dict):
        return value
    return [components(v) if isinstance(v, list) else float(v) for v in value]


def read_back(file: Path, columns: PointColumns) -> list[dict[str, Any]]:
    """Points as a stranger reads them, with pyarrow alone."""
    points = []
    for row in pq.read_table(file).to_pylist():
        vectors = {
            v.name: found for v in columns.vectors
            if (found := components(row[v.column])) is not None
        }  # fmt: skip
        points.append({
            "id": row["id"] if "-" in row["id"] else int(row["id"]),
            "payload": None if row["payload"] is None else json.loads(row["payload"]),
            "vector": vectors,
        })  # fmt: skip
    return points


@pytest.mark.parametrize("set_name", sorted(OPERATIONS))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [None, 7], ids=["engine", "files"])
def test_held_archives_come_back_the_same(
    set_name: str, form: str, seed: int | None, engine: Engine, tmp_path: Path
) -> None:
    manifest, _ = backup(set_name)
    columns = PointColumns.of_collection(manifest.info)
    laid = lay_out(
        [archive(f"{set_name}/collection")], tmp_path, kind="collection",
        limits=Limits(1 << 30, 1 << 40, 64 << 30),
    )  # fmt: skip
    for shard in laid.local_shards:
        file = tmp_path / f"points-{shard.shard}"
        told = export(engine, shard.folder, file, columns, form=form, seed=seed)
        expected = read_of(engine)
        assert told["points"] == expected.points
        assert differences(expected, Fingerprint.model_validate(told["settled"])) == []
        assert hashlib.sha256(file.read_bytes()).hexdigest() == told["sha256"]
        assert file.stat().st_size == told["size_bytes"]
        points = (
            read_back(file, columns)
            if form == "parquet"
            else [json.loads(line) for line in file.read_text().split("\n")[:-1]]
        )
        assert differences(expected, fingerprint_of(points)) == []


ANY_KIND = PointColumns(
    tuple(
        VectorColumn(name, kind, size, datatype)
        for name, kind, size, datatype in (
            ("", "dense", 3, "float32"),
            ("bytes.of", "dense", 2, "uint8"),
            ("half", "dense", 2, "float16"),
            ("rows", "multi", 2, "float32"),
            ("words", "sparse", 0, "float32"),
        )
    ),
    tuple(
        FieldColumn(kind, kind)
        for kind in (
            "bool", "datetime", "float", "geo", "integer", "keyword", "text", "uuid",
        )
    ),
)  # fmt: skip
EACH_KIND = {
    "": edge.EdgeVectorParams(size=3, distance=edge.Distance.Dot),
    "bytes.of": edge.EdgeVectorParams(
        size=2, distance=edge.Distance.Dot, datatype=edge.VectorStorageDatatype.Uint8
    ),
    "half": edge.EdgeVectorParams(
        size=2, distance=edge.Distance.Dot, datatype=edge.VectorStorageDatatype.Float16
    ),
    "rows": edge.EdgeVectorParams(
        size=2,
        distance=edge.Distance.Dot,
        multivector_config=edge.MultiVectorConfig(comparator=edge.MultiVectorComparator.MaxSim),
    ),
}
float32s = some.floats(width=32, allow_nan=True, allow_infinity=True)
values = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**63), 2**64 - 1)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(some.characters(exclude_categories=("Cs",)), max_size=8)
    | some.sampled_from([
        "2026-11-30T10:00:00Z", "2026-11-30T10:00:00.123456789Z", "0001-01-01T00:00:00+14:00",
        {"lon": 1, "lat": -0.0}, {"lon": 1.5, "lat": 2.5, "alt": 3},
    ]),
    lambda inner: some.lists(inner, max_size=3)
    | some.dictionaries(some.text(some.characters(exclude_categories=("Cs",)), max_size=3), inner),
    max_leaves=6,
)  # fmt: skip
payloads = some.none() | some.dictionaries(
    some.sampled_from([f.field for f in ANY_KIND.fields]) | some.text("ab", max_size=2), values
)
vectors = some.fixed_dictionaries(
    {},
    optional={
        "": some.lists(float32s, min_size=3, max_size=3),
        "bytes.of": some.lists(some.integers(0, 255).map(float), min_size=2, max_size=2),
        "half": some.lists(some.floats(width=16), min_size=2, max_size=2),
        "rows": some.lists(some.lists(float32s, min_size=2, max_size=2), min_size=1, max_size=3),
        "words": some.dictionaries(some.integers(0, 2**32 - 1), float32s, max_size=3).map(
            lambda pairs: edge.SparseVector(indices=list(pairs), values=list(pairs.values()))
        ),
    },
)
ids = some.integers(0, 2**64 - 1) | some.sampled_from([0, 2**63, 2**64 - 1]) | some.uuids()


@settings(max_examples=200 if THOROUGH else 40, deadline=None)
@given(
    points=some.lists(some.tuples(ids, payloads, vectors), max_size=8, unique_by=lambda p: p[0]),
    page=some.integers(1, 4),
)
@pytest.mark.parametrize("form", FORMS)
def test_whatever_the_points_are_the_same_is_read(
    form: str, points: list[tuple[Any, Any, Any]], page: int, tmp_path_factory: Any
) -> None:
    """Written as the engine gives them, page by page, and read back without it."""
    file = tmp_path_factory.mktemp("any") / "points"
    records = [_Point(*p) for p in points]
    pages = [_Records(records[at : at + page]) for at in range(0, len(records), page)]
    written = WRITE[form](pages, file, ANY_KIND, {}, lambda _: None)
    assert written["points"] == len(points)
    apart = {str(p[0]) for p in points[::3]}
    told = prove_file(READ[form](file, ANY_KIND), apart, lambda _: None)
    expected = Fingerprinter()
    expected.add((p.id, p.payload, p.vector) for p in records)
    parts = [Fingerprint.model_validate(told[n]) for n in ("settled", "apart") if told[n]]
    assert differences(expected.record(), add(*parts)) == []
    if form == "parquet":
        # bits, too, where JSON has but one word for what is not finite
        read = {row["id"]: row for row in pq.read_table(file).to_pylist()}
        for point in records:
            row = read[str(point.id)]
            for name in ("", "rows"):
                column = "vector" if not name else f"vector_{name}"
                assert (row[column] is None) == (name not in point.vector)
                if name in point.vector:
                    assert bits(row[column]) == bits(point.vector[name])


def bits(vector: Any) -> bytes:
    return np.array(vector, "<f4").tobytes()


class _Point:
    """A record of the engine, as far as it is looked at."""

    def __init__(self, point_id: Any, payload: Any, vector: Any) -> None:
        self.id, self.payload, self.vector = point_id, payload, vector


class _Records(Records):
    def __init__(self, records: list[_Point]) -> None:
        super().__init__(records)


@given(kind=some.sampled_from([f.type for f in ANY_KIND.fields]), value=values)
def test_a_typed_column_holds_a_value_exactly_or_not_at_all(kind: str, value: Any) -> None:
    held = plain_value(kind, value)
    if held is None:
        return
    if kind == "datetime":
        assert held == datetime.fromisoformat(value).astimezone(UTC)
    elif kind == "geo":
        assert held == value
    else:
        assert held == value
        assert type(held) is type(value) or kind == "float"


def test_an_engine_reads_every_kind_back(engine: Engine, tmp_path: Path) -> None:
    """Of a shard of the engine itself: kinds beside each other, absent ones, large ids."""
    config = edge.EdgeConfig(
        vectors=EACH_KIND, sparse_vectors={"words": edge.EdgeSparseVectorParams()}
    )
    folder = tmp_path / "shard"
    folder.mkdir()
    shard = edge.EdgeShard.create(str(folder), config)
    everything = {
        "": [1.5, float("nan"), float("-inf")],
        "bytes.of": [0.0, 255.0],
        "half": [0.333251953125, 65504.0],
        "rows": [[1.0, 2.0], [3.0, 4.0]],
        "words": edge.SparseVector(indices=[7, 2**32 - 1], values=[1.0, -0.5]),
    }
    given = [
        (2**64 - 1, {"integer": 2**64 - 1, "float": 1, "text": None}, everything),
        (2**63, {}, {"half": [1.0, 2.0]}),
        (0, {"keyword": ["a", "b"], "geo": {"lon": 1.0, "lat": 2.0}}, {}),
        (UUID(int=5), {"nested": {"a": [1, {"b": None}]}}, {"rows": [[0.0, -0.0]]}),
    ]
    points = [edge.Point(i, v, p) for i, p, v in given]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    told = export(engine, folder, tmp_path / "points", ANY_KIND, apart=[2**63, str(UUID(int=5))])
    engine.ask("read")
    expected, _ = engine.wait_read()
    assert told["points"] == 4
    settled, apart = (Fingerprint.model_validate(told[n]) for n in ("settled", "apart"))
    assert apart.points == 2
    assert differences(expected, add(settled, apart)) == []
    assert told["unlike"] == {"integer": 1, "keyword": 1}
    table = pq.read_table(tmp_path / "points")
    assert table.schema.field("vector_half").type.value_type == pa.float16()
    assert table.schema.field("vector_bytes.of").type.list_size == 2


def test_a_vector_without_a_column_is_never_left_out(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "shard"
    folder.mkdir()
    config = edge.EdgeConfig(vectors=EACH_KIND)
    shard = edge.EdgeShard.create(str(folder), config)
    points = [edge.Point(1, {"half": [1.0, 2.0]}, {})]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    told = export(engine, folder, tmp_path / "points", PointColumns(ANY_KIND.vectors[:1]))
    assert told == {"unknown": told["unknown"]}
    assert "'half'" in told["unknown"]


def test_a_full_disk_is_said_to_be_full(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "shard"
    folder.mkdir()
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=EACH_KIND))
    points = [edge.Point(n, {"half": [1.0, 2.0]}, {"text": "x" * 50}) for n in range(5000)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    engine.load(folder)
    file = tmp_path / "points"
    _, most = resource.prlimit(engine.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (100_000, most))
    engine.ask("export", path=str(file), form="ndjson", columns=ANY_KIND.facts(), about={})
    try:
        with pytest.raises(StorageFull):
            engine.wait()
    finally:
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (most, most))
