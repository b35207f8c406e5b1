"""The manifest: a backup exists once it is written."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from qdrant_dr.records.base import Frozen, RawJSON, Record, Time, later

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BackupId = Annotated[str, Field(pattern=r"^\d{8}T\d{6}Z-[0-9a-f]{6}$")]
PartName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Method = Literal["collection", "shard", "stream", "full"]
SourceKind = Literal["sandbox", "server"]


@lru_cache(4096)
def collection_slug(name: str) -> str:
    """Return the folder name of a collection: a readable slug and 8 hex digits of its name's
    SHA-256."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "x"
    return f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class BackupKey(Frozen):
    """The key of a backup: enough to find it in any repository."""

    cluster: str
    collection: str
    backup_id: BackupId

    @property
    def folder(self) -> str:
        """Return its path below `backups/` and `proofs/`."""
        return f"{self.cluster}/{collection_slug(self.collection)}/{self.backup_id}"

    def __str__(self) -> str:
        return f"{self.collection}@{self.backup_id}"


def part_file(name: str) -> str:
    """Return the name of the object that holds a part in layout `plain`."""
    return f"{name}.snapshot"


class Part(Frozen):
    """What is stored of one snapshot: a whole collection archive, or one shard of it.

    `sha256` and `size_bytes` are of the bytes as stored in layout `plain`; `server_*` is what the
    node reported about its file (absent for streams and in S3 mode). A `reframed` part was cut out
    of that file: one shard of a node's collection archive, its log included.
    """

    name: PartName
    kind: Literal["collection", "shard"]
    shards: tuple[int, ...] = Field(min_length=1)
    wal: bool
    size_bytes: int = Field(ge=0)
    sha256: Sha256
    node: str
    server_name: str | None = None
    server_size_bytes: int | None = None
    server_checksum: str | None = None
    blocks: tuple[Sha256, ...] = Field(
        default=(), description="SHA-256 of each 8 MiB: what a sample of the bytes is compared with"
    )
    reframed: bool = later(False)
    peer_id: int | None = later(None, description="of the node, where it is one of a cluster")
    asked_at: Time | None = later(None, description="before the create call of its snapshot")
    answered_at: Time | None = later(None, description="when that call was answered")

    @property
    def file(self) -> str:
        """Return the name of the stored object in layout `plain`."""
        return part_file(self.name)


class SourceNode(Frozen):
    """One node from which a part came."""

    url: str
    peer_id: int | None
    version: str
    clock_offset_ms: int | None


class ShardFacts(Frozen):
    """One shard around the capture: Qdrant's operation number (R5) and exact count of points."""

    shard: int
    shard_key: str | None = None
    operation_before: int | None
    operation_after: int | None
    count_before: int | None
    count_after: int | None


class ReplicaCount(Frozen):
    """The exact number of points that one replica held just before the capture, by its own node."""

    shard: int
    peer_id: int | None
    node: str
    points: int


class Manifest(Record):
    """`manifest.json`: create-only, byte-identical in every repository, no floats.

    `captured_at` is taken before the first create call: RPO counts from it. `doubts` are conditions
    (status, optimizer, names) that did not clear in time and are reported. The server's raw answers
    are kept as text, so that a bare cluster can be rebuilt.
    """

    KIND: ClassVar[str] = "manifest"

    backup_id: BackupId
    run_id: str
    cluster: str
    collection: str
    incarnation: str
    source_kind: SourceKind
    method: Method
    method_reason: str
    captured_at: Time
    answered_at: Time
    transferred_at: Time
    clock_offset_ms: int | None
    server_version: str
    server_commit: str | None
    engine_version: str
    tool_version: str
    config_sha256: Sha256
    parts: tuple[Part, ...] = Field(min_length=1)
    shards: tuple[ShardFacts, ...] = Field(min_length=1)
    aliases: tuple[str, ...]
    status: str
    doubts: tuple[str, ...] = ()
    note: str = ""
    collection_info: RawJSON
    collection_cluster: RawJSON
    shard_keys: RawJSON
    sources: tuple[SourceNode, ...] = later((), description="the nodes, where there are several")
    apart: tuple[ReplicaCount, ...] = later(
        (), description="replicas of shards whose replicas differed though nobody wrote"
    )

    @model_validator(mode="after")
    def _every_shard_once(self) -> Self:
        in_parts = sorted(s for p in self.parts for s in p.shards)
        if in_parts != sorted(s.shard for s in self.shards):
            raise ValueError("the parts must hold each shard exactly once")
        if len({p.name for p in self.parts}) != len(self.parts):
            raise ValueError("two parts have one name")
        return self

    @property
    def key(self) -> BackupKey:
        return BackupKey(cluster=self.cluster, collection=self.collection, backup_id=self.backup_id)

    @property
    def size_bytes(self) -> int:
        return sum(p.size_bytes for p in self.parts)

    @property
    def info(self) -> dict[str, Any]:
        """Return the server's description of the collection: configuration, payload schema,
        counts."""
        return dict(json.loads(self.collection_info))

    @property
    def params(self) -> dict[str, Any]:
        """Return vectors, shards and replication, as configured."""
        return dict(self.info["config"]["params"])

    @property
    def payload_schema(self) -> dict[str, Any]:
        """Return the payload indexes, by field."""
        return dict(self.info.get("payload_schema") or {})

    @property
    def shards_of_cluster(self) -> dict[str, Any]:
        """Return what the server reported about the collection's shards and peers."""
        return dict(json.loads(self.collection_cluster) or {})

    @property
    def custom_sharding(self) -> bool:
        """Say whether shards were made by hand, each with a key."""
        return bool(self.params.get("sharding_method") == "custom")

    @property
    def keys_of_shards(self) -> dict[int, int | str]:
        """Return the key of each shard, as string or number; empty without custom sharding."""
        cluster = self.shards_of_cluster
        replicas = [*(cluster.get("local_shards") or ()), *(cluster.get("remote_shards") or ())]
        return {
            int(r["shard_id"]): r["shard_key"] for r in replicas if r.get("shard_key") is not None
        }

    @property
    def replication_factor(self) -> int:
        """Return the configured number of replicas of each shard."""
        return int(self.params.get("replication_factor") or 1)

    @property
    def skew(self) -> timedelta | None:
        """Return how far apart in time its parts may be: from the first create call to the last
        answer.

        Shards are captured one by one, so no single instant holds for all of them. None for a
        backup of one part."""
        asked = [p.asked_at for p in self.parts if p.asked_at]
        answered = [p.answered_at for p in self.parts if p.answered_at]
        if len(self.parts) < 2 or not asked or not answered:
            return None
        return max(answered) - min(asked)

    @property
    def quiet(self) -> bool:
        """Say whether no write was applied between the facts before and after the capture."""
        return all(
            s.operation_before is not None
            and s.operation_before == s.operation_after
            and s.count_before == s.count_after
            for s in self.shards
        )
