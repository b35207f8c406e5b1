"""The target side of a restore: recover by upload or by reference, and remove a drill's
collection."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Literal

import httpx

from qdrant_dr.cluster.answers import parse_text, understood
from qdrant_dr.cluster.http_errors import words_of
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.snapshots import delete_snapshot, list_snapshots
from qdrant_dr.cluster.upload import must_be_restored, post_archive, upload_name
from qdrant_dr.errors import (
    AccessDenied,
    Interrupted,
    PlanRefused,
    RecoverFailed,
    RecoverUnanswered,
    ServerFailed,
    TargetNotDisposable,
)

DRILL_PREFIX = "qdr-drill-"
"""Prefix of every collection that a drill makes; a drill deletes nothing else."""

RECOVERY_LOOK_SECONDS = 1.0
"""Seconds between two checks whether a recovery still runs."""

Priority = Literal["snapshot", "replica", "no_sync"]


def recover_by_upload(
    node: Node,
    collection: str,
    blocks: Iterable[bytes],
    *,
    size: int,
    sha256: str,
    priority: Priority = "snapshot",
    timeout: timedelta | None = None,
    name: str | None = None,
) -> str:
    """Restore a collection archive by uploading it; return the name of the file left behind.

    Checksum and priority are always sent: without a checksum the server compares nothing, and the
    default priority has changed between versions. The server leaves the upload in the collection's
    snapshot folder, so it gets a unique name and is deleted at the end. Pass `name` (of
    `upload_name`) to know it if this call fails, for `clean_failed`.
    `blocks` must yield `size` bytes; an error they raise passes through and restores nothing.
    Raise RecoverFailed with the server's words, RecoverUnanswered if it may still be working,
    AccessDenied, NodeUnreachable if it was not reached at all, PlanRefused if `collection` is an
    alias or the target has several nodes.
    """
    refuse_alias(node, collection)
    refuse_whole(node, collection)
    name = name or upload_name()
    post_archive(
        node, path_of(collection, "snapshots", "upload"), blocks,
        doing=f"restore {collection!r}", file_name=name, size=size, sha256=sha256,
        priority=priority, timeout=timeout,
    )  # fmt: skip
    delete_upload(node, collection, name)
    return name


def recover_shard_by_upload(
    node: Node,
    collection: str,
    shard: int,
    blocks: Iterable[bytes],
    *,
    size: int,
    sha256: str,
    priority: Priority = "snapshot",
    timeout: timedelta | None = None,
) -> None:
    """Restore one shard of an existing collection; `node` must hold a replica of it.

    The archive is that of a shard: streamed, stored, or re-framed from a node's archive (whose log
    is replayed). It names neither shard nor collection and the server compares neither: the
    caller's manifest must. Other replicas follow from this one. Nothing is left behind. Raise as
    `recover_by_upload`."""
    refuse_alias(node, collection)
    post_archive(
        node, path_of(collection, "shards", shard, "snapshots", "upload"), blocks,
        doing=f"restore shard {shard} of {collection!r}", file_name=upload_name(), size=size,
        sha256=sha256, priority=priority, timeout=timeout,
    )  # fmt: skip


def recover_from(
    node: Node,
    collection: str,
    location: str,
    *,
    sha256: str,
    priority: Priority = "snapshot",
    shard: int | None = None,
    timeout: timedelta | None = None,
) -> None:
    """Let the server fetch the archive itself; no byte passes through this process.

    `location` is an http(s) URL, a `file://` below the server's snapshots folder, or the bare name
    of a file in the snapshots folder of this collection (or shard). It may carry a signature, so it
    is a secret: it appears in no message, and is removed from the server's messages.
    Raise as `recover_by_upload`.
    """
    refuse_alias(node, collection)
    if shard is None:
        refuse_whole(node, collection)
    of = (collection,) if shard is None else (collection, "shards", shard)
    asked: dict[str, Any] = {"location": location, "priority": priority, "checksum": sha256}
    headers = node.headers(write=True)
    if shard is None and "://" not in location:
        # for a collection a server takes only URLs: so its own URL, with its key
        asked["location"] = node.url + path_of(collection, "snapshots", location)
        if key := headers.get("api-key"):
            asked["api_key"] = key
    what = f"shard {shard} of {collection!r}" if shard is not None else repr(collection)
    doing = f"restore {what} from the given location"
    limit = (timeout or node.timeouts.snapshot).total_seconds()
    try:
        with node.patient_client(limit) as client:
            response = client.put(
                node.url + path_of(*of, "snapshots", "recover"),
                params={"wait": "true"}, headers=headers, json=asked,
            )  # fmt: skip
    except (httpx.ConnectError, httpx.ConnectTimeout) as e:
        raise node.unreachable(e, doing) from None
    except httpx.RequestError as e:
        said = f"{node.url} was asked to {doing} and did not answer: {words_of(e)}"
        unsent = isinstance(e, httpx.LocalProtocolError)
        raise RecoverFailed(said) if unsent else RecoverUnanswered(said) from None
    words = without_location(response.text, location)
    must_be_restored(node, response.status_code, words.encode(), doing=doing)


def wait_unoccupied(
    nodes: Iterable[Node],
    collection: str,
    *,
    stop: threading.Event,
    timeout: timedelta | None = None,
) -> float:
    """Wait until none of the nodes recovers into the collection; return the seconds waited.

    A server counts running recoveries in its telemetry (common/snapshots.rs of Qdrant 1.18.3), but
    only once it has the whole archive. A server that reports nothing is not waited for.
    Raise RecoverUnanswered when time is up, Interrupted if `stop` is set.
    """
    started = time.monotonic()
    for node in nodes:
        limit = (timeout or node.timeouts.snapshot).total_seconds()
        while count := running_recoveries(node, collection):
            waited = time.monotonic() - started
            if waited >= limit:
                many = f"{count} recoveries" if count > 1 else "1 recovery"
                raise RecoverUnanswered(
                    f"{node.url} still runs {many} into {collection!r} after {waited:.0f} s"
                )
            if stop.wait(RECOVERY_LOOK_SECONDS):
                raise Interrupted(f"asked to stop while {node.url} was restoring {collection!r}")
    return time.monotonic() - started


@understood("see which recoveries run")
def running_recoveries(node: Node, collection: str) -> int:
    """Return how many recoveries into this collection the node reports."""
    try:
        told = node.ask(
            "GET", "/telemetry", "see which recoveries run", params={"details_level": "2"}
        )
    except (AccessDenied, ServerFailed):
        return 0  # a key for one collection is not allowed to ask
    listed = (told.get("collections") or {}).get("snapshots") or ()
    return sum(s.get("running_snapshot_recovery") or 0 for s in listed if s["id"] == collection)


def without_location(words: str, location: str) -> str:
    """Remove every address from a server's words, and every part of this one's query. Pure."""
    secret = re.split(r"[?&=#]|://[^/]*", location)
    words = re.sub(r"[A-Za-z][\w+.-]*://[^\s\"'\\<>]*", "<location>", words)
    for part in sorted((p for p in secret if len(p) > 3), key=len, reverse=True):
        words = words.replace(part, "<...>")
    return words


@understood("list the aliases")
def refuse_alias(node: Node, collection: str) -> None:
    """Raise PlanRefused if this name is an alias: the aliased collection would be overwritten."""
    doing = "list the aliases"
    for alias in node.ask("GET", "/aliases", doing)["aliases"]:
        if alias["alias_name"] == collection:
            raise PlanRefused(
                f"{collection!r} on {node.url} is an alias of {alias['collection_name']!r}, which "
                "a restore under this name would overwrite",
                "restore under another name; the alias can be moved afterwards.",
            )


@understood("read the state of the cluster")
def refuse_whole(node: Node, collection: str) -> None:
    """Raise PlanRefused on a cluster of several nodes: from a whole archive one node restores only
    its own shards, leaves the others empty and answers 200 (measured on Qdrant 1.18.3)."""
    cluster = node.ask("GET", "/cluster", "read the state of the cluster")
    if (peers := len(cluster.get("peers") or ())) > 1:
        raise PlanRefused(
            f"{node.url} is one of {peers} nodes: a whole archive of {collection!r} would restore "
            "only the shards on this node",
            "restore it shard by shard.",
        )


def delete_upload(node: Node, collection: str, name: str) -> None:
    """Delete the file that an upload left behind, if the server still lists it."""
    if any(s.name == name for s in list_snapshots(node, collection)):
        delete_snapshot(node, collection, name)


def drop_target(node: Node, collection: str) -> bool:
    """Delete a drill's collection and the files in its snapshot folder; return whether it existed.

    Files go first: they outlive their collection, where the API cannot reach them.
    Raise TargetNotDisposable for any name that is not a drill's.
    """
    if not collection.startswith(DRILL_PREFIX):
        raise TargetNotDisposable(
            f"{collection!r} on {node.url} was not made by a drill and is not deleted",
            f"drill targets are named {DRILL_PREFIX}*.",
        )
    if collection not in collection_names(node):
        return False
    for snapshot in list_snapshots(node, collection):
        delete_snapshot(node, collection, snapshot.name)
    return bool(node.ask("DELETE", path_of(collection), f"delete {collection!r}", write=True))


@understood("list the collections")
def collection_names(node: Node) -> tuple[str, ...]:
    """Return every collection of a node, sorted."""
    listed = node.ask("GET", "/collections", "list the collections")["collections"]
    return tuple(sorted(parse_text(c["name"]) for c in listed))


def leftovers(node: Node) -> tuple[str, ...]:
    """Return collections of drills that could not remove them."""
    return tuple(n for n in collection_names(node) if n.startswith(DRILL_PREFIX))
