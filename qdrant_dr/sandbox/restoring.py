"""Recovery of collections and shards, into one node or into a scripted cluster.

What is surprising in Qdrant 1.18.3 is so here: a shard whose data the archive lacks keeps what it
has and nobody is told; custom sharding over REST is a success without points; a shard archive fits
any shard; a node that does not hold the shard becomes one more replica (tried on a real cluster).
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from qdrant_dr.sandbox.archive import extract, lay_out_collection, lay_out_shard
from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import ApiError, Json, wrong_input
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.peers import Peers
from qdrant_dr.sandbox.placement import Replicas
from qdrant_dr.sandbox.recovery import Fetch
from qdrant_dr.sandbox.settings import dense_vectors, describe_vectors
from qdrant_dr.sandbox.upload import Received

_NOTICE_SECONDS = 0.2
_TRANSFER_SECONDS = 0.4
"""A real cluster (1.18.3, three nodes) still shows the other replicas as active when the recovery
has been answered, then as dead, and heals them after about a second."""


def recover_upload(node: Node, name: str, upload: Received, priority: str | None) -> None:
    """Restore an uploaded archive into `name`, which is created if need be.

    The file stays among the snapshots of that name until somebody deletes it, whatever becomes of
    the restore: as in Qdrant. Raise ApiError.
    """
    kept = node.snapshot_folder(name) / (upload.file_name or f"{uuid4()}.snapshot")
    kept.parent.mkdir(parents=True, exist_ok=True)
    upload.path.rename(kept)
    recover_collection(node, name, lambda folder: extract(kept, folder), priority)


def recover_collection(node: Node, name: str, fetch: Fetch, priority: str | None) -> None:
    """Restore what `fetch` puts into an empty folder into `name`. Raise ApiError."""
    folder = node.temp_folder(f"col-{name}-recovery-")
    try:
        fetch(folder)
        archive = lay_out_collection(folder, distributed=node.peers is not None)
        created = not node.exists(name)
        if created:
            collection = node.create(name, archive.config, {})
        else:
            collection = node.find(name)
            _check_fit(collection.config, archive.config)
        try:
            shards = {n: p for n, p in archive.shards.items() if n in collection.local_shards()}
            collection.adopt(shards)
        except ApiError:
            if created:
                node.delete(name)
            raise
        if created:
            collection.register(archive.schema)
            node.tell_peers("PUT", name, "/schema", {"schema": archive.schema})
        for shard in shards:
            _settle(node, collection, shard, priority)
    finally:
        shutil.rmtree(folder)


def recover_shard(
    node: Node, name: str, shard: int, fetch: Fetch, priority: str | None, *, alone: bool = False
) -> None:
    """Replace one shard by what `fetch` puts into an empty folder. Raise ApiError.

    `alone`: a peer sends it, and cares for the states of replicas itself.
    """
    collection = node.find(name)
    collection.require_shard(shard)
    folder = node.temp_folder(f"{collection.name}-shard-{shard}")
    try:
        fetch(folder)
        if not lay_out_shard(folder, distributed=node.peers is not None):
            raise ApiError(400, "Bad request: Invalid snapshot")
        collection.adopt({shard: folder})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not alone:
        _settle(node, collection, shard, priority)


def start_with(node: Node, name: str, path: Path) -> None:
    """Make a collection as the archive has it, shard keys and all, in place of any of that name.

    For a node that does not serve yet. Raise ApiError.
    """
    folder = node.temp_folder(f"{name}.tmp")
    try:
        extract(path, folder)
        archive = lay_out_collection(folder, distributed=node.peers is not None)
        placement = archive.placement
        if node.peers is None:
            placement = {
                number: Replicas({node.peer_id: "Active"}, replicas.key)
                for number, replicas in placement.items()
            }
        node.delete(name)
        collection = node.make(name, archive.config, {}, archive.uuid, {})
        collection.adopt(archive.shards, placement)
        collection.register(archive.schema)
    finally:
        shutil.rmtree(folder)


def _settle(node: Node, collection: Collection, shard: int, priority: str | None) -> None:
    """The states of the replicas after one was recovered here, and what heals the others."""
    if node.peers is None:
        return
    states = collection.placement[shard].states
    others = [p for p in collection.placement[shard].readable() if p != node.peer_id]
    if priority == "replica" and others:
        _behind(node, node.peers, collection, shard, others[0], node.peer_id)
        return
    if states.get(node.peer_id) != "Active":
        node.set_state(collection, shard, node.peer_id, "Active")
    if priority == "no_sync":
        return
    for peer in others:
        _behind(node, node.peers, collection, shard, node.peer_id, peer)


def _behind(
    node: Node, peers: Peers, collection: Collection, shard: int, source: int, target: int
) -> None:
    """Copy a replica behind the answer, as a transfer that `GET /collections/{c}/cluster` shows."""
    told: dict[str, Json] = {"shard_id": shard, "from": source, "to": target, "sync": True}
    transfer = {**told, "method": "snapshot", "collection": collection.name}

    def run() -> None:
        time.sleep(_NOTICE_SECONDS)
        node.set_state(collection, shard, target, "Dead")
        time.sleep(_TRANSFER_SECONDS)
        node.transfers.append(transfer)
        try:
            node.set_state(collection, shard, target, "Partial")
            if source == node.peer_id:
                _push(node, peers, collection, shard, target)
            else:
                _pull(node, peers, collection, shard, source)
            node.set_state(collection, shard, target, "Active")
        finally:
            node.transfers.remove(transfer)

    threading.Thread(target=run, daemon=True).start()


def _push(node: Node, peers: Peers, collection: Collection, shard: int, peer: int) -> None:
    def send(archive: Path) -> None:
        collection.write_shard(shard, archive)
        peers.upload(peer, f"{_shard_path(collection, shard)}/snapshots/upload", archive)

    _with_file(node, send)


def _pull(node: Node, peers: Peers, collection: Collection, shard: int, peer: int) -> None:
    def take(archive: Path) -> None:
        peers.download(peer, f"{_shard_path(collection, shard)}/snapshot", archive)
        recover_shard(
            node, collection.name, shard, lambda to: extract(archive, to), None, alone=True
        )

    _with_file(node, take)


def _shard_path(collection: Collection, shard: int) -> str:
    return f"/collections/{quote(collection.name, safe='')}/shards/{shard}"


def _with_file(node: Node, use: Callable[[Path], None]) -> None:
    path = node.temp_file()
    try:
        use(path)
    finally:
        path.unlink(missing_ok=True)


def _check_fit(existing: dict[str, Json], archived: dict[str, Json]) -> None:
    """Only vectors and the number of shards must agree; raise ApiError 400."""
    if dense_vectors(existing) != dense_vectors(archived):
        raise wrong_input(
            "Snapshot is not compatible with existing collection: "
            f"Collection vectors: {describe_vectors(existing)} "
            f"Snapshot Vectors: {describe_vectors(archived)}"
        )
    mine, theirs = existing["params"]["shard_number"], archived["params"]["shard_number"]
    if mine != theirs:
        raise wrong_input(
            "Snapshot is not compatible with existing collection: "
            f"Collection shard number: {mine} Snapshot shard number: {theirs}"
        )
