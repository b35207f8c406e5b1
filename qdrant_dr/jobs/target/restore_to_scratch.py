"""A backup onto a scratch server, by the same calls as a real restore."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from qdrant_dr.cancel import stoppable
from qdrant_dr.cluster import (
    Node,
    create_payload_indexes,
    create_target,
    creation_body,
    holders,
    recover_by_upload,
    recover_shard_by_upload,
    shard_key_order,
    target_facts,
)
from qdrant_dr.config import Config
from qdrant_dr.jobs.target.node_for_shard import TargetNodes, target_nodes
from qdrant_dr.jobs.target.split import cut_shards
from qdrant_dr.records import Manifest, Part

Read: TypeAlias = Callable[[Part], Iterator[bytes]]
"""All bytes of one part, compared with the manifest by whoever gives them, or by the server."""


@contextmanager
def scratch_nodes(config: Config, node: Node) -> Iterator[TargetNodes]:
    """Yield every node of the scratch that `node` is one of; most often the only one."""
    with target_nodes(config, node, target_facts(node)) as nodes:
        yield nodes


def recover_onto(
    nodes: TargetNodes, name: str, manifest: Manifest, read: Read, folder: Path, *, limit: int
) -> None:
    """Restore every part of a backup as the collection `name`.

    A whole archive goes up as it is where one server without shard keys is to take it. Else a
    collection like the source is made, one replica of each shard, and each shard goes up by
    itself: a whole archive would come back without the shards of other nodes, with custom sharding
    without any point at all, and both are answered 200 (measured on Qdrant 1.18.3).
    `limit` in bytes: what may be cut into shards in `folder`.
    Raise PlanRefused, RecoverFailed, ArchiveError, StorageFull, and what `read` raises.
    """
    first = nodes.first
    target = target_facts(first)
    custom = manifest.custom_sharding
    whole = [p.kind for p in manifest.parts] == ["collection"]
    if whole and not custom and len(target.peers) < 2:
        (part,) = manifest.parts
        recover_by_upload(
            first, name, stoppable(read(part)), size=part.size_bytes, sha256=part.sha256
        )
        return
    info = manifest.info
    cluster, keys = manifest.shards_of_cluster, json.loads(manifest.shard_keys)
    factor = 1 if target.clustered else None
    create_target(
        first, name,
        creation_body(info, replication_factor=factor, clustered=target.clustered),
        keys=shard_key_order(cluster, keys) if custom else (),
    )  # fmt: skip
    create_payload_indexes(first, name, info.get("payload_schema") or {})
    where = holders(first, name)
    for shard, blocks, size, sha256 in _pieces(manifest, read, folder, limit):
        recover_shard_by_upload(
            nodes.for_shard(shard, where[shard]), name, shard, stoppable(blocks),
            size=size, sha256=sha256,
        )  # fmt: skip


def _pieces(
    manifest: Manifest, read: Read, folder: Path, limit: int
) -> Iterator[tuple[int, Iterator[bytes], int, str]]:
    """Each shard once, with its bytes, their number and SHA-256; whole archives are cut first."""
    for part in manifest.parts:
        if part.kind == "shard":
            yield part.shards[0], read(part), part.size_bytes, part.sha256
        else:
            for cut in cut_shards(read(part), part, folder, limit=limit):
                yield cut.shard, cut.blocks(), cut.size_bytes, cut.sha256
