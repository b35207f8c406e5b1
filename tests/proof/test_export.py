"""Points in files for everybody: what pyarrow or a JSON parser reads is what was sealed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.export.columns import PointColumns
from qdrant_dr.proof.fingerprint import differences, fingerprint_of
from qdrant_dr.proof.unpack import Limits, lay_out
from qdrant_dr.records import Fingerprint
from tests.support.archives import OPERATIONS, archive, backup

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
