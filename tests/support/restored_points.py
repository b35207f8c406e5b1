"""A collection with a backup, for restores of single points; and an oracle that is not ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qdrant_client import QdrantClient

from qdrant_dr import configfile
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.restore_points.job import restore_points_job
from qdrant_dr.jobs.restore_points.options import PointsRequest
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.records import Outcome, RestoredPoints, RunEnd
from tests.support.loopback import loopback
from tests.support.world import World

UUIDS = "00000000-0000-4000-8000-{:012d}"
NAME = "movies"
Points = dict[int | str, tuple[dict[str, Any], Any]]


def call(url: str, method: str, path: str, **body: Any) -> Any:
    """Ask a server, and wait until it is done."""
    answer = loopback.request(
        method, f"{url}/collections/{NAME}{path}", json=body, params={"wait": "true"}, timeout=120
    )
    assert answer.is_success, answer.text
    return answer.json()["result"]


def vectors_of(seed: int) -> dict[str, Any]:
    """Three vectors of a point: cosine, without one now and then, and sparse."""
    chance = np.random.default_rng(seed)
    found: dict[str, Any] = {"text": chance.normal(size=16).astype("f4").tolist()}
    if seed % 5:
        found["image"] = chance.normal(size=8).astype("f4").tolist()
    if seed % 3:
        found["words"] = {"indices": [1, 7, seed % 97 + 8], "values": [1.5, 0.25, 3.0]}
    return found


def payload_of(number: int) -> dict[str, Any]:
    """A payload with what is hard to keep: floats, nested values, nothing at all."""
    if number % 17 == 0:
        return {}
    return {
        "n": number,
        "city": ["oslo", "x", "lima"][number % 3],
        "price": number * 0.1 + 1e-7,
        "deep": {"list": [1, 2.5, None, {"a": "é"}], "big": 2**53 + number},
    }


def id_of(number: int) -> int | str:
    return number if number % 4 else UUIDS.format(number)


def make_collection(url: str, points: int, *, settings: Mapping[str, Any] | None = None) -> None:
    """Create the collection with a payload index and fill it."""
    call(
        url, "PUT", "",
        vectors={"text": {"size": 16, "distance": "Cosine"},
                 "image": {"size": 8, "distance": "Dot"}},
        sparse_vectors={"words": {}}, **(settings or {}),
    )  # fmt: skip
    call(url, "PUT", "/index", field_name="city", field_schema="keyword")
    write(url, range(1, points + 1))


def write(url: str, numbers: Sequence[int], *, seed: int = 0) -> None:
    """Upsert points; another `seed` gives them other vectors and payloads."""
    for start in range(0, len(numbers), 1000):
        some = numbers[start : start + 1000]
        call(url, "PUT", "/points", points=[
            {"id": id_of(n), "vector": vectors_of(n + seed), "payload": payload_of(n + seed)}
            for n in some
        ])  # fmt: skip


def delete(url: str, numbers: Sequence[int]) -> None:
    call(url, "POST", "/points/delete", points=[id_of(n) for n in numbers])


def there(url: str) -> Points:
    """Read all points with qdrant-client into plain values: the oracle."""
    client = QdrantClient(url=url, timeout=120, check_compatibility=False)
    found: Points = {}
    offset: Any = None
    while True:
        page, offset = client.scroll(
            NAME, limit=1000, offset=offset, with_payload=True, with_vectors=True
        )
        for point in page:
            vectors = point.vector or {}
            plain = {
                n: json.loads(v.model_dump_json()) if hasattr(v, "model_dump_json") else v
                for n, v in (vectors if isinstance(vectors, dict) else {"": vectors}).items()
            }
            found[point.id] = (point.payload or {}, plain)
        if offset is None:
            client.close()
            return found


def differing(one: Points, other: Points) -> set[int | str]:
    """Return the ids of points that are not equal, bit by bit."""
    return {i for i in one.keys() | other.keys() if one.get(i) != other.get(i)}


def bring(world: World, **request: Any) -> RunEnd:
    """Run the job in this process, as the command line does."""
    config = configfile.load(world.reference)
    asked = PointsRequest(**{"dry_run": False, "backup": f"{NAME}@latest-proven", **request})
    run = begin(config, "restore", parameters=asked.model_dump())
    return restore_points_job(config, asked, run, in_threads(config, run.run_id))


def take_back(world: World, run_id: str, **request: Any) -> RunEnd:
    return bring(world, backup=None, undo=run_id, **request)


def the_outcome(end: RunEnd) -> Outcome:
    assert end.error is None, end.error
    (outcome,) = end.outcomes
    return outcome


def the_detail(end: RunEnd) -> RestoredPoints:
    detail = the_outcome(end).detail
    assert isinstance(detail, RestoredPoints), end
    return detail
