"""What is in a collection, read without the product: every point of every replica, by shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qdrant_dr.cluster.collection_config import differences
from tests.support.loopback import loopback

PAGE = 700


def get(url: str, path: str) -> Any:
    return ask(url, "GET", path)


def ask(url: str, method: str, path: str, body: Any = None) -> Any:
    """The `result` of a call that must succeed."""
    answer = loopback.request(method, url + path, json=body, timeout=60)
    assert answer.is_success, answer.text
    return answer.json()["result"]


def points_of(url: str, path: str) -> list[dict[str, Any]]:
    """All points below `/collections/{c}` or `/collections/{c}/shards/{n}`, in order of ids."""
    found: list[dict[str, Any]] = []
    body: dict[str, Any] = {"limit": PAGE, "with_payload": True, "with_vector": True}
    while True:
        page = ask(url, "POST", f"{path}/points/scroll", body)
        found += [{k: p.get(k) for k in ("id", "payload", "vector")} for p in page["points"]]
        if page["next_page_offset"] is None:
            return found
        body["offset"] = page["next_page_offset"]


def replicas(urls: Sequence[str], collection: str) -> dict[int, list[list[dict[str, Any]]]]:
    """By shard, what each of its replicas on these nodes holds; all of them must be Active."""
    found: dict[int, list[list[dict[str, Any]]]] = {}
    for url in urls:
        here = get(url, f"/collections/{collection}/cluster")
        assert not here["shard_transfers"], here
        for shard in here["local_shards"]:
            assert shard["state"] == "Active", here
            path = f"/collections/{collection}/shards/{shard['shard_id']}"
            found.setdefault(shard["shard_id"], []).append(points_of(url, path))
    return found


def aliases_of(url: str) -> dict[str, str]:
    return {a["alias_name"]: a["collection_name"] for a in get(url, "/aliases")["aliases"]}


def same_content(
    urls: Sequence[str], collection: str, before: dict[int, list[dict[str, Any]]], copies: int
) -> None:
    """Each shard has so many replicas, and each of them holds exactly what was there before."""
    now = replicas(urls, collection)
    assert {shard: len(held) for shard, held in now.items()} == dict.fromkeys(before, copies)
    for shard, held in now.items():
        for replica in held:
            assert replica == before[shard]


def same_settings(url: str, collection: str, before: Any, *, but: Sequence[str] = ()) -> None:
    """Every setting and payload index is what `GET /collections/{c}` said before."""
    said = differences(before, get(url, f"/collections/{collection}"))
    assert [d for d in said if not d.startswith(tuple(but) or "\0")] == []
