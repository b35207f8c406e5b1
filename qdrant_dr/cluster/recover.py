"""The target side of a drill: restore by upload, wait until it is ready, take it down again."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Literal

import httpx

from qdrant_dr.cluster.answers import refused, unreachable, words_of
from qdrant_dr.cluster.facts import READABLE_STATES, CollectionFacts, collection_facts
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.snapshots import delete_snapshot, list_snapshots
from qdrant_dr.errors import Interrupted, RecoverFailed, ServerFailed, TargetNotDisposable

DRILL_PREFIX = "qdr-drill-"
"""Every collection a drill makes is named so; nothing else is ever deleted by one."""

Priority = Literal["snapshot", "replica", "no_sync"]
_CALM_SECONDS = 0.2


def recover_by_upload(
    node: Node,
    collection: str,
    blocks: Iterable[bytes],
    *,
    size: int,
    sha256: str,
    priority: Priority = "snapshot",
    timeout: timedelta | None = None,
) -> str:
    """Restore a collection archive by uploading it; return the name of the file left behind.

    Checksum and priority are always sent: without the first the server compares nothing, and the
    default of the second changed over time. The server moves the upload into the collection's
    snapshot folder and leaves it there, so it gets a unique name and is deleted at the end.
    `blocks` must yield `size` bytes; an error they raise passes through and restores nothing.
    Raise RecoverFailed with the server's words, AccessDenied, NodeUnreachable if it was not
    reached at all.
    """
    name = f"qdr-{secrets.token_hex(8)}.snapshot"
    boundary = f"qdr-{secrets.token_hex(16)}"
    head, tail = _frame(boundary, name)
    limit = (timeout or node.timeouts.snapshot).total_seconds()
    doing = f"restore {collection!r}"
    headers = {
        **node.headers(write=True),
        "content-type": f"multipart/form-data; boundary={boundary}",
        "content-length": str(len(head) + size + len(tail)),
    }
    try:
        with node.patient_client(limit) as client:
            response = client.post(
                node.url + path_of(collection, "snapshots", "upload"),
                params={"wait": "true", "priority": priority, "checksum": sha256},
                headers=headers,
                content=_body(head, blocks, tail, size),
            )
    except (httpx.ConnectError, httpx.ConnectTimeout) as e:
        raise unreachable(e, url=node.url, doing=doing) from None
    except httpx.RequestError as e:
        raise RecoverFailed(
            f"{node.url} was given {size} bytes for {collection!r} and did not answer: "
            + words_of(e)
        ) from None
    if not response.is_success:
        error = refused(
            response.status_code, response.content, url=node.url, doing=doing,
            key=node.key_reference(write=True), collection=None,
        )  # fmt: skip
        raise RecoverFailed(error.message) if isinstance(error, ServerFailed) else error
    delete_upload(node, collection, name)
    return name


def delete_upload(node: Node, collection: str, name: str) -> None:
    """Remove the file an upload left behind, where the server still lists it."""
    if any(s.name == name for s in list_snapshots(node, collection)):
        delete_snapshot(node, collection, name)


def wait_ready(
    node: Node,
    collection: str,
    *,
    timeout: timedelta | None = None,
    stop: threading.Event | None = None,
) -> CollectionFacts:
    """Wait until a restored collection may be compared, and return its facts.

    After the 200 of an upload the rest of the WAL is still queued, and deferred points are not
    readable yet. Raise RecoverFailed when it turns red (that stays) or time is up.
    """
    limit = (timeout or node.timeouts.snapshot).total_seconds()
    started = time.monotonic()
    while True:
        facts = collection_facts(node, collection)
        missing = not_ready(facts)
        if not missing:
            return facts
        waited = time.monotonic() - started
        if facts.status == "red" or waited >= limit:
            raise RecoverFailed(
                f"{collection!r} on {node.url} is not ready after {waited:.1f} s: "
                + "; ".join(missing)
            )
        if (stop or threading.Event()).wait(_CALM_SECONDS):
            raise Interrupted(f"asked to stop while {collection!r} was getting ready")


def not_ready(facts: CollectionFacts) -> tuple[str, ...]:
    """Why reads of this collection do not show all of it yet; empty if they do. Pure."""
    missing = [
        f"shard {s.shard} is {s.state}" for s in facts.replicas if s.state not in READABLE_STATES
    ]
    if not facts.shards:
        missing.append("no shard lies on this node")
    if facts.queue_length:
        missing.append(f"{facts.queue_length} updates are queued")
    if facts.deferred_points:
        missing.append(f"{facts.deferred_points} points are deferred")
    if facts.status == "red":
        missing.append(f"status is red ({facts.optimizer_status})")
    return tuple(missing)


def drop_target(node: Node, collection: str) -> bool:
    """Delete a drill's collection and the files in its snapshot folder; was there one?

    Files first: they outlive their collection, out of reach of the API.
    Raise TargetNotDisposable for any name that no drill gives.
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
    with node.control(f"delete {collection!r}", write=True) as client:
        return bool(client.delete_collection(collection))


def collection_names(node: Node) -> tuple[str, ...]:
    """Every collection of a node, sorted."""
    with node.control("list the collections") as client:
        return tuple(sorted(c.name for c in client.get_collections().collections))


def leftovers(node: Node) -> tuple[str, ...]:
    """Collections of drills that did not get to take them down."""
    return tuple(n for n in collection_names(node) if n.startswith(DRILL_PREFIX))


def _frame(boundary: str, file_name: str) -> tuple[bytes, bytes]:
    disposition = f'form-data; name="snapshot"; filename="{file_name}"'
    head = (
        f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


def _body(head: bytes, blocks: Iterable[bytes], tail: bytes, size: int) -> Iterator[bytes]:
    """Raise RecoverFailed before the last boundary if the blocks are not `size` bytes."""
    sent = 0
    yield head
    for block in blocks:
        sent += len(block)
        if sent > size:
            break
        yield block
    if sent != size:
        raise RecoverFailed(
            f"an upload has {sent} bytes so far where {size} were announced",
            "the copy does not match its manifest: run `qdrant-dr verify`.",
        )
    yield tail
