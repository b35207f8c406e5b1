"""The target of a restore: read what exists, and create an empty collection like the source."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from qdrant_dr.cluster.aliases import aliases_of
from qdrant_dr.cluster.answers import understood
from qdrant_dr.cluster.collection_config import (
    KeyOrder,
    ShardKey,
    creation_body,
    index_body,
    shard_key_order,
)
from qdrant_dr.cluster.confirmed_changes import change, same_settings
from qdrant_dr.cluster.facts import READABLE_STATES
from qdrant_dr.cluster.inventory import PARALLEL_QUESTIONS, node_facts
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.recover import collection_names
from qdrant_dr.cluster.scroll import scroll_points
from qdrant_dr.cluster.snapshots import delete_snapshot, list_snapshots
from qdrant_dr.errors import (
    CollectionVanished,
    PlanRefused,
    RecoverFailed,
    ServerFailed,
)
from qdrant_dr.records.manifest import SourceKind

FILLER = "qdr-filler-"
"""Shard keys that only use up ids, so that the next key gets its former ids; deleted at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """What a plan needs to know about a target. `peers` is empty without a cluster.

    `aliases` maps alias to collection. `broken` collections are listed but answer an error
    (measured on Qdrant 1.18.3: 500 after the server was killed while restoring one).
    """

    url: str
    version: str
    source_kind: SourceKind
    clustered: bool
    peer_id: int | None
    peers: tuple[int, ...]
    collections: tuple[str, ...]
    aliases: dict[str, str]
    broken: tuple[str, ...]


@understood("read what it is and holds")
def target_facts(node: Node) -> TargetFacts:
    """Ask one node of the target. Raise NodeUnreachable, AccessDenied or ServerFailed."""
    about = node_facts(node)
    cluster = node.ask("GET", "/cluster", "read the state of the cluster")
    names = collection_names(node)
    with ThreadPoolExecutor(PARALLEL_QUESTIONS) as pool:
        sound = list(pool.map(lambda name: _answers(node, name), names))
    return TargetFacts(
        url=node.url,
        version=about.version,
        source_kind=about.source_kind,
        clustered=about.clustered,
        peer_id=about.peer_id,
        peers=tuple(sorted(int(peer) for peer in cluster.get("peers") or ())),
        collections=names,
        aliases=aliases_of(node),
        broken=tuple(name for name, fine in zip(names, sound, strict=True) if not fine),
    )


def create_target(
    node: Node,
    collection: str,
    body: Mapping[str, Any],
    *,
    keys: Sequence[tuple[ShardKey, tuple[int, ...]]] = (),
    asked: bool = False,
    stop: threading.Event | None = None,
) -> None:
    """Create an empty collection (`creation_body`) and its shard keys, in this order.

    Ids of keys that the source had deleted are used up by keys of our own, deleted at the end.
    An unconfirmed call may take effect later: we wait for its result, and take it as ours if it is
    empty and as requested. `asked`: an earlier run made such a call, without a result so far.
    Raise PlanRefused, with nothing created, if the name is taken by a collection or an alias, or if
    keys are needed on a server without cluster mode; RecoverFailed, with the collection left for
    `clean_failed`, if the shards did not get their former ids; RecoverUnanswered if a call may
    still take effect."""
    if not asked or collection not in collection_names(node):
        _refuse_taken(node, collection)
    if keys and not _clustered(node):
        raise PlanRefused(
            f"{node.url} does not run in cluster mode and cannot create shard keys",
            "start it with `cluster.enabled: true`; one node is enough.",
        )
    _make(node, collection, body, asked=asked, stop=stop)
    fillers = _create_keys(node, collection, keys, stop)
    for key in fillers:
        change(
            node, "POST", path_of(collection, "shards", "delete"), f"delete shard key {key!r}",
            done=lambda key=key: key not in _keys(node, collection),  # type: ignore[misc]
            json={"shard_key": key}, params=_waiting(node), collection=collection, stop=stop,
        )  # fmt: skip
    found = _cluster_of(node, collection)
    made: KeyOrder | list[int] = shard_key_order(found) if keys else sorted(_replicas(found))
    wanted: KeyOrder | list[int] = tuple(keys)
    if body.get("sharding_method") != "custom":
        wanted = list(range(body.get("shard_number") or len(made)))
    if made != wanted:
        raise RecoverFailed(
            f"{collection!r} was created on {node.url} with the shards {made}, not {wanted}"
        )


def _make(
    node: Node,
    collection: str,
    body: Mapping[str, Any],
    *,
    asked: bool,
    stop: threading.Event | None,
) -> None:
    """Create it, or take over what an unconfirmed call of ours has made.

    Raise PlanRefused if it is not exactly what was requested.
    """

    def there() -> bool:
        return collection in collection_names(node)

    confirmed = False
    if not (asked and there()):
        doing = f"create {collection!r}"
        try:
            confirmed = _put(node, collection, (), body, doing, done=there, stop=stop)
        except RecoverFailed:
            if not (asked and there()):  # refused because the earlier call has just taken effect
                raise
    if confirmed:
        return
    if (holder := _in_use(node, collection)) is not None:
        what = f"the alias {holder!r} points to it"
    elif not same_settings(body, _settings_of(node, collection)):
        what = "it is not configured as requested"
    elif next(scroll_points(node, collection, limit=1, content=False), None) is not None:
        what = "it holds points"
    else:
        return
    raise PlanRefused(
        f"{node.url} was asked to create {collection!r} and did not confirm it; it now exists, but "
        f"{what}: somebody else made it, or uses it",
        "restore under another name, or delete that collection if nobody needs it.",
    )


def _in_use(node: Node, collection: str) -> str | None:
    return next((a for a, c in aliases_of(node).items() if c == collection), None)


def _settings_of(node: Node, collection: str) -> dict[str, Any]:
    return creation_body(_info_of(node, collection), replication_factor=None, clustered=True)


def _info_of(node: Node, collection: str) -> dict[str, Any]:
    doing = f"read its information of {collection!r}"
    return dict(node.ask("GET", path_of(collection), doing, collection=collection))


def create_payload_indexes(node: Node, collection: str, schema: Mapping[str, Any]) -> None:
    """Create every payload index of `payload_schema` (of `GET /collections/{c}`), and wait.

    On an empty collection this is quick: shards recovered later are indexed by the target's schema.
    Raise RecoverFailed with the server's words.
    """
    for field, index in schema.items():
        doing = f"create the payload index on {field!r} of {collection!r}"

        def done(field: str = field) -> bool:
            return field in _info_of(node, collection).get("payload_schema", {})

        _put(node, collection, ("index",), index_body(field, index), doing, done=done, wait="true")


def holders(node: Node, collection: str) -> dict[int, tuple[int, ...]]:
    """Return the peers with a replica of each shard, serving ones first, as one node sees them.

    A server without cluster mode holds all shards and also has a peer id.
    """
    return {
        shard: tuple(peer for _, peer in sorted(found))
        for shard, found in sorted(_replicas(_cluster_of(node, collection)).items())
    }


def clean_failed(
    node: Node, collection: str, *, created: bool, uploads: Sequence[str] = ()
) -> tuple[str, ...]:
    """Remove what a failed or killed restore left on this node; return what was removed.

    The collection is removed only if we `created` it, even if it answers 500 (it might prevent the
    server from starting again). `uploads` are the names given to `recover_by_upload` on this node:
    their files outlive the collection, and the API reaches them only while a collection of that
    name exists, so an empty one is created and deleted. Nothing else is touched. Raise what the
    calls raise; safe to repeat."""
    said: list[str] = []
    there = collection in collection_names(node)
    left = list(uploads)
    if there:
        with suppress(ServerFailed):  # it answers 500: deleted below through an empty collection
            said += _delete_files(node, collection, left)
            left = []
    if there and created:
        _delete_collection(node, collection)
        said.append(f"collection {collection!r}")
        there = False
    if left and not there and collection not in aliases_of(node):
        empty = {"vectors": {"size": 1, "distance": "Dot"}, "shard_number": 1}
        _make(node, collection, empty, asked=False, stop=None)
        try:
            said += _delete_files(node, collection, left)
        finally:
            _delete_collection(node, collection)
    return tuple(said)


def _delete_files(node: Node, collection: str, names: Iterable[str]) -> list[str]:
    listed = {s.name for s in list_snapshots(node, collection)}
    found = [name for name in names if name in listed]
    for name in found:
        delete_snapshot(node, collection, name)
    return [f"uploaded file {name}" for name in found]


def _delete_collection(node: Node, collection: str) -> None:
    with suppress(CollectionVanished):
        change(
            node, "DELETE", path_of(collection), f"delete {collection!r}",
            done=lambda: collection not in collection_names(node),
            params=_waiting(node), collection=collection,
        )  # fmt: skip


def _create_keys(
    node: Node,
    collection: str,
    keys: Sequence[tuple[ShardKey, tuple[int, ...]]],
    stop: threading.Event | None,
) -> list[str]:
    """Create the keys in order and return the filler keys made in between."""
    fillers: list[str] = []
    following = 1  # the first shard of a key is number 1 (collection/sharding_keys.rs)
    for key, ids in keys:
        if gap := ids[0] - following:
            fillers.append(f"{FILLER}{following}")
            _create_key(node, collection, fillers[-1], gap, stop)
        _create_key(node, collection, key, len(ids), stop)
        following = ids[-1] + 1
    return fillers


def _create_key(
    node: Node, collection: str, key: ShardKey, shards: int, stop: threading.Event | None
) -> None:
    body = {"shard_key": key, "shards_number": shards}
    _put(
        node, collection, ("shards",), body, f"create shard key {key!r} of {collection!r}",
        done=lambda: key in _keys(node, collection), stop=stop,
    )  # fmt: skip


def _keys(node: Node, collection: str) -> set[ShardKey]:
    """Return the present keys of its shards."""
    found = _cluster_of(node, collection)
    every = (*found["local_shards"], *found["remote_shards"])
    return {s["shard_key"] for s in every if s.get("shard_key") is not None}


def _put(
    node: Node,
    collection: str,
    rest: tuple[str, ...],
    body: Mapping[str, Any],
    doing: str,
    *,
    done: Callable[[], bool],
    stop: threading.Event | None = None,
    **params: str,
) -> bool:
    """Change the target's configuration, as `change`. A server's refusal is final."""
    try:
        return change(
            node, "PUT", path_of(collection, *rest), doing, done=done, json=dict(body),
            params={**_waiting(node), **params}, collection=collection if rest else None,
            stop=stop,
        )  # fmt: skip
    except ServerFailed as e:
        raise RecoverFailed(e.message) from None


def _waiting(node: Node) -> dict[str, str]:
    """Return how long a cluster may take to agree and create replicas: less than we wait."""
    return {"timeout": str(max(1, math.floor(node.timeouts.read.total_seconds() * 0.9)))}


def _refuse_taken(node: Node, collection: str) -> None:
    if collection in collection_names(node):
        raise PlanRefused(
            f"there is already a collection {collection!r} on {node.url}",
            "restore under another name, or into the existing one with `--into-existing`.",
        )
    if holder := aliases_of(node).get(collection):
        raise PlanRefused(
            f"{collection!r} on {node.url} is an alias of {holder!r}",
            "restore under another name; the alias can be moved afterwards.",
        )


def _clustered(node: Node) -> bool:
    answer = node.ask("GET", "/cluster", "read the state of the cluster")
    return bool(answer.get("status") == "enabled")


def _answers(node: Node, collection: str) -> bool:
    try:
        node.ask(
            "GET", path_of(collection), f"read its information of {collection!r}",
            collection=collection,
        )  # fmt: skip
    except CollectionVanished:
        return True  # deleted since it was listed: gone is not broken
    except ServerFailed:
        return False
    return True


def _cluster_of(node: Node, collection: str) -> dict[str, Any]:
    doing = f"read where the shards of {collection!r} are"
    found = node.ask("GET", path_of(collection, "cluster"), doing, collection=collection)
    return dict(found)


def _replicas(cluster: Mapping[str, Any]) -> dict[int, list[tuple[bool, int]]]:
    """Return for each shard the peers, with whether they do not serve reads."""
    found: dict[int, list[tuple[bool, int]]] = {}
    mine = cluster["peer_id"]
    for replica in (*cluster["local_shards"], *cluster["remote_shards"]):
        entry = replica["state"] not in READABLE_STATES, int(replica.get("peer_id", mine))
        found.setdefault(int(replica["shard_id"]), []).append(entry)
    return found
