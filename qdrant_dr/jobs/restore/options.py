"""What a restore is asked for, what it finds on the target, and the route that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from qdrant_dr.cluster import CollectionFacts
from qdrant_dr.cluster.aliases import AliasMode
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.jobs.restore.journal import Journal
from qdrant_dr.records import BackupKey, Manifest
from qdrant_dr.records.base import Frozen
from qdrant_dr.secrets import SecretRef

Route = Literal["whole", "shards", "salvage"]
Way = Literal["upload", "url", "server-file"]


class RestoreOptions(Frozen):
    """How one restore is wanted; the same for every backup of a run."""

    name: str | None = None
    to: str
    to_key: SecretRef | None = None
    way: Way = "upload"
    server_file: str | None = None
    into_existing: bool = False
    priority: Literal["snapshot", "replica", "no_sync"] = "snapshot"
    replication_factor: int | None = None
    aliases: AliasMode = "create"
    parallel: int = 2
    bandwidth: int | None = None
    allow_unproven: bool = False
    salvage: bool = False
    keep_failed: bool = False
    ticket: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class OnTarget:
    """The target as it was found. `existing` is a collection of the wanted name that answers,
    `unfinished` the journal of a restore into that name which did not end, `unsigned` why a
    repository cannot sign a URL of this backup, by its name, and `spool_free` the bytes that are
    free where this machine keeps its spool."""

    facts: TargetFacts
    existing: CollectionFacts | None = None
    unfinished: Journal | None = None
    unsigned: Mapping[str, str] = field(default_factory=dict)
    spool_free: int | None = None


def route_of(manifest: Manifest, target: TargetFacts, *, salvage: bool) -> Route:
    """A whole archive goes whole into a server that is no cluster; everything else by shard."""
    if salvage:
        return "salvage"
    whole = [p.kind for p in manifest.parts] == ["collection"]
    return "whole" if whole and not target.clustered and not manifest.custom_sharding else "shards"


def continues(journal: Journal, key: BackupKey, route: Route) -> bool:
    """Whether a journal is of a restore of this backup, its pieces cut alike, that can go on."""
    return journal.backup == str(key) and journal.route == route and not journal.differs


def goes_on(journal: Journal, key: BackupKey, route: Route) -> bool:
    """Whether what the journal tells of is unfinished. A collection that is whole is in use
    perhaps: for a restore of another backup, or if it differs, it is like any other."""
    return not journal.whole or continues(journal, key, route)
