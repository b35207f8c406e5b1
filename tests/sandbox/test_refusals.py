"""What a server takes and refuses of a new collection, and of a name: the sandbox does alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.either_server import KINDS, either_server
from tests.support.servers import Server

DOT = {"size": 2, "distance": "Dot"}
NO_VARIANT = "data did not match any variant of untagged enum VectorsConfig"


@pytest.fixture(
    scope="module",
    params=KINDS,
)
def either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with either_server(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture
def client(either: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=either.url, timeout=60, trust_env=False) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"vectors": {}}, 200, ""),
        ({}, 200, ""),
        ({"sparse_vectors": {"s": {}}}, 200, ""),
        ({"vectors": {}, "sparse_vectors": {"s": {}}}, 200, ""),
        ({"vectors": {"": DOT}}, 200, ""),
        ({"vectors": DOT, "nonsense": 1}, 200, ""),
        ({"vectors": None}, 400, NO_VARIANT),
        ({"vectors": []}, 400, NO_VARIANT),
        ({"vectors": {"a": {}}}, 400, NO_VARIANT),
        ({"vectors": {"size": 0, "distance": "Dot"}}, 400, NO_VARIANT),
        ({"vectors": {"size": "2", "distance": "Dot"}}, 400, NO_VARIANT),
        ({"vectors": {"size": 2, "distance": "dot"}}, 400, NO_VARIANT),
        ({"vectors": {**DOT, "datatype": "float8"}}, 400, NO_VARIANT),
        ({"vectors": {"size": 65537, "distance": "Dot"}}, 422, "must be from 1 to 65536"),
        ({"vectors": DOT, "shard_number": 0}, 422, "must be 1 or larger"),
        ({"vectors": DOT, "replication_factor": 0}, 422, "must be 1 or larger"),
    ],
    ids=str,
)
def test_a_new_collection(
    client: httpx.Client, body: dict[str, Any], status: int, says: str
) -> None:
    answer = client.put("/collections/new", json=body)
    assert answer.status_code == status
    if status == 200:
        kept = client.get("/collections/new").json()["result"]["config"]["params"]["vectors"]
        assert kept == (body.get("vectors") or {})
        client.delete("/collections/new").raise_for_status()
    else:
        assert says in answer.json()["status"]["error"]


def test_points_without_any_vector(client: httpx.Client) -> None:
    client.put("/collections/bare", json={"vectors": {}}).raise_for_status()
    points = [{"id": n, "vector": {}, "payload": {"n": n}} for n in (1, 2)]
    done = client.put("/collections/bare/points?wait=true", json={"points": points})
    assert done.json()["result"]["operation_id"] == 1
    found = client.post("/collections/bare/points/scroll", json={"with_vector": True})
    assert [(p["id"], p["vector"]) for p in found.json()["result"]["points"]] == [(1, {}), (2, {})]
    assert client.post("/collections/bare/snapshots").is_success


def test_a_name_too_long_for_the_file_of_its_snapshot(client: httpx.Client) -> None:
    for size, stored, streamed in ((190, 200, 200), (203, 500, 200), (207, 500, 500)):
        name = "n" * size
        client.put(f"/collections/{name}", json={"vectors": DOT}).raise_for_status()
        made = client.post(f"/collections/{name}/snapshots")
        stream = client.get(f"/collections/{name}/shards/0/snapshot")
        assert (made.status_code, stream.status_code) == (stored, streamed)
        if stored != 200:
            assert "File name too long (os error 36)" in made.text
