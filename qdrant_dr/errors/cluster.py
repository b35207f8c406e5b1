"""Errors of a cluster and its nodes."""

from __future__ import annotations

from qdrant_dr.errors.base import DRError


class ClusterError(DRError):
    """An error of a node or cluster.

    `undecided`: a call was sent and got no answer; it may still take effect.
    """

    default_hint = "run `qdrant-dr check`."
    undecided: bool = False


class NodeUnreachable(ClusterError):
    exit_code = 5
    transient = True
    default_hint = "check the address in `cluster.nodes`, then run `qdrant-dr check`."


class NodeUntrusted(NodeUnreachable):
    transient = False
    default_hint = "set `cluster.tls`, then run `qdrant-dr check`."


class NodeBusy(ClusterError):
    transient = True
    default_hint = (
        "its other clients use up the whole limit: run it again at a quieter time, or raise the "
        "collection's `read_rate_limit`, `cluster.read_share` or `cluster.timeouts.busy`."
    )


class AccessDenied(ClusterError):
    default_hint = "check the key that `cluster.api_key` refers to, then run `qdrant-dr check`."


class ServerFailed(ClusterError):
    default_hint = "read the server's log, then run `qdrant-dr check`."


class CollectionVanished(ClusterError):
    default_hint = (
        "decide: was it deleted on purpose, or is it to be restored? `qdrant-dr list COLLECTION` "
        "shows its backups."
    )


class CollectionChanged(ClusterError):
    default_hint = "run `qdrant-dr backup COLLECTION` when the collection has stopped changing."


class ReplicaMoved(CollectionChanged):
    default_hint = "run `qdrant-dr backup COLLECTION` when its shards have stopped moving."


class SnapshotUnanswered(ClusterError):
    default_hint = (
        "run `qdrant-dr backup COLLECTION`: it first looks for a snapshot left on the node."
    )


class SnapshotFailed(ClusterError):
    default_hint = "read the server's log, then run `qdrant-dr check`."


class DownloadInterrupted(ClusterError):
    transient = True
    default_hint = "run `qdrant-dr backup COLLECTION`; the snapshot is still on the server."


class DownloadMismatch(ClusterError):
    default_hint = (
        "run `qdrant-dr backup COLLECTION`; if it happens again, suspect a proxy or the node's "
        "disk."
    )


class RecoverFailed(ClusterError):
    default_hint = "read the target's log, delete the half-restored collection, then try again."


class RecoverUnanswered(ClusterError):
    default_hint = (
        "look at the collection on the target: the server may still finish it. Then run the same "
        "command again; it waits for the server and continues."
    )


class ClockSkew(ClusterError):
    default_hint = "synchronise the clocks (NTP), then run `qdrant-dr check`."
