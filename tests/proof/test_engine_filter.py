"""Booleans in a filter find booleans, in lists and nested objects too, and never integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from qdrant_dr.proof.engine_filter import engine_filter

PAYLOADS: list[dict[str, Any]] = [
    {"live": True},
    {"live": False},
    {"live": 1},
    {"live": 0},
    {"live": "true"},
    {"live": [False, True]},
    {"live": [1, "true"]},
    {"live": None},
    {},
    {"deep": {"live": True}},
    {"parts": [{"n": 1, "live": False}, {"n": 2, "live": True}]},
]


def value_is(key: str, value: bool) -> dict[str, Any]:
    return {"key": key, "match": {"value": value}}


def part(number: int) -> dict[str, Any]:
    inner = {"must": [{"key": "n", "match": {"value": number}}, value_is("live", True)]}
    return {"must": {"nested": {"key": "parts", "filter": inner}}}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "indexed"])
def shard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    vectors = {"": edge.EdgeVectorParams(size=1, distance=edge.Distance.Dot)}
    folder: Path = tmp_path_factory.mktemp("shard")
    made = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    if request.param:
        made.update(edge.UpdateOperation.create_field_index("live", edge.PayloadSchemaType.Bool))
    points = [edge.Point(n, [1.0], payload) for n, payload in enumerate(PAYLOADS)]
    made.update(edge.UpdateOperation.upsert_points(points))
    return made


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"must": [value_is("live", True)]}, {0, 5}),
        ({"must": [value_is("live", False)]}, {1, 5}),
        ({"must_not": [value_is("live", True)]}, {1, 2, 3, 4, 6, 7, 8, 9, 10}),
        ({"should": [value_is("live", True), value_is("deep.live", True)]}, {0, 5, 9}),
        ({"must": [value_is("parts[].live", True)]}, {10}),
        (part(1), set()),
        (part(2), {10}),
    ],
)
def test_a_boolean_finds_booleans(shard: Any, where: dict[str, Any], wanted: set[int]) -> None:
    found, _ = shard.scroll(edge.ScrollRequest(limit=100, filter=engine_filter(where)))
    assert {r.id for r in found} == wanted
