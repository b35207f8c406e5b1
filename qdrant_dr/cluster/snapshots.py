"""Snapshots on a node (of a collection, a shard or the instance): list, create, delete our own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import httpx

from qdrant_dr.cluster import confirmed_changes
from qdrant_dr.cluster.answers import parse_count, parse_text
from qdrant_dr.cluster.http_errors import PASSING, cause_hint, refused, words_of
from qdrant_dr.cluster.node import Node
from qdrant_dr.cluster.snapshot_scope import SnapshotScope, Where, key_piece, scope_of
from qdrant_dr.errors import (
    ClusterError,
    Interrupted,
    NodeBusy,
    NodeUnreachable,
    ServerFailed,
    SnapshotFailed,
    SnapshotUnanswered,
)
from qdrant_dr.records import ListedSnapshot

POLL_SECONDS = 2.0
GONE = "is not on the node any more"
DELETED_SECONDS = 5.0
"""How long to watch for a file to disappear after an unconfirmed delete call."""
Progress = Callable[[float, Sequence[ListedSnapshot]], None]
"""Called while a create call is silent, with the seconds waited and the new files on the node."""


def list_snapshots(node: Node, where: Where) -> tuple[ListedSnapshot, ...]:
    """List finished snapshot files of a collection (or another scope) on this node, by name.

    Servers that store snapshots in S3 list everything below the folder: for a collection also those
    of its shards, for the instance those of every collection (measured on Qdrant 1.18.3).
    """
    scope = scope_of(where)
    doing = f"list the snapshots of {scope}"
    listed = node.ask("GET", scope.path(), doing, collection=scope.collection)
    try:
        found = [_listed(s) for s in listed]
    except (KeyError, TypeError, ValueError):
        raise ServerFailed(
            f"{node.url} gave an answer that cannot be read when asked to {doing}"
        ) from None
    return tuple(sorted(found, key=lambda s: s.name))


def _listed(entry: Any) -> ListedSnapshot:
    return ListedSnapshot(
        name=parse_text(entry["name"]),
        size_bytes=parse_count(entry["size"]),
        checksum=entry.get("checksum"),
    )


def create_snapshot(
    node: Node,
    where: Where,
    *,
    timeout: timedelta | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> ListedSnapshot:
    """Make a snapshot with one long `wait=true` call and return the server's answer.

    Its only limit is `timeout` (default `timeouts.snapshot`); the answer comes only at the end.
    The server continues when a client leaves, and a second call would make a second file. So a call
    that was sent but not answered raises SnapshotUnanswered, which names the new files on the node,
    and is never repeated here.
    Raise CollectionVanished, AccessDenied, NodeUnreachable (nothing was sent), SnapshotFailed with
    the server's words, Interrupted if `stop` is set.
    """
    scope = scope_of(where)
    limit = (timeout or node.timeouts.snapshot).total_seconds()
    before = list_snapshots(node, scope)
    with node.patient_client(limit) as client:
        call = _Call(node, client, scope.path())
        call.start()
        while not call.done.wait(min(poll_seconds, max(0.0, limit - call.seconds))):
            if stop is not None and stop.is_set():
                raise Interrupted(
                    f"asked to stop while {node.url} makes a snapshot of {scope}",
                    _look(node, scope),
                )
            if call.seconds >= limit:
                raise _unanswered(node, scope, before, f"no answer within {limit:.0f} s")
            if progress is not None:
                _report(progress, call.seconds, node, scope, before)
    return _answer_of(call, node, scope, before)


def delete_own_snapshot(
    node: Node,
    where: Where,
    answered: ListedSnapshot,
    listed_before: Sequence[ListedSnapshot],
) -> str:
    """Delete the file that our create call made; return "deleted", or why it was kept.
    It raises no error of the tree, because the backup is already safe. Names have a resolution of
    one

    second: calls in the same second answer the same name and the last one wins (measured on Qdrant
    1.18.3). So a file is ours only if its name was not there before, and its size and checksum
    still equal our answer."""
    if listed_as(listed_before, answered.name):
        return f"kept: {answered.name} was on the node before our call"
    try:
        listed = list_snapshots(node, where)
        now = listed_as(listed, answered.name)
        if now is None:
            return f"kept: {answered.name} {GONE}"
        if not same_file(now, answered):
            return (
                f"kept: {answered.name} has {now.size_bytes} bytes and checksum {now.checksum}, "
                f"our answer said {answered.size_bytes} and {answered.checksum}"
            )
        delete_snapshot(node, where, answered.name)
    except ClusterError as e:
        if e.undecided and gone_after_all(node, where, answered.name):
            return "deleted"
        return f"not known to be deleted: {e.message}"
    return "deleted"


def gone_after_all(node: Node, where: Where, name: str) -> bool:
    """Say whether a file is gone after an unconfirmed delete call."""
    try:
        return confirmed_changes.seen(
            lambda: listed_as(list_snapshots(node, where), name) is None,
            DELETED_SECONDS,
            threading.Event(),
        )
    except ClusterError:
        return False


def listed_as(listed: Sequence[ListedSnapshot], name: str) -> ListedSnapshot | None:
    """Find the entry of the file of this name in a list: a server in S3 mode lists its key."""
    return next((s for s in listed if s.name in (name, key_piece(name))), None)


def new_snapshots(
    node: Node, where: Where, before: Sequence[ListedSnapshot]
) -> tuple[ListedSnapshot, ...]:
    """Return files that a create call may have made since: new ones, and those replaced under the
    same name."""
    known = {s.name: s for s in before}
    new = (
        s
        for s in list_snapshots(node, where)
        if s.name not in known or not same_file(s, known[s.name])
    )
    return tuple(s for s in new if scope_of(where).may_hold(s.name))


def delete_snapshot(node: Node, where: Where, name: str) -> None:
    """Delete one snapshot file, whoever made it. Raise ServerFailed if that is not possible."""
    scope = scope_of(where)
    node.ask(
        "DELETE", scope.path(name), f"delete the snapshot {name}",
        params={"wait": "true"}, write=True, collection=scope.collection,
    )  # fmt: skip


def delete_command(node_url: str, where: Where, name: str) -> str:
    """Return the command line with which a person deletes one snapshot file, whatever its name.

    Unquoted, the `#` of a collection `movies#old` would cut the path after `/collections/movies`
    and delete that collection; `--path-as-is` prevents curl from resolving a name `..` the same
    way."""
    return f"curl -X DELETE {_curl(node_url, scope_of(where).path(name))}"


def same_file(one: ListedSnapshot, other: ListedSnapshot) -> bool:
    """Say whether size and checksum are equal; without checksums (S3 storage), the size alone."""
    sums = [s.checksum.strip().lower() if s.checksum else None for s in (one, other)]
    return one.size_bytes == other.size_bytes and sums[0] == sums[1]


class _Call(threading.Thread):
    """The POST in a separate thread: it may be silent for hours and cannot be cancelled."""

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
        """Return the seconds since the call was made."""
        return time.monotonic() - self._called_at

    def run(self) -> None:
        try:
            self.response = self._client.post(
                self._url, params={"wait": "true"}, headers=self._headers
            )
        except (httpx.HTTPError, RuntimeError, OSError) as e:  # also when closed on giving up
            self.failure = e
        finally:
            self.done.set()


def _answer_of(
    call: _Call, node: Node, scope: SnapshotScope, before: Sequence[ListedSnapshot]
) -> ListedSnapshot:
    doing = f"make a snapshot of {scope}"
    if isinstance(call.failure, httpx.ConnectError | httpx.ConnectTimeout):
        raise node.unreachable(call.failure, doing)
    response = call.response
    if response is None:
        why = words_of(call.failure) if call.failure else "no reason was given"
        raise _unanswered(node, scope, before, f"the connection broke: {why}")
    status = response.status_code
    if status in PASSING:
        raise _unanswered(node, scope, before, f"something on the way answered {status}")
    if not response.is_success:
        error = refused(
            status, response.content, url=node.url, doing=doing,
            key=node.key_reference(write=True), collection=scope.collection,
        )  # fmt: skip
        if error.undecided and _made_something(node, scope, before):
            # it failed after the file was made, or a proxy failed
            raise _unanswered(node, scope, before, error.message)
        if isinstance(error, ServerFailed):
            raise SnapshotFailed(error.message, cause_hint(error.message))
        raise error
    try:
        made = _listed(response.json()["result"])
    except (ValueError, KeyError, TypeError):
        raise _unanswered(node, scope, before, f"the answer {status} names no snapshot") from None
    return made if made.checksum else _with_checksum(node, scope, made)


def _made_something(node: Node, scope: SnapshotScope, before: Sequence[ListedSnapshot]) -> bool:
    try:
        return bool(new_snapshots(node, scope, before))
    except ClusterError:
        return False  # the failure itself is reported


def _with_checksum(node: Node, scope: SnapshotScope, made: ListedSnapshot) -> ListedSnapshot:
    """Return the answer with the checksum of the list, if there is one: its file appears just after
    the snapshot's (snapshots_manager.rs of Qdrant 1.18.3). In S3 mode there is none."""
    try:
        now = listed_as(list_snapshots(node, scope), made.name)
    except ClusterError:
        return made  # the result of the call is known; the list only adds to it
    return now if now and now.name == made.name and now.size_bytes == made.size_bytes else made


def _unanswered(
    node: Node, scope: SnapshotScope, before: Sequence[ListedSnapshot], why: str
) -> SnapshotUnanswered:
    try:
        new = new_snapshots(node, scope, before)
    except ClusterError as e:
        seen = f"cannot be listed: {e.message}"
    else:
        seen = ", ".join(f"{s.name} ({s.size_bytes} bytes)" for s in new) or "none so far"
    return SnapshotUnanswered(
        f"{node.url} was asked for a snapshot of {scope} and did not answer ({why}); "
        f"new files on the node: {seen}",
        _look(node, scope),
    )


def _report(
    progress: Progress,
    waited: float,
    node: Node,
    scope: SnapshotScope,
    before: Sequence[ListedSnapshot],
) -> None:
    """Report progress; a node too busy to list its files does not end the wait."""
    try:
        new = new_snapshots(node, scope, before)
    except (NodeBusy, NodeUnreachable):
        return
    progress(waited, new)


def _look(node: Node, scope: SnapshotScope) -> str:
    return (
        "the server may still finish it. Before you run this again, list the snapshots with "
        f"curl {_curl(node.url, scope.path())} ; delete what is yours with "
        + delete_command(node.url, scope, "NAME")
    )


def _curl(node_url: str, path: str) -> str:
    """Build arguments for a shell: inside single quotes only a single quote is special."""
    url = (node_url.rstrip("/") + path).replace("'", "'\\''")
    return f"--path-as-is -H \"api-key: $KEY\" '{url}'"
