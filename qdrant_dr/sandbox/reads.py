"""Reads over all shards of a collection, each where it can be read, put together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import Json, service_error
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.peers import Unreachable
from qdrant_dr.sandbox.translate import id_json, id_order, point_id

INTERNAL = "sandbox"
"""Part of the paths that Qdrant does not have and that peers of a scripted cluster use."""


def gather(
    node: Node,
    found: Collection,
    shard: int | None,
    verb: str,
    body: Json,
    local: Callable[[int], Json],
) -> list[Json]:
    """Collect what `local` says of each shard that is read here, and a peer of each that is not.

    `verb` is the rest of the path below the shard. A read of one shard is not passed on: ApiError
    404 when it is nowhere, 500 when it is elsewhere, as in Qdrant 1.18.3. Raise ApiError 500, too,
    when nobody can read one of all.
    """
    if shard is not None:
        if node.peer_id not in found.require_shard(shard).states:
            raise service_error(f"Local shard {shard} not found")
        return [local(shard)]
    results = []
    for number in found.of_keys(body.get("shard_key")):
        readable = node.readable(found, number)
        if node.peer_id in readable:
            results.append(local(number))
        else:
            path = f"/collections/{quote(found.name, safe='')}/shards/{number}/{verb}"
            results.append(_ask_any(node, readable, path, body, number))
    return results


def _ask_any(node: Node, peers: list[int], path: str, body: Json, shard: int) -> Json:
    """The first of the peers that answers."""
    for peer in peers:
        if node.peers:
            with suppress(Unreachable):
                return node.peers.ask(peer, "POST", path, body)
    raise service_error(f"The replica set for shard {shard} has no active replica")


def merge_pages(pages: list[Json], limit: int) -> dict[str, Json]:
    """Merge pages of shards, each in the order of ids and of at most `limit` points, into one
    page."""
    points = sorted((p for page in pages for p in page["points"]), key=lambda p: _order(p["id"]))
    following = [page["next_page_offset"] for page in pages if page["next_page_offset"] is not None]
    following += [point["id"] for point in points[limit:]]
    offset = min(following, key=_order, default=None)
    return {"points": points[:limit], "next_page_offset": offset}


def merge_best(
    found: list[Json], offset: int, limit: int, *, lower_is_better: bool
) -> dict[str, Json]:
    points = [point for part in found for point in part["points"]]
    points.sort(key=lambda point: point["score"], reverse=not lower_is_better)
    return {"points": points[offset : offset + limit]}


def merge_info(infos: list[Json], config: Json) -> dict[str, Json]:
    """`GET /collections/{c}` from what each shard says of itself."""
    schema: dict[str, Json] = {}
    for info in infos:
        for field, told in info["payload_schema"].items():
            points = schema.get(field, {"points": 0})["points"] + told["points"]
            schema[field] = {**told, "points": points}
    return {
        "status": "green",
        "optimizer_status": "ok",
        **{
            name: sum(info[name] for info in infos)
            for name in ("indexed_vectors_count", "points_count", "segments_count")
        },
        "config": config,
        "payload_schema": schema,
        "update_queue": {"length": 0},
    }


def in_order(records: list[Json], ids: list[Json]) -> list[Json]:
    """Return each wanted point that was found, once, in the order in which it was asked for."""
    by_id = {record["id"]: record for record in records}
    wanted = dict.fromkeys(id_json(point_id(i)) for i in ids)
    return [by_id[i] for i in wanted if i in by_id]


def _order(value: Json) -> tuple[bool, int]:
    return id_order(point_id(value))
