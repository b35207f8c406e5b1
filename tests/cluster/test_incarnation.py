"""One life of a name: inherited, unless facts say that it began anew."""

from __future__ import annotations

import dataclasses
import json

import pytest

from qdrant_dr.cluster import (
    CollectionFacts,
    Node,
    another_life,
    another_uuid,
    collection_facts,
    incarnation,
)
from qdrant_dr.cluster.incarnation import changed_life
from qdrant_dr.records import Manifest, Part, ShardFacts
from tests.support.records import manifest as some_manifest
from tests.support.replay import ReplaySource


@pytest.fixture
def facts(node: Node) -> CollectionFacts:
    return collection_facts(node, "movies")


def backed_up(
    facts: CollectionFacts, *, operation: int | None, node: str | None = None
) -> Manifest:
    shard = ShardFacts(
        shard=0, operation_before=operation, operation_after=operation,
        count_before=1, count_after=1,
    )  # fmt: skip
    part = Part(
        name="collection", kind="collection", shards=(0,), wal=True, size_bytes=1,
        sha256="0" * 64, node=node or facts.node,
    )  # fmt: skip
    return some_manifest(
        collection="movies", collection_info=facts.info_json, shards=(shard,), parts=(part,),
        incarnation="life-1",
    )  # fmt: skip


def test_the_first_backup_begins_an_incarnation(facts: CollectionFacts) -> None:
    assert incarnation(facts, None, fresh="life-1") == "life-1"


def test_it_is_inherited(facts: CollectionFacts) -> None:
    for operation in (0, 6, None):
        assert incarnation(facts, backed_up(facts, operation=operation), fresh="x") == "life-1"


def test_a_fallen_operation_number_begins_another(facts: CollectionFacts) -> None:
    previous = backed_up(facts, operation=7)
    assert incarnation(facts, previous, fresh="life-2") == "life-2"
    assert another_life(facts, previous) == ("operation number of shard 0 fell from 7 to 6",)


def test_numbers_of_another_node_are_not_compared(facts: CollectionFacts) -> None:
    previous = backed_up(facts, operation=7, node="http://elsewhere:6333")
    assert incarnation(facts, previous, fresh="x") == "life-1"


def test_numbers_of_another_peer_at_the_same_address_are_not_compared(
    facts: CollectionFacts,
) -> None:
    """A node that was replaced keeps its name, and its replicas begin to count anew."""
    previous = backed_up(facts, operation=7)
    part = previous.parts[0]
    assert facts.peer_id is not None
    for peer, reasons in ((facts.peer_id, 1), (facts.peer_id + 1, 0), (None, 1)):
        moved = previous.model_copy(update={"parts": (part.model_copy(update={"peer_id": peer}),)})
        assert len(another_life(facts, moved)) == reasons


def test_other_vectors_or_shards_begin_another(facts: CollectionFacts, node: Node) -> None:
    previous = backed_up(collection_facts(node, "single"), operation=0)
    assert "vector parameters" in another_life(facts, previous)[0]
    wider = dataclasses.replace(facts, shard_number=2)
    assert "number of shards" in another_life(wider, backed_up(facts, operation=1))[0]


def test_another_index_over_the_same_vectors_is_the_same_incarnation(
    facts: CollectionFacts,
) -> None:
    """`PATCH /collections/{c}` sets it at any time; the backups before are of the same points."""
    info = facts.info
    vectors = info["config"]["params"]["vectors"]
    patched = {**vectors, "on_disk": True, "hnsw_config": {"m": 8}, "quantization_config": None}
    info["config"]["params"]["vectors"] = patched
    after = dataclasses.replace(facts, info_json=json.dumps(info))
    assert after.vectors != facts.vectors
    assert another_life(after, backed_up(facts, operation=1)) == ()
    assert changed_life(facts, after) == ()
    for change in ({"size": 3}, {"distance": "Dot"}, {"datatype": "float16"}):
        info["config"]["params"]["vectors"] = vectors | change
        other = dataclasses.replace(facts, info_json=json.dumps(info))
        assert "vector parameters" in another_life(other, backed_up(facts, operation=1))[0]


def test_a_uuid_that_was_inherited_is_known(facts: CollectionFacts) -> None:
    """A backup of method `shard` behind one of `collection`: its archives tell none."""
    one, two = "1c56b3a5-0d58-4f3e-b8a5-6a3f5f7f3f01", "2c56b3a5-0d58-4f3e-b8a5-6a3f5f7f3f02"
    previous = backed_up(facts, operation=1).model_copy(update={"incarnation": one})
    assert another_uuid(one, previous) == ()
    assert another_uuid(two, previous) == (f"its uuid changed from {one} to {two}",)


def test_the_uuid_of_an_archive_decides_where_there_is_one(facts: CollectionFacts) -> None:
    assert incarnation(facts, backed_up(facts, operation=7), fresh="x", uuid="u-1") == "u-1"


def test_another_uuid_is_another_incarnation_if_one_was_known(facts: CollectionFacts) -> None:
    previous = backed_up(facts, operation=7)
    assert another_uuid("u-1", None) == another_uuid("u-1", previous) == ()
    reframed = previous.model_copy(
        update={
            "parts": (previous.parts[0].model_copy(update={"reframed": True}),),
            "incarnation": "u-1",
        }
    )
    assert another_uuid("u-1", reframed) == ()
    assert another_uuid(None, reframed) == ()
    assert "from u-1 to u-2" in another_uuid("u-2", reframed)[0]


def test_numbers_are_compared_shard_by_shard_with_the_node_they_came_from(node: Node) -> None:
    facts = collection_facts(node, "sharded")
    shards = tuple(
        ShardFacts(shard=n, operation_before=9, operation_after=9, count_before=1, count_after=1)
        for n in range(3)
    )
    part = backed_up(facts, operation=0).parts[0]
    parts = (
        part.model_copy(update={"shards": (0, 2), "node": "http://elsewhere:6333"}),
        part.model_copy(update={"shards": (1,), "name": "another"}),
    )
    previous = some_manifest(
        collection="sharded", collection_info=facts.info_json, shards=shards, parts=parts
    )
    assert another_life(facts, previous) == ("operation number of shard 1 fell from 9 to 5",)


def test_recreated_on_the_server(source: ReplaySource, node: Node, facts: CollectionFacts) -> None:
    source.recreate("movies")
    assert another_life(collection_facts(node, "movies"), backed_up(facts, operation=6))
