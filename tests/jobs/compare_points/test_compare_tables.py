"""The merge of tables of points, against dicts: whatever the points, however many tables."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.errors import EngineFailed
from qdrant_dr.jobs.compare_points import compare_tables as module
from qdrant_dr.jobs.compare_points.compare_tables import compare_tables
from qdrant_dr.proof import Fingerprinter
from qdrant_dr.proof.point_table import PointTable, TableWriter, id_key, key_id
from tests.support.thorough import examples

Point = tuple[Any, Any]
"""Payload and vectors."""

ids = st.one_of(
    st.integers(0, 20), st.integers(2**63, 2**64 - 1),
    st.integers(0, 9).map(lambda n: str(UUID(int=n << 100))),
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**64) | st.sampled_from([0.0, -0.0, 1.0, "a", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
payloads = st.none() | st.dictionaries(st.sampled_from(["city", "n", "deep"]), values)
floats = st.sampled_from([0.0, 1.0, -0.5, float("nan")])
dense = st.lists(floats, min_size=2, max_size=2)
vectors = st.fixed_dictionaries(
    {},
    optional={
        "image": dense,
        "rows": st.lists(dense, min_size=1, max_size=2),
        "words": st.just({"indices": [3, 1], "values": [1.0, 2.0]})
        | st.just({"indices": [], "values": []}),
    },
)
sets = st.dictionaries(ids, st.tuples(payloads, vectors), max_size=12)


def table(folder: Path, points: Mapping[Any, Point], pages: int = 3) -> PointTable:
    writer = TableWriter(folder)
    work = Fingerprinter(writer.components)
    ordered = sorted(points, key=id_key)
    for at in range(0, len(ordered), pages):
        some = ordered[at : at + pages]
        work.add((i, *points[i]) for i in some)
        writer.ids([id_key(i) for i in some])
    writer.close()
    return PointTable.open(folder)


def tables(folder: Path, points: Mapping[Any, Point], count: int) -> list[PointTable]:
    """The points dealt out to some tables."""
    return [
        table(folder / str(n), {i: p for k, (i, p) in enumerate(points.items()) if k % count == n})
        for n in range(count)
    ]


def found(before: Sequence[PointTable], after: Sequence[PointTable]) -> Any:
    removed, added, changed = [], [], {}
    for block in compare_tables(dict(enumerate(before)), dict(enumerate(after))):
        removed += [key_id(k) for k in block.removed.packed()]
        added += [key_id(k) for k in block.added.packed()]
        for at, key in enumerate(block.changed[0].packed()):
            changed[key_id(key)] = {n for n, flags in block.parts.items() if flags[at]}
    return removed, added, changed


def same(value: Any) -> Any:
    """A value as text that tells 1 from 1.0 and from True, and 0.0 from -0.0."""
    if isinstance(value, dict):
        return sorted((k, same(v)) for k, v in value.items())
    if isinstance(value, list):
        return [same(v) for v in value]
    return type(value).__name__, repr(value)


def components(point: Point) -> dict[str, Any]:
    payload, named = point
    parts = {f"vector:{n}": same(v) for n, v in named.items()}
    return parts if payload is None else {**parts, "payload": same(payload)}


def expected(before: Mapping[Any, Point], after: Mapping[Any, Point]) -> Any:
    changed = {}
    for i in before.keys() & after.keys():
        one, two = components(before[i]), components(after[i])
        apart = {n for n in one.keys() | two.keys() if one.get(n) != two.get(n)}
        if apart:
            changed[i] = apart
    gone, new = (
        sorted(i, key=id_key) for i in (before.keys() - after.keys(), after.keys() - before.keys())
    )
    return gone, new, changed


@pytest.fixture(params=[1, 3, 1 << 16])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", request.param)


@pytest.mark.usefixtures("rows")
@settings(max_examples=examples(40), deadline=None)
@given(before=sets, after=sets, kept=st.integers(0, 12), counts=st.tuples(*[st.integers(0, 3)] * 2))
def test_it_finds_what_dicts_find(
    before: dict[Any, Point], after: dict[Any, Point], kept: int, counts: tuple[int, int]
) -> None:
    after = {**after, **dict([*before.items()][:kept])}
    one, two = (
        points if count else {} for points, count in zip((before, after), counts, strict=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        sides = [
            tables(Path(folder, name), points, count)
            for name, points, count in (("one", one, counts[0]), ("two", two, counts[1]))
        ]
        assert found(*sides) == expected(one, two)


def test_an_id_in_two_tables_counts_once(tmp_path: Path) -> None:
    one = table(tmp_path / "0", {7: ({"a": 1}, {}), 8: (None, {})})
    two = table(tmp_path / "1", {7: ({"a": 2}, {})})
    other = table(tmp_path / "2", {7: ({"a": 2}, {}), 8: (None, {})})
    blocks = list(compare_tables({0: one, 1: two}, {0: other}))
    assert sum((Counter(b.twice[0:1]) for b in blocks), Counter()) == Counter([1])
    assert found([one, two], [other]) == ([], [], {})


def test_tables_must_be_sorted(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "0")
    writer.components(2, [])
    writer.ids([id_key(2), id_key(1)])
    writer.close()
    with pytest.raises(EngineFailed, match="order of their ids"):
        list(compare_tables({0: PointTable.open(tmp_path / "0")}, {}))
