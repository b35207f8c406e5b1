"""Vectors from the files of a shard: the same as the engine's, or the engine's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import qdrant_edge as edge

from qdrant_dr.proof import Examination, prove
from qdrant_dr.proof.copied_tree import copy_tree
from qdrant_dr.proof.engine import Engine, EngineLimits, PointsRead
from qdrant_dr.proof.stored_vectors import NotPlainError, StoredVectors
from qdrant_dr.proof.unpack import Limits, lay_out
from qdrant_dr.records import Seal
from tests.support.archives import OPERATIONS, MemoryReader, archive, backup

DIMENSIONS = 5
SETS = sorted(OPERATIONS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine"), EngineLimits()) as running:
        yield running


def read(engine: Engine, folder: Path, seed: int | None) -> PointsRead:
    engine.load(folder)
    engine.ask("read", seed=seed)
    return engine.wait_points()


def both(engine: Engine, folder: Path) -> tuple[PointsRead, PointsRead]:
    """The reading of the engine alone, and that with files."""
    return read(engine, folder, None), read(engine, folder, 7)


@pytest.mark.parametrize("set_name", SETS)
@pytest.mark.parametrize("kind", ["collection", "shard"])
def test_held_archives_read_the_same(
    set_name: str, kind: Any, engine: Engine, tmp_path: Path
) -> None:
    name = f"{set_name}/{'collection' if kind == 'collection' else 'shard-0'}"
    try:
        blocks = [archive(name)]
    except FileNotFoundError:
        pytest.skip("no such archive is held")
    laid = lay_out(blocks, tmp_path, kind=kind, limits=Limits(1 << 30, 1 << 40, 64 << 30))
    for shard in laid.local_shards:
        alone, filed = both(engine, shard.folder)
        assert filed.disagreed is None
        assert (filed.fingerprint, filed.sketch) == (alone.fingerprint, alone.sketch)
        if set_name in ("basic", "motion", "sharded"):
            assert filed.stored > 0.9 * alone.fingerprint.points


def shard_of(
    folder: Path,
    vectors: Any,
    *steps: Callable[[edge.EdgeShard], None],
    optimizers: edge.EdgeOptimizersConfig | None = None,
) -> Path:
    """A shard that these steps have made."""
    folder.mkdir()
    config = edge.EdgeConfig(vectors=vectors, optimizers=optimizers)
    shard = edge.EdgeShard.create(str(folder), config)
    for step in steps:
        step(shard)
    shard.close()
    return folder


def dense(size: int = DIMENSIONS, **more: Any) -> edge.EdgeVectorParams:
    return edge.EdgeVectorParams(size=size, distance=edge.Distance.Dot, **more)


def some(seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(v) for v in rng.standard_normal(DIMENSIONS).astype(np.float32)]


def put(points: list[tuple[Any, Any]]) -> Callable[[edge.EdgeShard], None]:
    made = [edge.Point(i, vector, {"n": 1}) for i, vector in points]
    return lambda shard: shard.update(edge.UpdateOperation.upsert_points(made))


def drop(ids: list[Any]) -> Callable[[edge.EdgeShard], None]:
    return lambda shard: shard.update(edge.UpdateOperation.delete_points(ids))


def optimized(shard: edge.EdgeShard) -> None:
    assert shard.optimize()


UUIDS = [UUID(int=n << 64 | 5) for n in range(50)]


@pytest.mark.parametrize(
    "steps",
    [
        [put([(n, some(n)) for n in range(3000)])],
        [put([(u, some(n)) for n, u in enumerate(UUIDS)])],
        [put([(u, some(n)) for n, u in enumerate(UUIDS)]), put([(n, some(n)) for n in range(50)])],
        [put([(n, some(n)) for n in range(99)]), put([(n, some(n + 1)) for n in range(0, 99, 2)])],
        [put([(n, some(n)) for n in range(99)]), drop(list(range(0, 99, 3)))],
        [put([(n, some(n)) for n in range(99)]), drop([5]), put([(5, some(3)), (200, some(4))])],
        [put([(u, some(1)) for u in UUIDS]), drop(UUIDS[:7]), put([(UUIDS[3], some(9))])],
        [put([(0, some(0)), (2**64 - 1, some(1))])],
    ],
    ids=["numbers", "uuids", "both", "changed", "deleted", "put again", "uuids again", "extremes"],
)
def test_what_was_done_to_points_is_read(
    steps: list[Callable[[edge.EdgeShard], None]], engine: Engine, tmp_path: Path
) -> None:
    alone, filed = both(engine, shard_of(tmp_path / "shard", dense(), *steps))
    assert filed.disagreed is None
    assert filed.stored == alone.fingerprint.points > 0
    assert (filed.fingerprint, filed.sketch) == (alone.fingerprint, alone.sketch)


@pytest.mark.parametrize("ids", [range(400), UUIDS, [*range(200), *UUIDS]], ids=len)
@pytest.mark.parametrize("on_disk", [True, False])
def test_an_optimized_segment_is_read(
    ids: list[Any], on_disk: bool, engine: Engine, tmp_path: Path
) -> None:
    """A matrix in one file, with a list of ids that is not appended to; later points elsewhere."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((len(ids), 1024)).astype(np.float32).tolist()
    params = edge.EdgeVectorParams(size=1024, distance=edge.Distance.Cosine, on_disk=on_disk)
    folder = shard_of(
        tmp_path / "shard",
        params,
        put(list(zip(ids, vectors, strict=True))),
        optimized,
        put([(ids[7], vectors[8]), (10**9, vectors[9])]),
        drop([ids[3]]),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=50),
    )
    assert len(list(folder.glob("segments/*/id_tracker.mappings"))) == 1
    (matrix,) = folder.glob("segments/*/vector_storage/matrix.dat")
    kind = json.loads((matrix.parent.parent / "segment.json").read_bytes())["config"]
    assert kind["vector_data"][""]["storage_type"] == ("Mmap" if on_disk else "InRamMmap")
    alone, filed = both(engine, folder)
    assert filed.disagreed is None
    assert filed.fingerprint == alone.fingerprint
    assert filed.stored == alone.fingerprint.points == len(ids)


def test_a_copy_shares_what_no_engine_writes_and_nothing_else(
    engine: Engine, tmp_path: Path
) -> None:
    """An engine that changes and deletes points of one tree leaves the other as it was."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((200, 1024)).astype(np.float32).tolist()
    folder = shard_of(
        tmp_path / "shard",
        dense(1024),
        put(list(enumerate(vectors))),
        optimized,
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=50),
    )
    copy_tree(folder, tmp_path / "copy")
    shared = {p.name for p in folder.rglob("*") if p.is_file() and p.stat().st_nlink > 1}
    assert shared == {"matrix.dat"}
    before = read(engine, folder, None)
    assert read(engine, tmp_path / "copy", 7).fingerprint == before.fingerprint
    engine.ask("close")
    engine.wait()
    shard = edge.EdgeShard.load(str(tmp_path / "copy"))
    put([(3, vectors[9]), (999, vectors[1])])(shard)
    drop(list(range(50, 90)))(shard)
    shard.close()
    assert read(engine, tmp_path / "copy", 7).fingerprint.points == 161
    assert read(engine, folder, None).fingerprint == before.fingerprint


def test_a_component_that_is_not_finite_is_left_to_the_engine(
    engine: Engine, tmp_path: Path
) -> None:
    odd = [[1.0, float("nan"), 0, 0, 0], [float("inf"), -float("inf"), 0, 0, 0], [3e38] * 5]
    points = [(n, some(n)) for n in range(20)] + [(20 + n, v) for n, v in enumerate(odd)]
    alone, filed = both(engine, shard_of(tmp_path / "shard", dense(), put(points)))
    assert filed.fingerprint == alone.fingerprint
    assert filed.fingerprint.not_finite
    assert (filed.stored, filed.disagreed) == (20, None)


def test_named_vectors_of_which_only_some_are_plain(engine: Engine, tmp_path: Path) -> None:
    vectors = {
        "plain": dense(),
        "half": dense(datatype=edge.VectorStorageDatatype.Float16),
        "rare": dense(),
        "rows": dense(multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)),
    }
    points = [
        (n, {"plain": some(n), "half": some(n + 1), "rows": [some(n), some(2)]}
            | ({"rare": some(n)} if n % 2 else {}))
        for n in range(60)
    ]  # fmt: skip
    alone, filed = both(engine, shard_of(tmp_path / "shard", vectors, put(points)))
    assert filed.fingerprint == alone.fingerprint
    assert set(filed.fingerprint.components) == {
        "id", "payload", "vector:plain", "vector:half", "vector:rare", "vector:rows",
    }  # fmt: skip
    assert (filed.stored, filed.disagreed) == (60, None)


def test_a_point_of_two_segments_is_left_to_the_engine(engine: Engine, tmp_path: Path) -> None:
    folder = shard_of(tmp_path / "shard", dense(), put([(n, some(n)) for n in range(40)]))
    other = shard_of(tmp_path / "other", dense(), put([(n, some(n + 1)) for n in range(30, 50)]))
    (segment,) = (other / "segments").iterdir()
    shutil.copytree(segment, folder / "segments" / segment.name)
    alone, filed = both(engine, folder)
    assert alone.fingerprint.points == 50
    assert filed.fingerprint == alone.fingerprint
    assert (filed.stored, filed.disagreed) == (40, None)


def test_files_that_say_something_else_than_the_engine_do_not_count(
    engine: Engine, tmp_path: Path
) -> None:
    folder = shard_of(tmp_path / "shard", dense(), put([(n, some(n)) for n in range(3000)]))
    alone = read(engine, folder, None)
    (log,) = (folder / "segments").glob("*/mutable_id_tracker.mappings")
    entries = np.frombuffer(log.read_bytes(), np.uint8).reshape(-1, 13).copy()
    entries[:, 9:13] = np.roll(entries[:, 9:13], 1, axis=0)  # while the engine has it open
    log.write_bytes(entries.tobytes())
    engine.ask("read", seed=7)
    filed = engine.wait_points()
    assert filed.disagreed
    assert "differ" in filed.disagreed
    assert filed.stored == 0
    assert filed.fingerprint == alone.fingerprint


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("mutable_id_tracker.mappings", b"\x09" * 130),
        ("mutable_id_tracker.mappings", b"\x01" * 12),
        ("vector_storage/vectors/config.json", b"{}"),
        ("vector_storage/vectors/status.dat", b"\xff" * 8),
        ("vector_storage/vectors/chunk_0.mmap", b""),
        ("segment.json", b"[]"),
    ],
)
def test_files_that_are_not_understood_are_not_read(file: str, data: bytes, tmp_path: Path) -> None:
    folder = shard_of(tmp_path / "shard", dense(), put([(n, some(n)) for n in range(10)]))
    StoredVectors(folder)
    (path,) = (folder / "segments").glob(f"*/{file}")
    path.write_bytes(data)
    with pytest.raises((NotPlainError, OSError, ValueError, KeyError, TypeError)):
        StoredVectors(folder)


def test_a_seal_is_made_of_what_the_engine_alone_reads(
    examined: Callable[[str], Examination],
) -> None:
    first = examined("basic").read_back
    assert first
    assert (first.stored, first.points) == (0, 2000)


def test_a_proof_against_a_seal_reads_files(sealed: Callable[[str], Seal], scratch: Path) -> None:
    manifest, reader = backup("basic")
    heard: list[tuple[int, int]] = []
    proof = prove(
        manifest, reader, depth="content", folder=scratch, seal=sealed("basic"),
        told=lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert proof.passed
    assert proof.read_back
    assert proof.read_back.stored == 2000
    assert proof.defects == ()
    assert all(total == 2000 for _, total in heard)


def test_a_difference_that_the_engine_does_not_see_is_a_defect_and_no_fault(
    sealed: Callable[[str], Seal], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if one vector were wrong that is in no sample."""
    manifest, reader = backup("basic")
    assert isinstance(reader, MemoryReader)
    real = Engine.wait_points

    def wrong(self: Engine, told: Any = None) -> PointsRead:
        got = real(self, told)
        if not got.stored:
            return got
        parts = got.fingerprint.components
        swapped = {**parts, "vector:": parts["id"]}
        bad = got.fingerprint.model_copy(update={"components": swapped})
        return PointsRead(bad, got.sketch, got.picked, got.stored)

    monkeypatch.setattr(Engine, "wait_points", wrong)
    proof = prove(manifest, reader, depth="content", folder=scratch, seal=sealed("basic"))
    assert proof.passed
    assert proof.bytes_checked == manifest.size_bytes
    (defect,) = proof.defects
    assert defect.startswith("defect of qdrant-dr: ")
    assert defect.endswith("only their fingerprint differs. Please report this.")
