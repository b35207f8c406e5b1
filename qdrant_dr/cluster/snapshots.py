"""Snapshots on a node: list, create, and the deletion of our own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import httpx

from qdrant_dr.cluster.answers import PASSING, refused, unreachable, words_of
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import (
    ClusterError,
    Interrupted,
    NodeUnreachable,
    ServerFailed,
    SnapshotFailed,
    SnapshotUnanswered,
)
from qdrant_dr.records import ListedSnapshot

POLL_SECONDS = 2.0
Progress = Callable[[float, Sequence[ListedSnapshot]], None]
"""Called while a create call is silent: seconds waited, files that are new on the node."""


def list_snapshots(node: Node, collection: str) -> tuple[ListedSnapshot, ...]:
    """Finished snapshot files of a collection on this node, by name."""
    with node.control(f"list the snapshots of {collection!r}", collection=collection) as client:
        listed = client.list_snapshots(collection)
    found = [ListedSnapshot(name=s.name, size_bytes=s.size, checksum=s.checksum) for s in listed]
    return tuple(sorted(found, key=lambda s: s.name))


def create_snapshot(
    node: Node,
    collection: str,
    *,
    timeout: timedelta | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> ListedSnapshot:
    """Make a snapshot with one long `wait=true` call and return what the server answered.

    Its only limit is `timeout` (default `timeouts.snapshot`); no answer is expected before the end.
    The server goes on when a client leaves, and a second call would make a second file. So a call
    that was sent and not answered raises SnapshotUnanswered, which names the files that are new
    on the node, and is never repeated here.
    Raise CollectionVanished, AccessDenied, NodeUnreachable (nothing was sent), SnapshotFailed with
    the server's words, Interrupted if `stop` is set.
    """
    limit = (timeout or node.timeouts.snapshot).total_seconds()
    before = list_snapshots(node, collection)
    with node.patient_client(limit) as client:
        call = _Call(node, client, path_of(collection, "snapshots"))
        call.start()
        while not call.done.wait(min(poll_seconds, max(0.0, limit - call.seconds))):
            if stop is not None and stop.is_set():
                raise Interrupted(
                    f"asked to stop while {node.url} makes a snapshot of {collection!r}",
                    _look(node, collection),
                )
            if call.seconds >= limit:
                raise _unanswered(node, collection, before, f"no answer within {limit:.0f} s")
            if progress is not None:
                _report(progress, call.seconds, node, collection, before)
    return _answer_of(call, node, collection, before)


def delete_own_snapshot(
    node: Node,
    collection: str,
    answered: ListedSnapshot,
    listed_before: Sequence[ListedSnapshot],
) -> str:
    """Delete the file that our create call made: "deleted", or why it was kept. Raises nothing
    of the tree: by now the backup is safe, and this is only a matter of tidiness.

    Names have a resolution of one second: calls of the same second answer the same name and the
    last one wins (measured on Qdrant 1.18.3). Only a file whose name was not there before, and
    whose size and checksum still equal our answer, is ours.
    """
    if any(s.name == answered.name for s in listed_before):
        return f"kept: {answered.name} was on the node before our call"
    try:
        listed = list_snapshots(node, collection)
        now = next((s for s in listed if s.name == answered.name), None)
        if now is None:
            return f"kept: {answered.name} is not on the node any more"
        if not same_file(now, answered):
            return (
                f"kept: {answered.name} has {now.size_bytes} bytes and checksum {now.checksum}, "
                f"our answer said {answered.size_bytes} and {answered.checksum}"
            )
        delete_snapshot(node, collection, answered.name)
    except ClusterError as e:
        return f"not known to be deleted: {e.message}"
    return "deleted"


def new_snapshots(
    node: Node, collection: str, before: Sequence[ListedSnapshot]
) -> tuple[ListedSnapshot, ...]:
    """Files that were not there before, or are other files under the same name now."""
    known = {s.name: s for s in before}
    now = list_snapshots(node, collection)
    return tuple(s for s in now if s.name not in known or not same_file(s, known[s.name]))


def delete_snapshot(node: Node, collection: str, name: str) -> None:
    """Delete one snapshot file, whoever made it. Raise ServerFailed if it cannot be."""
    with node.control(f"delete the snapshot {name}", write=True, collection=collection) as client:
        client.delete_snapshot(collection, name, wait=True)


def delete_command(node_url: str, collection: str, name: str) -> str:
    """The command line by which a person deletes one snapshot file, whatever the names hold.

    Unquoted, the `#` of a collection `movies#old` would cut the path behind `/collections/movies`
    and delete that collection; `--path-as-is` keeps curl from doing the same to a name `..`.
    """
    return f"curl -X DELETE {_curl(node_url, path_of(collection, 'snapshots', name))}"


def same_file(one: ListedSnapshot, other: ListedSnapshot) -> bool:
    """Equal size and checksum; where a server states none (S3 storage), equal size and none."""
    sums = [s.checksum.strip().lower() if s.checksum else None for s in (one, other)]
    return one.size_bytes == other.size_bytes and sums[0] == sums[1]


class _Call(threading.Thread):
    """The POST in a thread of its own: it may be silent for hours and cannot be cancelled."""

    def __init__(self, node: Node, client: httpx.Client, path: str) -> None:
        super().__init__(name=f"create snapshot {path}", daemon=True)
        self.done = threading.Event()
        self.response: httpx.Response | None = None
        self.failure: Exception | None = None
        self._client, self._url = client, node.url + path
        self._headers = node.headers(write=True)
        self._called_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the call was made."""
        return time.monotonic() - self._called_at

    def run(self) -> None:
        try:
            self.response = self._client.post(
                self._url, params={"wait": "true"}, headers=self._headers
            )
        except (httpx.HTTPError, RuntimeError, OSError) as e:  # closed under it: given up
            self.failure = e
        finally:
            self.done.set()


def _answer_of(
    call: _Call, node: Node, collection: str, before: Sequence[ListedSnapshot]
) -> ListedSnapshot:
    doing = f"make a snapshot of {collection!r}"
    if isinstance(call.failure, httpx.ConnectError | httpx.ConnectTimeout):
        raise unreachable(call.failure, url=node.url, doing=doing)
    response = call.response
    if response is None:
        why = words_of(call.failure) if call.failure else "no reason was given"
        raise _unanswered(node, collection, before, f"the connection broke: {why}")
    status = response.status_code
    if status in PASSING:
        raise _unanswered(node, collection, before, f"something on the way answered {status}")
    if not response.is_success:
        error = refused(
            status, response.content, url=node.url, doing=doing,
            key=node.key_reference(write=True), collection=collection,
        )  # fmt: skip
        if isinstance(error, ServerFailed):
            raise SnapshotFailed(error.message)
        raise error
    try:
        made = response.json()["result"]
        return ListedSnapshot(
            name=made["name"], size_bytes=made["size"], checksum=made.get("checksum")
        )
    except (ValueError, KeyError, TypeError):
        raise _unanswered(
            node, collection, before, f"the answer {status} names no snapshot"
        ) from None


def _unanswered(
    node: Node, collection: str, before: Sequence[ListedSnapshot], why: str
) -> SnapshotUnanswered:
    try:
        new = new_snapshots(node, collection, before)
    except ClusterError as e:
        seen = f"cannot be listed: {e.message}"
    else:
        seen = ", ".join(f"{s.name} ({s.size_bytes} bytes)" for s in new) or "none so far"
    return SnapshotUnanswered(
        f"{node.url} was asked for a snapshot of {collection!r} and did not answer ({why}); "
        f"new files on the node: {seen}",
        _look(node, collection),
    )


def _report(
    progress: Progress,
    waited: float,
    node: Node,
    collection: str,
    before: Sequence[ListedSnapshot],
) -> None:
    """Progress is a courtesy: a node too busy to list its files does not end the wait."""
    try:
        new = new_snapshots(node, collection, before)
    except NodeUnreachable:
        return
    progress(waited, new)


def _look(node: Node, collection: str) -> str:
    return (
        "the server may still finish it. look before you run again: "
        f"curl {_curl(node.url, path_of(collection, 'snapshots'))} ; delete what is yours with "
        + delete_command(node.url, collection, "NAME")
    )


def _curl(node_url: str, path: str) -> str:
    """Arguments for a shell: inside single quotes only a single quote means anything."""
    url = (node_url.rstrip("/") + path).replace("'", "'\\''")
    return f"--path-as-is -H \"api-key: $KEY\" '{url}'"
