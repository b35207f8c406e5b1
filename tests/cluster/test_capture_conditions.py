"""Pure decisions: what is refused, what is doubtful, what must not move."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from qdrant_dr.cluster import (
    CollectionFacts,
    Node,
    check_gates,
    collection_facts,
    moved_elsewhere,
    preflight,
)
from qdrant_dr.cluster.capture_conditions import lost_replicas, moved_away, name_refusal
from qdrant_dr.records.manifest import Method


@pytest.fixture
def calm(node: Node) -> CollectionFacts:
    return collection_facts(node, "sharded")


def changed(facts: CollectionFacts, **fields: Any) -> CollectionFacts:
    return dataclasses.replace(facts, **fields)


def with_shard(facts: CollectionFacts, shard: int, **fields: Any) -> CollectionFacts:
    replicas = tuple(
        dataclasses.replace(r, **fields) if r.shard == shard else r for r in facts.replicas
    )
    return changed(facts, replicas=replicas)


def test_a_calm_collection_passes(calm: CollectionFacts) -> None:
    judged = preflight(calm)
    assert (judged.refusals, judged.doubts) == ((), ())
    assert check_gates(calm, calm) == ()


def test_refusals(calm: CollectionFacts) -> None:
    cases = {
        "shard 1 is Dead": with_shard(calm, 1, state="Dead"),
        "no shard of it": changed(calm, replicas=()),
        "shards [2] are no longer on this node": changed(
            with_shard(calm, 2, local=False, peer_id=7), chosen=frozenset({1, 2})
        ),
        "resharding": changed(calm, resharding=("{}",)),
        "its name has 240 bytes": changed(calm, collection="n" * 240),
    }
    for words, facts in cases.items():
        refusals = preflight(facts).refusals
        assert len(refusals) == 1, words
        assert words in refusals[0]


def test_doubts_do_not_refuse(calm: CollectionFacts) -> None:
    cases = {
        "status is red": changed(calm, status="red"),
        "deferred": changed(calm, deferred_points=5),
        "1 shard transfers": changed(calm, transfers=("{}",)),
        "operation numbers": with_shard(calm, 0, operation=None),
        "shards [0] could not be counted": with_shard(calm, 0, count=None),
        "shards [1] come from a listener": with_shard(calm, 1, state="Listener"),
    }
    for words, facts in cases.items():
        judged = preflight(facts)
        assert judged.refusals == ()
        assert len(judged.doubts) == 1
        assert words in judged.doubts[0]


def test_how_a_count_was_taken_is_no_doubt(calm: CollectionFacts) -> None:
    noted = changed(calm, notes=("shard 0 was counted by scrolling its ids",))
    assert preflight(noted).doubts == ()


def test_an_optimizer_at_work_matters_only_without_a_wal(calm: CollectionFacts) -> None:
    busy = changed(calm, status="yellow", running_optimizations=1)
    assert preflight(busy).unsettled == ()
    assert "has no WAL" in preflight(busy, method="stream").unsettled[0]
    assert preflight(calm, method="shard").unsettled == ()
    listening = with_shard(busy, 1, state="Listener")
    assert "listener's shard [1] has no WAL" in preflight(listening).unsettled[0]


def test_without_a_wal_rest_must_be_shown(calm: CollectionFacts) -> None:
    for unknown in ({"operation": None}, {"count": None}):
        blind = with_shard(calm, 0, **unknown)
        assert (
            "without operation numbers or counts" in preflight(blind, method="shard").unsettled[0]
        )
        assert check_gates(blind, blind, without_wal={0})
        assert check_gates(blind, blind, without_wal={1}) == ()


def test_without_a_wal_nothing_may_have_moved(calm: CollectionFacts) -> None:
    assert check_gates(calm, calm, without_wal={0, 1, 2}) == ()
    for moved in ({"operation": 900}, {"count": 5}):
        after = with_shard(calm, 1, **moved)
        assert any("may be back" in b for b in check_gates(calm, after, without_wal={1}))
        assert check_gates(calm, after, without_wal={0, 2}) == ()
    busy = changed(calm, running_optimizations=1)
    assert "not settled" in check_gates(busy, calm, without_wal={0})[0]


def test_what_moves_on_other_nodes_is_told_and_harmless(calm: CollectionFacts) -> None:
    away = dataclasses.replace(calm.replicas[0], local=False, peer_id=7)
    before = changed(calm, replicas=(*calm.replicas, away))
    dead = changed(calm, replicas=(*calm.replicas, dataclasses.replace(away, state="Dead")))
    assert check_gates(before, dead) == ()
    assert moved_elsewhere(before, before) == ()
    (said,) = moved_elsewhere(before, dead)
    assert "on peer 7 went from Active to Dead" in said
    assert "to absent" in moved_elsewhere(before, calm)[0]


@pytest.mark.parametrize(
    ("method", "longest", "sure"),
    [("collection", 198, 209), ("full", 198, 209), ("shard", 206, 218), ("stream", 206, 218)],
)
def test_a_name_that_no_snapshot_can_be_made_of(
    calm: CollectionFacts, method: Method, longest: int, sure: int
) -> None:
    """`longest` was found on Qdrant 1.18.3; beyond `sure` no file can have the snapshot's name."""
    one = changed(calm, peer_id=4368523253213349, replicas=calm.replicas[:1])

    def named(length: int, letter: str = "n") -> CollectionFacts:
        return changed(one, collection=letter * length)

    assert name_refusal(named(longest), method) is None
    said = name_refusal(named(longest + 1), method) or ""
    assert f"longer than {longest}" in said
    assert "alias" in said
    assert name_refusal(named(longest // 2 + 1, "ü"), method)
    assert not preflight(named(sure), method=method).refusals
    (refused,) = preflight(named(sure + 1), method=method).refusals
    assert f"longer than {sure}" in refused


def test_writes_break_no_gate(calm: CollectionFacts) -> None:
    assert check_gates(calm, with_shard(calm, 0, operation=900, count=5)) == ()


def test_what_moved_is_named(calm: CollectionFacts) -> None:
    info = calm.info
    info["config"]["params"]["vectors"] = {"size": 4, "distance": "Dot"}
    moved = {
        "fell from 5 to 4": with_shard(calm, 1, operation=4),
        "replicas changed": with_shard(calm, 1, state="Partial"),
        "shards changed": changed(calm, replicas=calm.replicas[:2]),
        "number of shards": changed(calm, shard_number=2),
        "vector parameters": changed(calm, info_json=json.dumps(info)),
        "resharding was under way after": changed(calm, resharding=("{}",)),
    }
    for words, after in moved.items():
        assert any(words in broken for broken in check_gates(calm, after)), words


def test_transfers_break_the_gate_of_archives_without_a_log(calm: CollectionFacts) -> None:
    moving = changed(calm, transfers=("{}",))
    for before, after, when in ((moving, calm, "before"), (calm, moving, "after")):
        assert check_gates(before, after) == ()
        (said,) = check_gates(before, after, without_wal={0})
        assert f"transfers were under way {when}" in said


def test_a_replica_that_was_moved_away_is_no_broken_gate(calm: CollectionFacts) -> None:
    """Its archive has a log and says itself that it was full, and others have the shard."""
    there = dataclasses.replace(calm.replicas[0], local=False, peer_id=7)
    away = changed(calm, replicas=(there, *calm.replicas[1:]))
    assert (check_gates(calm, away), lost_replicas(calm, away)) == ((), ())
    (said,) = moved_away(calm, away)
    assert "the replica of shard 0 was moved" in said
    assert "to peer 7" in said
    lost = ("replicas changed: shard 0 went from Active to absent",)
    assert lost_replicas(calm, away, without_wal={0}) == lost
    half = changed(calm, replicas=(dataclasses.replace(there, state="Partial"), *calm.replicas[1:]))
    assert lost_replicas(calm, half) == lost
    assert moved_away(calm, half) == ()
