"""Before the bytes of a restore: what an earlier one left, and the collection that is to be."""

from __future__ import annotations

import json

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster.collection_config import shard_key_order
from qdrant_dr.cluster.recover import wait_unoccupied
from qdrant_dr.cluster.target import (
    TargetFacts,
    clean_failed,
    create_payload_indexes,
    create_target,
    target_facts,
)
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.restore.journal import Journal
from qdrant_dr.jobs.restore.options import continues, goes_on
from qdrant_dr.jobs.restore.ownership import expected_points_by_shard, must_be_unused, vectors_of
from qdrant_dr.jobs.restore.refusals import how_to_remove, left_whole
from qdrant_dr.jobs.restore.state import Work
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.target.node_for_shard import TargetNodes

NOTED_SECONDS = 1.0
"""A wait this long is told, and what was seen before it is looked at again."""


def take_over(work: Work, target: TargetFacts, nodes: TargetNodes) -> None:
    """Go on where a restore of this backup ended, or remove what another made there."""
    name, left = work.unit.name, work.journal.found
    there, asked = name in target.collections, False
    if left is not None and goes_on(left, work.unit.key, work.unit.route):
        waited = wait_unoccupied(nodes.by_peer.values(), name, stop=stopping)
        if waited >= NOTED_SECONDS:
            work.result.notes.append(
                f"waited {waited:.0f} s for a recovery that an earlier run had begun"
            )
            target = target_facts(work.node)
            there = name in target.collections
        if there and left.created:
            must_be_unused(left, target, nodes)
        work.result.resumed = continues(left, work.unit.key, work.unit.route)
        sound = there and name not in target.broken
        begun = bool(left.recovered) or left.proven is not None
        ready = begun if left.created else work.unit.into_existing
        if work.result.resumed and sound and ready:
            work.journal.begin(left)
            work.result.created = left.created
            work.result.removed += clean_failed(
                work.node, name, created=False, uploads=left.uploads
            )
            return
        work.result.removed += clean_failed(
            work.node, name, created=left.created, uploads=left.uploads
        )
        # a create call that nobody has seen the effect of may take effect yet
        asked = left.asked and not there
        there = there and not left.created
    elif left is not None and there and not work.unit.into_existing:
        raise PlanRefused(left_whole(left), how_to_remove(work.node.url, name) + ".")
    work.journal.drop()
    if name in target.aliases:
        raise PlanRefused(f"{name!r} on {work.node.url} is an alias meanwhile", "plan again.")
    if there and not work.unit.into_existing:
        raise PlanRefused(f"{name!r} exists on {work.node.url} meanwhile", "plan again.")
    work.result.created, seal = not there, work.found.backup.seal
    work.journal.begin(
        Journal(
            restore_id=work.restore_id,
            target=work.node.url,
            name=name,
            backup=str(work.unit.key),
            route=work.unit.route,
            began_at=utc_now(),
            created=not there,
            asked=asked,
            vectors=vectors_of(work.manifest),
            holds={}
            if work.unit.route == "salvage"
            else expected_points_by_shard(work.manifest, seal),
        )
    )


def create_collection(work: Work, target: TargetFacts) -> None:
    """Make the collection, unless it is there, or will come out of the archive."""
    fresh = work.begun.created and not work.begun.recovered
    if work.unit.route != "shards" or not fresh:
        return
    info = work.manifest.info
    keys = (
        shard_key_order(work.manifest.shards_of_cluster, json.loads(work.manifest.shard_keys))
        if work.manifest.custom_sharding
        else ()
    )
    before = work.begun.asked
    work.journal.note(asked=True)
    create_target(
        work.node, work.unit.name, work.body(target), keys=keys, asked=before, stop=stopping
    )
    create_payload_indexes(work.node, work.unit.name, info.get("payload_schema") or {})
