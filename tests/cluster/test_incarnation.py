"""One life of a name: inherited, unless facts say that it began anew."""

from __future__ import annotations

import dataclasses

import pytest

from qdrant_dr.cluster import (
    CollectionFacts,
    Node,
    another_life,
    another_uuid,
    collection_facts,
    incarnation,
)
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


def test_the_first_backup_begins_a_life(facts: CollectionFacts) -> None:
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


def test_other_vectors_or_shards_begin_another(facts: CollectionFacts, node: Node) -> None:
    previous = backed_up(collection_facts(node, "single"), operation=0)
    assert "vector parameters" in another_life(facts, previous)[0]
    wider = dataclasses.replace(facts, shard_number=2)
    assert "number of shards" in another_life(wider, backed_up(facts, operation=1))[0]


def test_the_uuid_of_an_archive_decides_where_there_is_one(facts: CollectionFacts) -> None:
    assert incarnation(facts, backed_up(facts, operation=7), fresh="x", uuid="u-1") == "u-1"


def test_another_uuid_is_another_life_where_one_was_known(facts: CollectionFacts) -> None:
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
