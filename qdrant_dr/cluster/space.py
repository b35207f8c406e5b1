"""Estimate an upper bound for the size of a collection's archive; no Qdrant call tells it."""

from __future__ import annotations

from qdrant_dr.cluster.answers import parse_count, understood
from qdrant_dr.cluster.facts import CollectionFacts
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import ServerFailed

WAL_PER_SHARD = 2 * 32 * 2**20


@understood("estimate the size of a collection")
def estimated_bytes(node: Node, facts: CollectionFacts) -> int | None:
    """Return the apparent bytes of all segment files plus two WAL files per shard; None if unknown.

    Files are often sparse and archives then much smaller: the size of the previous archive is the
    better estimate if there is one. `GET .../memory` is undocumented (Qdrant 1.18.3) and reads
    every page of the collection, so call it rarely."""
    doing = f"estimate the size of {facts.collection!r}"
    try:
        memory = node.ask(
            "GET", path_of(facts.collection, "memory"), doing, collection=facts.collection
        )
    except ServerFailed:
        return None
    return parse_count(memory["total"]["disk_bytes"]) + WAL_PER_SHARD * len(facts.shards)
