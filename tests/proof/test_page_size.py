"""A page fits into memory, however large its points are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.proof import fingerprint_of
from qdrant_dr.proof.compare import compare_served
from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.page_size import PAGE, PAGE_BYTES, PageSize

MIB = 2**20


@given(st.lists(st.integers(1, 64 * MIB), min_size=1, max_size=30))
def test_no_page_is_larger_than_its_limit_while_points_are_as_before(sizes: list[int]) -> None:
    size = PageSize()
    for each in sizes:
        before = size.points
        looked = size.places(before)
        assert 0 < len(looked) <= min(before, 16)
        assert max(looked) < before
        size.saw([each for _ in looked])
        assert size.points == 1 or size.points * each <= PAGE_BYTES
        assert size.points <= min(8 * before, PAGE)


def test_small_points_come_in_large_pages_soon() -> None:
    size = PageSize()
    for _ in range(4):
        size.saw([100])
    assert size.points == PAGE


class Counted(dict[str, Any]):
    """A point that knows how many others there are."""

    alive = most = 0

    def __init__(self, **point: Any) -> None:
        super().__init__(point)
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


def test_points_of_a_server_are_let_go_one_by_one() -> None:
    def points() -> Iterator[Counted]:
        for n in range(5000):
            yield Counted(id=n, payload={"n": n}, vector=[[float(n), 1.0], [2.0, 3.0]])

    found = fingerprint_of(points())
    assert found.points == 5000
    assert compare_served(points(), ()).points == 5000
    assert Counted.most <= 4


def test_many_rows_are_read_in_small_pages(tmp_path: Path) -> None:
    """64 KiB a point, in Python's floats 512 KiB: a page of all of them would be 60 MiB."""
    rows, columns, count = 128, 128, 120
    params = edge.EdgeVectorParams(
        size=columns,
        distance=edge.Distance.Dot,
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
    )
    shard = edge.EdgeShard.create(str(tmp_path / "shard"), edge.EdgeConfig(vectors=params))
    matrix = [[float(n + m) for n in range(columns)] for m in range(rows)]
    points = [edge.Point(n, matrix, {"n": n}) for n in range(count)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    with Engine(tmp_path / "engine", EngineLimits()) as engine:
        engine.load(tmp_path / "shard")
        before = _high_water(engine.pid)
        engine.ask("read")
        assert engine.wait_points().fingerprint.points == count
        peak = _high_water(engine.pid) - before
    assert peak < 40 * MIB


def _high_water(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
