"""What the product and `qdrant-client` do to a collection, beyond the recorded transcripts."""

from __future__ import annotations

from uuid import uuid4

import httpx
import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tests.support.rest import call, operation_numbers, scroll, snapshot, upload
from tests.support.servers import Server

UUID = "550e8400-e29b-41d4-a716-446655440000"
NAMED = {
    "vectors": {
        "plain": {"size": 2, "distance": "Dot"},
        "half": {"size": 3, "distance": "Euclid", "datatype": "float16"},
        "bytes": {"size": 2, "distance": "Manhattan", "datatype": "uint8"},
        "many": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
    },
    "sparse_vectors": {"words": {"modifier": "idf"}},
    "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
    "strict_mode_config": {"enabled": False},
    "metadata": {"owner": "search-team"},
}


@pytest.fixture
def name(client: httpx.Client) -> str:
    return f"c-{uuid4()}"


def test_vectors_of_every_kind_come_back(client: httpx.Client, name: str) -> None:
    call(client, "PUT", f"/collections/{name}", NAMED)
    points = [
        {
            "id": 1,
            "payload": {"f": 1.0, "i": 1, "big": 2**63 - 1, "s": "ü", "n": None, "l": [[], {}]},
            "vector": {
                "plain": [0.1, -2.5],
                "half": [0.5, 1.5, -2.0],
                "bytes": [0.0, 255.0],
                "many": [[1.0, 2.0], [3.0, 4.5]],
                "words": {"indices": [3, 70000], "values": [0.25, 1.5]},
            },
        },
        {"id": 2, "payload": {}, "vector": {"plain": [1.0, 2.0]}},
        {"id": UUID, "payload": {"only": "payload"}, "vector": {}},
    ]
    call(client, "PUT", f"/collections/{name}/points?wait=true", {"points": points})
    assert scroll(client, name) == points
    upload(client, f"{name}-2", snapshot(client, name))
    assert scroll(client, f"{name}-2") == points
    config = call(client, "GET", f"/collections/{name}-2")["config"]
    assert config == call(client, "GET", f"/collections/{name}")["config"]
    assert config["metadata"] == {"owner": "search-team"}


def test_points_live_in_several_shards(client: httpx.Client, name: str) -> None:
    path = f"/collections/{name}"
    call(client, "PUT", path, {"vectors": {"size": 1, "distance": "Euclid"}, "shard_number": 3})
    points = [{"id": i, "vector": [float(i)], "payload": {"odd": i % 2}} for i in range(90)]
    call(client, "PUT", f"{path}/points?wait=true", {"points": points})
    assert [p["id"] for p in scroll(client, name, page=7)] == list(range(90))

    counts = [
        call(client, "POST", f"{path}/shards/{n}/points/count", {"exact": True})["count"]
        for n in range(3)
    ]
    assert sum(counts) == 90
    assert min(counts) > 10
    page = call(client, "POST", f"{path}/shards/1/points/scroll", {"limit": 100})
    assert len(page["points"]) == counts[1]
    assert client.post(f"{path}/shards/3/points/count", json={}).status_code == 404
    shards = call(client, "GET", f"{path}/cluster")["local_shards"]
    assert [shard["points_count"] for shard in shards] == counts

    nearest = call(client, "POST", f"{path}/points/query", {"query": [40.2], "limit": 3})["points"]
    assert [point["id"] for point in nearest] == [40, 41, 39]

    # A restored point is changed and deleted where it lies, wherever that is.
    upload(client, f"{name}-2", snapshot(client, name))
    path = f"/collections/{name}-2"
    call(client, "PUT", f"{path}/points?wait=true", {"points": [{"id": 5, "vector": [9.5]}]})
    call(client, "POST", f"{path}/points/delete?wait=true", {"points": [6, 7]})
    only_odd = {"filter": {"must": [{"key": "odd", "match": {"value": 1}}]}}
    call(client, "POST", f"{path}/points/delete?wait=true", only_odd)
    left = scroll(client, f"{name}-2")
    assert [p["id"] for p in left] == [i for i in range(90) if i == 5 or (i % 2 == 0 and i != 6)]
    assert next(p for p in left if p["id"] == 5) == {"id": 5, "vector": [9.5], "payload": {}}


def test_the_manifest_has_the_number_of_the_last_write(client: httpx.Client, name: str) -> None:
    path = f"/collections/{name}"
    call(client, "PUT", path, {"vectors": {"size": 1, "distance": "Dot"}})
    assert operation_numbers(client, name) == [0]
    numbers = [
        call(client, *request)["operation_id"]
        for request in (
            ("PUT", f"{path}/points?wait=true", {"points": [{"id": i, "vector": [1]}]})
            for i in range(3)
        )
    ]
    assert numbers == [1, 2, 3]
    assert operation_numbers(client, name) == [3]
    told = call(client, "POST", f"{path}/points/delete", {"points": [1]})
    assert told == {"operation_id": 4, "status": "acknowledged"}
    assert operation_numbers(client, name) == [4]
    upload(client, f"{name}-2", snapshot(client, name))
    told = call(
        client, "PUT", f"/collections/{name}-2/points", {"points": [{"id": 9, "vector": [1]}]}
    )
    assert told["operation_id"] == 5
    assert operation_numbers(client, f"{name}-2") == [5]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"must": [{"key": "n", "match": {"any": [1, 3]}}]}, [1, 3]),
        ({"must": [{"key": "n", "match": {"except": [1, 3]}}]}, [0, 2, 4]),
        ({"must": [{"key": "n", "range": {"gte": 2, "lt": 4}}]}, [2, 3]),
        ({"must": [{"key": "at", "range": {"gt": "2026-01-03T00:00:00Z"}}]}, [3, 4]),
        ({"must_not": [{"has_id": [0, 4]}]}, [1, 2, 3]),
        ({"should": [{"key": "n", "match": {"value": 0}}, {"has_id": [2]}]}, [0, 2]),
        ({"must": {"is_empty": {"key": "tag"}}}, [3, 4]),
        ({"must": [{"must_not": [{"key": "tag", "match": {"value": "a"}}]}]}, [1, 3, 4]),
        (
            {"min_should": {"conditions": [{"has_id": [1]}, {"has_id": [1, 2]}], "min_count": 2}},
            [1],
        ),
        (
            {"must": [{"nested": {"key": "in", "filter": {"must": [
                {"key": "x", "match": {"value": 3}}]}}}]},
            [3],
        ),
    ],
)  # fmt: skip
def test_filters(client: httpx.Client, condition: object, expected: list[int]) -> None:
    path = "/collections/filters"
    if not call(client, "GET", f"{path}/exists")["exists"]:
        call(client, "PUT", path, {"vectors": {"size": 1, "distance": "Dot"}})
        payloads = [
            {"n": i, "at": f"2026-01-0{i + 1}T00:00:00Z", "in": [{"x": i}]}
            | ({"tag": "a" if i % 2 == 0 else "b"} if i < 3 else {})
            for i in range(5)
        ]
        points = [{"id": i, "vector": [1], "payload": p} for i, p in enumerate(payloads)]
        call(client, "PUT", f"{path}/points?wait=true", {"points": points})
    body = {"filter": condition, "with_payload": False, "limit": 10}
    page = call(client, "POST", f"{path}/points/scroll", body)
    assert page["points"] == [{"id": i} for i in expected]
    count = call(client, "POST", f"{path}/points/count", {"filter": condition, "exact": True})
    assert count == {"count": len(expected)}


def test_a_collection_of_sparse_vectors_only(client: httpx.Client, name: str) -> None:
    call(client, "PUT", f"/collections/{name}", {"sparse_vectors": {"words": {}}})
    vector = {"words": {"indices": [1, 9], "values": [0.5, 2.0]}}
    points = [{"id": 1, "vector": vector, "payload": {}}]
    call(client, "PUT", f"/collections/{name}/points?wait=true", {"points": points})
    for _ in range(2):  # into a new collection, then onto the existing one
        upload(client, f"{name}-2", snapshot(client, name))
        assert scroll(client, f"{name}-2") == points


def test_a_batch_of_columns_is_written(client: httpx.Client, name: str) -> None:
    path = f"/collections/{name}"
    vectors = {n: {"size": 2, "distance": "Dot"} for n in ("a", "b")}
    call(client, "PUT", path, {"vectors": vectors})
    columns = {"a": [[1, 2], [3, 4]], "b": [[5, 6], [7, 8]]}
    batch = {"ids": [1, 2], "vectors": columns, "payloads": [{"x": 1}, None]}
    call(client, "PUT", f"{path}/points?wait=true", {"batch": batch})
    assert scroll(client, name) == [
        {"id": 1, "payload": {"x": 1}, "vector": {"a": [1, 2], "b": [5, 6]}},
        {"id": 2, "payload": {}, "vector": {"a": [3, 4], "b": [7, 8]}},
    ]


def test_payload_is_set_and_overwritten(client: httpx.Client, name: str) -> None:
    path = f"/collections/{name}"
    call(client, "PUT", path, {"vectors": {"size": 1, "distance": "Dot"}})
    points = [{"id": i, "vector": [1], "payload": {"a": i}} for i in range(2)]
    call(client, "PUT", f"{path}/points?wait=true", {"points": points})
    call(client, "POST", f"{path}/points/payload", {"payload": {"b": 1}, "points": [0]})
    by_filter = {"must": [{"key": "a", "match": {"value": 1}}]}
    call(client, "PUT", f"{path}/points/payload", {"payload": {"c": 2}, "filter": by_filter})
    assert [point["payload"] for point in scroll(client, name)] == [{"a": 0, "b": 1}, {"c": 2}]


def test_optimizing_changes_no_content(client: httpx.Client, name: str) -> None:
    path = f"/collections/{name}"
    call(client, "PUT", path, {"vectors": {"size": 32, "distance": "Cosine"}})
    rng = np.random.default_rng(1)
    for start in range(0, 3000, 500):
        points = [
            {"id": start + i, "vector": rng.standard_normal(32).round(3).tolist()}
            for i in range(500)
        ]
        call(client, "PUT", f"{path}/points?wait=true", {"points": points})
    before = scroll(client, name)
    call(client, "PATCH", path, {"optimizers_config": {"indexing_threshold": 100}})
    assert call(client, "GET", path)["config"]["optimizer_config"]["indexing_threshold"] == 100
    assert scroll(client, name) == before


def test_bad_requests_say_what_is_wrong(client: httpx.Client, name: str) -> None:
    path = f"/collections/{name}"
    call(client, "PUT", path, {"vectors": {"a": {"size": 2, "distance": "Dot"}}})
    for body, status, text in (
        ({"points": [{"id": 1, "vector": {"b": [1, 2]}}]}, 400, "Not existing vector name"),
        ({"points": [{"id": -1, "vector": {"a": [1, 2]}}]}, 400, "not a valid point ID"),
        ({"points": [{"id": 1, "vector": {"a": [1]}}]}, 400, "expected dim: 2, got 1"),
        ({}, 400, "did not match any variant"),
        ({"points": [{"vector": {"a": [1]}}]}, 400, "missing field `id`"),
        ({"points": [{"id": 1}]}, 400, "missing field `vector`"),
    ):
        response = client.put(f"{path}/points", json=body)
        assert response.status_code == status, response.text
        assert text in response.json()["status"]["error"]
    assert client.put(f"{path}/points", content=b"{").status_code == 400
    unknown = {"filter": {"must": [{"key": "b", "match": {"value": True}}]}}
    assert client.post(f"{path}/points/count", json=unknown).status_code == 501
    assert operation_numbers(client, name) == [0]


def test_qdrant_client_works(sandbox: Server, name: str) -> None:
    client = QdrantClient(url=sandbox.url, check_compatibility=False)
    size = models.VectorParams(size=4, distance=models.Distance.COSINE)
    assert client.create_collection(name, vectors_config=size)
    assert client.collection_exists(name)
    assert name in [collection.name for collection in client.get_collections().collections]
    client.create_payload_index(name, "kind", models.PayloadSchemaType.KEYWORD, wait=True)
    points = [
        models.PointStruct(id=i, vector=[1.0, i, 0, 0], payload={"kind": "ab"[i % 2]})
        for i in range(10)
    ]
    assert client.upsert(name, points, wait=True).status == models.UpdateStatus.COMPLETED
    where = models.Filter(
        must=[models.FieldCondition(key="kind", match=models.MatchValue(value="a"))]
    )
    assert client.count(name, count_filter=where).count == 5
    records, beyond = client.scroll(name, limit=4, with_vectors=True)
    assert [record.id for record in records] == [0, 1, 2, 3]
    assert beyond == 4
    assert client.query_points(name, [1.0, 0, 0, 0], limit=1).points[0].id == 0
    info = client.get_collection(name)
    assert (info.points_count, info.status) == (10, models.CollectionStatus.GREEN)
    assert info.payload_schema["kind"].data_type == models.PayloadSchemaType.KEYWORD
    assert client.delete(name, [0], wait=True).operation_id == 4

    alias = models.CreateAlias(collection_name=name, alias_name=f"{name}-live")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    assert f"{name}-live" in [alias.alias_name for alias in client.get_aliases().aliases]
    made = client.create_snapshot(f"{name}-live")
    assert made is not None
    assert [snapshot.name for snapshot in client.list_snapshots(name)] == [made.name]
    assert client.delete_snapshot(name, made.name)
    assert client.list_snapshots(name) == []
    assert client.delete_collection(name)
    assert not client.collection_exists(f"{name}-live")
    client.close()
